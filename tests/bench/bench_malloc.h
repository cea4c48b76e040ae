/* bench_malloc.h - the mallocs that we are compared with, each in a process of its own (bench-malloc.c). */
#pragma once

#include <stdbool.h>

#include "tests/bench/bench.h"

enum malloc_peer { MALLOC_JEMALLOC, MALLOC_MIMALLOC, MALLOC_GLIBC, N_MALLOCS };

const char *malloc_peer_name(enum malloc_peer peer);
/* Which of them can be run here? Those that cannot are told as skipped by `name`. */
void malloc_peers_find(const char *name, bool ret_there[N_MALLOCS]);
/* Run bench-malloc with these words (NULL at the end) behind the malloc's name, `trace_fd` (-1: none) as its
 * descriptor 3. Returns what it prints. */
double malloc_peer_run(enum malloc_peer peer, const char *const *words, int trace_fd);

/* Rounds of us and of all mallocs that are there. */
struct malloc_contest {
	const bool *there;
	unsigned n_rounds; /* fewer with --short */
	double (*ours)(void *arg);
	double (*peer)(void *arg, enum malloc_peer peer);
};
struct malloc_medians {
	double ours, peers[N_MALLOCS]; /* 0: not there */
};
/* In turns: who was first in a round is last in the next. */
void malloc_contest_run(const struct malloc_contest *contest, void *arg, struct malloc_medians *ret);
/* The lowest of them; N_MALLOCS: none is there. */
enum malloc_peer malloc_best(const double peers[N_MALLOCS]);

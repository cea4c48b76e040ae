/* bench_malloc.c - see bench_malloc.h. */
#include <config.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/bench_malloc.h"
#include "tests/support/dut.h"

#define TRACE_FD     3
#define NOT_THIS_ONE 77
#define MAX_WORDS    8
#define SHORT_ROUNDS 2

static const struct {
	const char *name, *library;
} mallocs[N_MALLOCS] = {
	[MALLOC_JEMALLOC] = {"jemalloc", "libjemalloc.so.2"},
	[MALLOC_MIMALLOC] = {"mimalloc", "libmimalloc.so.2"},
	[MALLOC_GLIBC] = {"glibc", NULL},
};

const char *malloc_peer_name(enum malloc_peer peer)
{
	return mallocs[peer].name;
}

static void exec_peer(enum malloc_peer peer, const char *const *words, int trace_fd)
{
	const char *arguments[MAX_WORDS] = {"bench-malloc", mallocs[peer].name};
	const char *build = getenv("HP_BUILD");
	char path[4096];

	snprintf(path, sizeof(path), "%s/tests/bench/bench-malloc", build ? build : ".");
	for (unsigned i = 0; words[i]; i++)
		arguments[2 + i] = words[i];
	if (mallocs[peer].library)
		setenv("LD_PRELOAD", mallocs[peer].library, 1);
	if (trace_fd == TRACE_FD)
		fcntl(TRACE_FD, F_SETFD, 0);
	else if (trace_fd >= 0)
		dup2(trace_fd, TRACE_FD);
	/* What the dynamic linker says when a library is not there is said by us. */
	dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
	execv(path, (char *const *)(uintptr_t)arguments);
	_exit(127);
}

/* Its exit status; *ret is what it printed. */
static int run(enum malloc_peer peer, const char *const *words, int trace_fd, double *ret)
{
	char text[64] = "";
	ssize_t n;
	int out[2], status;
	pid_t pid;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(out[1], STDOUT_FILENO);
		exec_peer(peer, words, trace_fd);
	}
	close(out[1]);
	n = read(out[0], text, sizeof(text) - 1);
	close(out[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	*ret = n > 0 ? strtod(text, NULL) : 0;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void malloc_peers_find(const char *name, bool ret_there[N_MALLOCS])
{
	double none;

	for (enum malloc_peer peer = 0; peer < N_MALLOCS; peer++) {
		ret_there[peer] = run(peer, DUT_WORDS("pair", "4096", "1", "0"), -1, &none) == 0;
		if (!ret_there[peer])
			bench_skip(name, "%s cannot be loaded (%s)", mallocs[peer].name,
				   mallocs[peer].library ? mallocs[peer].library
							 : "a sanitizer is in its place");
	}
}

double malloc_peer_run(enum malloc_peer peer, const char *const *words, int trace_fd)
{
	double figure;
	int status = run(peer, words, trace_fd, &figure);

	if (status != 0)
		fail_msg("bench-malloc %s %s: exit status %d", mallocs[peer].name, words[0], status);
	return figure;
}

void malloc_contest_run(const struct malloc_contest *contest, void *arg, struct malloc_medians *ret)
{
	unsigned n_rounds = bench_n(contest->n_rounds, SHORT_ROUNDS);
	double figures[N_MALLOCS + 1][BENCH_MAX_ROUNDS] = {0};

	assert_in_range(n_rounds, 1, BENCH_MAX_ROUNDS);
	for (unsigned round = 0; round < n_rounds; round++)
		for (unsigned i = 0; i <= N_MALLOCS; i++) {
			unsigned side = (round + i) % (N_MALLOCS + 1);

			if (side == N_MALLOCS)
				figures[side][round] = contest->ours(arg);
			else if (contest->there[side])
				figures[side][round] = contest->peer(arg, (enum malloc_peer)side);
		}
	ret->ours = bench_median(figures[N_MALLOCS], n_rounds);
	for (unsigned i = 0; i < N_MALLOCS; i++)
		ret->peers[i] = bench_median(figures[i], n_rounds);
}

enum malloc_peer malloc_best(const double peers[N_MALLOCS])
{
	enum malloc_peer best = N_MALLOCS;

	for (enum malloc_peer i = 0; i < N_MALLOCS; i++)
		if (peers[i] > 0 && (best == N_MALLOCS || peers[i] < peers[best]))
			best = i;
	return best;
}

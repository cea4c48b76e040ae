/* bench.h - what a benchmark is: a contest between ours and a peer's, in one run, round by round in turns.
 *
 * A benchmark runs in a process of its own, and may assert by cmocka: it then counts as failed. A goal that
 * is not met is no failure, but a result. All figures are medians over the rounds.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* ---- what is told ---- */

enum bench_goal {
	BENCH_AT_LEAST, /* so many times better than the peer: faster, or more a second */
	BENCH_AT_MOST,  /* so many times what the peer needs: time, or bytes */
};

/* A figure that a contest yields, and what is wanted of it. */
struct bench_figure {
	const char *name; /* as in the table of goals, with what tells it from the benchmark's others */
	const char *unit; /* of both sides: "us", "ns", "GB/s", "1/s" */
	bool is_rate;     /* more is better */
	enum bench_goal goal;
	double times;
};

/* Tell a figure. The ratio is such that `times` is what it has to reach (BENCH_AT_LEAST) or to keep to. */
void bench_tell(const struct bench_figure *figure, double ours, double peer, const char *peer_name);
/* Say why a benchmark, or a part of it, or a peer, is left out. Printf. */
__attribute__((format(printf, 2, 3))) void bench_skip(const char *name, const char *format, ...);
/* A line for people: what was measured besides. Printf. Goes to stderr with --json. */
__attribute__((format(printf, 1, 2))) void bench_note(const char *format, ...);

/* ---- contests ---- */

#define BENCH_MAX_FIGURES 4
#define BENCH_MAX_ROUNDS  64

/* One round of one side: `ret` gets a value for each figure. */
typedef void bench_side(void *arg, double *ret);

struct bench_contest {
	const char *peer_name;
	const struct bench_figure *figures; /* of both sides */
	unsigned n_figures;
	unsigned n_rounds; /* of each side, at most BENCH_MAX_ROUNDS; fewer with --short */
	bench_side *ours, *peer;
};

/* Run the rounds in turns, now one side first, now the other; tell the medians. */
void bench_run_contest(const struct bench_contest *contest, void *arg);

/* ---- measuring ---- */

uint64_t bench_now_ns(void);
/* This thread's processor time, for what never waits: others on the machine then cost it caches, but no
 * turns. */
uint64_t bench_cpu_ns(void);
/* Is only seen whether it works? */
bool bench_is_short(void);
/* `n`, or with --short `n_short`. */
unsigned bench_n(unsigned n, unsigned n_short);
/* Sorts. */
double bench_median(double *values, unsigned n);
/* Of `n` times in ns, in us: sorts. */
double bench_percentile_us(uint64_t *times_ns, unsigned n, double percent);
/* Keep the compiler from leaving out what computes this. */
static inline void bench_keep(const void *memory)
{
	__asm__ volatile("" : : "r"(memory) : "memory");
}

/* ---- the benchmarks, each in a file of its own ---- */

void bench_ready_1g(void);
void bench_ready_2m(void);
void bench_ready_lease(void);
void bench_scrub(void);
void bench_reclaim(void);
void bench_rpc(void);
void bench_pipeline(void);
void bench_scale_leases(void);
void bench_scale_clients(void);
void bench_workers(void);
void bench_cache(void);
void bench_replay(void);
void bench_scale_arena(void);
void bench_crowd(void);

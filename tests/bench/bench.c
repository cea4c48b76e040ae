/* bench.c - see bench.h. */
#include <config.h>

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "tests/bench/bench.h"
#include "tests/bench/bench_options.h"

#define SHORT_ROUNDS 2

struct bench_options bench_options;

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t bench_now_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t bench_cpu_ns(void)
{
	return clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

bool bench_is_short(void)
{
	return bench_options.is_short;
}

unsigned bench_n(unsigned n, unsigned n_short)
{
	return bench_options.is_short ? n_short : n;
}

static int compare_doubles(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_median(double *values, unsigned n)
{
	assert_true(n > 0);
	qsort(values, n, sizeof(values[0]), compare_doubles);
	return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static int compare_times(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

double bench_percentile_us(uint64_t *times_ns, unsigned n, double percent)
{
	assert_true(n > 0);
	qsort(times_ns, n, sizeof(times_ns[0]), compare_times);
	return (double)times_ns[(unsigned)((n - 1) * percent / 100)] / 1000;
}

/* ---- telling ---- */

static void print_json(const struct bench_figure *figure, double ours, double peer, const char *peer_name,
		       double ratio, bool met)
{
	char goal[32];
	json_t *line;

	snprintf(goal, sizeof(goal), "%s %g", figure->goal == BENCH_AT_LEAST ? ">=" : "<=", figure->times);
	line = json_pack("{s:s, s:f, s:f, s:s, s:s, s:f, s:s, s:b}", "name", figure->name, "ours", ours,
			 "peer", peer, "peer_name", peer_name, "unit", figure->unit, "ratio", ratio, "goal",
			 goal, "met", met);
	assert_non_null(line);
	assert_int_equal(json_dumpf(line, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)), 0);
	putchar('\n');
	json_decref(line);
}

void bench_tell(const struct bench_figure *figure, double ours, double peer, const char *peer_name)
{
	bool at_least = figure->goal == BENCH_AT_LEAST;
	double ratio = at_least && !figure->is_rate ? peer / ours : ours / peer;
	bool met = at_least ? ratio >= figure->times : ratio <= figure->times;

	if (bench_options.is_json)
		print_json(figure, ours, peer, peer_name, ratio, met);
	else
		printf(BENCH_ROW, figure->name, ours, peer, figure->unit, ratio,
		       at_least ? ">=" : "<=", figure->times, met ? "met" : "NOT MET", peer_name);
	fflush(stdout);
}

void bench_skip(const char *name, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fprintf(stderr, "%s: skipped: ", name);
	vfprintf(stderr, format, arguments);
	fputc('\n', stderr);
	va_end(arguments);
}

void bench_note(const char *format, ...)
{
	FILE *to = bench_options.is_json ? stderr : stdout;
	va_list arguments;

	va_start(arguments, format);
	fputs("  ", to);
	vfprintf(to, format, arguments);
	fputc('\n', to);
	fflush(to);
	va_end(arguments);
}

/* ---- contests ---- */

struct rounds {
	double ours[BENCH_MAX_FIGURES][BENCH_MAX_ROUNDS], peer[BENCH_MAX_FIGURES][BENCH_MAX_ROUNDS];
};

static void run_side(bench_side *side, void *arg, double (*values)[BENCH_MAX_ROUNDS], unsigned n_figures,
		     unsigned round)
{
	double figures[BENCH_MAX_FIGURES] = {0};

	side(arg, figures);
	for (unsigned i = 0; i < n_figures; i++)
		values[i][round] = figures[i];
}

void bench_run_contest(const struct bench_contest *contest, void *arg)
{
	unsigned n_rounds = bench_n(contest->n_rounds, SHORT_ROUNDS);
	struct rounds *rounds = calloc(1, sizeof(*rounds));

	assert_non_null(rounds);
	assert_in_range(n_rounds, 1, BENCH_MAX_ROUNDS);
	assert_in_range(contest->n_figures, 1, BENCH_MAX_FIGURES);
	for (unsigned round = 0; round < n_rounds; round++) {
		if (round % 2 == 0)
			run_side(contest->ours, arg, rounds->ours, contest->n_figures, round);
		run_side(contest->peer, arg, rounds->peer, contest->n_figures, round);
		if (round % 2 == 1)
			run_side(contest->ours, arg, rounds->ours, contest->n_figures, round);
	}
	for (unsigned i = 0; i < contest->n_figures; i++)
		bench_tell(&contest->figures[i], bench_median(rounds->ours[i], n_rounds),
			   bench_median(rounds->peer[i], n_rounds), contest->peer_name);
	free(rounds);
}

/* bench_scale.c - see bench_scale.h. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/bench/bench_pairs.h"
#include "tests/bench/bench_scale.h"

#define N_ROUNDS      21
#define N_PAIRS       5000
#define N_PAIRS_SHORT 200

static void open_side(struct scale_side *side, const char *const *arguments)
{
	house_open(&side->house, arguments);
	assert_int_equal(hp_open(side->house.dut.socket, &side->client), 0);
}

static void close_side(struct scale_side *side)
{
	side->client = hp_close(side->client);
	house_close(&side->house);
}

void scale_open(struct scale *scale, const char *const *arguments)
{
	open_side(&scale->large, arguments);
	open_side(&scale->small, arguments);
}

void scale_close(struct scale *scale)
{
	close_side(&scale->large);
	close_side(&scale->small);
}

static void run_large(void *arg, double *ret)
{
	const struct scale *scale = arg;

	ret[0] = bench_run_pairs(scale->large.client, bench_n(N_PAIRS, N_PAIRS_SHORT)).p50_us;
}

static void run_small(void *arg, double *ret)
{
	const struct scale *scale = arg;

	ret[0] = bench_run_pairs(scale->small.client, bench_n(N_PAIRS, N_PAIRS_SHORT)).p50_us;
}

void scale_run(struct scale *scale, const struct bench_figure *figure, const char *small_name)
{
	const struct bench_contest contest = {.peer_name = small_name,
					      .figures = figure,
					      .n_figures = 1,
					      .n_rounds = N_ROUNDS,
					      .ours = run_large,
					      .peer = run_small};

	bench_run_contest(&contest, scale);
}

void scale_tell_bytes(const struct bench_figure *figure, uint64_t before_bytes, uint64_t after_bytes,
		      unsigned n, double goal_bytes)
{
	const double grown = after_bytes > before_bytes ? (double)(after_bytes - before_bytes) : 0;

	bench_tell(figure, grown / n, goal_bytes, "the goal");
}

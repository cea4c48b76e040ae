/* bench_pairs.c - see bench_pairs.h. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/bench/bench.h"
#include "tests/bench/bench_pairs.h"

#define N_WARM 100

/* The times of both calls. */
static void run_pair(hp_client *client, uint64_t times_ns[2])
{
	uint64_t start_ns = bench_now_ns(), leased_ns;
	hp_lease *lease;

	if (hp_alloc(client, 1, NULL, &lease) < 0)
		fail_msg("alloc: %s", hp_error());
	leased_ns = bench_now_ns();
	if (hp_free(lease) < 0)
		fail_msg("free: %s", hp_error());
	times_ns[0] = leased_ns - start_ns;
	times_ns[1] = bench_now_ns() - leased_ns;
}

struct bench_pairs bench_run_pairs(hp_client *client, unsigned n)
{
	static uint64_t times_ns[2 * BENCH_MAX_PAIRS];

	assert_in_range(n, N_WARM, BENCH_MAX_PAIRS);
	for (unsigned i = 0; i < N_WARM; i++)
		run_pair(client, &times_ns[2 * i]);
	for (unsigned i = 0; i < n; i++)
		run_pair(client, &times_ns[2 * i]);
	return (struct bench_pairs){.p50_us = bench_percentile_us(times_ns, 2 * n, 50),
				    .p99_us = bench_percentile_us(times_ns, 2 * n, 99)};
}

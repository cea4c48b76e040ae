/* test_pcache.c - the page cache rule by rule: lengths, limits, hot and cold, refill and drain. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/pcache.h"

#define UNTOUCHED UINT64_C(0xdeadbeef)

static struct pcache *new_cache(uint32_t high_pages, uint32_t batch_pages)
{
	const struct pcache_limits limits = {.high_pages = high_pages, .batch_pages = batch_pages};
	size_t n_bytes = (pcache_bytes(&limits) + 63) / 64 * 64;
	void *memory = aligned_alloc(64, n_bytes);

	assert_non_null(memory);
	memset(memory, 0, n_bytes);
	return pcache_init(memory, &limits);
}

static void end(struct pcache *pcache)
{
	pcache_check(pcache);
	free(pcache);
}

static void put(struct pcache *pcache, uint64_t run, uint64_t n_pages, bool hot)
{
	assert_int_equal(pcache_put(pcache, run, n_pages, hot), 0);
}

static uint64_t take(struct pcache *pcache, uint64_t n_pages)
{
	uint64_t run;

	assert_int_equal(pcache_take(pcache, n_pages, &run), 0);
	return run;
}

static void assert_empty(struct pcache *pcache, uint64_t n_pages)
{
	uint64_t run = UNTOUCHED;

	assert_int_equal(pcache_take(pcache, n_pages, &run), PCACHE_EMPTY);
	assert_int_equal(run, UNTOUCHED);
}

static void pcache_new_is_empty(void **state)
{
	struct pcache *pcache = new_cache(64, 16);
	struct pcache_run runs[4];

	for (uint64_t length = 1; length <= PCACHE_MAX_RUN + 1; length++)
		assert_empty(pcache, length);
	assert_int_equal(pcache_drain(pcache, 16, runs, 4), 0);
	assert_int_equal(pcache_pages(pcache), 0);
	end(pcache);
}

static void pcache_take_of_another_length_is_empty(void **state)
{
	struct pcache *pcache = new_cache(64, 16);

	put(pcache, 100, 4, true);
	assert_empty(pcache, 3);
	assert_empty(pcache, 5);
	assert_int_equal(take(pcache, 4), 100);
	end(pcache);
}

static void pcache_hot_runs_come_back_last_in_first_out(void **state)
{
	struct pcache *pcache = new_cache(64, 16);

	put(pcache, 10, 2, true);
	put(pcache, 20, 2, true);
	put(pcache, 30, 2, true);
	assert_int_equal(take(pcache, 2), 30);
	assert_int_equal(take(pcache, 2), 20);
	assert_int_equal(take(pcache, 2), 10);
	end(pcache);
}

static void pcache_cold_runs_come_back_after_hot_ones(void **state)
{
	struct pcache *pcache = new_cache(64, 16);

	put(pcache, 10, 1, true);
	put(pcache, 20, 1, false);
	put(pcache, 30, 1, true);
	put(pcache, 40, 1, false);
	assert_int_equal(take(pcache, 1), 30);
	assert_int_equal(take(pcache, 1), 10);
	assert_int_equal(take(pcache, 1), 20);
	assert_int_equal(take(pcache, 1), 40);
	end(pcache);
}

static void pcache_put_past_high_is_full_and_changes_nothing(void **state)
{
	struct pcache *pcache = new_cache(10, 4);

	put(pcache, 1, 4, true);
	put(pcache, 2, 5, true);
	assert_int_equal(pcache_put(pcache, 3, 2, true), PCACHE_FULL);
	assert_int_equal(pcache_pages(pcache), 9);
	put(pcache, 3, 1, false);
	assert_int_equal(pcache_put(pcache, 4, 1, false), PCACHE_FULL);
	end(pcache);
}

static void pcache_put_of_a_long_run_is_full(void **state)
{
	struct pcache *pcache = new_cache(64, 16);

	put(pcache, 1, PCACHE_MAX_RUN, true);
	assert_int_equal(pcache_put(pcache, 2, PCACHE_MAX_RUN + 1, true), PCACHE_FULL);
	assert_int_equal(pcache_refill_runs(pcache, PCACHE_MAX_RUN + 1), 0);
	end(pcache);
}

static void pcache_run_longer_than_high_is_never_cached(void **state)
{
	struct pcache *pcache = new_cache(3, 3);

	assert_int_equal(pcache_put(pcache, 1, 4, true), PCACHE_FULL);
	assert_int_equal(pcache_refill_runs(pcache, 4), 0);
	put(pcache, 1, 3, false);
	assert_int_equal(take(pcache, 3), 1);
	end(pcache);
}

static void pcache_of_nothing_caches_nothing(void **state)
{
	struct pcache *pcache = new_cache(0, 0);

	assert_int_equal(pcache_put(pcache, 1, 1, true), PCACHE_FULL);
	assert_int_equal(pcache_refill_runs(pcache, 1), 0);
	assert_empty(pcache, 1);
	end(pcache);
}

/* Until it is a batch. */
static void refill_until(struct pcache *pcache, uint64_t n_pages, uint32_t n_runs)
{
	uint32_t n = 1;

	while (n < n_runs) {
		assert_int_equal(pcache_refill_runs(pcache, n_pages), n);
		n = 2 * n < n_runs ? 2 * n : n_runs;
	}
	assert_int_equal(pcache_refill_runs(pcache, n_pages), n_runs);
	assert_int_equal(pcache_refill_runs(pcache, n_pages), n_runs);
}

static void pcache_refill_doubles_and_what_was_drained_halves_it(void **state)
{
	struct pcache *pcache = new_cache(40, 16);
	struct pcache_run runs[8];

	refill_until(pcache, 1, 16);
	refill_until(pcache, 3, 5);
	put(pcache, 1, 1, true);
	assert_int_equal(pcache_drain(pcache, 1, runs, 8), 1);
	assert_int_equal(pcache_refill_runs(pcache, 1), 8);
	assert_int_equal(pcache_refill_runs(pcache, 1), 16);
	assert_int_equal(pcache_refill_runs(pcache, 3), 5);
	end(pcache);
}

static void pcache_refill_is_a_batch_or_what_there_is_room_for(void **state)
{
	struct pcache *pcache = new_cache(40, 16);

	refill_until(pcache, 1, 16);
	refill_until(pcache, 3, 5);
	refill_until(pcache, 16, 1);
	put(pcache, 1, 16, true);
	put(pcache, 2, 16, true);
	assert_int_equal(pcache_refill_runs(pcache, 1), 8);
	assert_int_equal(pcache_refill_runs(pcache, 9), 0);
	end(pcache);
}

static void pcache_refill_fetches_one_of_a_length_over_the_batch(void **state)
{
	struct pcache *pcache = new_cache(40, 4);

	assert_int_equal(pcache_refill_runs(pcache, 10), 1);
	end(pcache);
}

static void pcache_drain_takes_the_longest_unused_length_first(void **state)
{
	struct pcache *pcache = new_cache(64, 16);
	struct pcache_run runs[8];

	put(pcache, 10, 2, true);
	put(pcache, 11, 2, true);
	put(pcache, 20, 5, true);
	put(pcache, 30, 3, true);
	put(pcache, 12, 2, true);
	assert_int_equal(pcache_drain(pcache, 6, runs, 8), 2);
	assert_int_equal(runs[0].run, 20);
	assert_int_equal(runs[0].n_pages, 5);
	assert_int_equal(runs[1].run, 30);
	assert_int_equal(runs[1].n_pages, 3);
	assert_int_equal(pcache_pages(pcache), 6);
	end(pcache);
}

static void pcache_take_that_finds_nothing_counts_as_use(void **state)
{
	struct pcache *pcache = new_cache(64, 16);
	struct pcache_run runs[8];

	put(pcache, 10, 2, true);
	put(pcache, 20, 5, true);
	assert_int_equal(take(pcache, 2), 10);
	assert_empty(pcache, 2);
	put(pcache, 11, 2, true);
	assert_int_equal(pcache_drain(pcache, 1, runs, 8), 1);
	assert_int_equal(runs[0].run, 20);
	end(pcache);
}

static void pcache_drain_takes_the_coldest_runs_first(void **state)
{
	struct pcache *pcache = new_cache(64, 16);
	struct pcache_run runs[8];

	put(pcache, 10, 2, true);
	put(pcache, 20, 2, true);
	put(pcache, 30, 2, false);
	assert_int_equal(pcache_drain(pcache, 4, runs, 8), 2);
	assert_int_equal(runs[0].run, 30);
	assert_int_equal(runs[1].run, 10);
	assert_int_equal(take(pcache, 2), 20);
	end(pcache);
}

static void pcache_drain_stops_when_the_room_is_used_up(void **state)
{
	struct pcache *pcache = new_cache(64, 16);
	struct pcache_run runs[3];

	for (uint64_t run = 0; run < 10; run++)
		put(pcache, run, 1, true);
	assert_int_equal(pcache_drain(pcache, 64, runs, 3), 3);
	assert_int_equal(pcache_pages(pcache), 7);
	assert_int_equal(pcache_drain(pcache, 64, runs, 0), 0);
	end(pcache);
}

static void pcache_ring_that_went_round_keeps_its_order(void **state)
{
	struct pcache *pcache = new_cache(4, 2);
	struct pcache_run run;

	for (uint64_t i = 0; i < 100; i++) {
		put(pcache, i, 1, true);
		if (i < 3)
			continue;
		assert_int_equal(pcache_drain(pcache, 1, &run, 1), 1);
		assert_int_equal(run.run, i - 3);
	}
	for (uint64_t i = 99; i > 96; i--)
		assert_int_equal(take(pcache, 1), i);
	assert_empty(pcache, 1);
	end(pcache);
}

static void sum_pages(void *arg, uint64_t run, uint64_t n_pages)
{
	*(uint64_t *)arg += run * 100 + n_pages;
}

static void pcache_for_each_visits_every_run(void **state)
{
	struct pcache *pcache = new_cache(64, 16);
	uint64_t sum = 0;

	put(pcache, 1, 2, true);
	put(pcache, 2, 2, false);
	put(pcache, 4, 16, true);
	pcache_for_each(pcache, sum_pages, &sum);
	assert_int_equal(sum, 7 * 100 + 20);
	end(pcache);
}

static void pcache_of_the_usual_limits_fits_8_kib(void **state)
{
	const struct pcache_limits limits = {.high_pages = 256, .batch_pages = 16};

	assert_true(pcache_bytes(&limits) <= 8192);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pcache_new_is_empty),
		cmocka_unit_test(pcache_take_of_another_length_is_empty),
		cmocka_unit_test(pcache_hot_runs_come_back_last_in_first_out),
		cmocka_unit_test(pcache_cold_runs_come_back_after_hot_ones),
		cmocka_unit_test(pcache_put_past_high_is_full_and_changes_nothing),
		cmocka_unit_test(pcache_put_of_a_long_run_is_full),
		cmocka_unit_test(pcache_run_longer_than_high_is_never_cached),
		cmocka_unit_test(pcache_of_nothing_caches_nothing),
		cmocka_unit_test(pcache_refill_doubles_and_what_was_drained_halves_it),
		cmocka_unit_test(pcache_refill_is_a_batch_or_what_there_is_room_for),
		cmocka_unit_test(pcache_refill_fetches_one_of_a_length_over_the_batch),
		cmocka_unit_test(pcache_drain_takes_the_longest_unused_length_first),
		cmocka_unit_test(pcache_take_that_finds_nothing_counts_as_use),
		cmocka_unit_test(pcache_drain_takes_the_coldest_runs_first),
		cmocka_unit_test(pcache_drain_stops_when_the_room_is_used_up),
		cmocka_unit_test(pcache_ring_that_went_round_keeps_its_order),
		cmocka_unit_test(pcache_for_each_visits_every_run),
		cmocka_unit_test(pcache_of_the_usual_limits_fits_8_kib),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

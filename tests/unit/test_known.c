/* test_known.c - the arenas that a client knows: found by id, told once when they are gone, and never more in
 * the table than there are. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/lease/known.h"
#include "daemon/pool/pool.h"

#define N_SLOTS 20000

/* A pool of which only its arenas' ids are looked at. */
static struct pool pool;

static int setup(void **state)
{
	pool.arena_ids = calloc(N_SLOTS, sizeof(*pool.arena_ids));
	assert_non_null(pool.arena_ids);
	return 0;
}

static int teardown(void **state)
{
	free(pool.arena_ids);
	return 0;
}

static void known_gone_is_told_once_in_slices(void **state)
{
	bool *told = calloc(N_SLOTS + 1, sizeof(*told));
	struct known known = {0};
	unsigned n_told = 0, n_calls = 0, n;
	uint64_t ids[32];
	bool is_whole;

	assert_non_null(told);
	for (uint32_t slot = 0; slot < N_SLOTS; slot++) {
		pool.arena_ids[slot] = slot + 1;
		assert_int_equal(known_add(&known, &pool, slot + 1, slot, slot % 3 == 0), 0);
	}
	for (uint32_t slot = 0; slot < N_SLOTS; slot += 2)
		pool.arena_ids[slot] = 0;
	do {
		n = known_forget_gone(&known, &pool, ids, 32, &is_whole);
		for (unsigned i = 0; i < n; i++) {
			assert_true(ids[i] % 2 == 1 && !told[ids[i]]);
			told[ids[i]] = true;
		}
		n_told += n;
		n_calls++;
	} while (!is_whole);
	assert_int_equal(n_told, N_SLOTS / 2);
	assert_in_range(n_calls, N_SLOTS / 2 / 32, N_SLOTS);
	for (uint64_t id = 1; id <= N_SLOTS; id++) {
		const struct known_arena *arena = known_find(&known, id);

		assert_int_equal(arena != NULL, id % 2 == 0);
		assert_true(!arena || (arena->slot == id - 1 && arena->write == (arena->slot % 3 == 0)));
	}
	known_fini(&known);
	free(told);
}

/* Arenas come and go, and the client is told of none: what is kept is what there is. */
static void known_is_as_large_as_what_is_there(void **state)
{
	struct known known = {0};

	memset((void *)pool.arena_ids, 0, N_SLOTS * sizeof(*pool.arena_ids));
	for (uint64_t id = 1; id <= 100000; id++) {
		/* Eight at a time, in high slots. */
		const uint32_t slot = N_SLOTS - 1 - (uint32_t)(id % 8);

		pool.arena_ids[slot] = id;
		assert_int_equal(known_add(&known, &pool, id, slot, true), 0);
		assert_non_null(known_find(&known, id));
		assert_in_range(known.room, 8, 64);
	}
	known_fini(&known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_gone_is_told_once_in_slices),
		cmocka_unit_test(known_is_as_large_as_what_is_there),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}

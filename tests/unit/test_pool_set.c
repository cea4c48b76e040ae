/* test_pool_set.c - sets of pools, the last one that there can be included. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/pool/pool_set.h"

static void pool_set_gives_what_was_added_lowest_first(void **state)
{
	static const unsigned indexes[] = {POOLS_MAX - 1, 31, 0, 32, 1, POOLS_MAX - 1};
	static const unsigned sorted[] = {0, 1, 31, 32, POOLS_MAX - 1};
	struct pool_set set = {0};
	unsigned index = 7;

	assert_false(pool_set_take(&set, &index));
	assert_int_equal(index, 7);
	for (unsigned i = 0; i < sizeof(indexes) / sizeof(indexes[0]); i++)
		pool_set_add(&set, indexes[i]);
	for (unsigned i = 0; i < sizeof(sorted) / sizeof(sorted[0]); i++) {
		assert_true(pool_set_take(&set, &index));
		assert_int_equal(index, sorted[i]);
	}
	assert_false(pool_set_take(&set, &index));
}

/* Fails where it is walked by shifts: the last pool's is followed by a shift by 64. */
static void pool_set_of_each_pool_alone_ends(void **state)
{
	for (unsigned i = 0; i < POOLS_MAX; i++) {
		struct pool_set set = {0};
		unsigned index = POOLS_MAX;

		pool_set_add(&set, i);
		assert_true(pool_set_take(&set, &index));
		assert_int_equal(index, i);
		assert_false(pool_set_take(&set, &index));
	}
}

static void pool_set_shared_is_taken_once(void **state)
{
	struct pool_set_shared shared = {0};
	struct pool_set all;
	unsigned n = 0, index;

	for (unsigned i = 0; i < POOLS_MAX; i++)
		pool_set_add_shared(&shared, i);
	all = pool_set_take_all_shared(&shared);
	while (pool_set_take(&all, &index))
		assert_int_equal(index, n++);
	assert_int_equal(n, POOLS_MAX);
	all = pool_set_take_all_shared(&shared);
	assert_false(pool_set_take(&all, &index));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pool_set_gives_what_was_added_lowest_first),
		cmocka_unit_test(pool_set_of_each_pool_alone_ends),
		cmocka_unit_test(pool_set_shared_is_taken_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

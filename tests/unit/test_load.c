/* test_load.c - who has had how much of late. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/rpc/load.h"

#define STEP_NS (NS_PER_MS / 10)
#define N_STEPS 400

/* Busy for so many percent of each step; returns the level at its end. */
static unsigned level_after(struct load *load, uint64_t *now_ns, unsigned percent)
{
	for (unsigned i = 0; i < N_STEPS; i++) {
		load_add(load, *now_ns, *now_ns + STEP_NS * percent / 100);
		*now_ns += STEP_NS;
	}
	return load_level(load, *now_ns);
}

static void load_level_is_by_share_of_the_worker(void **state)
{
	static const struct {
		unsigned percent, level;
	} cases[] = {{1, 0}, {4, 0}, {10, 1}, {20, 1}, {30, 2}, {40, 2}, {60, 3}, {100, 3}, {2, 0}};
	uint64_t now_ns = NS_PER_S;
	void *users = NULL;
	struct load *load = load_get(&users, 1001);

	assert_int_equal(load_level(load, now_ns), 0);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(level_after(load, &now_ns, cases[i].percent), cases[i].level);
	load_put(&users, load);
	assert_null(users);
}

static void load_is_forgotten_in_ten_milliseconds(void **state)
{
	uint64_t now_ns = NS_PER_S;
	void *users = NULL;
	struct load *load = load_get(&users, 1001);

	assert_int_equal(level_after(load, &now_ns, 100), LOAD_LEVELS - 1);
	assert_int_equal(load_level(load, now_ns + 10 * NS_PER_MS), 0);
	load_put(&users, load);
}

/* The kernel may have let others run meanwhile. */
static void load_of_one_long_turn_is_little(void **state)
{
	uint64_t now_ns = NS_PER_S;
	void *users = NULL;
	struct load *load = load_get(&users, 1001);

	load_add(load, now_ns, now_ns + 50 * NS_PER_MS);
	assert_int_equal(load_level(load, now_ns + 50 * NS_PER_MS), 0);
	load_put(&users, load);
}

static void load_is_one_for_all_of_a_user(void **state)
{
	void *users = NULL;
	struct load *one = load_get(&users, 1001), *other = load_get(&users, 1002);

	assert_ptr_not_equal(one, other);
	assert_ptr_equal(load_get(&users, 1001), one);
	load_put(&users, load_ref(one));
	load_put(&users, one);
	assert_ptr_equal(load_get(&users, 1001), one);
	load_put(&users, one);
	load_put(&users, one);
	load_put(&users, other);
	assert_null(users);
	assert_null(load_put(&users, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(load_level_is_by_share_of_the_worker),
		cmocka_unit_test(load_is_forgotten_in_ten_milliseconds),
		cmocka_unit_test(load_of_one_long_turn_is_little),
		cmocka_unit_test(load_is_one_for_all_of_a_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

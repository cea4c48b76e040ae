/* system_memory.c - clients that ask for more than there is: the daemon says what limits it, and lives on.
 *
 * All of it in memory cgroups, so that nothing here can make the host short.
 */
#include <config.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/hugetlb.h"
#include "tests/support/memcg.h"
#include "tests/support/operator.h"

#define MIB UINT64_C(1048576)

/* The daemon lives in it, and we do not. */
static void start_inside(struct dut *dut, const struct memcg *memcg, const char *const *arguments)
{
	memcg_enter(memcg);
	dut_start(dut, arguments);
	memcg_leave();
}

static int tear_down(void **state)
{
	memcg_leave();
	hugetlb_unlock();
	(void)dut_kill_all(state);
	return memcg_remove_all(state);
}

/* It is refused in a sentence that says all of that. */
static void expect_short(const struct dut *dut, const char *const *arguments, const char *says, ...)
{
	char *error = NULL;
	va_list words;

	assert_int_equal(dut_ctl(dut, 0, arguments, NULL, &error), FAILED);
	va_start(words, says);
	for (const char *word = says; word; word = va_arg(words, const char *))
		if (!strstr(error, word))
			fail_msg("\"%s\" is not in \"%s\"", word, error);
	va_end(words);
	free(error);
}

static void memory_cgroup_that_is_full_refuses_and_leases_live_on(void **state)
{
	struct memcg memcg;
	struct dut dut;
	uint64_t lease;
	pid_t holder;

	(void)state;
	memcg_need();
	memcg_make(&memcg, NULL, 128 * MIB);
	start_inside(&dut, &memcg, DUT_NO_WORDS);
	holder = dut_hold(&dut, 0, DUT_WORDS("32M"), &lease);
	for (unsigned i = 0; i < 3; i++)
		expect_short(&dut, DUT_WORDS("alloc", "200M"), "memory cgroup", memcg.name, "allows 128M",
			     "raise its limit", (char *)NULL);
	assert_int_equal(memcg_oom_kills(&memcg), 0);
	assert_int_equal(dut_pool(&dut, "default", "leases"), 1);
	operator_leave(&dut, 0, DUT_WORDS("16M"));
	operator_end(holder, SIGTERM, DONE);
	dut_stop(&dut);
}

/* What counts is the nearest limit up the tree, not the nearest cgroup. */
static void memory_cgroup_above_limits_too(void **state)
{
	struct memcg parent, child;
	struct dut dut;

	(void)state;
	memcg_need();
	memcg_make(&parent, NULL, 96 * MIB);
	memcg_make(&child, &parent, 512 * MIB);
	start_inside(&dut, &child, DUT_NO_WORDS);
	expect_short(&dut, DUT_WORDS("alloc", "160M"), parent.name, "allows 96M", (char *)NULL);
	assert_int_equal(memcg_oom_kills(&child) + memcg_oom_kills(&parent), 0);
	operator_leave(&dut, 0, DUT_WORDS("48M"));
	dut_stop(&dut);
}

/* A limit that is raised meanwhile is seen. */
static void memory_cgroup_that_is_raised_serves(void **state)
{
	struct memcg memcg;
	struct dut dut;

	(void)state;
	memcg_need();
	memcg_make(&memcg, NULL, 64 * MIB);
	start_inside(&dut, &memcg, DUT_NO_WORDS);
	expect_short(&dut, DUT_WORDS("alloc", "96M"), "allows 64M", (char *)NULL);
	memcg_set_limit(&memcg, 256 * MIB);
	operator_leave(&dut, 0, DUT_WORDS("96M"));
	assert_int_equal(memcg_oom_kills(&memcg), 0);
	dut_stop(&dut);
}

/* Whatever the pool's max says, clients of any kind of lease take what there is, and no more. */
static void memory_of_a_pool_beyond_all_memory_is_refused(void **state)
{
	static const char *const kinds[] = {"isolation=tenant", "isolation=lease"};

	(void)state;
	memcg_need();
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		struct memcg memcg;
		struct dut dut;
		char pool[64];

		memcg_make(&memcg, NULL, 128 * MIB);
		snprintf(pool, sizeof(pool), "p=4K:1T,users=*,%s", kinds[i]);
		start_inside(&dut, &memcg, DUT_WORDS("--pool", pool));
		expect_short(&dut, DUT_WORDS("alloc", "512G"), memcg.name, (char *)NULL);
		for (unsigned n = 0; n < 16; n++) {
			char *error = NULL;
			int status =
				dut_ctl(&dut, 65534, DUT_WORDS("alloc", "--detach", "16M"), NULL, &error);

			assert_true(status == DONE || (status == FAILED && strstr(error, memcg.name)));
			free(error);
		}
		assert_int_equal(memcg_oom_kills(&memcg), 0);
		assert_true(dut_pool(&dut, "p", "pages_leased") >= 16 * 256);
		assert_true(memcg_usage(&memcg) < 128 * MIB);
		dut_stop(&dut);
	}
}

/* A reserve that does not fit is refused at start, by the same name. */
static void memory_cgroup_too_small_for_the_reserve_is_named(void **state)
{
	struct memcg memcg;
	char *error;

	(void)state;
	memcg_need();
	memcg_make(&memcg, NULL, 64 * MIB);
	memcg_enter(&memcg);
	assert_int_equal(dut_start_refused(DUT_WORDS("--pool", "p=4K:256M,reserve=128M"), &error), FAILED);
	memcg_leave();
	if (!strstr(error, memcg.name) || !strstr(error, "allows 64M"))
		fail_msg("%s", error);
	assert_int_equal(memcg_oom_kills(&memcg), 0);
	free(error);
}

/* Where the kernel would give a file of 4 KiB a folio of 2 MiB, 50 leases are 50 pages all the same, and what
 * the kernel reclaims from others harms none. */
static void memory_of_small_leases_is_small_with_huge_folios(void **state)
{
	struct memcg memcg;
	struct dut dut;
	uint64_t before;

	(void)state;
	memcg_need();
	assert_true(hugetlb_lock());
	hugetlb_set_shmem("always");
	memcg_make(&memcg, NULL, 256 * MIB);
	start_inside(&dut, &memcg, DUT_WORDS("--pool", "p=4K:64M,isolation=lease"));
	before = memcg_usage(&memcg);
	for (unsigned i = 0; i < 50; i++)
		operator_leave(&dut, 0, DUT_WORDS("4K"));
	assert_int_equal(dut_pool(&dut, "p", "pages_backed"), 50);
	if (memcg_usage(&memcg) - before > 16 * MIB)
		fail_msg("50 leases of 4 KiB took %llu bytes",
			 (unsigned long long)(memcg_usage(&memcg) - before));
	dut_stop(&dut);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(memory_cgroup_that_is_full_refuses_and_leases_live_on),
		TEST(memory_cgroup_above_limits_too),
		TEST(memory_cgroup_that_is_raised_serves),
		TEST(memory_of_a_pool_beyond_all_memory_is_refused),
		TEST(memory_of_small_leases_is_small_with_huge_folios),
		TEST(memory_cgroup_too_small_for_the_reserve_is_named),
	};

	return cmocka_run_group_tests_name("system_memory", tests, NULL, NULL);
}

/* test_kernelpool.c - when the kernel is short of pages: what a backing then takes, raises and gives back.
 *
 * nr_hugepages is the whole machine's: every test has its turn, and leaves it as it was.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/unit/backing_scene.h"

static void backing_page_size_unknown_to_kernel_is_refused_by_name(void **state)
{
	char *error = scene_refusal(scene_memfd_config(3 << 20), -EINVAL);
	struct backing_kernel_counts counts;

	assert_non_null(strstr(error, "3M"));
	assert_non_null(strstr(error, "4K"));
	free(error);
	assert_int_equal(backing_kernel_counts(3 << 20, &counts), -EINVAL);
	assert_int_equal(backing_kernel_counts(KIB4, &counts), 0);
	assert_int_equal(counts.total_pages, 0);
}

static void backing_kernel_short_takes_nothing(void **state)
{
	struct backing *backing;
	struct backing_file *file = NULL;
	struct hugetlb_counts before, after;
	struct backing_shortage shortage = {0};

	hugetlb_need(MIB2, 4);
	backing = scene_new_backing(scene_memfd_config(MIB2));
	before = hugetlb_counts(MIB2);
	assert_int_equal(backing_file_new(backing, before.free + 3, -1, &file, &shortage), BACKING_SHORT);
	assert_int_equal(shortage.missing_pages, 3 + before.reserved);
	after = hugetlb_counts(MIB2);
	assert_memory_equal(&before, &after, sizeof(before));
	backing_free(backing);
}

/* ---- grow ---- */

static void backing_grow_raises_and_gives_back(void **state)
{
	struct backing_config config = scene_memfd_config(MIB2);
	struct backing_kernel_counts counts;
	struct hugetlb_counts before;
	struct backing *backing;
	struct backing_file *file;

	scene_need_root();
	hugetlb_need(MIB2, 4);
	config.grow = true;
	backing = scene_new_backing(config);
	before = hugetlb_counts(MIB2);
	file = scene_new_file(backing, before.free + 2);
	assert_int_equal(hugetlb_counts(MIB2).total, before.total + 2 + before.reserved);
	assert_int_equal(backing_kernel_counts(MIB2, &counts), 0);
	assert_int_equal(counts.raised_pages, 2 + before.reserved);
	assert_int_equal(counts.total_pages, before.total + counts.raised_pages);
	assert_int_equal(counts.free_pages, hugetlb_counts(MIB2).free);
	assert_int_equal(scene_release(file), 0);
	backing_free(backing);

	assert_int_equal(backing_give_back_raised(), 0);
	assert_int_equal(hugetlb_counts(MIB2).total, before.total);
	assert_int_equal(hugetlb_counts(MIB2).free, before.free);
	assert_int_equal(backing_kernel_counts(MIB2, &counts), 0);
	assert_int_equal(counts.raised_pages, 0);
}

static void backing_grow_beyond_memory_changes_nothing(void **state)
{
	struct backing_config config = scene_memfd_config(MIB2);
	struct backing_file *file;
	struct hugetlb_counts before, after;
	struct backing *backing;
	struct backing_shortage shortage = {0};

	hugetlb_need(MIB2, 1);
	config.grow = true;
	backing = scene_new_backing(config);
	before = hugetlb_counts(MIB2);
	assert_int_equal(backing_file_new(backing, UINT64_C(1) << 24, -1, &file, &shortage), BACKING_SHORT);
	assert_true(shortage.missing_pages > 0);
	after = hugetlb_counts(MIB2);
	assert_memory_equal(&before, &after, sizeof(before));
	backing_free(backing);
}

static void backing_grow_that_does_not_help_is_given_back(void **state)
{
	struct backing_config config = scene_mount_config(4);
	struct backing_file *file;
	struct hugetlb_counts before, after;
	struct backing *backing;
	struct backing_shortage shortage = {0};

	scene_need_root();
	hugetlb_need(MIB2, 4);
	config.grow = true;
	backing = scene_new_backing(config);
	before = hugetlb_counts(MIB2);
	/* The mount's size= is what is short, and no nr_hugepages changes that. */
	assert_int_equal(backing_file_new(backing, 6, -1, &file, &shortage), BACKING_SHORT);
	assert_int_equal(shortage.missing_pages, 2);
	after = hugetlb_counts(MIB2);
	assert_memory_equal(&before, &after, sizeof(before));
	backing_free(backing);
}

static int grow_as_nobody(void *argument)
{
	struct backing_file *file;
	struct backing_shortage shortage = {0};
	uint64_t wanted = scene_free_pages() + 1;

	STEP(1, scene_become_nobody());
	STEP(2, backing_file_new(argument, wanted, -1, &file, &shortage) == BACKING_SHORT && shortage.missing_pages >= 1);
	return 0;
}

static void backing_grow_without_privilege_is_short(void **state)
{
	struct backing_config config = scene_memfd_config(MIB2);
	struct backing *backing;

	scene_need_root();
	hugetlb_need(MIB2, 1);
	config.grow = true;
	backing = scene_new_backing(config);
	scene_assert_played(grow_as_nobody, backing);
	backing_free(backing);
}

/* ---- giving back ---- */

static void set_nr_hugepages(uint64_t n_pages)
{
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "we");

	assert_non_null(file);
	fprintf(file, "%" PRIu64, n_pages);
	assert_int_equal(fclose(file), 0);
}

static void backing_give_back_is_relative_to_what_others_set(void **state)
{
	struct backing_config config = scene_memfd_config(MIB2);
	struct hugetlb_counts before;
	struct backing *backing;

	scene_need_root();
	hugetlb_need(MIB2, 2);
	config.grow = true;
	backing = scene_new_backing(config);
	before = hugetlb_counts(MIB2);
	scene_release(scene_new_file(backing, before.free + 2));
	set_nr_hugepages(hugetlb_counts(MIB2).total + 3);
	assert_int_equal(backing_give_back_raised(), 0);
	assert_int_equal(hugetlb_counts(MIB2).total, before.total + 3);
	set_nr_hugepages(before.total);
	backing_free(backing);
}

static void backing_give_back_leaves_pages_in_use_as_surplus(void **state)
{
	struct backing_config config = scene_memfd_config(MIB2);
	struct hugetlb_counts before;
	struct backing_file *file;
	struct backing *backing;

	scene_need_root();
	hugetlb_need(MIB2, 2);
	config.grow = true;
	backing = scene_new_backing(config);
	before = hugetlb_counts(MIB2);
	file = scene_new_file(backing, before.free + 2);
	assert_int_equal(backing_give_back_raised(), 2 + before.reserved);
	assert_int_equal(hugetlb_counts(MIB2).surplus, before.surplus + 2);
	assert_int_equal(backing_file_verify(file), 0);
	assert_int_equal(scene_release(file), 0); /* though the free counter does not show them come back */
	assert_int_equal(hugetlb_counts(MIB2).total, before.total);
	assert_int_equal(hugetlb_counts(MIB2).surplus, before.surplus);
	backing_free(backing);
}

/* ---- a reserve ---- */

static void backing_own_mount_reserve_is_kept_and_grown(void **state)
{
	struct backing_config config;
	struct hugetlb_counts before;
	struct backing *backing;
	char *error;

	scene_need_root();
	hugetlb_need(MIB2, 2);
	before = hugetlb_counts(MIB2);
	config = scene_mount_config(before.free + 4);
	config.reserve_pages = before.free - before.reserved + 2;

	error = scene_refusal(config, -ENOMEM);
	assert_non_null(strstr(error, "lacks 2 of them: raise nr_hugepages by as many"));
	free(error);

	config.grow = true;
	backing = scene_new_backing(config);
	assert_int_equal(hugetlb_counts(MIB2).total, before.total + 2);
	assert_int_equal(hugetlb_counts(MIB2).reserved, before.reserved + config.reserve_pages);
	assert_int_equal(scene_release(scene_new_file(backing, config.reserve_pages)), 0);
	backing_free(backing);
	assert_int_equal(hugetlb_counts(MIB2).reserved, before.reserved);
	assert_int_equal(backing_give_back_raised(), 0);
	assert_int_equal(hugetlb_counts(MIB2).total, before.total);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, scene_end)
	const struct CMUnitTest tests[] = {
		TEST(backing_page_size_unknown_to_kernel_is_refused_by_name),
		TEST(backing_kernel_short_takes_nothing),
		TEST(backing_grow_raises_and_gives_back),
		TEST(backing_grow_beyond_memory_changes_nothing),
		TEST(backing_grow_that_does_not_help_is_given_back),
		TEST(backing_grow_without_privilege_is_short),
		TEST(backing_give_back_is_relative_to_what_others_set),
		TEST(backing_give_back_leaves_pages_in_use_as_surplus),
		TEST(backing_own_mount_reserve_is_kept_and_grown),
	};

	return cmocka_run_group_tests_name("test_kernelpool", tests, scene_make_scratch,
					   scene_remove_scratch);
}

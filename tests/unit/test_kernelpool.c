/* test_kernelpool.c - when the kernel is short of pages: what a backing then takes, raises and gives back.
 *
 * nr_hugepages is the whole machine's: every test has its turn, and leaves it as it was.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/backing/kernelpool.h"
#include "daemon/base/journal.h"
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
	STEP(2, backing_file_new(argument, wanted, -1, &file, &shortage) == BACKING_SHORT &&
			shortage.missing_pages >= 1);
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
	assert_int_equal(backing_file_verify(file, 0, backing_file_pages(file)), 0);
	assert_int_equal(scene_release(file), 0); /* though the free counter does not show them come back */
	assert_int_equal(hugetlb_counts(MIB2).total, before.total);
	assert_int_equal(hugetlb_counts(MIB2).surplus, before.surplus);
	backing_free(backing);
}

/* What is lower than what we left was set by somebody who wants it so. */
static void backing_give_back_leaves_what_an_operator_has_lowered(void **state)
{
	struct backing_config config = scene_memfd_config(MIB2);
	struct hugetlb_counts before;
	struct backing *backing;

	scene_need_root();
	hugetlb_need(MIB2, 6);
	config.grow = true;
	backing = scene_new_backing(config);
	before = hugetlb_counts(MIB2);
	for (unsigned n_lowered = 1; n_lowered <= 6; n_lowered++) {
		scene_release(scene_new_file(backing, before.free + 4));
		assert_int_equal(hugetlb_counts(MIB2).total, before.total + 4);
		set_nr_hugepages(before.total + 4 - n_lowered);
		assert_int_equal(backing_give_back_raised(), 0);
		assert_int_equal(hugetlb_counts(MIB2).total, before.total + 4 - n_lowered);
		/* And it goes on from there. */
		set_nr_hugepages(before.total);
	}
	backing_free(backing);
}

/* Whoever has the pages that were raised: others who mapped what came free. */
static void backing_grow_is_bounded_by_max_whoever_has_the_pages(void **state)
{
	struct backing_config config = scene_memfd_config(MIB2);
	struct backing_shortage shortage;
	struct hugetlb_counts before;
	struct backing_file *file;
	struct backing *backing;
	uint64_t n_lost = 0;
	char *lost[64];
	int r = 0;

	scene_need_root();
	hugetlb_need(MIB2, 1);
	before = hugetlb_counts(MIB2);
	config.grow = true;
	config.max_pages = 8;
	backing = scene_new_backing(config);
	while (r == 0 && n_lost < 64) {
		r = backing_file_new(backing, hugetlb_counts(MIB2).free + 2, -1, &file, &shortage);
		if (r != 0)
			break;
		assert_int_equal(scene_release(file), 0);
		for (unsigned i = 0; i < 2 && n_lost < 64; i++, n_lost++) {
			lost[n_lost] = mmap(NULL, MIB2, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);
			assert_ptr_not_equal(lost[n_lost], MAP_FAILED);
			lost[n_lost][0] = 1;
		}
		assert_true(hugetlb_counts(MIB2).total <= before.total + config.max_pages);
	}
	assert_int_equal(r, BACKING_SHORT);
	assert_int_equal(shortage.limit, BACKING_LIMIT_RAISED);
	while (n_lost > 0)
		munmap(lost[--n_lost], MIB2);
	backing_free(backing);
	assert_int_equal(backing_give_back_raised(), 0);
	assert_int_equal(hugetlb_counts(MIB2).total, before.total);
}

/* ---- what a dead daemon has raised ---- */

static int raise_and_die(void *argument)
{
	const struct backing_config *config = argument;
	struct backing_shortage shortage;
	struct backing_file *file;
	struct backing *backing;
	char *error;

	STEP(1, backing_new(config, &backing, &error) == 0);
	STEP(2, backing_file_new(backing, scene_free_pages() + 4, -1, &file, &shortage) == 0);
	kill(getpid(), SIGKILL);
	return 3;
}

static void die_raising(struct backing_config *config)
{
	backing_take_over(scene_next_host());
	assert_int_equal(scene_run_child(raise_and_die, config), SIGKILL);
}

static void backing_raised_by_a_dead_daemon_is_taken_over(void **state)
{
	struct backing_config config = scene_memfd_config(MIB2);
	struct backing_kernel_counts counts;
	struct hugetlb_counts before;

	scene_need_root();
	hugetlb_need(MIB2, 2);
	config.grow = true;
	before = hugetlb_counts(MIB2);
	for (unsigned i = 0; i < 3; i++) {
		die_raising(&config);
		assert_int_equal(hugetlb_counts(MIB2).total, before.total + 4);
		backing_take_over(scene_next_host());
		assert_int_equal(backing_kernel_counts(MIB2, &counts), 0);
		assert_int_equal(counts.raised_pages, 4);
		if (i == 0) { /* nobody has such a pool any more */
			backing_give_back_unwanted();
		} else {
			/* It is used before more is raised, and comes back in the end. */
			struct backing *backing = scene_new_backing(config);

			backing_give_back_unwanted();
			assert_int_equal(hugetlb_counts(MIB2).total, before.total + 4);
			scene_release(scene_new_file(backing, before.free + 4));
			assert_int_equal(hugetlb_counts(MIB2).total, before.total + 4);
			backing_free(backing);
			if (i == 2) /* and an operator has had a word in between */
				set_nr_hugepages(before.total + 1);
			assert_int_equal(backing_give_back_raised(), 0);
		}
		assert_int_equal(hugetlb_counts(MIB2).total, before.total + (i == 2 ? 1 : 0));
	}
	set_nr_hugepages(before.total);
}

/* Killed in the middle of a change: as far as the counter says it has come, and no page further. */
static void backing_raised_in_part_is_taken_over_in_part(void **state)
{
	const struct {
		int from, to, pages, now, expected;
	} cases[] = {
		{0, 4, 4, 0, 0},  {0, 4, 4, 3, 3}, {0, 4, 4, 4, 4}, {0, 4, 4, 9, 4},
		{0, 4, 4, -1, 0}, {4, 0, 0, 4, 4}, {4, 0, 0, 1, 1}, {4, 0, 0, 0, 0},
		{4, 0, 0, -1, 0}, {4, 2, 3, 4, 5}, {4, 2, 3, 2, 3}, {3, 3, 3, 3, 3},
	};
	struct backing_kernel_counts counts;
	struct hugetlb_counts before;
	const struct backing_host *host;

	scene_need_root();
	hugetlb_need(MIB2, 16);
	before = hugetlb_counts(MIB2);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const uint64_t base = before.total - cases[i].now;

		host = scene_next_host();
		assert_int_equal(journal_put(host->journal, "raised:2097152",
					     "7 %" PRIu64 " %" PRIu64 " test=%d", base + cases[i].from,
					     base + cases[i].to, cases[i].pages),
				 0);
		backing_take_over(host);
		assert_int_equal(backing_kernel_counts(MIB2, &counts), 0);
		assert_int_equal(counts.raised_pages, cases[i].expected);
		/* Nothing was really raised: so it must not be given back either. */
		raised_find(&kernelpool_find(MIB2)->raised, "test")->pages = 0;
		kernelpool_find(MIB2)->raised.pages = 0;
		assert_int_equal(journal_drop(host->journal, "raised:2097152"), 0);
	}
	assert_int_equal(hugetlb_counts(MIB2).total, before.total);
}

static void backing_raised_record_is_not_trusted(void **state)
{
	static const char *const values[] = {
		"x",
		"1 2",
		"1 0 0",
		"1 0 0 test",
		"1 0 0 test=x",
		"1 0 0 =3",
		"1 0 0 test=-3",
		"1 0 0 test=3 test=4",
		"1 0 0 test=99999999999999999999",
		"1 99999999999999999999 0 test=1",
		"1 0 0 te%st=3",
	};
	struct backing_kernel_counts counts;

	hugetlb_need(MIB2, 0);
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		const struct backing_host *host = scene_next_host();

		assert_int_equal(journal_put(host->journal, "raised:2097152", "%s", values[i]), 0);
		backing_take_over(host);
		assert_int_equal(backing_kernel_counts(MIB2, &counts), 0);
		assert_int_equal(counts.raised_pages, 0);
		assert_null(journal_get(host->journal, "raised:2097152"));
	}
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
		TEST(backing_give_back_leaves_what_an_operator_has_lowered),
		TEST(backing_grow_is_bounded_by_max_whoever_has_the_pages),
		TEST(backing_raised_by_a_dead_daemon_is_taken_over),
		TEST(backing_raised_in_part_is_taken_over_in_part),
		TEST(backing_raised_record_is_not_trusted),
		TEST(backing_own_mount_reserve_is_kept_and_grown),
	};

	return cmocka_run_group_tests_name("test_kernelpool", tests, scene_make_scratch,
					   scene_remove_scratch);
}

/* system_hugetlb_mount.c - the built daemon with its files on a hugetlbfs: a mount of the pool's own, or a
 * directory that somebody gives it. What is left of a daemon that was killed is the next one's to clear away.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/raw.h"
#include "tests/system/system_hugetlb_scene.h"

/* 16 pages, 4 of them from the start; everybody shares them, which hugetlbfs asks for. */
#define OWN_MOUNT     DUT_WORDS("--pool", "p=2M:32M,arena=8M,reserve=8M,backing=hugetlbfs,isolation=pool,users=*")
#define MAX_PAGES     16
#define RESERVE_PAGES 4

static const char *own_mount_path(const struct dut *dut)
{
	return scene_words("%s/p", dut->directory);
}

static unsigned n_own_mounts(const struct dut *dut)
{
	char options[256];

	return scene_n_mounts(own_mount_path(dut), options, sizeof(options));
}

/* Two users lease, write, and see what they wrote. */
static void lease_to_two(const struct dut *dut, struct actor *one, uint64_t *ret_one, struct actor *two,
			 uint64_t *ret_two)
{
	actor_start(one, SOMEUID, dut);
	actor_start(two, OTHERUID, dut);
	assert_int_equal(actor_alloc(one, 3 * MIB2, NULL, ret_one), 0);
	assert_int_equal(actor_alloc(two, 4 * MIB2, NULL, ret_two), 0);
	assert_int_equal(actor_count_other(two, *ret_two, 0), 0);
	actor_fill(one, *ret_one, 0x11);
	actor_fill(two, *ret_two, 0x22);
	assert_int_equal(actor_count_other(one, *ret_one, 0x11), 0);
	assert_int_equal(actor_count_other(two, *ret_two, 0x22), 0);
	assert_int_equal(dut_pool(dut, "p", "pages_leased"), 3 + 4);
	scene_assert_taken(dut, (uint64_t)dut_pool(dut, "p", "pages_backed"));
}

static void hugetlb_own_mount_has_its_sizes_and_goes_with_the_daemon(void **state)
{
	struct actor one, two;
	uint64_t first, second;
	char options[256], path[128];
	struct dut dut;

	scene_begin(MIB2, MAX_PAGES);
	dut_start(&dut, OWN_MOUNT);
	snprintf(path, sizeof(path), "%s", own_mount_path(&dut));
	assert_int_equal(scene_n_mounts(path, options, sizeof(options)), 1);
	scene_assert_says(options, "hugetlbfs,");
	scene_assert_says(options, ",pagesize=2M");
	scene_assert_says(options, ",size=%" PRIu64, MAX_PAGES * MIB2);
	scene_assert_says(options, ",min_size=%" PRIu64, RESERVE_PAGES * MIB2);
	scene_assert_taken(&dut, RESERVE_PAGES);

	lease_to_two(&dut, &one, &first, &two, &second);
	actor_quit(&one);
	dut_stop(&dut);
	assert_int_equal(scene_n_mounts(path, options, sizeof(options)), 0);
	assert_int_equal(access(path, F_OK), -1);
	/* The pages are back, but the kernel keeps the promise of min_size to whoever still has a file of the
	 * mount. */
	assert_int_equal(scene_taken(), 0);
	assert_int_equal(hugetlb_counts(MIB2).reserved, scene_start.reserved + RESERVE_PAGES);
	actor_kill(&two);
	scene_wait_all_back();
}

/* A file on hugetlbfs takes no seals. */
static int64_t take_pages_without_end(int fd)
{
	int64_t n = 0;

	while (fallocate(fd, 0, n * (int64_t)MIB2, (int64_t)MIB2) == 0)
		n++;
	return errno == ENOSPC ? n : -errno;
}

static void hugetlb_own_mount_caps_a_client_that_grows_its_file(void **state)
{
	struct actor greedy;
	uint64_t lease;
	struct dut dut;

	scene_begin(MIB2, 2 * MAX_PAGES);
	dut_start(&dut, OWN_MOUNT);
	actor_start(&greedy, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&greedy, MIB2, NULL, &lease), 0);
	assert_in_range(actor_act(&greedy, lease, take_pages_without_end), 4, MAX_PAGES);
	assert_int_equal(scene_taken(), MAX_PAGES);
	actor_quit(&greedy);
	dut_stop(&dut);
	scene_assert_all_back();
}

/* As another program does that is told to use this directory for its hugepages. */
static pid_t start_stranger(const char *path, unsigned n_pages)
{
	int fd, ready[2];
	pid_t pid;
	char done;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 || fallocate(fd, 0, 0, n_pages * (off_t)MIB2) < 0 || write(ready[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	dut_adopt(pid);
	close(ready[1]);
	assert_int_equal(read(ready[0], &done, 1), 1);
	close(ready[0]);
	return pid;
}

/* They are counted, and named where they are in the way; hugepages that the kernel has beside are not blamed.
 */
static void hugetlb_own_mount_tells_what_strangers_have(void **state)
{
	const char *path;
	pid_t stranger, holder;
	uint64_t lease;
	struct dut dut;
	char *error;

	scene_begin(MIB2, 4 * MAX_PAGES);
	dut_start(&dut, OWN_MOUNT);
	assert_int_equal(dut_pool(&dut, "p", "pages_foreign"), 0);
	path = scene_words("%s/rtemap_0", own_mount_path(&dut));
	stranger = start_stranger(path, 10);
	dut_wait_pool(&dut, "p", "pages_foreign", 10);
	holder = dut_hold(&dut, SOMEUID, DUT_WORDS("4M"), &lease);
	assert_int_equal(dut_pool(&dut, "p", "pages_foreign"), 10);
	assert_int_equal(dut_ctl(&dut, SOMEUID, DUT_WORDS("alloc", "16M"), NULL, &error), 1);
	scene_assert_says(error,
			  "the pool's mount has 2 free pages of 2M, and 10 pages of it are in files of "
			  "other programs");
	scene_assert_says(error, "delete files of other programs there");
	assert_null(strstr(error, "nr_hugepages"));
	free(error);

	/* Whoever still has the file has its pages, whatever became of its name. */
	assert_int_equal(unlink(path), 0);
	raw_kill(stranger);
	dut_wait_pool(&dut, "p", "pages_foreign", 0);
	raw_kill(dut_hold(&dut, SOMEUID, DUT_WORDS("16M"), &lease));
	raw_kill(holder);
	dut_stop(&dut);
	scene_wait_all_back();
}

static void hugetlb_own_mount_reserve_that_cannot_be_met_is_refused(void **state)
{
	scene_begin(MIB2, 4);
	scene_assert_reserve_refused(",backing=hugetlbfs");
	scene_assert_all_back();
}

static void hugetlb_own_mount_of_a_killed_daemon_is_cleared_by_the_next(void **state)
{
	struct actor one, two, later;
	uint64_t first, second, lease;
	struct dut dut;
	int64_t n_left;

	scene_begin(MIB2, 2 * MAX_PAGES);
	dut_start(&dut, OWN_MOUNT);
	lease_to_two(&dut, &one, &first, &two, &second);
	actor_quit(&two);
	dut_kill(&dut);
	assert_int_equal(n_own_mounts(&dut), 1);

	/* The client keeps computing; the next daemon has all of its max but what the client still holds. */
	dut_restart(&dut, OWN_MOUNT);
	assert_int_equal(n_own_mounts(&dut), 1);
	assert_int_equal(actor_count_other(&one, first, 0x11), 0);
	n_left = dut_pool(&dut, "p", "pages_left");
	assert_in_range(n_left, 3, MAX_PAGES - 1);
	actor_start(&later, OTHERUID, &dut);
	for (int64_t i = 0; i < MAX_PAGES - n_left; i++)
		assert_int_equal(actor_alloc(&later, MIB2, NULL, &lease), 0);
	assert_int_equal(actor_count_other(&later, lease, 0), 0);
	assert_int_equal(actor_alloc(&later, MIB2, NULL, &lease), -ENOSPC);
	actor_kill(&one);
	dut_wait_pool(&dut, "p", "pages_left", 0);
	for (int64_t i = 0; i < n_left; i++)
		assert_int_equal(actor_alloc(&later, MIB2, NULL, &lease), 0);
	scene_wait_taken(MAX_PAGES);

	actor_quit(&later);
	dut_stop(&dut);
	scene_assert_all_back();
}

/* ---- a directory of somebody else's ---- */

static unsigned n_files_in(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		n += entry->d_name[0] != '.';
	closedir(dir);
	return n;
}

static const char *given_pool(const char *path)
{
	return scene_words("p=2M:32M,arena=8M,reserve=8M,backing=hugetlbfs:%s,isolation=pool,users=*", path);
}

static void hugetlb_given_directory_is_left_as_it_was(void **state)
{
	struct actor one, two;
	uint64_t first, second;
	const char *path;
	struct dut dut;

	scene_begin(MIB2, MAX_PAGES);
	path = scene_mount();
	dut_start(&dut, DUT_WORDS("--pool", given_pool(path)));
	assert_int_equal(n_own_mounts(&dut), 0);
	lease_to_two(&dut, &one, &first, &two, &second);
	assert_int_equal(n_files_in(path), dut_pool(&dut, "p", "arenas"));
	actor_quit(&one);
	actor_quit(&two);
	dut_stop(&dut);
	assert_int_equal(n_files_in(path), 0);
	scene_assert_all_back();
	scene_unmount();
}

static void hugetlb_given_directory_of_a_killed_daemon_is_cleared_by_the_next(void **state)
{
	const char *path, *const *pool;
	uint64_t first, second;
	struct actor one, two;
	struct dut dut;

	scene_begin(MIB2, 2 * MAX_PAGES);
	path = scene_mount();
	pool = DUT_WORDS("--pool", given_pool(path));
	dut_start(&dut, pool);
	lease_to_two(&dut, &one, &first, &two, &second);
	dut_kill(&dut);
	assert_true(n_files_in(path) > 0);
	assert_true(scene_taken() >= 3 + 4);

	/* Here their files are truncated, whoever still has them. */
	dut_restart(&dut, pool);
	scene_assert_taken(&dut, RESERVE_PAGES);
	assert_int_equal(n_files_in(path), dut_pool(&dut, "p", "arenas"));
	actor_kill(&one);
	actor_kill(&two);
	dut_stop(&dut);
	assert_int_equal(n_files_in(path), 0);
	scene_assert_all_back();
	scene_unmount();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, scene_end)
	const struct CMUnitTest tests[] = {
		TEST(hugetlb_own_mount_has_its_sizes_and_goes_with_the_daemon),
		TEST(hugetlb_own_mount_caps_a_client_that_grows_its_file),
		TEST(hugetlb_own_mount_tells_what_strangers_have),
		TEST(hugetlb_own_mount_reserve_that_cannot_be_met_is_refused),
		TEST(hugetlb_own_mount_of_a_killed_daemon_is_cleared_by_the_next),
		TEST(hugetlb_given_directory_is_left_as_it_was),
		TEST(hugetlb_given_directory_of_a_killed_daemon_is_cleared_by_the_next),
	};

	return cmocka_run_group_tests_name("system_hugetlb_mount", tests, NULL, NULL);
}

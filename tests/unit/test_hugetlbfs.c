/* test_hugetlbfs.c - backings in a hugetlbfs: mounts of our own, directories that are given, and what a dead
 * daemon has left in either.
 *
 * What a mount's files have in common with memfds is in test_backing.c.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/backing_scene.h"

/* Dies like a daemon that is killed: with a file, and its backing, in place. */
static int leave_file_behind(void *argument)
{
	const struct backing_config *config = argument;
	struct backing_file *file;
	struct backing *backing;
	struct backing_shortage shortage;
	char *error;

	STEP(1, backing_new(config, &backing, &error) == 0);
	STEP(2, backing_file_new(backing, 2, -1, &file, &shortage) == 0);
	return 0;
}

/* ---- mounts of our own ---- */

static void backing_own_mount_file_belongs_to_owner(void **state)
{
	struct backing_config config = scene_mount_config(4);
	struct backing *backing;
	struct backing_file *file;
	struct stat status;
	char path[128];

	scene_need_root();
	hugetlb_need(MIB2, 2);
	config.owner_uid = NOBODY;
	backing = scene_new_backing(config);
	file = scene_new_file(backing, 2);
	snprintf(path, sizeof(path), "%s/test/a1", scene_scratch);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_uid, NOBODY);
	assert_int_equal(status.st_mode & 07777, 0600);
	snprintf(path, sizeof(path), "%s/test", scene_scratch);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0711);
	assert_int_equal(scene_release(file), 0);
	backing_free(backing);
	assert_int_equal(stat(path, &status), -1);
}

static int mount_as_nobody(void *argument)
{
	struct backing_config config = scene_mount_config(4);
	struct backing *backing;
	char *error;

	STEP(1, scene_become_nobody());
	STEP(2, backing_new(&config, &backing, &error) < 0);
	STEP(3, error && strstr(error, scene_scratch) && strstr(error, "CAP_SYS_ADMIN"));
	free(error);
	return 0;
}

static void backing_own_mount_without_privilege_is_refused(void **state)
{
	scene_need_root();
	hugetlb_need(MIB2, 0);
	assert_int_equal(chmod(scene_scratch, 0777), 0);
	scene_assert_played(mount_as_nobody, NULL);
	assert_int_equal(chmod(scene_scratch, 0700), 0);
}

static void backing_stale_mount_is_detached_and_its_pages_return(void **state)
{
	struct backing_config config = scene_mount_config(4);
	struct backing *backing;
	uint64_t before;
	char path[128];

	scene_need_root();
	hugetlb_need(MIB2, 4);
	before = scene_free_pages();
	scene_assert_played(leave_file_behind, &config);
	assert_int_equal(scene_free_pages(), before - 2);
	backing_take_over(scene_next_host());
	backing = scene_new_backing(config);
	assert_int_equal(scene_free_pages(), before);
	assert_int_equal(scene_release(scene_new_file(backing, 4)), 0);
	backing_free(backing);
	snprintf(path, sizeof(path), "%s/test", scene_scratch);
	assert_int_equal(access(path, F_OK), -1);
}

static void backing_stale_mount_client_keeps_its_file_only(void **state)
{
	struct backing_config config = scene_mount_config(8);
	struct backing *backing;
	char path[128], *client;
	uint64_t before;
	int fd;

	scene_need_root();
	hugetlb_need(MIB2, 4);
	before = scene_free_pages();
	scene_assert_played(leave_file_behind, &config);
	snprintf(path, sizeof(path), "%s/test/a1", scene_scratch);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	client = scene_map(fd, 2 * MIB2, MAP_SHARED);
	close(fd);
	snprintf(path, sizeof(path), "%s/test/a2", scene_scratch);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(fallocate(fd, 0, 0, 2 * MIB2), 0);
	close(fd);
	assert_int_equal(scene_free_pages(), before - 4);

	backing_take_over(scene_next_host());
	backing = scene_new_backing(config);
	assert_int_equal(scene_free_pages(), before - 2);
	client[0] = 'x';
	munmap(client, 2 * MIB2);
	assert_int_equal(scene_free_pages(), before);
	backing_free(backing);
}

/* ---- directories and mounts of others ---- */

static void mount_given(const char *path)
{
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(mount("hugetlbfs", path, "hugetlbfs", 0, "pagesize=2M"), 0);
}

static void unmount_given(const char *path)
{
	assert_int_equal(umount(path), 0); /* EBUSY if anything of ours were left there */
	assert_int_equal(rmdir(path), 0);
}

static struct backing_config given_config(const char *path)
{
	return (struct backing_config){.kind = BACKING_HUGETLBFS,
				       .node = -1,
				       .name = "test",
				       .page_bytes = MIB2,
				       .directory = path,
				       .host = scene_host()};
}

static void make_file(const char *path, uint64_t n_pages, uid_t uid)
{
	int fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	if (n_pages > 0)
		assert_int_equal(fallocate(fd, 0, 0, (off_t)(n_pages * MIB2)), 0);
	assert_int_equal(fchown(fd, uid, uid), 0);
	close(fd);
}

/* The prefix of the dead daemon's files, as anybody sees it in the directory. */
static void read_prefix(const char *path, char *ret_prefix, size_t size)
{
	DIR *directory = opendir(path);
	struct dirent *entry;

	assert_non_null(directory);
	ret_prefix[0] = 0;
	while ((entry = readdir(directory)))
		if (strncmp(entry->d_name, "hugepool-x", 10) == 0)
			snprintf(ret_prefix, size, "%s/%.27s", path, entry->d_name);
	closedir(directory);
	assert_string_not_equal(ret_prefix, "");
}

static unsigned n_entries(const char *path)
{
	DIR *directory = opendir(path);
	unsigned n = 0;

	assert_non_null(directory);
	for (struct dirent *entry; (entry = readdir(directory));)
		n += entry->d_name[0] != '.';
	closedir(directory);
	return n;
}

/* Files of others stay what they are, however they are called: like an older daemon's, like the dead one's,
 * with its prefix by another user, and with a second name. */
static void backing_given_directory_clears_dead_daemons_files_only(void **state)
{
	char path[128], prefix[200], name[240], victim[160];
	struct backing_config config;
	struct backing *backing;
	struct stat status;
	uint64_t before;

	scene_need_root();
	hugetlb_need(MIB2, 10);
	snprintf(path, sizeof(path), "%s/given", scene_scratch);
	mount_given(path);
	config = given_config(path);
	before = scene_free_pages();
	scene_assert_played(leave_file_behind, &config);
	assert_int_equal(scene_free_pages(), before - 2);

	read_prefix(path, prefix, sizeof(prefix));
	snprintf(name, sizeof(name), "%s77", prefix);
	make_file(name, 2, NOBODY);
	snprintf(victim, sizeof(victim), "%s/victim", path);
	make_file(victim, 2, 0);
	snprintf(name, sizeof(name), "%s78", prefix);
	assert_int_equal(linkat(AT_FDCWD, victim, AT_FDCWD, name, 0), 0);
	snprintf(name, sizeof(name), "%s/hugepool-1-1", path);
	make_file(name, 0, 0);
	snprintf(name, sizeof(name), "%s80x", prefix);
	make_file(name, 0, 0);
	assert_int_equal(scene_free_pages(), before - 6);

	backing_take_over(scene_next_host());
	assert_int_equal(scene_free_pages(), before - 4);
	assert_int_equal(n_entries(path), 5);
	assert_int_equal(stat(victim, &status), 0);
	assert_int_equal(status.st_size, 2 * MIB2);

	backing = scene_new_backing(config);
	assert_int_equal(scene_release(scene_new_file(backing, 2)), 0);
	backing_free(backing);
	assert_int_equal(n_entries(path), 5);
	assert_int_equal(umount2(path, MNT_DETACH), 0);
	assert_int_equal(rmdir(path), 0);
}

static void backing_given_directory_of_wrong_kind_is_refused_by_name(void **state)
{
	char *error;

	hugetlb_need(MIB2, 0);
	error = scene_refusal(given_config(scene_scratch), -EINVAL);
	assert_non_null(strstr(error, "not on a hugetlbfs"));
	free(error);
}

static void backing_given_directory_of_wrong_page_size_is_refused_by_name(void **state)
{
	struct backing_config config;
	char path[128], *error;

	scene_need_root();
	hugetlb_need(GIB1, 0);
	snprintf(path, sizeof(path), "%s/given", scene_scratch);
	mount_given(path);
	config = given_config(path);
	config.page_bytes = GIB1;
	error = scene_refusal(config, -EINVAL);
	assert_non_null(strstr(error, "has pages of 2M and the pool wants pages of 1G"));
	free(error);
	unmount_given(path);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, scene_end)
	const struct CMUnitTest tests[] = {
		TEST(backing_own_mount_file_belongs_to_owner),
		TEST(backing_own_mount_without_privilege_is_refused),
		TEST(backing_stale_mount_is_detached_and_its_pages_return),
		TEST(backing_stale_mount_client_keeps_its_file_only),
		TEST(backing_given_directory_clears_dead_daemons_files_only),
		TEST(backing_given_directory_of_wrong_kind_is_refused_by_name),
		TEST(backing_given_directory_of_wrong_page_size_is_refused_by_name),
	};

	return cmocka_run_group_tests_name("test_hugetlbfs", tests, scene_make_scratch, scene_remove_scratch);
}

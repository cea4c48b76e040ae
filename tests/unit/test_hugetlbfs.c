/* test_hugetlbfs.c - backings in a hugetlbfs: mounts of our own, directories that are given, and what a dead
 * daemon has left in either.
 *
 * What a mount's files have in common with memfds is in test_backing.c.
 */
#include <config.h>

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
	return (struct backing_config){
		.kind = BACKING_HUGETLBFS, .node = -1, .name = "test", .page_bytes = MIB2, .directory = path};
}

static void backing_given_directory_clears_dead_daemons_files_only(void **state)
{
	struct backing *living, *backing;
	struct backing_config config;
	struct backing_file *file;
	uint64_t before;
	char path[128], foreign[160];
	int fd;

	scene_need_root();
	hugetlb_need(MIB2, 8);
	snprintf(path, sizeof(path), "%s/given", scene_scratch);
	snprintf(foreign, sizeof(foreign), "%s/hugepool-1-1.not", path);
	mount_given(path);
	config = given_config(path);
	fd = open(foreign, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);

	before = scene_free_pages();
	living = scene_new_backing(config);
	file = scene_new_file(living, 2);
	assert_int_equal(scene_free_pages(), before - 2);
	scene_assert_played(leave_file_behind, &config);
	assert_int_equal(scene_free_pages(), before - 4);

	backing = scene_new_backing(config);
	assert_int_equal(scene_free_pages(), before - 2);
	assert_int_equal(backing_file_verify(file), 0);
	assert_int_equal(unlink(foreign), 0);
	backing_free(backing);
	assert_int_equal(scene_release(file), 0);
	backing_free(living);
	assert_int_equal(scene_free_pages(), before);
	unmount_given(path);
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

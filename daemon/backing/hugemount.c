/* hugemount.c - the new mount API, so that the mount is complete before anybody can see it. */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/backing/hugemount.h"
#include "daemon/base/cleanup.h"

static int set_number(int filesystem_fd, const char *key, uint64_t value)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, value);
	return fsconfig(filesystem_fd, FSCONFIG_SET_STRING, key, digits, 0) < 0 ? -errno : 0;
}

/* A mount that is nowhere yet: closing its descriptor ends it. */
static int mount_detached(const struct hugemount_config *config, int *ret_mount_fd)
{
	_cleanup_close_ int filesystem_fd = fsopen("hugetlbfs", FSOPEN_CLOEXEC);
	int r;

	if (filesystem_fd < 0)
		return -errno;
	if ((r = set_number(filesystem_fd, "pagesize", config->page_bytes)) < 0 ||
	    (r = set_number(filesystem_fd, "size", config->size_bytes)) < 0 ||
	    (r = set_number(filesystem_fd, "min_size", config->min_size_bytes)) < 0)
		return r;
	/* uid and gid are ours unless set otherwise. */
	if (fsconfig(filesystem_fd, FSCONFIG_SET_STRING, "mode", "0711", 0) < 0 ||
	    fsconfig(filesystem_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;

	*ret_mount_fd = fsmount(filesystem_fd, FSMOUNT_CLOEXEC,
				MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return *ret_mount_fd < 0 ? -errno : 0;
}

int hugemount_new(const struct hugemount_config *config, int *ret_directory_fd)
{
	_cleanup_close_ int mount_fd = -1;
	bool is_made;
	int r;

	is_made = mkdir(config->path, 0711) == 0;
	if (!is_made && errno != EEXIST)
		return -errno;
	r = mount_detached(config, &mount_fd);
	if (r == 0 && move_mount(mount_fd, "", AT_FDCWD, config->path, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = -errno;
	if (r < 0) {
		if (is_made)
			(void)rmdir(config->path);
		return r;
	}
	*ret_directory_fd = take_fd(&mount_fd);
	return 0;
}

void hugemount_free(const char *path)
{
	/* Either may fail: an operator was faster. */
	(void)umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW);
	(void)rmdir(path);
}

static void unlink_all(const char *path)
{
	struct dirent *entry;
	DIR *directory;

	directory = opendir(path);
	if (!directory)
		return;
	while ((entry = readdir(directory)))
		if (entry->d_type == DT_REG)
			(void)unlinkat(dirfd(directory), entry->d_name, 0);
	closedir(directory);
}

void hugemount_clear_stale(const char *path)
{
	struct statfs status;

	while (statfs(path, &status) == 0 && status.f_type == HUGETLBFS_MAGIC) {
		unlink_all(path);
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return; /* no mount, or no privilege: hugemount_new() will say so */
	}
}

int hugemount_page_bytes(int directory_fd, bool *ret_is_hugetlbfs, uint64_t *ret_page_bytes)
{
	struct statfs status;

	if (fstatfs(directory_fd, &status) < 0)
		return -errno;
	*ret_is_hugetlbfs = status.f_type == HUGETLBFS_MAGIC;
	*ret_page_bytes = (uint64_t)status.f_bsize;
	return 0;
}

int hugemount_used(int directory_fd, uint64_t *ret_used_pages)
{
	struct statfs status;

	if (fstatfs(directory_fd, &status) < 0)
		return -errno;
	*ret_used_pages = status.f_blocks - status.f_bfree;
	return 0;
}

int hugemount_room(int directory_fd, uint64_t *ret_free_pages)
{
	struct statfs status;

	if (fstatfs(directory_fd, &status) < 0)
		return -errno;
	if (status.f_blocks == 0 || status.f_bfree > status.f_blocks)
		return -ENODATA;
	*ret_free_pages = status.f_bfree;
	return 0;
}

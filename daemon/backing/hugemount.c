/* hugemount.c - the new mount API, so that the mount is complete before anybody can see it. */
#include <config.h>

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

int hugemount_new(const struct hugemount_config *config, int *ret_mount_fd)
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

int hugemount_attach(int mount_fd, int parent_fd, const char *name)
{
	return move_mount(mount_fd, "", parent_fd, name, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? -errno : 0;
}

int hugemount_detach(int mount_fd)
{
	char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", mount_fd);
	return umount2(path, MNT_DETACH) < 0 ? -errno : 0;
}

bool hugemount_is_root(int fd)
{
	struct statx st;

	return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) == 0 &&
	       (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
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

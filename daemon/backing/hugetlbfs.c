/* hugetlbfs.c - files on a hugetlbfs: on a mount of the pool's own, or in a directory that somebody gives us.
 *
 * They take no seals: whoever holds a descriptor can take pages up to the mount's size=, again and again.
 * That is why the mount of our own is capped, and why the layers above let only one tenant near it.
 *
 * A given directory is shared with other programs and outlives us. Our files there are called
 * hugepool-PID-NUMBER and are locked (flock) as long as the daemon lives, through a descriptor of its own
 * that no client ever gets: a lock on the one that clients get would live as long as they do. So a file whose
 * lock can be had belongs to a daemon that died without cleaning up, whatever its pid means by now or in
 * another container, and the next daemon that is given the directory truncates and unlinks it. DPDK, too,
 * leaves locked files alone.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/backing/hugemount.h"
#include "daemon/backing/kinds.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/size.h"

/* Unlink and truncate the file if it is one of a daemon that is dead. */
static void clear_if_stale(int directory_fd, const char *name)
{
	_cleanup_close_ int fd = -1;
	unsigned pid, number;
	int length = 0;

	if (sscanf(name, "hugepool-%u-%u%n", &pid, &number, &length) != 2 || name[length] != '\0')
		return;
	fd = openat(directory_fd, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
		return;
	(void)unlinkat(directory_fd, name, 0);
	(void)!ftruncate(fd, 0);
}

static int clear_all_stale(const char *path)
{
	struct dirent *entry;
	DIR *directory;

	directory = opendir(path);
	if (!directory)
		return -errno;
	while ((entry = readdir(directory)))
		clear_if_stale(dirfd(directory), entry->d_name);
	closedir(directory);
	return 0;
}

static int setup_given(struct backing *backing, const char *path, char **ret_error)
{
	char wanted[SIZE_WORD_MAX], found[SIZE_WORD_MAX];
	uint64_t page_bytes;
	bool is_hugetlbfs;
	int r;

	backing->place.directory_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (backing->place.directory_fd < 0)
		return backing_refuse(ret_error, -errno, "pool %s: cannot open the directory %s: %s",
				      backing->name, path, strerror(errno));
	r = hugemount_page_bytes(backing->place.directory_fd, &is_hugetlbfs, &page_bytes);
	if (r < 0)
		return backing_refuse(ret_error, r, "pool %s: cannot look at %s: %s", backing->name, path,
				      strerror(-r));
	if (!is_hugetlbfs)
		return backing_refuse(ret_error, -EINVAL,
				      "pool %s: the directory %s is not on a hugetlbfs; mount one there with "
				      "pagesize=%s, or name no directory",
				      backing->name, path, size_format(backing->page_bytes, wanted));
	if (page_bytes != backing->page_bytes)
		return backing_refuse(
			ret_error, -EINVAL,
			"pool %s: the hugetlbfs at %s has pages of %s and the pool wants pages of %s; "
			"change one of them",
			backing->name, path, size_format(page_bytes, found),
			size_format(backing->page_bytes, wanted));
	r = clear_all_stale(path);
	if (r < 0)
		return backing_refuse(ret_error, r, "pool %s: cannot list %s: %s", backing->name, path,
				      strerror(-r));
	return 0;
}

/* Mount, and have the kernel find the pages of min_size if it lacks some and we may ask. -ENOMEM with
 * *ret_shortage set if it has not got them. */
static int mount_with_reserve(struct backing *backing, const struct backing_config *config,
			      struct backing_shortage *ret_shortage)
{
	struct hugemount_config mount_config = {
		.path = backing->place.mounted_at,
		.page_bytes = config->page_bytes,
		.size_bytes = config->max_pages * config->page_bytes,
		.min_size_bytes = config->reserve_pages * config->page_bytes,
	};
	struct kernelpool *kernelpool = backing->kernelpool;
	struct backing_kernel_counts counts = {0};
	uint64_t unreserved = 0, missing = 0, raised;
	int r;

	lock_take(&kernelpool->lock);
	r = hugemount_new(&mount_config, &backing->place.directory_fd);
	if (r == -ENOMEM && kernelpool_read(kernelpool, &counts) == 0) {
		unreserved = counts.free_pages - counts.reserved_pages;
		missing = config->reserve_pages > unreserved ? config->reserve_pages - unreserved : 0;
	}
	*ret_shortage = (struct backing_shortage){.limit = BACKING_LIMIT_HUGEPAGES,
						  .left_bytes = unreserved * config->page_bytes};
	if (missing > 0 && config->grow &&
	    kernelpool_raise(kernelpool, missing, &raised, ret_shortage) == 0) {
		r = hugemount_new(&mount_config, &backing->place.directory_fd);
		if (r < 0)
			kernelpool_lower(kernelpool, raised);
	}
	lock_drop(&kernelpool->lock);
	ret_shortage->missing_pages = missing;
	return r;
}

static int setup_own(struct backing *backing, const struct backing_config *config, char **ret_error)
{
	struct hugetlbfs_place *place = &backing->place;
	struct backing_shortage shortage;
	int r;

	if (asprintf(&place->mounted_at, "%s/%s", config->mount_parent, backing->name) < 0) {
		place->mounted_at = NULL;
		return -ENOMEM;
	}
	hugemount_clear_stale(place->mounted_at);
	r = mount_with_reserve(backing, config, &shortage);
	if (r == -ENOMEM) {
		*ret_error = backing_explain_reserve(backing->name, backing->page_bytes,
						     config->reserve_pages, &shortage);
		return r;
	}
	if (r < 0)
		return backing_refuse(
			ret_error, r,
			"pool %s: cannot mount a hugetlbfs at %s: %s; it takes CAP_SYS_ADMIN and "
			"Linux 5.2: start as root, name an existing directory on one, or use memfd",
			backing->name, place->mounted_at, strerror(-r));
	backing->balance = &place->balance;
	return 0;
}

static int hugetlbfs_setup(struct backing *backing, const struct backing_config *config, char **ret_error)
{
	if (!backing->kernelpool)
		return backing_refuse(ret_error, -EINVAL,
				      "pool %s: hugetlbfs has no pages of the base size; use memfd",
				      backing->name);
	if (config->directory)
		return setup_given(backing, config->directory, ret_error);
	return setup_own(backing, config, ret_error);
}

static void hugetlbfs_teardown(struct backing *backing)
{
	struct hugetlbfs_place *place = &backing->place;

	if (place->directory_fd >= 0) {
		close(place->directory_fd);
		if (place->mounted_at)
			hugemount_free(place->mounted_at);
	}
	free(place->mounted_at);
}

/* Returns 0; 1 if a daemon that is just starting took the file for a dead one's, in the moment before it was
 * locked; or negative errno. */
static int lock_file(struct backing_file *file)
{
	struct stat status;

	file->lock_fd =
		openat(file->backing->place.directory_fd, file->name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (file->lock_fd < 0)
		return errno == ENOENT ? 1 : -errno;
	if (flock(file->lock_fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK ? 1 : -errno;
	if (fstat(file->lock_fd, &status) < 0)
		return -errno;
	return status.st_nlink == 0;
}

static int open_and_lock(struct backing_file *file)
{
	const struct hugetlbfs_place *place = &file->backing->place;
	int r = 0;

	file->fd = openat(place->directory_fd, file->name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (file->fd < 0)
		return errno == EEXIST ? 1 : -errno;
	if (!place->mounted_at)
		r = lock_file(file);
	if (r > 0) {
		close(take_fd(&file->fd));
		if (file->lock_fd >= 0)
			close(take_fd(&file->lock_fd));
	}
	return r;
}

static int hugetlbfs_open(struct backing_file *file)
{
	struct backing *backing = file->backing;
	int r;

	do {
		uint64_t number = atomic_fetch_add(&backing->last_number, 1) + 1;

		if (backing->place.mounted_at)
			snprintf(file->name, sizeof(file->name), "a%" PRIu64, number);
		else
			snprintf(file->name, sizeof(file->name), "hugepool-%d-%" PRIu64, (int)getpid(),
				 number);
		r = open_and_lock(file);
	} while (r > 0);
	if (r < 0)
		return r;

	if (fchmod(file->fd, 0600) < 0)
		return -errno;
	if (backing->owner_uid != geteuid() && fchown(file->fd, backing->owner_uid, (gid_t)-1) < 0)
		return -errno;
	return 0;
}

static void hugetlbfs_unlink(struct backing_file *file)
{
	if (file->fd >= 0)
		(void)unlinkat(file->backing->place.directory_fd, file->name, 0);
}

/* A mount of our own counts for itself and no other program disturbs it. A given one need not have a size=,
 * and then counts nothing. */
static int hugetlbfs_used_pages(struct backing *backing, uint64_t *ret_used_pages)
{
	if (backing->place.mounted_at)
		return hugemount_used(backing->place.directory_fd, ret_used_pages);
	return kernelpool_used(backing->kernelpool, ret_used_pages);
}

const struct backing_kind_ops hugetlbfs_ops = {
	.setup = hugetlbfs_setup,
	.teardown = hugetlbfs_teardown,
	.file_open = hugetlbfs_open,
	.file_unlink = hugetlbfs_unlink,
	.used_pages = hugetlbfs_used_pages,
};

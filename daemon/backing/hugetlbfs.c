/* hugetlbfs.c - files on a hugetlbfs: on a mount of the pool's own (ownmount.h), or in a directory that
 * somebody gives us (sharedplace.h).
 *
 * They take no seals: whoever holds a descriptor can take pages up to the mount's size=, again and again.
 * That is why the mount of our own is capped, and why the layers above let only one tenant near it.
 *
 * A given directory is shared with other programs and outlives us; they can put something else at the name of
 * a file of ours. So a name is unlinked only as long as it is our file's.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/backing/hugemount.h"
#include "daemon/backing/kinds.h"
#include "daemon/base/assert.h"
#include "daemon/base/directory.h"
#include "daemon/base/size.h"

static int setup_given(struct backing *backing, const struct backing_config *config, char **ret_error)
{
	const char *path = config->directory;
	char wanted[SIZE_WORD_MAX], found[SIZE_WORD_MAX];
	uint64_t page_bytes;
	bool is_hugetlbfs;
	int r;

	r = directory_open(path, &backing->place.directory_fd);
	if (r < 0)
		return backing_refuse(ret_error, r, "pool %s: cannot open the directory %s: %s",
				      backing->name, path, directory_strerror(r));
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
	r = sharedplace_begin(&backing->place.shared, config->host, backing->name,
			      backing->place.directory_fd, backing->owner_uid);
	if (r < 0)
		return backing_refuse(ret_error, r,
				      "pool %s: cannot write down in %s that its files are in %s: %s",
				      backing->name, config->host->path, path, strerror(-r));
	return 0;
}

/* Make the mount, and have the kernel find the pages of min_size if it lacks some and we may ask. -ENOMEM
 * with *ret_shortage set if it has not got them. */
static int mount_with_reserve(struct backing *backing, const struct backing_config *config,
			      struct backing_shortage *ret_shortage)
{
	struct hugemount_config mount_config = {
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
	    kernelpool_raise(kernelpool, backing->name, config->max_pages, missing, &raised, ret_shortage) ==
		    0) {
		r = hugemount_new(&mount_config, &backing->place.directory_fd);
		if (r < 0)
			kernelpool_lower(kernelpool, backing->name, raised);
	}
	lock_drop(&kernelpool->lock);
	ret_shortage->missing_pages = missing;
	return r;
}

/* What is to be done about a mount that failed. */
static const char *mount_advice(int error)
{
	switch (error) {
	case -EPERM:
		return "it takes CAP_SYS_ADMIN: start as root, name an existing directory on one, or use "
		       "memfd";
	case -ENOSYS:
		return "it takes Linux 5.2: name an existing directory on one, or use memfd";
	default:
		return "name an existing directory on one, or use memfd";
	}
}

static int setup_own(struct backing *backing, const struct backing_config *config, char **ret_error)
{
	struct hugetlbfs_place *place = &backing->place;
	struct backing_shortage shortage;
	int r;

	r = ownmount_check_place(config->host, backing->name, ret_error);
	if (r < 0)
		return r;
	r = mount_with_reserve(backing, config, &shortage);
	if (r == -ENOMEM) {
		*ret_error = backing_explain_reserve(backing->name, backing->page_bytes,
						     config->reserve_pages, &shortage);
		return r;
	}
	if (r == 0)
		r = ownmount_attach(&place->own, config->host, backing->name, place->directory_fd);
	if (r < 0)
		return backing_refuse(ret_error, r, "pool %s: cannot mount a hugetlbfs at %s/%s: %s; %s",
				      backing->name, config->host->path, backing->name, strerror(-r),
				      mount_advice(r));
	backing->balance = &place->balance;
	return 0;
}

static int hugetlbfs_setup(struct backing *backing, const struct backing_config *config, char **ret_error)
{
	if (!backing->kernelpool)
		return backing_refuse(ret_error, -EINVAL,
				      "pool %s: hugetlbfs has no pages of the base size; use memfd",
				      backing->name);
	hp_assert(config->host);
	if (config->directory)
		return setup_given(backing, config, ret_error);
	return setup_own(backing, config, ret_error);
}

static void hugetlbfs_teardown(struct backing *backing)
{
	struct hugetlbfs_place *place = &backing->place;

	ownmount_detach(&place->own);
	sharedplace_end(&place->shared);
	if (place->directory_fd >= 0)
		close(place->directory_fd);
}

static bool is_own_mount(const struct backing *backing)
{
	return backing->place.own.key;
}

static int hugetlbfs_open(struct backing_file *file)
{
	struct backing *backing = file->backing;
	const char *prefix = is_own_mount(backing) ? "a" : backing->place.shared.prefix;

	do {
		uint64_t number = atomic_fetch_add(&backing->last_number, 1) + 1;

		snprintf(file->name, sizeof(file->name), "%s%" PRIu64, prefix, number);
		file->fd = openat(backing->place.directory_fd, file->name,
				  O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	} while (file->fd < 0 && errno == EEXIST);
	if (file->fd < 0)
		return -errno;
	if (fchmod(file->fd, 0600) < 0)
		return -errno;
	if (backing->owner_uid != geteuid() && fchown(file->fd, backing->owner_uid, (gid_t)-1) < 0)
		return -errno;
	return 0;
}

static void hugetlbfs_unlink(struct backing_file *file)
{
	int directory_fd = file->backing->place.directory_fd;
	struct stat ours, there;

	if (file->fd >= 0 && fstat(file->fd, &ours) == 0 &&
	    fstatat(directory_fd, file->name, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	    ours.st_dev == there.st_dev && ours.st_ino == there.st_ino)
		(void)unlinkat(directory_fd, file->name, 0);
}

/* A mount of our own counts for itself and no other program disturbs it. A given one need not have a size=,
 * and then counts nothing. */
static int hugetlbfs_used_pages(struct backing *backing, uint64_t *ret_used_pages)
{
	if (is_own_mount(backing))
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

/* memfd.c - sealed memfds: hugetlb ones, and plain ones for the base page size.
 *
 * They have no name and need no privilege. A client that holds one can neither make it executable, nor add a
 * seal that would stop us from truncating it, nor, unless it is of our uid, reopen it with more rights. It
 * cannot grow a plain one; a hugetlb one grows by a mapping past its end all the same, with pages that the
 * host has free. It can truncate it or punch holes. backing_file_verify() tells.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "daemon/backing/kinds.h"
#include "daemon/backing/leftover.h"

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define MEMFD_NAME_MAX 249 /* the kernel's, without "memfd:" */

static int memfd_open(struct backing_file *file)
{
	const struct backing *backing = file->backing;
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	char name[MEMFD_NAME_MAX + 1];

	if (backing->kernelpool)
		flags |= MFD_HUGETLB | (unsigned)__builtin_ctzll(backing->page_bytes) << MFD_HUGE_SHIFT;
	leftover_format_name(backing->leftover, backing->name, name, sizeof(name));

	file->fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);
	if (file->fd < 0 && errno == EINVAL)
		file->fd = memfd_create(name, flags);
	/* It is born 0666 or 0777: anybody who gets a read-only descriptor could reopen it writable. */
	if (file->fd < 0 || fchmod(file->fd, 0600) < 0)
		return -errno;
	return 0;
}

/* No F_SEAL_SHRINK: truncating is how pages are taken back. F_SEAL_SEAL keeps clients from adding it. */
static int memfd_seal(struct backing_file *file)
{
	return fcntl(file->fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SEAL) < 0 ? -errno : 0;
}

static int memfd_used_pages(struct backing *backing, uint64_t *ret_used_pages)
{
	return kernelpool_used(backing->kernelpool, ret_used_pages);
}

const struct backing_kind_ops memfd_ops = {
	.file_open = memfd_open,
	.file_seal = memfd_seal,
	.used_pages = memfd_used_pages,
};

/* fill.c - see fill.h. Serialised per page size by the counters' lock, base pages apart, which have none. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/backing/fill.h"
#include "daemon/backing/headroom.h"
#include "daemon/backing/hugefolio.h"
#include "daemon/backing/hugemount.h"
#include "daemon/backing/readfile.h"
#include "daemon/base/assert.h"

#ifdef SYS_cachestat
#define SYS_CACHESTAT SYS_cachestat
#else
#define SYS_CACHESTAT 451 /* on all architectures */
#endif
#define STAT_BLOCK_BYTES 512
#define SLICE_BYTES      (32ull << 20) /* taken between two looks: 9 ms of base pages */

uint64_t fill_count_present(const struct backing_file *file)
{
	struct stat status;

	if (fstat(file->fd, &status) < 0)
		return file->n_pages;
	return (uint64_t)status.st_blocks * STAT_BLOCK_BYTES / file->backing->page_bytes;
}

/* SEEK_HOLE and mincore() take pages that nobody has written to since they were allocated for holes. */
bool fill_has_pages(const struct backing_file *file, uint64_t first, uint64_t n_pages)
{
	const uint64_t page_bytes = file->backing->page_bytes;
	struct {
		uint64_t offset, bytes;
	} range = {.offset = first * page_bytes, .bytes = n_pages * page_bytes};
	struct {
		uint64_t cached, dirty, writeback, evicted, recently_evicted;
	} counts;

	if (syscall(SYS_CACHESTAT, file->fd, &range, &counts, 0) != 0)
		return true;
	return counts.cached + counts.evicted >= n_pages;
}

blkcnt_t fill_blocks(const struct backing_file *file, blkcnt_t n_blocks)
{
	return file->backing->kernelpool
		       ? n_blocks
		       : (blkcnt_t)(file->n_pages * (file->backing->page_bytes / STAT_BLOCK_BYTES));
}

static bool is_short(int error)
{
	return error == -ENOSPC || error == -ENOMEM || error == -EFAULT;
}

/* ---- what is short ---- */

/* `n_pages` were asked for, and `usable` bytes are to be had. */
static int set_missing(struct backing_shortage *shortage, uint64_t n_pages, uint64_t page_bytes,
		       uint64_t usable)
{
	shortage->missing_pages = n_pages - usable / page_bytes;
	return BACKING_SHORT;
}

/* Whether `n_pages` more than the file's first `n_there` may be taken: 0, BACKING_SHORT or negative errno. */
static int look(const struct backing_file *file, uint64_t n_there, uint64_t n_pages,
		struct backing_shortage *ret_shortage)
{
	const struct backing *backing = file->backing;
	const struct headroom_request request = {
		.use = backing->kernelpool ? HEADROOM_HUGEPAGES : HEADROOM_BASE_PAGES,
		.node = backing->node,
		.page_bytes = backing->page_bytes,
		.unmapped_bytes = n_there * backing->page_bytes,
		.root = "",
	};
	struct backing_shortage nearest;
	struct rlimit limit;
	uint64_t usable;
	int r = headroom_look(&request, &usable, &nearest);

	if (r < 0)
		return r;
	if (usable / backing->page_bytes < n_pages) {
		*ret_shortage = nearest;
		return set_missing(ret_shortage, n_pages, backing->page_bytes, usable);
	}
	if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ||
	    limit.rlim_cur / backing->page_bytes >= n_there + n_pages)
		return 0;
	usable = limit.rlim_cur / backing->page_bytes > n_there
			 ? limit.rlim_cur - n_there * backing->page_bytes
			 : 0;
	*ret_shortage = (struct backing_shortage){
		.limit = BACKING_LIMIT_FILE_SIZE, .allowed_bytes = limit.rlim_cur, .left_bytes = usable};
	return set_missing(ret_shortage, n_pages, backing->page_bytes, usable);
}

uint64_t fill_foreign_pages(struct backing *backing)
{
	uint64_t used;

	return backing->place.own.key && hugemount_used(backing->place.directory_fd, &used) == 0
		       ? balance_foreign(&backing->place.balance, used)
		       : 0;
}

/* Pages that the files' mount still has room for, if it has a size=, and a shortage of them; UINT64_MAX: no
 * limit. */
static uint64_t room_on_mount(struct backing *backing, struct backing_shortage *ret_shortage)
{
	const uint64_t foreign = fill_foreign_pages(backing);
	uint64_t room;

	if (backing->place.directory_fd < 0 || hugemount_room(backing->place.directory_fd, &room) < 0)
		return UINT64_MAX;
	*ret_shortage = (struct backing_shortage){
		.limit = foreign > 0 ? BACKING_LIMIT_SHARED_MOUNT : BACKING_LIMIT_MOUNT,
		.left_bytes = room * backing->page_bytes,
		.foreign_bytes = foreign * backing->page_bytes,
	};
	return room;
}

/* What the mount has room for, of as many as are to be had otherwise. */
static uint64_t limit_to_mount(struct backing *backing, uint64_t n_pages,
			       struct backing_shortage *ret_shortage)
{
	struct backing_shortage shortage;
	const uint64_t room = room_on_mount(backing, &shortage);

	if (room >= n_pages)
		return n_pages;
	*ret_shortage = shortage;
	return room;
}

uint64_t fill_available(struct backing *backing, uint64_t promised_pages,
			struct backing_shortage *ret_shortage)
{
	const struct headroom_request request = {
		.use = backing->kernelpool ? HEADROOM_HUGEPAGES : HEADROOM_BASE_PAGES,
		.node = backing->node,
		.page_bytes = backing->page_bytes,
		.root = "",
	};
	struct backing_kernel_counts counts;
	uint64_t usable, n_pages, n_free, n_more = 0;

	if (headroom_look(&request, &usable, ret_shortage) < 0)
		usable = UINT64_MAX;
	n_pages = usable == UINT64_MAX ? UINT64_MAX : usable / backing->page_bytes;
	if (!backing->kernelpool || kernelpool_read(backing->kernelpool, &counts) < 0)
		return n_pages;
	if (backing->grow)
		n_more =
			kernelpool_may_raise(backing->kernelpool, backing->name, backing->max_pages, &counts);
	n_free = counts.free_pages + promised_pages;
	n_free = n_free > counts.reserved_pages ? n_free - counts.reserved_pages : 0;
	if (n_free >= n_pages || n_more >= n_pages - n_free)
		return limit_to_mount(backing, n_pages, ret_shortage);
	*ret_shortage = (struct backing_shortage){.limit = backing->grow ? BACKING_LIMIT_RAISED
									 : BACKING_LIMIT_HUGEPAGES,
						  .allowed_bytes = backing->max_pages * backing->page_bytes,
						  .left_bytes = n_free * backing->page_bytes};
	return limit_to_mount(backing, n_free + n_more, ret_shortage);
}

/* Free hugepages of the node that the pool's are to come from; UINT64_MAX: of any, or nobody knows. */
static uint64_t free_of_node(const struct backing *backing)
{
	uint64_t n_free = UINT64_MAX;
	char path[128];

	if (backing->node < 0)
		return n_free;
	snprintf(path, sizeof(path),
		 "/sys/devices/system/node/node%d/hugepages/hugepages-%" PRIu64 "kB/free_hugepages",
		 backing->node, backing->page_bytes / 1024);
	return readfile_number(path, &n_free) > 0 ? n_free : UINT64_MAX;
}

/* The kernel has just said that it lacks `missing` hugepages for the file. */
static void explain_hugepages(const struct backing_file *file, uint64_t missing,
			      struct backing_shortage *ret_shortage)
{
	struct backing *backing = file->backing;
	struct backing_kernel_counts counts = {0};

	if (room_on_mount(backing, ret_shortage) < missing) {
		ret_shortage->missing_pages = missing;
		return;
	}
	*ret_shortage = (struct backing_shortage){.limit = BACKING_LIMIT_HUGEPAGES, .missing_pages = missing};
	if (kernelpool_read(backing->kernelpool, &counts) == 0 && counts.free_pages > counts.reserved_pages)
		ret_shortage->left_bytes = (counts.free_pages - counts.reserved_pages) * backing->page_bytes;
}

/* ---- taking ---- */

static int allocate(const struct backing_file *file, uint64_t n_there, uint64_t n_pages)
{
	const uint64_t page_bytes = file->backing->page_bytes;

	while (fallocate(file->fd, 0, (off_t)(n_there * page_bytes), (off_t)(n_pages * page_bytes)) < 0)
		if (errno != EINTR)
			return -errno;
	return 0;
}

/* The same by faults of a mapping that wants no huge folios: three times as long, zeroing included. */
static int allocate_small(const struct backing_file *file, uint64_t n_there, uint64_t n_pages)
{
	const uint64_t page_bytes = file->backing->page_bytes;
	const size_t bytes = n_pages * page_bytes;
	void *memory;
	int r = 0;

	if (ftruncate(file->fd, (off_t)((n_there + n_pages) * page_bytes)) < 0)
		return -errno;
	memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd,
		      (off_t)(n_there * page_bytes));
	if (memory == MAP_FAILED)
		return -errno;
	/* The first fails where the kernel has no huge folios at all. */
	(void)madvise(memory, bytes, MADV_NOHUGEPAGE);
	while (madvise(memory, bytes, MADV_POPULATE_WRITE) < 0 && r == 0)
		r = errno == EINTR || errno == EAGAIN ? 0 : -errno;
	(void)munmap(memory, bytes);
	return r;
}

static int truncate_to(const struct backing_file *file, uint64_t n_pages)
{
	return ftruncate(file->fd, (off_t)(n_pages * file->backing->page_bytes)) < 0 ? -errno : 0;
}

/* Of base pages: in folios of one page each. */
static int allocate_base(const struct backing_file *file, uint64_t n_there, uint64_t n_pages)
{
	int r;

	if (hugefolio_possible(""))
		return allocate_small(file, n_there, n_pages);
	r = allocate(file, n_there, n_pages);
	/* The operator was faster: there is more than what was asked for. */
	if (r == 0 && fill_count_present(file) > n_there + n_pages) {
		r = truncate_to(file, n_there);
		if (r == 0)
			r = allocate_small(file, n_there, n_pages);
	}
	return r;
}

/* Of the slice that failed hugetlbfs keeps what it could allocate; a plain memfd keeps nothing. */
static int explain_failure(const struct backing_file *file, uint64_t n_pages, int error,
			   struct backing_shortage *ret_shortage)
{
	uint64_t present = fill_count_present(file), n_done;

	n_done = present > file->n_pages ? present - file->n_pages : 0;
	n_done = n_done < n_pages ? n_done : n_pages - 1;
	if (error != -EFBIG && !is_short(error))
		return error;
	if (error != -EFBIG && file->backing->kernelpool)
		explain_hugepages(file, n_pages - n_done, ret_shortage);
	else
		*ret_shortage = (struct backing_shortage){.limit = error == -EFBIG ? BACKING_LIMIT_FILE_SIZE
										   : BACKING_LIMIT_UNKNOWN,
							  .missing_pages = n_pages - n_done};
	return BACKING_SHORT;
}

/* Pages that are there already are left alone. On failure what could be had is in the file. */
static int fill(const struct backing_file *file, uint64_t n_pages, struct backing_shortage *ret_shortage)
{
	const struct backing *backing = file->backing;
	const uint64_t slice = SLICE_BYTES > backing->page_bytes ? SLICE_BYTES / backing->page_bytes : 1;
	uint64_t n_done = 0;

	while (n_done < n_pages) {
		const uint64_t left = n_pages - n_done, n = left < slice ? left : slice;
		const uint64_t n_there = file->n_pages + n_done;
		int r = look(file, n_there, left, ret_shortage);

		if (r != 0)
			return r;
		r = backing->kernelpool ? allocate(file, n_there, n) : allocate_base(file, n_there, n);
		if (r < 0)
			return explain_failure(file, n_pages, r, ret_shortage);
		n_done += n;
	}
	return 0;
}

/* All that the pool wants is to come from one node, which is preferred only: has it as much? */
static int look_at_node(const struct backing_file *file, uint64_t n_pages,
			struct backing_shortage *ret_shortage)
{
	const struct backing *backing = file->backing;
	const uint64_t n_free = backing->kernelpool ? free_of_node(backing) : UINT64_MAX;

	if (n_free >= n_pages)
		return 0;
	*ret_shortage = (struct backing_shortage){.limit = BACKING_LIMIT_NODE_HUGEPAGES,
						  .node = backing->node,
						  .left_bytes = n_free * backing->page_bytes,
						  .missing_pages = n_pages - n_free};
	return BACKING_SHORT;
}

static int look_and_fill(const struct backing_file *file, uint64_t n_pages,
			 struct backing_shortage *ret_shortage)
{
	const uint64_t present = fill_count_present(file);
	const uint64_t n_there = present > file->n_pages ? present - file->n_pages : 0;
	int r = n_there < n_pages ? look_at_node(file, n_pages - n_there, ret_shortage) : 0;

	return r == 0 ? fill(file, n_pages, ret_shortage) : r;
}

/* Would more of the kernel's hugepages help, and may we ask for them? */
static bool may_raise(const struct backing *backing, const struct backing_shortage *shortage)
{
	return backing->grow && backing->kernelpool &&
	       (shortage->limit == BACKING_LIMIT_HUGEPAGES ||
		shortage->limit == BACKING_LIMIT_NODE_HUGEPAGES);
}

int fill_extend(struct backing_file *file, uint64_t n_pages, struct backing_shortage *ret_shortage)
{
	struct kernelpool *kernelpool = file->backing->kernelpool;
	struct backing_shortage why;
	uint64_t raised = 0;
	int r;

	r = look_and_fill(file, n_pages, ret_shortage);
	/* What is there stays in the file meanwhile: nobody can take it from us. */
	if (r == BACKING_SHORT && may_raise(file->backing, ret_shortage)) {
		why = *ret_shortage;
		if (kernelpool_raise(kernelpool, file->backing->name, file->backing->max_pages,
				     why.missing_pages, &raised, &why) == 0) {
			r = look_and_fill(file, n_pages, ret_shortage);
		} else {
			why.missing_pages = ret_shortage->missing_pages;
			*ret_shortage = why;
		}
	}
	if (r == 0)
		return 0;

	(void)truncate_to(file, file->n_pages);
	if (kernelpool && raised > 0)
		kernelpool_lower(kernelpool, file->backing->name,
				 raised); /* something else than the kernel's pool was short */
	return r;
}

/* view.c - see view.h.
 *
 * The address of the first byte is as far past a multiple of the alignment as the byte is in its file; for
 * large leases that alignment is 1 GiB, so that the kernel can share the page tables of hugepages with the
 * daemon's mapping (arena.c says more). Pages are populated after the advice, which those tables depend on.
 *
 * Invariant: in [range, range + range_bytes) [data, data + bytes) is mapped, the rest is inaccessible; with
 * HP_GUARD that is at least a page on both sides.
 */
#include <config.h>

#include <errno.h>
#include <sys/mman.h>

#include "client/include/hugepool.h"
#include "client/lib/range.h"
#include "client/lib/view.h"

#define SHARED_TABLE_BYTES (UINT64_C(1) << 30)
#define VIEW_MAX_BYTES     (UINT64_C(1) << 56) /* more addresses has no process */

static uint64_t guard_bytes(const struct view_way *way)
{
	return way->flags & HP_GUARD ? way->page_bytes : 0;
}

static uint64_t runs_bytes(const struct arena_run *runs, unsigned n_runs)
{
	uint64_t bytes = 0;

	for (unsigned i = 0; i < n_runs; i++)
		bytes += runs[i].bytes;
	return bytes;
}

/* What the address of the first byte is aligned by, at least. */
static uint64_t least_align_of(const struct view_way *way)
{
	const uint64_t align_bytes = way->align_bytes > way->page_bytes ? way->align_bytes : way->page_bytes;

	return align_bytes < SHARED_TABLE_BYTES ? align_bytes : SHARED_TABLE_BYTES;
}

/* And where there is room for it. */
static uint64_t align_of(const struct view_way *way, uint64_t bytes)
{
	uint64_t align_bytes = least_align_of(way);

	return bytes >= SHARED_TABLE_BYTES ? SHARED_TABLE_BYTES : align_bytes;
}

/* A reserved range for so many bytes, with nothing mapped. */
static int view_init(struct view *view, const struct view_way *way, const struct arena_run *first,
		     uint64_t bytes)
{
	uint64_t guard = guard_bytes(way);
	int r;

	*view = (struct view){.range_bytes = bytes + 2 * guard};
	r = range_reserve(view->range_bytes, guard, align_of(way, bytes), first->offset_bytes, &view->range);
	/* Without what only makes it faster. */
	if (r == -ENOMEM)
		r = range_reserve(view->range_bytes, guard, least_align_of(way), first->offset_bytes,
				  &view->range);
	if (r == 0)
		view->data = view->range + guard;
	return r;
}

/* Map the runs' bytes from `begin` on over what is reserved for them. */
static int map_runs(uint8_t *data, const struct view_way *way, const struct arena_run *runs, unsigned n_runs,
		    uint64_t begin, struct range_hole *ret_hole)
{
	int protection = PROT_READ | (way->flags & HP_READ_ONLY ? 0 : PROT_WRITE);
	int flags = way->flags & HP_PRIVATE ? MAP_PRIVATE : MAP_SHARED;
	uint64_t position = 0;

	/* Private pages are taken from the kernel when they are copied, not all of them now. */
	if (way->flags & HP_PRIVATE && !(way->flags & HP_POPULATE))
		flags |= MAP_NORESERVE;
	for (unsigned i = 0; i < n_runs; position += runs[i].bytes, i++) {
		uint64_t skip = begin > position ? begin - position : 0;
		int r;

		if (skip >= runs[i].bytes)
			continue;
		r = range_map(data + position + skip, runs[i].bytes - skip, protection, flags,
			      runs[i].arena->fd, runs[i].offset_bytes + skip, ret_hole);
		if (r < 0)
			return r;
	}
	return 0;
}

/* Fill the page tables, or lock; what the kernel has no pages or no rights for is -ENOMEM. */
static int settle(uint8_t *start, uint64_t bytes, unsigned flags)
{
	int advice = flags & HP_READ_ONLY ? MADV_POPULATE_READ : MADV_POPULATE_WRITE;
	int r = 0;

	if (flags & HP_POPULATE && madvise(start, bytes, advice) < 0)
		r = errno == EFAULT || errno == EHWPOISON ? -ENOMEM : -errno;
	if (r == 0 && flags & HP_LOCK && mlock(start, bytes) < 0)
		r = errno == EAGAIN || errno == EPERM ? -ENOMEM : -errno;
	return r;
}

/* Map the runs' bytes from `begin` on as the caller wants them. */
static int fill(struct view *view, const struct view_way *way, const struct arena_run *runs, unsigned n_runs,
		uint64_t begin, struct range_hole *ret_hole)
{
	uint64_t bytes = runs_bytes(runs, n_runs);
	int r = map_runs(view->data, way, runs, n_runs, begin, ret_hole);

	if (r == 0 && (madvise(view->range, view->range_bytes, MADV_DONTFORK) < 0 ||
		       madvise(view->range, view->range_bytes, MADV_DONTDUMP) < 0))
		r = -errno;
	if (r == 0)
		r = settle(view->data + begin, bytes - begin, way->flags);
	if (r == 0)
		view->bytes = bytes;
	return r;
}

int view_map(struct view *view, const struct view_way *way, const struct arena_run *runs, unsigned n_runs)
{
	int r = -EEXIST;

	for (unsigned i = 0; i < RANGE_MAX_TRIES && r == -EEXIST; i++) {
		struct range_hole hole = {0};

		r = view_init(view, way, runs, runs_bytes(runs, n_runs));
		if (r < 0)
			break;
		r = fill(view, way, runs, n_runs, 0, &hole);
		if (r < 0)
			range_release(view->range, view->range_bytes, &hole);
	}
	if (r < 0)
		*view = (struct view){0};
	return r == -EEXIST ? -ENOMEM : r;
}

int view_map_again(struct view *view, const struct view_way *way, const struct arena_run *runs,
		   unsigned n_runs, bool whole)
{
	struct range_hole hole = {0};
	int r = range_reserve_at(view->range, view->range_bytes);

	if (r < 0 || !whole)
		return r;
	r = fill(view, way, runs, n_runs, 0, &hole);
	if (r < 0)
		range_release(view->range, view->range_bytes, &hole);
	return r;
}

int view_reserve(struct view *view, const struct view_way *way, uint64_t bytes)
{
	const uint64_t around = (uint64_t)(view->data - view->range) + guard_bytes(way);
	uint64_t more;

	if (bytes > VIEW_MAX_BYTES - around)
		return -ENOSPC;
	if (around + bytes <= view->range_bytes)
		return 0;
	more = around + bytes - view->range_bytes;
	if (range_reserve_at(view->range + view->range_bytes, more) < 0)
		return -ENOSPC;
	view->range_bytes += more;
	return 0;
}

/* Nothing behind the bytes that are mapped is ours any more, but a guard where there was one. */
static void cut_off(struct view *view, const struct view_way *way, const struct range_hole *hole)
{
	uint8_t *data_end = view->data + view->bytes;
	uint64_t guard = guard_bytes(way);

	range_release(data_end, (size_t)(view->range + view->range_bytes - data_end), hole);
	view->range_bytes = (size_t)(data_end - view->range);
	if (guard > 0 && range_reserve_at(data_end, guard) == 0)
		view->range_bytes += guard;
}

int view_grow(struct view *view, const struct view_way *way, const struct arena_run *runs, unsigned n_runs)
{
	struct range_hole hole = {0};
	int r = fill(view, way, runs, n_runs, view->bytes, &hole);

	if (r < 0)
		cut_off(view, way, &hole);
	return r == -EEXIST ? -ENOSPC : r;
}

/* Private pages are nowhere but in the mapping, so it is moved; one piece, so that it moves or does not. */
static int move_private(struct view *view, const struct view_way *way, const struct arena_run *runs,
			unsigned n_runs)
{
	struct range_hole hole = {0};
	struct view moved;
	uint64_t bytes = view->bytes;
	int r;

	if (runs[0].bytes < bytes)
		return -ENOSPC;
	r = view_init(&moved, way, runs, runs_bytes(runs, n_runs));
	if (r < 0)
		return r;
	r = fill(&moved, way, runs, n_runs, bytes, &hole);
	if (r == 0)
		r = range_move(view->data, bytes, moved.data, &hole);
	if (r < 0) {
		range_release(moved.range, moved.range_bytes, &hole);
		/* Somebody was faster; or it is one run, but was mapped in pieces, as it grew. */
		return r == -EEXIST || r == -EFAULT || r == -EINVAL ? -ENOSPC : r;
	}
	range_release(view->range, view->range_bytes,
		      &(struct range_hole){.start = view->data, .bytes = bytes});
	*view = moved;
	return 0;
}

int view_move(struct view *view, const struct view_way *way, const struct arena_run *runs, unsigned n_runs)
{
	struct view moved;
	int r;

	if (way->flags & HP_PRIVATE)
		return move_private(view, way, runs, n_runs);
	r = view_map(&moved, way, runs, n_runs);
	if (r == 0) {
		view_unmap(view);
		*view = moved;
	}
	return r;
}

void view_trim(struct view *view, uint64_t bytes)
{
	range_cover(view->data + bytes, view->bytes - bytes);
	view->bytes = bytes;
}

void view_unmap(struct view *view)
{
	if (view->range)
		range_release(view->range, view->range_bytes, NULL);
	*view = (struct view){0};
}

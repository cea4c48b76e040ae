/* range.c - see range.h. */
#include <config.h>

#include <errno.h>
#include <sys/mman.h>

#include "client/lib/range.h"

#define RESERVED_FLAGS (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE)

int range_reserve(size_t bytes, size_t lead_bytes, uint64_t align_bytes, uint64_t phase_bytes,
		  uint8_t **ret_start)
{
	size_t all_bytes = bytes + align_bytes, front_bytes;
	uint8_t *all = mmap(NULL, all_bytes, PROT_NONE, RESERVED_FLAGS, -1, 0);

	if (all == MAP_FAILED)
		return -errno;
	front_bytes = (phase_bytes - ((uintptr_t)all + lead_bytes)) & (align_bytes - 1);
	if (front_bytes > 0)
		munmap(all, front_bytes);
	munmap(all + front_bytes + bytes, align_bytes - front_bytes);
	*ret_start = all + front_bytes;
	return 0;
}

/* Map exactly there, where nothing may be. */
static int map_at(uint8_t *start, size_t bytes, int protection, int flags, int fd, uint64_t offset_bytes)
{
	uint8_t *mapped =
		mmap(start, bytes, protection, flags | MAP_FIXED_NOREPLACE, fd, (off_t)offset_bytes);

	if (mapped == MAP_FAILED)
		return -errno;
	if (mapped == start)
		return 0;
	munmap(mapped, bytes); /* a kernel that takes the address for a hint */
	return -EEXIST;
}

int range_reserve_at(uint8_t *start, size_t bytes)
{
	int r = map_at(start, bytes, PROT_NONE, RESERVED_FLAGS, -1, 0);

	if (r == 0 && madvise(start, bytes, MADV_DONTFORK) < 0) {
		r = -errno;
		munmap(start, bytes);
	}
	return r;
}

int range_map(uint8_t *start, size_t bytes, int protection, int flags, int fd, uint64_t offset_bytes,
	      struct range_hole *ret_hole)
{
	int r;

	if (munmap(start, bytes) < 0)
		return -errno;
	r = map_at(start, bytes, protection & ~PROT_WRITE, flags, fd, offset_bytes);
	if (r < 0) {
		*ret_hole = (struct range_hole){.start = start, .bytes = bytes};
		return r;
	}
	if (protection & PROT_WRITE && mprotect(start, bytes, protection) < 0) {
		r = -errno;
		range_cover(start, bytes);
	}
	return r;
}

/* There is no mremap() that replaces nothing. One that fails may have unmapped its target; if something is
 * there then, it can be our reservation or what another thread has mapped in between. */
int range_move(uint8_t *from, size_t bytes, uint8_t *to, struct range_hole *ret_hole)
{
	int r = 0;

	if (mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED, to) == MAP_FAILED) {
		r = -errno;
		if (range_reserve_at(to, bytes) < 0)
			*ret_hole = (struct range_hole){.start = to, .bytes = bytes};
	}
	return r;
}

void range_cover(uint8_t *start, size_t bytes)
{
	if (mmap(start, bytes, PROT_NONE, RESERVED_FLAGS | MAP_FIXED, -1, 0) == start)
		(void)madvise(start, bytes, MADV_DONTFORK);
}

void range_release(uint8_t *start, size_t bytes, const struct range_hole *hole)
{
	uint8_t *end = start + bytes;

	if (!hole || hole->bytes == 0) {
		if (bytes > 0)
			munmap(start, bytes);
		return;
	}
	range_release(start, (size_t)(hole->start - start), NULL);
	range_release(hole->start + hole->bytes, (size_t)(end - (hole->start + hole->bytes)), NULL);
}

/* range.h - address ranges that are reserved first and then filled with parts of files.
 *
 * A reserved range is inaccessible and ours. A part that is to be filled is given up and at once mapped anew,
 * but only if nobody was faster: so nothing of anybody's is ever mapped over, and where a mapping has failed
 * it is known that its addresses are not ours any more, whatever is there now.
 *
 * No arenas, no leases, no threads: the caller owns the range.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define RANGE_MAX_TRIES 8 /* a range in which somebody was faster is given up for another one */

/* A part of a range that is not ours any more; zero bytes: there is none. */
struct range_hole {
	uint8_t *start;
	size_t bytes;
};

/* Reserve `bytes` such that the address `lead_bytes` behind their start is `phase_bytes` past a multiple of
 * `align_bytes`, a power of two of at least a page of the machine. 0, or what mmap says. */
int range_reserve(size_t bytes, size_t lead_bytes, uint64_t align_bytes, uint64_t phase_bytes,
		  uint8_t **ret_start);
/* Reserve exactly these addresses, which forked children shall not have. -EEXIST: something else is there. */
int range_reserve_at(uint8_t *start, size_t bytes);
/* Map a part of a file over a reserved part, shared or private as `flags` say. 0, or what mmap says, -EEXIST:
 * somebody was faster; then the part is in *ret_hole, unless it is as it was.
 * A file that is shorter stays so: mmap for writing would make a hugetlb one longer that was truncated to
 * take it back, and all who have it mapped would find zeros there again instead of SIGBUS. */
int range_map(uint8_t *start, size_t bytes, int protection, int flags, int fd, uint64_t offset_bytes,
	      struct range_hole *ret_hole);
/* Move a mapping to a reserved part. On failure it is where it was, and the part is reserved or in *ret_hole.
 */
int range_move(uint8_t *from, size_t bytes, uint8_t *to, struct range_hole *ret_hole);
/* Make a part inaccessible again, and let go of what is mapped there, but for forked children. Without memory
 * for that it stays. */
void range_cover(uint8_t *start, size_t bytes);
/* Give a range back, but for the hole (NULL: none). */
void range_release(uint8_t *start, size_t bytes, const struct range_hole *hole);

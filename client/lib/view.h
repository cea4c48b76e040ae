/* view.h - a lease's mapping of its own: its runs back to back in one reserved range of addresses.
 *
 * Used where a part of the arena's mapping will not do: for several runs, and for leases that are mapped
 * otherwise than shared, readable and writable. Trimming keeps the addresses reserved, growing takes those
 * behind. Runs are given with their shares; a view holds no share of its own.
 *
 * One thread at a time uses a view; no lock is needed, nothing here is slow but the kernel.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "client/lib/arena.h"

struct view {
	uint8_t *range; /* reserved; NULL: there is no mapping */
	size_t range_bytes;
	uint8_t *data; /* the first of the bytes that are mapped, back to back */
	uint64_t bytes;
};

/* How it is mapped; the same in all calls on one view. */
struct view_way {
	unsigned flags; /* HP_READ_ONLY to HP_GUARD */
	uint64_t page_bytes;
	uint64_t align_bytes; /* of the first byte, as in its file; a power of two, or 0 */
};

/* Map all of the runs. 0, or what the kernel says (-ENOMEM as well for what it has no pages or rights for),
 * and then nothing is mapped or reserved. */
int view_map(struct view *view, const struct view_way *way, const struct arena_run *runs, unsigned n_runs);
/* Have addresses for so many bytes, more than there are now. -ENOSPC: those behind are taken. */
int view_reserve(struct view *view, const struct view_way *way, uint64_t bytes);
/* Map what the runs have beyond the bytes that there are; their addresses were reserved. On failure as
 * view_map(), or -ENOSPC: somebody has taken the addresses after all; and the view is what it was. */
int view_grow(struct view *view, const struct view_way *way, const struct arena_run *runs, unsigned n_runs);
/* The same by mapping all of it elsewhere. -ENOSPC: private pages in several pieces cannot be moved. */
int view_move(struct view *view, const struct view_way *way, const struct arena_run *runs, unsigned n_runs);
/* In a forked child, which has no mapping: make it, at the same addresses; without `whole` nothing is there
 * but the reservation. 0, or as view_map(), or -EEXIST: something else is there; and it is what it was. */
int view_map_again(struct view *view, const struct view_way *way, const struct arena_run *runs,
		   unsigned n_runs, bool whole);
/* Let go of the tail, `bytes` stay. */
void view_trim(struct view *view, uint64_t bytes);
/* Takes one that is not mapped, too. */
void view_unmap(struct view *view);

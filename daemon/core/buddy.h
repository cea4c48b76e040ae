/* buddy.h - free page runs of one arena, by order.
 *
 * Page indexes only: no addresses, no system calls, no threads, no malloc; the caller serialises and provides
 * the memory. Requests are exact to the page: the tail of a block that a request does not need stays free.
 * Low addresses first, and a run may begin anywhere and go on from block to block. An arena has at most 2^32
 * pages; bookkeeping is 1.11 bits a page and a struct of 104 bytes. Every call but the put of a large
 * range and the counting of blocks costs a bounded number of words, however the free pages lie.
 *
 * Invariant (buddy_check): every page is either free or taken; free pages lie in maximal aligned blocks, so
 * two free buddies of one order never coexist; the count of free pages agrees with the bitmaps.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BUDDY_MAX_PAGES (UINT64_C(1) << 32)
#define BUDDY_ORDERS    33 /* blocks of 2^0 ... 2^32 pages */

enum {
	BUDDY_FULL = 1,  /* no free run is that long (or aligned so), or the arena is isolated */
	BUDDY_TAKEN = 2, /* a page of the wanted range is not free */
};

struct buddy;

/* Bytes of bookkeeping for an arena of `n_pages`, struct included. */
size_t buddy_bytes(uint64_t n_pages);

/* Make a buddy in `memory`: buddy_bytes(n_pages) zeroed bytes, aligned to 64, that stay the caller's.
 * All pages are taken; put what is free. Touches nothing per page. */
struct buddy *buddy_init(void *memory, uint64_t n_pages);

/* Take a run of exactly `n_pages` (at least 1) whose first page is a multiple of `align_pages` (a power of
 * two): a low one, but not a free block whose larger buddy is about to become whole if there is another of
 * its order near by. Returns 0 and sets *ret_first; BUDDY_FULL is expected and leaves *ret_first untouched.
 * BUDDY_FULL means that no block of max(n_pages, align_pages), rounded up to an order, is free; a shorter run
 * that has room is found most of the time, and always if n_pages <= buddy_sure_run() and align_pages is 1. */
int buddy_take(struct buddy *buddy, uint64_t n_pages, uint64_t align_pages, uint64_t *ret_first);

/* Take up to `n_runs` runs of `n_pages` each, not aligned, low addresses first: what as many calls of
 * buddy_take would give, for less. Returns how many there are in ret_firsts; fewer than asked when the rest
 * is BUDDY_FULL. */
uint32_t buddy_take_bulk(struct buddy *buddy, uint64_t n_pages, uint32_t n_runs, uint64_t *ret_firsts);

/* Take exactly these pages. Returns 0, or BUDDY_TAKEN with nothing changed. */
int buddy_take_at(struct buddy *buddy, uint64_t first, uint64_t n_pages);

/* Give back taken pages: any part of what was taken, in any pieces. Merges with what is free beside it. */
void buddy_put(struct buddy *buddy, uint64_t first, uint64_t n_pages);

/* Isolate: takes find nothing, puts are still recorded. Restore undoes it. */
void buddy_isolate(struct buddy *buddy);
void buddy_restore(struct buddy *buddy);
bool buddy_is_isolated(const struct buddy *buddy);

uint64_t buddy_n_pages(const struct buddy *buddy);
uint64_t buddy_free_pages(const struct buddy *buddy);
/* Free blocks of 2^order pages, as /proc/buddyinfo counts them. Counts anew: reads a word for every 64 pages,
 * above order 5 for every 4096, above order 11 for every 2^18. */
uint64_t buddy_free_blocks(const struct buddy *buddy, unsigned order);
/* buddy_take() without alignment grants every run up to this long; 0 when nothing is free, or isolated. At
 * least the largest free block, all there is when one run is all there is. O(1) or nearly. */
uint64_t buddy_sure_run(const struct buddy *buddy);

/* The next free run at or after `from`, not split into blocks: returns true and sets first and length. Of a
 * run that began before `from` only the rest. */
bool buddy_next_free_run(const struct buddy *buddy, uint64_t from, uint64_t *ret_first,
			 uint64_t *ret_n_pages);

/* Walk everything and assert the invariant. Slow: tests and checks builds. */
void buddy_check(const struct buddy *buddy);

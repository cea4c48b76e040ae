/* buddy.c - free page runs of one arena: which one a take gets.
 *
 * Policy only: what is free, and which aligned blocks are whole, is the blockmap's business; this file
 * chooses. A take wants the lowest run that is long enough, whether or not it begins at a block of its size:
 * on the traces of real programs that is worth up to a third of the footprint against handing out aligned
 * blocks only. It must not search forever, though. So it looks at the lowest free run that holds a block of
 * the smallest order which such a run can do with, then at the lowest that holds one of the next order, and
 * so on: a block of the rounded-up order is long enough by itself, and the first one is the end of every
 * search.
 *
 * The caller serialises. Invariant (buddy_check): the blockmap's own, and free_pages is what it says.
 */
#include <config.h>

#include "daemon/core/buddy.h"

#include "daemon/base/assert.h"
#include "daemon/core/blockmap.h"

#define BUDDY_MAGIC 0xb0dd1e5u
/* How far up, in blocks of its size, a spared block can send a take. Farther, and the takes of one size end
 * up in the middle of what larger ones will want. */
#define SPARE_REACH 16

struct buddy {
	unsigned magic; /* constant after init */
	bool isolated;
	uint64_t free_pages;
	struct blockmap map;
};

static inline unsigned order_at_most(uint64_t n_pages)
{
	return 63 - (unsigned)__builtin_clzll(n_pages);
}

static inline unsigned order_at_least(uint64_t n_pages)
{
	return n_pages == 1 ? 0 : order_at_most(n_pages - 1) + 1;
}

static inline uint64_t align_up(uint64_t page, uint64_t align_pages)
{
	return (page + align_pages - 1) & ~(align_pages - 1);
}

size_t buddy_bytes(uint64_t n_pages)
{
	hp_assert(n_pages >= 1 && n_pages <= BUDDY_MAX_PAGES);
	return sizeof(struct buddy) + blockmap_bytes(n_pages);
}

struct buddy *buddy_init(void *memory, uint64_t n_pages)
{
	struct buddy *buddy = memory;

	hp_assert(n_pages >= 1 && n_pages <= BUDDY_MAX_PAGES);
	buddy->magic = BUDDY_MAGIC;
	blockmap_init(&buddy->map, (uint64_t *)(buddy + 1), n_pages);
	return buddy;
}

/* ---- choosing ---- */

/* The order of block that every run like this holds, however it lies. */
static unsigned order_within(uint64_t n_pages, uint64_t align_pages)
{
	unsigned anywhere = order_at_most(n_pages + 1) - 1;
	unsigned aligned = order_at_most(align_pages < n_pages ? align_pages : n_pages);

	return aligned > anywhere ? aligned : anywhere;
}

/* Is there room in the lowest free run that holds a block of `order`? To look at more of them is slower, and
 * packs hardly better. */
static bool fit_beside_order(const struct blockmap *map, unsigned order, uint64_t n_pages,
			     uint64_t align_pages, uint64_t *ret_first)
{
	uint64_t block, first;

	if (!blockmap_find(map, order, 0, &block))
		return false;
	first = align_up(blockmap_run_start(map, block), align_pages);
	if (first + n_pages > blockmap_run_end(map, block))
		return false;
	*ret_first = first;
	return true;
}

/* Is this a free block whose buddy is in use, while the buddy of the two of them together is whole? Then it
 * had better wait: when its buddy comes back, all three become one block. */
static bool block_is_spared(const struct blockmap *map, unsigned order, uint64_t first)
{
	const uint64_t size = UINT64_C(1) << order;
	const uint64_t parent = first & ~(2 * size - 1);

	return first % size == 0 && blockmap_is_whole(map, order + 1, parent ^ 2 * size) &&
	       !blockmap_is_whole(map, order + 1, parent) && blockmap_is_whole(map, order, first);
}

/* The next-larger-buddy rule: instead of a spared block, the next one of just that order that is not spared,
 * if there is one near by. Larger blocks are left alone: to split one is worse. */
static uint64_t block_to_take(const struct blockmap *map, unsigned order, uint64_t spared)
{
	const uint64_t size = UINT64_C(1) << order;
	uint64_t from = spared + size, block;

	while (blockmap_find(map, order, from, &block) && block - spared <= SPARE_REACH * size) {
		if (blockmap_is_whole(map, order + 1, block & ~(2 * size - 1))) {
			from = blockmap_run_end(map, block) & ~(2 * size - 1);
			continue;
		}
		if (!block_is_spared(map, order, block))
			return block;
		from = block + size;
	}
	return spared;
}

static bool choose(const struct blockmap *map, uint64_t n_pages, uint64_t align_pages, uint64_t *ret_first)
{
	const unsigned sure_order = order_at_least(n_pages > align_pages ? n_pages : align_pages);

	for (unsigned order = order_within(n_pages, align_pages); order <= sure_order; order++) {
		if (fit_beside_order(map, order, n_pages, align_pages, ret_first)) {
			if (block_is_spared(map, sure_order, *ret_first))
				*ret_first = block_to_take(map, sure_order, *ret_first);
			return true;
		}
	}
	return false;
}

/* ---- taking and putting ---- */

static void assert_range(const struct buddy *buddy, uint64_t first, uint64_t n_pages)
{
	hp_assert_alive(buddy, BUDDY_MAGIC);
	hp_assert(n_pages > 0 && first < buddy->map.n_pages && n_pages <= buddy->map.n_pages - first);
}

static void take_chosen(struct buddy *buddy, uint64_t first, uint64_t n_pages)
{
	blockmap_write(&buddy->map, first, n_pages, false);
	buddy->free_pages -= n_pages;
}

int buddy_take(struct buddy *buddy, uint64_t n_pages, uint64_t align_pages, uint64_t *ret_first)
{
	uint64_t first;

	hp_assert_alive(buddy, BUDDY_MAGIC);
	hp_assert(n_pages > 0 && align_pages > 0 && (align_pages & (align_pages - 1)) == 0);
	if (align_pages > BUDDY_MAX_PAGES)
		align_pages = BUDDY_MAX_PAGES; /* page 0 is the only multiple of either */
	if (buddy->isolated || n_pages > buddy->free_pages ||
	    !choose(&buddy->map, n_pages, align_pages, &first))
		return BUDDY_FULL;
	take_chosen(buddy, first, n_pages);
	*ret_first = first;
	return 0;
}

uint32_t buddy_take_bulk(struct buddy *buddy, uint64_t n_pages, uint32_t n_runs, uint64_t *ret_firsts)
{
	uint32_t n_taken = 0;
	uint64_t first;

	hp_assert_alive(buddy, BUDDY_MAGIC);
	hp_assert(n_pages > 0);
	while (!buddy->isolated && n_taken < n_runs && n_pages <= buddy->free_pages &&
	       choose(&buddy->map, n_pages, 1, &first)) {
		uint64_t n_here = (blockmap_run_end(&buddy->map, first) - first) / n_pages;

		if (n_here > n_runs - n_taken)
			n_here = n_runs - n_taken;
		take_chosen(buddy, first, n_here * n_pages);
		for (; n_here > 0; n_here--, first += n_pages)
			ret_firsts[n_taken++] = first;
	}
	return n_taken;
}

int buddy_take_at(struct buddy *buddy, uint64_t first, uint64_t n_pages)
{
	assert_range(buddy, first, n_pages);
	if (blockmap_run_end(&buddy->map, first) < first + n_pages)
		return BUDDY_TAKEN;
	take_chosen(buddy, first, n_pages);
	return 0;
}

void buddy_put(struct buddy *buddy, uint64_t first, uint64_t n_pages)
{
	assert_range(buddy, first, n_pages);
	blockmap_write(&buddy->map, first, n_pages, true);
	buddy->free_pages += n_pages;
}

void buddy_isolate(struct buddy *buddy)
{
	hp_assert_alive(buddy, BUDDY_MAGIC);
	buddy->isolated = true;
}

void buddy_restore(struct buddy *buddy)
{
	hp_assert_alive(buddy, BUDDY_MAGIC);
	buddy->isolated = false;
}

/* ---- asking ---- */

bool buddy_is_isolated(const struct buddy *buddy)
{
	return buddy->isolated;
}

uint64_t buddy_n_pages(const struct buddy *buddy)
{
	return buddy->map.n_pages;
}

uint64_t buddy_free_pages(const struct buddy *buddy)
{
	return buddy->free_pages;
}

uint64_t buddy_free_blocks(const struct buddy *buddy, unsigned order)
{
	hp_assert(order < BUDDY_ORDERS);
	return blockmap_count(&buddy->map, order) - 2 * blockmap_count(&buddy->map, order + 1);
}

/* The lowest block of the largest order is the first that choose() looks at when it comes to that order, and
 * it comes to it for every request that the run around this block can serve. */
uint64_t buddy_sure_run(const struct buddy *buddy)
{
	const int order = blockmap_largest_order(&buddy->map);
	uint64_t block;

	if (buddy->isolated || order < 0 || !blockmap_find(&buddy->map, (unsigned)order, 0, &block))
		return 0;
	return blockmap_run_end(&buddy->map, block) - blockmap_run_start(&buddy->map, block);
}

bool buddy_next_free_run(const struct buddy *buddy, uint64_t from, uint64_t *ret_first, uint64_t *ret_n_pages)
{
	uint64_t first;

	if (!blockmap_find(&buddy->map, 0, from, &first))
		return false;
	*ret_first = first;
	*ret_n_pages = blockmap_run_end(&buddy->map, first) - first;
	return true;
}

void buddy_check(const struct buddy *buddy)
{
	hp_assert_alive(buddy, BUDDY_MAGIC);
	blockmap_check(&buddy->map);
	hp_assert(buddy->free_pages == blockmap_count(&buddy->map, 0));
}

/* construction.c - see construction.h. */
#include <config.h>

#include <errno.h>

#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/pool/construction.h"
#include "daemon/pool/pool_inside.h"

#define HUGE_SLICE_BYTES (32ull << 20) /* zeroed by the kernel in about 1.5 ms */
#define BASE_SLICE_BYTES (8ull << 20)  /* of base pages: in about 2 ms */

uint64_t construction_slice_pages(const struct pool *pool)
{
	const uint64_t page_bytes = pool->config.page_bytes;
	const uint64_t slice = pool_has_base_pages(pool) ? BASE_SLICE_BYTES : HUGE_SLICE_BYTES;

	return slice > page_bytes ? slice / page_bytes : 1;
}

static void count_pages(struct pool *pool, struct construction *construction, uint64_t n_pages)
{
	construction->n_pages += n_pages;
	lock_take(&pool->lock);
	pool->backed_pages += n_pages;
	pool->stock_pages += n_pages;
	lock_drop(&pool->lock);
	if (!construction->owner)
		atomic_fetch_add(&pool->stocked_pages, n_pages);
}

static void uncount_pages(struct pool *pool, uint64_t n_pages)
{
	lock_take(&pool->lock);
	pool->backed_pages -= n_pages;
	pool->stock_pages -= n_pages;
	lock_drop(&pool->lock);
}

int construction_begin(struct pool *pool, struct construction *construction, uint64_t min_pages,
		       uint64_t want_pages, int node)
{
	int r;

	if (!pool_count_arena(pool))
		return -EMFILE;
	*construction = (struct construction){.min_pages = min_pages, .want_pages = want_pages, .node = node};
	pool->work.n_makes++;
	r = backing_file_begin(pool->backing, &construction->file);
	if (r < 0)
		pool_uncount_arena(pool);
	return r;
}

bool construction_is_complete(const struct construction *construction)
{
	return backing_file_pages(construction->file) >= construction->want_pages;
}

int construction_extend(struct pool *pool, struct construction *construction, uint64_t most_pages)
{
	const uint64_t slice = construction_slice_pages(pool),
		       n_pages = most_pages < slice ? most_pages : slice;
	struct backing_file *file = construction->file;
	struct backing_shortage again;
	int r;

	pool->work.n_slices++;
	r = backing_file_extend(file, n_pages, construction->node, &pool->shortage);
	if (r == BACKING_SHORT) {
		pool->work.n_failures++;
		if (pool->shortage.missing_pages < n_pages)
			(void)backing_file_extend(file, n_pages - pool->shortage.missing_pages,
						  construction->node, &again);
	}
	if (!construction_is_complete(construction))
		count_pages(pool, construction, backing_file_pages(file) - construction->n_pages);
	return r;
}

/* Mapping takes as long as many slices: the last pages are counted after that, so that a full stock is one
 * that is ready. */
int construction_finish(struct pool *pool, struct construction *construction, struct arena **ret)
{
	struct backing_file *file = take_ptr(construction->file);
	const uint64_t n_pages = backing_file_pages(file);
	const int node = construction->node;
	int r = POOL_NO_STOCK;

	if (n_pages == 0)
		backing_file_release(file, false, &(uint64_t){0});
	else
		r = backing_file_finish(file, &pool->shortage);
	if (r != 0) {
		pool_uncount_arena(pool);
		uncount_pages(pool, construction->n_pages);
	} else {
		count_pages(pool, construction, n_pages - construction->n_pages);
		r = pool_adopt_file(pool, file, node, ret);
		if (r < 0)
			uncount_pages(pool, n_pages);
	}
	*construction = (struct construction){.file = NULL};
	return r;
}

/* ---- the pool's own ---- */

uint64_t construction_stock_pages(const struct pool *pool)
{
	return pool->making.file && !pool->making.owner ? backing_file_pages(pool->making.file) : 0;
}

static int finish_making(struct pool *pool)
{
	struct arena *arena;
	int r = construction_finish(pool, &pool->making, &arena);

	if (r != 0)
		return r;
	lock_take(&pool->lock);
	pool_put_in_stock_locked(pool, arena);
	lock_drop(&pool->lock);
	return 0;
}

bool construction_stop(struct pool *pool)
{
	return pool->making.file && finish_making(pool) == 0;
}

void construction_disown(struct pool *pool, const struct want *owner)
{
	if (pool->making.owner == owner)
		pool->making.owner = NULL;
	if (pool->failed_owner == owner)
		pool->failed_owner = NULL;
}

int construction_start(struct pool *pool, const struct want *owner, uint64_t min_pages, uint64_t want_pages,
		       int node)
{
	struct construction *making = &pool->making;
	int r = 0;

	if (making->owner)
		return POOL_MAKING;
	/* What is there of one for the stock is not made twice. */
	if (making->file && (making->node != node || backing_file_pages(making->file) > want_pages))
		construction_stop(pool);
	if (!making->file)
		r = construction_begin(pool, making, min_pages, want_pages, node);
	if (r < 0)
		return r;
	making->owner = owner;
	making->min_pages = min_pages;
	making->want_pages = want_pages;
	return POOL_MAKING;
}

/* The kernel has no more for it. What its owner can do nothing with goes back, unless the stock needs it. */
static void give_up(struct pool *pool, bool is_short)
{
	pool->failed_owner = pool->making.owner;
	pool->failed_short = is_short;
	construction_stop(pool);
	pool_release_stock(pool);
}

bool construction_step(struct pool *pool)
{
	struct construction *making = &pool->making;
	const struct want *owner = making->owner;
	uint64_t room, left;
	int r = 0;

	if (!making->file || !making->owner)
		return false;
	lock_take(&pool->lock);
	room = pool_room_locked(pool);
	lock_drop(&pool->lock);
	left = making->want_pages - making->n_pages;
	left = left < room ? left : room;
	if (left > 0)
		r = construction_extend(pool, making, left);
	if (r == 0 && left > 0 && !construction_is_complete(making))
		return true;
	if (backing_file_pages(making->file) >= making->min_pages) {
		if (construction_stop(pool))
			return true;
		pool->failed_owner = owner;
		pool->failed_short = true;
	} else
		give_up(pool, r == BACKING_SHORT);
	return true;
}

/* pool_inside.h - what pool.c, stock.c, refill.c and release.c say to each other. */
#pragma once

#include <unistd.h>

#include "daemon/pool/pool.h"

static inline bool pool_has_base_pages(const struct pool *pool)
{
	return pool->config.page_bytes == (uint64_t)sysconf(_SC_PAGESIZE);
}

/* What serves somebody or may: backed, and not on its way out; with the pool's lock held. */
static inline uint64_t pool_usable_pages(const struct pool *pool)
{
	lock_assert_held(&pool->lock);
	return pool->backed_pages - pool->limbo_pages;
}

/* Pages that the pool may still grow by: what a daemon that was killed has left counts as well, and can be
 * found when the pool has its max already. With the pool's lock held. */
static inline uint64_t pool_room_locked(const struct pool *pool)
{
	const uint64_t taken = pool->backed_pages + atomic_load(&pool->left_pages);

	lock_assert_held(&pool->lock);
	return taken < pool->config.max_pages ? pool->config.max_pages - taken : 0;
}

/* At or below it the stock is filled up to config.stock_pages, its high watermark: an arena less. */
static inline uint64_t pool_stock_low(const struct pool *pool)
{
	const struct pool_config *config = &pool->config;

	return config->stock_pages > config->arena_pages ? config->stock_pages - config->arena_pages : 0;
}

/* Every arena is a descriptor or two: one more? */
bool pool_count_arena(const struct pool *pool);
/* An arena's descriptors are closed. */
static inline void pool_uncount_arena(const struct pool *pool)
{
	if (pool->threads->arenas_left)
		atomic_fetch_add(pool->threads->arenas_left, 1);
}

/* Enter a file as a blank arena, in nobody's hands; its pages are the caller's to count, the arena is
 * counted. 0 or -ENOMEM: the file is gone, and the arena uncounted. */
int pool_adopt_file(struct pool *pool, struct backing_file *consume_file, int node, struct arena **ret);
/* Its pages count with the stock already. */
void pool_put_in_stock_locked(struct pool *pool, struct arena *arena);

/* The arena, of no zone and no stock any more, goes to the janitor; with the pool's lock held. */
void pool_post_release_locked(struct pool *pool, struct arena *arena);

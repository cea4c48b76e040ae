/* pool_inside.h - what pool.c, stock.c and release.c say to each other. */
#pragma once

#include "daemon/pool/pool.h"

/* What serves somebody or may: backed, and not on its way out; with the pool's lock held. */
static inline uint64_t pool_usable_pages(const struct pool *pool)
{
	lock_assert_held(&pool->lock);
	return pool->backed_pages - pool->limbo_pages;
}

/* An arena's descriptors are closed. */
static inline void pool_uncount_arena(const struct pool *pool)
{
	if (pool->threads->arenas_left)
		atomic_fetch_add(pool->threads->arenas_left, 1);
}

/* The arena, of no zone and no stock any more, goes to the janitor; with the pool's lock held. */
void pool_post_release_locked(struct pool *pool, struct arena *arena);

/* memoryerror.c - see memoryerror.h. An arena that is with the janitor is not looked at: it goes anyhow. */
#include <config.h>

#include <inttypes.h>

#include "daemon/base/log.h"
#include "daemon/pool/memoryerror.h"
#include "daemon/pool/pool_inside.h"

#define ERRORS_MAX 8 /* in a tick: for each, all arenas are looked at */

/* Where a broken address is. */
struct place {
	uint64_t arena_id, page;
	bool is_news;
};

/* Who touches a page that was reported already meets the error again. */
static bool is_news(struct arena *arena, uint64_t page)
{
	return atomic_exchange(&arena->lost_page, page + 1) != page + 1;
}

static void report(struct pool *pool, uint64_t arena_id, uint64_t page)
{
	lock_assert_none();
	atomic_fetch_add(&pool->lost_pages, 1);
	log_warning(
		"pool %s: page %" PRIu64 " of arena %" PRIu64
		" has a memory error of the hardware's: the arena is taken out, and the kernel will not give "
		"that page back",
		pool->config.name, page, arena_id);
}

void memoryerror_report(struct arena *arena, uint64_t page)
{
	if (is_news(arena, page))
		report(arena->pool, arena->id, page);
}

static bool is_in(struct arena *arena, uintptr_t address, struct place *ret)
{
	if (!backing_file_has_address(arena->file, arena->n_pages, address, &ret->page))
		return false;
	ret->arena_id = arena->id;
	ret->is_news = is_news(arena, ret->page);
	return true;
}

/* Take it out of the stock. */
static bool leave_stock_locked(struct pool *pool, uintptr_t address, struct place *ret)
{
	lock_assert_held(&pool->lock);
	for (struct arena **link = &pool->stock; *link; link = &(*link)->stock_next) {
		struct arena *arena = *link;

		if (!is_in(arena, address, ret))
			continue;
		*link = arena->stock_next;
		pool->stock_pages -= arena->n_pages;
		arena->condemned = true;
		pool_post_release_locked(pool, arena);
		return true;
	}
	return false;
}

static bool condemn_locked(struct zone *zone, uintptr_t address, struct place *ret)
{
	bool is_found = false;

	lock_take(&zone->lock);
	for (struct arena *arena = zone->arenas; arena && !is_found; arena = arena->next) {
		is_found = is_in(arena, address, ret);
		if (is_found)
			zone_condemn_locked(arena);
	}
	lock_drop(&zone->lock);
	return is_found;
}

static bool lose(struct pool *pool, uintptr_t address)
{
	struct place place;
	bool is_found;

	lock_take(&pool->lock);
	is_found = leave_stock_locked(pool, address, &place);
	for (struct zone *zone = pool->zones; zone && !is_found; zone = zone->next)
		is_found = condemn_locked(zone, address, &place);
	lock_drop(&pool->lock);
	if (is_found && place.is_news)
		report(pool, place.arena_id, place.page);
	return is_found;
}

void memoryerror_look(struct pool **pools, unsigned n_pools)
{
	uintptr_t address;

	for (unsigned n = 0; n < ERRORS_MAX && backing_take_any_memory_error(&address); n++) {
		bool is_found = false;

		for (unsigned i = 0; i < n_pools && !is_found; i++)
			is_found = lose(pools[i], address);
		if (!is_found)
			log_warning("the hardware has a memory error at %#" PRIxPTR
				    ", in no arena that can be leased from: nothing is taken out",
				    address);
	}
}

/* reclaim.c - arenas that nobody uses go to the kernel, so that it can supply others for a request: as many
 * as arithmetic (admission.h) says that it needs, no more. Runs on the stocker's thread.
 */
#include <config.h>

#include "daemon/pool/admission.h"
#include "daemon/pool/pool_inside.h"

/* What one request lets go. */
struct reclaim {
	struct pool *pool;
	uint64_t left_pages; /* to be let go */
	unsigned n_arenas;   /* that were */
	bool above_reserve;  /* nothing that the reserve keeps */
	bool scrubbing;      /* an arena is not free to go yet */
};

static bool may_go_locked(const struct reclaim *reclaim, const struct arena *arena)
{
	return !reclaim->above_reserve || arena->n_pages <= admission_spare_locked(reclaim->pool);
}

static void post_locked(struct reclaim *reclaim, struct arena *arena)
{
	pool_post_release_locked(reclaim->pool, arena);
	reclaim->left_pages -= arena->n_pages < reclaim->left_pages ? arena->n_pages : reclaim->left_pages;
	reclaim->n_arenas++;
}

/* Empty arenas of a zone, the highest first: what is behind moves up when one leaves. */
static void from_zone(struct reclaim *reclaim, struct zone *zone)
{
	lock_take(&reclaim->pool->lock);
	lock_take(&zone->lock);
	for (unsigned i = zone->n_shared; i-- > 0 && zone->empty_pages > 0 && reclaim->left_pages > 0;) {
		struct arena *arena = zone->shared[i];

		if (!arena->is_empty || !may_go_locked(reclaim, arena))
			continue;
		if (arena->scrubbing) {
			arena->leaving = reclaim->scrubbing = true;
			continue;
		}
		zone_remove_arena_locked(zone, arena);
		post_locked(reclaim, arena);
	}
	lock_drop(&zone->lock);
	lock_drop(&reclaim->pool->lock);
}

static void from_stock(struct reclaim *reclaim)
{
	struct pool *pool = reclaim->pool;

	lock_take(&pool->lock);
	for (struct arena **link = &pool->stock; *link && reclaim->left_pages > 0;) {
		struct arena *arena = *link;

		if (!may_go_locked(reclaim, arena)) {
			link = &arena->stock_next;
			continue;
		}
		*link = arena->stock_next;
		pool->stock_pages -= arena->n_pages;
		post_locked(reclaim, arena);
	}
	lock_drop(&pool->lock);
}

/* Zones are entered at the head of the list, and freed on this thread only: the walk needs no lock. */
static struct zone *first_zone(struct pool *pool)
{
	struct zone *zone;

	lock_take(&pool->lock);
	zone = pool->zones;
	lock_drop(&pool->lock);
	return zone;
}

unsigned pool_reclaim(struct zone *zone, const struct want *want, uint64_t n_pages, bool in_one,
		      bool *ret_scrubbing)
{
	struct pool *pool = zone->pool;
	const bool is_one = in_one || want->max_runs == 1;
	struct reclaim reclaim = {.pool = pool, .left_pages = n_pages};

	reclaim.above_reserve = is_one && want->n_pages > pool->config.arena_pages;
	for (struct zone *other = first_zone(pool); other && reclaim.left_pages > 0; other = other->next)
		if (other != zone)
			from_zone(&reclaim, other);
	reclaim.above_reserve |= !want->sole;
	if (want->sole || is_one)
		from_zone(&reclaim, zone);
	reclaim.above_reserve = true;
	if (is_one) {
		construction_stop(pool);
		from_stock(&reclaim);
	}
	pool->work.n_reclaimed += reclaim.n_arenas;
	*ret_scrubbing = reclaim.scrubbing;
	return reclaim.n_arenas;
}

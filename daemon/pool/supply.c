/* supply.c - see supply.h. The stocker's thread; supply_post() and supply_cancel() are in stocker.c. */
#include <config.h>

#include <errno.h>

#include "daemon/pool/admission.h"
#include "daemon/pool/drain.h"
#include "daemon/pool/supply.h"

#define ATTEMPTS_MAX    8 /* of one supply, to have room made; of one that waits, in each tick */
#define QUOTA_WAITS_MAX 8 /* of one supply, for its tenant's pages that the janitor has */
#define FAILURES_MAX    2 /* of one that does not wait */
#define BACKOFF_SHIFT                                                                                        \
	6 /* one that waits asks a kernel that was short again after 2^n ticks, up to this n                 \
	   */

/* No worker's cache hides pages of the zone any more: true when such a drain, begun for this supply, is over.
 */
static bool is_drained(struct supply *supply)
{
	struct zone *zone = supply->zone;

	if (supply->drain_target == 0)
		supply->drain_target = drain_has_cached(zone) ? drain_start(zone) : zone->drain.n_finished;
	return zone->drain.n_finished >= supply->drain_target;
}

/* The janitor has pages of the tenant's: true while those are waited for that it had when this supply came to
 * that point, a bounded number of times. */
static bool waits_for_own_pages(struct supply *supply)
{
	struct pool *pool = supply->zone->pool;

	if (atomic_load(&pool->n_released) < supply->quota_target)
		return true;
	if (supply->n_quota_waits >= QUOTA_WAITS_MAX)
		return false;
	supply->n_quota_waits++;
	lock_take(&pool->lock);
	supply->quota_target = pool->n_posted;
	lock_drop(&pool->lock);
	return true;
}

/* Before anything is made: 0, SUPPLY_OVER_QUOTA or SUPPLY_WAIT. */
static int try_quota(struct supply *supply)
{
	struct zone *zone = supply->zone;
	const uint64_t n_pages = supply->want.n_pages + supply->more_pages;
	bool drained = supply->drain_target != 0 && is_drained(supply);

	for (;; drained = true) {
		/* Before the quota: what leaves the caches meanwhile is seen twice, and not never. */
		const uint64_t n_cached = drain_cached_pages(zone);
		uint64_t left, returning;

		lock_take(&zone->lock);
		left = zone_quota_left(zone);
		returning = zone->returning_pages;
		lock_drop(&zone->lock);
		if (n_pages <= left)
			return 0;
		if (n_pages > left + returning + n_cached)
			return SUPPLY_OVER_QUOTA;
		if (drained)
			return n_pages <= left + returning && waits_for_own_pages(supply) ? SUPPLY_WAIT
											  : SUPPLY_OVER_QUOTA;
		if (!is_drained(supply))
			return SUPPLY_WAIT;
	}
}

/* From the zone itself. */
static int try_zone(struct supply *supply)
{
	struct zone *zone = supply->zone;
	/* Before we look: what the caches had by then is seen, as free or to be scrubbed. */
	const bool drained = is_drained(supply);
	bool may_scrub, is_scrubbed;
	int r;

	lock_take(&zone->lock);
	r = zone_take_locked(zone, &supply->want, &supply->runs);
	zone_wake_scrubber_locked(zone);
	if (drained && supply->scrub_target == 0 && zone->dirty_pages > 0)
		supply->scrub_target = zone->n_scrubbed + zone->dirty_pages;
	is_scrubbed = zone->n_scrubbed >= supply->scrub_target;
	/* Of several runs, some can be of new arenas. */
	may_scrub = (supply->want.max_runs > 1 ||
		     zone->clean_pages + zone->dirty_pages >= supply->want.n_pages) &&
		    zone_can_scrub_locked(zone);
	lock_drop(&zone->lock);
	if (r == 0)
		return SUPPLY_GRANTED;
	if (!drained)
		return SUPPLY_WAIT;
	if (r == ZONE_OVER_QUOTA)
		return SUPPLY_OVER_QUOTA;
	return may_scrub && !is_scrubbed ? SUPPLY_WAIT : SUPPLY_POOL_FULL;
}

static int result_of(int r)
{
	switch (r) {
	case POOL_MAKING:
		return SUPPLY_WAIT_ROOM;
	case BACKING_SHORT:
		return SUPPLY_KERNEL_SHORT;
	case POOL_TOO_MANY_RUNS:
	case POOL_NO_STOCK:
	case -ENOSPC:
		return SUPPLY_POOL_FULL;
	case POOL_OVER_QUOTA:
		return SUPPLY_OVER_QUOTA;
	default:
		return SUPPLY_NO_MEMORY;
	}
}

static bool lacks_room(int result)
{
	return result == SUPPLY_POOL_FULL || result == SUPPLY_KERNEL_SHORT;
}

/* From one arena of the stock, or a new one. */
static int try_one_arena(struct supply *supply)
{
	struct zone *zone = supply->zone;
	int r = pool_move_stock(zone, &supply->want);

	if (r == POOL_NO_STOCK) {
		r = pool_make_arena(zone->pool, &supply->want);
		if (r == 0)
			r = pool_move_stock(zone, &supply->want);
	}
	return r == 0 ? try_zone(supply) : result_of(r);
}

/* From blank arenas and new ones. */
static int try_arenas_once(struct supply *supply)
{
	int r;

	if (supply->want.sole) {
		r = pool_give_sole(supply->zone, &supply->want, &supply->runs);
		return r == 0 ? SUPPLY_GRANTED : result_of(r);
	}
	r = try_one_arena(supply);
	if (!lacks_room(r) || supply->want.max_runs == 1)
		return r;
	/* As many as it takes; none are taken if they would not do. */
	r = pool_add_arenas(supply->zone, &supply->want);
	return r == 0 ? try_zone(supply) : result_of(r);
}

/* What is in the making, for the stock or for one who comes behind this one, makes way if there is no other
 * room. */
static int try_arenas(struct supply *supply)
{
	int r = try_arenas_once(supply);

	if (lacks_room(r) && construction_stop(supply->zone->pool))
		r = try_arenas_once(supply);
	return r;
}

/* The kernel, or whoever came in between, had other plans than the arithmetic. */
static void note_failure(struct supply *supply, int result, uint64_t tick)
{
	supply->is_in_vain = true;
	supply->is_kernel_short = result == SUPPLY_KERNEL_SHORT;
	if (result != SUPPLY_KERNEL_SHORT)
		return;
	supply->retry_tick =
		tick + (1u << (supply->n_failed < BACKOFF_SHIFT ? supply->n_failed : BACKOFF_SHIFT));
	supply->n_failed++;
}

static bool may_try_arenas(const struct supply *supply, bool is_patient, uint64_t tick)
{
	if (supply->n_attempts >= 2 * ATTEMPTS_MAX)
		return false;
	return is_patient ? tick >= supply->retry_tick : supply->n_failed < FAILURES_MAX;
}

/* So many pages that nobody uses go to the kernel, and what the janitor has is waited for, and the arena that
 * the scrubber is at work in, which leaves next. False: nothing is under way. */
static bool make_room(struct supply *supply, uint64_t release_pages, bool in_one)
{
	struct pool *pool = supply->zone->pool;
	const uint64_t n_pieces = atomic_load(&pool->n_pieces);
	bool scrubbing = false;

	if (release_pages > 0 &&
	    pool_reclaim(supply->zone, &supply->want, release_pages, in_one, &scrubbing) == 0 && !scrubbing)
		return false;
	supply->n_attempts++;
	supply->piece_target = scrubbing ? n_pieces + 1 : 0;
	lock_take(&pool->lock);
	supply->release_target = pool->n_posted;
	lock_drop(&pool->lock);
	return true;
}

/* What it had let go is not back yet: until then another try would be in vain, and is none. */
static bool waits_for_room(const struct supply *supply)
{
	struct pool *pool = supply->zone->pool;

	return atomic_load(&pool->n_released) < supply->release_target ||
	       atomic_load(&pool->n_pieces) < supply->piece_target;
}

/* Caches of other zones may be all that keeps their arenas from being empty: they are drained once for each
 * supply, if that many pages are not leased. True: not yet. */
static bool waits_for_drain(struct supply *supply, bool is_patient, uint64_t tick)
{
	struct pool *pool = supply->zone->pool;

	if (supply->pool_drain_target == 0) {
		if (is_patient && supply->drain_tick == tick)
			return false;
		supply->drain_tick = tick;
		if (!drain_may_help(pool, supply->want.n_pages + supply->more_pages))
			return false;
		supply->pool_drain_target = drain_start_pool(pool);
	}
	return pool->drain.n_finished < supply->pool_drain_target;
}

/* With what there is, or will be when what is in the making for it is made. */
static int try_now(struct supply *supply, uint64_t tick)
{
	int r = try_arenas(supply);

	supply->is_in_vain = false;
	if (lacks_room(r))
		note_failure(supply, r, tick);
	if (supply->zone->pool->making.owner == &supply->want)
		supply->n_attempts++;
	return r;
}

static int refuse(struct supply *supply, enum admission admission, uint64_t tick)
{
	supply->is_kernel_short = admission == ADMISSION_SHORT;
	if (admission != ADMISSION_SHORT)
		return SUPPLY_POOL_FULL;
	supply->retry_tick = tick + 1;
	return SUPPLY_KERNEL_SHORT;
}

/* What is free in its arenas beside pages that are out is nobody else's: who could keep any number of arenas
 * by a page in each would have more than its quota. So nothing is added to a zone that has as much of it. */
static bool is_in_pieces(const struct supply *supply)
{
	struct zone *zone = supply->zone;
	const struct pool_config *config = &zone->pool->config;
	uint64_t free_pages;

	if (supply->want.sole || config->quota_pages >= config->max_pages)
		return false;
	lock_take(&zone->lock);
	free_pages = zone->clean_pages + zone->dirty_pages - zone->empty_pages;
	lock_drop(&zone->lock);
	return free_pages >= config->quota_pages;
}

static int try_room(struct supply *supply, bool is_patient, uint64_t tick)
{
	struct pool *pool = supply->zone->pool;
	uint64_t release_pages = 0;
	bool in_one = false;
	enum admission admission;
	int r;

	if (pool->making.owner == &supply->want || (supply->is_in_vain && waits_for_room(supply)))
		return SUPPLY_WAIT_ROOM;
	if (pool->failed_owner == &supply->want) {
		pool->failed_owner = NULL;
		note_failure(supply, pool->failed_short ? SUPPLY_KERNEL_SHORT : SUPPLY_POOL_FULL, tick);
	}
	if (is_in_pieces(supply))
		return SUPPLY_POOL_FULL;
	if (!may_try_arenas(supply, is_patient, tick))
		return supply->is_kernel_short ? SUPPLY_KERNEL_SHORT : SUPPLY_POOL_FULL;
	admission =
		admission_of_arenas(supply->zone, &supply->want, supply->more_pages, false, &release_pages);
	if (admission == ADMISSION_NOW) {
		r = try_now(supply, tick);
		if (!lacks_room(r))
			return r;
		/* It would take too many runs: one new arena instead of some that nobody uses. */
		in_one = r == SUPPLY_POOL_FULL;
		admission = admission_of_arenas(supply->zone, &supply->want, supply->more_pages, in_one,
						&release_pages);
		if (admission == ADMISSION_NOW)
			return r;
	}
	if (waits_for_room(supply))
		return SUPPLY_WAIT_ROOM;
	pool_signal_pressure(pool, tick);
	if (admission == ADMISSION_LATER && supply->n_attempts < ATTEMPTS_MAX &&
	    make_room(supply, release_pages, in_one))
		return SUPPLY_WAIT_ROOM;
	return waits_for_drain(supply, is_patient, tick) ? SUPPLY_WAIT_ROOM : refuse(supply, admission, tick);
}

int supply_try(struct supply *supply, bool may_take_room, bool is_patient, uint64_t tick)
{
	int r;

	if (is_patient && supply->attempt_tick != tick)
		supply->n_attempts = 0;
	supply->attempt_tick = tick;
	supply->zone->pool->work.n_tries++;
	r = try_quota(supply);
	if (r == 0)
		r = supply->want.sole ? SUPPLY_POOL_FULL : try_zone(supply);
	if (r != SUPPLY_POOL_FULL)
		return r;
	/* While others still make room for somebody before, some of it may be left for who comes behind. */
	if (!may_take_room)
		return supply->zone->pool->blocked_by_work ? SUPPLY_WAIT_ROOM : SUPPLY_POOL_FULL;
	return try_room(supply, is_patient, tick);
}

/* drain.c - see drain.h. */
#include <config.h>

#include <stddef.h>

#include "daemon/pool/drain.h"

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

bool drain_has_cached(const struct zone *zone)
{
	return drain_cached_pages(zone) > 0;
}

uint64_t drain_cached_pages(const struct zone *zone)
{
	uint64_t n_pages = 0;

	for (unsigned i = 0; i < zone->n_workers; i++)
		n_pages += pcache_pages(zone->workers[i].clean) + pcache_pages(zone->workers[i].dirty);
	return n_pages;
}

/* A zone of the pool's drain has nothing cached any more. */
static void finish_zone(struct zone *zone)
{
	struct zone_drain *drain = &zone->pool->drain;

	if (zone->pool_drain_target == 0 || zone->drain.n_finished < zone->pool_drain_target)
		return;
	zone->pool_drain_target = 0;
	if (--drain->n_missing > 0)
		return;
	drain->n_finished = drain->n_started;
	if (drain->again)
		drain_start_pool(zone->pool);
}

static void drain_answered(struct letter *letter)
{
	struct zone *zone = container_of(letter, struct zone_worker, drain_letter)->zone;
	struct zone_drain *drain = &zone->drain;

	if (--drain->n_missing > 0)
		return;
	drain->n_finished = drain->n_started;
	if (drain->again)
		drain_start(zone);
	finish_zone(zone);
}

static void drain_on_worker(struct letter *letter)
{
	struct zone_worker *worker = container_of(letter, struct zone_worker, drain_letter);

	lock_take(&worker->zone->lock);
	zone_drain_locked(worker->zone, worker->worker);
	lock_drop(&worker->zone->lock);
	letter->deliver = drain_answered;
	mailbox_post(worker->zone->pool->threads->stocker, letter);
}

uint64_t drain_start(struct zone *zone)
{
	struct zone_drain *drain = &zone->drain;

	drain->again = drain->n_missing > 0;
	if (drain->again)
		return drain->n_started + 1;
	drain->n_started++;
	drain->n_missing = zone->n_workers;
	for (unsigned i = 0; i < zone->n_workers; i++) {
		zone->workers[i].drain_letter.deliver = drain_on_worker;
		mailbox_post(zone->pool->threads->workers[i], &zone->workers[i].drain_letter);
	}
	return drain->n_started;
}

/* Zones are entered at the head of the list, and freed on this thread only: the walk needs no lock. */
uint64_t drain_start_pool(struct pool *pool)
{
	struct zone_drain *drain = &pool->drain;
	struct zone *zone;

	drain->again = drain->n_missing > 0;
	if (drain->again)
		return drain->n_started + 1;
	drain->n_started++;
	lock_take(&pool->lock);
	zone = pool->zones;
	lock_drop(&pool->lock);
	for (; zone; zone = zone->next) {
		if (!drain_has_cached(zone))
			continue;
		zone->pool_drain_target = drain_start(zone);
		drain->n_missing++;
	}
	if (drain->n_missing == 0)
		drain->n_finished = drain->n_started;
	return drain->n_started;
}

/* Pages in the hands of the pool's clients. First the caches: what leaves them meanwhile is not counted. */
static uint64_t leased_pages(struct pool *pool)
{
	uint64_t n_pages = 0;
	struct zone *zone;

	lock_take(&pool->lock);
	zone = pool->zones;
	lock_drop(&pool->lock);
	for (; zone; zone = zone->next) {
		const uint64_t n_cached = drain_cached_pages(zone);

		lock_take(&zone->lock);
		n_pages += zone->out_pages > n_cached ? zone->out_pages - n_cached : 0;
		lock_drop(&zone->lock);
	}
	return n_pages;
}

bool drain_may_help(struct pool *pool, uint64_t n_pages)
{
	const uint64_t leased = leased_pages(pool) + atomic_load(&pool->left_pages);
	const uint64_t max_pages = pool->config.max_pages;

	return leased <= max_pages && n_pages <= max_pages - leased;
}

/* A zone asks for it: an arena was condemned, and the caches may hold runs of it. */
static void drain_asked(struct letter *letter)
{
	struct zone *zone = container_of(letter, struct zone, drain_letter);

	lock_take(&zone->lock);
	zone->drain_queued = false;
	lock_drop(&zone->lock);
	drain_start(zone);
}

void drain_prepare(struct zone *zone)
{
	zone->drain_letter.deliver = drain_asked;
}

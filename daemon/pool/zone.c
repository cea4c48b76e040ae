/* zone.c - see zone.h. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/assert.h"
#include "daemon/pool/pool.h"
#include "daemon/pool/scrubber.h"
#include "daemon/pool/stocker.h"
#include "daemon/pool/zone.h"

#define DRAIN_ROOM 64 /* runs moved per turn of a drain */
#define REFILL_MAX 64 /* runs fetched by one refill */

static struct arena *arena_of(const struct zone *zone, struct run run)
{
	struct arena *arena = pool_arena(zone->pool, run_slot(run));

	hp_assert_alive(arena, ARENA_MAGIC);
	hp_assert(arena->zone == zone);
	return arena;
}

static struct pcache *cache_new(const struct pcache_limits *limits)
{
	size_t bytes = (pcache_bytes(limits) + 63) / 64 * 64;
	void *memory;

	if (posix_memalign(&memory, 64, bytes) != 0)
		return NULL;
	memset(memory, 0, bytes);
	return pcache_init(memory, limits);
}

struct zone *zone_new(struct pool *pool, uint32_t tenant, unsigned n_workers,
		      const struct pcache_limits *limits)
{
	size_t bytes = sizeof(struct zone) + n_workers * sizeof(struct zone_worker);
	struct zone *zone;
	void *memory;

	if (posix_memalign(&memory, 64, bytes) != 0)
		return NULL;
	zone = memset(memory, 0, bytes);
	zone->magic = ZONE_MAGIC;
	zone->pool = pool;
	zone->tenant = tenant;
	zone->n_workers = n_workers;
	lock_init(&zone->lock, LOCK_ZONE);
	scrubber_prepare(zone);
	stocker_prepare(zone);
	for (unsigned i = 0; i < n_workers; i++) {
		struct zone_worker *worker = &zone->workers[i];

		worker->zone = zone;
		worker->worker = i;
		worker->clean = cache_new(limits);
		worker->dirty = cache_new(limits);
		if (!worker->clean || !worker->dirty)
			return zone_free(zone);
	}
	return zone;
}

struct zone *zone_free(struct zone *zone)
{
	if (!zone)
		return NULL;
	hp_assert_alive(zone, ZONE_MAGIC);
	hp_assert(zone->n_arenas == 0 && zone->limbo_pages == 0 && zone->n_refs == 0);
	zone->magic = 0;
	for (unsigned i = 0; i < zone->n_workers; i++) {
		free(zone->workers[i].clean);
		free(zone->workers[i].dirty);
	}
	lock_fini(&zone->lock);
	free(zone->arenas);
	free(zone);
	return NULL;
}

bool zone_can_scrub_locked(const struct zone *zone)
{
	lock_assert_held(&zone->lock);
	for (unsigned i = 0; i < zone->n_arenas; i++)
		if (zone->arenas[i]->n_dirty > 0 && !zone->arenas[i]->condemned)
			return true;
	return false;
}

void zone_wake_scrubber_locked(struct zone *zone)
{
	if (zone->scrub_queued || !zone_can_scrub_locked(zone))
		return;
	zone->scrub_queued = true;
	mailbox_post(zone->pool->threads->scrubber, &zone->scrub_letter);
}

static void put_locked(struct zone *zone, struct run run, bool clean)
{
	struct arena *arena = arena_of(zone, run);

	lock_assert_held(&zone->lock);
	zone->out_pages -= run.n_pages;
	if (clean) {
		arena_put_clean(arena, run_first(run), run.n_pages);
		zone->clean_pages += run.n_pages;
	} else {
		arena_put_dirty(arena, run_first(run), run.n_pages);
		zone->dirty_pages += run.n_pages;
	}
}

void zone_condemn_locked(struct arena *arena)
{
	struct zone *zone = arena->zone;

	lock_assert_held(&zone->lock);
	arena->condemned = true;
	buddy_isolate(arena->buddy);
	if (!zone->drain_queued) {
		zone->drain_queued = true;
		mailbox_post(zone->pool->threads->stocker, &zone->drain_letter);
	}
}

/* Lowest arena first, so that high ones empty and can be given back. */
static int take_from_arenas(struct zone *zone, uint64_t n_pages, uint64_t align_pages, struct run *ret_run)
{
	uint64_t first;

	for (unsigned i = 0; i < zone->n_arenas; i++) {
		struct arena *arena = zone->arenas[i];

		if (buddy_take(arena->buddy, n_pages, align_pages, &first) != 0)
			continue;
		arena->empty_since_ns = 0;
		zone->clean_pages -= n_pages;
		zone->out_pages += n_pages;
		*ret_run = (struct run){.address = run_address(arena->slot, first), .n_pages = n_pages};
		return 0;
	}
	return ZONE_SHORT;
}

/* Pages that the tenant may still have. */
static uint64_t quota_left(const struct zone *zone)
{
	uint64_t used = zone->out_pages + zone->pinned_pages, quota = zone->pool->config.quota_pages;

	return used < quota ? quota - used : 0;
}

int zone_take_locked(struct zone *zone, uint64_t n_pages, uint64_t align_pages, struct run *ret_run)
{
	struct run run;

	lock_assert_held(&zone->lock);
	if (n_pages > quota_left(zone))
		return ZONE_OVER_QUOTA;
	while (take_from_arenas(zone, n_pages, align_pages, &run) == 0) {
		struct arena *arena = arena_of(zone, run);

		if (!atomic_load(&arena->exposed) || backing_file_verify(arena->file) == 0) {
			*ret_run = run;
			return 0;
		}
		/* A client has destroyed the file: nothing is granted from it any more. */
		put_locked(zone, run, true);
		zone_condemn_locked(arena);
	}
	return ZONE_SHORT;
}

/* Fetch a batch of runs for the cache along with the one that is asked for, from the same arena. */
static int take_and_refill(struct zone *zone, struct zone_worker *worker, uint64_t n_pages,
			   struct run *ret_run)
{
	uint32_t n_more = pcache_refill_runs(worker->clean, n_pages);
	uint64_t firsts[REFILL_MAX], n_allowed;
	struct arena *arena;

	if (zone_take_locked(zone, n_pages, 1, ret_run) != 0)
		return ZONE_SHORT;
	n_allowed = quota_left(zone) / n_pages;
	if (n_more > n_allowed)
		n_more = (uint32_t)n_allowed;
	if (n_more > REFILL_MAX)
		n_more = REFILL_MAX;
	arena = arena_of(zone, *ret_run);
	n_more = n_more > 0 ? buddy_take_bulk(arena->buddy, n_pages, n_more, firsts) : 0;
	zone->clean_pages -= n_more * n_pages;
	zone->out_pages += n_more * n_pages;
	/* Cold and in ascending order: low addresses are granted first. */
	for (uint32_t i = 0; i < n_more; i++)
		hp_assert(pcache_put(worker->clean, run_address(arena->slot, firsts[i]), n_pages, false) ==
			  0);
	return 0;
}

int zone_take(struct zone *zone, unsigned index, uint64_t n_pages, uint64_t align_pages, struct run *ret_run)
{
	struct zone_worker *worker = &zone->workers[index];
	bool cached = n_pages <= PCACHE_MAX_RUN && align_pages <= 1;
	int r;

	if (cached && pcache_take(worker->clean, n_pages, &ret_run->address) == 0) {
		ret_run->n_pages = n_pages;
		return 0;
	}
	lock_take(&zone->lock);
	if (zone->n_waiting > 0)
		r = ZONE_SHORT;
	else if (cached)
		r = take_and_refill(zone, worker, n_pages, ret_run);
	else
		r = zone_take_locked(zone, n_pages, align_pages, ret_run) == 0 ? 0 : ZONE_SHORT;
	lock_drop(&zone->lock);
	return r;
}

/* Move up to `n_pages` of a cache back to the arenas. */
static void drain_cache_locked(struct zone *zone, struct pcache *cache, uint64_t n_pages, bool clean)
{
	struct pcache_run runs[DRAIN_ROOM];
	uint32_t n;

	while (n_pages > 0 && (n = pcache_drain(cache, n_pages, runs, DRAIN_ROOM)) > 0)
		for (uint32_t i = 0; i < n; i++) {
			put_locked(zone, (struct run){.address = runs[i].run, .n_pages = runs[i].n_pages},
				   clean);
			n_pages -= runs[i].n_pages < n_pages ? runs[i].n_pages : n_pages;
		}
}

static void put(struct zone *zone, struct pcache *cache, struct run run, bool hot, bool clean)
{
	if (pcache_put(cache, run.address, run.n_pages, hot) == 0)
		return;
	lock_take(&zone->lock);
	drain_cache_locked(zone, cache, zone->pool->cache_limits.batch_pages, clean);
	put_locked(zone, run, clean);
	if (!clean)
		zone_wake_scrubber_locked(zone);
	lock_drop(&zone->lock);
}

void zone_put(struct zone *zone, unsigned worker, struct run run, bool hot)
{
	put(zone, zone->workers[worker].dirty, run, hot, false);
}

void zone_put_clean(struct zone *zone, unsigned worker, struct run run)
{
	put(zone, zone->workers[worker].clean, run, true, true);
}

void zone_flush_freed_locked(struct zone *zone, unsigned worker)
{
	struct pcache *cache = zone->workers[worker].dirty;

	lock_assert_held(&zone->lock);
	if (pcache_pages(cache) == 0)
		return;
	drain_cache_locked(zone, cache, UINT64_MAX, false);
	zone_wake_scrubber_locked(zone);
}

void zone_drain_locked(struct zone *zone, unsigned worker)
{
	zone_flush_freed_locked(zone, worker);
	drain_cache_locked(zone, zone->workers[worker].clean, UINT64_MAX, true);
}

int zone_add_arena(struct zone *zone, struct arena *arena)
{
	unsigned i;

	lock_take(&zone->lock);
	if (zone->n_arenas == zone->arenas_room) {
		unsigned room = zone->arenas_room ? 2 * zone->arenas_room : 8;
		struct arena **arenas = reallocarray(zone->arenas, room, sizeof(*arenas));

		if (!arenas) {
			lock_drop(&zone->lock);
			return -ENOMEM;
		}
		zone->arenas = arenas;
		zone->arenas_room = room;
	}
	for (i = zone->n_arenas; i > 0 && zone->arenas[i - 1]->slot > arena->slot; i--)
		zone->arenas[i] = zone->arenas[i - 1];
	zone->arenas[i] = arena;
	zone->n_arenas++;
	zone->clean_pages += arena->n_pages;
	arena->zone = zone;
	lock_drop(&zone->lock);
	return 0;
}

void zone_remove_arena_locked(struct zone *zone, struct arena *arena)
{
	unsigned i = 0;

	lock_assert_held(&zone->lock);
	hp_assert(arena->zone == zone && arena_out_pages(arena) == 0 && !arena->scrubbing);
	while (zone->arenas[i] != arena)
		i++;
	memmove(&zone->arenas[i], &zone->arenas[i + 1], (zone->n_arenas - i - 1) * sizeof(zone->arenas[0]));
	zone->n_arenas--;
	zone->clean_pages -= buddy_free_pages(arena->buddy);
	zone->dirty_pages -= arena->n_dirty;
	zone->limbo_pages += arena->n_pages;
	atomic_fetch_add(&zone->n_gone, 1);
}

void zone_add_figures(struct zone *zone, struct zone_figures *sum)
{
	uint64_t cached = 0, orphaned = 0, leases = 0;

	lock_assert_held(&zone->lock);
	for (unsigned i = 0; i < zone->n_workers; i++) {
		struct zone_worker *worker = &zone->workers[i];

		cached += pcache_pages(worker->clean) + pcache_pages(worker->dirty);
		orphaned += atomic_load_explicit(&worker->orphaned_pages, memory_order_relaxed);
		leases += atomic_load_explicit(&worker->n_leases, memory_order_relaxed);
	}
	/* Workers move pages between their caches and leases without the lock: count the rest, so that it
	 * adds up. */
	if (cached > zone->out_pages)
		cached = zone->out_pages;
	if (orphaned > zone->out_pages - cached)
		orphaned = zone->out_pages - cached;
	sum->cached += cached;
	sum->orphaned += orphaned;
	sum->leased += zone->out_pages - cached - orphaned;
	sum->clean += zone->clean_pages;
	sum->dirty += zone->dirty_pages;
	sum->limbo += zone->limbo_pages;
	sum->arenas += zone->n_arenas;
	sum->leases += leases;
}

bool zone_is_idle(struct zone *zone)
{
	bool idle;

	lock_take(&zone->lock);
	idle = zone->n_arenas == 0 && zone->limbo_pages == 0 && zone->n_waiting == 0 && !zone->scrub_queued &&
	       !zone->drain_queued && zone->drain.n_missing == 0;
	lock_drop(&zone->lock);
	return idle;
}

void zone_check(struct zone *zone)
{
	uint64_t clean = 0, dirty = 0, out = 0, cached = 0;

	lock_assert_held(&zone->lock);
	hp_assert_alive(zone, ZONE_MAGIC);
	for (unsigned i = 0; i < zone->n_arenas; i++) {
		struct arena *arena = zone->arenas[i];

		arena_check(arena);
		hp_assert(arena->zone == zone);
		hp_assert(i == 0 || zone->arenas[i - 1]->slot < arena->slot);
		clean += buddy_free_pages(arena->buddy);
		dirty += arena->n_dirty;
		out += arena_out_pages(arena);
	}
	hp_assert(clean == zone->clean_pages && dirty == zone->dirty_pages && out == zone->out_pages);
	for (unsigned i = 0; i < zone->n_workers; i++)
		cached += pcache_pages(zone->workers[i].clean) + pcache_pages(zone->workers[i].dirty);
	hp_assert(cached <= zone->out_pages);
}

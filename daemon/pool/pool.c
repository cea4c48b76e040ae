/* pool.c - see pool.h. */
#include <config.h>

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/pool/pool.h"

#define CACHE_HIGH_PAGES 256           /* of one worker's cache, at most */
#define CACHE_HIGH_BYTES (64ull << 20) /* and in bytes */

#define ROOM_SHARE     4  /* a new arena has at most this part of what the pool may still grow by */
#define SMALLEST_ARENA 16 /* but at least this part of the configured size */

/* A share of the pool, so that caches do not hoard a small one. */
static struct pcache_limits cache_limits(const struct pool_config *config, unsigned n_workers)
{
	uint64_t high = config->max_pages / (16 * n_workers);

	if (high > CACHE_HIGH_PAGES)
		high = CACHE_HIGH_PAGES;
	if (high > CACHE_HIGH_BYTES / config->page_bytes)
		high = CACHE_HIGH_BYTES / config->page_bytes;
	return (struct pcache_limits){.high_pages = (uint32_t)high,
				      .batch_pages = (uint32_t)(high + 15) / 16};
}

int pool_new(const struct pool_config *config, unsigned index, const struct pool_threads *threads,
	     const char *mount_parent, struct pool **ret, char **ret_error)
{
	struct backing_config backing_config = {
		.kind = config->backing == POOL_BACKING_MEMFD ? BACKING_MEMFD : BACKING_HUGETLBFS,
		.name = config->name,
		.page_bytes = config->page_bytes,
		.max_pages = config->max_pages,
		.reserve_pages = config->reserve_pages,
		.grow = config->grow,
		.node = config->node,
		.owner_uid = config->n_uids == 1 ? config->uids[0] : geteuid(),
		.directory = config->directory,
		.mount_parent = mount_parent,
	};
	struct pool *pool = calloc(1, sizeof(*pool));
	int r;

	*ret_error = NULL;
	if (!pool)
		return -ENOMEM;
	pool->magic = POOL_MAGIC;
	pool->index = index;
	pool->config = *config;
	pool->threads = threads;
	pool->cache_limits = cache_limits(config, threads->n_workers);
	lock_init(&pool->lock, LOCK_POOL);
	/* At worst every arena has one page. Never touched where there is no arena: the kernel backs it by
	 * need. */
	pool->n_slots = config->max_pages < UINT32_MAX ? (uint32_t)config->max_pages : UINT32_MAX;
	pool->arenas = calloc(pool->n_slots, sizeof(*pool->arenas));
	r = pool->arenas ? backing_new(&backing_config, &pool->backing, ret_error) : -ENOMEM;
	if (r < 0) {
		pool_free(pool);
		return r;
	}
	*ret = pool;
	return 0;
}

static void release_at_end(struct arena *arena)
{
	backing_file_release(take_ptr(arena->file), atomic_load(&arena->exposed), &arena->limbo_pages);
	arena_free(arena);
}

struct pool *pool_free(struct pool *pool)
{
	if (!pool)
		return NULL;
	hp_assert_alive(pool, POOL_MAGIC);
	for (struct zone *zone = pool->zones, *next; zone; zone = next) {
		next = zone->next;
		hp_assert(zone->out_pages == 0);
		for (unsigned i = 0; i < zone->n_arenas; i++)
			release_at_end(zone->arenas[i]);
		zone->n_arenas = zone->n_refs = 0;
		zone->limbo_pages = 0;
		zone_free(zone);
	}
	for (struct arena *arena = pool->stock, *next; arena; arena = next) {
		next = arena->stock_next;
		release_at_end(arena);
	}
	if (pool->backing)
		backing_free(pool->backing);
	lock_fini(&pool->lock);
	free(pool->arenas);
	pool->magic = 0;
	free(pool);
	return NULL;
}

static bool has_gid(const gid_t *gids, unsigned n_gids, const struct peer *peer)
{
	for (unsigned i = 0; i < n_gids; i++) {
		if (gids[i] == peer->gid)
			return true;
		for (unsigned k = 0; k < peer->n_groups; k++)
			if (gids[i] == peer->groups[k])
				return true;
	}
	return false;
}

bool pool_admits(const struct pool *pool, const struct peer *peer)
{
	const struct pool_config *config = &pool->config;

	if (peer->uid == 0 || peer->uid == geteuid() || config->everybody)
		return true;
	for (unsigned i = 0; i < config->n_uids; i++)
		if (config->uids[i] == peer->uid)
			return true;
	return has_gid(config->gids, config->n_gids, peer);
}

/* Who shares an arena: the one place where a pool's isolation is a decision. */
static uint32_t tenant_of(const struct pool *pool, const struct peer *peer)
{
	switch (pool->config.isolation) {
	case POOL_ISOLATION_TENANT:
		return peer->uid;
	case POOL_ISOLATION_POOL:
		return ZONE_ANY_TENANT;
	}
	hp_assert(false);
}

static struct zone *find_zone_locked(struct pool *pool, uint32_t tenant)
{
	struct zone *zone = pool->zones;

	while (zone && zone->tenant != tenant)
		zone = zone->next;
	return zone;
}

struct zone *pool_zone_get(struct pool *pool, const struct peer *peer)
{
	uint32_t tenant = tenant_of(pool, peer);
	struct zone *zone;

	lock_take(&pool->lock);
	zone = find_zone_locked(pool, tenant);
	if (!zone) {
		zone = zone_new(pool, tenant, pool->threads->n_workers, &pool->cache_limits);
		if (zone) {
			zone->next = pool->zones;
			pool->zones = zone;
			pool->n_zones++;
		}
	}
	if (zone)
		zone->n_refs++;
	lock_drop(&pool->lock);
	return zone;
}

struct zone *pool_zone_find(struct pool *pool, uint32_t tenant)
{
	struct zone *zone;

	lock_take(&pool->lock);
	zone = find_zone_locked(pool, tenant);
	lock_drop(&pool->lock);
	hp_assert_alive(zone, ZONE_MAGIC);
	return zone;
}

void pool_zone_ref(struct zone *zone)
{
	lock_take(&zone->pool->lock);
	zone->n_refs++;
	lock_drop(&zone->pool->lock);
}

void pool_zone_unref(struct zone *zone)
{
	lock_take(&zone->pool->lock);
	hp_assert(zone->n_refs > 0);
	zone->n_refs--;
	lock_drop(&zone->pool->lock);
}

/* Put a new arena into the table, at the lowest free slot. */
static void enter_arena_locked(struct pool *pool, struct arena *arena)
{
	uint32_t slot = pool->slot_hint;

	while (pool->arenas[slot])
		slot++;
	pool->slot_hint = slot + 1;
	arena->slot = slot;
	atomic_store_explicit(&pool->arenas[slot], arena, memory_order_release);
	pool->n_arenas++;
}

static uint64_t power_of_two_at_most(uint64_t n)
{
	return n ? UINT64_C(1) << (63 - __builtin_clzll(n)) : 0;
}

/* The less room is left, the smaller the arenas: so that there is some for tenants who are still to come. Such
 * a smaller one has a power of two of pages, so that leases which divide the pool leave no tails in it. */
static uint64_t arena_pages_in_room(const struct pool *pool, uint64_t min_pages, uint64_t room)
{
	uint64_t want_pages = pool->config.arena_pages;
	uint64_t share = room / ROOM_SHARE, least = want_pages / SMALLEST_ARENA;

	if (want_pages > share)
		want_pages = power_of_two_at_most(share);
	if (want_pages < least)
		want_pages = least;
	if (want_pages < min_pages)
		want_pages = min_pages;
	return want_pages < room ? want_pages : room;
}

/* An arena of `want_pages`, or as many as the kernel has, but at least `min_pages`. */
static int make_arena(struct pool *pool, uint64_t min_pages, uint64_t want_pages)
{
	static _Atomic uint64_t last_id;
	struct backing_file *file;
	struct arena *arena;
	uint64_t missing = 0;
	int r;

	r = backing_file_new(pool->backing, want_pages, &file, &missing);
	if (r == BACKING_SHORT && missing < want_pages && want_pages - missing >= min_pages)
		r = backing_file_new(pool->backing, want_pages - missing, &file, &missing);
	if (r != 0)
		return r;
	arena = arena_new(pool, atomic_fetch_add(&last_id, 1) + 1, file);
	if (!arena) {
		uint64_t limbo_pages;

		backing_file_release(file, false, &limbo_pages);
		return -ENOMEM;
	}
	lock_take(&pool->lock);
	enter_arena_locked(pool, arena);
	pool->backed_pages += arena->n_pages;
	pool->stock_pages += arena->n_pages;
	arena->stock_next = pool->stock;
	pool->stock = arena;
	lock_drop(&pool->lock);
	return 0;
}

int pool_make_arena(struct pool *pool, uint64_t min_pages)
{
	uint64_t room;

	/* Only the stocker makes arenas, so the room is still there afterwards. */
	lock_take(&pool->lock);
	room = pool->config.max_pages - pool->backed_pages;
	lock_drop(&pool->lock);
	if (room < min_pages)
		return -ENOSPC;
	return make_arena(pool, min_pages, arena_pages_in_room(pool, min_pages, room));
}

int pool_move_stock(struct zone *zone, uint64_t n_pages)
{
	struct pool *pool = zone->pool;
	struct arena **best = NULL, *arena;
	int r = POOL_NO_STOCK;

	lock_take(&pool->lock);
	for (struct arena **link = &pool->stock; *link; link = &(*link)->stock_next)
		if ((*link)->n_pages >= n_pages && (!best || (*link)->n_pages < (*best)->n_pages))
			best = link;
	if (best) {
		arena = *best;
		r = zone_add_arena(zone, arena);
		if (r == 0) {
			*best = arena->stock_next;
			pool->stock_pages -= arena->n_pages;
		}
	}
	lock_drop(&pool->lock);
	return r;
}

/* What serves somebody or may: backed, and not on its way out. */
static uint64_t usable_pages(const struct pool *pool)
{
	return pool->backed_pages - pool->limbo_pages;
}

int pool_fill_reserve(struct pool *pool)
{
	for (;;) {
		uint64_t lacking, want;
		int r;

		lock_take(&pool->lock);
		lacking = usable_pages(pool) < pool->config.reserve_pages
				  ? pool->config.reserve_pages - usable_pages(pool)
				  : 0;
		lock_drop(&pool->lock);
		if (lacking == 0)
			return 0;
		want = lacking < pool->config.arena_pages ? lacking : pool->config.arena_pages;
		r = make_arena(pool, 1, want);
		if (r != 0)
			return r;
	}
}

static struct arena *arena_of_letter(struct letter *letter)
{
	return (struct arena *)((char *)letter - offsetof(struct arena, letter));
}

/* On the stocker's thread: the file is gone. What the kernel did not get back stays with the zone, in limbo.
 */
static void arena_released(struct letter *letter)
{
	struct arena *arena = arena_of_letter(letter);
	struct zone *zone = arena->zone;
	struct pool *pool = arena->pool;
	uint64_t returned_pages = arena->n_pages - arena->limbo_pages;

	lock_take(&pool->lock);
	lock_take(&zone->lock);
	zone->limbo_pages -= returned_pages;
	zone->pinned_pages += arena->limbo_pages;
	lock_drop(&zone->lock);
	pool->backed_pages -= returned_pages;
	pool->limbo_pages -= returned_pages;
	pool->n_releasing--;
	pool->n_arenas--;
	atomic_store(&pool->arenas[arena->slot], NULL);
	if (arena->slot < pool->slot_hint)
		pool->slot_hint = arena->slot;
	lock_drop(&pool->lock);
	arena_free(arena);
}

/* On the janitor's thread: truncating can take long, whoever maps the file. */
static void release_arena(struct letter *letter)
{
	struct arena *arena = arena_of_letter(letter);

	lock_assert_none();
	backing_file_release(take_ptr(arena->file), atomic_load(&arena->exposed), &arena->limbo_pages);
	letter->deliver = arena_released;
	mailbox_post(arena->pool->threads->stocker, letter);
}

/* May this much go? Never below the reserve, unless the arena is of no use any more. */
static bool may_release_locked(const struct pool *pool, const struct arena *arena)
{
	return arena->condemned || usable_pages(pool) >= pool->config.reserve_pages + arena->n_pages;
}

unsigned pool_release_empty(struct pool *pool, struct zone *zone, uint64_t empty_since_ns, bool below_reserve)
{
	unsigned n = 0;

	lock_take(&pool->lock);
	lock_take(&zone->lock);
	for (unsigned i = zone->n_arenas; i-- > 0;) {
		struct arena *arena = zone->arenas[i];

		if (arena_out_pages(arena) > 0 || arena->scrubbing) {
			arena->empty_since_ns = 0;
			continue;
		}
		if (arena->empty_since_ns == 0)
			arena->empty_since_ns = clock_now_ns();
		if (!arena->condemned && arena->empty_since_ns > empty_since_ns)
			continue;
		if (!below_reserve && !may_release_locked(pool, arena))
			continue;
		zone_remove_arena_locked(zone, arena);
		pool->limbo_pages += arena->n_pages;
		pool->n_releasing++;
		arena->letter.deliver = release_arena;
		mailbox_post(pool->threads->janitor, &arena->letter);
		n++;
	}
	lock_drop(&zone->lock);
	lock_drop(&pool->lock);
	return n;
}

/* The kernel's counters do not say whose pages came back: the zones' limbo shrinks in their order. Pages can
 * be back before arena_released() has put them into a zone's limbo: they are kept for the next time. */
void pool_settle_limbo(struct pool *pool)
{
	uint64_t left = pool->returned_pages + backing_limbo_returned(pool->backing);

	if (left == 0)
		return;
	lock_take(&pool->lock);
	for (struct zone *zone = pool->zones; zone && left > 0; zone = zone->next) {
		uint64_t n;

		lock_take(&zone->lock);
		n = left < zone->pinned_pages ? left : zone->pinned_pages;
		zone->pinned_pages -= n;
		zone->limbo_pages -= n;
		lock_drop(&zone->lock);
		pool->backed_pages -= n;
		pool->limbo_pages -= n;
		left -= n;
	}
	lock_drop(&pool->lock);
	pool->returned_pages = left;
}

void pool_free_idle_zones(struct pool *pool)
{
	lock_take(&pool->lock);
	for (struct zone **link = &pool->zones; *link;) {
		struct zone *zone = *link;

		if (zone->n_refs > 0 || !zone_is_idle(zone)) {
			link = &zone->next;
			continue;
		}
		*link = zone->next;
		pool->n_zones--;
		zone_free(zone);
	}
	lock_drop(&pool->lock);
}

void pool_set_missing(struct pool *pool, uint64_t missing_pages)
{
	atomic_store(&pool->missing_pages, missing_pages);
}

void pool_refresh_missing(struct pool *pool)
{
	struct backing_kernel_counts counts;
	uint64_t lacking, free_pages;

	if (pool->config.grow || backing_kernel_counts(pool->config.page_bytes, &counts) < 0 ||
	    pool->config.page_bytes == (uint64_t)sysconf(_SC_PAGESIZE))
		return;
	free_pages =
		counts.free_pages > counts.reserved_pages ? counts.free_pages - counts.reserved_pages : 0;
	lock_take(&pool->lock);
	lacking = pool->config.max_pages - pool->backed_pages;
	lock_drop(&pool->lock);
	pool_set_missing(pool, lacking > free_pages ? lacking - free_pages : 0);
}

void pool_get_figures(struct pool *pool, struct pool_figures *ret)
{
	struct zone_figures *sum = &ret->zones;

	*ret = (struct pool_figures){0};
	lock_take(&pool->lock);
	for (struct zone *zone = pool->zones; zone; zone = zone->next) {
		lock_take(&zone->lock);
		zone_add_figures(zone, sum);
		lock_drop(&zone->lock);
	}
	ret->stock = pool->stock_pages;
	ret->backed = pool->backed_pages;
	ret->arenas = pool->n_arenas;
	ret->tenants = pool->n_zones;
	lock_drop(&pool->lock);
	ret->missing = atomic_load(&pool->missing_pages);
	hp_assert(ret->backed == sum->leased + sum->orphaned + sum->clean + sum->dirty + sum->cached +
					 sum->limbo + ret->stock);
}

void pool_for_each_zone(struct pool *pool, void (*visit)(void *arg, struct zone *zone), void *arg)
{
	lock_take(&pool->lock);
	for (struct zone *zone = pool->zones; zone; zone = zone->next) {
		lock_take(&zone->lock);
		visit(arg, zone);
		lock_drop(&zone->lock);
	}
	lock_drop(&pool->lock);
}

static void check_zone(void *arg, struct zone *zone)
{
	zone_check(zone);
}

void pool_check(struct pool *pool)
{
	struct pool_figures figures;

	hp_assert_alive(pool, POOL_MAGIC);
	pool_for_each_zone(pool, check_zone, NULL);
	pool_get_figures(pool, &figures);
	hp_assert(figures.backed <= pool->config.max_pages);
}

/* pool.c - see pool.h. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/pool/pool_inside.h"

#define CACHE_HIGH_PAGES 256           /* of one worker's cache, at most */
#define CACHE_HIGH_BYTES (64ull << 20) /* and in bytes */

/* A share of the pool, so that caches do not hoard a small one. A batch is large: it is what the zone's lock,
 * a look at the file and the scrubber's waking up are paid for. */
static struct pcache_limits cache_limits(const struct pool_config *config, unsigned n_workers)
{
	uint64_t high = config->max_pages / (16 * n_workers);

	if (high > CACHE_HIGH_PAGES)
		high = CACHE_HIGH_PAGES;
	if (high > CACHE_HIGH_BYTES / config->page_bytes)
		high = CACHE_HIGH_BYTES / config->page_bytes;
	return (struct pcache_limits){.high_pages = (uint32_t)high, .batch_pages = (uint32_t)(high + 3) / 4};
}

/* At worst every arena has one page. Never touched where there is no arena: the kernel backs it by need. */
static uint32_t n_slots(const struct pool_config *config, const struct pool_threads *threads)
{
	const uint32_t most = threads->max_arenas > 0 ? threads->max_arenas : UINT32_MAX;

	return config->max_pages < most ? (uint32_t)config->max_pages : most;
}

int pool_new(const struct pool_config *config, unsigned index, const struct pool_threads *threads,
	     const struct backing_host *host, struct pool **ret, char **ret_error)
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
		.host = host,
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
	pool->n_slots = n_slots(config, threads);
	pool->arenas = calloc(pool->n_slots, sizeof(*pool->arenas));
	pool->arena_ids = calloc(pool->n_slots, sizeof(*pool->arena_ids));
	r = pool->arenas && pool->arena_ids ? backing_new(&backing_config, &pool->backing, ret_error)
					    : -ENOMEM;
	if (r < 0) {
		pool_free(pool);
		return r;
	}
	*ret = pool;
	return 0;
}

static int compare_tenant(const void *a, const void *b)
{
	uint32_t x = ((const struct zone *)a)->tenant, y = ((const struct zone *)b)->tenant;

	return (x > y) - (x < y);
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
		for (struct arena *arena = zone->arenas, *after; arena; arena = after) {
			after = arena->next;
			release_at_end(arena);
		}
		zone->arenas = NULL;
		zone->n_arenas = zone->n_refs = 0;
		zone->limbo_pages = 0;
		tdelete(zone, &pool->zones_by_tenant, compare_tenant);
		zone_free(zone);
	}
	for (struct arena *arena = pool->stock, *next; arena; arena = next) {
		next = arena->stock_next;
		release_at_end(arena);
	}
	if (pool->making.file)
		backing_file_release(take_ptr(pool->making.file), false, &(uint64_t){0});
	if (pool->backing)
		backing_free(pool->backing);
	lock_fini(&pool->lock);
	free(pool->arenas);
	free(pool->arena_ids);
	pool->magic = 0;
	free(pool);
	return NULL;
}

bool peer_has_group(const struct peer *peer, const gid_t *gids, unsigned n_gids)
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

static bool has_uid(const uid_t *uids, unsigned n_uids, uid_t uid)
{
	for (unsigned i = 0; i < n_uids; i++)
		if (uids[i] == uid)
			return true;
	return false;
}

bool pool_admits(const struct pool *pool, const struct peer *peer)
{
	const struct pool_config *config = &pool->config;

	return peer->is_privileged || config->everybody || has_uid(config->uids, config->n_uids, peer->uid) ||
	       peer_has_group(peer, config->gids, config->n_gids);
}

bool pool_lets_name(const struct pool *pool, const struct peer *peer)
{
	const struct pool_config *config = &pool->config;

	return !config->names_reserved || peer->is_privileged ||
	       has_uid(config->name_uids, config->n_name_uids, peer->uid);
}

/* Whose account it is, and with isolation tenant whose arenas. */
static uint32_t tenant_of(const struct pool *pool, const struct peer *peer)
{
	if (pool->config.isolation == POOL_ISOLATION_POOL)
		return ZONE_ANY_TENANT;
	switch (pool->config.tenant) {
	case POOL_TENANT_UID:
		return peer->uid;
	case POOL_TENANT_GID:
		return peer->gid;
	case POOL_TENANT_SOCKET:
		return peer->socket;
	}
	hp_assert(false);
}

const char *pool_tenant_name(const struct pool *pool, uint32_t tenant, char *buffer, size_t room)
{
	if (tenant == ZONE_ANY_TENANT)
		snprintf(buffer, room, "pool");
	else
		snprintf(buffer, room, "%s %" PRIu32, pool_tenant_word(pool->config.tenant), tenant);
	return buffer;
}

static struct zone *find_zone_locked(struct pool *pool, uint32_t tenant)
{
	struct zone key = {.tenant = tenant}, **node = tfind(&key, &pool->zones_by_tenant, compare_tenant);

	return node ? *node : NULL;
}

/* NULL: no memory. */
static struct zone *add_zone_locked(struct pool *pool, uint32_t tenant)
{
	struct zone *zone = zone_new(pool, tenant, pool->threads->n_workers, &pool->cache_limits);

	if (!zone)
		return NULL;
	if (!tsearch(zone, &pool->zones_by_tenant, compare_tenant))
		return zone_free(zone);
	zone->next = pool->zones;
	pool->zones = zone;
	pool->n_zones++;
	return zone;
}

struct zone *pool_zone_get(struct pool *pool, const struct peer *peer)
{
	uint32_t tenant = tenant_of(pool, peer);
	struct zone *zone;

	lock_take(&pool->lock);
	zone = find_zone_locked(pool, tenant);
	if (!zone)
		zone = add_zone_locked(pool, tenant);
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
	if (--zone->n_refs == 0) {
		lock_take(&zone->lock);
		zone->gone_pages = zone->pinned_pages;
		lock_drop(&zone->lock);
		zone->pool->has_gone |= zone->gone_pages > 0;
	}
	lock_drop(&zone->pool->lock);
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
		tdelete(zone, &pool->zones_by_tenant, compare_tenant);
		pool->n_zones--;
		zone_free(zone);
	}
	lock_drop(&pool->lock);
}

uint64_t pool_kernel_pages(struct pool *pool, struct backing_shortage *ret_shortage)
{
	uint64_t promised_us = 0;

	lock_take(&pool->lock);
	if (pool_kernel_keeps_reserve(&pool->config) && pool->backed_pages < pool->config.reserve_pages)
		promised_us = pool->config.reserve_pages - pool->backed_pages;
	lock_drop(&pool->lock);
	return backing_available_pages(pool->backing, promised_us, ret_shortage);
}

static uint64_t minus_or_zero(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

void pool_refresh_missing(struct pool *pool)
{
	struct backing_shortage unused;
	uint64_t lacking, room, available;

	lock_take(&pool->lock);
	lacking = minus_or_zero(pool->config.reserve_pages, pool->backed_pages);
	room = pool_room_locked(pool);
	lock_drop(&pool->lock);
	available = lacking > 0 ? pool_kernel_pages(pool, &unused) : 0;
	atomic_store(&pool->missing_pages, minus_or_zero(lacking, available < room ? available : room));
}

void pool_refresh_foreign(struct pool *pool)
{
	atomic_store(&pool->foreign_pages, backing_foreign_pages(pool->backing));
}

void pool_refresh_left(struct pool *pool)
{
	pid_t pid;

	atomic_store(&pool->left_pages, backing_left_pages(pool->backing, &pid));
	atomic_store(&pool->left_pid, pid);
}

static void add_zones_locked(struct pool *pool, struct zone_figures *sum)
{
	lock_assert_held(&pool->lock);
	for (struct zone *zone = pool->zones; zone; zone = zone->next) {
		lock_take(&zone->lock);
		zone_add_figures(zone, sum);
		lock_drop(&zone->lock);
	}
	/* The zones' and that of blank arenas. */
	sum->limbo = pool->limbo_pages;
}

void pool_get_figures(struct pool *pool, struct pool_figures *ret)
{
	struct zone_figures *sum = &ret->zones;

	*ret = (struct pool_figures){0};
	lock_take(&pool->lock);
	add_zones_locked(pool, sum);
	ret->stock = pool->stock_pages;
	ret->backed = pool->backed_pages;
	ret->arenas = pool->n_arenas;
	ret->tenants = pool->n_zones;
	lock_drop(&pool->lock);
	ret->missing = atomic_load(&pool->missing_pages);
	hp_assert(ret->backed == sum->leased + sum->orphaned + sum->clean + sum->dirty + sum->cached +
					 sum->limbo + ret->stock);
}

#define FEW_ZONES    64
#define FREE_SEEN_NS (10 * NS_PER_MS)

uint64_t pool_free_pages(struct pool *pool)
{
	const uint64_t now_ns = clock_now_ns();
	struct zone_figures sum = {0};
	uint64_t n_pages, n_taken;

	lock_take(&pool->lock);
	if (pool->n_zones <= FEW_ZONES || pool->free_seen_ns == 0 ||
	    now_ns > pool->free_seen_ns + FREE_SEEN_NS) {
		add_zones_locked(pool, &sum);
		n_taken = sum.leased + sum.orphaned + sum.limbo + atomic_load(&pool->left_pages);
		pool->free_pages = n_taken < pool->config.max_pages ? pool->config.max_pages - n_taken : 0;
		pool->free_seen_ns = now_ns;
		pool->n_free_looks++;
	}
	n_pages = pool->free_pages;
	lock_drop(&pool->lock);
	return n_pages;
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

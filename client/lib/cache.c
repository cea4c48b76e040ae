/* cache.c - hp_cache_*: single buffers, kept by each thread that uses them, so that a warm one costs no
 * request and no lock.
 *
 * Buffers are leases of their own, asked for and given back in batches. What the daemon says (pressure,
 * revocations, the end of the session) reaches a cache as a bit of `attention`, which sends every take and
 * put the slow way; the first of these deals with it for all threads, also for those that are idle. So that
 * it is heard of while nobody asks the daemon for anything, takes look at the socket now and then.
 *
 * Invariant: a buffer in a part is a living handle with `idle` set and the cache's serial, and in no other
 * part; a part has at most `high`.
 */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/cache.h"
#include "client/lib/lease.h"

#define CACHE_FLAGS     (HP_CONTIGUOUS | HP_NO_ZERO | HP_POPULATE | HP_LOCK | HP_GUARD | HP_ZEROED)
#define HIGH_BYTES      (UINT64_C(16) << 20) /* by default, but 4 to 256 buffers */
#define HIGH_MIN        4
#define HIGH_MAX        256
#define HIGH_LIMIT      (1u << 16)
#define BATCH_LIMIT     256
#define LOOK_AFTER      8192 /* takes from one look at the socket to the next: a fraction of a ns each */
#define LEASES_PER_TURN 256  /* of a drain */

static bool is_calm(const hp_cache *cache)
{
	return *cache->fork_mark != 0 && atomic_load_explicit(&cache->attention, memory_order_relaxed) == 0;
}

static int check(const hp_cache *cache)
{
	return cache ? session_check(cache->client)
		     : error_set(-EINVAL, "There is no cache: NULL was given.");
}

/* ---- giving back ---- */

/* Take up to `room` idle buffers out of all threads' parts; the parts' lock is held. */
static unsigned collect(hp_cache *cache, hp_lease **leases, unsigned room)
{
	struct cache_part *part;
	unsigned n = 0;

	part_claim_all(&cache->parts);
	LIST_FOREACH(part, &cache->parts, of_cache)
	while (part->n > 0 && n < room)
		leases[n++] = part->leases[--part->n];
	part_unclaim_all(&cache->parts);
	return n;
}

static int drain(hp_cache *cache)
{
	hp_lease *leases[LEASES_PER_TURN];
	int result = 0;
	unsigned n;

	do {
		int r;

		part_lock();
		n = collect(cache, leases, LEASES_PER_TURN);
		part_unlock();
		r = hp_free_batch(leases, n, 0);
		if (result == 0)
			result = r;
	} while (n == LEASES_PER_TURN);
	return result;
}

int hp_cache_drain(hp_cache *cache)
{
	int r = check(cache);

	return r < 0 ? r : drain(cache);
}

/* Deal with what the daemon has said. -ESTALE: the session has ended. */
static int attend(hp_cache *cache)
{
	unsigned attention = atomic_fetch_and(&cache->attention, ~(unsigned)CACHE_PRESSED);

	if (attention & CACHE_ENDED)
		return error_set(-ESTALE, ERROR_SESSION_ENDED);
	if (attention & CACHE_PRESSED)
		(void)drain(cache); /* the next call that needs the daemon says what is wrong */
	return 0;
}

/* ---- taking ---- */

/* Has the daemon said something that nobody has read? */
static void look(hp_client *client)
{
	pthread_mutex_lock(&client->lock);
	call_poll(client);
	pthread_mutex_unlock(&client->lock);
}

/* From the own part. NULL: it is empty, or it is time to look. */
static inline hp_lease *take_warm(struct cache_part *part)
{
	hp_lease *lease = NULL;

	if (!part_enter(part))
		return NULL;
	if (part->n > 0 && part->patience > 0) {
		part->patience--;
		lease = part->leases[--part->n];
	}
	part_leave(part);
	return lease;
}

static inline void hand_out(const hp_cache *cache, hp_lease *lease, hp_lease **ret_lease)
{
	lease->idle = false;
	if (cache->flags & HP_ZEROED && lease->used)
		memset(lease->data, 0, lease->bytes);
	*ret_lease = lease;
}

static int ask(hp_cache *cache, unsigned epoch, unsigned n, hp_lease **ret_leases)
{
	const struct hp_alloc_options options = {.pool = cache->pool,
						 .flags = cache->flags & ~(unsigned)HP_ZEROED};
	uint64_t bytes[BATCH_LIMIT];
	int r;

	for (unsigned i = 0; i < BATCH_LIMIT; i++)
		bytes[i] = cache->bytes;
	r = hp_alloc_batch(cache->client, bytes, n, &options, ret_leases);
	for (unsigned i = 0; i < n && r == 0; i++) {
		ret_leases[i]->cache_serial = cache->serial;
		ret_leases[i]->cache_epoch = epoch;
	}
	return r;
}

/* Less may be had. */
static bool is_short(int error)
{
	return error == -ENOSPC || error == -ENOMEM || error == -EDQUOT || error == -EOVERFLOW;
}

/* The first buffer of a new batch, the others are in the part, the lowest to be taken first. */
static int refill(hp_cache *cache, struct cache_part *part, hp_lease **ret_lease)
{
	unsigned n = atomic_load(&cache->batch_now), epoch = atomic_load(&cache->epoch);
	hp_lease *leases[BATCH_LIMIT];
	int r = ask(cache, epoch, n, leases);

	if (r == 0)
		atomic_store(&cache->batch_now, 2 * n < cache->batch ? 2 * n : cache->batch);
	if (is_short(r) && n > 1) {
		n = 1;
		atomic_store(&cache->batch_now, n);
		r = ask(cache, epoch, n, leases);
	}
	if (is_short(r)) { /* other threads may have some that they do not use */
		part_lock();
		if (collect(cache, leases, 1) == 1)
			r = 0;
		part_unlock();
	}
	if (r < 0)
		return r;
	*ret_lease = leases[0];
	while (!part_enter(part))
		part_wait();
	while (--n > 0) {
		leases[n]->idle = true;
		part->leases[part->n++] = leases[n];
	}
	part_leave(part);
	return 0;
}

/* Apart, so that the warm way saves no registers. */
__attribute__((noinline, cold)) static int take_slowly(hp_cache *cache, hp_lease **ret_lease)
{
	struct cache_part *part;
	hp_lease *lease;
	int r = check(cache);

	if (r < 0)
		return r;
	if (!ret_lease)
		return error_set(-EINVAL, "There is nowhere to put the buffer: NULL was given.");
	part = part_get(cache);
	if (!part)
		return error_no_memory("a thread's part of a cache");
	if (part->patience == 0) {
		part->patience = LOOK_AFTER;
		look(cache->client);
	}
	r = attend(cache);
	if (r < 0)
		return r;
	lease = take_warm(part);
	if (!lease)
		r = refill(cache, part, &lease);
	if (r == 0)
		hand_out(cache, lease, ret_lease);
	return r;
}

int hp_cache_take(hp_cache *cache, hp_lease **ret_lease)
{
	if (cache && ret_lease && cache_memo.serial == cache->serial && is_calm(cache)) {
		hp_lease *lease = take_warm(cache_memo.part);

		if (lease) {
			hand_out(cache, lease, ret_lease);
			return 0;
		}
	}
	return take_slowly(cache, ret_lease);
}

/* ---- putting ---- */

/* It is as it was granted, and not gone. */
static inline bool is_keepable(const hp_cache *cache, const hp_lease *lease)
{
	return lease->bytes == cache->bytes &&
	       lease->cache_epoch == atomic_load_explicit(&cache->epoch, memory_order_relaxed);
}

/* Into the own part. False: it is full, or not for this buffer. Who drains has told the epoch before, and the
 * part is entered either before that or behind it. */
static inline bool put_warm(const hp_cache *cache, struct cache_part *part, hp_lease *lease)
{
	bool fits;

	if (!part_enter(part))
		return false;
	fits = part->n < cache->high && is_keepable(cache, lease);
	if (fits) {
		lease->idle = lease->used = true;
		part->leases[part->n++] = lease;
	}
	part_leave(part);
	return fits;
}

/* If the part is full, give its coldest batch back. */
static int make_room(const hp_cache *cache, struct cache_part *part)
{
	hp_lease *leases[BATCH_LIMIT];
	unsigned n;

	while (!part_enter(part))
		part_wait();
	n = part->n < cache->high ? 0 : cache->batch;
	memcpy(leases, part->leases, n * sizeof(leases[0]));
	part->n -= n;
	memmove(part->leases, part->leases + n, part->n * sizeof(leases[0]));
	part_leave(part);
	return hp_free_batch(leases, n, 0);
}

__attribute__((noinline, cold)) static int put_slowly(hp_cache *cache, hp_lease *lease)
{
	struct cache_part *part;
	int r = check(cache);

	if (r < 0)
		return r;
	if (!lease || lease->cache_serial != cache->serial || lease->idle)
		return error_set(-EINVAL, "This is no buffer that was taken from this cache.");
	r = attend(cache);
	part = r == 0 ? part_get(cache) : NULL;
	if (part)
		r = make_room(cache, part);
	if (!part || !put_warm(cache, part, lease)) {
		int r_free = hp_free(lease);

		return r < 0 ? r : r_free;
	}
	return r;
}

int hp_cache_put(hp_cache *cache, hp_lease *lease)
{
	if (cache && lease && cache_memo.serial == cache->serial && is_calm(cache) &&
	    lease->cache_serial == cache->serial && !lease->idle && put_warm(cache, cache_memo.part, lease))
		return 0;
	return put_slowly(cache, lease);
}

/* ---- what the daemon says ---- */

void cache_list_tell(hp_client *client, const Hugepool__Event *event)
{
	unsigned kind = (unsigned)event->kind < 32 ? 1u << event->kind : 0;
	hp_cache *cache;

	if (!(kind & CACHE_EVENT_KINDS))
		return;
	LIST_FOREACH(cache, &client->caches, link)
	{
		if (strcmp(cache->pool, event->pool) != 0)
			continue;
		if (kind == HP_EVENT_PRESSURE)
			atomic_store(&cache->batch_now, 1);
		else
			atomic_fetch_add(&cache->epoch, 1);
		atomic_fetch_or(&cache->attention, CACHE_PRESSED);
	}
}

void cache_list_end(hp_client *client)
{
	hp_cache *cache;

	LIST_FOREACH(cache, &client->caches, link)
	atomic_fetch_or(&cache->attention, CACHE_ENDED);
}

bool cache_list_is_pressed(const hp_client *client)
{
	hp_cache *cache;

	LIST_FOREACH(cache, &client->caches, link)
	if (atomic_load(&cache->attention) & CACHE_PRESSED)
		return true;
	return false;
}

/* Begin to free what the cache has idle; the parts' lock is held. Without memory for a request it stays. */
static void relieve(hp_cache *cache)
{
	struct cache_part *part;

	part_claim_all(&cache->parts);
	LIST_FOREACH(part, &cache->parts, of_cache)
	while (part->n > 0) {
		unsigned n = part->n < cache->batch ? part->n : cache->batch;

		if (lease_end_start(part->leases + part->n - n, n) < 0)
			break;
		part->n -= n;
	}
	part_unclaim_all(&cache->parts);
}

void cache_list_relieve(hp_client *client)
{
	hp_cache *cache;

	/* With the parts' lock no cache is freed; new ones have nothing, and are before those that we see. */
	part_lock();
	pthread_mutex_lock(&client->lock);
	cache = LIST_FIRST(&client->caches);
	pthread_mutex_unlock(&client->lock);
	for (; cache; cache = LIST_NEXT(cache, link))
		if (atomic_fetch_and(&cache->attention, ~(unsigned)CACHE_PRESSED) & CACHE_PRESSED)
			relieve(cache);
	part_unlock();
}

/* ---- made and freed ---- */

static int check_options(const struct hp_cache_options *options)
{
	if (options->flags & ~(unsigned)CACHE_FLAGS)
		return error_set(-EINVAL, "The flags 0x%x are not known, or not for a cache.",
				 options->flags);
	if (options->high > HIGH_LIMIT)
		return error_set(-EINVAL, "A thread keeps at most %u buffers.", HIGH_LIMIT);
	if (options->batch > BATCH_LIMIT || (options->high > 0 && options->batch > options->high))
		return error_set(-EINVAL, "A batch is at most %u buffers, and not more than a thread keeps.",
				 BATCH_LIMIT);
	return 0;
}

/* A whole number of pages, and how many of these; the client's lock is held. */
static int adopt_options(hp_cache *cache, const struct hp_cache_options *options)
{
	hp_client *client = cache->client;
	const struct session_pool *pool = session_find_pool(client, options->pool);
	uint64_t high;
	int r;

	if (!pool)
		return -ENOENT;
	cache->bytes = options->bytes > 0 ? options->bytes : pool->page_bytes;
	r = lease_round_up(&cache->bytes, pool);
	if (r < 0)
		return r;
	snprintf(cache->pool, sizeof(cache->pool), "%s", pool->name);
	high = HIGH_BYTES / cache->bytes;
	if (high < HIGH_MIN)
		high = HIGH_MIN;
	if (high > HIGH_MAX)
		high = HIGH_MAX;
	if (high < options->batch)
		high = options->batch;
	cache->high = options->high > 0 ? options->high : (unsigned)high;
	cache->batch = options->batch > 0 ? options->batch : (cache->high + 1) / 2;
	if (cache->batch > BATCH_LIMIT)
		cache->batch = BATCH_LIMIT;
	if (cache->batch > client->max_batch)
		cache->batch = client->max_batch;
	cache->flags = options->flags;
	return 0;
}

static int cache_init(hp_cache *cache, const struct hp_cache_options *options)
{
	static _Atomic uint64_t last_serial;
	hp_client *client = cache->client;
	int r;

	cache->fork_mark = client->fork_mark;
	cache->serial = atomic_fetch_add(&last_serial, 1) + 1;
	pthread_mutex_lock(&client->lock);
	r = adopt_options(cache, options);
	if (r == 0)
		r = event_subscribe_inside(client, CACHE_EVENT_KINDS);
	if (r == 0) {
		atomic_store(&cache->batch_now, cache->batch);
		LIST_INSERT_HEAD(&client->caches, cache, link);
	}
	pthread_mutex_unlock(&client->lock);
	return r;
}

int hp_cache_new(hp_client *client, const struct hp_cache_options *options, hp_cache **ret_cache)
{
	static const struct hp_cache_options no_options;
	int r = session_check(client);
	hp_cache *cache;

	if (r < 0)
		return r;
	if (!ret_cache)
		return error_set(-EINVAL, "There is nowhere to put the cache: NULL was given.");
	if (!options)
		options = &no_options;
	r = check_options(options);
	if (r < 0)
		return r;
	r = part_prepare();
	if (r < 0)
		return error_set(r, "Cannot be told when threads exit: %s.", strerror(-r));
	cache = calloc(1, sizeof(*cache));
	if (!cache)
		return error_no_memory("a cache");
	cache->client = client;
	r = cache_init(cache, options);
	if (r < 0) {
		free(cache);
		return r;
	}
	*ret_cache = cache;
	return 0;
}

/* What it has is the client's, and whoever has parts of it frees those; the parts' lock is held. */
static void cache_end(hp_cache *cache)
{
	struct cache_part *part;

	part_claim_all(&cache->parts);
	while ((part = LIST_FIRST(&cache->parts)))
		part_abandon(part);
	LIST_REMOVE(cache, link);
	free(cache);
}

hp_cache *hp_cache_free(hp_cache *cache)
{
	hp_client *client;

	if (!cache)
		return NULL;
	client = cache->client;
	if (session_check(client) < 0)
		return NULL;
	(void)drain(cache);
	part_lock();
	part_wait_leaving(cache);
	pthread_mutex_lock(&client->lock);
	cache_end(cache);
	pthread_mutex_unlock(&client->lock);
	part_unlock();
	return NULL;
}

void cache_list_free(hp_client *client)
{
	hp_cache *cache;

	part_lock();
	while ((cache = LIST_FIRST(&client->caches))) {
		if (*cache->fork_mark != 0)
			part_wait_leaving(cache);
		cache_end(cache);
	}
	part_unlock();
}

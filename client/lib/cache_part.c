/* cache_part.c - see cache_part.h: who has which part, claims, and threads that exit.
 *
 * A part belongs to a cache and to a thread. Whoever goes first leaves it to the other: a cache that is freed
 * empties its parts, and their threads free them; a thread that exits gives back what they have.
 */
#include <config.h>

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/lib/cache.h"
#include "client/lib/lease.h"

#define GIVE_MAX 64 /* buffers that a thread that exits gives back at a time */

_Thread_local struct cache_memo cache_memo;

static _Thread_local struct cache_parts own_parts;

static pthread_mutex_t parts_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t nobody_leaves = PTHREAD_COND_INITIALIZER;
static pthread_key_t exit_key; /* not NULL in threads that have parts */
static int prepared;           /* 0: it is; else why not */
static bool has_barrier;

void part_lock(void)
{
	pthread_mutex_lock(&parts_lock);
}

void part_unlock(void)
{
	pthread_mutex_unlock(&parts_lock);
}

/* ---- threads that exit ---- */

/* Take up to GIVE_MAX buffers out of the own part. */
static unsigned take_out(struct cache_part *part, hp_lease **leases)
{
	unsigned n = 0;

	while (!part_enter(part))
		part_wait();
	while (part->n > 0 && n < GIVE_MAX)
		leases[n++] = part->leases[--part->n];
	part_leave(part);
	return n;
}

/* The cache that has lent a part to this thread, kept from being freed; NULL: it is. In a forked child
 * nothing can be given back, and it counts as freed. */
static hp_cache *hold_cache(struct cache_part *part)
{
	hp_cache *cache;

	part_lock();
	cache = part->cache;
	if (cache && session_check(cache->client) < 0) {
		LIST_REMOVE(part, of_cache);
		cache = NULL;
	}
	if (cache)
		cache->n_leaving++;
	part_unlock();
	return cache;
}

static void give_back(struct cache_part *part)
{
	hp_cache *cache = hold_cache(part);
	hp_lease *leases[GIVE_MAX];
	unsigned n;

	if (!cache)
		return;
	while ((n = take_out(part, leases)) > 0)
		(void)hp_free_batch(leases, n, 0);
	part_lock();
	LIST_REMOVE(part, of_cache);
	cache->n_leaving--;
	pthread_cond_broadcast(&nobody_leaves);
	part_unlock();
}

static void exit_thread(void *unused)
{
	struct cache_part *part;

	cache_memo.serial = 0;
	while ((part = LIST_FIRST(&own_parts))) {
		LIST_REMOVE(part, of_thread);
		give_back(part);
		free(part);
	}
}

void part_wait_leaving(const hp_cache *cache)
{
	while (cache->n_leaving > 0)
		pthread_cond_wait(&nobody_leaves, &parts_lock);
}

/* ---- once in the process ---- */

static int membarrier(int command)
{
	return (int)syscall(SYS_membarrier, command, 0, 0);
}

/* A child that is forked while another thread holds the lock could never take it. */
static void prepare(void)
{
	prepared = -pthread_key_create(&exit_key, exit_thread);
	if (prepared == 0)
		prepared = -pthread_atfork(part_lock, part_unlock, part_unlock);
	has_barrier = membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) == 0;
}

int part_prepare(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, prepare);
	return prepared;
}

/* The library may be unloaded before its threads exit. */
__attribute__((destructor)) static void unprepare(void)
{
	if (part_prepare() == 0)
		pthread_key_delete(exit_key);
}

/* ---- a thread's parts ---- */

static struct cache_part *find_own(uint64_t serial)
{
	struct cache_part *part, *next;

	for (part = LIST_FIRST(&own_parts); part; part = next) {
		next = LIST_NEXT(part, of_thread);
		if (part->serial == serial)
			return part;
		if (!part->cache) {
			LIST_REMOVE(part, of_thread);
			free(part);
		}
	}
	return NULL;
}

static struct cache_part *part_new(hp_cache *cache)
{
	size_t bytes = sizeof(struct cache_part) + cache->high * sizeof(hp_lease *);
	struct cache_part *part = calloc(1, bytes);

	if (!part || pthread_setspecific(exit_key, &own_parts) != 0) {
		free(part);
		return NULL;
	}
	part->serial = cache->serial;
	part->has_barrier = has_barrier;
	part->cache = cache;
	LIST_INSERT_HEAD(&own_parts, part, of_thread);
	LIST_INSERT_HEAD(&cache->parts, part, of_cache);
	return part;
}

struct cache_part *part_get(hp_cache *cache)
{
	struct cache_part *part;

	part_lock();
	part = find_own(cache->serial);
	if (!part)
		part = part_new(cache);
	part_unlock();
	if (part)
		cache_memo = (struct cache_memo){.serial = cache->serial, .part = part};
	return part;
}

/* ---- claims ---- */

void part_wait(void)
{
	part_lock();
	part_unlock();
}

void part_claim_all(const struct cache_parts *parts)
{
	struct cache_part *part;

	LIST_FOREACH(part, parts, of_cache)
	atomic_store(&part->claimed, true);
	if (has_barrier)
		(void)membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED);
	LIST_FOREACH(part, parts, of_cache)
	while (atomic_load(&part->busy))
		sched_yield();
}

void part_unclaim_all(const struct cache_parts *parts)
{
	struct cache_part *part;

	LIST_FOREACH(part, parts, of_cache)
	atomic_store_explicit(&part->claimed, false, memory_order_release);
}

void part_abandon(struct cache_part *part)
{
	LIST_REMOVE(part, of_cache);
	part->cache = NULL;
}

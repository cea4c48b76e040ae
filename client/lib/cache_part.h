/* cache_part.h - what one thread has of a cache: buffers that nobody uses, the warmest last.
 *
 * The thread that owns a part enters it for a few instructions and leaves it, without an atomic operation
 * that costs anything. Any other thread may claim it meanwhile, to empty it: it says so, has the kernel order
 * the memory of all running threads (membarrier), and waits until the owner is not inside. So the price of
 * being emptied from outside is paid by who does it. Where the kernel cannot, the owner pays for an exchange.
 *
 * part_lock(), one for the process, guards who has which parts; it is held for all of a claim. Locked before
 * a client's lock.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "client/include/hugepool.h"

struct cache_part {
	/* Constant. */
	uint64_t serial;  /* the cache's */
	bool has_barrier; /* the kernel's: claims need no help of the owner's */

	/* part_lock(): */
	hp_cache *cache; /* NULL: it was freed, and the part waits for its thread */
	LIST_ENTRY(cache_part) of_cache;

	/* The owner's thread only. */
	LIST_ENTRY(cache_part) of_thread;
	unsigned patience; /* takes until the socket is looked at */

	_Atomic bool busy;    /* the owner is inside */
	_Atomic bool claimed; /* it has to stay outside */

	/* Of the owner inside, or of who claimed it. */
	unsigned n;
	hp_lease *leases[];
};

LIST_HEAD(cache_parts, cache_part);

/* The calling thread's part of the cache that it used last. */
struct cache_memo {
	uint64_t serial; /* 0: of none */
	struct cache_part *part;
};
extern _Thread_local struct cache_memo cache_memo __attribute__((tls_model("initial-exec")));

/* Once for each cache, before its parts. 0, or a negative errno: no key is left for threads that exit. */
int part_prepare(void);
void part_lock(void);
void part_unlock(void);
/* The calling thread's part of the cache, made when there is none. NULL: no memory. Takes the lock. */
struct cache_part *part_get(hp_cache *cache);
/* It is claimed: wait until that is over. */
void part_wait(void);
/* Wait for threads that are exiting to be done with the cache; the lock is held, and given up meanwhile. */
void part_wait_leaving(const hp_cache *cache);

/* Claim every part of a list, and end that; the lock is held. */
void part_claim_all(const struct cache_parts *parts);
void part_unclaim_all(const struct cache_parts *parts);
/* The cache goes, and the part, empty and claimed, is left to its thread; the lock is held. */
void part_abandon(struct cache_part *part);

/* Enter the own part. False: it is claimed, and not entered. */
static inline bool part_enter(struct cache_part *part)
{
	if (part->has_barrier)
		atomic_store_explicit(&part->busy, true, memory_order_relaxed);
	else
		atomic_exchange(&part->busy, true);
	atomic_signal_fence(memory_order_seq_cst);
	if (!atomic_load_explicit(&part->claimed, memory_order_acquire))
		return true;
	atomic_store_explicit(&part->busy, false, memory_order_release);
	return false;
}

static inline void part_leave(struct cache_part *part)
{
	atomic_store_explicit(&part->busy, false, memory_order_release);
}

/* zone.h - one tenant's part of one pool: its arenas, and a pair of page caches per worker.
 *
 * A worker takes and puts runs here. The warm path touches that worker's caches only; refills and drains take
 * the zone's lock for a batch. What a zone cannot give at once is the stocker's business (stocker.h). Knows
 * neither leases nor clients.
 *
 * Arenas that one lease has for itself (sole) are in the zone's list and its sums, but nothing is searched in
 * them: they come from the stock whole, and go to the janitor whole.
 *
 * Invariant (zone_check): per arena, clean + dirty + out = n_pages; the sum of out over the arenas is
 * out_pages, and at quiescence out_pages = pages in the caches + pages in leases.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/lock.h"
#include "daemon/base/mailbox.h"
#include "daemon/core/pcache.h"
#include "daemon/pool/arena.h"
#include "daemon/pool/run.h"

#define ZONE_MAGIC 0x20e00000u

enum {
	ZONE_SHORT = 1, /* not at once: ask the stocker */
};

/* What one worker has of a zone. Touched by that worker only, but for the atomics, which others read. */
struct zone_worker {
	struct pcache *clean; /* zeroed runs to grant */
	struct pcache *dirty; /* freed runs on their way to the scrubber */
	_Atomic uint64_t orphaned_pages;
	_Atomic uint64_t n_leases;
	struct letter drain_letter; /* under way while drain.n_missing > 0 */
	struct zone *zone;
	unsigned worker;
	/* this worker only */
	bool has_freed; /* freed runs may lie in `dirty`: the zone is in the worker's list, with a reference
			 */
	struct zone *next_freed; /* in that */
} __attribute__((aligned(64)));

/* Asking every worker to empty its caches of a zone, or all zones of a pool for that; one at a time. */
struct zone_drain {
	uint64_t n_started, n_finished;
	unsigned n_missing; /* workers (zones) that have not answered */
	bool again;         /* asked for while one was under way: some workers may have answered too early */
};

struct zone {
	unsigned magic;

	/* constant after zone_new() */
	struct pool *pool;
	uint32_t tenant; /* a uid, gid or socket, or ZONE_ANY_TENANT */
	unsigned n_workers;

	/* guarded by the pool's lock */
	struct zone *next;
	unsigned n_refs; /* sessions, detached leases, letters under way */

	struct lock lock;
	/* guarded by lock */
	struct arena *arenas; /* all of them, a list */
	unsigned n_arenas;
	struct arena *
		*shared; /* those that are not sole, in the order of their slots: low ones are filled first */
	unsigned n_shared, shared_room;
	uint64_t clean_pages, dirty_pages, out_pages;
	uint64_t sole_pages;      /* of those that are out: in sole arenas */
	uint64_t empty_pages;     /* clean and dirty ones in shared arenas of which nothing is out */
	uint64_t n_scrubbed;      /* pages that the scrubber has made clean, so far */
	uint64_t limbo_pages;     /* with the janitor, or in pinned_pages */
	uint64_t returning_pages; /* of those: with the janitor, and a client may have pinned them */
	uint64_t pinned_pages; /* truncated, and at most so many the kernel has not back: pool_settle_limbo()
				*/
	uint64_t gone_pages;   /* of those: left behind by clients that were all gone. And the pool's lock */
	unsigned n_waiting;    /* supplies queued: nobody overtakes them */
	bool scrub_queued;     /* scrub_letter is with the scrubber */
	struct letter scrub_letter;
	bool drain_queued; /* drain_letter is with the stocker: the caches hold runs that must not be granted
			    */
	struct letter drain_letter;

	_Atomic uint64_t n_leases; /* counted where the pool has a quota of them */
	_Atomic uint64_t n_names;

	/* the stocker's thread only */
	struct zone_drain drain;
	uint64_t pool_drain_target; /* of drain: when the pool's is over here; 0: none is under way */
	uint64_t blocked_round, blocked_pages; /* stocker.c: the least that is waited for here, in this round */
	int blocked_result;                    /* of that */

	struct zone_worker workers[];
};

#define ZONE_ANY_TENANT UINT32_MAX /* isolation: pool */

struct zone *zone_new(struct pool *pool, uint32_t tenant, unsigned n_workers,
		      const struct pcache_limits *limits);
/* No arenas, nothing in limbo, nobody who refers to it. Returns NULL. */
struct zone *zone_free(struct zone *zone);

/* Take what is wanted for `worker` (the calling thread), clean unless no_zero. 0, or ZONE_SHORT with
 * *ret_runs undefined. Not for sole runs: pool_take_sole(). */
int zone_take(struct zone *zone, unsigned worker, const struct want *want, struct run_list *ret_runs);

/* The same under the lock and past the caches and the queue, for the stocker. */
enum {
	ZONE_OVER_QUOTA = 2,
};
int zone_take_locked(struct zone *zone, const struct want *want, struct run_list *ret_runs);
/* None of these runs lies in an arena that was condemned since they were taken. */
bool zone_is_granting(struct zone *zone, const struct run *runs, unsigned n);
/* The clean pages just behind a run that is out, all `n_more` of them: 0 or ZONE_SHORT. */
int zone_take_behind(struct zone *zone, struct run run, uint64_t n_more);

/* Pages that the tenant may still have; UINT64_MAX: what there is, as its quota is the pool's max. What was
 * its own counts until the kernel has it. With the lock held. */
uint64_t zone_quota_left(const struct zone *zone);

/* A client had the run: it is dirty. `hot`: likely to be asked for again soon. */
void zone_put(struct zone *zone, unsigned worker, struct run run, bool hot);
/* No client ever saw the run since it was taken. */
void zone_put_clean(struct zone *zone, unsigned worker, struct run run);

/* Hand freed runs in this worker's cache to the scrubber. */
void zone_flush_freed_locked(struct zone *zone, unsigned worker);
/* Empty this worker's caches. */
void zone_drain_locked(struct zone *zone, unsigned worker);

/* A blank arena becomes the zone's, clean; or all of it goes out at once, as a sole one. The pool's lock is
 * held too. negative errno: no memory, nothing changed. */
int zone_add_arena_locked(struct zone *zone, struct arena *arena, bool sole);
/* Take out the arena, of which nothing is being scrubbed, and nothing is out unless it is sole. Its pages
 * count as limbo from now on. */
void zone_remove_arena_locked(struct zone *zone, struct arena *arena);
/* Cut the tail off a sole run: its pages count as limbo. */
void zone_shorten_arena_locked(struct zone *zone, struct arena *arena, uint64_t n_pages);

/* A client destroyed the arena's file, or it is evicted: no new leases, released when nothing is out. */
void zone_condemn_locked(struct arena *arena);
/* The same of the arena in which this run, which is out, lies. Takes the lock. */
void zone_condemn_run(struct zone *zone, struct run run);
/* No new leases, released when nothing is out, unless it is restored before. Returns whether that is news. */
bool zone_isolate_locked(struct arena *arena, bool isolated);
/* There are dirty pages that the scrubber shall do something about. */
bool zone_can_scrub_locked(const struct zone *zone);
/* Wake the scrubber if there is something for it. */
void zone_wake_scrubber_locked(struct zone *zone);

struct zone_figures {
	uint64_t leased, orphaned, clean, dirty, cached, limbo; /* pages */
	uint64_t arenas, leases;
};
/* Add this zone's figures to *sum. They add up at every instant. */
void zone_add_figures(struct zone *zone, struct zone_figures *sum);

/* Nothing in it, and no letter under way. Takes the lock; on the stocker's thread. */
bool zone_is_idle(struct zone *zone);

void zone_check(struct zone *zone);

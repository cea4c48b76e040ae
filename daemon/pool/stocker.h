/* stocker.h - gives a zone what it cannot take at once, and gives back what nobody needs.
 *
 * A worker that meets ZONE_SHORT posts a supply and goes on; the answer comes back by its mailbox. The
 * stocker serves supplies first come first served: from what other workers' caches hold, from what the
 * scrubber is about to clean, from the stock, from the kernel, from other zones' empty arenas, in this order;
 * it says no only when nothing that is under way can help any more, or when its deadline has passed. Between
 * requests it lets empty arenas go, keeps the reserve, and keeps blank arenas ready.
 *
 * Of those that wait for a pool's room, a later one is served first only if its tenant would then hold less
 * than the earlier one's would: so neither those who ask for much nor those who ask often starve the others.
 *
 * All of it runs on the stocker's thread, except supply_post() and the done() of a supply (the worker's).
 */
#pragma once

#include "daemon/base/mailbox.h"
#include "daemon/pool/pool.h"

enum supply_result {
	SUPPLY_GRANTED = 0,
	SUPPLY_OVER_QUOTA = 1,   /* the tenant holds as much as it may */
	SUPPLY_POOL_FULL = 2,    /* max is reached, and there are no such runs */
	SUPPLY_KERNEL_SHORT = 3, /* the kernel has not as many pages */
	SUPPLY_NO_MEMORY = 4,    /* the daemon's own */
	SUPPLY_TIMED_OUT = 5,    /* one of these, until the deadline */
	SUPPLY_DRAINING = 6,     /* the pool leases nothing new */
	SUPPLY_CANCELLED = 7,
};

/* A request for the pages of one lease. The caller owns it; from supply_post() to done() nobody else may
 * touch it.
 */
struct supply {
	struct letter letter;
	struct zone *zone;
	unsigned worker;
	struct want want;
	uint64_t deadline_ns; /* 0: say no as soon as nothing that is under way can help */
	_Atomic bool cancelled;
	void (*done)(struct supply *supply); /* on the worker's thread */

	enum supply_result result;
	struct backing_shortage shortage; /* SUPPLY_KERNEL_SHORT: why */
	struct run_list runs;             /* granted: counted as out; clean unless no_zero */

	/* the stocker's */
	struct supply *next;
	uint64_t reclaim_tick; /* in which tick it has made others give back what they do not use */
	unsigned n_reclaims;   /* how often; less one for each tick that it waits */
	uint64_t drain_target;
};

/* Make the zone's drain_letter ready; part of zone_new(). */
void stocker_prepare(struct zone *zone);

/* On the worker's thread, after zone_take() or pool_take_sole() said ZONE_SHORT. Cannot fail. */
void supply_post(struct supply *supply);
/* On the worker's thread: nobody wants it any more. done() is called soon all the same. */
void supply_cancel(struct supply *supply);

struct stocker {
	struct mailbox mailbox; /* constant; first, so that a pool's `threads->stocker` leads here */
	struct pool **pools;
	unsigned n_pools;
	struct supply *head, **tail;
	uint64_t round;
	uint64_t n_ticks;
	uint64_t next_tick_ns, next_wake_ns;
	bool is_refilling; /* there is more of it to do */
};

/* Returns 0 or negative errno. `pools` are filled in afterwards, before the first step. */
int stocker_init(struct stocker *stocker, struct pool **pools);
void stocker_fini(struct stocker *stocker);

/* Deliver letters (waiting for one at most until the next tick), then do all that can be done. */
void stocker_step(struct stocker *stocker);

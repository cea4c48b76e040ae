/* stocker.h - gives a zone what it cannot take at once, and gives back what nobody needs.
 *
 * A worker that meets ZONE_SHORT posts a supply and goes on; the answer comes back by its mailbox. The
 * stocker serves supplies first come first served: from what other workers' caches hold, from what the
 * scrubber is about to clean, from the stock, from the kernel, from other zones' empty arenas, in this order;
 * it says no only when nothing that is under way can help any more. Between requests it lets empty arenas go
 * and keeps the reserve.
 *
 * All of it runs on the stocker's thread, except supply_post() and the done() of a supply (the worker's).
 */
#pragma once

#include "daemon/base/mailbox.h"
#include "daemon/pool/pool.h"

enum supply_result {
	SUPPLY_GRANTED = 0,
	SUPPLY_OVER_QUOTA = 1,   /* the tenant holds as much as it may */
	SUPPLY_POOL_FULL = 2,    /* max is reached, and no run is that long */
	SUPPLY_KERNEL_SHORT = 3, /* the kernel has not as many pages */
	SUPPLY_NO_MEMORY = 4,    /* the daemon's own */
};

/* A request for one run. The caller owns it; from supply_post() to done() nobody else may touch it. */
struct supply {
	struct letter letter;
	struct zone *zone;
	unsigned worker;
	uint64_t n_pages, align_pages;
	void (*done)(struct supply *supply); /* on the worker's thread */

	enum supply_result result;
	struct run run;         /* granted: clean, and counted as out */
	uint64_t missing_pages; /* SUPPLY_KERNEL_SHORT */

	/* the stocker's */
	struct supply *next;
	bool reclaimed;
	uint64_t drain_target;
};

/* Make the zone's drain_letter ready; part of zone_new(). */
void stocker_prepare(struct zone *zone);

/* On the worker's thread, after zone_take() said ZONE_SHORT. Cannot fail. */
void supply_post(struct supply *supply);

struct stocker {
	struct mailbox mailbox; /* constant; first, so that a pool's `threads->stocker` leads here */
	struct pool **pools;
	unsigned n_pools;
	struct supply *head, **tail;
	uint64_t round;
	uint64_t next_tick_ns;
};

/* Returns 0 or negative errno. `pools` are filled in afterwards, before the first step. */
int stocker_init(struct stocker *stocker, struct pool **pools);
void stocker_fini(struct stocker *stocker);

/* Deliver letters (waiting for one at most until the next tick), then do all that can be done. */
void stocker_step(struct stocker *stocker);

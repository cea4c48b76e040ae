/* stocker.h - gives a zone what it cannot take at once, and gives back what nobody needs.
 *
 * A worker that meets ZONE_SHORT posts a supply and goes on; the answer comes back by its mailbox. The
 * stocker serves supplies first come first served; what one try does is supply.h. Between requests it lets
 * empty arenas go, keeps the reserve, and keeps blank arenas ready.
 *
 * Of those that wait for a pool's room, a later one is served first only if its tenant would then hold less
 * than the earlier one's would: so neither those who ask for much nor those who ask often starve the others.
 *
 * All of it runs on the stocker's thread, except supply_post() and the done() of a supply (the worker's).
 */
#pragma once

#include "daemon/base/mailbox.h"
#include "daemon/pool/pool.h"
#include "daemon/pool/supply.h"

struct stocker {
	struct mailbox mailbox; /* constant; first, so that a pool's `threads->stocker` leads here */
	struct pool **pools;
	unsigned n_pools;
	struct supply *head, **tail;
	struct supply **cursor;     /* where a round that is not over goes on; NULL: the next begins one */
	bool is_rung;               /* while a round went on: there must be another */
	uint64_t n_looked, n_tried; /* supplies, so far: each step has a bound of both */
	uint64_t round;
	unsigned n_round_steps; /* of a round that is not over */
	uint64_t n_ticks;
	uint64_t next_tick_ns, next_wake_ns;
	unsigned tick_pool;     /* where a tick that is not over goes on: a pool's index, */
	struct zone *tick_zone; /* and its next zone; NULL: the first */
	uint64_t n_ticked;      /* zones, so far: each step has a bound */
	bool is_making;         /* there is more of it to do */
};

/* Returns 0 or negative errno. `pools` are filled in afterwards, before the first step. */
int stocker_init(struct stocker *stocker, struct pool **pools);
void stocker_fini(struct stocker *stocker);

/* Deliver letters (waiting for one at most until the next tick), then do all that can be done. */
void stocker_step(struct stocker *stocker);

/* supply.h - a request for the pages of one lease that its zone could not meet at once, and one try to meet
 * it.
 *
 * A try takes from the zone itself, from blank arenas, from the kernel, and from what other zones do not use,
 * in this order. Each begins work only where arithmetic says that it would then succeed (admission.h), and
 * what it waits for was under way, or begun for it, when it came to that point: a drain, so many pages to be
 * scrubbed, so many arenas with the janitor. So a supply that does not wait is answered after a bounded
 * number of tries, whatever others do meanwhile.
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

/* The caller owns it; from supply_post() to done() nobody else may touch it. */
struct supply {
	struct letter letter;
	struct zone *zone;
	unsigned worker;
	struct want want;
	uint64_t more_pages;  /* that the same request will want next: without these it is in vain */
	uint64_t deadline_ns; /* 0: say no as soon as nothing that is under way can help */
	_Atomic bool cancelled;
	void (*done)(struct supply *supply); /* on the worker's thread */

	enum supply_result result;
	enum supply_result refusal;       /* SUPPLY_TIMED_OUT: what the last try said */
	struct backing_shortage shortage; /* SUPPLY_KERNEL_SHORT, also as a refusal: why */
	struct run_list runs;             /* granted: counted as out; clean unless no_zero */

	/* the stocker's */
	struct supply *next;
	uint64_t drain_target;      /* of zone->drain: what its own workers cache; 0: not asked for */
	uint64_t pool_drain_target; /* of pool->drain: what all cache; 0: not asked for */
	uint64_t drain_tick;        /* when it was last looked at whether that could help; 0: never */
	uint64_t quota_target;      /* of pool->n_released, for its own pages; 0: not waited for */
	unsigned n_quota_waits;     /* how often they were */
	uint64_t scrub_target;      /* of zone->n_scrubbed; 0: there was nothing to scrub */
	uint64_t release_target;    /* of pool->n_released; 0: nothing was with the janitor */
	uint64_t piece_target;      /* of pool->n_pieces, to have an arena that is in the scrubber's hands */
	unsigned n_attempts;        /* to have room made; of one that waits, in attempt_tick */
	unsigned n_failed;          /* times that the kernel had less than its counters said */
	uint64_t attempt_tick;
	uint64_t retry_tick;  /* the kernel is not asked before */
	bool is_kernel_short; /* that was the reason of the last try that failed */
	bool is_in_vain; /* arithmetic said yes, and there was less: not again before what it waits for */
};

/* On the worker's thread, after zone_take() or pool_take_sole() said ZONE_SHORT. Cannot fail. */
void supply_post(struct supply *supply);
/* On the worker's thread: nobody wants it any more. done() is called soon all the same. */
void supply_cancel(struct supply *supply);

/* ---- the stocker's ---- */

/* Instead of a supply_result: something under way may help, and the stocker is rung when it is over. */
enum {
	SUPPLY_WAIT = -1,      /* in its own zone */
	SUPPLY_WAIT_ROOM = -2, /* in others: they give up what they do not use */
};

/* One try. `may_take_room`: no other supply is before it for what is not its zone's. `is_patient`: it waits
 * until its deadline, and tries again then; ticks count the stocker's. */
int supply_try(struct supply *supply, bool may_take_room, bool is_patient, uint64_t tick);

/* lease.h - struct hp_lease, a handle: what a lease is made of and where it is mapped.
 *
 * A handle is made before it is asked for (lease_new()), gets its runs with their shares from the grant
 * (claim.c), then its memory (lease_map()).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "client/lib/session.h"
#include "client/lib/view.h"

#define LEASE_MAX_RUNS  64 /* that we ask for; more are not expected */
#define LEASE_MAP_FLAGS (HP_READ_ONLY | HP_PRIVATE | HP_POPULATE | HP_LOCK | HP_GUARD)

struct hp_lease {
	/* Constant once it is granted. */
	hp_client *client;
	struct session_pool pool;
	struct view_way way;
	unsigned max_runs;
	uint64_t id; /* 0: not granted */
	/* One that is opened: who has made it and its mode; 0: it is not, or the daemon does not say. */
	uint32_t maker_uid, maker_mode;

	/* Of the thread that uses it. */
	uint8_t *data;
	uint64_t bytes; /* before it is granted: asked for; 0: whatever it has */
	struct arena_run *runs, one_run;
	unsigned n_runs;
	struct view view;
	bool is_apart;         /* it has a view since its arena could not be mapped */
	uint64_t cache_serial; /* of the cache that it is a buffer of; 0: of none */
	unsigned cache_epoch;
	bool idle; /* it lies in the cache */
	bool used; /* it lay there before */

	/* Guarded by the client's lock. */
	TAILQ_ENTRY(hp_lease) link;
	bool linked; /* in the client's list */
};

/* Whole pages of the pool, for that many bytes. -EINVAL with hp_error(): none, or more than there can be. */
int lease_round_up(uint64_t *bytes, const struct session_pool *pool);
/* A handle of nothing yet. NULL: no memory. */
hp_lease *lease_new(hp_client *client, const struct session_pool *pool, uint64_t bytes, unsigned flags);
/* With its mapping and its shares; the lock is held. NULL is fine; takes half-made ones. `mapped`: false in a
 * forked child. Returns NULL. */
hp_lease *lease_free(hp_lease *lease, bool mapped);
/* It has to have a mapping of its own, for its flags or its runs, or since its arena has none. */
bool lease_needs_view(const hp_lease *lease);
/* Give it its memory, from the runs that it has; the lock need not be held unless it is a part of the arena's
 * mapping. 0, or what view_map() says. */
int lease_map(hp_lease *lease);
/* Let go of a mapping of its own; the lock need not be held. */
void lease_unmap(hp_lease *lease);
/* In a forked child: give it the mapping of its own that it has in the parent, at the same addresses. Where
 * its memory was taken back there is nothing but the addresses. 0, or what view_map_again() says. */
int lease_map_again(hp_lease *lease);
/* It has none again, but where it was is known. */
void lease_unmap_again(const hp_lease *lease);
/* End leases of one client, at most as many as it may at once, and free their handles, without waiting for
 * the daemon. -ENOMEM: nothing is done. */
int lease_end_start(hp_lease *const *leases, unsigned n);
/* Put it into its client's list; the lock is held. */
void lease_link(hp_lease *lease);
/* Exchange what two handles are made of, but for their mappings. */
void lease_swap_runs(hp_lease *one, hp_lease *other);

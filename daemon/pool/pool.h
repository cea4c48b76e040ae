/* pool.h - a named policy, and all arenas under it: those of its zones, and the blank ones in its stock.
 *
 * Who does the slow work is handed in as mailboxes: the stocker makes arenas, the scrubber zeroes, the
 * janitor truncates. The pool knows neither threads nor clients.
 *
 * Invariant (pool_check): backed_pages = leased + orphaned + clean + dirty + cached + stock + limbo <=
 * max_pages.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/backing/backing.h"
#include "daemon/base/lock.h"
#include "daemon/base/mailbox.h"
#include "daemon/core/pcache.h"
#include "daemon/pool/pool_config.h"
#include "daemon/pool/zone.h"

#define POOL_MAGIC 0x20010000u
#define POOLS_MAX  64 /* in one daemon */

/* The threads a pool asks for help; constant while any pool lives. */
struct pool_threads {
	struct mailbox *stocker, *scrubber, *janitor;
	struct mailbox **workers;
	unsigned n_workers;
	_Atomic bool stopping; /* no request will come any more: what is dirty is truncated, not scrubbed */
};

struct pool {
	unsigned magic;

	/* constant after pool_new() */
	unsigned index;            /* in the daemon's list, and on the wire */
	struct pool_config config; /* borrowed strings and lists */
	struct backing *backing;
	const struct pool_threads *threads;
	struct pcache_limits cache_limits;
	uint32_t n_slots;

	struct lock lock;
	/* guarded by lock */
	struct zone *zones;
	unsigned n_zones;
	struct arena *_Atomic *arenas; /* by slot; read unlocked by whoever holds pages of that arena */
	uint32_t n_arenas, slot_hint;
	struct arena *stock; /* blank arenas, by their stock_next */
	uint64_t stock_pages;
	uint64_t backed_pages; /* all that the kernel gave and has not back, limbo included */
	uint64_t limbo_pages;  /* of those: being truncated, or pinned by a client */
	unsigned n_releasing;  /* arenas with the janitor */

	/* the stocker's thread only */
	uint64_t retry_reserve_ns;
	uint64_t returned_pages; /* of limbo, and no zone has them in its limbo: their arena is about to be
				    told released */

	_Atomic uint64_t missing_pages; /* what the kernel could not supply when it was last asked */
};

/* Set up a pool without pages. `config` must outlive it. `mount_parent`: see backing.h. Returns 0 or negative
 * errno with a sentence in *ret_error, the caller's to free. */
int pool_new(const struct pool_config *config, unsigned index, const struct pool_threads *threads,
	     const char *mount_parent, struct pool **ret, char **ret_error);
/* With all other threads gone: release every arena, whatever its state, and the backing. NULL is fine. */
struct pool *pool_free(struct pool *pool);

/* Who asks: credentials as the kernel gives them at connect. */
struct peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	unsigned n_groups;
};
bool pool_admits(const struct pool *pool, const struct peer *peer);

/* The zone of this peer's tenant, made when there is none; a reference for the caller. NULL: no memory. */
struct zone *pool_zone_get(struct pool *pool, const struct peer *peer);
/* The zone of a tenant as zone->tenant names it, which must exist (its caller knows of a reference). */
struct zone *pool_zone_find(struct pool *pool, uint32_t tenant);
void pool_zone_ref(struct zone *zone);
void pool_zone_unref(struct zone *zone);

static inline struct arena *pool_arena(const struct pool *pool, uint32_t slot)
{
	return slot < pool->n_slots ? atomic_load_explicit(&pool->arenas[slot], memory_order_acquire) : NULL;
}

/* ---- the stocker's ---- */

enum {
	POOL_NO_STOCK = 3, /* no blank arena that large */
};

/* Make an arena of at least `min_pages`, of the configured size if there is room, and put it into the stock.
 * Returns 0, BACKING_SHORT, -ENOSPC: max does not allow min_pages, or another negative errno. */
int pool_make_arena(struct pool *pool, uint64_t min_pages);
/* The smallest blank arena of at least `n_pages` becomes the zone's: 0, POOL_NO_STOCK or -ENOMEM. */
int pool_move_stock(struct zone *zone, uint64_t n_pages);
/* Fill the stock up to the reserve. Returns 0, BACKING_SHORT or negative errno. */
int pool_fill_reserve(struct pool *pool);

/* Send to the janitor, to be truncated, the zone's arenas that have been empty since `empty_since_ns`;
 * `below_reserve` is for pages that shall serve another zone at once. Returns how many. */
unsigned pool_release_empty(struct pool *pool, struct zone *zone, uint64_t empty_since_ns,
			    bool below_reserve);
/* Ask the kernel which pages in limbo are back. */
void pool_settle_limbo(struct pool *pool);
/* Free zones that nobody uses and that have nothing. */
void pool_free_idle_zones(struct pool *pool);
/* missing_pages, as the kernel's counters are now, or as a failed attempt has shown. */
void pool_refresh_missing(struct pool *pool);
void pool_set_missing(struct pool *pool, uint64_t missing_pages);

/* ---- figures ---- */

struct pool_figures {
	struct zone_figures zones; /* sums */
	uint64_t backed, stock, missing;
	uint64_t arenas, tenants;
};
/* They add up at every instant: backed is the sum of the others, but for missing. */
void pool_get_figures(struct pool *pool, struct pool_figures *ret);

/* Call `visit` for each zone with the pool's and that zone's lock held. */
void pool_for_each_zone(struct pool *pool, void (*visit)(void *arg, struct zone *zone), void *arg);
void pool_check(struct pool *pool);

/* pool.h - a named policy, and all arenas under it: those of its zones, and the blank ones in its stock.
 *
 * pool.c is the policy, the zones and the figures; stock.c makes arenas and hands them to zones; refill.c
 * makes them before they are asked for; release.c lets them go.
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
#include "daemon/base/log.h"
#include "daemon/base/mailbox.h"
#include "daemon/core/pcache.h"
#include "daemon/pool/construction.h"
#include "daemon/pool/pool_config.h"
#include "daemon/pool/pool_set.h"
#include "daemon/pool/zone.h"

#define POOL_MAGIC 0x20010000u

/* What happens to a pool that others may have to know. */
enum pool_signal {
	POOL_PRESSURE, /* somebody could not be served at once */
	POOL_DRAINED,  /* nothing new is leased from it, or from that arena (id; 0: all of it) */
	POOL_RESTORED, /* that is over */
};

/* The threads a pool asks for help; constant while any pool lives. */
struct pool_threads {
	struct mailbox *stocker, *scrubber, *janitor;
	struct mailbox *assistant; /* of the scrubber, or NULL */
	struct mailbox **workers;
	unsigned n_workers;
	const _Atomic bool
		*cancelled;    /* the start shall end: reserves need not be filled any more; or NULL */
	_Atomic bool stopping; /* no request will come any more: what is dirty is truncated, not scrubbed */
	_Atomic unsigned
		*arenas_left; /* that all pools may still make, for want of descriptors; NULL: any number */
	unsigned max_arenas;  /* that all pools may have at any time; 0: any number */
	unsigned max_sole;    /* arenas for one lease each that one zone may have; 0: any number */
	/* Tell whoever wants to know. Any thread, no lock held; NULL: nobody does. */
	void (*signal)(void *arg, const struct pool *pool, enum pool_signal signal, uint64_t arena_id);
	void *signal_arg;
};

/* What requests have made the stocker do, so far: what has a bound is counted, for tests. */
struct pool_work {
	uint64_t n_tries;     /* of supplies */
	uint64_t n_makes;     /* arenas that were begun */
	uint64_t n_slices;    /* of arenas in the making */
	uint64_t n_failures;  /* slices that it did not have */
	uint64_t n_reclaimed; /* arenas let go for a request: empty ones of zones, and blank ones */
	uint64_t n_cuts;      /* blank arenas of which a part was given back */
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
	void *zones_by_tenant; /* a tree of the same */
	unsigned n_zones;
	struct arena *_Atomic *arenas; /* by slot; read unlocked by whoever holds pages of that arena */
	_Atomic uint64_t *arena_ids;   /* by slot; 0: none, or on its way out. Read unlocked by anybody */
	uint32_t n_arenas, slot_hint;
	struct arena *stock;               /* blank arenas, by their stock_next */
	uint64_t stock_pages;              /* and of one in the making */
	uint64_t backed_pages;             /* all that the kernel gave and has not back, limbo included */
	uint64_t limbo_pages;              /* of those: being truncated, or pinned by a client */
	uint64_t returning_pages;          /* of those: with the janitor */
	uint64_t pinned_pages;             /* of those: truncated, and the kernel has them not back */
	uint64_t free_pages, free_seen_ns; /* what pool_free_pages() found last, and when; 0: never */
	uint64_t n_free_looks;             /* at all zones for that, so far */
	bool has_gone;                     /* a zone whose clients are all gone has pinned_pages */
	uint64_t n_posted;                 /* arenas, and parts of them, sent to the janitor, so far */
	struct arena *first_releasing, *last_releasing; /* with the janitor, by their tickets */
	struct release_watch *first_watch, *last_watch; /* by their tickets */

	/* the stocker's thread only */
	struct construction making;
	const struct want *failed_owner; /* what was in the making for it could not be had */
	bool failed_short;               /* since the kernel had no more */
	struct {
		bool is_below;             /* the stock fell to its low watermark, and is not full again */
		uint64_t retry_ns;         /* the kernel was short: not before then */
		uint64_t patient_since_ns; /* limbo is waited for; 0: it is not */
	} refill;
	struct backing_shortage shortage;      /* what the last arena that could not be had lacked */
	uint64_t blocked_round, blocked_pages; /* stocker.c: who waits for room, in this round */
	bool blocked_by_work;                  /* and something under way may help one of them */
	struct zone_drain drain;               /* of all zones: drain.h */
	uint64_t pressure_tick;                /* when whoever listens was told last */
	struct pool_work work;
	uint64_t returned_pages; /* of limbo, and no zone has them in its limbo: their arena is about to be
				    told released */

	_Atomic uint64_t empty_pages;  /* the sum of the zones' */
	_Atomic uint64_t n_released;   /* of n_posted: come back. Written under the lock */
	_Atomic uint64_t n_pieces;     /* of work that the scrubber has handed over, so far */
	_Atomic uint64_t n_cut_slices; /* by which the janitor has truncated files, so far */
	_Atomic uint64_t n_gone; /* arenas that left; sessions compare it with what they told their clients */
	_Atomic unsigned n_waiting;      /* supplies queued */
	_Atomic bool draining;           /* nothing new is leased */
	_Atomic uint64_t missing_pages;  /* of the reserve: neither backed, nor to be had from the kernel */
	_Atomic uint64_t foreign_pages;  /* of its own mount, taken by others: at the last tick */
	_Atomic uint64_t lost_pages;     /* broken by the hardware, so far */
	_Atomic uint64_t left_pages;     /* of a daemon that was killed; its clients have them: the same */
	_Atomic pid_t left_pid;          /* one of those clients */
	_Atomic uint64_t stocked_pages;  /* made ready before they were asked for, so far */
	_Atomic uint64_t scrubbed_pages; /* zeroed by the scrubber, so far */
	_Atomic uint64_t writes_after_free; /* pages of which poison.h had to report one */
	struct log_limit poison_limit;      /* there */
};

/* Set up a pool without pages. `config` must outlive it. `host`: see backing.h. Returns 0 or negative
 * errno with a sentence in *ret_error, the caller's to free. */
int pool_new(const struct pool_config *config, unsigned index, const struct pool_threads *threads,
	     const struct backing_host *host, struct pool **ret, char **ret_error);
/* With all other threads gone: release every arena, whatever its state, and the backing. NULL is fine. */
struct pool *pool_free(struct pool *pool);

/* Who asks: credentials as the kernel gives them at connect, and where they came in. */
struct peer {
	uint32_t socket;  /* which of the daemon's sockets: 0 is the first */
	pid_t pid;        /* 0: of another pid namespace */
	uint64_t process; /* the same for no other process, ever; 0: the kernel does not say */
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	unsigned n_groups;
	bool is_privileged; /* past all that admits or refuses users: as a rule root and the daemon's own user
			     */
};
/* Is one of its groups, primary or supplementary, one of these? */
bool peer_has_group(const struct peer *peer, const gid_t *gids, unsigned n_gids);
bool pool_admits(const struct pool *pool, const struct peer *peer);
/* May this peer, who is admitted, make a name in the namespace that all users share? */
bool pool_lets_name(const struct pool *pool, const struct peer *peer);

#define POOL_TENANT_NAME_MAX 24
/* A zone's tenant for people: "uid 1000", "gid 100", "socket 1" or "pool". Returns `buffer`. */
const char *pool_tenant_name(const struct pool *pool, uint32_t tenant, char *buffer, size_t room);

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
/* Is the arena with this id at this slot, and not on its way out? */
static inline bool pool_has_arena(const struct pool *pool, uint32_t slot, uint64_t arena_id)
{
	return atomic_load_explicit(&pool->arena_ids[slot], memory_order_acquire) == arena_id;
}

/* ---- sole arenas: a run of theirs is all of one ---- */

/* On a worker's thread: from the stock, if there are arenas that make up just what is wanted. 0, or
 * ZONE_SHORT with *ret_runs undefined. */
int pool_take_sole(struct zone *zone, const struct want *want, struct run_list *ret_runs);
/* The lease has ended, whoever maps the file: it goes to the janitor. Any thread. */
void pool_end_sole(struct zone *zone, struct run run);
/* The same of all but the first `n_pages`. */
void pool_trim_sole(struct zone *zone, struct run run, uint64_t n_pages);

/* ---- the operator's; any thread ---- */

enum {
	POOL_NO_ARENA = 4, /* there is none of that id, or it is blank, or on its way out */
};
/* Isolate the arena or undo it; whoever listens is told, if that is news. 0 and whose it is, or
 * POOL_NO_ARENA. */
int pool_isolate_arena(struct pool *pool, uint64_t arena_id, bool isolated, uint32_t *ret_tenant);
/* Condemn it: it goes as soon as nothing is out; ending the leases in it is the caller's, who gets a
 * reference to its zone. 0 or POOL_NO_ARENA. */
int pool_condemn_arena(struct pool *pool, uint64_t arena_id, struct zone **ret_zone, uint32_t *ret_slot);
/* Everything in the condemned arena with this id, at this slot, has been put: it goes now, or, when it is
 * being scrubbed, soon; watch->gone() is called when its file is truncated and its pages are counted as gone,
 * but for those in limbo. 0, or POOL_NO_ARENA: it is gone already, and nobody is called. */
int pool_watch_arena(struct pool *pool, uint32_t slot, uint64_t arena_id, struct arena_watch *watch);

/* Somebody waits until all that the janitor was given so far is truncated and counted as gone. */
struct release_watch {
	struct release_watch *next;
	uint64_t ticket;
	void (*gone)(struct release_watch *watch); /* on the stocker's thread, no lock held */
};
/* False: there is nothing to wait for, and nobody is called. Any thread. */
bool pool_watch_released(struct pool *pool, struct release_watch *watch);
/* Lease nothing new, isolate all arenas, give back the stock; or undo it. Whoever listens is told, if that is
 * news. */
void pool_drain(struct pool *pool, bool draining);

/* ---- the stocker's ---- */

enum {
	POOL_NO_STOCK = 3,      /* no blank arena that large */
	POOL_TOO_MANY_RUNS = 5, /* that is what it would take */
	POOL_MORE = 7,          /* see pool_refill_some() */
	POOL_LATER = 8,         /* the same */
	POOL_MAKING = 9,        /* an arena is in the making for it, or for another request: again in the next
				   step */
	POOL_OVER_QUOTA = 6,    /* the tenant holds as much as it may */
};

/* Make an arena of at least want->n_pages, of the configured size if there is room, and put it into the
 * stock. Returns 0, POOL_MAKING, BACKING_SHORT, -ENOSPC: max does not allow it, or another negative errno. */
int pool_make_arena(struct pool *pool, const struct want *want);
/* A blank arena of at least want->n_pages becomes the zone's: the smallest there is. One that would leave too
 * little for tenants who are still to come is cut, or a smaller one is made, where the reserve and max allow.
 * 0, POOL_NO_STOCK or -ENOMEM. */
int pool_move_stock(struct zone *zone, const struct want *want);
/* Pages that the kernel could supply now, backing_available_pages(), and what limits them. Takes a tenth of a
 * millisecond. */
uint64_t pool_kernel_pages(struct pool *pool, struct backing_shortage *ret_shortage);
/* Arenas for what the zone's clean pages do not make up for, at most as many as runs are wanted: from the
 * stock and from the kernel. 0, or as pool_make_arena() and POOL_NO_STOCK; then nothing has become the
 * zone's. */
int pool_add_arenas(struct zone *zone, const struct want *want);
/* Sole arenas for what is wanted: from the stock, the last one trimmed to the page, and from the kernel. 0;
 * POOL_TOO_MANY_RUNS; POOL_OVER_QUOTA; BACKING_SHORT; or negative errno as above. */
int pool_give_sole(struct zone *zone, const struct want *want, struct run_list *ret_runs);
/* A slice of what the reserve and the stock lack. Returns 0: nothing; POOL_MORE: there is more to do;
 * POOL_LATER: there will be, in some milliseconds; BACKING_SHORT, or negative errno. */
int pool_refill_some(struct pool *pool);
/* All that the reserve lacks. 0, BACKING_SHORT or negative errno; -ECANCELED: the start shall end. */
int pool_fill_reserve(struct pool *pool);
/* Send to the janitor, to be truncated, the zone's arenas that have been empty since `empty_since_ns`, but
 * for what the reserve keeps. Returns how many. */
unsigned pool_release_empty(struct pool *pool, struct zone *zone, uint64_t empty_since_ns);
/* Send to the janitor what makes up for `n_pages` at least, if there is that much, so that the kernel can
 * supply new arenas for what `zone` wants: empty arenas of other zones, then of its own, and blank ones, if a
 * new arena (`in_one`) or a sole one needs that; of its own and blank ones what the reserve does not keep.
 * Returns how many arenas. *ret_scrubbing: more could go if the scrubber were not at work in it; it leaves it
 * next. */
unsigned pool_reclaim(struct zone *zone, const struct want *want, uint64_t n_pages, bool in_one,
		      bool *ret_scrubbing);
/* Somebody could not be served at once: whoever listens may free what it can spare. Once in a tick. */
void pool_signal_pressure(struct pool *pool, uint64_t tick);
/* Let blank arenas go that neither the reserve nor the stock needs: what could not be used after all. */
void pool_release_stock(struct pool *pool);
/* Ask the kernel how many pages in limbo are back. Its counters do not say whose, and nothing else does: a
 * page without a file is in no list, /proc/kpageflags shows the same flags for one that is pinned and one
 * that is free. So a zone is charged for the most that it can still miss: what it left behind, and not more
 * than the whole pool misses. That is exact where one tenant has pages in limbo, and as soon as nothing is in
 * limbo; a zone is never cleared because another's pages came back. Pages that a tenant left whose clients
 * were then all gone are taken for back before those of clients that live: a process that died pins nothing,
 * unless it had left the pin to another that the daemon does not know. */
void pool_settle_limbo(struct pool *pool);
/* At the end, when nothing is out any more: all arenas of all zones go to the janitor. */
void pool_release_all(struct pool *pool);
/* Free zones that nobody uses and that have nothing. */
void pool_free_idle_zones(struct pool *pool);
/* Count missing_pages anew: what the reserve has not got, less what the kernel could supply now. */
void pool_refresh_missing(struct pool *pool);
/* foreign_pages, as the pool's own mount counts them now. */
void pool_refresh_foreign(struct pool *pool);
/* left_pages, as they were found last. The stocker's, and before it is started: the room that it computes
 * stays meanwhile. */
void pool_refresh_left(struct pool *pool);

/* ---- figures ---- */

struct pool_figures {
	struct zone_figures zones; /* sums */
	uint64_t backed, stock, missing;
	uint64_t arenas, tenants;
};
/* Pages below max that are not leased, not in limbo, and not left by a killed daemon, for sentences: where
 * there are many zones, as it was a moment ago, so that who is refused over and over has nobody look at all
 * of them each time. */
uint64_t pool_free_pages(struct pool *pool);
/* They add up at every instant: backed is the sum of the others, but for missing. Looks at each zone. */
void pool_get_figures(struct pool *pool, struct pool_figures *ret);

/* Call `visit` for each zone with the pool's and that zone's lock held. */
void pool_for_each_zone(struct pool *pool, void (*visit)(void *arg, struct zone *zone), void *arg);
void pool_check(struct pool *pool);

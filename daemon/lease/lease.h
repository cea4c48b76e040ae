/* lease.h - leases as records of the ledger with their pages: granting, freeing, ending. The only room where
 * pools and the ledger meet.
 *
 * Everything runs on the worker that owns the session, or the record. Expected outcomes are positive; rpc
 * turns them into what the client reads. What may have to wait for pages is in request.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/lease/session.h"
#include "daemon/ledger/ledger.h"
#include "daemon/ledger/shares.h"

enum lease_result {
	LEASE_OK = 0,
	LEASE_WAIT, /* with the stocker; done() will be called */
	LEASE_NO_POOL,
	LEASE_NOT_ALLOWED, /* the pool, or the named lease, does not admit this peer; or not your lease and no
			      admin */
	LEASE_BAD_SIZE,    /* zero pages, or more than the pool can ever have */
	LEASE_BAD_ALIGN,   /* not a power of two */
	LEASE_OVER_QUOTA,
	LEASE_POOL_FULL,
	LEASE_KERNEL_SHORT,
	LEASE_NAME_TAKEN,
	LEASE_NO_MEMORY,
	LEASE_NEVER, /* there never was such a lease */
	LEASE_NOT_HOLDER,
	LEASE_ENDED,
	LEASE_NO_NAME,   /* nothing of that name can be opened */
	LEASE_BUSY,      /* others hold it too, or it is not this holder's to change */
	LEASE_TIMED_OUT, /* no pages until the deadline */
	LEASE_DRAINING,
	LEASE_NOT_REVOCABLE,
	LEASE_TOO_MANY,      /* the tenant's quota of leases or names */
	LEASE_OTHER_MAKER,   /* the name is another user's than it shall be */
	LEASE_CANCELLED,     /* by its own client, while it waited */
	LEASE_SESSION_ENDED, /* Bye was said, or the holder died, while it waited */
};

/* Where a lease's pages are. */
void lease_get_runs(struct ledger *ledger, const struct lease_record *record, struct share_runs *ret);

unsigned lease_n_runs(struct ledger *ledger, const struct lease_record *record);

/* Whether the zone's quotas of leases and names allow so many more, as far as one can tell before they are
 * entered. Any thread. */
bool lease_may_add(const struct zone *zone, uint32_t n_leases, bool named);

/* What a new lease is, beside its pages. */
struct lease_birth {
	uint64_t request_id;
	uint8_t request_item;
	uint8_t pool;
	uint64_t deadline_ns; /* 0: none */
	bool detached, sole;
	const char *name;                /* "": none */
	const struct share_terms *terms; /* of the name; its tenant, pool and so on are filled in here */
};
/* Enter the lease of these pages, which are out, of session->zones[birth->pool]. LEASE_OK, LEASE_NAME_TAKEN,
 * LEASE_TOO_MANY or LEASE_NO_MEMORY: then the pages are still the caller's. */
enum lease_result lease_enter(struct session *session, const struct lease_birth *birth,
			      const struct run_list *runs, struct lease_record **ret_record);
/* It was not granted after all, no client ever saw it: its pages are free again as they were (`clean`, or
 * not). */
void lease_unenter(struct session *session, struct lease_record *record, bool clean);
/* The pages that were taken for a lease, clean or not, go back untouched. */
void lease_put_back(struct zone *zone, unsigned worker, bool sole, bool clean, const struct run_list *runs);

/* What is to be opened. */
struct lease_opening {
	const char *name;
	bool write;
	const uid_t *maker; /* only if this user has made it; NULL: whoever */
	uid_t made_by;      /* the result, where it was another one */
};
/* Hold a named lease that somebody else has made. LEASE_OK and a record, LEASE_NO_NAME, LEASE_NOT_ALLOWED,
 * LEASE_OTHER_MAKER, LEASE_TOO_MANY, LEASE_DRAINING or LEASE_NO_MEMORY. */
enum lease_result lease_open(struct session *session, uint64_t request_id, struct lease_opening *opening,
			     struct lease_record **ret_record);

/* Give back all but the first `n_pages` of the session's lease. LEASE_OK, LEASE_BUSY, LEASE_ENDED,
 * LEASE_NO_MEMORY. */
enum lease_result lease_trim(struct session *session, struct lease_record *record, uint64_t n_pages);
/* Append pages to it, which are out, of the same zone. LEASE_OK, or LEASE_BUSY, LEASE_ENDED, LEASE_NO_MEMORY:
 * then they are still the caller's. */
enum lease_result lease_append(struct session *session, struct lease_record *record,
			       const struct run_list *runs);
/* May it be trimmed or grown? LEASE_OK, LEASE_BUSY, or LEASE_ENDED: a part of it was evicted. */
enum lease_result lease_may_change(struct session *session, const struct lease_record *record);

/* The lease that an earlier request of the session's has made, or NULL. */
struct lease_record *lease_find_request(const struct session *session, uint64_t request_id);
/* The session's own lease: LEASE_OK and the record, LEASE_ENDED, LEASE_NEVER, or LEASE_NOT_HOLDER. */
enum lease_result lease_find(struct session *session, uint64_t id, struct lease_record **ret_record);

/* The holder frees a lease; `hot`: its pages are likely to be asked for again soon. LEASE_OK (ended before:
 * OK as well), LEASE_NEVER, or LEASE_NOT_HOLDER when it is not this session's: try lease_free_detached() on
 * the worker that owns the record. */
enum lease_result lease_free(struct session *session, uint64_t id, bool hot);
/* Somebody frees a lease that nobody holds. LEASE_NOT_HOLDER with *ret_pid when somebody does;
 * LEASE_NOT_ALLOWED when it is another user's and this one is no admin. */
enum lease_result lease_free_detached(struct shard *shard, const struct peer *peer, bool is_admin,
				      uint64_t id, uint32_t *ret_pid);

/* A lease that is orphaned (lease_state_of()) ends: what is in files of its own is truncated; of other pages
 * it is proven that nobody who had them by this lease can write to them any more. */
void lease_end_orphan(struct shard *shard, struct lease_record *record);

/* The holder is proven dead, or has said goodbye: the lease ends, or lives on detached. */
void lease_holder_gone(struct session *session, struct lease_record *record);

/* The daemon stops: all detached leases of this worker end. */
void lease_end_detached(struct shard *shard);

/* Ending leases against their holders' will: what lies in arenas that were condemned. Rule 2: a living holder
 * may write to its pages as long as the file is not truncated. So pages that are taken out of a lease like
 * this never become free one by one: their arena leaves whole. What the lease has in other arenas it keeps,
 * until its holder lets go. */
enum lease_eviction {
	LEASE_UNTOUCHED, /* it has nothing there */
	LEASE_CUT,       /* it has lost pages, and goes on with the others */
	LEASE_EVICTED,   /* it has lost all, and has ended */
};
/* For each arena. Named leases that have pages there are not opened from now on, nor change: first, and again
 * once a worker's caches are drained. The pages that are left in their shares go last, when every record of
 * every worker has lost them. */
void lease_condemn_shares(struct shard *shard, uint64_t arena);
/* A slice: false when there may be more shares with pages there. */
bool lease_evict_shares(struct shard *shard, struct zone *zone, uint64_t arena, unsigned max_shares);
/* Then, on each worker, every record. `arenas` NULL: wherever its pages are. */
enum lease_eviction lease_evict(struct shard *shard, struct lease_record *record, const uint64_t *arenas,
				unsigned n_arenas);

/* The next lease whose deadline has passed, or NULL; it has no deadline any more. */
struct lease_record *lease_take_due(struct shard *shard, uint64_t now_ns);
/* It has one again: it shall be taken later. */
void lease_put_due(struct shard *shard, struct lease_record *record, uint64_t deadline_ns);

/* What the lease's state is, seen with its session. */
enum lease_state lease_state_of(struct shard *shard, const struct lease_record *record);

/* Whether a lease on these terms can be had with pages of arenas that others share. */
bool lease_needs_sole(const struct pool *pool, bool revocable, bool has_deadline,
		      const struct share_terms *terms);

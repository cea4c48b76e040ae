/* lease.h - granting and ending leases: the only place where pools and the ledger meet.
 *
 * Everything runs on the worker that owns the session, or the record. Expected outcomes are positive; rpc
 * turns them into what the client reads.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/lease/session.h"
#include "daemon/ledger/ledger.h"
#include "daemon/pool/stocker.h"

#define LEASE_MAX_BATCH 256 /* items of one request */

enum lease_result {
	LEASE_OK = 0,
	LEASE_WAIT, /* with the stocker; done() will be called */
	LEASE_NO_POOL,
	LEASE_NOT_ALLOWED, /* the pool does not admit this peer; or not your lease and you are no admin */
	LEASE_BAD_SIZE,    /* zero pages, or more than the pool can ever have */
	LEASE_BAD_ALIGN,   /* not a power of two */
	LEASE_OVER_QUOTA,
	LEASE_POOL_FULL,
	LEASE_KERNEL_SHORT,
	LEASE_NAME_TAKEN,
	LEASE_NO_MEMORY,
	LEASE_NEVER, /* there never was such a lease */
	LEASE_NOT_HOLDER,
	LEASE_SESSION_ENDED, /* Bye was said, or the holder died, while it waited */
};

/* One Alloc on its way: all items are leased, or none. Made by the caller, whose it stays. There is no
 * record, and so nothing that could be freed or end with its holder, before every item has its pages. */
struct lease_alloc {
	/* the request */
	struct session *session;
	uint64_t request_id;
	uint32_t pool;
	uint32_t n_items; /* 1 ... LEASE_MAX_BATCH */
	uint64_t align_pages;
	bool detached;
	char name[LEDGER_NAME_MAX + 1]; /* "": anonymous; else n_items is 1 */
	uint64_t n_pages[LEASE_MAX_BATCH];

	/* the result */
	struct lease_record *records[LEASE_MAX_BATCH];
	uint64_t failed_pages; /* of the item that failed, or waits */

	/* while it waits */
	void (*done)(struct lease_alloc *alloc, enum lease_result result); /* on the session's worker */
	struct lease_alloc *next;
	struct session_zone *zone;
	struct run runs[LEASE_MAX_BATCH];
	uint32_t n_runs; /* taken; the item behind them is next */
	struct supply supply;
};

/* Lease what can be had at once. The arrays need not be cleared beforehand. LEASE_WAIT: nothing is lost, go
 * on with lease_alloc_wait(), with the struct at an address where it can stay. */
enum lease_result lease_alloc_start(struct lease_alloc *alloc);
/* Wait for the rest in the stocker's queue, then call done(). When the session has ended meanwhile, the
 * result is LEASE_SESSION_ENDED and nothing is leased. */
void lease_alloc_wait(struct lease_alloc *alloc);

/* Instead of waiting: give back what was taken already. */
void lease_alloc_unwind(struct lease_alloc *alloc);

/* The items of this request if it was granted before (its reply got lost with the connection): fills
 * alloc->records and returns true. */
bool lease_alloc_find_again(struct lease_alloc *alloc);
/* A request with this id is still waiting. */
bool lease_alloc_is_waiting(const struct session *session, uint64_t request_id);

/* The holder frees a lease. LEASE_OK (ended before: OK as well), LEASE_NEVER, or LEASE_NOT_HOLDER when it is
 * not this session's: try lease_free_detached() on the worker that owns the record. */
enum lease_result lease_free(struct session *session, uint64_t id);
/* Somebody frees a lease that nobody holds. LEASE_NOT_HOLDER with *ret_pid when somebody does;
 * LEASE_NOT_ALLOWED when it is another user's and this one is no admin. */
enum lease_result lease_free_detached(struct shard *shard, const struct peer *peer, bool is_admin,
				      uint64_t id, uint32_t *ret_pid);

/* The holder is proven dead, or has said goodbye: the lease ends, or lives on detached. */
void lease_holder_gone(struct session *session, struct lease_record *record);

/* The daemon stops: all detached leases of this worker end. */
void lease_end_detached(struct shard *shard);

/* What the lease's state is, seen with its session. */
enum lease_state lease_state_of(struct shard *shard, const struct lease_record *record);

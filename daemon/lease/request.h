/* request.h - what a client asks for that may have to wait for pages: new leases, and longer ones.
 *
 * A request is made by its caller, on the stack as long as it is answered at once. One that waits is a copy
 * of no more than it needs, charged to its user (account.h) and in its session's list, until done() is called
 * on the session's worker.
 */
#pragma once

#include "daemon/lease/lease.h"
#include "daemon/pool/stocker.h"

#define LEASE_MAX_BATCH 256  /* items of one request */
#define LEASE_MAX_RUNS  1024 /* runs that one request's leases may be made of, all together */

/* What both kinds have in common. */
struct lease_request {
	struct session *session;
	uint64_t request_id;
	struct session_zone *zone;
	struct lease_request *next; /* the session's list */
	/* Of one that is kept: */
	void *kept; /* all of it, malloc'ed */
	size_t kept_bytes;
	struct account *account; /* that is charged, a reference */
	/* On the session's worker: here are the pages (LEASE_OK), or why not. */
	void (*supplied)(struct lease_request *request, enum lease_result result);
	struct supply supply;
};

/* A request with this id is still waiting. */
bool lease_request_is_waiting(const struct session *session, uint64_t request_id);
/* Nobody wants what this request asks for, or has got: if it waits it is called off, and done() soon; the
 * leases that it has made or opened end. */
void lease_request_cancel(struct session *session, uint64_t request_id);
/* The session ends: what waits is called off, and done() soon. */
void lease_requests_cancel(struct session *session);

/* What waits here for more gives back what it has of condemned arenas. For an operator's eviction only: it
 * looks at each session. */
void lease_requests_let_go(struct shard *shard);

/* ---- new leases: all items, or none. There is no record, and so nothing that could be freed or end with its
 * holder, before every item has its pages ---- */

struct lease_item {
	uint64_t n_pages;            /* asked for */
	struct lease_record *record; /* the result */
	uint16_t n_runs;             /* that it has got so far */
};

struct lease_alloc {
	struct lease_request request; /* session and request_id are the caller's to set */

	/* the caller's */
	uint32_t pool;
	uint32_t n_items; /* 1 ... LEASE_MAX_BATCH */
	struct want want; /* but for n_pages and sole */
	bool detached, revocable;
	uint64_t wait_ms, lifetime_ms; /* 0: not at all; for ever */
	char name[SHARE_NAME_MAX + 1]; /* "": anonymous; else n_items is 1 */
	struct share_terms terms;      /* of the name: mode and access */
	void (*done)(struct lease_alloc *alloc, enum lease_result result);

	/* the result */
	uint64_t failed_pages; /* of the item that failed, or waits */

	/* what was taken so far */
	uint64_t deadline_ns; /* of waiting */
	uint32_t n_taken;     /* items; the one behind them is next */
	uint32_t n_runs;
	bool starts_again; /* the item that it waits for is not the next any more */

	/* Last, for one that waits has no more than n_items of them, and right behind these its runs. */
	struct lease_item items[LEASE_MAX_BATCH];
	struct run runs_room[LEASE_MAX_RUNS];
};

/* What was taken so far, item by item. */
static inline struct run *lease_alloc_runs(struct lease_alloc *alloc)
{
	return (struct run *)&alloc->items[alloc->n_items];
}

/* Pages of all items. What is past 2^64 is cut off: then each of them has been refused. */
uint64_t lease_alloc_pages(const struct lease_alloc *alloc);

/* Lease what can be had at once. The arrays need not be cleared beforehand. LEASE_WAIT: nothing is lost, go
 * on with lease_alloc_wait(). */
enum lease_result lease_alloc_start(struct lease_alloc *alloc);
/* A copy that can wait, with room for its items and their runs, behind `head_bytes` that are the caller's,
 * charged to the session's user. *ret (a pointer) is the head. Returns 0, an account's refusal (of
 * *ret_kind), or -ENOMEM: then nothing has changed. */
int lease_alloc_keep(const struct lease_alloc *alloc, size_t head_bytes, void *ret,
		     enum account_kind *ret_kind);
/* Its end, after done(), and that of the head. */
void lease_alloc_release(struct lease_alloc *alloc);
/* Wait for the rest in the stocker's queue, then call done(). When the session has ended meanwhile, the
 * result is LEASE_SESSION_ENDED and nothing is leased. */
void lease_alloc_wait(struct lease_alloc *alloc);
/* Instead of waiting: give back what was taken already. */
void lease_alloc_unwind(struct lease_alloc *alloc);
/* The items of this request if it was granted before (its reply got lost with the connection): fills
 * the items' records and returns true. Where some have been evicted meanwhile, the others end, and it is as
 * if nothing had been granted. */
bool lease_alloc_find_again(struct lease_alloc *alloc);

/* ---- a lease of another length ---- */

struct lease_resize {
	struct lease_request request;

	/* the caller's */
	uint64_t id, n_pages; /* that it shall have */
	unsigned max_runs;
	uint64_t wait_ms;
	void (*done)(struct lease_resize *resize, enum lease_result result);

	uint64_t deadline_ns; /* of waiting */

	/* the result */
	struct lease_record *record;
	uint32_t pool;         /* for the answer; the lease may be gone */
	uint64_t failed_pages; /* that were lacking */
};

/* As lease_alloc_start() and so on. */
enum lease_result lease_resize_start(struct lease_resize *resize);
int lease_resize_keep(const struct lease_resize *resize, size_t head_bytes, void *ret,
		      enum account_kind *ret_kind);
void lease_resize_release(struct lease_resize *resize);
void lease_resize_wait(struct lease_resize *resize);

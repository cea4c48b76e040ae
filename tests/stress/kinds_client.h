/* kinds_client.h - one client process that leases in every way there is, and what all of them share.
 *
 * A client makes random lease operations of all kinds with libhugepool until it is killed or has done its
 * part. Its random stream follows from seed, seat and life alone. What it finds wrong it prints, and exits
 * with 1.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define KINDS_SEATS     8
#define KINDS_TENANTS   4 /* the first seats, and the others are theirs too */
#define KINDS_MAX_POOLS 5
#define KINDS_N_NAMES   1 /* of each uid and sort */

struct kinds_pool {
	const char *name;
	uint64_t page_bytes;
	unsigned weight;    /* how often it is asked, among all weights */
	unsigned max_pages; /* of one lease */
	unsigned max_batch; /* leases */
	bool is_common;     /* all tenants are one to it */
	bool is_evicted;    /* any lease may end at any time */
	bool is_sole;       /* no lease shares a file with another, and any may be revoked */
};

/* What clients and operator have done; the first are operations, from KINDS_REFUSED on they are counted
 * apart. */
enum kinds_count {
	KINDS_ALLOC,
	KINDS_BATCH,
	KINDS_HOT,
	KINDS_OPEN,
	KINDS_RESIZE,
	KINDS_DUP,
	KINDS_LOOK,
	KINDS_FREE,
	KINDS_FREE_BATCH,
	KINDS_FREE_ID,
	KINDS_FREE_NAME,
	KINDS_FREE_OTHERS,
	KINDS_FREE_LEFT,
	KINDS_FORGET,
	KINDS_START,
	KINDS_CUT,
	KINDS_DISPATCH,
	KINDS_BREAK,
	KINDS_BREAK_LATER,
	KINDS_REOPEN,
	KINDS_REFUSED, /* any of the above */
	KINDS_ENDED,   /* leases that were found gone */
	KINDS_TOLD_REVOKED,
	KINDS_TOLD, /* of others */
	KINDS_REVOKED,
	KINDS_EVICTED,
	KINDS_ISOLATED,
	KINDS_DRAINED,
	KINDS_N_COUNTS,
};

/* In memory that all processes share; constant after the first fork, but for what is atomic. */
struct kinds {
	uint64_t seed;
	const char *socket;
	struct kinds_pool pools[KINDS_MAX_POOLS];
	unsigned n_pools;
	uid_t uids[KINDS_SEATS];
	_Atomic uint64_t n_operations[KINDS_SEATS];
	_Atomic uint64_t n_of[KINDS_N_COUNTS];
	_Atomic uint64_t shown_lease[KINDS_SEATS]; /* the seat's client held it a moment ago */
	_Atomic bool is_over;                      /* for the operator */
};

struct kinds_part {
	struct kinds *kinds;
	unsigned seat, life;
	uint64_t n_until; /* the seat's operations; UINT64_MAX: until it is killed */
};

/* For raw_fork(): `arg` is a struct kinds_part. */
void kinds_client_run(void *arg);

/* For raw_fork(): an operator who takes memory back, until is_over. `arg` is the struct kinds. */
void kinds_operator_run(void *arg);

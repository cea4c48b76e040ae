/* soak_client.h - one client process of a soak, and what the processes of a soak share.
 *
 * A client makes random lease operations with libhugepool until it is killed or has done its part. Its random
 * stream follows from seed, seat and life alone. What it finds wrong it prints, and exits with 1.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define SOAK_SEATS      8
#define SOAK_MAX_POOLS  3
#define SOAK_SHELF_ROOM 512
#define SOAK_MAX_NAME   32

struct soak_pool {
	const char *name;
	uint64_t page_bytes;
	unsigned weight;    /* how often it is asked, among all weights */
	unsigned max_pages; /* of one lease */
	unsigned max_batch; /* leases */
};

/* What a client does; the operations of each kind are counted. */
enum soak_kind {
	SOAK_ALLOC,
	SOAK_ALLOC_BATCH,
	SOAK_REFUSED, /* an alloc, for want of pages or because the name is taken */
	SOAK_FREE,
	SOAK_FREE_BATCH,
	SOAK_FREE_ID,
	SOAK_FREE_NAME,
	SOAK_FREE_TWICE,
	SOAK_FREE_ABANDONED,
	SOAK_FREE_OTHERS,
	SOAK_FORGET,
	SOAK_HOT,
	SOAK_BREAK,
	SOAK_BREAK_LATER,
	SOAK_REOPEN,
	SOAK_N_KINDS,
};

/* Whose a detached lease on the shelf is; else the pid of its holder, or of who is freeing it. */
#define SOAK_SLOT_EMPTY  0
#define SOAK_SLOT_NOBODY 1

/* A detached lease. Changed by the process that is its holder; what follows `holder` is valid when that is
 * NOBODY. */
struct soak_detached {
	_Atomic uint32_t holder;
	uid_t uid;
	_Atomic uint64_t lease; /* 0: not granted yet */
	bool is_shaken;         /* a holder was killed: perhaps it is freed already */
	char name[SOAK_MAX_NAME];
};

/* In memory that all processes share; constant after the first fork, but for what is atomic and the shelf. */
struct soak {
	uint64_t seed;
	const char *socket;
	struct soak_pool pools[SOAK_MAX_POOLS];
	unsigned n_pools;
	uid_t uids[SOAK_SEATS]; /* 0: that of the test */
	_Atomic uint64_t n_operations[SOAK_SEATS];
	_Atomic uint64_t n_of_kind[SOAK_N_KINDS];
	_Atomic uint64_t shown_lease[SOAK_SEATS]; /* the seat's client held it a moment ago; not detached */
	struct soak_detached shelf[SOAK_SHELF_ROOM];
};

struct soak_part {
	struct soak *soak;
	unsigned seat, life;
	uint64_t n_until; /* the seat's operations; UINT64_MAX: until it is killed */
};

/* For raw_fork(): `arg` is a struct soak_part. */
void soak_client_run(void *arg);

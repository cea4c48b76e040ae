/* ledger.h - the lease records, and the ids by which everybody names them.
 *
 * A lease of several runs is a chain of records: the first is the lease, the others are parts of it, each a
 * run.
 *
 * Records are plain data without pointers, in chunks; each chunk belongs to one worker, which alone touches
 * its records, so that a lease is entered and struck out without a lock. An id is a record's slot (24 bits)
 * and its generation (39 bits): it is never used twice; a slot whose generations are used up is retired.
 * Knows neither sessions nor pools: their numbers are just fields here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LEDGER_SLOT_BITS   24
#define LEDGER_CHUNK_SLOTS 1024u
#define LEDGER_NIL         UINT32_MAX /* no slot */

/* Every state a lease can be in; the legal moves are in lease_state.h. */
enum lease_state {
	LEASE_NONE,     /* the record is free */
	LEASE_LEASED,   /* its holder is connected */
	LEASE_ORPHANED, /* its holder is alive and not connected */
	LEASE_DETACHED, /* its holder has died, and it was made to live on */
	LEASE_PART,     /* not a lease: one more run of one */
};

struct lease_record {
	uint64_t id;          /* of the lease; of the last one when free */
	uint64_t session;     /* 0: nobody holds it */
	uint64_t address;     /* of its first run, or the part's, see pool/run.h */
	uint64_t n_pages;     /* there */
	uint64_t arena;       /* there: id */
	uint64_t lease_pages; /* in all runs */
	uint64_t request_id;  /* of the request that made it: to answer the same one again */
	uint64_t granted_ns;
	uint64_t deadline_ns;            /* it ends by itself then; 0: it does not */
	uint64_t share;                  /* shares.h: id of the lease that made it; 0: it has no name */
	uint32_t prev, next;             /* slots: the session's list, or the worker's free list */
	uint32_t more;                   /* slot of the part with the next run; LEDGER_NIL */
	uint32_t due;                    /* deadlines.h: place among those that have a deadline */
	uint32_t asked_prev, asked_next; /* request_index.h: slots, the chain of its bucket */
	uint32_t tenant;                 /* of the zone that is charged for the pages */
	uint32_t uid, pid;               /* of who made it */
	uint8_t request_item;            /* which of the request's items it is */
	uint8_t pool;                    /* index */
	uint8_t state : 3;               /* enum lease_state */
	bool detached : 1;               /* shall live on when the holder dies */
	bool sole : 1;                   /* its arenas are nobody else's */
	bool opened : 1;                 /* somebody else's named lease: that one is charged */
	bool read_only : 1;              /* opened for reading */
	bool cut : 1;                    /* some of its pages were evicted */
	bool is_indexed : 1;             /* in request_index.h */
};

struct ledger;

/* `max_leases` bounds the memory. NULL: no memory. */
struct ledger *ledger_new(unsigned n_workers, uint64_t max_leases);
struct ledger *ledger_free(struct ledger *ledger);

/* A record with a new id for this worker, LEASE_NONE, all else zero. NULL: no memory, or max_leases reached.
 */
struct lease_record *ledger_take(struct ledger *ledger, unsigned worker);
/* Its id ends here. The state must be LEASE_NONE. */
void ledger_put(struct ledger *ledger, unsigned worker, struct lease_record *record);

enum {
	LEDGER_NEVER = 1, /* there never was such an id */
	LEDGER_ENDED = 2, /* it has ended */
};
/* Which worker may look at this id's record. Any thread. Returns 0 or LEDGER_NEVER. */
int ledger_owner(const struct ledger *ledger, uint64_t id, unsigned *ret_worker);
/* On that worker's thread: 0 and the record, LEDGER_NEVER or LEDGER_ENDED. */
int ledger_find(struct ledger *ledger, uint64_t id, struct lease_record **ret_record);

/* The record of a slot, on its owner's thread: for the lists. */
struct lease_record *ledger_at(struct ledger *ledger, uint32_t slot);
static inline uint32_t ledger_slot(uint64_t id)
{
	return (uint32_t)id & ((1u << LEDGER_SLOT_BITS) - 1);
}

/* Chunks, to list all records chunk by chunk, each on its owner's thread. Returns the owner, or -1 past the
 * last. */
int ledger_chunk_owner(const struct ledger *ledger, uint32_t chunk);

struct shares;
/* The named leases. */
struct shares *ledger_shares(const struct ledger *ledger);

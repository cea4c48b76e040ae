/* ledger.h - the lease records, and the ids by which everybody names them.
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
};

struct lease_record {
	uint64_t id;      /* of the lease; of the last one when free */
	uint64_t session; /* 0: nobody holds it */
	uint64_t address; /* run, see pool/run.h */
	uint64_t n_pages;
	uint64_t arena;      /* id */
	uint64_t request_id; /* of the Alloc that made it, and which of its items: to answer the same request
				again */
	uint64_t granted_ns;
	uint32_t prev, next; /* slots: the session's list, or the worker's free list */
	uint32_t tenant;     /* the zone's */
	uint32_t uid, pid;   /* of who made it */
	uint16_t request_item;
	uint16_t pool; /* index */
	uint8_t state; /* enum lease_state */
	bool detached; /* shall live on when the holder dies */
	bool named;
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

/* Names, any thread. */
enum {
	LEDGER_NAME_TAKEN = 1,
};
#define LEDGER_NAME_MAX 255
/* Returns 0, LEDGER_NAME_TAKEN or -ENOMEM. */
int ledger_name_take(struct ledger *ledger, const char *name, uint64_t id);
/* The id, or 0. */
uint64_t ledger_name_find(struct ledger *ledger, const char *name);
/* Copies the name of a named lease into `name` of LEDGER_NAME_MAX + 1 bytes; empty when it has none. */
void ledger_name_of(struct ledger *ledger, uint64_t id, char *name);
void ledger_name_drop(struct ledger *ledger, uint64_t id);

/* ledger.c - see ledger.h. */
#include <config.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/assert.h"
#include "daemon/base/lock.h"
#include "daemon/ledger/ledger.h"
#include "daemon/ledger/shares.h"

#define N_CHUNKS       ((1u << LEDGER_SLOT_BITS) / LEDGER_CHUNK_SLOTS)
#define MAX_GENERATION ((UINT64_C(1) << 39) - 1) /* ids stay below 2^63: JSON's integers are signed */

struct chunk {
	unsigned worker; /* constant: who owns the records */
	struct lease_record records[LEDGER_CHUNK_SLOTS];
};

struct ledger_worker {
	uint32_t free_slots; /* head of the list */
} __attribute__((aligned(64)));

struct ledger {
	struct lock lock;
	uint32_t n_chunks_max;     /* constant */
	_Atomic uint32_t n_chunks; /* written under lock */
	struct chunk *_Atomic *chunks;
	struct shares *shares; /* constant */
	struct ledger_worker workers[];
};

struct ledger *ledger_new(unsigned n_workers, uint64_t max_leases)
{
	size_t bytes = sizeof(struct ledger) + n_workers * sizeof(struct ledger_worker);
	uint64_t n_chunks = (max_leases + LEDGER_CHUNK_SLOTS - 1) / LEDGER_CHUNK_SLOTS + n_workers;
	struct ledger *ledger;
	void *memory;

	if (posix_memalign(&memory, 64, bytes) != 0)
		return NULL;
	ledger = memset(memory, 0, bytes);
	ledger->n_chunks_max = n_chunks < N_CHUNKS ? (uint32_t)n_chunks : N_CHUNKS;
	ledger->chunks = calloc(ledger->n_chunks_max, sizeof(*ledger->chunks));
	ledger->shares = shares_new();
	lock_init(&ledger->lock, LOCK_LEDGER);
	for (unsigned i = 0; i < n_workers; i++)
		ledger->workers[i].free_slots = LEDGER_NIL;
	if (!ledger->chunks || !ledger->shares)
		return ledger_free(ledger);
	return ledger;
}

struct ledger *ledger_free(struct ledger *ledger)
{
	if (!ledger)
		return NULL;
	for (uint32_t i = 0; i < ledger->n_chunks; i++)
		free(ledger->chunks[i]);
	free(ledger->chunks);
	shares_free(ledger->shares);
	lock_fini(&ledger->lock);
	free(ledger);
	return NULL;
}

static struct chunk *chunk_at(const struct ledger *ledger, uint32_t index)
{
	return index < ledger->n_chunks_max
		       ? atomic_load_explicit(&ledger->chunks[index], memory_order_acquire)
		       : NULL;
}

struct lease_record *ledger_at(struct ledger *ledger, uint32_t slot)
{
	return &chunk_at(ledger, slot / LEDGER_CHUNK_SLOTS)->records[slot % LEDGER_CHUNK_SLOTS];
}

static void chain_free(struct ledger *ledger, unsigned worker, struct lease_record *record)
{
	record->next = ledger->workers[worker].free_slots;
	ledger->workers[worker].free_slots = ledger_slot(record->id);
}

/* A new chunk for the worker, its slots chained so that the lowest comes first. */
static bool add_chunk(struct ledger *ledger, unsigned worker)
{
	struct chunk *chunk = calloc(1, sizeof(*chunk));
	uint32_t index;

	if (!chunk)
		return false;
	chunk->worker = worker;
	lock_take(&ledger->lock);
	index = ledger->n_chunks;
	if (index < ledger->n_chunks_max) {
		atomic_store_explicit(&ledger->chunks[index], chunk, memory_order_release);
		atomic_store(&ledger->n_chunks, index + 1);
	}
	lock_drop(&ledger->lock);
	if (index >= ledger->n_chunks_max) {
		free(chunk);
		return false;
	}
	for (uint32_t i = LEDGER_CHUNK_SLOTS; i-- > 0;) {
		chunk->records[i].id = index * LEDGER_CHUNK_SLOTS + i;
		chain_free(ledger, worker, &chunk->records[i]);
	}
	return true;
}

struct lease_record *ledger_take(struct ledger *ledger, unsigned worker)
{
	struct ledger_worker *mine = &ledger->workers[worker];
	struct lease_record *record;
	uint64_t id;

	if (mine->free_slots == LEDGER_NIL && !add_chunk(ledger, worker))
		return NULL;
	record = ledger_at(ledger, mine->free_slots);
	mine->free_slots = record->next;
	id = record->id + (UINT64_C(1) << LEDGER_SLOT_BITS);
	*record = (struct lease_record){.id = id, .prev = LEDGER_NIL, .next = LEDGER_NIL, .more = LEDGER_NIL};
	return record;
}

void ledger_put(struct ledger *ledger, unsigned worker, struct lease_record *record)
{
	hp_assert(record->state == LEASE_NONE);
	if (record->id >> LEDGER_SLOT_BITS < MAX_GENERATION)
		chain_free(ledger, worker, record);
}

int ledger_owner(const struct ledger *ledger, uint64_t id, unsigned *ret_worker)
{
	struct chunk *chunk = chunk_at(ledger, ledger_slot(id) / LEDGER_CHUNK_SLOTS);

	if (!chunk || id >> LEDGER_SLOT_BITS == 0)
		return LEDGER_NEVER;
	*ret_worker = chunk->worker;
	return 0;
}

int ledger_find(struct ledger *ledger, uint64_t id, struct lease_record **ret_record)
{
	struct chunk *chunk = chunk_at(ledger, ledger_slot(id) / LEDGER_CHUNK_SLOTS);
	struct lease_record *record;

	if (!chunk)
		return LEDGER_NEVER;
	record = &chunk->records[ledger_slot(id) % LEDGER_CHUNK_SLOTS];
	if (id >> LEDGER_SLOT_BITS == 0 || id > record->id)
		return LEDGER_NEVER;
	/* No client was told of it. */
	if (id == record->id && record->state == LEASE_PART)
		return LEDGER_NEVER;
	if (id < record->id || record->state == LEASE_NONE)
		return LEDGER_ENDED;
	*ret_record = record;
	return 0;
}

int ledger_chunk_owner(const struct ledger *ledger, uint32_t index)
{
	struct chunk *chunk = chunk_at(ledger, index);

	return chunk ? (int)chunk->worker : -1;
}

struct shares *ledger_shares(const struct ledger *ledger)
{
	return ledger->shares;
}

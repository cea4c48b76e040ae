/* request_index.c - a hash table by linear hashing, see request_index.h. */
#include <config.h>

#include "daemon/lease/request_index.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/random.h>

#define FIRST_BUCKETS 64

/* splitmix64's finish: every bit of the sum counts in every bit of the result. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

/* The power of two that covers all buckets. */
static uint32_t covering(uint32_t n_buckets)
{
	return n_buckets <= 1 ? 1 : UINT32_C(1) << (32 - __builtin_clz(n_buckets - 1));
}

static uint32_t bucket_of(const struct request_index *index, uint64_t session, uint64_t request_id)
{
	const uint64_t hash = mix(mix(session ^ index->seed) + request_id);
	const uint32_t all = covering(index->n_buckets), bucket = (uint32_t)hash & (all - 1);

	return bucket < index->n_buckets ? bucket : bucket & (all / 2 - 1);
}

static bool is_same(const struct lease_record *record, uint64_t session, uint64_t request_id)
{
	return record->session == session && record->request_id == request_id;
}

static struct lease_record *at(struct ledger *ledger, uint32_t slot)
{
	return slot == LEDGER_NIL ? NULL : ledger_at(ledger, slot);
}

int request_index_init(struct request_index *index)
{
	if (index->heads)
		return 0;
	if (getrandom(&index->seed, sizeof(index->seed), 0) != sizeof(index->seed))
		return -ENOMEM;
	index->heads = malloc(FIRST_BUCKETS * sizeof(*index->heads));
	if (!index->heads)
		return -ENOMEM;
	index->n_buckets = index->room = FIRST_BUCKETS;
	for (uint32_t i = 0; i < FIRST_BUCKETS; i++)
		index->heads[i] = LEDGER_NIL;
	return 0;
}

void request_index_fini(struct request_index *index)
{
	free(index->heads);
	*index = (struct request_index){0};
}

static void push(struct request_index *index, struct ledger *ledger, uint32_t bucket,
		 struct lease_record *record)
{
	const uint32_t slot = ledger_slot(record->id);
	struct lease_record *next = at(ledger, index->heads[bucket]);

	record->asked_prev = LEDGER_NIL;
	record->asked_next = index->heads[bucket];
	if (next)
		next->asked_prev = slot;
	index->heads[bucket] = slot;
	record->is_indexed = true;
}

static void take_out(struct request_index *index, struct ledger *ledger, uint32_t bucket,
		     struct lease_record *record)
{
	struct lease_record *prev = at(ledger, record->asked_prev), *next = at(ledger, record->asked_next);

	if (prev)
		prev->asked_next = record->asked_next;
	else
		index->heads[bucket] = record->asked_next;
	if (next)
		next->asked_prev = record->asked_prev;
	record->is_indexed = false;
}

/* One bucket more, with its share of the records of another. Without memory the chains become longer. */
static void grow(struct request_index *index, struct ledger *ledger)
{
	uint32_t from = index->n_buckets - covering(index->n_buckets + 1) / 2;

	if (index->n_buckets == index->room) {
		uint32_t *heads =
			index->room <= UINT32_MAX / 2
				? reallocarray(index->heads, 2 * (size_t)index->room, sizeof(*heads))
				: NULL;

		if (!heads)
			return;
		index->heads = heads;
		index->room *= 2;
	}
	index->heads[index->n_buckets++] = LEDGER_NIL;
	for (struct lease_record *record = at(ledger, index->heads[from]), *next; record; record = next) {
		const uint32_t to = bucket_of(index, record->session, record->request_id);

		next = at(ledger, record->asked_next);
		index->n_visited++;
		if (to == from)
			continue;
		take_out(index, ledger, from, record);
		push(index, ledger, to, record);
	}
}

struct lease_record *request_index_find(struct request_index *index, struct ledger *ledger, uint64_t session,
					uint64_t request_id)
{
	struct lease_record *record;

	if (!index->heads)
		return NULL;
	record = at(ledger, index->heads[bucket_of(index, session, request_id)]);
	for (; record && !is_same(record, session, request_id); record = at(ledger, record->asked_next))
		index->n_visited++;
	return record;
}

struct lease_record *request_index_next(struct request_index *index, struct ledger *ledger,
					const struct lease_record *record)
{
	struct lease_record *next = at(ledger, record->asked_next);

	index->n_visited++;
	return next && is_same(next, record->session, record->request_id) ? next : NULL;
}

/* What an earlier request of that id has made is not found any more. */
static void forget_earlier(struct request_index *index, struct ledger *ledger,
			   const struct lease_record *record)
{
	struct lease_record *old = request_index_find(index, ledger, record->session, record->request_id),
			    *next;

	if (!old || old->request_item == record->request_item + 1)
		return; /* it is of the same request */
	for (; old; old = next) {
		next = request_index_next(index, ledger, old);
		request_index_remove(index, ledger, old);
	}
}

void request_index_add(struct request_index *index, struct ledger *ledger, struct lease_record *record)
{
	forget_earlier(index, ledger, record);
	if (index->n_records++ >= index->n_buckets)
		grow(index, ledger);
	push(index, ledger, bucket_of(index, record->session, record->request_id), record);
}

void request_index_remove(struct request_index *index, struct ledger *ledger, struct lease_record *record)
{
	if (!record->is_indexed)
		return;
	take_out(index, ledger, bucket_of(index, record->session, record->request_id), record);
	index->n_records--;
}

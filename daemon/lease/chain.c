/* chain.c - see chain.h. */
#include <config.h>

#include "daemon/lease/chain.h"

#include <errno.h>

#include "daemon/lease/lease_state.h"

static struct lease_record *next_part(struct ledger *ledger, const struct lease_record *record)
{
	return record->more == LEDGER_NIL ? NULL : ledger_at(ledger, record->more);
}

void chain_get(struct ledger *ledger, const struct lease_record *record, struct share_runs *ret)
{
	ret->list.n = 0;
	for (; record && record->n_pages > 0; record = next_part(ledger, record)) {
		ret->arenas[ret->list.n] = record->arena;
		ret->list.runs[ret->list.n++] =
			(struct run){.address = record->address, .n_pages = record->n_pages};
	}
}

unsigned chain_n_runs(struct ledger *ledger, const struct lease_record *record)
{
	unsigned n = 0;

	for (; record && record->n_pages > 0; record = next_part(ledger, record))
		n++;
	return n;
}

/* Put the parts behind this record back. */
static void cut_behind(struct ledger *ledger, unsigned worker, struct lease_record *record)
{
	uint32_t slot = record->more;

	record->more = LEDGER_NIL;
	while (slot != LEDGER_NIL) {
		struct lease_record *part = ledger_at(ledger, slot);

		slot = part->more;
		lease_move(part, LEASE_NONE);
		ledger_put(ledger, worker, part);
	}
}

/* Have `n` more parts at the end; all or none. */
static int lengthen(struct ledger *ledger, unsigned worker, struct lease_record *last, unsigned n)
{
	struct lease_record *end = last;

	for (; n > 0; n--) {
		struct lease_record *part = ledger_take(ledger, worker);

		if (!part) {
			cut_behind(ledger, worker, last);
			return -ENOMEM;
		}
		lease_move(part, LEASE_PART);
		part->pool = last->pool;
		end->more = ledger_slot(part->id);
		end = part;
	}
	return 0;
}

int chain_reserve(struct ledger *ledger, unsigned worker, struct lease_record *record, unsigned n_runs)
{
	struct lease_record *last = record;
	unsigned n_records = 1;

	for (; next_part(ledger, last); last = next_part(ledger, last))
		n_records++;
	return n_runs > n_records ? lengthen(ledger, worker, last, n_runs - n_records) : 0;
}

void chain_set(struct ledger *ledger, unsigned worker, struct lease_record *record,
	       const struct share_runs *runs)
{
	struct lease_record *part = record;

	record->lease_pages = record->n_pages = 0;
	for (unsigned i = 0; i < runs->list.n; i++) {
		part = i == 0 ? record : next_part(ledger, part);
		part->address = runs->list.runs[i].address;
		part->n_pages = runs->list.runs[i].n_pages;
		part->arena = runs->arenas[i];
		record->lease_pages += part->n_pages;
	}
	cut_behind(ledger, worker, part);
}

/* deadlines.c - a binary heap, see deadlines.h. */
#include <config.h>

#include "daemon/lease/deadlines.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/assert.h"

static uint64_t deadline_at(const struct deadlines *deadlines, struct ledger *ledger, uint32_t place)
{
	return ledger_at(ledger, deadlines->slots[place])->deadline_ns;
}

static void set(struct deadlines *deadlines, struct ledger *ledger, uint32_t place, uint32_t slot)
{
	deadlines->slots[place] = slot;
	ledger_at(ledger, slot)->due = place;
}

static void swap(struct deadlines *deadlines, struct ledger *ledger, uint32_t a, uint32_t b)
{
	const uint32_t slot = deadlines->slots[a];

	set(deadlines, ledger, a, deadlines->slots[b]);
	set(deadlines, ledger, b, slot);
}

static void rise(struct deadlines *deadlines, struct ledger *ledger, uint32_t place)
{
	while (place > 0 &&
	       deadline_at(deadlines, ledger, place) < deadline_at(deadlines, ledger, (place - 1) / 2)) {
		swap(deadlines, ledger, place, (place - 1) / 2);
		place = (place - 1) / 2;
	}
}

static void sink(struct deadlines *deadlines, struct ledger *ledger, uint32_t place)
{
	for (;;) {
		uint32_t child = 2 * place + 1;

		if (child >= deadlines->n)
			return;
		if (child + 1 < deadlines->n &&
		    deadline_at(deadlines, ledger, child + 1) < deadline_at(deadlines, ledger, child))
			child++;
		if (deadline_at(deadlines, ledger, place) <= deadline_at(deadlines, ledger, child))
			return;
		swap(deadlines, ledger, place, child);
		place = child;
	}
}

int deadlines_add(struct deadlines *deadlines, struct ledger *ledger, struct lease_record *record)
{
	if (deadlines->n == deadlines->room) {
		uint32_t room = deadlines->room ? 2 * deadlines->room : 64;
		uint32_t *slots = reallocarray(deadlines->slots, room, sizeof(*slots));

		if (!slots)
			return -ENOMEM;
		deadlines->slots = slots;
		deadlines->room = room;
	}
	set(deadlines, ledger, deadlines->n, ledger_slot(record->id));
	rise(deadlines, ledger, deadlines->n++);
	return 0;
}

void deadlines_remove(struct deadlines *deadlines, struct ledger *ledger, struct lease_record *record)
{
	const uint32_t place = record->due;

	hp_assert(place < deadlines->n && deadlines->slots[place] == ledger_slot(record->id));
	deadlines->n--;
	if (place == deadlines->n)
		return;
	set(deadlines, ledger, place, deadlines->slots[deadlines->n]);
	rise(deadlines, ledger, place);
	sink(deadlines, ledger, place);
}

struct lease_record *deadlines_first(const struct deadlines *deadlines, struct ledger *ledger)
{
	return deadlines->n > 0 ? ledger_at(ledger, deadlines->slots[0]) : NULL;
}

void deadlines_fini(struct deadlines *deadlines)
{
	free(deadlines->slots);
	*deadlines = (struct deadlines){0};
}

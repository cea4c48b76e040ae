/* deadlines.h - the leases of one worker that end by themselves: a heap of record slots, the earliest on top.
 *
 * A record knows its place in the heap (lease_record.due), so leaving it early costs no search. This worker
 * only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/ledger/ledger.h"

struct deadlines {
	uint32_t *slots;
	uint32_t n, room;
};

/* -ENOMEM: not entered. */
int deadlines_add(struct deadlines *deadlines, struct ledger *ledger, struct lease_record *record);
void deadlines_remove(struct deadlines *deadlines, struct ledger *ledger, struct lease_record *record);
/* The record whose deadline is the earliest; NULL: none has one. */
struct lease_record *deadlines_first(const struct deadlines *deadlines, struct ledger *ledger);
void deadlines_fini(struct deadlines *deadlines);

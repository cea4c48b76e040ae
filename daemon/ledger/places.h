/* places.h - in which arenas the pages of named leases lie: an index from an arena to the leases that have
 * runs there, so that what ends with an arena is found without a look at any other lease.
 *
 * Serialised by the caller: the lock of shares.c. Invariant: an arena is in the index as long as a run lies
 * there; each run of each list is in the chain of its arena.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/ledger/shares.h"

struct place;

/* The arenas, by id. All zero: empty. */
struct place_index {
	void *arenas;       /* a tree */
	uint64_t n_visited; /* places that were looked at so far */
};

/* The runs of one lease. All zero: none. */
struct places {
	struct place *list;
	unsigned n;
};

/* The lease has these runs now; `owner` is what places_first_owner() returns. -ENOMEM: nothing has changed.
 */
int places_set(struct place_index *index, struct places *places, void *owner, const struct share_runs *runs);
void places_clear(struct place_index *index, struct places *places);
void places_get(const struct places *places, struct share_runs *ret);

/* An arena is evicted: does one of the runs lie in such a one? */
void places_condemn(struct place_index *index, uint64_t arena);
bool places_are_condemned(const struct places *places);

/* The owner of some run in this arena; NULL: there is none. */
void *places_first_owner(struct place_index *index, uint64_t arena);
/* Take the runs that lie in this arena out of the lease. */
void places_take(struct place_index *index, struct places *places, uint64_t arena, struct run_list *ret_runs);

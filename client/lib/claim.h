/* claim.h - from a request for memory to handles that have it.
 *
 * Alloc, Open and Resize are answered with grants. What a grant says is checked before it becomes a pointer;
 * arenas whose descriptors did not come along are asked for; and what was granted and cannot be used is given
 * back, before whoever asked is told why.
 */
#pragma once

#include <stdint.h>

#include "client/lib/call.h"
#include "client/lib/lease.h"

enum claim_phase {
	CLAIM_ASKED,
	CLAIM_MISSES_ARENA, /* and has asked for it */
	CLAIM_GIVES_BACK,
};

struct claim {
	struct call call; /* first */

	/* The owner's. */
	hp_lease **leases; /* one a grant; the owner's until they are linked, when the call has succeeded */
	unsigned n_leases;
	uint64_t *ids;          /* room for one a lease */
	uint64_t back_to_pages; /* what a lease that is resized had; 0: leases are new */

	/* claim.c's. */
	const Hugepool__Request *asked;
	enum claim_phase phase;
	uint64_t asked_id; /* of the request that was answered, when something else is asked */
	uint64_t asked_arena;
	struct error reason; /* for giving back */
	Hugepool__Request follow_up;
	union {
		Hugepool__Arena arena;
		Hugepool__Free free;
		Hugepool__Resize resize;
	} message;
};

/* A claim by this request, an Alloc, Open or Resize, for call_run() or call_start(). When the call is done
 * without failure every handle has its id, its runs with a share in each arena and its bytes; those without a
 * view of their own are mapped, and new ones are linked. A thread that does not wait for the answer withdraws
 * it: what is granted all the same ends, or has its old length. */
void claim_init(struct claim *claim, Hugepool__Request *request, hp_lease **leases, unsigned n_leases,
		uint64_t *ids);
/* Mapping what was granted has failed with this error: let the call be run or started once more, which gives
 * it back and then fails for that reason. */
void claim_give_back(struct claim *claim, int error);

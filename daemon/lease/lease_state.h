/* lease_state.h - the moves between the states of a lease (enum lease_state), all of them.
 *
 * The leases of one session go from leased to orphaned and back together, so that state is the session's
 * (session_set_connected()); a record says LEASE_LEASED for both, and lease_state_of() tells them apart.
 *
 *     none -> leased               granted
 *     leased -> orphaned           the connection is gone, the holder lives: charged, never reused
 *     orphaned -> leased           the holder is back
 *     leased, orphaned -> none     the holder freed it, said goodbye or has died: the pages are dirty
 *     leased, orphaned -> detached the same, when the lease was made to live on
 *     detached -> none             its owner or an admin freed it
 *     none -> part -> none         not a lease, one more run of one: with that
 */
#pragma once

#include "daemon/base/assert.h"
#include "daemon/ledger/ledger.h"

static inline bool lease_may_move(enum lease_state from, enum lease_state to)
{
	static const unsigned moves[] = {
		[LEASE_NONE] = 1u << LEASE_LEASED | 1u << LEASE_PART,
		[LEASE_LEASED] = 1u << LEASE_ORPHANED | 1u << LEASE_NONE | 1u << LEASE_DETACHED,
		[LEASE_ORPHANED] = 1u << LEASE_LEASED | 1u << LEASE_NONE | 1u << LEASE_DETACHED,
		[LEASE_DETACHED] = 1u << LEASE_NONE,
		[LEASE_PART] = 1u << LEASE_NONE,
	};

	return moves[from] & 1u << to;
}

static inline void lease_move(struct lease_record *record, enum lease_state to)
{
	hp_assert(lease_may_move((enum lease_state)record->state, to));
	record->state = (uint8_t)to;
}

static inline const char *lease_state_name(enum lease_state state)
{
	static const char *const names[] = {"none", "leased", "orphaned", "detached", "part"};

	return names[state];
}

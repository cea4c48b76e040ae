/* audit.h - the checker of rules 1 and 2: every page is in exactly one state, and in at most one lease.
 *
 * Walks all pools, caches and records, and asserts. Nobody else may be at work: tests call it between steps,
 * the daemon when its threads are gone.
 */
#pragma once

#include "daemon/ledger/ledger.h"
#include "daemon/pool/pool.h"

/* Returns how many pages are leased (orphaned and detached ones included). */
uint64_t audit_walk(struct pool *const *pools, unsigned n_pools, struct ledger *ledger);

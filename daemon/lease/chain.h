/* chain.h - a lease's runs in the ledger: the first in the lease's own record, each other in a part's.
 *
 * Runs on the worker that owns the records. Knows nothing of whose pages they are.
 */
#pragma once

#include "daemon/ledger/ledger.h"
#include "daemon/ledger/shares.h"

void chain_get(struct ledger *ledger, const struct lease_record *record, struct share_runs *ret);
/* Have records for `n_runs` runs, so that chain_set() cannot fail. -ENOMEM: nothing has changed. */
int chain_reserve(struct ledger *ledger, unsigned worker, struct lease_record *record, unsigned n_runs);
/* Make the chain what the runs say; lease_pages follows. There are as many records. */
void chain_set(struct ledger *ledger, unsigned worker, struct lease_record *record,
	       const struct share_runs *runs);
unsigned chain_n_runs(struct ledger *ledger, const struct lease_record *record);

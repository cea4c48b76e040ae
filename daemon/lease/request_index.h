/* request_index.h - by which request a lease was granted: one worker's leases, by session and request id.
 *
 * A client whose connection broke asks again for what was not answered; this finds what the request has made
 * already, however many leases there are. A client should use an id once; if it does not, only the last
 * request of that id is found. A hash table of record slots, chained through the records; it grows by a
 * bucket at a time, so that no client waits for that. This worker only.
 *
 * Invariant: the records of one request, 256 at most, are neighbours in their chain, and no others in it have
 * their session and id.
 */
#pragma once

#include <stdint.h>

#include "daemon/ledger/ledger.h"

struct request_index {
	uint32_t *heads;          /* slots, one for each bucket */
	uint32_t n_buckets, room; /* in use; that there is memory for */
	uint32_t n_records;
	uint64_t seed;      /* nobody outside can choose ids that meet in one bucket */
	uint64_t n_visited; /* records that were looked at so far */
};

/* Ready for records; does nothing when it is. 0 or -ENOMEM. */
int request_index_init(struct request_index *index);
void request_index_fini(struct request_index *index);

/* By record->session, request_id and request_item; the items of one request are added last first. */
void request_index_add(struct request_index *index, struct ledger *ledger, struct lease_record *record);
/* Does nothing when it is not in there. */
void request_index_remove(struct request_index *index, struct ledger *ledger, struct lease_record *record);

/* Some record of this request, and the next of the same; NULL: there is none, or no more. */
struct lease_record *request_index_find(struct request_index *index, struct ledger *ledger, uint64_t session,
					uint64_t request_id);
struct lease_record *request_index_next(struct request_index *index, struct ledger *ledger,
					const struct lease_record *record);

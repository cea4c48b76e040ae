/* orphans.h - Free of orphaned leases: their holder lives, but has left them without a word, by exec(), say.
 *
 * Their owner, or an admin, can end them. What has files of its own is truncated, whoever maps it. What
 * shares an arena with other leases of its tenant is reused page by page, so that takes a proof
 * (backing/holders.h): every process that maps the arena or holds it open has a session that is connected and
 * was given that arena by us. Such a process may write to the whole arena anyway, and the library in it knows
 * what is its. A process of which an orphaned lease is, or a child of one, is no such process.
 *
 * A worker call (errand.h): to the records, to all sessions, to the closer's thread, which looks at /proc and
 * may be held up there by whoever blocks that, and to the records again, which may have changed.
 */
#pragma once

#include "daemon/rpc/connection.h"

/* Answers the request, which is a Free. `unused`: nothing is truncated under somebody either; all need the
 * proof. At most LEASE_MAX_BATCH ids. */
void orphans_free(struct connection *connection, uint64_t request_id, const uint64_t *ids, size_t n_ids,
		  bool unused);

/* outcome.h - what a lease result is on the wire: a code, a sentence that says what to do, and the numbers.
 */
#pragma once

#include "daemon/lease/request.h"
#include "daemon/rpc/connection.h"

/* Can a lease be called that? False: no, and that is answered. */
bool outcome_check_name(struct connection *connection, uint64_t request_id, const char *name);

/* Queue the error for an Alloc that failed. */
void outcome_reply_alloc(struct connection *connection, const struct lease_alloc *alloc,
			 enum lease_result result);

/* The same for a Resize, and for an Open of that name. */
void outcome_reply_resize(struct connection *connection, const struct lease_resize *resize,
			  enum lease_result result);
void outcome_reply_open(struct connection *connection, uint64_t request_id,
			const struct lease_opening *opening, enum lease_result result);

/* Fill *error for a Free that failed; `message` has room for OUTCOME_MESSAGE_MAX. `pid` is the holder's,
 * which is not connected if the lease is orphaned. */
#define OUTCOME_MESSAGE_MAX 160
void outcome_fill_free(Hugepool__Error *error, char *message, enum lease_result result, uint64_t lease,
		       uint32_t pid, bool is_orphaned);

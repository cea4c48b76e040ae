/* grants.h - replies that grant leases, and the descriptors of the arenas they lie in.
 *
 * Only one descriptor goes with a reply, so that those in flight are never more than connections; the client
 * asks for the others by Arena.
 */
#pragma once

#include "daemon/lease/lease.h"
#include "daemon/rpc/connection.h"

/* Reply to Alloc with `n` leases, to Open or Resize (as `result` says) with one. */
void grants_reply(struct connection *connection, uint64_t request_id, Hugepool__Reply__ResultCase result,
		  struct lease_record *const *records, uint32_t n);

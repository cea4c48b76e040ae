/* eviction.h - ending leases against their holders' will, on all workers: errands that take their pages out
 * of the leases and tell the holders. Rule 2 is in lease.h.
 *
 * What an operator does to an arena goes through every record of every worker. What clients cause, deadlines
 * and revocations, goes from holder to holder of that lease only. All of it is done in slices.
 */
#pragma once

#include "daemon/lease/lease.h"
#include "daemon/rpc/errand.h"
#include "daemon/rpc/event.h"

/* All pages of a sole lease without a name, which nobody else has: at once. On the worker of its record. */
void eviction_of_unnamed(struct server *server, struct lease_record *record);
/* A slice of the holders of a named lease, for which shares_begin_eviction() was called. Returns the worker
 * that has the next one's record, or ERRAND_HOME: all have lost it. `events` are of those that have, and told
 * when its memory is gone. */
int eviction_of_holders(struct server *here, uint64_t share, struct late_event **events);
/* One arena of the zone, of which the caller gives away a reference; it is condemned. Answers the request,
 * which is an Evict, when the arena is gone; when it cannot be done as well, and then it is to be asked for
 * again. */
void eviction_of_arena(struct server *server, struct zone *consume_zone, uint64_t arena, uint32_t slot,
		       struct connection *connection, uint64_t request_id);
/* A slice of this server's leases whose deadline has passed. Returns whether there may be more. */
bool eviction_of_due(struct server *server);

/* eviction.h - ending leases against their holders' will, on all workers: errands that take their pages out
 * of the leases and tell the holders. Rule 2 is in lease.h.
 *
 * What an operator does to an arena goes through every record of every worker. What clients cause, deadlines
 * and revocations, goes from holder to holder of that lease only. All of it is done in slices.
 */
#pragma once

#include "daemon/lease/lease.h"
#include "daemon/rpc/errand.h"

/* All arenas of a sole lease, on the worker that owns its record; whoever else holds it loses it too. Nobody
 * waits for it; asked for again while it is under way, it is the same one. -ENOMEM: nothing has happened. */
int eviction_of_lease(struct server *server, struct lease_record *record);
/* One arena of the zone, of which the caller gives away a reference; it is condemned. Answers the request,
 * which is an Evict: when it cannot be done as well, and then it is to be asked for again. */
void eviction_of_arena(struct server *server, struct zone *consume_zone, uint64_t arena,
		       struct connection *connection, uint64_t request_id);
/* A slice of this server's leases whose deadline has passed. Returns whether there may be more. */
bool eviction_of_due(struct server *server);

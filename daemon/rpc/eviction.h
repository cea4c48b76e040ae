/* eviction.h - ending leases against their holders' will, on all workers: an errand that takes the pages of
 * condemned arenas out of every lease, tells the holders, and comes home with how many have ended. Rule 2 is
 * in lease.h.
 */
#pragma once

#include "daemon/lease/lease.h"
#include "daemon/rpc/errand.h"

/* All arenas of a sole lease, on the worker that owns its record; whoever else holds it loses it too. Nobody
 * waits for it; asked for again while it is under way, it is the same one. -ENOMEM: nothing has happened. */
int eviction_of_lease(struct server *server, struct lease_record *record);
/* One arena of the zone, of which the caller gives away a reference; it is condemned. Answers the request,
 * which is an Evict. */
int eviction_of_arena(struct server *server, struct zone *consume_zone, uint64_t arena,
		      struct connection *connection, uint64_t request_id);
/* Leases of this server whose deadline has passed. */
void eviction_of_due(struct server *server);

/* eviction.c - see eviction.h. Goes through the ledger in slices, so that no client waits long for its turn.
 */
#include <config.h>

#include "daemon/rpc/eviction.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/rpc/event.h"

#define SLICE_CHUNKS 4 /* of the ledger: 4096 records, about 0.1 ms */

struct eviction {
	struct errand errand;
	struct zone *zone; /* a reference */
	unsigned n_arenas;
	uint64_t arenas[RUN_LIST_MAX];
	uint32_t cursor; /* chunk of the ledger where the visited worker goes on */
	uint64_t n_ended;
};

/* This worker's caches may hold runs of the arenas, which must not be granted any more. */
static void drain_cache(struct shard *shard, struct zone *zone)
{
	lock_take(&zone->lock);
	zone_drain_locked(zone, shard->index);
	lock_drop(&zone->lock);
}

static void condemn_shares(const struct eviction *eviction, struct shard *shard)
{
	for (unsigned i = 0; i < eviction->n_arenas; i++)
		lease_condemn_shares(shard, eviction->arenas[i]);
}

static void evict_shares(const struct eviction *eviction, struct shard *shard)
{
	for (unsigned i = 0; i < eviction->n_arenas; i++)
		lease_evict_shares(shard, eviction->zone, eviction->arenas[i]);
}

static void evict_record(struct eviction *eviction, struct shard *shard, struct lease_record *record)
{
	struct session *session = record->session ? session_find(shard, record->session) : NULL;
	const uint64_t id = record->id;
	enum lease_eviction outcome = lease_evict(shard, record, eviction->arenas, eviction->n_arenas);

	if (outcome == LEASE_UNTOUCHED)
		return;
	eviction->n_ended += outcome == LEASE_EVICTED;
	if (session)
		event_send(session, HUGEPOOL__EVENT_KIND__REVOKED, eviction->zone->pool, id, 0);
}

/* A slice of this worker's records. Returns true when there is more. */
static bool evict_slice(struct eviction *eviction, struct shard *shard)
{
	unsigned n_left = SLICE_CHUNKS;
	int owner;

	for (; (owner = ledger_chunk_owner(shard->ledger, eviction->cursor)) >= 0; eviction->cursor++) {
		if (owner != (int)shard->index)
			continue;
		if (n_left-- == 0)
			return true;
		for (uint32_t i = 0; i < LEDGER_CHUNK_SLOTS; i++) {
			struct lease_record *record =
				ledger_at(shard->ledger, eviction->cursor * LEDGER_CHUNK_SLOTS + i);

			if (record->state != LEASE_NONE && record->state != LEASE_PART &&
			    record->pool == eviction->zone->pool->index)
				evict_record(eviction, shard, record);
		}
	}
	return false;
}

static int visit(struct errand *errand, struct server *here)
{
	struct eviction *eviction = (struct eviction *)errand;
	unsigned index = here->shard.index;

	if (eviction->cursor == 0) {
		drain_cache(&here->shard, eviction->zone);
		/* From its cache it may have granted a named one since. */
		condemn_shares(eviction, &here->shard);
	}
	if (evict_slice(eviction, &here->shard))
		return (int)index;
	eviction->cursor = 0;
	if (index + 1 < errand->service->n_servers)
		return (int)index + 1;
	evict_shares(eviction, &here->shard);
	return ERRAND_HOME;
}

static void answer(struct errand *errand, struct connection *connection)
{
	struct eviction *eviction = (struct eviction *)errand;
	Hugepool__EvictReply evict = HUGEPOOL__EVICT_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	reply.id = errand->request_id;
	evict.leases = eviction->n_ended;
	reply.result_case = HUGEPOOL__REPLY__RESULT_EVICT;
	reply.evict = &evict;
	if (connection)
		connection_reply(connection, &reply, NULL, 0);
	pool_zone_unref(eviction->zone);
	free(eviction);
}

/* Named leases are closed first; then every worker's records lose the pages; at last nobody has them, and
 * they go. A worker that was not visited yet may so go on with what its records say. */
static void send_off(struct server *server, struct eviction *eviction, struct connection *connection,
		     uint64_t request_id)
{
	eviction->errand.visit = visit;
	eviction->errand.answer = answer;
	condemn_shares(eviction, &server->shard);
	errand_send(&eviction->errand, server, connection, request_id, 0);
}

int eviction_of_lease(struct server *server, struct lease_record *record)
{
	struct pool *pool = server->shard.pools[record->pool];
	struct eviction *eviction;
	struct share_runs runs;

	if (record->leaving)
		return 0;
	eviction = calloc(1, sizeof(*eviction));
	if (!eviction)
		return -ENOMEM;
	eviction->zone = pool_zone_find(pool, record->tenant);
	pool_zone_ref(eviction->zone);
	lease_get_runs(server->shard.ledger, record, &runs);
	eviction->n_arenas = runs.list.n;
	memcpy(eviction->arenas, runs.arenas, runs.list.n * sizeof(runs.arenas[0]));
	for (unsigned i = 0; i < runs.list.n; i++)
		zone_condemn_run(eviction->zone, runs.list.runs[i]);
	if (record->share) {
		record->leaving = true;
		send_off(server, eviction, NULL, 0);
		return 0;
	}
	/* Without a name nobody else has it. */
	evict_record(eviction, &server->shard, record);
	pool_zone_unref(eviction->zone);
	free(eviction);
	return 0;
}

int eviction_of_arena(struct server *server, struct zone *consume_zone, uint64_t arena,
		      struct connection *connection, uint64_t request_id)
{
	struct eviction *eviction = calloc(1, sizeof(*eviction));

	if (!eviction) {
		pool_zone_unref(consume_zone);
		return -ENOMEM;
	}
	eviction->zone = consume_zone;
	eviction->n_arenas = 1;
	eviction->arenas[0] = arena;
	send_off(server, eviction, connection, request_id);
	return 0;
}

void eviction_of_due(struct server *server)
{
	struct lease_record *record;

	while ((record = lease_take_due(&server->shard, clock_now_ns()))) {
		if (eviction_of_lease(server, record) == 0)
			continue;
		log_limited(LOG_LEVEL_ERROR, "no memory to end a lease at its deadline: trying again");
		lease_put_due(&server->shard, record, clock_now_ns() + NS_PER_S);
		return;
	}
}

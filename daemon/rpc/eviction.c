/* eviction.c - see eviction.h. Goes through the ledger in slices, so that no client waits long for its turn.
 */
#include <config.h>

#include "daemon/rpc/eviction.h"

#include <errno.h>
#include <stddef.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/lease/request.h"
#include "daemon/rpc/event.h"

#define SLICE_CHUNKS 4  /* of the ledger: 4096 records, about 0.1 ms */
#define SLICE_SHARES 64 /* named leases whose pages are put */
#define SLICE_RUNS   64 /* of leases that end, each a file of its own: as much work as that */

/* ---- of an arena, by an operator ---- */

struct eviction {
	struct errand errand; /* first */
	struct arena_watch watch;
	struct zone *zone; /* a reference */
	uint64_t arena;
	uint32_t slot;   /* of the arena in its pool */
	uint32_t cursor; /* chunk of the ledger where the visited worker goes on */
	bool is_walked;  /* by all workers */
	uint64_t n_ended;
	struct late_event *events; /* to be told when the arena is gone */
};

/* This worker's caches may hold runs of the arenas, which must not be granted any more. */
static void drain_cache(struct shard *shard, struct zone *zone)
{
	lock_take(&zone->lock);
	zone_drain_locked(zone, shard->index);
	lock_drop(&zone->lock);
}

/* `arenas`: NULL for all of its pages. Its holder is to be told when they are gone. */
static enum lease_eviction evict_record(struct shard *shard, struct lease_record *record,
					const uint64_t *arenas, unsigned n_arenas, struct late_event **events)
{
	struct session *session = record->session ? session_find(shard, record->session) : NULL;
	struct pool *pool = shard->pools[record->pool];
	const uint64_t id = record->id;
	enum lease_eviction outcome = lease_evict(shard, record, arenas, n_arenas);

	if (outcome != LEASE_UNTOUCHED && session)
		event_hold(events, session, HUGEPOOL__EVENT_KIND__REVOKED, pool, id);
	return outcome;
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
				eviction->n_ended += evict_record(shard, record, &eviction->arena, 1,
								  &eviction->events) == LEASE_EVICTED;
		}
	}
	return false;
}

/* On the stocker's thread. */
static void arena_gone(struct arena_watch *watch)
{
	struct eviction *eviction = (struct eviction *)((char *)watch - offsetof(struct eviction, watch));

	event_post_all(&eviction->events);
	errand_resume(&eviction->errand, ERRAND_HOME);
}

/* From here on the errand may be at home already. */
static int await_end(struct eviction *eviction)
{
	eviction->watch.gone = arena_gone;
	return pool_watch_arena(eviction->zone->pool, eviction->slot, eviction->arena, &eviction->watch) == 0
		       ? ERRAND_AWAY
		       : ERRAND_HOME;
}

/* Every worker's records first; then what shares still have there, of which nobody has the record any more;
 * at last the arena goes, and the answer is given when it is gone. */
static int visit(struct errand *errand, struct server *here)
{
	struct eviction *eviction = (struct eviction *)errand;
	unsigned index = here->shard.index;

	if (!eviction->is_walked && eviction->cursor == 0) {
		drain_cache(&here->shard, eviction->zone);
		lease_requests_let_go(&here->shard);
		/* From its cache it may have granted a named one since. */
		lease_condemn_shares(&here->shard, eviction->arena);
	}
	if (!eviction->is_walked && evict_slice(eviction, &here->shard))
		return (int)index;
	eviction->cursor = 0;
	if (!eviction->is_walked && index + 1 < errand->service->n_servers)
		return (int)index + 1;
	eviction->is_walked = true;
	if (!lease_evict_shares(&here->shard, eviction->zone, eviction->arena, SLICE_SHARES))
		return (int)index;
	return await_end(eviction);
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
	event_post_all(&eviction->events);
	if (connection)
		connection_reply(connection, &reply, NULL, 0);
	pool_zone_unref(eviction->zone);
	errand_free(errand);
}

/* Named leases are closed first; then every worker's records lose the pages; at last nobody has them, and
 * they go. A worker that was not visited yet may so go on with what its records say. */
void eviction_of_arena(struct server *server, struct zone *consume_zone, uint64_t arena, uint32_t slot,
		       struct connection *connection, uint64_t request_id)
{
	struct eviction *eviction = errand_new(sizeof(*eviction), connection, request_id);

	if (!eviction) {
		pool_zone_unref(consume_zone);
		return;
	}
	eviction->zone = consume_zone;
	eviction->arena = arena;
	eviction->slot = slot;
	eviction->errand.visit = visit;
	eviction->errand.answer = answer;
	lease_condemn_shares(&server->shard, arena);
	errand_send(&eviction->errand, server, connection, request_id, 0);
}

/* ---- of a lease in files of its own ---- */

/* From one holder of a named lease to the next, wherever their records are. */
struct share_eviction {
	struct errand errand;
	uint64_t share;
	struct late_event *events;
};

int eviction_of_holders(struct server *here, uint64_t share, struct late_event **events)
{
	struct ledger *ledger = here->shard.ledger;

	for (unsigned n_left = SLICE_RUNS; n_left > 0; n_left--) {
		uint64_t holder = shares_some_holder(ledger_shares(ledger), share);
		struct lease_record *record;
		unsigned worker;

		if (holder == 0) {
			event_post_all_released(events);
			return ERRAND_HOME;
		}
		hp_assert(ledger_owner(ledger, holder, &worker) == 0);
		if (worker != here->shard.index)
			return (int)worker;
		hp_assert(ledger_find(ledger, holder, &record) == 0);
		evict_record(&here->shard, record, NULL, 0, events);
	}
	return (int)here->shard.index;
}

static int visit_holders(struct errand *errand, struct server *here)
{
	struct share_eviction *eviction = (struct share_eviction *)errand;

	return eviction_of_holders(here, eviction->share, &eviction->events);
}

static void answer_nobody(struct errand *errand, struct connection *connection)
{
	errand_free(errand);
}

static int evict_share(struct server *server, uint64_t share)
{
	struct shares *shares = ledger_shares(server->shard.ledger);
	struct late_event *events = NULL;
	struct share_eviction *eviction;

	if (!shares_begin_eviction(shares, share))
		return 0;
	/* Most have no holder but the one whose time is over. */
	if (!shares_has_others(shares, share) && eviction_of_holders(server, share, &events) == ERRAND_HOME)
		return 0;
	eviction = errand_new(sizeof(*eviction), NULL, 0);
	if (!eviction) {
		shares_undo_eviction(shares, share);
		return -ENOMEM;
	}
	eviction->share = share;
	eviction->errand.visit = visit_holders;
	eviction->errand.answer = answer_nobody;
	errand_send(&eviction->errand, server, NULL, 0, server->shard.index);
	return 0;
}

void eviction_of_unnamed(struct server *server, struct lease_record *record)
{
	struct late_event *events = NULL;

	evict_record(&server->shard, record, NULL, 0, &events);
	event_post_all_released(&events);
}

static int eviction_of_lease(struct server *server, struct lease_record *record)
{
	if (record->share)
		return evict_share(server, record->share);
	eviction_of_unnamed(server, record);
	return 0;
}

bool eviction_of_due(struct server *server)
{
	unsigned n_left = SLICE_RUNS;
	struct lease_record *record;

	while (n_left > 0 && (record = lease_take_due(&server->shard, clock_now_ns()))) {
		const unsigned n_runs = lease_n_runs(server->shard.ledger, record);

		if (eviction_of_lease(server, record) < 0) {
			log_limited(LOG_LEVEL_ERROR,
				    "no memory to end a lease at its deadline: trying again");
			lease_put_due(&server->shard, record, clock_now_ns() + NS_PER_S);
			return false;
		}
		n_left -= n_runs < n_left ? n_runs : n_left;
	}
	return n_left == 0;
}

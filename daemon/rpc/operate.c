/* operate.c - what operators do to leases, arenas and pools: Revoke, Evict, Isolate, Restore, Drain. */
#include <config.h>

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/rpc/admin_log.h"
#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/errand.h"
#include "daemon/rpc/eviction.h"
#include "daemon/rpc/peer.h"

static void reply_empty(struct connection *connection, uint64_t request_id, Hugepool__Reply *reply)
{
	reply->id = request_id;
	connection_reply(connection, reply, NULL, 0);
}

static enum dispatch_result refuse_pool(struct connection *connection, uint64_t request_id, const char *name)
{
	char shown[TEXT_SHOWN_MAX];

	connection_error(connection, request_id, HUGEPOOL__CODE__NO_POOL, "there is no pool \"%s\"",
			 text_show(name, shown));
	return DISPATCH_DONE;
}

static enum dispatch_result refuse_arena(struct connection *connection, uint64_t request_id, uint64_t arena)
{
	connection_error(connection, request_id, HUGEPOOL__CODE__NO_ARENA,
			 "no tenant has an arena %" PRIu64 ": buddyinfo lists them", arena);
	return DISPATCH_DONE;
}

/* ---- Revoke: on the worker that has the record ---- */

struct revoke_errand {
	struct errand errand; /* first */
	struct release_watch watch;
	bool is_ended;            /* what is left is to wait until these pools have nothing of it any more: */
	unsigned pool, end_pools; /* indexes: the next, and the one behind the last */
	uint64_t lease;
	uint64_t share; /* whose holders are losing it; 0: it did not come to that */
	struct late_event *events;
	struct peer peer; /* without its groups */
	bool is_admin;
	Hugepool__Code code;
};

static void revoke_record(struct revoke_errand *job, struct server *here, struct lease_record *record)
{
	log_lease_action(&job->peer, "revokes lease", job->lease, record->uid,
			 here->shard.pools[record->pool]->config.name);
	job->pool = record->pool;
	job->end_pools = job->pool + 1;
	job->share = record->share;
	/* A deadline may have begun with it already. */
	if (job->share != 0)
		shares_begin_eviction(ledger_shares(here->shard.ledger), job->share);
	else
		eviction_of_unnamed(here, record);
}

/* On the worker that has the record. */
static void begin_revoke(struct revoke_errand *job, struct server *here)
{
	struct lease_record *record;
	int r = ledger_find(here->shard.ledger, job->lease, &record);

	if (r == LEDGER_NEVER)
		job->code = HUGEPOOL__CODE__NO_LEASE;
	else if (r == LEDGER_ENDED)
		/* Maybe not long ago. */
		job->end_pools = here->shard.n_pools;
	else if ((record->uid != job->peer.uid || record->opened) && !job->is_admin)
		/* Who has opened a lease has no say over its maker's pages. */
		job->code = HUGEPOOL__CODE__NOT_ALLOWED;
	else if (!record->sole)
		job->code = HUGEPOOL__CODE__BUSY;
	else
		revoke_record(job, here, record);
}

/* On the stocker's thread. */
static void pages_released(struct release_watch *watch)
{
	struct revoke_errand *job =
		(struct revoke_errand *)((char *)watch - offsetof(struct revoke_errand, watch));

	errand_resume(&job->errand, (int)job->errand.at);
}

/* Until its memory is gone. From when somebody is asked to call, the errand may be elsewhere. */
static int await_release(struct revoke_errand *job, struct server *here)
{
	job->is_ended = true;
	job->watch.gone = pages_released;
	while (job->pool < job->end_pools) {
		struct pool *pool = here->shard.pools[job->pool++];

		if (pool_watch_released(pool, &job->watch))
			return ERRAND_AWAY;
	}
	return ERRAND_HOME;
}

/* First on the worker that has the record; then, if it has a name, on those of all who hold it. */
static int revoke_here(struct errand *errand, struct server *here)
{
	struct revoke_errand *job = (struct revoke_errand *)errand;
	int next = ERRAND_HOME;

	if (job->share == 0 && !job->is_ended)
		begin_revoke(job, here);
	if (job->code != HUGEPOOL__CODE__OK)
		return ERRAND_HOME;
	if (job->share != 0 && !job->is_ended)
		next = eviction_of_holders(here, job->share, &job->events);
	return next == ERRAND_HOME ? await_release(job, here) : next;
}

static void answer_revoke(struct errand *errand, struct connection *connection)
{
	struct revoke_errand *job = (struct revoke_errand *)errand;
	Hugepool__RevokeReply revoke = HUGEPOOL__REVOKE_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	reply.result_case = HUGEPOOL__REPLY__RESULT_REVOKE;
	reply.revoke = &revoke;
	if (!connection) {
		errand_free(errand);
		return;
	}
	switch (job->code) {
	case HUGEPOOL__CODE__OK:
		reply_empty(connection, errand->request_id, &reply);
		break;
	case HUGEPOOL__CODE__NO_LEASE:
		connection_error(connection, errand->request_id, job->code,
				 "there never was a lease %" PRIu64, job->lease);
		break;
	case HUGEPOOL__CODE__NOT_ALLOWED:
		connection_error(connection, errand->request_id, job->code,
				 "lease %" PRIu64 " is another user's, or was opened: its maker can revoke "
				 "the one that was opened",
				 job->lease);
		break;
	case HUGEPOOL__CODE__BUSY:
		connection_error(connection, errand->request_id, job->code,
				 "lease %" PRIu64
				 " shares its arena with others and was not made revocable: evict "
				 "the arena, or end its process",
				 job->lease);
		break;
	default:
		connection_error(connection, errand->request_id, job->code,
				 "the daemon has no memory left: try again later");
	}
	errand_free(errand);
}

enum dispatch_result revoke_handle(struct connection *connection, const Hugepool__Request *request)
{
	struct revoke_errand *job = errand_new(sizeof(*job), connection, request->id);
	struct server *server = connection->server;
	unsigned worker = 0;

	if (!job)
		return DISPATCH_DONE;
	job->errand.visit = revoke_here;
	job->errand.answer = answer_revoke;
	job->lease = request->revoke->lease;
	job->peer = (struct peer){.pid = connection->session->peer.pid, .uid = connection->session->peer.uid};
	job->is_admin = server_is_admin(server, &connection->session->peer);
	/* Of an id that nobody has, any worker can say so. */
	(void)ledger_owner(server->shard.ledger, job->lease, &worker);
	errand_send(&job->errand, server, connection, request->id, worker);
	return DISPATCH_DONE;
}

/* ---- arenas and pools ---- */

static void log_arena_action(const struct peer *peer, const char *verb, uint64_t arena,
			     const struct pool *pool, uint32_t tenant)
{
	char name[POOL_TENANT_NAME_MAX];

	log_admin_action(peer, "%s arena %" PRIu64 " of %s in pool %s", verb, arena,
			 pool_tenant_name(pool, tenant, name, sizeof(name)), pool->config.name);
}

enum dispatch_result evict_handle(struct connection *connection, const Hugepool__Request *request)
{
	const struct service *service = connection->server->service;
	const uint64_t arena = request->evict->arena;
	struct zone *zone;
	uint32_t slot;

	for (unsigned i = 0; i < service->n_pools; i++) {
		if (pool_condemn_arena(service->pools[i], arena, &zone, &slot) != 0)
			continue;
		log_arena_action(&connection->session->peer, "evicts", arena, service->pools[i],
				 zone->tenant);
		eviction_of_arena(connection->server, zone, arena, slot, connection, request->id);
		return DISPATCH_DONE;
	}
	return refuse_arena(connection, request->id, arena);
}

static bool isolate(const struct connection *connection, uint64_t arena, bool isolated)
{
	const struct service *service = connection->server->service;
	uint32_t tenant;

	for (unsigned i = 0; i < service->n_pools; i++) {
		if (pool_isolate_arena(service->pools[i], arena, isolated, &tenant) != 0)
			continue;
		log_arena_action(&connection->session->peer, isolated ? "isolates" : "restores", arena,
				 service->pools[i], tenant);
		return true;
	}
	return false;
}

enum dispatch_result isolate_handle(struct connection *connection, const Hugepool__Request *request)
{
	Hugepool__IsolateReply result = HUGEPOOL__ISOLATE_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	if (!isolate(connection, request->isolate->arena, true))
		return refuse_arena(connection, request->id, request->isolate->arena);
	reply.result_case = HUGEPOOL__REPLY__RESULT_ISOLATE;
	reply.isolate = &result;
	reply_empty(connection, request->id, &reply);
	return DISPATCH_DONE;
}

enum dispatch_result restore_handle(struct connection *connection, const Hugepool__Request *request)
{
	const Hugepool__Restore *asked = request->restore;
	struct pool *pool = server_find_pool(connection->server, asked->pool);
	Hugepool__RestoreReply result = HUGEPOOL__RESTORE_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	if (asked->pool[0] && !pool)
		return refuse_pool(connection, request->id, asked->pool);
	if (!pool && !isolate(connection, asked->arena, false))
		return refuse_arena(connection, request->id, asked->arena);
	if (pool) {
		pool_drain(pool, false);
		log_admin_action(&connection->session->peer, "restores pool %s", pool->config.name);
	}
	reply.result_case = HUGEPOOL__REPLY__RESULT_RESTORE;
	reply.restore = &result;
	reply_empty(connection, request->id, &reply);
	return DISPATCH_DONE;
}

enum dispatch_result drain_handle(struct connection *connection, const Hugepool__Request *request)
{
	struct pool *pool = server_find_pool(connection->server, request->drain->pool);
	Hugepool__DrainReply result = HUGEPOOL__DRAIN_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	if (!pool)
		return refuse_pool(connection, request->id, request->drain->pool);
	pool_drain(pool, true);
	log_admin_action(&connection->session->peer, "drains pool %s", pool->config.name);
	reply.result_case = HUGEPOOL__REPLY__RESULT_DRAIN;
	reply.drain = &result;
	reply_empty(connection, request->id, &reply);
	return DISPATCH_DONE;
}

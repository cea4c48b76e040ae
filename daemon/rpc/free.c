/* free.c - Free: the session's own leases at once, detached ones on the workers that have their records. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/lease/request.h"
#include "daemon/rpc/admin_log.h"
#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/errand.h"
#include "daemon/rpc/orphans.h"
#include "daemon/rpc/outcome.h"
#include "daemon/rpc/reap.h"

#define GONE_MAX 32

struct failure {
	uint32_t index; /* into the request's ids */
	uint64_t lease;
	enum lease_result result;
	uint32_t pid;     /* LEASE_NOT_HOLDER: the holder's */
	bool is_orphaned; /* which is not connected */
};

static void reply_free(struct connection *connection, uint64_t request_id, const struct failure *failures,
		       unsigned n)
{
	Hugepool__FreeFailure rows[LEASE_MAX_BATCH], *row_ptrs[LEASE_MAX_BATCH];
	char messages[LEASE_MAX_BATCH][OUTCOME_MESSAGE_MAX];
	Hugepool__Error errors[LEASE_MAX_BATCH];
	Hugepool__FreeReply freed = HUGEPOOL__FREE_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	uint64_t gone[GONE_MAX];

	for (unsigned i = 0; i < n; i++) {
		outcome_fill_free(&errors[i], messages[i], failures[i].result, failures[i].lease,
				  failures[i].pid, failures[i].is_orphaned);
		rows[i] = (Hugepool__FreeFailure)HUGEPOOL__FREE_FAILURE__INIT;
		rows[i].index = failures[i].index;
		rows[i].error = &errors[i];
		row_ptrs[i] = &rows[i];
	}
	freed.n_failures = n;
	freed.failures = row_ptrs;
	reply.id = request_id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_FREE;
	reply.free = &freed;
	reply.n_gone_arenas = session_forget_gone(connection->session, gone, GONE_MAX);
	reply.gone_arenas = gone;
	connection_reply(connection, &reply, NULL, 0);
}

/* ---- leases that this session does not hold ---- */

struct free_errand {
	union { /* one after the other */
		struct errand errand;
		struct reap reap;
	};
	uint64_t request_id; /* while it reaps */
	uint64_t mark;       /* reap_mark(), when it came */
	bool has_reaped;
	struct peer peer;
	bool is_admin;
	unsigned n;
	struct failure items[LEASE_MAX_BATCH]; /* LEASE_WAIT: not visited yet */
};

/* A lease whose record is this worker's. */
static enum lease_result free_detached(const struct free_errand *job, struct server *here,
				       struct failure *item)
{
	struct lease_record *record;
	const bool is_there = ledger_find(here->shard.ledger, item->lease, &record) == 0;
	const uid_t owner_uid = is_there ? record->uid : 0;
	const char *pool = is_there ? here->shard.pools[record->pool]->config.name : "";
	enum lease_result result =
		lease_free_detached(&here->shard, &job->peer, job->is_admin, item->lease, &item->pid);

	item->is_orphaned =
		result == LEASE_NOT_HOLDER && lease_state_of(&here->shard, record) == LEASE_ORPHANED;
	if (is_there && result == LEASE_OK)
		log_lease_action(&job->peer, "frees detached lease", item->lease, owner_uid, pool);
	return result;
}

/* Free here what is this worker's; go on to the owner of the first that is left. */
static int free_here(struct errand *errand, struct server *here)
{
	struct free_errand *job = (struct free_errand *)errand;
	int next = ERRAND_HOME;

	for (unsigned i = 0; i < job->n; i++) {
		struct failure *item = &job->items[i];
		unsigned worker = 0;

		if (item->result != LEASE_WAIT)
			continue;
		if (ledger_owner(here->shard.ledger, item->lease, &worker) != 0)
			item->result = LEASE_NEVER;
		else if (worker == here->shard.index)
			item->result = free_detached(job, here, item);
		else if (next == ERRAND_HOME)
			next = (int)worker;
	}
	server_end_turn(here);
	return next;
}

static void answer_free(struct errand *errand, struct connection *connection);

static void send_job(struct free_errand *job, struct server *server, struct session *session,
		     uint64_t request_id)
{
	job->errand.visit = free_here;
	job->errand.answer = answer_free;
	errand_send_for(&job->errand, server, session, request_id, server->shard.index);
}

static void free_again(struct reap *reap, struct session *session)
{
	struct free_errand *job = (struct free_errand *)reap;

	if (session)
		send_job(job, server_of(session), session, job->request_id);
	else
		errand_free(&job->errand);
}

/* What somebody else holds may be somebody dead's. */
static bool reap_for_free(struct free_errand *job, struct connection *connection)
{
	bool is_held = false;

	for (unsigned i = 0; i < job->n; i++)
		is_held |= job->items[i].result == LEASE_NOT_HOLDER;
	if (!is_held || job->has_reaped || !reap_is_due(connection->server->service, job->mark))
		return false;
	for (unsigned i = 0; i < job->n; i++)
		if (job->items[i].result == LEASE_NOT_HOLDER)
			job->items[i].result = LEASE_WAIT;
	job->has_reaped = true;
	job->request_id = job->errand.request_id;
	job->reap.again = free_again;
	reap_start(&job->reap, connection->server, connection->session, REAP_LEASES);
	return true;
}

static void answer_free(struct errand *errand, struct connection *connection)
{
	struct free_errand *job = (struct free_errand *)errand;
	unsigned n = 0;

	if (connection && reap_for_free(job, connection))
		return;
	for (unsigned i = 0; i < job->n; i++)
		if (job->items[i].result != LEASE_OK)
			job->items[n++] = job->items[i];
	if (connection)
		reply_free(connection, errand->request_id, job->items, n);
	errand_free(errand);
}

static void send_errand(struct connection *connection, uint64_t request_id, const struct failure *items,
			unsigned n, uint64_t mark)
{
	struct free_errand *job = errand_new(sizeof(*job), connection, request_id);

	if (!job)
		return;
	job->mark = mark;
	job->has_reaped = false;
	job->peer = connection->session->peer;
	job->peer.groups = NULL;
	job->peer.n_groups = 0;
	job->is_admin = server_is_admin(connection->server, &connection->session->peer);
	job->n = n;
	memcpy(job->items, items, n * sizeof(items[0]));
	send_job(job, connection->server, connection->session, request_id);
}

/* ---- the request ---- */

/* The id of the lease of that name, or 0. Asked again it is the one that it was, which may have ended. */
static uint64_t find_name(struct session *session, const Hugepool__Request *request)
{
	uint64_t id = request->again ? session_recall(session, request->id) : 0;
	char name[NAME_FULL_MAX + 1];

	if (id != 0)
		return id;
	name_resolve(request->free->name, session->peer.uid, name);
	id = shares_find(ledger_shares(session->shard->ledger), name);
	if (id != 0)
		session_remember(session, request->id, id);
	return id;
}

/* A name becomes an id. Returns false when the request was answered with an error. */
static bool read_ids(struct connection *connection, const Hugepool__Request *request, uint64_t *name_id,
		     const uint64_t **ret_ids, size_t *ret_n)
{
	const Hugepool__Free *asked = request->free;

	*ret_ids = asked->leases;
	*ret_n = asked->n_leases;
	if (asked->n_leases > LEASE_MAX_BATCH) {
		connection_error(connection, request->id, HUGEPOOL__CODE__TOO_MANY,
				 "at most %d items in one Free", LEASE_MAX_BATCH);
		return false;
	}
	if ((asked->n_leases == 0) == (asked->name[0] == 0)) {
		connection_error(connection, request->id, HUGEPOOL__CODE__BAD_REQUEST,
				 "Free: either lease ids or a name");
		return false;
	}
	if (asked->name[0]) {
		char shown[TEXT_SHOWN_MAX];

		if (!outcome_check_name(connection, request->id, asked->name))
			return false;
		*name_id = find_name(connection->session, request);
		*ret_ids = name_id;
		*ret_n = 1;
		if (*name_id == 0) {
			connection_error(connection, request->id, HUGEPOOL__CODE__NO_LEASE,
					 "there is no lease named \"%s\"", text_show(asked->name, shown));
			return false;
		}
	}
	return true;
}

enum dispatch_result free_handle(struct connection *connection, const Hugepool__Request *request)
{
	struct failure failures[LEASE_MAX_BATCH];
	const uint64_t mark = reap_mark();
	bool has_foreign = false;
	const uint64_t *ids;
	uint64_t name_id;
	unsigned n = 0;
	size_t n_ids;

	if (!read_ids(connection, request, &name_id, &ids, &n_ids))
		return DISPATCH_DONE;
	if (request->free->orphaned) {
		orphans_free(connection, request->id, ids, n_ids, request->free->unused);
		return DISPATCH_DONE;
	}
	for (size_t i = 0; i < n_ids; i++) {
		enum lease_result result = lease_free(connection->session, ids[i], !request->free->cold);

		if (result == LEASE_OK)
			continue;
		if (result == LEASE_NOT_HOLDER) {
			result = LEASE_WAIT;
			has_foreign = true;
		}
		failures[n++] = (struct failure){.index = (uint32_t)i, .lease = ids[i], .result = result};
	}
	if (has_foreign)
		send_errand(connection, request->id, failures, n, mark);
	else
		reply_free(connection, request->id, failures, n);
	return DISPATCH_DONE;
}

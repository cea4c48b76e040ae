/* list.c - Leases and Sessions: an errand from worker to worker that collects a frame's worth of rows.
 *
 * A cursor says where the next one goes on: for leases the ledger's slot, for sessions the id of the last one
 * seen (they are listed worker by worker, in the order of their ids). What begins or ends between two pages
 * may be missed; nothing is listed twice.
 */
#include <config.h>

#include <string.h>

#include "daemon/base/clock.h"
#include "daemon/lease/lease.h"
#include "daemon/lease/lease_state.h"
#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/errand.h"

#define PAGE_BYTES    (48u << 10) /* of a reply, estimated from above */
#define ROW_BYTES     190         /* of a row, without its name */
#define PAGE_ROWS     (PAGE_BYTES / ROW_BYTES)
#define SLICE_RECORDS 4096 /* that are looked at in one go: about 0.1 ms */

static enum dispatch_result refuse_cursor(struct connection *connection, uint64_t request_id)
{
	connection_error(connection, request_id, HUGEPOOL__CODE__BAD_REQUEST,
			 "no such cursor: begin with 0, go on with the next_cursor of a reply");
	return DISPATCH_DONE;
}

/* ---- leases ---- */

struct leases_errand {
	struct errand errand;
	uint64_t cursor, session;
	uid_t uid; /* whose leases, but for */
	bool is_admin;
	bool is_full;
	unsigned n;
	size_t bytes;
	Hugepool__LeaseInfo rows[PAGE_ROWS], *ptrs[PAGE_ROWS];
	size_t name_bytes;
	char names[PAGE_BYTES + SHARE_NAME_MAX + 1]; /* one behind the other */
};

static void add_lease(struct leases_errand *job, struct server *here, const struct lease_record *record)
{
	const struct pool_config *config = &here->shard.pools[record->pool]->config;
	Hugepool__LeaseInfo *row = &job->rows[job->n];
	const uint64_t now_ns = clock_now_ns();
	char *name = job->names + job->name_bytes;

	name[0] = 0;
	if (record->share)
		shares_name_of(ledger_shares(here->shard.ledger), record->share, name);
	*row = (Hugepool__LeaseInfo)HUGEPOOL__LEASE_INFO__INIT;
	row->lease = record->id;
	row->name = name;
	row->pool = (char *)config->name;
	row->bytes = record->lease_pages * config->page_bytes;
	row->uid = record->uid;
	row->pid = record->pid;
	row->other_pid_namespace = record->pid == 0 && record->session != 0;
	row->state = (char *)lease_state_name(lease_state_of(&here->shard, record));
	row->detached = record->detached;
	row->session = record->session;
	row->arena = record->arena;
	row->age_s = (now_ns - record->granted_ns) / NS_PER_S;
	row->runs = lease_n_runs(here->shard.ledger, record);
	if (record->deadline_ns > now_ns)
		row->deadline_s = (record->deadline_ns - now_ns) / NS_PER_S + 1;
	row->revocable = record->sole;
	row->opened = record->opened;
	row->owner_uid = record->uid;
	if (record->share)
		(void)shares_maker_of(ledger_shares(here->shard.ledger), record->share, &row->owner_uid,
				      &row->mode);
	job->name_bytes += strlen(name) + 1;
	job->bytes += ROW_BYTES + strlen(name);
	job->ptrs[job->n++] = row;
}

static bool is_listed(const struct leases_errand *job, const struct lease_record *record)
{
	return record->state != LEASE_NONE && record->state != LEASE_PART &&
	       (job->session == 0 || record->session == job->session) &&
	       (job->is_admin || record->uid == job->uid);
}

/* The chunks of records that are this worker's, in their order, up to one that is another's, a slice at a
 * time, so that no client waits long for its turn. */
static int list_leases_here(struct errand *errand, struct server *here)
{
	struct leases_errand *job = (struct leases_errand *)errand;
	struct ledger *ledger = here->shard.ledger;
	unsigned n_left = SLICE_RECORDS;
	int owner;

	while ((owner = ledger_chunk_owner(ledger, (uint32_t)(job->cursor / LEDGER_CHUNK_SLOTS))) >= 0) {
		const struct lease_record *record;

		if (owner != (int)here->shard.index || n_left-- == 0)
			return owner;
		job->is_full = job->n == PAGE_ROWS || job->bytes > PAGE_BYTES;
		if (job->is_full)
			return ERRAND_HOME;
		record = ledger_at(ledger, (uint32_t)job->cursor++);
		if (is_listed(job, record))
			add_lease(job, here, record);
	}
	return ERRAND_HOME;
}

static void answer_leases(struct errand *errand, struct connection *connection)
{
	struct leases_errand *job = (struct leases_errand *)errand;
	Hugepool__LeasesReply leases = HUGEPOOL__LEASES_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	if (connection) {
		leases.n_leases = job->n;
		leases.leases = job->ptrs;
		leases.next_cursor = job->is_full ? job->cursor : 0;
		reply.id = errand->request_id;
		reply.result_case = HUGEPOOL__REPLY__RESULT_LEASES;
		reply.leases = &leases;
		connection_reply(connection, &reply, NULL, 0);
	}
	errand_free(errand);
}

enum dispatch_result leases_handle(struct connection *connection, const Hugepool__Request *request)
{
	struct leases_errand *job;

	if (request->leases->cursor >> LEDGER_SLOT_BITS != 0)
		return refuse_cursor(connection, request->id);
	job = errand_new(sizeof(*job), connection, request->id);
	if (!job)
		return DISPATCH_DONE;
	job->errand.visit = list_leases_here;
	job->errand.answer = answer_leases;
	job->cursor = request->leases->cursor;
	job->session = request->leases->session;
	job->uid = connection->session->peer.uid;
	job->is_admin = server_is_admin(connection->server, &connection->session->peer);
	errand_send(&job->errand, connection->server, connection, request->id,
		    connection->server->shard.index);
	return DISPATCH_DONE;
}

/* ---- sessions ---- */

struct sessions_errand {
	struct errand errand;
	uint64_t cursor; /* id of the last session listed; of a worker's first: its index */
	bool is_full;
	unsigned n;
	Hugepool__SessionInfo rows[PAGE_ROWS], *ptrs[PAGE_ROWS];
	char clients[PAGE_ROWS][SESSION_CLIENT_MAX];
};

static void add_session(struct sessions_errand *job, const struct session *session)
{
	Hugepool__SessionInfo *row = &job->rows[job->n];

	memcpy(job->clients[job->n], session->client, SESSION_CLIENT_MAX);
	*row = (Hugepool__SessionInfo)HUGEPOOL__SESSION_INFO__INIT;
	row->session = session->id;
	row->client = job->clients[job->n];
	row->uid = session->peer.uid;
	row->gid = session->peer.gid;
	row->pid = (uint32_t)session->peer.pid;
	row->other_pid_namespace = session->peer.pid == 0;
	row->state = session->ending ? "ending" : session->connection ? "connected" : "orphaned";
	row->leases = session->n_leases;
	row->pages = session->n_pages;
	row->requests = session->n_requests;
	row->age_s = (clock_now_ns() - session->born_ns) / NS_PER_S;
	row->turns = session->n_turns;
	if (session->connection)
		row->turns_waited = run_user_most_waited(((struct connection *)session->connection)->user);
	job->ptrs[job->n++] = row;
}

static int list_sessions_here(struct errand *errand, struct server *here)
{
	struct sessions_errand *job = (struct sessions_errand *)errand;
	unsigned next = here->shard.index + 1;

	for (struct session *session = here->shard.first; session; session = session->next) {
		if (session->id <= job->cursor)
			continue;
		job->is_full = job->n == PAGE_ROWS;
		if (job->is_full)
			return ERRAND_HOME;
		add_session(job, session);
		job->cursor = session->id;
	}
	if (next == errand->service->n_servers)
		return ERRAND_HOME;
	job->cursor = next;
	return (int)next;
}

static void answer_sessions(struct errand *errand, struct connection *connection)
{
	struct sessions_errand *job = (struct sessions_errand *)errand;
	Hugepool__SessionsReply sessions = HUGEPOOL__SESSIONS_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	if (connection) {
		sessions.n_sessions = job->n;
		sessions.sessions = job->ptrs;
		sessions.next_cursor = job->is_full ? job->cursor : 0;
		reply.id = errand->request_id;
		reply.result_case = HUGEPOOL__REPLY__RESULT_SESSIONS;
		reply.sessions = &sessions;
		connection_reply(connection, &reply, NULL, 0);
	}
	errand_free(errand);
}

enum dispatch_result sessions_handle(struct connection *connection, const Hugepool__Request *request)
{
	unsigned worker = session_worker(request->sessions->cursor);
	struct sessions_errand *job;

	if (worker >= connection->server->service->n_servers)
		return refuse_cursor(connection, request->id);
	job = errand_new(sizeof(*job), connection, request->id);
	if (!job)
		return DISPATCH_DONE;
	job->errand.visit = list_sessions_here;
	job->errand.answer = answer_sessions;
	job->cursor = request->sessions->cursor;
	errand_send(&job->errand, connection->server, connection, request->id, worker);
	return DISPATCH_DONE;
}

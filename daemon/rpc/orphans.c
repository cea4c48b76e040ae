/* orphans.c - see orphans.h. */
#include <config.h>

#include "daemon/rpc/orphans.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "daemon/backing/holders.h"
#include "daemon/lease/request.h"
#include "daemon/rpc/admin_log.h"
#include "daemon/rpc/errand.h"
#include "daemon/rpc/event.h"
#include "daemon/rpc/outcome.h"
#include "daemon/rpc/peer.h"

#define FELLOWS_MAX    1024 /* processes with sessions that have the arenas */
#define SLICE_SESSIONS 512  /* that are looked at in one visit */
#define SLICE_ITEMS    256  /* of the closer's, between which it does what else it has */

enum orphan_state {
	ORPHAN_NEW,   /* its record was not looked at */
	ORPHAN_PROVE, /* its pages are to be proven unused */
	ORPHAN_END,   /* it can end */
	ORPHAN_ENDED, /* and has, now or before */
	/* Refusals. */
	ORPHAN_NEVER,
	ORPHAN_FOREIGN,  /* another user's */
	ORPHAN_HELD,     /* not orphaned: its holder is connected */
	ORPHAN_DETACHED, /* it has no holder */
	ORPHAN_USED,     /* by process `pid` */
	ORPHAN_UNKNOWN,  /* process `pid` could not be looked at; 0: /proc does not show all */
	ORPHAN_TOO_MANY, /* arenas, or processes that have them */
};

struct orphan {
	uint64_t lease, session;
	enum orphan_state state;
	uint32_t holder_pid;                    /* that made it */
	pid_t holder_pids[SESSION_HOLDERS_MAX]; /* all of its session's; 0: none in this place */
	uint32_t pid;
	bool is_mapped;  /* ORPHAN_USED: not only held open */
	uint64_t arenas; /* bits: indexes into scan.files */
};

_Static_assert(HOLDERS_FILES_MAX <= 64, "a bit each");

struct orphans {
	struct errand errand; /* first */
	struct peer peer;     /* without its groups */
	bool is_admin, unused;
	enum { STEP_FIND, STEP_FELLOWS, STEP_END } step;
	uint64_t cursor; /* STEP_FELLOWS: id of the last session looked at here */
	unsigned n;
	struct orphan items[LEASE_MAX_BATCH];
	uint64_t arena_ids[HOLDERS_FILES_MAX];
	uint8_t arena_pools[HOLDERS_FILES_MAX];
	bool has_too_many_fellows;
	unsigned n_fellows;
	pid_t fellows[FELLOWS_MAX];
	struct holders scan;
};

/* ---- the records ---- */

/* The arena's place in the scan; HOLDERS_FILES_MAX: there is no room for it. */
static unsigned find_arena(struct orphans *job, const struct pool *pool, struct run run, uint64_t arena_id)
{
	struct holders *scan = &job->scan;
	struct stat status;
	unsigned i = 0;

	while (i < scan->n_files && job->arena_ids[i] != arena_id)
		i++;
	if (i < scan->n_files || i == HOLDERS_FILES_MAX)
		return i;
	if (fstat(backing_file_fd(pool_arena(pool, run_slot(run))->file), &status) < 0)
		return HOLDERS_FILES_MAX;
	scan->files[i].device = status.st_dev;
	scan->files[i].inode = status.st_ino;
	job->arena_ids[i] = arena_id;
	job->arena_pools[i] = (uint8_t)pool->index;
	return scan->n_files++;
}

static enum orphan_state find_arenas(struct orphans *job, struct shard *shard, struct orphan *item,
				     const struct lease_record *record)
{
	struct share_runs runs;

	lease_get_runs(shard->ledger, record, &runs);
	for (unsigned i = 0; i < runs.list.n; i++) {
		unsigned k = find_arena(job, shard->pools[record->pool], runs.list.runs[i], runs.arenas[i]);

		if (k == HOLDERS_FILES_MAX)
			return ORPHAN_TOO_MANY;
		item->arenas |= UINT64_C(1) << k;
	}
	return ORPHAN_PROVE;
}

/* On the worker that has the record. */
static enum orphan_state find_orphan(struct orphans *job, struct shard *shard, struct orphan *item)
{
	struct lease_record *record;
	int r = ledger_find(shard->ledger, item->lease, &record);

	if (r != 0)
		return r == LEDGER_NEVER ? ORPHAN_NEVER : ORPHAN_ENDED;
	item->holder_pid = item->pid = record->pid;
	if (record->uid != job->peer.uid && !job->is_admin)
		return ORPHAN_FOREIGN;
	if (lease_state_of(shard, record) != LEASE_ORPHANED)
		return record->state == LEASE_DETACHED ? ORPHAN_DETACHED : ORPHAN_HELD;
	item->session = record->session;
	for (unsigned i = 0; i < SESSION_HOLDERS_MAX; i++) {
		const struct holder *holder = &session_find(shard, record->session)->holders[i];

		item->holder_pids[i] = holder->session ? holder->pid : 0;
	}
	return record->sole && !job->unused ? ORPHAN_END : find_arenas(job, shard, item, record);
}

/* It may have come back, or have ended, since it was looked at. */
static enum orphan_state end_orphan(struct orphans *job, struct server *here, struct orphan *item)
{
	struct shard *shard = &here->shard;
	struct late_event *events = NULL;
	struct lease_record *record;

	if (ledger_find(shard->ledger, item->lease, &record) != 0)
		return ORPHAN_ENDED;
	if (record->session != item->session || lease_state_of(shard, record) != LEASE_ORPHANED)
		return ORPHAN_HELD;
	log_lease_action(&job->peer, "frees orphaned lease", record->id, record->uid,
			 shard->pools[record->pool]->config.name);
	event_hold(&events, session_find(shard, record->session), HUGEPOOL__EVENT_KIND__REVOKED,
		   shard->pools[record->pool], record->id);
	lease_end_orphan(shard, record);
	event_post_all_released(&events);
	return ORPHAN_ENDED;
}

/* All items in `state` that are this worker's; returns the worker of the first that is another's, or
 * ERRAND_HOME. */
static int visit_items(struct orphans *job, struct server *here, enum orphan_state state)
{
	int next = ERRAND_HOME;

	for (unsigned i = 0; i < job->n; i++) {
		struct orphan *item = &job->items[i];
		unsigned worker = 0;

		if (item->state != state)
			continue;
		if (ledger_owner(here->shard.ledger, item->lease, &worker) != 0)
			item->state = ORPHAN_NEVER;
		else if (worker != here->shard.index)
			next = next == ERRAND_HOME ? (int)worker : next;
		else if (state == ORPHAN_NEW)
			item->state = find_orphan(job, &here->shard, item);
		else
			item->state = end_orphan(job, here, item);
	}
	server_end_turn(here);
	return next;
}

/* ---- the sessions ---- */

static bool has_arena(const struct orphans *job, const struct session *session)
{
	for (unsigned i = 0; i < job->scan.n_files; i++)
		if (session_knows_arena(&session->zones[job->arena_pools[i]], job->arena_ids[i], false))
			return true;
	return false;
}

static void note_fellow(struct orphans *job, const struct session *session)
{
	if (!session->connection || session->ending || session->peer.pid == 0 || !has_arena(job, session))
		return;
	if (job->n_fellows == FELLOWS_MAX)
		job->has_too_many_fellows = true;
	else
		job->fellows[job->n_fellows++] = session->peer.pid;
}

static int compare_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

/* Processes of connected sessions may have the arenas, but not those whose orphans these are: who has opened
 * a second client may have lost the first one's connection only. */
static bool leaves_out(const struct holders *scan, pid_t pid)
{
	const struct orphans *job =
		(const struct orphans *)((const char *)scan - offsetof(struct orphans, scan));

	if (!bsearch(&pid, job->fellows, job->n_fellows, sizeof(pid), compare_pids))
		return false;
	for (unsigned i = 0; i < job->n; i++)
		for (unsigned k = 0; k < SESSION_HOLDERS_MAX; k++)
			if (job->items[i].holder_pids[k] == pid)
				return false;
	return true;
}

static int find_fellows(struct orphans *job, struct server *here)
{
	const unsigned next = here->shard.index + 1;
	unsigned n_left = SLICE_SESSIONS;

	for (struct session *session = here->shard.first; session; session = session->next) {
		if (session->id <= job->cursor)
			continue;
		if (n_left-- == 0)
			return (int)here->shard.index;
		note_fellow(job, session);
		job->cursor = session->id;
	}
	job->cursor = 0;
	return next < here->service->n_servers ? (int)next : ERRAND_HOME;
}

/* ---- the proof ---- */

/* Every arena of the lease's must be proven unused; the first that is not says why. */
static void judge(struct orphans *job, struct orphan *item)
{
	item->state = ORPHAN_END;
	for (unsigned i = 0; i < job->scan.n_files && item->state == ORPHAN_END; i++) {
		const struct holders_file *file = &job->scan.files[i];
		enum holders_result result = holders_of(&job->scan, i);

		if (!(item->arenas & UINT64_C(1) << i) || result == HOLDERS_NOBODY)
			continue;
		item->state = result == HOLDERS_SOMEBODY ? ORPHAN_USED : ORPHAN_UNKNOWN;
		item->pid = (uint32_t)(result == HOLDERS_SOMEBODY ? file->pid : job->scan.hidden_pid);
		item->is_mapped = file->is_mapped;
	}
}

/* On the closer's thread. */
static void scan_slice(struct letter *letter)
{
	struct orphans *job = (struct orphans *)letter;

	if (holders_step(&job->scan, SLICE_ITEMS) == HOLDERS_MORE) {
		mailbox_post(job->errand.service->closer, letter);
		return;
	}
	holders_fini(&job->scan);
	for (unsigned i = 0; i < job->n; i++)
		if (job->items[i].state == ORPHAN_PROVE)
			judge(job, &job->items[i]);
	job->step = STEP_END;
	errand_resume(&job->errand, (int)job->errand.home);
}

static int begin_proof(struct orphans *job)
{
	if (job->has_too_many_fellows) {
		for (unsigned i = 0; i < job->n; i++)
			if (job->items[i].state == ORPHAN_PROVE)
				job->items[i].state = ORPHAN_TOO_MANY;
		job->step = STEP_END;
		return (int)job->errand.home;
	}
	qsort(job->fellows, job->n_fellows, sizeof(job->fellows[0]), compare_pids);
	job->scan.leaves_out = leaves_out;
	job->errand.letter.deliver = scan_slice;
	mailbox_post(job->errand.service->closer, &job->errand.letter);
	return ERRAND_AWAY;
}

static bool needs_proof(const struct orphans *job)
{
	for (unsigned i = 0; i < job->n; i++)
		if (job->items[i].state == ORPHAN_PROVE)
			return true;
	return false;
}

static int visit(struct errand *errand, struct server *here)
{
	struct orphans *job = (struct orphans *)errand;
	int next;

	switch (job->step) {
	case STEP_FIND:
		next = visit_items(job, here, ORPHAN_NEW);
		if (next != ERRAND_HOME)
			return next;
		job->step = needs_proof(job) ? STEP_FELLOWS : STEP_END;
		return job->step == STEP_FELLOWS ? 0 : (int)here->shard.index;
	case STEP_FELLOWS:
		next = find_fellows(job, here);
		return next == ERRAND_HOME ? begin_proof(job) : next;
	default:
		return visit_items(job, here, ORPHAN_END);
	}
}

/* ---- the answer ---- */

static void explain_used(const struct orphan *item, char message[OUTCOME_MESSAGE_MAX])
{
	char name[PEER_PROCESS_MAX];

	peer_process_name(item->pid, name);
	if (item->state == ORPHAN_USED)
		snprintf(message, OUTCOME_MESSAGE_MAX,
			 "%s still %s the file in which lease %" PRIu64 " is: end it, and free again", name,
			 item->is_mapped ? "maps" : "holds a descriptor of", item->lease);
	else if (item->pid != 0)
		snprintf(message, OUTCOME_MESSAGE_MAX,
			 "whether %s uses lease %" PRIu64
			 ", the daemon may not see: end its holder, process %u, or evict its arena",
			 name, item->lease, item->holder_pid);
	else
		snprintf(message, OUTCOME_MESSAGE_MAX,
			 "who uses lease %" PRIu64
			 " cannot be seen in the daemon's /proc: end its holder, process %u, or evict its "
			 "arena",
			 item->lease, item->holder_pid);
}

static void fill_error(const struct orphan *item, Hugepool__Error *error, char message[OUTCOME_MESSAGE_MAX])
{
	char name[PEER_PROCESS_MAX];

	*error = (Hugepool__Error)HUGEPOOL__ERROR__INIT;
	error->message = message;
	error->code = HUGEPOOL__CODE__BUSY;
	switch (item->state) {
	case ORPHAN_NEVER:
	case ORPHAN_FOREIGN:
		outcome_fill_free(error, message,
				  item->state == ORPHAN_NEVER ? LEASE_NEVER : LEASE_NOT_ALLOWED, item->lease,
				  0, false);
		return;
	case ORPHAN_HELD:
		error->code = HUGEPOOL__CODE__NOT_HOLDER;
		snprintf(message, OUTCOME_MESSAGE_MAX,
			 "lease %" PRIu64 " is not orphaned: %s holds it, and is connected", item->lease,
			 peer_process_name(item->holder_pid, name));
		return;
	case ORPHAN_DETACHED:
		error->code = HUGEPOOL__CODE__NOT_HOLDER;
		snprintf(message, OUTCOME_MESSAGE_MAX,
			 "lease %" PRIu64 " is detached, not orphaned: free it as it is", item->lease);
		return;
	case ORPHAN_TOO_MANY:
		snprintf(message, OUTCOME_MESSAGE_MAX,
			 "lease %" PRIu64 " is in too many files, or too many processes have them: free "
			 "fewer at once, or end process %u",
			 item->lease, item->holder_pid);
		return;
	default:
		explain_used(item, message);
	}
}

static void reply(const struct orphans *job, struct connection *connection)
{
	Hugepool__FreeFailure rows[LEASE_MAX_BATCH], *row_ptrs[LEASE_MAX_BATCH];
	char messages[LEASE_MAX_BATCH][OUTCOME_MESSAGE_MAX];
	Hugepool__Error errors[LEASE_MAX_BATCH];
	Hugepool__FreeReply freed = HUGEPOOL__FREE_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	unsigned n = 0;

	for (unsigned i = 0; i < job->n; i++) {
		if (job->items[i].state == ORPHAN_ENDED)
			continue;
		fill_error(&job->items[i], &errors[n], messages[n]);
		rows[n] = (Hugepool__FreeFailure)HUGEPOOL__FREE_FAILURE__INIT;
		rows[n].index = i;
		rows[n].error = &errors[n];
		row_ptrs[n] = &rows[n];
		n++;
	}
	freed.n_failures = n;
	freed.failures = row_ptrs;
	reply.id = job->errand.request_id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_FREE;
	reply.free = &freed;
	connection_reply(connection, &reply, NULL, 0);
}

static void answer(struct errand *errand, struct connection *connection)
{
	if (connection)
		reply((struct orphans *)errand, connection);
	errand_free(errand);
}

void orphans_free(struct connection *connection, uint64_t request_id, const uint64_t *ids, size_t n_ids,
		  bool unused)
{
	const struct session *session = connection->session;
	struct orphans *job = errand_new(sizeof(*job), connection, request_id);

	if (!job)
		return;
	job->errand.visit = visit;
	job->errand.answer = answer;
	job->peer = (struct peer){.pid = session->peer.pid, .uid = session->peer.uid};
	job->is_admin = server_is_admin(connection->server, &session->peer);
	job->unused = unused;
	job->n = (unsigned)n_ids;
	for (unsigned i = 0; i < job->n; i++)
		job->items[i].lease = ids[i];
	errand_send(&job->errand, connection->server, connection, request_id,
		    connection->server->shard.index);
}

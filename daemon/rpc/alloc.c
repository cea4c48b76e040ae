/* alloc.c - Alloc and Arena: leases, and the descriptors of the arenas they lie in. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/outcome.h"
#include "proto/frame.h"

#define GONE_MAX 32 /* gone arenas told in one reply; the others in the next */

/* Arenas whose descriptors go out with one reply. */
struct introductions {
	unsigned n;
	Hugepool__ArenaInfo infos[FRAME_MAX_FDS], *ptrs[FRAME_MAX_FDS];
	int fds[FRAME_MAX_FDS];
	struct arena *arenas[FRAME_MAX_FDS];
};

static void introduce(struct introductions *intros, struct arena *arena)
{
	Hugepool__ArenaInfo *info = &intros->infos[intros->n];

	*info = (Hugepool__ArenaInfo)HUGEPOOL__ARENA_INFO__INIT;
	info->arena = arena->id;
	info->n_pages = arena->n_pages;
	info->page_bytes = arena->pool->config.page_bytes;
	intros->ptrs[intros->n] = info;
	intros->fds[intros->n] = backing_file_fd(arena->file);
	intros->arenas[intros->n] = arena;
	intros->n++;
	atomic_store(&arena->exposed, true);
}

/* The client does not have this record's arena yet: send it along, if descriptors can go now and there is
 * room. What cannot, the client asks for by Arena. */
static void introduce_if_new(struct introductions *intros, const struct connection *connection,
			     const struct lease_record *record)
{
	const struct session_zone *zone = &connection->session->zones[record->pool];
	uint32_t slot = run_slot((struct run){.address = record->address});

	if (session_knows_arena(zone, slot, record->arena) || intros->n == FRAME_MAX_FDS ||
	    !connection_may_pass_fds(connection))
		return;
	for (unsigned i = 0; i < intros->n; i++)
		if (intros->infos[i].arena == record->arena)
			return;
	introduce(intros, pool_arena(zone->zone->pool, slot));
}

static void reply_grants(struct connection *connection, const struct lease_alloc *alloc)
{
	struct session *session = connection->session;
	Hugepool__AllocReply grants = HUGEPOOL__ALLOC_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__Grant grant[LEASE_MAX_BATCH], *grant_ptrs[LEASE_MAX_BATCH];
	Hugepool__Run runs[LEASE_MAX_BATCH], *run_ptrs[LEASE_MAX_BATCH];
	struct introductions intros = {.n = 0};
	uint64_t gone[GONE_MAX];
	int r;

	for (uint32_t i = 0; i < alloc->n_items; i++) {
		const struct lease_record *record = alloc->records[i];

		runs[i] = (Hugepool__Run)HUGEPOOL__RUN__INIT;
		runs[i].arena = record->arena;
		runs[i].first_page = run_first((struct run){.address = record->address});
		runs[i].n_pages = record->n_pages;
		run_ptrs[i] = &runs[i];
		grant[i] = (Hugepool__Grant)HUGEPOOL__GRANT__INIT;
		grant[i].lease = record->id;
		grant[i].n_runs = 1;
		grant[i].runs = &run_ptrs[i];
		grant_ptrs[i] = &grant[i];
		introduce_if_new(&intros, connection, record);
	}
	grants.n_grants = alloc->n_items;
	grants.grants = grant_ptrs;
	grants.n_new_arenas = intros.n;
	grants.new_arenas = intros.ptrs;
	reply.id = alloc->request_id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_ALLOC;
	reply.alloc = &grants;
	reply.n_gone_arenas = session_forget_gone(session, gone, GONE_MAX);
	reply.gone_arenas = gone;
	r = connection_reply(connection, &reply, intros.fds, intros.n);
	if (r < 0 && intros.n > 0) {
		/* No descriptors left for now: the client will ask for the arenas. */
		grants.n_new_arenas = intros.n = 0;
		connection_reply(connection, &reply, NULL, 0);
	}
	/* Also what did not fit: an arena that the session may ask for. Without memory it is introduced
	 * again. */
	for (uint32_t i = 0; i < alloc->n_items; i++) {
		const struct lease_record *record = alloc->records[i];

		session_learn_arena(&session->zones[record->pool],
				    run_slot((struct run){.address = record->address}), record->arena);
	}
}

/* On the heap while it waits; answered on whatever connection the session has then. */
static void finish(struct lease_alloc *alloc, enum lease_result result)
{
	struct connection *connection = alloc->session->connection;

	if (connection) {
		if (result == LEASE_OK)
			reply_grants(connection, alloc);
		else
			outcome_reply_alloc(connection, alloc, result);
		if (connection->n_waiting > 0)
			connection->n_waiting--;
		connection_done_waiting(connection);
	}
	free(alloc);
}

/* Copy the request; the arrays are not cleared, they are large. Returns a code, OK when it makes sense. */
static Hugepool__Code read_request(struct lease_alloc *alloc, struct session *session,
				   const Hugepool__Request *request)
{
	const Hugepool__Alloc *asked = request->alloc;
	size_t name_bytes = strlen(asked->name) + 1;

	if (asked->n_n_pages > LEASE_MAX_BATCH)
		return HUGEPOOL__CODE__TOO_MANY;
	if (asked->n_n_pages == 0 || name_bytes > sizeof(alloc->name) ||
	    (name_bytes > 1 && asked->n_n_pages != 1))
		return HUGEPOOL__CODE__BAD_REQUEST;
	alloc->session = session;
	alloc->request_id = request->id;
	alloc->pool = asked->pool;
	alloc->n_items = (uint32_t)asked->n_n_pages;
	alloc->align_pages = asked->align_pages;
	alloc->detached = asked->detached;
	alloc->done = finish;
	memcpy(alloc->name, asked->name, name_bytes);
	memcpy(alloc->n_pages, asked->n_pages, asked->n_n_pages * sizeof(alloc->n_pages[0]));
	return HUGEPOOL__CODE__OK;
}

static void wait_for_pages(struct connection *connection, struct lease_alloc *alloc)
{
	struct lease_alloc *waiting = malloc(sizeof(*waiting));

	if (!waiting) {
		lease_alloc_unwind(alloc);
		outcome_reply_alloc(connection, alloc, LEASE_NO_MEMORY);
		return;
	}
	*waiting = *alloc;
	connection->n_waiting++;
	lease_alloc_wait(waiting);
}

enum dispatch_result alloc_handle(struct connection *connection, const Hugepool__Request *request)
{
	struct session *session = connection->session;
	enum lease_result result;
	struct lease_alloc alloc;

	switch (read_request(&alloc, session, request)) {
	case HUGEPOOL__CODE__OK:
		break;
	case HUGEPOOL__CODE__TOO_MANY:
		connection_error(connection, request->id, HUGEPOOL__CODE__TOO_MANY,
				 "at most %d items in one Alloc", LEASE_MAX_BATCH);
		return DISPATCH_DONE;
	default:
		connection_error(
			connection, request->id, HUGEPOOL__CODE__BAD_REQUEST,
			"Alloc: at least one item, and a name (at most %d bytes) only with exactly one",
			LEDGER_NAME_MAX);
		return DISPATCH_DONE;
	}
	if (session->ending) {
		connection_error(connection, request->id, HUGEPOOL__CODE__NO_SESSION, "Bye has been said");
		return DISPATCH_DONE;
	}
	if (request->again && lease_alloc_is_waiting(session, request->id))
		return DISPATCH_DONE;
	result = request->again && lease_alloc_find_again(&alloc) ? LEASE_OK : lease_alloc_start(&alloc);
	if (result == LEASE_WAIT)
		wait_for_pages(connection, &alloc);
	else if (result == LEASE_OK)
		reply_grants(connection, &alloc);
	else
		outcome_reply_alloc(connection, &alloc, result);
	return DISPATCH_DONE;
}

/* The arena's descriptor, once more. It may be on its way out: looked up, and duplicated, under the zone's
 * lock. */
static bool reply_arena(struct connection *connection, uint64_t request_id, struct zone *zone, uint64_t id)
{
	bool found = false;

	lock_take(&zone->lock);
	for (unsigned i = 0; i < zone->n_arenas && !found; i++) {
		struct introductions intros = {.n = 0};
		Hugepool__ArenaReply arena = HUGEPOOL__ARENA_REPLY__INIT;
		Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
		int r;

		if (zone->arenas[i]->id != id)
			continue;
		found = true;
		introduce(&intros, zone->arenas[i]);
		arena.arena = intros.ptrs[0];
		reply.id = request_id;
		reply.result_case = HUGEPOOL__REPLY__RESULT_ARENA;
		reply.arena = &arena;
		r = connection_reply(connection, &reply, intros.fds, 1);
		if (r < 0)
			connection_error(connection, request_id, HUGEPOOL__CODE__NO_MEMORY,
					 "the daemon has no descriptors left: try again later");
	}
	lock_drop(&zone->lock);
	return found;
}

enum dispatch_result arena_handle(struct connection *connection, const Hugepool__Request *request)
{
	struct session *session = connection->session;
	uint64_t id = request->arena->arena;

	if (!connection_may_pass_fds(connection)) {
		connection_error(connection, request->id, HUGEPOOL__CODE__TOO_MANY,
				 "say Received for the descriptors that were sent before");
		return DISPATCH_DONE;
	}
	for (unsigned i = 0; i < session->shard->n_pools; i++) {
		const struct session_zone *mine = &session->zones[i];

		for (uint32_t slot = 0; id != 0 && slot < mine->known_room; slot++)
			if (mine->known[slot] == id && reply_arena(connection, request->id, mine->zone, id))
				return DISPATCH_DONE;
	}
	connection_error(connection, request->id, HUGEPOOL__CODE__NO_ARENA,
			 "this session was shown no such arena");
	return DISPATCH_DONE;
}

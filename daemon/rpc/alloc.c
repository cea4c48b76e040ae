/* alloc.c - Alloc and Arena: leases, and the descriptors of the arenas they lie in. */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/base/cleanup.h"
#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/outcome.h"
#include "proto/frame.h"

#define GONE_MAX 32 /* gone arenas told in one reply; the others in the next */

/* Fill the info of an arena whose descriptor goes out with a reply. */
static void introduce(Hugepool__ArenaInfo *info, struct arena *arena)
{
	*info = (Hugepool__ArenaInfo)HUGEPOOL__ARENA_INFO__INIT;
	info->arena = arena->id;
	info->n_pages = arena->n_pages;
	info->page_bytes = arena->pool->config.page_bytes;
	atomic_store(&arena->exposed, true);
}

static uint32_t slot_of(const struct lease_record *record)
{
	return run_slot((struct run){.address = record->address});
}

/* The first of these leases' arenas that the client does not have yet, or NULL. Only one descriptor goes with
 * a reply, so that those in flight are never more than connections; the client asks for the others by Arena.
 */
static struct arena *find_new_arena(const struct connection *connection, const struct lease_alloc *alloc)
{
	if (!connection_may_pass_fds(connection))
		return NULL;
	for (uint32_t i = 0; i < alloc->n_items; i++) {
		const struct lease_record *record = alloc->records[i];
		const struct session_zone *mine = &connection->session->zones[record->pool];

		if (!session_knows_arena(mine, slot_of(record), record->arena))
			return pool_arena(mine->zone->pool, slot_of(record));
	}
	return NULL;
}

static void reply_grants(struct connection *connection, const struct lease_alloc *alloc)
{
	struct session *session = connection->session;
	Hugepool__AllocReply grants = HUGEPOOL__ALLOC_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__Grant grant[LEASE_MAX_BATCH], *grant_ptrs[LEASE_MAX_BATCH];
	Hugepool__Run runs[LEASE_MAX_BATCH], *run_ptrs[LEASE_MAX_BATCH];
	struct arena *new_arena = find_new_arena(connection, alloc);
	Hugepool__ArenaInfo info, *info_ptr = &info;
	uint64_t gone[GONE_MAX];
	int r = 0;

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
	}
	grants.n_grants = alloc->n_items;
	grants.grants = grant_ptrs;
	reply.id = alloc->request_id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_ALLOC;
	reply.alloc = &grants;
	reply.n_gone_arenas = session_forget_gone(session, gone, GONE_MAX);
	reply.gone_arenas = gone;
	if (new_arena) {
		int fd = backing_file_fd(new_arena->file);

		introduce(&info, new_arena);
		grants.n_new_arenas = 1;
		grants.new_arenas = &info_ptr;
		r = connection_reply(connection, &reply, &fd, 1);
		grants.n_new_arenas = 0;
	}
	if (!new_arena || r < 0) /* no descriptors left for now: the client will ask for the arena */
		connection_reply(connection, &reply, NULL, 0);
	/* Also of arenas that did not go along: the session may ask for them. Without memory they are new
	 * again. */
	for (uint32_t i = 0; i < alloc->n_items; i++)
		session_learn_arena(&session->zones[alloc->pool], slot_of(alloc->records[i]),
				    alloc->records[i]->arena);
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
		Hugepool__ArenaReply arena = HUGEPOOL__ARENA_REPLY__INIT;
		Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
		Hugepool__ArenaInfo info;
		int fd;

		if (zone->arenas[i]->id != id)
			continue;
		found = true;
		introduce(&info, zone->arenas[i]);
		fd = backing_file_fd(zone->arenas[i]->file);
		arena.arena = &info;
		reply.id = request_id;
		reply.result_case = HUGEPOOL__REPLY__RESULT_ARENA;
		reply.arena = &arena;
		if (connection_reply(connection, &reply, &fd, 1) < 0)
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

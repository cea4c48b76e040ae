/* grants.c - see grants.h; and Arena, the method that asks for a descriptor again. */
#include <config.h>

#include "daemon/rpc/grants.h"

#include "daemon/base/assert.h"
#include "daemon/lease/request.h"
#include "daemon/rpc/dispatch.h"

#define GONE_MAX 32 /* gone arenas told in one reply; the others in the next */

/* What the messages of one reply are made of. Not cleared: it is large. */
struct rows {
	Hugepool__Grant grants[LEASE_MAX_BATCH], *grant_ptrs[LEASE_MAX_BATCH];
	Hugepool__Run runs[LEASE_MAX_RUNS], *run_ptrs[LEASE_MAX_RUNS];
	unsigned n_runs;
	Hugepool__ArenaInfo info, *info_ptr;
	Hugepool__AllocReply alloc;
	Hugepool__OpenReply open;
	Hugepool__ResizeReply resize;
};

/* Fill the info of an arena whose descriptor goes out with a reply. Returns that descriptor. */
static int introduce(Hugepool__ArenaInfo *info, struct arena *arena, bool write)
{
	const int reader_fd = write ? -1 : backing_file_reader_fd(arena->file);

	*info = (Hugepool__ArenaInfo)HUGEPOOL__ARENA_INFO__INIT;
	info->arena = arena->id;
	info->page_bytes = arena->pool->config.page_bytes;
	info->read_only = reader_fd >= 0;
	lock_take(&arena->zone->lock);
	info->n_pages = arena->n_pages;
	lock_drop(&arena->zone->lock);
	atomic_store(&arena->exposed, true);
	return reader_fd >= 0 ? reader_fd : backing_file_fd(arena->file);
}

static void fill_grant(struct rows *rows, uint32_t i, const struct lease_record *record,
		       const struct share_runs *placed)
{
	Hugepool__Grant *grant = &rows->grants[i];

	*grant = (Hugepool__Grant)HUGEPOOL__GRANT__INIT;
	grant->lease = record->id;
	grant->n_runs = placed->list.n;
	grant->runs = &rows->run_ptrs[rows->n_runs];
	for (unsigned k = 0; k < placed->list.n; k++, rows->n_runs++) {
		Hugepool__Run *run = &rows->runs[rows->n_runs];

		hp_assert(rows->n_runs < LEASE_MAX_RUNS);
		*run = (Hugepool__Run)HUGEPOOL__RUN__INIT;
		run->arena = placed->arenas[k];
		run->first_page = run_first(placed->list.runs[k]);
		run->n_pages = placed->list.runs[k].n_pages;
		rows->run_ptrs[rows->n_runs] = run;
	}
	rows->grant_ptrs[i] = grant;
}

/* The session knows these arenas from now on, also those that do not go along: it may ask for them. Without
 * memory they are new again. Returns the first that was new, and may go along; or NULL. */
static struct arena *learn_arenas(struct session_zone *mine, struct pool *pool,
				  const struct share_runs *placed, bool write)
{
	struct arena *first = NULL;

	for (unsigned k = 0; k < placed->list.n; k++) {
		const uint32_t slot = run_slot(placed->list.runs[k]);

		if (session_knows_arena(mine, placed->arenas[k], write))
			continue;
		if (!first)
			first = pool_arena(pool, slot);
		session_learn_arena(mine, slot, placed->arenas[k], write);
	}
	return first;
}

/* Have the reply's fields point to the rows. Returns where the arenas are counted. */
static size_t *join(Hugepool__Reply *reply, struct rows *rows, Hugepool__Reply__ResultCase result, uint32_t n,
		    const struct lease_record *first)
{
	reply->result_case = result;
	rows->info_ptr = &rows->info;
	switch (result) {
	case HUGEPOOL__REPLY__RESULT_ALLOC:
		rows->alloc = (Hugepool__AllocReply)HUGEPOOL__ALLOC_REPLY__INIT;
		rows->alloc.n_grants = n;
		rows->alloc.grants = rows->grant_ptrs;
		rows->alloc.new_arenas = &rows->info_ptr;
		reply->alloc = &rows->alloc;
		return &rows->alloc.n_new_arenas;
	case HUGEPOOL__REPLY__RESULT_OPEN:
		rows->open = (Hugepool__OpenReply)HUGEPOOL__OPEN_REPLY__INIT;
		rows->open.grant = &rows->grants[0];
		rows->open.pool = first->pool;
		rows->open.new_arenas = &rows->info_ptr;
		reply->open = &rows->open;
		return &rows->open.n_new_arenas;
	default:
		hp_assert(result == HUGEPOOL__REPLY__RESULT_RESIZE);
		rows->resize = (Hugepool__ResizeReply)HUGEPOOL__RESIZE_REPLY__INIT;
		rows->resize.grant = &rows->grants[0];
		rows->resize.new_arenas = &rows->info_ptr;
		reply->resize = &rows->resize;
		return &rows->resize.n_new_arenas;
	}
}

void grants_reply(struct connection *connection, uint64_t request_id, Hugepool__Reply__ResultCase result,
		  struct lease_record *const *records, uint32_t n)
{
	struct session *session = connection->session;
	struct shard *shard = session->shard;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	uint64_t gone[GONE_MAX];
	struct arena *new_arena = NULL;
	bool write = true;
	struct rows rows;
	size_t *n_infos;
	int r = -1;

	reply.n_gone_arenas = session_forget_gone(session, gone, GONE_MAX);
	reply.gone_arenas = gone;
	rows.n_runs = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct session_zone *mine;
		struct share_runs placed;
		struct arena *new;

		hp_assert(records[i]);
		mine = &session->zones[records[i]->pool];
		lease_get_runs(shard->ledger, records[i], &placed);
		fill_grant(&rows, i, records[i], &placed);
		new = learn_arenas(mine, shard->pools[records[i]->pool], &placed, !records[i]->read_only);
		if (new && !new_arena) {
			new_arena = new;
			write = !records[i]->read_only;
		}
	}
	reply.id = request_id;
	n_infos = join(&reply, &rows, result, n, records[0]);
	if (result == HUGEPOOL__REPLY__RESULT_OPEN)
		(void)shares_maker_of(ledger_shares(shard->ledger), records[0]->share, &rows.open.uid,
				      &rows.open.mode);
	if (new_arena && connection_may_pass_fds(connection)) {
		int fd = introduce(&rows.info, new_arena, write);

		*n_infos = 1;
		r = connection_reply(connection, &reply, &fd, 1);
		*n_infos = 0;
	}
	if (r < 0) /* or there are no descriptors left for now: the client will ask for the arena */
		connection_reply(connection, &reply, NULL, 0);
}

/* ---- Arena ---- */

/* The arena may be on its way out: looked up, and duplicated, under the pool's lock. */
static bool reply_arena(struct connection *connection, uint64_t request_id, struct pool *pool, uint32_t slot,
			uint64_t id, bool write)
{
	Hugepool__ArenaReply arena = HUGEPOOL__ARENA_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__ArenaInfo info;
	bool is_there;
	int fd;

	lock_take(&pool->lock);
	is_there = pool_has_arena(pool, slot, id);
	if (is_there) {
		fd = introduce(&info, pool_arena(pool, slot), write);
		arena.arena = &info;
		reply.id = request_id;
		reply.result_case = HUGEPOOL__REPLY__RESULT_ARENA;
		reply.arena = &arena;
		if (connection_reply(connection, &reply, &fd, 1) < 0)
			connection_error(connection, request_id, HUGEPOOL__CODE__NO_MEMORY,
					 "the daemon has no descriptors left: try again later");
	}
	lock_drop(&pool->lock);
	return is_there;
}

enum dispatch_result arena_handle(struct connection *connection, const Hugepool__Request *request)
{
	struct session *session = connection->session;
	uint64_t id = request->arena->arena;
	uint32_t slot;
	unsigned pool;
	bool write;

	if (!connection_may_pass_fds(connection))
		connection_error(connection, request->id, HUGEPOOL__CODE__TOO_MANY,
				 "say Received for the descriptors that were sent before");
	else if (!session_find_arena(session, id, &pool, &slot, &write) ||
		 !reply_arena(connection, request->id, session->shard->pools[pool], slot, id, write))
		connection_error(connection, request->id, HUGEPOOL__CODE__NO_ARENA,
				 "this session was shown no such arena");
	return DISPATCH_DONE;
}

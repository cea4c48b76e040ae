/* alloc.c - Alloc and Resize, which may wait for pages. */
#include <config.h>

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/lease/request.h"
#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/grants.h"
#include "daemon/rpc/outcome.h"
#include "daemon/rpc/reap.h"

/* What waits or lives longer, does so for a year. */
#define TIME_MAX_MS (UINT64_C(1000) * 60 * 60 * 24 * 365)

static uint64_t bounded_ms(uint64_t ms)
{
	return ms < TIME_MAX_MS ? ms : TIME_MAX_MS;
}

/* There is no room to keep the request. */
static void refuse_to_keep(struct connection *connection, uint64_t request_id, int r, enum account_kind kind)
{
	char message[ACCOUNT_MESSAGE_MAX];

	if (r < 0)
		connection_error(connection, request_id, HUGEPOOL__CODE__NO_MEMORY,
				 "the daemon has no memory left: try again later");
	else
		connection_error(connection, request_id, HUGEPOOL__CODE__TOO_MANY, "%s",
				 account_explain(connection->session->account, kind, r, message));
}

/* ---- Alloc ---- */

static void answer_alloc(struct connection *connection, const struct lease_alloc *alloc,
			 enum lease_result result)
{
	struct lease_record *records[LEASE_MAX_BATCH];

	if (result != LEASE_OK) {
		outcome_reply_alloc(connection, alloc, result);
		return;
	}
	for (uint32_t i = 0; i < alloc->n_items; i++)
		records[i] = alloc->items[i].record;
	grants_reply(connection, alloc->request.request_id, HUGEPOOL__REPLY__RESULT_ALLOC, records,
		     alloc->n_items);
}

/* One that waits: for pages, or for the end of the dead. On the heap. */
struct waiting_alloc {
	struct reap reap; /* first */
	uint64_t mark;    /* reap_mark(), when it came */
	bool has_reaped;
	struct lease_alloc alloc; /* last: as much of it as lease_alloc_keep() has made */
};

static struct waiting_alloc *waiting_of(struct lease_alloc *alloc)
{
	return (struct waiting_alloc *)((char *)alloc - offsetof(struct waiting_alloc, alloc));
}

static void alloc_done(struct lease_alloc *alloc, enum lease_result result);

/* The dead are gone: once more, from the beginning. */
static void alloc_again(struct reap *reap, struct session *session)
{
	struct waiting_alloc *waiting = (struct waiting_alloc *)reap;
	enum lease_result result;

	if (!session) {
		lease_alloc_release(&waiting->alloc);
		return;
	}
	result = lease_alloc_start(&waiting->alloc);
	if (result == LEASE_WAIT)
		lease_alloc_wait(&waiting->alloc);
	else
		alloc_done(&waiting->alloc, result);
}

static void reap_for_alloc(struct waiting_alloc *waiting)
{
	struct session *session = waiting->alloc.request.session;

	waiting->has_reaped = true;
	waiting->reap.again = alloc_again;
	reap_start(&waiting->reap, server_of(session), session, REAP_LEASES);
}

/* Answered on whatever connection the session has then. */
static void alloc_done(struct lease_alloc *alloc, enum lease_result result)
{
	struct waiting_alloc *waiting = waiting_of(alloc);
	struct session *session = alloc->request.session;
	struct connection *connection = session->connection;

	if (!waiting->has_reaped && reap_may_help(server_of(session)->service, waiting->mark, result)) {
		reap_for_alloc(waiting);
		return;
	}
	if (connection) {
		answer_alloc(connection, alloc, result);
		connection_wake(connection);
	}
	lease_alloc_release(&waiting->alloc);
	if (session->ending)
		server_end_session(server_of(session), session);
}

/* What is wrong with the request by itself; NULL: nothing. */
static const char *find_fault(const Hugepool__Alloc *asked, Hugepool__Code *ret_code)
{
	const bool named = asked->name[0];

	*ret_code = HUGEPOOL__CODE__TOO_MANY;
	if (asked->n_n_pages > LEASE_MAX_BATCH)
		return "at most 256 items in one Alloc";
	if (asked->max_runs > RUN_LIST_MAX)
		return "at most 64 runs in one lease";
	if (asked->n_access > SHARE_ACCESS_MAX)
		return "at most 16 access entries in one Alloc";
	*ret_code = HUGEPOOL__CODE__BAD_REQUEST;
	if (asked->n_n_pages == 0 || (named && asked->n_n_pages != 1))
		return "Alloc: at least one item, and a name only with exactly one";
	if (!named && (asked->mode || asked->n_access))
		return "Alloc: mode and access are for leases with a name";
	if (asked->mode & ~0777u)
		return "Alloc: the mode is not one that a file could have";
	return NULL;
}

/* False, and answered: the host has no such NUMA node. */
static bool check_node(struct connection *connection, const Hugepool__Request *request)
{
	const struct nodes *nodes = &connection->server->service->nodes;
	const uint32_t asked = request->alloc->node; /* plus 1 */

	if (asked == 0 || nodes_has(nodes, asked - 1))
		return true;
	connection_error(connection, request->id, HUGEPOOL__CODE__BAD_REQUEST,
			 "Alloc: this host has no NUMA node %u, it has %s", asked - 1, nodes->text);
	return false;
}

_Static_assert(LEASE_MAX_BATCH == 256 && RUN_LIST_MAX == 64 && SHARE_ACCESS_MAX == 16,
	       "the sentences say these numbers");

/* False, and answered: nothing can be called that, or not by this user. */
static bool check_new_name(struct connection *connection, const Hugepool__Request *request)
{
	const struct service *service = connection->server->service;
	const struct peer *peer = &connection->session->peer;
	const uint32_t pool = request->alloc->pool;
	char name[NAME_FULL_MAX + 1];
	uid_t owner;

	if (!request->alloc->name[0])
		return true;
	if (!outcome_check_name(connection, request->id, request->alloc->name))
		return false;
	name_resolve(request->alloc->name, peer->uid, name);
	if (name_user(name, &owner)) {
		if (owner == peer->uid)
			return true;
		connection_error(connection, request->id, HUGEPOOL__CODE__NOT_ALLOWED,
				 "names that begin with ~%u/ are uid %u's: yours, of uid %u, begin with ~/",
				 owner, owner, peer->uid);
		return false;
	}
	if (pool >= service->n_pools || pool_lets_name(service->pools[pool], peer))
		return true;
	connection_error(
		connection, request->id, HUGEPOOL__CODE__NOT_ALLOWED,
		"pool %s keeps names that all share to the users whom its name_users lists: yours, of "
		"uid %u, begin with ~/",
		service->pools[pool]->config.name, peer->uid);
	return false;
}

#define MODE_DEFAULT 0600

static void read_terms(struct share_terms *terms, const Hugepool__Alloc *asked)
{
	*terms = (struct share_terms){
		.mode = asked->mode ? asked->mode : MODE_DEFAULT,
		.n_access = (unsigned)asked->n_access,
	};
	for (unsigned i = 0; i < terms->n_access; i++)
		terms->access[i] = (struct share_access){
			.id = asked->access[i]->id,
			.is_group = asked->access[i]->is_group,
			.write = asked->access[i]->write,
		};
}

/* In a large batch fewer than asked, so that the reply fits its frame. */
static unsigned max_runs_of(const Hugepool__Alloc *asked)
{
	const unsigned share = LEASE_MAX_RUNS / (unsigned)asked->n_n_pages;

	if (asked->max_runs == 0)
		return 1;
	return asked->max_runs < share ? asked->max_runs : share;
}

/* Copy the request; the arrays are not cleared, they are large. */
static void read_alloc(struct lease_alloc *alloc, struct session *session, uint64_t request_id,
		       const Hugepool__Alloc *asked)
{
	alloc->request.session = session;
	alloc->request.request_id = request_id;
	alloc->request.zone = NULL;
	alloc->pool = asked->pool;
	alloc->n_items = (uint32_t)asked->n_n_pages;
	alloc->want = (struct want){
		.align_pages = asked->align_pages,
		.max_runs = max_runs_of(asked),
		.node = asked->node ? (int)(asked->node - 1) : -1,
		.no_zero = asked->no_zero,
	};
	alloc->detached = asked->detached;
	alloc->revocable = asked->revocable;
	alloc->wait_ms = bounded_ms(asked->wait_ms);
	alloc->lifetime_ms = bounded_ms(asked->lifetime_ms);
	alloc->done = alloc_done;
	alloc->name[0] = 0;
	if (asked->name[0]) {
		name_resolve(asked->name, session->peer.uid, alloc->name);
		read_terms(&alloc->terms, asked);
	}
	for (uint32_t i = 0; i < alloc->n_items; i++)
		alloc->items[i].n_pages = asked->n_pages[i];
}

static void let_alloc_wait(struct connection *connection, struct lease_alloc *alloc, uint64_t mark,
			   enum lease_result result)
{
	struct waiting_alloc *waiting;
	enum account_kind kind;
	int r = lease_alloc_keep(alloc, offsetof(struct waiting_alloc, alloc), &waiting, &kind);

	if (r != 0 && result != LEASE_WAIT) {
		answer_alloc(connection, alloc, result);
		return;
	}
	if (r != 0) {
		lease_alloc_unwind(alloc);
		refuse_to_keep(connection, alloc->request.request_id, r, kind);
		return;
	}
	waiting->mark = mark;
	waiting->has_reaped = false;
	if (result == LEASE_WAIT)
		lease_alloc_wait(&waiting->alloc);
	else
		reap_for_alloc(waiting);
}

enum dispatch_result alloc_handle(struct connection *connection, const Hugepool__Request *request)
{
	struct session *session = connection->session;
	const uint64_t mark = reap_mark();
	enum lease_result result;
	struct lease_alloc alloc;
	Hugepool__Code code;
	const char *fault = find_fault(request->alloc, &code);

	if (fault) {
		connection_error(connection, request->id, code, "%s", fault);
		return DISPATCH_DONE;
	}
	if (!check_node(connection, request) || !check_new_name(connection, request))
		return DISPATCH_DONE;
	if (request->again && lease_request_is_waiting(session, request->id))
		return DISPATCH_DONE;
	read_alloc(&alloc, session, request->id, request->alloc);
	result = request->again && lease_alloc_find_again(&alloc) ? LEASE_OK : lease_alloc_start(&alloc);
	if (result == LEASE_WAIT || reap_may_help(connection->server->service, mark, result))
		let_alloc_wait(connection, &alloc, mark, result);
	else
		answer_alloc(connection, &alloc, result);
	return DISPATCH_DONE;
}

/* ---- Resize: asked again, it does nothing twice by itself ---- */

static void answer_resize(struct connection *connection, const struct lease_resize *resize,
			  enum lease_result result)
{
	if (result == LEASE_OK)
		grants_reply(connection, resize->request.request_id, HUGEPOOL__REPLY__RESULT_RESIZE,
			     &resize->record, 1);
	else
		outcome_reply_resize(connection, resize, result);
}

/* One that waits, on the heap. */
struct waiting_resize {
	struct reap reap; /* first */
	uint64_t mark;    /* reap_mark(), when it came */
	bool has_reaped;
	struct lease_resize resize;
};

static void resize_done(struct lease_resize *resize, enum lease_result result);

static void resize_again(struct reap *reap, struct session *session)
{
	struct waiting_resize *waiting = (struct waiting_resize *)reap;
	enum lease_result result;

	if (!session) {
		lease_resize_release(&waiting->resize);
		return;
	}
	result = lease_resize_start(&waiting->resize);
	if (result == LEASE_WAIT)
		lease_resize_wait(&waiting->resize);
	else
		resize_done(&waiting->resize, result);
}

static void reap_for_resize(struct waiting_resize *waiting)
{
	struct session *session = waiting->resize.request.session;

	waiting->has_reaped = true;
	waiting->reap.again = resize_again;
	reap_start(&waiting->reap, server_of(session), session, REAP_LEASES);
}

static void resize_done(struct lease_resize *resize, enum lease_result result)
{
	struct waiting_resize *waiting =
		(struct waiting_resize *)((char *)resize - offsetof(struct waiting_resize, resize));
	struct session *session = resize->request.session;
	struct connection *connection = session->connection;

	if (!waiting->has_reaped && reap_may_help(server_of(session)->service, waiting->mark, result)) {
		reap_for_resize(waiting);
		return;
	}
	if (connection) {
		answer_resize(connection, resize, result);
		connection_wake(connection);
	}
	lease_resize_release(&waiting->resize);
	if (session->ending)
		server_end_session(server_of(session), session);
}

static void let_resize_wait(struct connection *connection, const struct lease_resize *resize, uint64_t mark,
			    enum lease_result result)
{
	struct waiting_resize *waiting;
	enum account_kind kind;
	int r = lease_resize_keep(resize, offsetof(struct waiting_resize, resize), &waiting, &kind);

	if (r != 0 && result != LEASE_WAIT) {
		answer_resize(connection, resize, result);
		return;
	}
	if (r != 0) {
		refuse_to_keep(connection, resize->request.request_id, r, kind);
		return;
	}
	waiting->mark = mark;
	waiting->has_reaped = false;
	if (result == LEASE_WAIT)
		lease_resize_wait(&waiting->resize);
	else
		reap_for_resize(waiting);
}

enum dispatch_result resize_handle(struct connection *connection, const Hugepool__Request *request)
{
	const Hugepool__Resize *asked = request->resize;
	const uint64_t mark = reap_mark();
	struct lease_resize resize;
	enum lease_result result;

	if (asked->max_runs > RUN_LIST_MAX) {
		connection_error(connection, request->id, HUGEPOOL__CODE__TOO_MANY,
				 "at most %d runs in one lease", RUN_LIST_MAX);
		return DISPATCH_DONE;
	}
	if (request->again && lease_request_is_waiting(connection->session, request->id))
		return DISPATCH_DONE;
	resize.request.session = connection->session;
	resize.request.request_id = request->id;
	resize.request.zone = NULL;
	resize.id = asked->lease;
	resize.n_pages = asked->n_pages;
	resize.max_runs = asked->max_runs ? asked->max_runs : 1;
	resize.wait_ms = bounded_ms(asked->wait_ms);
	resize.done = resize_done;
	result = lease_resize_start(&resize);
	if (result == LEASE_WAIT || reap_may_help(connection->server->service, mark, result))
		let_resize_wait(connection, &resize, mark, result);
	else
		answer_resize(connection, &resize, result);
	return DISPATCH_DONE;
}

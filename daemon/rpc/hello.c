/* hello.c - the beginning and the end of a session: Hello, Bye, and Received. */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/lease/request.h"
#include "daemon/rpc/deaths.h"
#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/reap.h"

#define PROTOCOL_VERSION 1

static void reply_hello(struct connection *connection, uint64_t request_id, bool continued)
{
	const struct service *service = connection->server->service;
	Hugepool__HelloReply hello = HUGEPOOL__HELLO_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__PoolInfo pools[POOLS_MAX], *pool_ptrs[POOLS_MAX];

	for (unsigned i = 0; i < service->n_pools; i++) {
		const struct pool_config *config = &service->pools[i]->config;

		pools[i] = (Hugepool__PoolInfo)HUGEPOOL__POOL_INFO__INIT;
		pools[i].pool = i;
		pools[i].name = (char *)config->name;
		pools[i].page_bytes = config->page_bytes;
		pools[i].pages_max = config->max_pages;
		pool_ptrs[i] = &pools[i];
	}
	hello.version = PROTOCOL_VERSION;
	hello.daemon_version = (char *)PACKAGE_VERSION;
	hello.session = connection->session->id;
	hello.token.data = connection->session->token;
	hello.token.len = SESSION_TOKEN_BYTES;
	hello.continued = continued;
	hello.n_pools = service->n_pools;
	hello.pools = pool_ptrs;
	hello.max_batch = LEASE_MAX_BATCH;
	reply.id = request_id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_HELLO;
	reply.hello = &hello;
	connection_reply(connection, &reply, NULL, 0);
}

/* ---- a Hello that waits for a seat of somebody dead ---- */

struct hello_reap {
	struct reap reap; /* first */
	struct connection *connection;
};

static void hello_again(struct reap *reap, struct session *session)
{
	struct hello_reap *waiting = (struct hello_reap *)reap;

	connection_give(waiting->connection, waiting->connection->server);
	free(waiting);
}

/* True: the connection is away until then, and comes back with its hello. */
static bool wait_for_seat(struct connection *connection, const struct pending_hello *hello, uint64_t mark)
{
	struct hello_reap *waiting;

	if (hello->has_reaped || !reap_is_due(connection->server->service, mark))
		return false;
	waiting = malloc(sizeof(*waiting));
	if (!waiting)
		return false;
	connection->hello = *hello;
	connection->hello.has_reaped = connection->hello.is_set = true;
	connection_leave(connection);
	waiting->connection = connection;
	waiting->reap.again = hello_again;
	reap_start(&waiting->reap, connection->server, NULL, REAP_SEATS);
	return true;
}

/* The user, or everybody, has as many seats taken as may be (`r`, as seats_take() says), or there is no
 * memory for one more. Returns DISPATCH_MOVED if it waits for one. */
static enum dispatch_result refuse_seat(struct connection *connection, const struct pending_hello *hello,
					uint64_t mark, int r)
{
	if (r > 0 && wait_for_seat(connection, hello, mark))
		return DISPATCH_MOVED;
	if (r > 0)
		connection_error(connection, hello->request_id, HUGEPOOL__CODE__TOO_MANY,
				 r == SEATS_FULL ? "the daemon has as many sessions as it may: try again "
						   "later, or its operator "
						   "raises max_sessions or its limit of descriptors"
						 : "this user has as many sessions as it may: close some");
	else
		connection_error(connection, hello->request_id, HUGEPOOL__CODE__NO_MEMORY,
				 "no memory for a session: %s", strerror(-r));
	return DISPATCH_DONE;
}

static enum dispatch_result start_session(struct connection *connection, const struct pending_hello *hello)
{
	const uint64_t request_id = hello->request_id, mark = reap_mark();
	struct server *server = connection->server;
	struct seats *seats = server->service->seats;
	struct session *session;
	int r;

	r = seats_take(seats, connection->peer.uid, SEAT_SESSION);
	if (r == 0) {
		r = session_new(&server->shard, &connection->peer, connection->pid_fd, hello->client,
				&session);
		if (r < 0)
			seats_leave(seats, connection->peer.uid, SEAT_SESSION);
	}
	if (r != 0)
		return refuse_seat(connection, hello, mark, r);
	/* The session has the groups and the pidfd now. */
	deaths_forget_connection(connection);
	connection->pid_fd = -1;
	connection->peer.groups = NULL;
	connection->peer.n_groups = 0;
	r = server_add_session(server, session);
	if (r < 0) {
		session_free(session);
		connection_error(connection, request_id, HUGEPOOL__CODE__NO_MEMORY,
				 "no memory for a session");
		connection->closing = true;
		return DISPATCH_DONE;
	}
	connection->session = session;
	session_set_connection(session, connection, &session->holders[0]);
	reply_hello(connection, request_id, false);
	return DISPATCH_DONE;
}

/* ---- a session that there is ---- */

/* Make the process at the other end a holder of the session. *ret_holder is NULL when it has been told why it
 * is not, or (DISPATCH_MOVED) waits for a seat. */
static enum dispatch_result join(struct connection *connection, struct session *session,
				 const struct pending_hello *hello, struct holder **ret_holder)
{
	const uint64_t mark = reap_mark();
	struct holder *holder;
	int r;

	*ret_holder = NULL;
	if (connection->pid_fd < 0 || session->n_holders == SESSION_HOLDERS_MAX) {
		const bool had_one = connection->pid_fd < 0;

		connection_error(
			connection, hello->request_id,
			had_one ? HUGEPOOL__CODE__NOT_HELLO : HUGEPOOL__CODE__TOO_MANY,
			had_one ? "this connection had its session: connect again"
				: "as many processes hold this session as may: start one of its own");
		return DISPATCH_DONE;
	}
	r = seats_take(session->shard->seats, connection->peer.uid, SEAT_SESSION);
	if (r != 0)
		return refuse_seat(connection, hello, mark, r);
	holder = holder_add(session, &connection->peer, connection->pid_fd);
	deaths_forget_connection(connection);
	connection->pid_fd = -1;
	r = deaths_watch_holder(holder);
	if (r < 0) {
		holder_remove(holder);
		seats_leave(session->shard->seats, connection->peer.uid, SEAT_SESSION);
		connection->closing = true;
		return refuse_seat(connection, hello, mark, r);
	}
	*ret_holder = holder;
	return DISPATCH_DONE;
}

/* On the worker that owns the session. */
static enum dispatch_result continue_session(struct connection *connection)
{
	const struct pending_hello hello = connection->hello;
	struct session *session = session_find(&connection->server->shard, hello.session);
	struct holder *holder = NULL;

	connection->hello.is_set = false;
	if (session)
		holder = session_claim(session, &connection->peer, hello.token, sizeof(hello.token));
	if (session && !holder && hello.join) {
		/* The places, and the session, of those who are dead are nobody's. */
		deaths_collect_of(session, NULL);
		if (session_may_be_joined(session, &connection->peer, hello.token, sizeof(hello.token))) {
			enum dispatch_result result = join(connection, session, &hello, &holder);

			if (!holder)
				return result;
		}
	}
	if (!holder) {
		connection_error(
			connection, hello.request_id, HUGEPOOL__CODE__NO_SESSION,
			"no such session of this process at this socket, or it has ended: start a new one");
		return DISPATCH_DONE;
	}
	/* The client noticed before us that its old connection is broken, or another holder has had it. */
	if (session->connection)
		connection_close(session->connection);
	connection->session = session;
	session_set_connection(session, connection, holder);
	reply_hello(connection, hello.request_id, true);
	return DISPATCH_DONE;
}

enum dispatch_result dispatch_pending_hello(struct connection *connection)
{
	const struct pending_hello hello = connection->hello;

	/* It has waited for its seat once, and does not move again. */
	if (!hello.has_reaped || hello.session != 0)
		return continue_session(connection);
	connection->hello.is_set = false;
	return start_session(connection, &hello);
}

static enum dispatch_result start_new(struct connection *connection, uint64_t request_id, const char *client)
{
	struct pending_hello hello = {.request_id = request_id};

	memcpy(hello.client, client, strnlen(client, sizeof(hello.client) - 1));
	return start_session(connection, &hello);
}

enum dispatch_result hello_handle(struct connection *connection, const Hugepool__Request *request)
{
	const struct service *service = connection->server->service;
	const Hugepool__Hello *hello = request->hello;
	unsigned worker = session_worker(hello->session);

	if (connection->session) {
		connection_error(connection, request->id, HUGEPOOL__CODE__NOT_HELLO,
				 "this connection has a session");
		return DISPATCH_DONE;
	}
	if (hello->version == 0) {
		connection_error(connection, request->id, HUGEPOOL__CODE__BAD_REQUEST,
				 "the protocol version is missing: this daemon speaks 1 to %d",
				 PROTOCOL_VERSION);
		return DISPATCH_DONE;
	}
	if (hello->session == 0 && hello->join) {
		connection_error(connection, request->id, HUGEPOOL__CODE__BAD_REQUEST,
				 "there is no session to join: its number and token are missing");
		return DISPATCH_DONE;
	}
	if (hello->session == 0) {
		if (connection->pid_fd < 0)
			connection_error(connection, request->id, HUGEPOOL__CODE__NOT_HELLO,
					 "this connection had its session: connect again");
		else
			return start_new(connection, request->id, hello->client);
		return DISPATCH_DONE;
	}
	connection->hello = (struct pending_hello){
		.request_id = request->id, .session = hello->session, .join = hello->join, .is_set = true};
	if (hello->token.len == SESSION_TOKEN_BYTES)
		memcpy(connection->hello.token, hello->token.data, SESSION_TOKEN_BYTES);
	else
		connection->hello.session = 0;
	if (worker < service->n_servers && worker != connection->server->shard.index) {
		connection_move(connection, service->servers[worker]);
		return DISPATCH_MOVED;
	}
	return continue_session(connection);
}

enum dispatch_result received_handle(struct connection *connection, const Hugepool__Request *request)
{
	connection_received(connection);
	return DISPATCH_DONE;
}

/* One of several holders leaves the session to the others. The last one's is answered when the last lease has
 * ended. */
enum dispatch_result bye_handle(struct connection *connection, const Hugepool__Request *request)
{
	struct session *session = connection->session;
	struct holder *speaker = session->speaker;

	connection->bye_id = request->id;
	deaths_collect_of(session, speaker);
	if (session->n_holders == 1) {
		server_end_session(connection->server, session);
		return DISPATCH_DONE;
	}
	session_set_connection(session, NULL, NULL);
	connection_said_bye(connection);
	deaths_release(speaker);
	return DISPATCH_DONE;
}

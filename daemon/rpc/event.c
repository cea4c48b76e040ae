/* event.c - see event.h; and Subscribe. */
#include <config.h>

#include "daemon/rpc/event.h"

#include <stddef.h>
#include <stdlib.h>

#include "daemon/rpc/connection.h"
#include "daemon/rpc/dispatch.h"

static bool wants(const struct session *session, Hugepool__EventKind kind)
{
	return session->events & 1u << kind;
}

static bool can_be_told(const struct session *session)
{
	return session->connection && connection_takes_more(session->connection);
}

static void keep(struct session *session, Hugepool__EventKind kind, const struct pool *pool)
{
	if (kind == HUGEPOOL__EVENT_KIND__PRESSURE)
		pool_set_add(&session->kept_pressure, pool->index);
	else
		session->missed_events = true;
}

void event_send(struct session *session, Hugepool__EventKind kind, const struct pool *pool, uint64_t lease,
		uint64_t arena)
{
	struct connection *connection = session->connection;
	Hugepool__Event event = HUGEPOOL__EVENT__INIT, *events = &event;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	if (!wants(session, kind))
		return;
	if (!can_be_told(session)) {
		keep(session, kind, pool);
		return;
	}
	event.kind = kind;
	event.pool = (char *)pool->config.name;
	event.lease = lease;
	event.arena = arena;
	event.missed = session->missed_events;
	reply.n_events = 1;
	reply.events = &events;
	if (connection_reply(connection, &reply, NULL, 0) == 0) {
		session->missed_events = false;
		session->told_events = true;
	} else {
		keep(session, kind, pool);
	}
	connection_wake(connection);
}

void event_send_kept(struct server *server)
{
	for (struct session *session = server->shard.first; session; session = session->next) {
		struct pool_set kept = session->kept_pressure;
		unsigned i;

		session->kept_pressure = (struct pool_set){0};
		while (pool_set_take(&kept, &i))
			event_send(session, HUGEPOOL__EVENT_KIND__PRESSURE, server->shard.pools[i], 0, 0);
	}
}

/* What happens to a pool is not for those whom it does not admit. */
static bool may_be_told(const struct server *server, const struct session *session, const struct pool *pool)
{
	return pool_admits(pool, &session->peer) || server_is_admin(server, &session->peer);
}

static void send_all(struct server *server, Hugepool__EventKind kind, const struct pool *pool, uint64_t arena)
{
	for (struct session *session = server->shard.first; session; session = session->next)
		if (may_be_told(server, session, pool))
			event_send(session, kind, pool, 0, arena);
}

void event_deliver_pressure(struct server *server)
{
	struct pool_set pools = pool_set_take_all_shared(&server->pressure);
	unsigned i;

	while (pool_set_take(&pools, &i))
		send_all(server, HUGEPOOL__EVENT_KIND__PRESSURE, server->shard.pools[i], 0);
}

/* ---- later ---- */

struct late_event {
	struct letter letter; /* first */
	struct release_watch watch;
	struct late_event *next; /* in its list */
	struct server *server;
	uint64_t session, lease;
	Hugepool__EventKind kind;
	struct pool *pool;
};

void event_hold(struct late_event **list, struct session *session, Hugepool__EventKind kind,
		struct pool *pool, uint64_t lease)
{
	struct late_event *event;

	if (!wants(session, kind))
		return;
	event = malloc(sizeof(*event));
	if (!event) {
		event_send(session, kind, pool, lease, 0);
		return;
	}
	*event = (struct late_event){
		.next = *list,
		.server = server_of(session),
		.session = session->id,
		.lease = lease,
		.kind = kind,
		.pool = pool,
	};
	*list = event;
}

static void at_worker(struct letter *letter)
{
	struct late_event *event = (struct late_event *)letter;
	struct session *session = session_find(&event->server->shard, event->session);

	if (session)
		event_send(session, event->kind, event->pool, event->lease, 0);
	free(event);
}

static void post(struct late_event *event)
{
	event->letter.deliver = at_worker;
	mailbox_post(&event->server->mailbox, &event->letter);
}

static void released(struct release_watch *watch)
{
	post((struct late_event *)((char *)watch - offsetof(struct late_event, watch)));
}

static void post_released(struct late_event *event)
{
	event->watch.gone = released;
	if (!pool_watch_released(event->pool, &event->watch))
		post(event);
}

static void post_each(struct late_event **list, void (*post_one)(struct late_event *event))
{
	struct late_event *event;

	while ((event = *list)) {
		*list = event->next;
		post_one(event);
	}
}

void event_post_all(struct late_event **list)
{
	post_each(list, post);
}

void event_post_all_released(struct late_event **list)
{
	post_each(list, post_released);
}

/* ---- from other threads ---- */

/* What operators do is rare enough for a letter of its own. */
struct broadcast {
	struct letter letter;
	struct server *server;
	const struct pool *pool;
	Hugepool__EventKind kind;
	uint64_t arena;
};

static void deliver(struct letter *letter)
{
	struct broadcast *broadcast = (struct broadcast *)letter;

	send_all(broadcast->server, broadcast->kind, broadcast->pool, broadcast->arena);
	free(broadcast);
}

void event_broadcast(void *arg, const struct pool *pool, enum pool_signal signal, uint64_t arena)
{
	const struct service *service = arg;

	for (unsigned i = 0; i < service->n_servers; i++) {
		struct server *server = service->servers[i];
		struct broadcast *broadcast;

		if (signal == POOL_PRESSURE) {
			pool_set_add_shared(&server->pressure, pool->index);
			mailbox_ring(&server->mailbox);
			continue;
		}
		broadcast = malloc(sizeof(*broadcast));
		if (!broadcast)
			continue;
		*broadcast = (struct broadcast){
			.letter = {.deliver = deliver},
			.server = server,
			.pool = pool,
			.kind = signal == POOL_DRAINED ? HUGEPOOL__EVENT_KIND__DRAINED
						       : HUGEPOOL__EVENT_KIND__RESTORED,
			.arena = arena,
		};
		mailbox_post(&server->mailbox, &broadcast->letter);
	}
}

enum dispatch_result subscribe_handle(struct connection *connection, const Hugepool__Request *request)
{
	Hugepool__SubscribeReply subscribe = HUGEPOOL__SUBSCRIBE_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	connection->session->events = request->subscribe->kinds;
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_SUBSCRIBE;
	reply.subscribe = &subscribe;
	connection_reply(connection, &reply, NULL, 0);
	return DISPATCH_DONE;
}

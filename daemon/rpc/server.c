/* server.c - see server.h. */
#include <config.h>

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/base/descriptors.h"
#include "daemon/rpc/connection.h"
#include "daemon/rpc/deaths.h"
#include "daemon/rpc/errand.h"
#include "daemon/rpc/event.h"
#include "daemon/rpc/eviction.h"
#include "daemon/rpc/reap.h"
#include "daemon/rpc/server.h"

#define END_SLICE        2048 /* leases, and runs of them, that end before other clients get their turn */
#define MAIL_SLICE       32   /* letters */
#define FLUSH_MS         5    /* freed pages reach the scrubber after this at the latest */
#define UNPACK_MAX       (256u << 10)
#define BASE_DESCRIPTORS 4 /* of an event base, at most */

#define ERRANDS_UID ((uid_t)-1) /* no client can have it */

/* Turns between two looks for what is new: as many short ones, or as many as begin within one long one. */
#define RUN_SLICE 8

/* Call the event again, after the next look for what is new. One that made itself active would be all that is
 * ever handled. */
static void go_on_later(struct event *event)
{
	const struct timeval at_once = {0};

	event_add(event, &at_once);
}

/* ---- turns ---- */

static void on_run(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	const uint64_t end_ns = clock_now_ns() + CONNECTION_TURN_NS;
	struct run_item *item;
	unsigned n_left = RUN_SLICE;

	server->is_running = true;
	while ((item = run_queue_take(&server->run_queue))) {
		item->run(item);
		if (--n_left == 0 || clock_now_ns() >= end_ns) {
			go_on_later(server->run_event);
			break;
		}
	}
	server->is_running = false;
}

void server_queue(struct server *server, struct run_user *user, struct run_item *item)
{
	run_queue_add(&server->run_queue, user, item);
	if (!server->is_running && !event_pending(server->run_event, EV_TIMEOUT, NULL))
		event_active(server->run_event, EV_TIMEOUT, 0);
}

/* The letters of other threads. */
static void on_mail(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	server->shard.now_ns = clock_now_ns();
	mailbox_deliver_some(&server->mailbox, MAIL_SLICE);
	event_deliver_pressure(server);
	server_end_turn(server);
}

static void run_errand(struct run_item *item)
{
	struct server *server = (struct server *)((char *)item - offsetof(struct server, errands_run));

	server->shard.now_ns = clock_now_ns();
	if (errand_visit_next(server))
		server_queue(server, server->errands_user, item);
	server_end_turn(server);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	shard_flush_freed(&server->shard);
}

/* Leases whose time is over. */
static void on_due(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	server->due_ns = 0;
	server->shard.now_ns = clock_now_ns();
	eviction_of_due(server);
	server_end_turn(server);
}

static void watch_deadlines(struct server *server)
{
	const struct lease_record *first = deadlines_first(&server->shard.deadlines, server->shard.ledger);
	struct timeval delay = {0};
	uint64_t now_ns;

	if (!first || (server->due_ns > 0 && server->due_ns <= first->deadline_ns))
		return;
	now_ns = clock_now_ns();
	if (first->deadline_ns > now_ns) {
		delay.tv_sec = (time_t)((first->deadline_ns - now_ns) / NS_PER_S);
		delay.tv_usec = (suseconds_t)((first->deadline_ns - now_ns) % NS_PER_S / 1000 + 1);
	}
	if (event_add(server->due_event, &delay) == 0)
		server->due_ns = first->deadline_ns;
}

void server_end_turn(struct server *server)
{
	const struct timeval delay = {.tv_usec = FLUSH_MS * 1000};

	if (server->shard.freed && !event_pending(server->flush_event, EV_TIMEOUT, NULL))
		event_add(server->flush_event, &delay);
	watch_deadlines(server);
}

/* ---- the end of sessions ---- */

static void free_session(struct server *server, struct session *session)
{
	struct connection *connection = session->connection;

	if (connection)
		connection_said_bye(connection);
	session_set_connection(session, NULL, NULL);
	deaths_forget_holders(session);
	session_free(session);
	reap_note_gone();
	atomic_fetch_sub(&server->n_sessions, 1);
	atomic_fetch_sub(&server->n_ending, 1);
}

static void maybe_stop(struct server *server)
{
	if (server->stopping && !server->shard.first && !server->connections)
		event_base_loopbreak(server->base);
}

/* A slice of the sessions that are ending. Those that wait for the stocker's answer, or have an errand out,
 * are looked at when it has come. */
static void on_ending(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;
	struct session **link = &server->ending, *session;
	uint64_t n_left = END_SLICE;

	while (n_left > 0 && (session = *link)) {
		const bool had_none = session->n_leases == 0, has_ended = session_end(session, &n_left);

		/* That is some work, too. */
		n_left -= had_none && has_ended;
		if (!has_ended || (session->n_errands > 0 && !server->stopping)) {
			link = &session->next_ending;
			continue;
		}
		*link = session->next_ending;
		if (!*link)
			server->ending_tail = link;
		free_session(server, session);
	}
	server_end_turn(server);
	if (n_left == 0)
		go_on_later(server->ending_event);
	errand_unpark_all(server);
	maybe_stop(server);
}

void server_end_session(struct server *server, struct session *session)
{
	if (session->ending_number == 0) {
		atomic_fetch_add(&server->n_ending, 1);
		session->ending_number = ++server->last_ending;
		session->next_ending = NULL;
		*server->ending_tail = session;
		server->ending_tail = &session->next_ending;
	}
	session->ending = true;
	event_active(server->ending_event, EV_TIMEOUT, 0);
}

bool server_has_ended(const struct server *server, uint64_t number, bool gone)
{
	for (const struct session *session = server->ending; session; session = session->next_ending) {
		if (session->ending_number > number)
			break;
		if (gone || session->n_leases > 0 || session->requests)
			return false;
	}
	return true;
}

/* Processes have died. */
static void on_deaths(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	server->shard.now_ns = clock_now_ns();
	(void)deaths_collect(server);
}

int server_add_session(struct server *server, struct session *session)
{
	int r = deaths_watch_holder(&session->holders[0]);

	if (r == 0)
		atomic_fetch_add(&server->n_sessions, 1);
	return r;
}

struct pool *server_find_pool(const struct server *server, const char *name)
{
	const struct service *service = server->service;

	for (unsigned i = 0; i < service->n_pools; i++)
		if (strcmp(service->pools[i]->config.name, name) == 0)
			return service->pools[i];
	return NULL;
}

bool server_is_admin(const struct server *server, const struct peer *peer)
{
	return admins_has(&server->service->admins, peer);
}

/* ---- the loop ---- */

static void on_second(evutil_socket_t fd, short what, void *arg)
{
	struct server *server = arg;

	server->shard.now_ns = clock_now_ns();
	connections_check_time(server);
	event_send_kept(server);
	on_ending(-1, 0, server);
}

/* libevent ends the process when it cannot have the pair that its signals come by. */
static struct event_base *new_base(void)
{
	return descriptors_count_free(BASE_DESCRIPTORS) < BASE_DESCRIPTORS ? NULL : event_base_new();
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

int server_init(struct server *server, const struct service *service, unsigned index)
{
	const struct timeval second = {.tv_sec = 1};
	int r;

	*server = (struct server){.service = service, .deaths_fd = -1, .mailbox = MAILBOX_NONE};
	server->shard = (struct shard){
		.index = index,
		.ledger = service->ledger,
		.pools = service->pools,
		.n_pools = service->n_pools,
		.seats = service->seats,
		.accounts = service->accounts,
	};
	run_queue_init(&server->run_queue);
	r = mailbox_init(&server->mailbox);
	if (r < 0)
		return r;
	server->ending_tail = &server->ending;
	r = deaths_init(server);
	if (r < 0)
		return r;
	r = bump_init(&server->bump, UNPACK_MAX);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < 2; i++)
		server->errands[i].tail = &server->errands[i].head;
	server->errands_run.run = run_errand;
	server->errands_user = run_queue_get_user(&server->run_queue, ERRANDS_UID);
	server->base = new_base();
	if (!server->base || !server->errands_user)
		return -ENOMEM;
	server->mail_event =
		event_new(server->base, server->mailbox.event_fd, EV_READ | EV_PERSIST, on_mail, server);
	server->flush_event = event_new(server->base, -1, 0, on_flush, server);
	server->second_event = event_new(server->base, -1, EV_PERSIST, on_second, server);
	server->due_event = event_new(server->base, -1, 0, on_due, server);
	server->ending_event = event_new(server->base, -1, 0, on_ending, server);
	server->run_event = event_new(server->base, -1, 0, on_run, server);
	server->deaths_event =
		event_new(server->base, server->deaths_fd, EV_READ | EV_PERSIST, on_deaths, server);
	if (!server->deaths_event || event_add(server->deaths_event, NULL) != 0)
		return -ENOMEM;
	if (!server->mail_event || !server->flush_event || !server->ending_event || !server->second_event ||
	    !server->due_event || !server->run_event || event_add(server->mail_event, NULL) != 0 ||
	    event_add(server->second_event, &second) != 0)
		return -ENOMEM;
	return 0;
}

void server_fini(struct server *server)
{
	hp_assert(!server->connections && !server->shard.first);
	hp_assert(!server->errands[0].head && !server->errands[1].head && !server->parked);
	free_event(server->mail_event);
	free_event(server->flush_event);
	free_event(server->ending_event);
	free_event(server->second_event);
	free_event(server->due_event);
	free_event(server->run_event);
	run_queue_remove(&server->errands_run);
	server->errands_user = run_queue_put_user(&server->run_queue, server->errands_user);
	run_queue_fini(&server->run_queue);
	free_event(server->deaths_event);
	deaths_fini(server);
	shard_fini(&server->shard);
	if (server->base)
		event_base_free(server->base);
	bump_fini(&server->bump);
	mailbox_fini(&server->mailbox);
}

void server_run(struct server *server)
{
	event_base_loop(server->base, EVLOOP_NO_EXIT_ON_EMPTY);
	shard_flush_freed(&server->shard);
}

static void stop(struct letter *letter)
{
	struct server *server = (struct server *)((char *)letter - offsetof(struct server, stop_letter));

	server->stopping = true;
	errand_unpark_all(server);
	while (errand_visit_next(server))
		;
	while (server->connections)
		connection_close(server->connections);
	for (struct session *session = server->shard.first; session; session = session->next)
		server_end_session(server, session);
	event_active(server->ending_event, EV_TIMEOUT, 0);
}

void server_stop(struct server *server)
{
	server->stop_letter.deliver = stop;
	mailbox_post(&server->mailbox, &server->stop_letter);
}

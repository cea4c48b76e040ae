/* requests_client.c - see requests_client.h. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "tests/fuzz/requests_client.h"
#include "tests/fuzz/requests_daemon.h"
#include "tests/fuzz/requests_peer.h"

#define ANSWER_MS    60000
#define DUE_MAX      4096 /* requests under way */
#define DUE_SOFT     200  /* no more are sent: they would be lost when the connection breaks */
#define WAITING_MAX  8    /* of those that wait for memory; of a session's, fewer than would stop it */
#define OUT_BYTES    (1u << 17)
#define OUT_FULL     (1u << 15) /* the next request is left out */
#define OUT_SOFT     (4u << 10) /* is sent */
#define DAMAGE_EVERY 64         /* a descriptor's file loses a page */

struct client {
	unsigned peer;
	int fd;
	struct frame_reader *reader;
	uint8_t *out;
	size_t n_out;
	size_t n_unsent; /* of the frame that out begins in the middle of */
	uint64_t last_id, hello_id;
	uint64_t session; /* 0: none */
	bool is_leaving;  /* Bye has been said */
	bool was_refused; /* its Hello */
	uint8_t token[SESSION_TOKEN_BYTES];
	unsigned n_due;     /* replies that must come soon */
	unsigned n_waiting; /* and when there is memory */
	struct {
		uint64_t id; /* 0: none */
		bool waits;
		Hugepool__Request__MethodCase method;
	} due[DUE_MAX];
	struct fuzz_message kept;
	struct fuzz_ring leases, arenas;
};

static struct client clients[FUZZ_CLIENTS];
static struct fuzz_known known;
static struct fuzz_counts counts;

struct fuzz_known *fuzz_known(void)
{
	return &known;
}

const struct fuzz_counts *fuzz_counts(void)
{
	return &counts;
}

/* ---- connections ---- */

static void forget_due(struct client *client)
{
	memset(client->due, 0, sizeof(client->due));
	client->n_due = 0;
}

static void disconnect(struct client *client)
{
	if (client->fd >= 0)
		close(client->fd);
	client->fd = -1;
	client->reader = frame_reader_free(client->reader);
	client->n_out = client->n_unsent = 0;
	client->session = 0;
	client->is_leaving = client->was_refused = false;
	forget_due(client);
}

/* ---- what the daemon says ---- */

/* Its answers are due once. */
static void settle_due(struct client *client, uint64_t id)
{
	if (id == 0 || client->due[id % DUE_MAX].id != id)
		return;
	client->due[id % DUE_MAX].id = 0;
	if (client->due[id % DUE_MAX].waits)
		client->n_waiting--;
	else
		client->n_due--;
}

static void take_grant(struct client *client, const Hugepool__Grant *grant)
{
	hp_assert(grant && grant->lease != 0 && grant->n_runs > 0);
	fuzz_ring_add(&known.leases, grant->lease);
	fuzz_ring_add(&client->leases, grant->lease);
	for (size_t i = 0; i < grant->n_runs; i++) {
		hp_assert(grant->runs[i]->n_pages > 0 && grant->runs[i]->arena != 0);
		fuzz_ring_add(&known.arenas, grant->runs[i]->arena);
		fuzz_ring_add(&client->arenas, grant->runs[i]->arena);
	}
	counts.grants++;
}

static void take_status(const Hugepool__StatusReply *status)
{
	for (size_t i = 0; i < status->n_pools; i++) {
		const Hugepool__PoolStatus *pool = status->pools[i];

		hp_assert(pool->pages_backed <= pool->pages_max);
		hp_assert(pool->pages_backed ==
			  pool->pages_leased + pool->pages_orphaned + pool->pages_clean + pool->pages_dirty +
				  pool->pages_cached + pool->pages_stock + pool->pages_limbo);
	}
}

static void take_result(struct client *client, const Hugepool__Reply *reply)
{
	switch (reply->result_case) {
	case HUGEPOOL__REPLY__RESULT_HELLO:
		client->session = reply->hello->session;
		hp_assert(client->session != 0 && reply->hello->token.len == sizeof(client->token));
		memcpy(client->token, reply->hello->token.data, sizeof(client->token));
		fuzz_ring_add(&known.sessions, client->session);
		return;
	case HUGEPOOL__REPLY__RESULT_ALLOC:
		for (size_t i = 0; i < reply->alloc->n_grants; i++)
			take_grant(client, reply->alloc->grants[i]);
		return;
	case HUGEPOOL__REPLY__RESULT_OPEN:
		take_grant(client, reply->open->grant);
		return;
	case HUGEPOOL__REPLY__RESULT_RESIZE:
		take_grant(client, reply->resize->grant);
		return;
	case HUGEPOOL__REPLY__RESULT_LEASES:
		fuzz_ring_add(&known.cursors, reply->leases->next_cursor);
		return;
	case HUGEPOOL__REPLY__RESULT_SESSIONS:
		fuzz_ring_add(&known.cursors, reply->sessions->next_cursor);
		return;
	case HUGEPOOL__REPLY__RESULT_STATUS:
		take_status(reply->status);
		return;
	default:
		return;
	}
}

static void take_error(struct client *client, const Hugepool__Reply *reply)
{
	const Hugepool__Error *error = reply->error;

	hp_assert(error->code != HUGEPOOL__CODE__OK && error->message[0]);
	hp_assert((unsigned)error->code < sizeof(counts.codes) / sizeof(counts.codes[0]));
	counts.errors++;
	counts.codes[error->code]++;
	if (reply->id == client->hello_id)
		client->was_refused = true;
}

/* What a tenant may do to its own file. */
static void damage(const struct frame *frame)
{
	if (counts.grants % DAMAGE_EVERY == 0 && frame->fds[0] >= 0)
		(void)fallocate(frame->fds[0], FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096);
}

static void say_received(struct client *client)
{
	static const uint8_t bytes[] = {2, 0, 0, 0, 0, 0, 0, 0, 0x3a, 0}; /* Request.received, empty */

	if (client->n_out + sizeof(bytes) > OUT_BYTES)
		return;
	memcpy(client->out + client->n_out, bytes, sizeof(bytes));
	client->n_out += sizeof(bytes);
}

static void take_frame(struct client *client, struct frame *frame)
{
	Hugepool__Reply *reply = hugepool__reply__unpack(NULL, frame->length, frame->message);

	hp_assert(reply);
	counts.replies++;
	counts.events += reply->n_events;
	settle_due(client, reply->id);
	if (reply->error)
		take_error(client, reply);
	else
		take_result(client, reply);
	if (frame->n_fds > 0) {
		damage(frame);
		if (counts.replies % 8 != 0)
			say_received(client);
	}
	frame_close_fds(frame);
	hugepool__reply__free_unpacked(reply, NULL);
}

static void greet(struct client *client, uint64_t session, const uint8_t *token);

/* Read what is there. A connection that the daemon has closed is made anew. */
static void receive(struct client *client)
{
	struct frame frame;
	int r = 0;

	while (client->fd >= 0 && r == 0) {
		while (frame_reader_next(client->reader, &frame) == 0)
			take_frame(client, &frame);
		r = frame_reader_fill_now(client->reader, client->fd);
	}
	if (client->fd < 0 || r == FRAME_AGAIN)
		return;
	hp_assert(r == FRAME_END || r == -ECONNRESET || r == -EPIPE);
	disconnect(client);
	greet(client, 0, NULL);
}

/* ---- what is said to the daemon ---- */

/* Whole requests among the next bytes of `out`. */
static void count_sent(struct client *client, size_t n_bytes)
{
	for (size_t at = 0; at < n_bytes;) {
		struct frame_header header;
		size_t n;

		if (client->n_unsent == 0) {
			hp_assert(frame_header_get(client->out + at, &header) == 0);
			client->n_unsent = FRAME_HEADER_BYTES + header.length;
		}
		n = n_bytes - at < client->n_unsent ? n_bytes - at : client->n_unsent;
		client->n_unsent -= n;
		at += n;
		counts.requests += client->n_unsent == 0;
	}
}

/* Send what the daemon takes now. */
static void flush(struct client *client)
{
	ssize_t n = 0;

	while (client->n_out > 0 && n >= 0) {
		n = send(client->fd, client->out, client->n_out, MSG_NOSIGNAL);
		if (n > 0) {
			count_sent(client, (size_t)n);
			client->n_out -= (size_t)n;
			memmove(client->out, client->out + n, client->n_out);
		}
	}
	if (n < 0 && errno != EAGAIN)
		receive(client); /* it is closed */
}

/* The daemon takes no more while requests wait: give it a moment. */
static void wait_for_room(struct client *client)
{
	struct pollfd poll_fd = {.fd = client->fd, .events = POLLIN | POLLOUT};

	(void)poll(&poll_fd, 1, 1);
	receive(client);
	if (client->fd >= 0)
		flush(client);
}

static void queue(struct client *client, const struct fuzz_message *message)
{
	const uint64_t id = message->has_reply ? message->id : 0;

	if (client->fd < 0 || (id != 0 && client->due[id % DUE_MAX].id != 0) ||
	    (message->waits && (client->n_waiting >= WAITING_MAX || id == 0)))
		return;
	if (client->n_out > OUT_FULL)
		wait_for_room(client);
	if (client->fd < 0 || client->n_out > OUT_FULL)
		return;
	memcpy(client->out + client->n_out, message->bytes, message->n_bytes);
	client->n_out += message->n_bytes;
	if (id == 0)
		return;
	client->is_leaving |= message->method == HUGEPOOL__REQUEST__METHOD_BYE;
	client->due[id % DUE_MAX].id = id;
	client->due[id % DUE_MAX].waits = message->waits;
	client->due[id % DUE_MAX].method = message->method;
	if (message->waits)
		client->n_waiting++;
	else
		client->n_due++;
}

/* Connect and say Hello; where there is no seat, the peer's process makes room by its death. */
static void greet(struct client *client, uint64_t session, const uint8_t *token)
{
	static struct fuzz_message message;

	client->fd = fuzz_peer_connect(client->peer);
	if (client->fd < 0) {
		fuzz_peer_kill(client->peer);
		counts.deaths++;
		return; /* at the next request */
	}
	hp_assert(frame_reader_new(true, &client->reader) == 0);
	counts.connections++;
	if (session == 0)
		client->n_waiting = 0;
	client->hello_id = ++client->last_id;
	fuzz_message_hello(&message, client->hello_id, session, token, token ? SESSION_TOKEN_BYTES : 0);
	queue(client, &message);
}

static void come_back(struct client *client)
{
	if (client->fd >= 0 && !client->was_refused)
		return;
	disconnect(client);
	greet(client, 0, NULL);
}

void fuzz_client_ask(unsigned index, struct fuzz_input *input)
{
	static struct fuzz_message message;
	struct client *client = &clients[index];

	come_back(client);
	/* Sometimes more behind Bye. */
	if ((client->is_leaving && !fuzz_one_in(input, 64)) || client->n_due > DUE_SOFT) {
		fuzz_client_poll(index);
		return;
	}
	known.own_leases = client->leases;
	known.own_arenas = client->arenas;
	known.last_id = client->last_id;
	fuzz_message_make(&message, input, &known, client->last_id + 1);
	client->last_id++;
	queue(client, &message);
	if (fuzz_one_in(input, 16))
		client->kept = message;
	if (client->n_out >= OUT_SOFT)
		fuzz_client_poll(index);
}

void fuzz_client_ask_again(unsigned index)
{
	struct client *client = &clients[index];

	if (client->kept.n_bytes == 0 || client->kept.waits)
		return;
	fuzz_message_again(&client->kept);
	queue(client, &client->kept);
}

/* Some milliseconds: most of what was asked for is answered then. */
static void poll_for(unsigned index, unsigned n_ms)
{
	fuzz_client_poll(index);
	while (n_ms-- > 0 && clients[index].fd >= 0 && clients[index].n_due > 0) {
		struct pollfd poll_fd = {.fd = clients[index].fd, .events = POLLIN};

		(void)poll(&poll_fd, 1, 1);
		fuzz_client_poll(index);
	}
}

void fuzz_client_break(unsigned index, enum fuzz_return how, struct fuzz_input *input)
{
	struct client *client = &clients[index];
	uint8_t token[SESSION_TOKEN_BYTES];
	uint64_t session;

	if (!fuzz_one_in(input, 4))
		poll_for(index, 5);
	if (fuzz_one_in(input, 2))
		receive(client);
	session = client->session;
	memcpy(token, client->token, sizeof(token));
	if (how == FUZZ_PRETEND && fuzz_one_in(input, 2))
		session = known.sessions.values[fuzz_below(input, FUZZ_KNOWN)];
	else if (how == FUZZ_PRETEND)
		token[fuzz_below(input, sizeof(token))] ^= 1;
	if (how == FUZZ_ANEW)
		session = 0;
	disconnect(client);
	greet(client, session, session ? token : NULL);
}

void fuzz_client_kill(unsigned index)
{
	fuzz_peer_kill(clients[index].peer);
	counts.deaths++;
}

void fuzz_client_poll(unsigned index)
{
	flush(&clients[index]);
	receive(&clients[index]);
}

static void fail_unanswered(unsigned index)
{
	const struct client *client = &clients[index];

	fprintf(stderr, "client %u, session %" PRIu64 ", has waited for %d ms for:\n", index, client->session,
		ANSWER_MS);
	for (unsigned i = 0; i < DUE_MAX; i++)
		if (client->due[i].id != 0)
			fprintf(stderr, "  request %" PRIu64 ", method %u%s\n", client->due[i].id,
				client->due[i].method, client->due[i].waits ? ", which may wait" : "");
	abort();
}

void fuzz_client_settle(unsigned index)
{
	struct client *client = &clients[index];
	const uint64_t deadline_ns = clock_now_ns() + ANSWER_MS * NS_PER_MS;

	for (;;) {
		struct pollfd poll_fd = {.events = POLLIN};

		fuzz_client_poll(index);
		if (client->fd < 0 || (client->n_due == 0 && client->n_out == 0))
			return;
		if (clock_now_ns() >= deadline_ns)
			fail_unanswered(index);
		poll_fd.fd = client->fd;
		(void)poll(&poll_fd, 1, client->n_out > 0 ? 0 : 1000);
	}
}

static void restore_pools(struct daemon *daemon)
{
	for (unsigned i = 0; i < daemon->n_pools; i++)
		pool_drain(daemon->pools[i], false);
}

void fuzz_clients_rest(void)
{
	for (unsigned i = 0; i < FUZZ_CLIENTS; i++)
		fuzz_client_settle(i);
	for (unsigned i = 0; i < FUZZ_CLIENTS; i++)
		fuzz_client_kill(i);
	restore_pools(fuzz_daemon());
}

void fuzz_clients_start(void)
{
	fuzz_peers_start();
	for (unsigned i = 0; i < FUZZ_CLIENTS; i++) {
		struct client *client = &clients[i];

		client->fd = -1;
		client->peer = i % FUZZ_PEERS;
		client->session = 0;
		client->kept.n_bytes = 0;
		client->n_waiting = 0;
		if (!client->out)
			client->out = malloc(OUT_BYTES);
		hp_assert(client->out);
		greet(client, 0, NULL);
	}
}

void fuzz_clients_stop(void)
{
	for (unsigned i = 0; i < FUZZ_CLIENTS; i++)
		disconnect(&clients[i]);
	fuzz_peers_stop();
}

/* system_flood.c - clients that are too many, ask too much, stop half way, or die all the time: they wait,
 * are refused or closed, and leave nothing behind. What is about descriptors is in system_flood_fds.c,
 * what is about others' share of the daemon in system_share.c.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/wait.h"
#include "tests/system/system_hostile_scene.h"

#define PAGE         4096
#define NEVER_A_POOL 3
#define PATIENCE_MS  500 /* of a sender: after this, the daemon takes no more */
#define GROWTH_MAX   (UINT64_C(8) << 20)

static void run_hostile(struct scene *scene, void (*run)(void *arg))
{
	raw_join(raw_fork(scene_uid(UID_HOSTILE), run, scene));
}

/* Wait, without reading, until the daemon has closed the connection. */
static void wait_hangup(const struct raw *raw)
{
	struct pollfd poll_fd = {.fd = raw->fd};

	raw_check(poll(&poll_fd, 1, WAIT_MAX_MS) == 1 && poll_fd.revents & POLLHUP,
		  "the daemon does not close");
}

/* ---- replies that nobody reads ---- */

#define N_REQUESTS    10000
#define FIRST_ID      UINT64_C(1000)
#define REQUEST_BYTES 320 /* at most */

/* Long requests in one piece; malloc'ed. With NEVER_A_POOL their replies are errors. */
static uint8_t *pack_requests(uint32_t pool, uint64_t wait_ms, size_t *ret_n_bytes)
{
	size_t room = N_REQUESTS * (size_t)REQUEST_BYTES, used = 0;
	uint8_t *bytes = malloc(room);
	struct raw_request ask;
	char name[256];

	raw_check(bytes, "no memory");
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = 0;
	for (uint64_t i = 0; i < N_REQUESTS; i++) {
		raw_ask_alloc(&ask, 1);
		ask.alloc.pool = pool;
		ask.alloc.wait_ms = wait_ms;
		ask.alloc.name = name;
		ask.request.id = FIRST_ID + i;
		used = raw_pack(&ask.request, bytes, used, room);
	}
	*ret_n_bytes = used;
	return bytes;
}

/* While a client, at its step 1, has sent all that the daemon takes, that serves others and does not grow. */
static void hold_up_nobody(struct scene *scene, void (*play)(void *arg))
{
	pid_t child = raw_fork(scene_uid(UID_HOSTILE), play, scene);

	scene_wait_step(scene, 1);
	scene_expect_service(scene, true);
	raw_check(scene_grown_bytes(scene) < GROWTH_MAX, "the daemon has grown by %" PRIu64 " bytes",
		  scene_grown_bytes(scene));
	scene_set_step(scene, 2);
	raw_join(child);
}

static void expect_reply(struct raw *raw, uint64_t id)
{
	Hugepool__Reply *reply = raw_receive(raw, NULL);

	raw_check(reply && reply->id == id && reply->error && reply->error->code == HUGEPOOL__CODE__NO_POOL,
		  "the reply to %" PRIu64 " is %" PRIu64, id, reply ? reply->id : 0);
	raw_drop(reply);
}

static void send_all_then_read_all(void *arg)
{
	struct scene *scene = arg;
	size_t n_bytes, n_sent;
	uint8_t *bytes = pack_requests(NEVER_A_POOL, 0, &n_bytes);
	uint64_t n_read = 0;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	n_sent = raw_send_bytes(&raw, bytes, n_bytes, PATIENCE_MS);
	raw_check(n_sent < n_bytes, "the daemon has taken %zu bytes of requests from who reads no reply",
		  n_sent);
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
	while (n_read < N_REQUESTS) {
		n_sent += raw_send_bytes(&raw, bytes + n_sent, n_bytes - n_sent, 0);
		if (n_sent == n_bytes || !raw_is_silent(&raw, 1))
			expect_reply(&raw, FIRST_ID + n_read++);
	}
	raw_check(n_sent == n_bytes && raw_is_silent(&raw, 0), "more replies than requests");
	raw_free(&raw, raw_alloc(&raw, 1));
	raw_close(&raw);
	free(bytes);
}

/* Fails without CONNECTION_OUT_SOFT in connection_takes_more() of rpc/connection.c. */
static void replies_unread_hold_up_their_reader_only(struct scene *scene)
{
	hold_up_nobody(scene, send_all_then_read_all);
}

/* ---- requests that wait ---- */

static void ask_for_what_is_not_there(void *arg)
{
	struct scene *scene = arg;
	size_t n_bytes, n_sent;
	uint8_t *bytes = pack_requests(SCENE_SMALL, WAIT_MAX_MS, &n_bytes);
	struct raw_request ask;
	struct raw holder, raw;

	raw_open(&holder, &scene->dut);
	raw_ask_alloc(&ask, SCENE_SMALL_PAGES);
	ask.alloc.pool = SCENE_SMALL;
	raw_drop(raw_call(&holder, &ask.request));
	raw_open(&raw, &scene->dut);
	n_sent = raw_send_bytes(&raw, bytes, n_bytes, PATIENCE_MS);
	raw_check(n_sent < n_bytes, "the daemon lets %u requests wait", N_REQUESTS);
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
	free(bytes);
}

/* Fails without CONNECTION_MAX_WAITING in may_take_more() of rpc/connection.c. */
static void requests_that_wait_are_so_many_at_once(struct scene *scene)
{
	hold_up_nobody(scene, ask_for_what_is_not_there);
}

/* ---- silence: one test for all of it, because it has to wait for the daemon's half minute ---- */

#define N_MUTE 300

static void never_read(void *arg)
{
	struct scene *scene = arg;
	size_t n_bytes;
	uint8_t *bytes = pack_requests(NEVER_A_POOL, 0, &n_bytes);
	struct raw raw;

	raw_open(&raw, &scene->dut);
	raw_check(raw_send_bytes(&raw, bytes, n_bytes, PATIENCE_MS) < n_bytes, "all requests were taken");
	wait_hangup(&raw);
	raw_close(&raw);
	free(bytes);
	scene->shared->n_out++;
}

/* Nothing, a part of a header, a part of a message. */
static void say_nothing_whole(void *arg)
{
	struct scene *scene = arg;
	uint8_t alloc[64], hello[64];
	struct raw_request ask;
	size_t n_hello = raw_pack(raw_ask_hello(&ask), hello, 0, sizeof(hello)), n_alloc;
	const size_t n_said[] = {0, FRAME_HEADER_BYTES / 2, n_hello - 1};
	static struct raw mute[N_MUTE];
	Hugepool__Reply *reply;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	n_alloc = raw_pack(raw_ask_alloc(&ask, 1), alloc, 0, sizeof(alloc));
	raw_send_bytes(&raw, alloc, n_alloc / 2, PATIENCE_MS);
	for (unsigned i = 0; i < N_MUTE; i++) {
		raw_connect(&mute[i], &scene->dut);
		raw_send_bytes(&mute[i], hello, n_said[i % 3], PATIENCE_MS);
	}
	for (unsigned i = 0; i < N_MUTE; i++) {
		wait_hangup(&mute[i]);
		raw_close(&mute[i]);
	}
	/* Who has a session may take as long as it likes. */
	raw_send_bytes(&raw, alloc + n_alloc / 2, n_alloc - n_alloc / 2, PATIENCE_MS);
	reply = raw_receive(&raw, NULL);
	raw_check(reply && reply->alloc, "the request that came in two halves is not answered");
	raw_drop(reply);
	raw_close(&raw);
	scene->shared->n_out++;
}

/* Fails without `stalled` and without `mute` in connections_check_time() of rpc/connection.c, and if
 * frame_reader_fill() of proto/frame_reader.c waits for the rest of a frame. */
static void silence_is_closed_and_holds_nobody(struct scene *scene)
{
	pid_t reader = raw_fork(scene_uid(UID_HOSTILE), never_read, scene);
	pid_t mute = raw_fork(scene_uid(UID_HOSTILE), say_nothing_whole, scene);
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;

	while (scene->shared->n_out < 2) {
		raw_check(wait_now_ms() < deadline, "silent connections are still there");
		scene_expect_service(scene, true);
	}
	raw_join(reader);
	raw_join(mute);
}

/* ---- coming and going ---- */

#define LONG_FRAME_BYTES 30000 /* more than a reader's first buffer, less than the header says */

/* Send the first `n` bytes for every n up to all of them, each time on a connection of its own. */
static void send_every_part(struct scene *scene, bool with_hello, const uint8_t *bytes, size_t n_bytes)
{
	for (size_t n = 0; n <= n_bytes; n++) {
		struct raw raw;

		if (with_hello)
			raw_open(&raw, &scene->dut);
		else
			raw_connect(&raw, &scene->dut);
		raw_send_bytes(&raw, bytes, n, PATIENCE_MS);
		raw_close(&raw);
	}
}

static void send_parts(void *arg)
{
	static const uint8_t long_frame[LONG_FRAME_BYTES] = {0, 0, 1, 0}; /* a header of 65536 bytes */
	struct scene *scene = arg;
	struct raw_request ask;
	uint8_t bytes[128];
	size_t n_bytes;
	struct raw raw;

	send_every_part(scene, false, bytes, raw_pack(raw_ask_hello(&ask), bytes, 0, sizeof(bytes)));
	n_bytes = raw_pack(raw_ask_alloc(&ask, 1), bytes, 0, sizeof(bytes));
	send_every_part(scene, true, bytes, raw_pack(raw_ask_bye(&ask), bytes, n_bytes, sizeof(bytes)));
	raw_open(&raw, &scene->dut);
	raw_send_bytes(&raw, long_frame, sizeof(long_frame), PATIENCE_MS);
	/* And without a close of its own. */
	raise(SIGKILL);
}

/* Fails without connection_close() in on_readable() of rpc/connection.c. */
static void connections_that_vanish_in_a_frame_leave_nothing(struct scene *scene)
{
	for (unsigned i = 0; i < dut_ops(16); i++) {
		pid_t child = raw_fork(scene_uid(UID_HOSTILE), send_parts, scene);

		scene_expect_service(scene, true);
		dut_wait_child(child);
	}
	scene_wait_sessions(scene, 2); /* the bystander's */
}

static void send_byte_by_byte(void *arg)
{
	struct scene *scene = arg;
	struct raw_request ask;
	uint8_t bytes[256];
	size_t n_bytes;
	Hugepool__Reply *reply;
	struct raw raw;

	raw_connect(&raw, &scene->dut);
	raw_ask_hello(&ask)->id = 1;
	n_bytes = raw_pack(&ask.request, bytes, 0, sizeof(bytes));
	raw_ask_alloc(&ask, 3)->id = 2;
	n_bytes = raw_pack(&ask.request, bytes, n_bytes, sizeof(bytes));
	raw_ask_received(&ask)->id = 3;
	n_bytes = raw_pack(&ask.request, bytes, n_bytes, sizeof(bytes));
	for (size_t i = 0; i < n_bytes; i++)
		raw_check(raw_send_bytes(&raw, bytes + i, 1, WAIT_MAX_MS) == 1, "byte %zu does not go", i);
	reply = raw_receive(&raw, NULL);
	raw_check(reply && reply->hello, "no Hello");
	raw_drop(reply);
	reply = raw_receive(&raw, NULL);
	raw_check(reply && reply->alloc && reply->alloc->grants[0]->runs[0]->n_pages == 3, "no lease: %s",
		  reply && reply->error ? reply->error->message : "another reply");
	raw_drop(reply);
	raw_close(&raw);
}

static void bytes_one_at_a_time_are_served(struct scene *scene)
{
	run_hostile(scene, send_byte_by_byte);
}

/* ---- dying ---- */

#define N_OUTSTANDING 80 /* more than may wait at once */
#define WAITING_PAGES 32

static void ask_much_and_die(void *arg)
{
	struct scene *scene = arg;
	uint8_t bytes[N_OUTSTANDING * 64];
	struct raw_request ask;
	size_t n_bytes = 0;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	for (unsigned i = 0; i < N_OUTSTANDING; i++) {
		raw_ask_alloc(&ask, WAITING_PAGES)->id = FIRST_ID + i;
		ask.alloc.pool = SCENE_SMALL;
		n_bytes = raw_pack(&ask.request, bytes, n_bytes, sizeof(bytes));
	}
	raw_send_bytes(&raw, bytes, n_bytes, PATIENCE_MS);
	if (scene->shared->n_in++ % 2)
		raw_close(&raw);
	raise(SIGKILL);
}

static void allocs_that_wait_when_their_client_dies_are_undone(struct scene *scene)
{
	for (unsigned i = 0; i < dut_ops(40); i++) {
		dut_wait_child(raw_fork(scene_uid(UID_HOSTILE), ask_much_and_die, scene));
		/* Sometimes with the one before it still on its way out. */
		if (i % 4 == 0)
			dut_wait_pool(&scene->dut, "small", "pages_leased", 0);
	}
	dut_wait_pool(&scene->dut, "small", "pages_leased", 0);
	dut_wait_pool(&scene->dut, "small", "pages_orphaned", 0);
}

static void say_bye_while_waiting(void *arg)
{
	struct scene *scene = arg;
	struct raw_request ask;
	uint8_t bytes[128];
	size_t n_bytes;
	Hugepool__Reply *reply;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	/* A user's first pages are made by another thread: the worker reads the Bye before it has them. */
	n_bytes = raw_pack(raw_ask_alloc(&ask, 1), bytes, 0, sizeof(bytes));
	n_bytes = raw_pack(raw_ask_bye(&ask), bytes, n_bytes, sizeof(bytes));
	raw_send_bytes(&raw, bytes, n_bytes, PATIENCE_MS);
	raw_receive_error(&raw, HUGEPOOL__CODE__NO_SESSION, "Bye has been said");
	reply = raw_receive(&raw, NULL);
	raw_check(reply && reply->bye, "no Bye");
	raw_drop(reply);
	raw_expect_closed(&raw);
	raw_close(&raw);
}

/* Fails when two are taken out: lease_requests_cancel() in session_end() of lease/session.c, and the look for
 * `ending` in supplied() of lease/request.c. */
static void allocs_that_wait_when_bye_is_said_are_undone(struct scene *scene)
{
	run_hostile(scene, say_bye_while_waiting);
}

#define N_STORM      200
#define N_STORM_WAVE 20

static void work_until_killed(void *arg)
{
	struct scene *scene = arg;
	hp_client *client;
	hp_lease *lease;

	/* Seldom does the daemon find us dead before it has looked who we are. */
	raw_check(hp_open(scene->dut.socket, &client) == 0, "no client: %s", hp_error());
	scene->shared->n_in++;
	for (unsigned i = 0;; i++) {
		raw_check(hp_alloc(client, (1 + i % 7) * PAGE, NULL, &lease) == 0, "no lease: %s",
			  hp_error());
		memset(hp_lease_data(lease), 'h', hp_lease_bytes(lease));
		if (i % 3)
			hp_free(lease);
	}
}

static void clients_killed_by_hundreds_leave_nothing(struct scene *scene)
{
	pid_t children[N_STORM_WAVE];

	for (unsigned n = 0; n < N_STORM; n += N_STORM_WAVE) {
		scene->shared->n_in = 0;
		for (unsigned i = 0; i < N_STORM_WAVE; i++)
			children[i] = raw_fork(scene_uid(UID_HOSTILE), work_until_killed, scene);
		/* Some are at work by then, some on their way in. */
		while (scene->shared->n_in < N_STORM_WAVE / 2)
			wait_pause();
		for (unsigned i = 0; i < N_STORM_WAVE; i++)
			raw_kill(children[i]);
	}
	scene_wait_sessions(scene, 2);
	scene_expect_service(scene, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(replies_unread_hold_up_their_reader_only),
		SCENE_TEST(requests_that_wait_are_so_many_at_once),
		SCENE_TEST(silence_is_closed_and_holds_nobody),
		SCENE_TEST(connections_that_vanish_in_a_frame_leave_nothing),
		SCENE_TEST(bytes_one_at_a_time_are_served),
		SCENE_TEST(allocs_that_wait_when_their_client_dies_are_undone),
		SCENE_TEST(allocs_that_wait_when_bye_is_said_are_undone),
		SCENE_TEST(clients_killed_by_hundreds_leave_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* system_turns.c - turns of the workers: a user has no more of them for having many connections or asking for
 * what costs much. They are counted by the daemon; nothing is timed, so it does not matter how busy the
 * machine is.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/system/system_hostile_scene.h"

#define N_FLOODING_MAX 200   /* connections */
#define N_FLOOD_LEASES 12000 /* that each list looks through */
#define N_BURST        64    /* requests sent at once */
#define ALLOC_BATCH    250
#define N_FLOODS       5
#define N_QUIET_TURNS  10 /* at least, of the other in each flood */
#define N_QUIET        (N_QUIET_TURNS * 64)
#define UID_QUIET      12347

/* One user's requests on all its connections, and another one's on its only one, are in their sockets when
 * the daemon begins to look. */
struct flood {
	struct scene *scene;
	unsigned n_connections;
	void (*ask)(struct raw_request *ask);
};

static void lease_many(struct raw *raw)
{
	uint64_t n_pages[ALLOC_BATCH];
	struct raw_request ask;

	for (unsigned i = 0; i < ALLOC_BATCH; i++)
		n_pages[i] = 1;
	raw_ask_alloc(&ask, 1);
	ask.alloc.n_n_pages = ALLOC_BATCH;
	ask.alloc.n_pages = n_pages;
	for (unsigned i = 0; i < dut_ops(N_FLOOD_LEASES / ALLOC_BATCH); i++) {
		Hugepool__Reply *reply = raw_call(raw, &ask.request);

		raw_check(reply->alloc, "no leases: %s", reply->error ? reply->error->message : "");
		raw_drop(reply);
		raw_say_received(raw);
	}
}

static void ask_for_list(struct raw_request *ask)
{
	raw_ask_leases(ask);
}

/* Of what never was. */
static void ask_for_many_frees(struct raw_request *ask)
{
	static uint64_t ids[ALLOC_BATCH];

	for (unsigned i = 0; i < ALLOC_BATCH; i++)
		ids[i] = UINT64_MAX - i;
	raw_ask_free(ask, 1);
	ask->free.n_leases = ALLOC_BATCH;
	ask->free.leases = ids;
}

/* A client of that user, though we are root; its session ends with us. */
static void open_as(struct raw *raw, const struct scene *scene, uid_t uid)
{
	raw_check(seteuid(uid) == 0, "seteuid: %s", strerror(errno));
	raw_connect(raw, &scene->dut);
	raw_check(seteuid(0) == 0, "seteuid: %s", strerror(errno));
	raw_hello(raw);
}

/* N_BURST of the flood's requests, in frames. */
static size_t pack_burst(const struct flood *flood, uint8_t *buffer, size_t room)
{
	struct raw_request ask;
	size_t n_bytes = 0;

	for (unsigned i = 0; i < N_BURST; i++) {
		flood->ask(&ask);
		ask.request.id = 1 + i;
		n_bytes = raw_pack(&ask.request, buffer, n_bytes, room);
	}
	return n_bytes;
}

/* Of what never was, one by one. */
static size_t pack_quiet(uint8_t *buffer, size_t room)
{
	struct raw_request ask;
	size_t n_bytes = 0;

	for (unsigned i = 0; i < N_QUIET; i++) {
		raw_ask_free(&ask, UINT64_MAX)->id = 1 + i;
		n_bytes = raw_pack(&ask.request, buffer, n_bytes, room);
	}
	return n_bytes;
}

/* The steps of each flood, the first of which begins at step 1: the daemon is stopped, the sockets are full,
 * the quiet user has its replies. */
enum { STOPPED = 1, FULL, ANSWERED };
#define STEP(i, what) (1 + 3 * (int)(i) + (what))

/* Fill the sockets whenever the daemon is stopped. */
static void ask_when_stopped(void *arg)
{
	const struct flood *flood = arg;
	struct scene *scene = flood->scene;
	static struct raw in[N_FLOODING_MAX], quiet;
	static size_t n_said[N_FLOODING_MAX];
	static uint8_t burst[N_BURST * 4096], few[N_QUIET * 32], replies[1u << 18];
	const size_t n_bytes = pack_burst(flood, burst, sizeof(burst)), n_few = pack_quiet(few, sizeof(few));

	for (unsigned i = 0; i < flood->n_connections; i++)
		open_as(&in[i], scene, UID_HOSTILE);
	lease_many(&in[0]);
	open_as(&quiet, scene, UID_QUIET);
	scene_set_step(scene, 1);
	for (unsigned n = 0; n < N_FLOODS; n++) {
		scene_wait_step(scene, STEP(n, STOPPED));
		for (unsigned i = 0; i < flood->n_connections; i++) {
			ssize_t r;

			while ((r = recv(in[i].fd, replies, sizeof(replies), MSG_DONTWAIT)) > 0)
				;
			raw_check(r != 0, "the daemon has closed a connection");
			r = send(in[i].fd, burst + n_said[i], n_bytes - n_said[i], MSG_DONTWAIT);
			if (r > 0)
				n_said[i] = (n_said[i] + (size_t)r) % n_bytes;
		}
		raw_check(raw_send_bytes(&quiet, few, n_few, 0) == n_few, "a few requests do not fit");
		scene_set_step(scene, STEP(n, FULL));
		for (unsigned i = 0; i < N_QUIET; i++)
			raw_drop(raw_receive(&quiet, NULL));
		scene_set_step(scene, STEP(n, ANSWERED));
	}
	scene_wait_step(scene, STEP(N_FLOODS, STOPPED));
}

/* Turns that the user's sessions have had. */
static uint64_t count_turns(const struct scene *scene, uid_t uid)
{
	json_t *list = dut_json(&scene->dut, "sessions");
	const json_t *session;
	uint64_t n_turns = 0;
	size_t i;

	json_array_foreach (json_object_get(list, "sessions"), i, session)
		if (json_integer_value(json_object_get(session, "uid")) == uid)
			n_turns += (uint64_t)json_integer_value(json_object_get(session, "turns"));
	json_decref(list);
	return n_turns;
}

/* Neither the other user nor the bystander, who goes on all the time, waits for more than one turn of each
 * other user: by the daemon's count, which nobody's speed changes. */
static void delay_nobody(struct flood flooding)
{
	struct scene *scene = flooding.scene;
	pid_t child;

	if (geteuid() != 0) {
		scene_end(scene);
		dut_need_root();
	}
	child = raw_fork(0, ask_when_stopped, &flooding);
	scene_wait_step(scene, 1);
	for (unsigned n = 0; n < N_FLOODS; n++) {
		int status;

		raw_check(kill(scene->dut.pid, SIGSTOP) == 0 &&
				  waitpid(scene->dut.pid, &status, WUNTRACED) == scene->dut.pid &&
				  WIFSTOPPED(status),
			  "the daemon is not stopped");
		scene_set_step(scene, STEP(n, STOPPED));
		scene_wait_step(scene, STEP(n, FULL));
		raw_check(kill(scene->dut.pid, SIGCONT) == 0, "kill: %s", strerror(errno));
		scene_wait_step(scene, STEP(n, ANSWERED));
	}
	raw_check(count_turns(scene, UID_QUIET) >= N_FLOODS * N_QUIET_TURNS, "only %" PRIu64 " turns",
		  count_turns(scene, UID_QUIET));
	raw_check(count_turns(scene, UID_HOSTILE) >= N_FLOODS * (N_QUIET_TURNS - 1),
		  "only %" PRIu64 " turns of the flood", count_turns(scene, UID_HOSTILE));
	scene_expect_turns(scene);
	scene_set_step(scene, STEP(N_FLOODS, STOPPED));
	raw_join(child);
}

/* Fails if arrive() of rpc/errand.c visits at once. */
static void lists_asked_for_without_pause_delay_nobody(struct scene *scene)
{
	delay_nobody((struct flood){.scene = scene, .n_connections = 32, .ask = ask_for_list});
}

/* Fails if run_queue_get_user() of rpc/run_queue.c gives each connection a user of its own. */
static void many_connections_have_no_more_turns_than_one(struct scene *scene)
{
	delay_nobody(
		(struct flood){.scene = scene, .n_connections = N_FLOODING_MAX, .ask = ask_for_many_frees});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(lists_asked_for_without_pause_delay_nobody),
		SCENE_TEST(many_connections_have_no_more_turns_than_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

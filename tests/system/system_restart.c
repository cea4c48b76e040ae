/* system_restart.c - a process is killed, its parent has waited for it, and at once another wants what it
 * had.
 *
 * wait(2) is the proof: from then on everything that the dead one had is to be had, in every round, however
 * busy the daemon is. Each test kills a real process with SIGKILL, waits for it, and asks from one that is
 * connected already and so is as quick as can be, or from a new connection where that is what is asked for.
 */
#include <config.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/raw.h"

#define USER   12345
#define ROUNDS 500

/* What the victim has, and says on its pipe that it has it. */
struct victim {
	const struct dut *dut;
	const char *name; /* "": anonymous leases */
	uint64_t n_pages;
	unsigned n_leases;
	bool revocable, detached, waits;
	bool says_nothing; /* not even Hello */
	bool floods;       /* with requests that nobody answers in time */
	uid_t uid;         /* 0: ours, and so our quota */
	const char *opens; /* a lease that it opens, or NULL */
	int ready_fds[2];
};

static Hugepool__Request *ask_named(struct raw_request *ask, uint64_t n_pages, const char *name)
{
	raw_ask_alloc(ask, n_pages);
	ask->alloc.name = (char *)(uintptr_t)name;
	return &ask->request;
}

static Hugepool__Request *ask_open(struct raw_request *ask, Hugepool__Open *open, const char *name)
{
	raw_ask_alloc(ask, 1);
	*open = (Hugepool__Open)HUGEPOOL__OPEN__INIT;
	open->name = (char *)(uintptr_t)name;
	open->write = true;
	ask->request.method_case = HUGEPOOL__REQUEST__METHOD_OPEN;
	ask->request.open = open;
	return &ask->request;
}

static void must_succeed(struct raw *raw, Hugepool__Request *request)
{
	Hugepool__Reply *reply = raw_call(raw, request);

	raw_check(!reply->error, "refused: %s", reply->error->message);
	raw_say_received(raw);
	raw_drop(reply);
}

static void be_victim(void *arg)
{
	const struct victim *victim = arg;
	struct raw_request ask;
	Hugepool__Open open;
	struct raw raw;

	raw_connect(&raw, victim->dut);
	if (!victim->says_nothing)
		raw_hello(&raw);
	for (unsigned i = 0; i < victim->n_leases; i++) {
		ask_named(&ask, victim->n_pages, victim->name);
		ask.alloc.revocable = victim->revocable;
		ask.alloc.detached = victim->detached;
		must_succeed(&raw, &ask.request);
	}
	if (victim->opens)
		must_succeed(&raw, ask_open(&ask, &open, victim->opens));
	if (victim->waits) { /* with some of its pages taken already */
		uint64_t n_pages[2] = {1, victim->n_pages};

		raw_ask_alloc(&ask, 1);
		ask.alloc.n_pages = n_pages;
		ask.alloc.n_n_pages = 2;
		ask.alloc.wait_ms = 3600 * 1000;
		raw_send(&raw, &ask.request);
	}
	if (victim->floods)
		for (unsigned i = 0; i < 200; i++) {
			raw_ask_leases(&ask);
			raw_send(&raw, &ask.request);
		}
	raw_check(write(victim->ready_fds[1], "", 1) == 1, "nobody listens");
	for (;;)
		pause();
}

/* The same as raw_fork(), but it has what it shall have when this returns. */
static pid_t start_victim(struct victim *victim)
{
	pid_t pid;
	char byte;

	assert_int_equal(pipe(victim->ready_fds), 0);
	pid = raw_fork(victim->uid, be_victim, victim);
	close(victim->ready_fds[1]);
	assert_int_equal(read(victim->ready_fds[0], &byte, 1), 1);
	close(victim->ready_fds[0]);
	return pid;
}

/* ---- rounds: a victim, its death, and the same for somebody else of the same user ---- */

/* Lease and give back, for the next round. */
static void take_and_free(struct raw *raw, struct raw_request *ask, unsigned round)
{
	Hugepool__Reply *reply = raw_receive(raw, &(unsigned){0});

	raw_check(!reply->error, "round %u: %s", round, reply->error->message);
	if (reply->alloc->n_new_arenas > 0)
		raw_say_received(raw);
	raw_check(raw_free(raw, reply->alloc->grants[0]->lease) == HUGEPOOL__CODE__OK,
		  "round %u: it cannot be freed", round);
	raw_drop(reply);
}

/* Kill the victim, wait for it, and ask, while the daemon sleeps in every other round: then it learns of both
 * at once. */
static void kill_and_ask(const struct dut *dut, pid_t victim, struct raw *heir, Hugepool__Request *request,
			 unsigned round)
{
	const bool stops = round % 2 == 1;

	if (stops) {
		int status;

		assert_int_equal(kill(dut->pid, SIGSTOP), 0);
		assert_int_equal(waitpid(dut->pid, &status, WUNTRACED), dut->pid);
	}
	raw_kill(victim);
	request->id = 0;
	raw_send(heir, request);
	if (stops)
		assert_int_equal(kill(dut->pid, SIGCONT), 0);
}

/* The heir wants `n_pages` in one lease, else as the victim. */
static void inherit(const char *pool, struct victim victim, unsigned n_rounds, uint64_t n_pages)
{
	struct raw_request ask;
	struct raw heir;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--workers", "2", "--pool", pool));
	victim.dut = &dut;
	raw_open(&heir, &dut);
	for (unsigned i = 0; i < dut_ops(n_rounds); i++) {
		ask_named(&ask, n_pages, victim.name);
		ask.alloc.revocable = victim.revocable;
		kill_and_ask(&dut, start_victim(&victim), &heir, &ask.request, i);
		take_and_free(&heir, &ask, i);
	}
	raw_close(&heir);
	dut_stop(&dut);
}

static void dead_ones_name_is_free(void **state)
{
	inherit("p=4K:8M", (struct victim){.name = "buffers", .n_pages = 1, .n_leases = 1}, ROUNDS, 1);
}

static void dead_ones_pages_are_free(void **state)
{
	inherit("p=4K:8M,arena=8M", (struct victim){.name = "", .n_pages = 2048, .n_leases = 1}, ROUNDS,
		2048);
}

static void dead_ones_pages_in_small_leases_are_free(void **state)
{
	inherit("p=4K:1M,arena=1M", (struct victim){.name = "", .n_pages = 1, .n_leases = 256}, ROUNDS / 5,
		256);
}

static void dead_ones_quota_is_free(void **state)
{
	inherit("p=4K:8M,arena=1M,quota=1M", (struct victim){.name = "", .n_pages = 256, .n_leases = 1},
		ROUNDS, 256);
}

static void dead_ones_sole_pages_are_free(void **state)
{
	inherit("p=4K:8M,arena=8M",
		(struct victim){.name = "", .n_pages = 2048, .n_leases = 1, .revocable = true}, ROUNDS, 2048);
}

static void dead_ones_sole_quota_is_free(void **state)
{
	inherit("p=4K:8M,isolation=lease,quota=1M",
		(struct victim){.name = "", .n_pages = 256, .n_leases = 1}, ROUNDS, 256);
}

static void dead_ones_number_of_leases_is_free(void **state)
{
	inherit("p=4K:8M,quota_leases=8", (struct victim){.name = "", .n_pages = 1, .n_leases = 8}, ROUNDS,
		1);
}

static void dead_ones_number_of_names_is_free(void **state)
{
	inherit("p=4K:8M,quota_names=1", (struct victim){.name = "one", .n_pages = 1, .n_leases = 1}, ROUNDS,
		1);
}

static void what_waits_for_the_dead_is_free(void **state)
{
	/* Its second item cannot be had while it has the first. */
	inherit("p=4K:1M,arena=1M", (struct victim){.name = "", .n_pages = 256, .waits = true}, ROUNDS, 256);
}

/* ---- leases that more than one hold, or nobody ---- */

static void lease_that_a_dead_one_opened_can_be_changed(void **state)
{
	Hugepool__Resize resize = HUGEPOOL__RESIZE__INIT;
	struct victim victim = {.name = "", .opens = "shared"};
	struct raw_request ask;
	Hugepool__Reply *reply;
	struct raw maker;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--workers", "2", "--pool", "p=4K:8M"));
	victim.dut = &dut;
	raw_open(&maker, &dut);
	reply = raw_call(&maker, ask_named(&ask, 8, "shared"));
	assert_null(reply->error);
	raw_say_received(&maker);
	resize.max_runs = 64;
	resize.lease = reply->alloc->grants[0]->lease;
	raw_drop(reply);
	for (unsigned i = 0; i < dut_ops(ROUNDS); i++) {
		resize.n_pages = 8 + i / 2 % 2;
		raw_ask_alloc(&ask, 1);
		ask.request.method_case = HUGEPOOL__REQUEST__METHOD_RESIZE;
		ask.request.resize = &resize;
		kill_and_ask(&dut, start_victim(&victim), &maker, &ask.request, i);
		reply = raw_receive(&maker, &(unsigned){0});
		raw_check(!reply->error, "round %u: %s", i, reply->error->message);
		raw_say_received(&maker);
		raw_drop(reply);
	}
	raw_close(&maker);
	dut_stop(&dut);
}

static void name_of_a_dead_one_opens_nothing(void **state)
{
	struct victim victim = {.name = "buffers", .n_pages = 1, .n_leases = 1};
	struct raw_request ask;
	Hugepool__Open open;
	struct raw other;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--workers", "2", "--pool", "p=4K:8M"));
	victim.dut = &dut;
	raw_open(&other, &dut);
	for (unsigned i = 0; i < dut_ops(ROUNDS); i++) {
		kill_and_ask(&dut, start_victim(&victim), &other, ask_open(&ask, &open, "buffers"), i);
		raw_receive_error(&other, HUGEPOOL__CODE__NO_LEASE, "buffers");
	}
	raw_close(&other);
	dut_stop(&dut);
}

static void dead_ones_detached_lease_can_be_freed(void **state)
{
	struct victim victim = {.name = "kept", .n_pages = 1, .n_leases = 1, .detached = true};
	struct raw_request ask;
	struct raw other;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--workers", "2", "--pool", "p=4K:8M"));
	victim.dut = &dut;
	raw_open(&other, &dut);
	for (unsigned i = 0; i < dut_ops(ROUNDS); i++) {
		Hugepool__Reply *reply;

		raw_ask_free(&ask, 0);
		ask.free.n_leases = 0;
		ask.free.name = (char *)(uintptr_t) "kept";
		kill_and_ask(&dut, start_victim(&victim), &other, &ask.request, i);
		reply = raw_receive(&other, &(unsigned){0});
		assert_true(reply->free && reply->free->n_failures == 0);
		raw_drop(reply);
	}
	raw_close(&other);
	dut_stop(&dut);
}

/* ---- places: sessions, and connections, of one user ---- */

#define N_SESSIONS    3
#define N_CONNECTIONS (N_SESSIONS + 4) /* as many more may connect, to be told so */

static void connect_once(void *arg)
{
	struct raw raw;

	raw_open(&raw, arg);
	raw_close(&raw);
}

/* A user takes all its seats with processes that are killed, and comes in once more. */
static void take_all_seats(struct victim victim, unsigned n_seats)
{
	char path[] = "/tmp/hugepool-seats-XXXXXX", text[64];
	int fd, length = snprintf(text, sizeof(text), "{\"user_sessions\": %d}", N_SESSIONS);
	pid_t pids[N_CONNECTIONS];
	struct dut dut;

	dut_need_root();
	fd = mkstemp(path);
	assert_true(fd >= 0 && write(fd, text, (size_t)length) == length);
	close(fd);
	dut_start(&dut, DUT_WORDS("--workers", "2", "--config", path, "--pool", "p=4K:1M,users=*"));
	unlink(path);
	victim.uid = USER;
	victim.dut = &dut;
	for (unsigned i = 0; i < dut_ops(ROUNDS / 5); i++) {
		for (unsigned k = 0; k < n_seats; k++)
			pids[k] = start_victim(&victim);
		for (unsigned k = 0; k < n_seats; k++)
			raw_kill(pids[k]);
		raw_join(raw_fork(USER, connect_once, &dut));
	}
	dut_stop(&dut);
}

static void dead_ones_sessions_leave_their_seats(void **state)
{
	take_all_seats((struct victim){.name = ""}, N_SESSIONS);
}

static void dead_ones_connections_leave_their_seats(void **state)
{
	take_all_seats((struct victim){.name = "", .says_nothing = true}, N_CONNECTIONS);
}

static void dead_ones_unanswered_requests_leave_their_seats(void **state)
{
	take_all_seats((struct victim){.name = "", .floods = true}, N_SESSIONS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(dead_ones_name_is_free, dut_kill_all),
		cmocka_unit_test_teardown(dead_ones_pages_are_free, dut_kill_all),
		cmocka_unit_test_teardown(dead_ones_pages_in_small_leases_are_free, dut_kill_all),
		cmocka_unit_test_teardown(dead_ones_quota_is_free, dut_kill_all),
		cmocka_unit_test_teardown(dead_ones_sole_pages_are_free, dut_kill_all),
		cmocka_unit_test_teardown(dead_ones_sole_quota_is_free, dut_kill_all),
		cmocka_unit_test_teardown(dead_ones_number_of_leases_is_free, dut_kill_all),
		cmocka_unit_test_teardown(dead_ones_number_of_names_is_free, dut_kill_all),
		cmocka_unit_test_teardown(what_waits_for_the_dead_is_free, dut_kill_all),
		cmocka_unit_test_teardown(lease_that_a_dead_one_opened_can_be_changed, dut_kill_all),
		cmocka_unit_test_teardown(name_of_a_dead_one_opens_nothing, dut_kill_all),
		cmocka_unit_test_teardown(dead_ones_detached_lease_can_be_freed, dut_kill_all),
		cmocka_unit_test_teardown(dead_ones_sessions_leave_their_seats, dut_kill_all),
		cmocka_unit_test_teardown(dead_ones_connections_leave_their_seats, dut_kill_all),
		cmocka_unit_test_teardown(dead_ones_unanswered_requests_leave_their_seats, dut_kill_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* system_share.c - everybody's share of the daemon: seats, and workers that nobody blocks. One user has no
 * more of either for opening many connections or mapping a lease very often. Turns of workers:
 * system_turns.c.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/wait.h"
#include "tests/system/system_hostile_scene.h"

#define PAGE 4096

/* ---- seats ---- */

#define MAX_SESSIONS 16
#define N_SEATS      (2 * MAX_SESSIONS)
#define USER_SEATS   (N_SEATS / 2)
#define UID_OTHER    12348
#define USER_FULL    "as it may: close some"
#define ALL_FULL     "as many connections as its descriptors allow"

static void close_all(struct raw *in, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		raw_close(&in[i]);
}

/* Is the refusal there, with these words? False: the daemon has closed, since it had been let in and said
 * nothing for too long. */
static bool is_refused(struct raw *raw, const char *words)
{
	Hugepool__Reply *reply = raw_receive(raw, NULL);

	if (!reply)
		return false;
	raw_check(reply->error && reply->error->code == HUGEPOOL__CODE__TOO_MANY &&
			  strstr(reply->error->message, words),
		  "not refused for \"%s\"", words);
	raw_drop(reply);
	return true;
}

/* Connections until one is refused with these words; returns how many came in. 0: the daemon has closed some
 * of them, which say nothing, before all had been looked at. */
static unsigned try_to_fill(struct scene *scene, struct raw *in, unsigned room, const char *words)
{
	struct raw refused;
	bool are_all_there;
	unsigned n = 0;

	for (unsigned i = 0; i < room; i++)
		raw_connect(&in[i], &scene->dut);
	/* The daemon looks at them in order: when this one is refused, it has decided about the others. */
	raw_connect(&refused, &scene->dut);
	are_all_there = is_refused(&refused, words);
	raw_close(&refused);
	while (n < room && raw_is_silent(&in[n], 0))
		n++;
	for (unsigned i = n; are_all_there && i < room; i++)
		are_all_there = is_refused(&in[i], words);
	if (!are_all_there)
		close_all(in, room);
	return are_all_there ? n : 0;
}

/* So many came in, at least; seats that others have left are free soon. Returns how many. */
static unsigned connect_until_refused(struct scene *scene, struct raw *in, unsigned room, const char *words,
				      unsigned least)
{
	const uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	unsigned n;

	while ((n = try_to_fill(scene, in, room, words)) < least) {
		raw_check(wait_now_ms() < deadline, "only %u connections, not %u", n, least);
		if (n > 0)
			close_all(in, room);
		wait_pause();
	}
	return n;
}

/* The library is refused as long as they are there. */
static void expect_no_seat(struct scene *scene, struct raw *in, unsigned room)
{
	hp_client *client;

	while (hp_open(scene->dut.socket, &client) != -EOVERFLOW) {
		unsigned n = 0;

		raw_check(client, "neither in nor refused: %s", hp_error());
		hp_close(client);
		while (n < USER_SEATS && raw_is_silent(&in[n], 0))
			n++;
		raw_check(n < USER_SEATS, "one more than there are seats");
		close_all(in, room);
		connect_until_refused(scene, in, room, USER_FULL, USER_SEATS);
	}
	raw_check(strstr(hp_error(), USER_FULL), "the library says: %s", hp_error());
}

/* Come in, as soon as a seat that was left is free. */
static void open_eventually(struct scene *scene, hp_client **ret_client)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	int r;

	while ((r = hp_open(scene->dut.socket, ret_client)) != 0) {
		raw_check(r == -EOVERFLOW && wait_now_ms() < deadline, "a free seat is not to be had: %s",
			  hp_error());
		wait_pause();
	}
}

static void take_half_of_the_seats(void *arg)
{
	struct scene *scene = arg;
	struct raw in[USER_SEATS + 4];
	hp_client *client;
	unsigned n;

	n = connect_until_refused(scene, in, USER_SEATS + 4, USER_FULL, USER_SEATS);
	raw_check(n == USER_SEATS, "%u connections of one user", n);
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
	expect_no_seat(scene, in, USER_SEATS + 4);
	close_all(in, USER_SEATS + 4);
	open_eventually(scene, &client);
	hp_close(client);
}

static void take_half_of_the_seats_by_sessions(void *arg)
{
	struct scene *scene = arg;
	struct raw in[MAX_SESSIONS / 2], extra;
	struct raw_request ask;
	hp_client *client;

	for (unsigned i = 0; i < MAX_SESSIONS / 2; i++)
		raw_open(&in[i], &scene->dut);
	raw_connect(&extra, &scene->dut);
	raw_receive_error(&extra, HUGEPOOL__CODE__TOO_MANY, USER_FULL);
	raw_close(&extra);
	/* A session that lost its connection keeps its seat: a connection fits in, another session not. */
	raw_drop(raw_call(&in[0], raw_ask_bye(&ask)));
	raw_close(&in[0]);
	raw_close(&in[1]);
	open_eventually(scene, &client);
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
	hp_close(client);
	close_all(in, MAX_SESSIONS / 2);
}

static void take_all_seats(void *arg)
{
	struct scene *scene = arg;
	struct raw in[N_SEATS];
	unsigned n;

	n = connect_until_refused(scene, in, N_SEATS, ALL_FULL, USER_SEATS + 1);
	raw_check(n < N_SEATS, "%u connections of root", n);
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
	close_all(in, N_SEATS);
}

/* Two users do, as far as they may; the second is refused because there are no more. */
static void take_seats_of_users(void *arg)
{
	struct scene *scene = arg;
	struct raw in[N_SEATS];

	connect_until_refused(scene, in, N_SEATS, geteuid() == UID_HOSTILE ? USER_FULL : ALL_FULL, 1);
	scene_set_step(scene, scene->shared->step + 1);
	scene_wait_step(scene, 3);
	close_all(in, N_SEATS);
}

/* Fails without `kept` in take_locked() of lease/seats.c. */
static void root_comes_in_when_users_have_all_seats(struct scene *scene)
{
	pid_t children[2];
	json_t *status;

	scene->shared->step = 0;
	for (int i = 0; i < 2; i++) {
		children[i] = raw_fork(i == 0 ? UID_HOSTILE : UID_OTHER, take_seats_of_users, scene);
		scene_wait_step(scene, i + 1);
	}
	status = dut_json(&scene->dut, "status");
	assert_non_null(status);
	json_decref(status);
	scene_set_step(scene, 3);
	for (int i = 0; i < 2; i++)
		raw_join(children[i]);
	scene_wait_sessions(scene, 2);
}

static void with_few_seats(void (*run)(struct scene *scene))
{
	static const char text[] = "{\"max_sessions\": 16}";
	char path[64];
	int fd = memfd_create("configuration", 0);
	struct scene scene;

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	scene_begin(&scene, 0, DUT_WORDS("--config", path, "--pool", "default=4K:64M,users=*,decay=100ms"));
	close(fd);
	run(&scene);
	scene_end(&scene);
}

static void one_after_another(struct scene *scene, uid_t uid, void (*take)(void *arg), bool newcomers)
{
	pid_t child;

	scene->shared->step = 0;
	child = raw_fork(uid, take, scene);
	scene_wait_step(scene, 1);
	scene_expect_service(scene, newcomers);
	scene_set_step(scene, 2);
	raw_join(child);
	scene_wait_sessions(scene, 2);
}

static void play_seats(struct scene *scene)
{
	one_after_another(scene, UID_HOSTILE, take_half_of_the_seats, true);
	one_after_another(scene, UID_HOSTILE, take_half_of_the_seats_by_sessions, true);
	one_after_another(scene, 0, take_all_seats, false);
	root_comes_in_when_users_have_all_seats(scene);
	/* Whose seats are all free again. */
	one_after_another(scene, UID_HOSTILE, take_half_of_the_seats, true);
}

/* Fails without is_full_for() in take_locked() of lease/seats.c. */
static void seats_are_at_most_half_one_users(void **state)
{
	dut_need_root();
	with_few_seats(play_seats);
}

/* ---- mappings ---- */

#define N_MAPPINGS 60000 /* vm.max_map_count is a little more */
#define N_ROUNDS   3
#define DONE       100 /* a step past all rounds' */

/* A lease of a file of its own, held on `raw`. Returns a descriptor of the file, which `client` has opened
 * and let go of again: it maps nothing of it any more, and waits for nothing. */
static int lease_alone(struct raw *raw, hp_client *client, uint64_t *ret_lease)
{
	struct raw_request ask;
	Hugepool__Reply *reply;
	hp_lease *opened;
	int fd;

	raw_ask_alloc(&ask, 2);
	ask.alloc.pool = 1;
	ask.alloc.name = "alone";
	ask.alloc.mode = 0600;
	reply = raw_call(raw, &ask.request);
	raw_check(reply->alloc, "alloc: %s", reply->error ? reply->error->message : "no grant");
	*ret_lease = reply->alloc->grants[0]->lease;
	raw_drop(reply);
	raw_say_received(raw);
	raw_check(hp_lease_open(client, "alone", 0, &opened) == 0, "open: %s", hp_error());
	fd = hp_lease_dup_fd(opened, 0, NULL, NULL);
	raw_check(fd >= 0 && hp_free(opened) == 0, "no file: %s", hp_error());
	return fd;
}

static bool has_blocks(int fd)
{
	struct stat status;

	raw_check(fstat(fd, &status) == 0, "fstat: %s", strerror(errno));
	return status.st_blocks > 0;
}

/* Map one page of the lease as often as one can, with page tables, and free it. Returns whether the daemon
 * has answered before it had truncated the file. */
static bool map_often_and_free(struct scene *scene, struct raw *raw, hp_client *client, int step)
{
	uint64_t lease;
	int fd = lease_alone(raw, client, &lease);
	uint8_t *memory = mmap(NULL, N_MAPPINGS * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool was_first;

	raw_check(memory != MAP_FAILED, "no room: %s", strerror(errno));
	for (unsigned i = 0; i < N_MAPPINGS; i++) {
		void *page = mmap(memory + i * PAGE, PAGE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED | MAP_POPULATE, fd, 0);

		raw_check(page != MAP_FAILED, "mapping %u: %s", i, strerror(errno));
	}
	scene_set_step(scene, step);
	scene_wait_step(scene, step + 1);
	raw_check(raw_free(raw, lease) == HUGEPOOL__CODE__OK, "not freed");
	was_first = has_blocks(fd);
	while (has_blocks(fd))
		;
	munmap(memory, N_MAPPINGS * PAGE);
	close(fd);
	return was_first;
}

/* An answer can be late by chance; not in every round. */
static void map_often(void *arg)
{
	struct scene *scene = arg;
	bool was_first = false;
	hp_client *client;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	raw_check(hp_open(scene->dut.socket, &client) == 0, "open: %s", hp_error());
	for (int i = 0; i < N_ROUNDS && !was_first; i++)
		was_first = map_often_and_free(scene, &raw, client, 1 + 2 * i);
	raw_check(was_first, "no answer before the truncation");
	scene_set_step(scene, DONE);
	hp_close(client);
	raw_close(&raw);
}

/* Fails if pool_post_release_locked() of pool/release.c calls release_arena() instead of posting it. */
static void workers_are_not_blocked_by_many_mappings(void **state)
{
	struct scene scene;
	pid_t pid;

	dut_need_root();
	scene_begin(&scene, 0,
		    DUT_WORDS("--pool", "default=4K:64M,users=*,decay=100ms", "--pool",
			      "alone=4K:1M,arena=1M,users=*,isolation=lease"));
	pid = raw_fork(UID_HOSTILE, map_often, &scene);
	for (int i = 0;; i++) {
		scene_wait_step(&scene, 1 + 2 * i);
		if (scene.shared->step == DONE)
			break;
		scene_expect_service(&scene, false);
		scene_set_step(&scene, 2 + 2 * i);
		scene_expect_service(&scene, true);
	}
	raw_join(pid);
	scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(seats_are_at_most_half_one_users, dut_kill_all),
		cmocka_unit_test_teardown(workers_are_not_blocked_by_many_mappings, dut_kill_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

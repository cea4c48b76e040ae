/* system_namespace.c - a daemon that runs in a user or pid namespace of its own: who its clients are then,
 * and who cannot be known. Real namespaces (unshare), real users.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/dut.h"
#include "tests/support/raw.h"

enum { ALICE = 1001, BOB = 1002, NOBODY = 65534, MAPPED = 1001 };

#define PAGE    UINT64_C(4096)
#define POOL    "--pool", "p=4K:16M,arena=1M,users=*", "--workers", "2"
#define PARTIAL "{\"partial_users\": true, \"admin_groups\": [65534]}"

/* ---- the daemon's world ---- */

static void need(bool condition, const char *what)
{
	if (condition)
		return;
	fprintf(stderr, "cannot enter a namespace: %s: %s\n", what, strerror(errno));
	_exit(125);
}

static void write_map(pid_t pid, const char *name, const char *map)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	need(fd >= 0 && write(fd, map, strlen(map)) == (ssize_t)strlen(map), path);
	close(fd);
}

/* A user namespace with these maps, which a process outside has to write. */
static void enter_users(const char *uid_map, const char *gid_map)
{
	const pid_t pid = getpid();
	int ready[2], status;
	pid_t helper;
	char byte;

	need(pipe(ready) == 0, "pipe");
	helper = fork();
	if (helper == 0) {
		close(ready[1]);
		need(read(ready[0], &byte, 1) == 0, "the daemon's process");
		write_map(pid, "uid_map", uid_map);
		write_map(pid, "gid_map", gid_map);
		_exit(0);
	}
	need(helper > 0 && unshare(CLONE_NEWUSER) == 0, "unshare");
	close(ready[0]);
	close(ready[1]);
	need(waitpid(helper, &status, 0) == helper && WIFEXITED(status) && WEXITSTATUS(status) == 0,
	     "its maps");
	need(setresgid(0, 0, 0) == 0 && setresuid(0, 0, 0) == 0, "its root");
}

#define ALL "0 0 4294967295\n"

static void enter_all(void)
{
	enter_users(ALL, ALL);
}

static void enter_all_in_two_parts(void)
{
	enter_users("0 0 65536\n65536 65536 4294901759\n", "1 1 4294967294\n0 0 1\n");
}

/* Root and one user: everybody else is 65534. */
static void enter_two(void)
{
	enter_users("0 0 1\n1001 1001 1\n", "0 0 1\n1001 1001 1\n");
}

static void enter_without_one_user(void)
{
	enter_users("0 0 65534\n65535 65535 4294901760\n", ALL);
}

static void enter_without_one_group(void)
{
	enter_users(ALL, "0 0 4294967294\n");
}

/* As in a rootless container: a nobody of its own, who looks like all those outside. */
static void enter_with_own_nobody(void)
{
	enter_users("0 0 1\n1001 1001 1\n65534 200000 1\n", "0 0 1\n1001 1001 1\n65534 200000 1\n");
}

static pid_t inner;

static void pass_on(int number)
{
	kill(inner, number);
}

/* A pid namespace: this process stays outside, as the daemon's parent, and ends as it ends. */
static void enter_pids(void)
{
	int status;

	need(unshare(CLONE_NEWPID) == 0, "unshare");
	inner = fork();
	need(inner >= 0, "fork");
	if (inner == 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGTERM, pass_on);
	while (waitpid(inner, &status, 0) < 0)
		need(errno == EINTR, "waitpid");
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static int leave(void **state)
{
	dut_enter(NULL);
	return dut_kill_all(state);
}

static char config_path[] = "/tmp/hugepool-namespace-XXXXXX";

static int write_config(void **state)
{
	int fd = mkstemp(config_path);

	if (fd < 0 || write(fd, PARTIAL, strlen(PARTIAL)) != (ssize_t)strlen(PARTIAL))
		return -1;
	close(fd);
	return 0;
}

static int remove_config(void **state)
{
	return unlink(config_path);
}

/* ---- users ---- */

static void expect_no_start(void (*hook)(void), const char *words)
{
	char *error;

	dut_enter(hook);
	assert_int_equal(dut_start_refused(DUT_WORDS(POOL), &error), 1);
	if (!strstr(error, words) || !strstr(error, "partial_users"))
		fail_msg("expected a word about \"%s\": %s", words, error);
	free(error);
}

static void users_that_cannot_be_told_apart_are_no_start(void **state)
{
	dut_need_root();
	expect_no_start(enter_two, "not map every user");
	expect_no_start(enter_without_one_user, "uid_map");
	expect_no_start(enter_without_one_group, "not map every group");
	expect_no_start(enter_with_own_nobody, "uid_map");
}

static void say_hello(void *arg)
{
	struct raw raw;

	raw_open(&raw, arg);
	raw_free(&raw, raw_alloc(&raw, 1));
	raw_close(&raw);
}

/* Who maps all tells all apart, the nobody that most systems have too. */
static void users_all_mapped_are_served(void **state)
{
	static void (*const hooks[])(void) = {enter_all, enter_all_in_two_parts};

	dut_need_root();
	for (unsigned i = 0; i < 2; i++) {
		struct dut dut;

		dut_enter(hooks[i]);
		dut_start(&dut, DUT_WORDS(POOL));
		raw_join(raw_fork(ALICE, say_hello, &dut));
		raw_join(raw_fork(BOB, say_hello, &dut));
		raw_join(raw_fork(NOBODY, say_hello, &dut));
		dut_stop(&dut);
	}
}

/* Connect, and be sent away. */
static void be_refused(void *arg)
{
	struct raw raw;

	raw_connect(&raw, arg);
	raw_receive_error(&raw, HUGEPOOL__CODE__NOT_ALLOWED, "not mapped");
	raw_expect_closed(&raw);
}

static void become(uid_t uid, gid_t gid, gid_t group)
{
	raw_check(setgroups(1, &group) == 0 && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0,
		  "cannot become uid %d", (int)uid);
}

static void be_refused_for_the_group(void *arg)
{
	become(MAPPED, 2000, 0);
	be_refused(arg);
}

static void be_refused_as_nobody(void *arg)
{
	become(200000, 200000, 200000);
	be_refused(arg);
}

/* A supplementary group that is not mapped is none: admin_groups names 65534. */
static void be_no_admin(void *arg)
{
	struct raw_request ask;
	struct raw raw;

	become(MAPPED, MAPPED, 2000);
	raw_open(&raw, arg);
	raw_expect_error(&raw, raw_ask_status(&ask), HUGEPOOL__CODE__NOT_ALLOWED, "Status");
	raw_close(&raw);
}

static void users_not_mapped_are_refused_where_that_is_wanted(void **state)
{
	static void (*const hooks[])(void) = {enter_two, enter_with_own_nobody};

	dut_need_root();
	for (unsigned i = 0; i < 2; i++) {
		struct dut dut;

		dut_enter(hooks[i]);
		dut_start(&dut, DUT_WORDS("--config", config_path, POOL));
		raw_join(raw_fork(MAPPED, say_hello, &dut));
		raw_join(raw_fork(BOB, be_refused, &dut));
		raw_join(raw_fork(NOBODY, be_refused, &dut));
		raw_join(raw_fork(0, be_refused_for_the_group, &dut));
		raw_join(raw_fork(0, be_refused_as_nobody, &dut));
		raw_join(raw_fork(0, be_no_admin, &dut));
		assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
		dut_stop(&dut);
	}
}

/* ---- pids ---- */

/* `leases` or `sessions`, one row of this user's. The reference is the caller's. */
static json_t *row_of(const struct dut *dut, const char *list, uid_t uid)
{
	json_t *object = dut_json(dut, list), *row;
	size_t i;

	json_array_foreach (json_object_get(object, list), i, row) {
		if (json_integer_value(json_object_get(row, "uid")) != (json_int_t)uid)
			continue;
		json_incref(row);
		json_decref(object);
		return row;
	}
	fail_msg("%s: nobody has uid %d", list, (int)uid);
	return NULL;
}

static void expect_other_namespace(const struct dut *dut, const char *list)
{
	json_t *row = row_of(dut, list, ALICE);
	char *out;

	assert_int_equal(json_integer_value(json_object_get(row, "pid")), 0);
	assert_true(json_is_true(json_object_get(row, "other_pid_namespace")));
	json_decref(row);
	assert_int_equal(dut_ctl(dut, 0, DUT_WORDS(list), &out, NULL), 0);
	assert_non_null(strstr(out, "another namespace"));
	free(out);
}

static void pid_of_another_namespace_is_served_and_said_so(void **state)
{
	uint64_t lease, other;
	struct actor alice, rival;
	char id[24], *error;
	struct dut dut;

	dut_need_root();
	dut_enter(enter_pids);
	dut_start(&dut, DUT_WORDS(POOL));
	actor_start(&alice, ALICE, &dut);
	actor_start(&rival, ALICE, &dut);
	assert_int_equal(actor_alloc(&alice, 3 * PAGE, NULL, &lease), 0);
	expect_other_namespace(&dut, "leases");
	expect_other_namespace(&dut, "sessions");
	/* It has no number to be told by. */
	assert_int_equal(actor_free_id(&rival, lease), -EACCES);
	snprintf(id, sizeof(id), "%llu", (unsigned long long)lease);
	assert_int_equal(dut_ctl(&dut, ALICE, DUT_WORDS("free", id), NULL, &error), 1);
	assert_non_null(strstr(error, "held by a process of another pid namespace"));
	free(error);

	/* Its connection breaks: the session is this process's, by its pidfd. */
	actor_break(&alice);
	dut_wait_pool(&dut, "p", "pages_orphaned", 3);
	assert_int_equal(actor_alloc(&alice, PAGE, NULL, &other), 0);
	dut_wait_pool(&dut, "p", "pages_orphaned", 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 4);

	/* Its death is proven. */
	actor_kill(&alice);
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
	actor_quit(&rival);
	dut_stop(&dut);
}

/* A session's number and token. */
struct ticket {
	const struct dut *dut;
	uint64_t session;
	uint8_t token[16];
};

static void claim_session(void *arg)
{
	struct ticket *ticket = arg;
	struct raw_request ask;
	struct raw raw;

	raw_connect(&raw, ticket->dut);
	raw_ask_hello(&ask);
	ask.hello.session = ticket->session;
	ask.hello.token.data = ticket->token;
	ask.hello.token.len = sizeof(ticket->token);
	raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__NO_SESSION, "no such session of this process");
	raw_close(&raw);
}

/* All of them have pid 0: with the token of one, another one still is not it. */
static void pid_0_proves_nothing(void **state)
{
	struct ticket ticket;
	struct raw_request ask;
	Hugepool__Reply *reply;
	struct raw raw;
	struct dut dut;

	dut_need_root();
	dut_enter(enter_pids);
	dut_start(&dut, DUT_WORDS(POOL));
	raw_connect(&raw, &dut);
	raw_ask_hello(&ask);
	reply = raw_call(&raw, &ask.request);
	assert_non_null(reply->hello);
	assert_int_equal(reply->hello->token.len, sizeof(ticket.token));
	ticket = (struct ticket){.dut = &dut, .session = reply->hello->session};
	memcpy(ticket.token, reply->hello->token.data, sizeof(ticket.token));
	raw_drop(reply);
	raw_join(raw_fork(0, claim_session, &ticket));
	raw_close(&raw);
	dut_stop(&dut);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, leave)
	const struct CMUnitTest tests[] = {
#if !defined(__SANITIZE_THREAD__) /* its own thread keeps a process out of another user namespace */
		TEST(users_that_cannot_be_told_apart_are_no_start),
		TEST(users_all_mapped_are_served),
		TEST(users_not_mapped_are_refused_where_that_is_wanted),
#endif
		TEST(pid_of_another_namespace_is_served_and_said_so),
		TEST(pid_0_proves_nothing),
	};

	return cmocka_run_group_tests_name("system_namespace", tests, write_config, remove_config);
}

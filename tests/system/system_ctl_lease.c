/* system_ctl_lease.c - hugepoolctl's leases of every kind: what can be asked of alloc, and who can open what.
 *
 * What operators do with them is system_ctl_operate.c's.
 */
#include <config.h>

#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/operator.h"
#include "tests/support/wait.h"

#define PAGE     UINT64_C(4096)
#define MIB      (UINT64_C(1) << 20)
#define PIECE    (MIB / 4)
#define OWNER    12345
#define OTHER    12346
#define STRANGER 12347
#define NOBODY   65534
#define MAX_LINE 65536
#define MAX_WORD 24

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* 16 MiB in arenas of 4, for everybody. */
#define POOL DUT_WORDS("--pool", "p=4K:16M,arena=4M,users=*")

static const char *id_word(uint64_t id, char word[MAX_WORD])
{
	snprintf(word, MAX_WORD, "%" PRIu64, id);
	return word;
}

static int64_t lease_number(const struct dut *dut, uint64_t lease, const char *what)
{
	char word[MAX_WORD];

	return operator_number(dut, "leases", "leases", "lease", id_word(lease, word), what);
}

/* ---- usage ---- */

static void ctl_lease_wrong_usage_is_2(void **state)
{
	static const struct {
		const char *words[6], *sentence;
	} cases[] = {
		{{"alloc", "--mode", "8", "4K"}, "--mode: expected an octal number|\"8\""},
		{{"alloc", "--mode", "0", "4K"}, "--mode: expected"},
		{{"alloc", "--mode", "1000", "4K"}, "--mode: expected"},
		{{"alloc", "--mode", "640", "4K"}, "--mode|--name"},
		{{"alloc", "--read", "nobody-of-that-name", "4K"},
		 "--read: expected|\"nobody-of-that-name\""},
		{{"alloc", "--write", ":", "4K"}, "--write: expected"},
		{{"alloc", "--write", "4294967295", "4K"}, "--write: expected"},
		{{"alloc", "--read", ":0", "4K"}, "--read|--name"},
		{{"alloc", "--max-runs", "0", "4K"}, "--max-runs: expected"},
		{{"alloc", "--max-runs", "4294967296", "4K"}, "--max-runs: expected"},
		{{"alloc", "--node", "-1", "4K"}, "--node: expected"},
		{{"alloc", "--node", "99", "4K"}, "--node: expected|of this host"},
		{{"alloc", "--name", "", "4K"}, "--name: expected"},
		{{"alloc", "--name", "123", "4K"}, "--name: expected|not all digits"},
		{{"alloc", "--wait", "1s", "4K"}, "--wait: expected a number of seconds"},
		{{"alloc", "--wait", "1.2.3", "4K"}, "--wait: expected"},
		{{"alloc", "--wait", ".", "4K"}, "--wait: expected"},
		{{"alloc", "--wait", "inf", "4K"}, "--wait: expected"},
		{{"alloc", "--lifetime", "0", "4K"}, "--lifetime: expected"},
		{{"alloc", "--lifetime", "0.0001", "4K"}, "--lifetime: expected"},
		{{"alloc", "--lifetime", "1000000001", "4K"}, "--lifetime: expected"},
		{{"alloc", "--read-only", "4K"}, "alloc knows no option --read-only|usage: "},
		{{"open"}, "usage: |[--read-only] [--owner USER] NAME"},
		{{"open", "--detach", "name"}, "open knows no option --detach|usage: "},
		{{"free", "--revocable", "1"}, "free knows no option --revocable"},
		{{"tenants", "p", "q"}, "usage: |[POOL]"},
		{{"revoke"}, "usage: |LEASE..."},
		{{"revoke", "1", "name"}, "LEASE: expected a number|\"name\""},
		{{"revoke", "99999999999999999999999"}, "LEASE: expected a number|99999"},
		{{"evict", "p"}, "ARENA: expected a number|\"p\""},
		{{"isolate", "p"}, "ARENA: expected a number|\"p\""},
		{{"isolate"}, "usage: |ARENA"},
		{{"drain"}, "usage: |POOL"},
		{{"restore"}, "usage: |ARENA|POOL"},
		{{"events", "--kinds", "all"}, "--kinds: expected some of pressure|\"all\""},
		{{"events", "--kinds", "drained,"}, "--kinds: expected"},
		{{"events", "--kinds", ""}, "--kinds: expected"},
		{{"status", "--kinds", "drained"}, "status knows no option --kinds"},
	};
	const char *seventeen[2 * 17 + 5] = {"alloc", "--name", "n"};

	for (size_t i = 0; i < LENGTH(cases); i++)
		dut_expect("hugepoolctl", 0, USAGE, cases[i].sentence, cases[i].words);
	for (unsigned i = 0; i < 17; i++) {
		seventeen[3 + 2 * i] = "--read";
		seventeen[4 + 2 * i] = "1";
	}
	seventeen[2 * 17 + 3] = "4K";
	dut_expect("hugepoolctl", 0, USAGE, "at most 16", seventeen);
	dut_expect("hugepoolctl", 0, DONE,
		   "alloc [OPTION...] SIZE|--read USER|--lifetime SECONDS|--kinds LIST", DUT_WORDS("--help"));
}

static void ctl_lease_without_a_daemon_is_3(void **state)
{
	static const char *const commands[][3] = {{"tenants"},    {"open", "name"}, {"revoke", "1"},
						  {"evict", "1"}, {"isolate", "1"}, {"restore", "p"},
						  {"drain", "p"}, {"events"}};

	for (size_t i = 0; i < LENGTH(commands); i++)
		dut_expect("hugepoolctl", 0, NO_DAEMON, "/nowhere/socket",
			   DUT_WORDS("--socket", "/nowhere/socket", commands[i][0], commands[i][1]));
}

/* ---- what it is made of ---- */

/* Lease the whole pool in pieces of 256K, and leave every other piece of each file free. */
static hp_client *fragment(const struct dut *dut, unsigned *ret_n_left)
{
	uint64_t bytes[64], offset;
	hp_lease *leases[64];
	hp_client *client;

	for (unsigned i = 0; i < 64; i++)
		bytes[i] = PIECE;
	assert_int_equal(hp_open(dut->socket, &client), 0);
	assert_int_equal(hp_alloc_batch(client, bytes, 64, NULL, leases), 0);
	*ret_n_left = 64;
	for (unsigned i = 0; i < 64; i++) {
		int fd = hp_lease_dup_fd(leases[i], 0, &offset, NULL);

		assert_true(fd >= 0);
		close(fd);
		if (offset / PIECE % 2 == 1) {
			assert_int_equal(hp_free(leases[i]), 0);
			--*ret_n_left;
		}
	}
	return client;
}

static void ctl_alloc_of_several_runs(void **state)
{
	unsigned n_left;
	hp_client *client;
	struct dut dut;
	uint64_t lease;

	dut_start(&dut, POOL);
	client = fragment(&dut, &n_left);
	operator_expect(&dut, 0, FAILED, "free", DUT_WORDS("alloc", "--contiguous", "768K"));
	operator_expect(&dut, 0, FAILED, "free", DUT_WORDS("alloc", "--max-runs", "1", "768K"));
	operator_expect(&dut, 0, FAILED, "free", DUT_WORDS("alloc", "--max-runs", "2", "768K"));
	operator_expect(&dut, 0, DONE, "768K of pool p in 3 runs",
			DUT_WORDS("alloc", "--detach", "--max-runs", "3", "768K"));
	lease = operator_leave(&dut, 0, DUT_WORDS("1M"));
	assert_int_equal(lease_number(&dut, lease, "runs"), 4);
	assert_int_equal(lease_number(&dut, lease, "bytes"), MIB);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), (n_left + 3 + 4) * PIECE / PAGE);
	hp_close(client);
	dut_stop(&dut);
}

/* ---- waiting ---- */

static void wait_sessions(const struct dut *dut, int64_t n)
{
	uint64_t deadline = wait_now_ms() + 60 * 1000;

	for (;;) {
		json_t *status = dut_json(dut, "status");
		int64_t got = json_integer_value(json_object_get(status, "sessions")) - 1; /* who asks */

		json_decref(status);
		if (got == n)
			return;
		if (wait_now_ms() > deadline)
			fail_msg("there are %" PRId64 " sessions, never %" PRId64, got, n);
		wait_pause();
	}
}

/* Its Alloc has come, behind its Subscribe, and has not been answered yet. */
static void wait_waiting(const struct dut *dut, pid_t pid)
{
	char word[MAX_WORD];

	operator_wait_number(dut, "sessions", "sessions", "pid", id_word((uint64_t)pid, word), "requests", 2);
}

static void ctl_alloc_waits_for_memory(void **state)
{
	char line[MAX_LINE];
	uint64_t whole;
	struct dut dut;
	pid_t holder, waiter;
	int out_fd;

	dut_start(&dut, POOL);
	holder = dut_hold(&dut, 0, DUT_WORDS("16M"), &whole);
	operator_expect(&dut, 0, FAILED, "free", DUT_WORDS("alloc", "4K"));
	operator_expect(&dut, 0, FAILED, "wait", DUT_WORDS("alloc", "--wait", "0.05", "4K"));
	waiter = operator_spawn(&dut, 0, DUT_WORDS("alloc", "--wait", "1000", "2M"), &out_fd);
	wait_waiting(&dut, waiter);
	assert_int_equal(waitpid(waiter, NULL, WNOHANG), 0);
	operator_end(holder, SIGTERM, DONE);
	operator_read_line(out_fd, line, sizeof(line));
	assert_non_null(strstr(line, "2M of pool p"));
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 2 * MIB / PAGE);
	operator_end(waiter, SIGINT, DONE);
	close(out_fd);
	dut_stop(&dut);
}

/* It has no lease to give back, and does not wait on. */
static void ctl_alloc_that_waits_ends_at_a_signal(void **state)
{
	uint64_t whole;
	struct dut dut;
	pid_t holder, waiter;
	int out_fd, status;

	dut_start(&dut, POOL);
	holder = dut_hold(&dut, 0, DUT_WORDS("16M"), &whole);
	waiter = operator_spawn(&dut, 0, DUT_WORDS("alloc", "--wait", "1000", "2M"), &out_fd);
	wait_waiting(&dut, waiter);
	assert_int_equal(kill(waiter, SIGTERM), 0);
	status = dut_wait_child(waiter);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	wait_sessions(&dut, 1);
	operator_end(holder, SIGTERM, DONE);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	close(out_fd);
	dut_stop(&dut);
}

/* ---- how long it lives ---- */

static void ctl_alloc_with_a_lifetime_ends_by_itself(void **state)
{
	uint64_t brief, lasting;
	struct dut dut;
	int64_t left_s;
	pid_t holder;

	dut_start(&dut, POOL);
	holder = dut_hold(&dut, 0, DUT_WORDS("--lifetime", "0.1", "1M"), &brief);
	lasting = operator_leave(&dut, 0, DUT_WORDS("--lifetime", "3600", "1M"));
	dut_wait_pool(&dut, "p", "leases", 1);
	left_s = lease_number(&dut, lasting, "deadline_s");
	assert_true(left_s > 0 && left_s <= 3600);
	operator_await(holder, DONE);
	operator_expect(&dut, 0, DONE, "ENDS(s)", DUT_WORDS("leases"));
	operator_expect(&dut, 0, DONE, "until it is freed or its lifetime ends\n",
			DUT_WORDS("alloc", "--detach", "--lifetime", "3600", "4K"));
	dut_stop(&dut);
}

/* Nor is it held from a daemon that has gone. */
static void ctl_alloc_ends_with_the_daemon(void **state)
{
	uint64_t lease;
	struct dut dut;
	pid_t holder;

	dut_start(&dut, POOL);
	holder = dut_hold(&dut, 0, DUT_WORDS("1M"), &lease);
	dut_stop(&dut);
	operator_await(holder, FAILED);
}

static void ctl_alloc_says_whether_quota_or_pool_is_short(void **state)
{
	uint64_t whole;
	struct dut dut;
	pid_t holder;

	dut_start(&dut, DUT_WORDS("--pool", "p=4K:8M,arena=4M", "--pool", "q=4K:16M,arena=4M,quota=8M"));
	for (unsigned i = 0; i < 2; i++) {
		const char *pool = i == 0 ? "p" : "q";

		holder = dut_hold(&dut, 0, DUT_WORDS("--pool", pool, "8M"), &whole);
		operator_expect(&dut, 0, FAILED,
				i == 0 ? "pool p had no 2 pages (8K) free for you" : "your quota of 2048",
				DUT_WORDS("alloc", "--pool", pool, "--wait", "0.05", "8K"));
		operator_end(holder, SIGTERM, DONE);
	}
	dut_stop(&dut);
}

/* A daemon that is killed under a holder, whose pid is returned. */
static pid_t start_and_kill(struct dut *dut)
{
	uint64_t lease;
	pid_t holder;

	dut_start(dut, DUT_WORDS("--pool", "p=4K:8M"));
	holder = dut_hold(dut, 0, DUT_WORDS("8K"), &lease);
	dut_kill(dut);
	return holder;
}

/* Who sends a signal does not wait for a daemon that has gone. It had ten seconds to come back. */
static void ctl_signal_ends_a_holder_without_a_daemon(void **state)
{
	struct dut dut;
	pid_t holder = start_and_kill(&dut);

	operator_end(holder, SIGTERM, DONE);
	assert_int_equal(unlink(dut.socket), 0);
	dut_discard(&dut);
}

/* One that is started anew knows no leases of the old one, and says so. */
static void ctl_holder_of_a_daemon_that_was_killed_fails(void **state)
{
	struct dut dut;
	pid_t holder = start_and_kill(&dut);

	dut_restart(&dut, DUT_WORDS("--pool", "p=4K:8M"));
	operator_await(holder, FAILED);
	dut_stop(&dut);
}

/* ---- who may open it ---- */

static void expect_opened(const struct dut *dut, uid_t uid, const char *const *arguments)
{
	char line[MAX_LINE];
	int out_fd;
	pid_t pid = operator_spawn(dut, uid, arguments, &out_fd);

	operator_read_line(out_fd, line, sizeof(line));
	assert_non_null(strstr(line, "1M of pool p"));
	operator_end(pid, SIGTERM, DONE);
	close(out_fd);
}

static void ctl_open_follows_mode_and_access(void **state)
{
	static const struct {
		const char *options[6];
		bool reads[3], writes[3]; /* owner, other, stranger */
	} cases[] = {
		{{NULL}, {true, false, false}, {true, false, false}},
		{{"--mode", "644"}, {true, true, true}, {true, false, false}},
		{{"--mode", "666"}, {true, true, true}, {true, true, true}},
		{{"--read", "12346"}, {true, true, false}, {true, false, false}},
		{{"--read", ":12346"}, {true, true, false}, {true, false, false}},
		{{"--write", "12346", "--read", ":12347"}, {true, true, true}, {true, true, false}},
		{{"--write", ":12347"}, {true, false, true}, {true, false, true}},
	};
	static const uid_t uids[] = {OWNER, OTHER, STRANGER};
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		const char *const *o = cases[i].options;
		/* What is not there ends the list too early: the size comes first. */
		uint64_t lease =
			operator_leave(&dut, OWNER, DUT_WORDS("--name", "n", "1M", o[0], o[1], o[2], o[3]));

		for (size_t u = 0; u < LENGTH(uids); u++) {
			if (cases[i].reads[u])
				expect_opened(&dut, uids[u], DUT_WORDS("open", "--read-only", "n"));
			else
				operator_expect(&dut, uids[u], FAILED, "n",
						DUT_WORDS("open", "--read-only", "n"));
			if (cases[i].writes[u])
				expect_opened(&dut, uids[u], DUT_WORDS("open", "n"));
			else
				operator_expect(&dut, uids[u], FAILED, "n", DUT_WORDS("open", "n"));
		}
		assert_int_equal(lease_number(&dut, lease, "opened"), 0);
		operator_expect(&dut, OWNER, DONE, "", DUT_WORDS("free", "n"));
		dut_wait_pool(&dut, "p", "leases", 0);
	}
	dut_stop(&dut);
}

/* Whatever this host calls them. */
static void ctl_open_by_names_of_users_and_groups(void **state)
{
	const struct passwd *user = getpwuid(NOBODY);
	const struct group *group = getgrgid(NOBODY);
	char group_word[MAX_WORD];
	struct dut dut;

	dut_need_root();
	assert_non_null(user);
	assert_non_null(group);
	snprintf(group_word, sizeof(group_word), ":%s", group->gr_name);
	dut_start(&dut, POOL);
	operator_leave(&dut, OWNER, DUT_WORDS("--name", "user", "--read", user->pw_name, "1M"));
	operator_leave(&dut, OWNER, DUT_WORDS("--name", "group", "--write", group_word, "1M"));
	expect_opened(&dut, NOBODY, DUT_WORDS("open", "--read-only", "user"));
	operator_expect(&dut, NOBODY, FAILED, "user", DUT_WORDS("open", "user"));
	expect_opened(&dut, NOBODY, DUT_WORDS("open", "group"));
	operator_expect(&dut, OTHER, FAILED, "group", DUT_WORDS("open", "group"));
	operator_expect(&dut, NOBODY, FAILED, "nothing", DUT_WORDS("open", "nothing"));
	dut_stop(&dut);
}

static void ctl_open_keeps_the_pages_of_who_has_let_go(void **state)
{
	char line[MAX_LINE];
	uint64_t lease, opened;
	pid_t owner, reader;
	json_t *object;
	struct dut dut;
	int out_fd;

	dut_need_root();
	dut_start(&dut, POOL);
	owner = dut_hold(&dut, OWNER, DUT_WORDS("--name", "n", "--read", "12346", "1M"), &lease);
	reader = operator_spawn(&dut, OTHER, DUT_WORDS("--json", "open", "--read-only", "n"), &out_fd);
	operator_read_line(out_fd, line, sizeof(line));
	object = json_loads(line, 0, NULL);
	assert_string_equal(json_string_value(json_object_get(object, "name")), "n");
	opened = (uint64_t)json_integer_value(json_object_get(object, "lease"));
	json_decref(object);
	assert_int_not_equal(opened, lease);
	assert_int_equal(lease_number(&dut, opened, "opened"), 1);
	assert_int_equal(lease_number(&dut, opened, "pid"), reader);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), MIB / PAGE);

	operator_end(owner, SIGTERM, DONE);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), MIB / PAGE);
	assert_int_equal(lease_number(&dut, opened, "opened"), 1);
	operator_end(reader, SIGTERM, DONE);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
	close(out_fd);
	dut_stop(&dut);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(ctl_lease_wrong_usage_is_2),
		TEST(ctl_lease_without_a_daemon_is_3),
		TEST(ctl_alloc_of_several_runs),
		TEST(ctl_alloc_waits_for_memory),
		TEST(ctl_alloc_that_waits_ends_at_a_signal),
		TEST(ctl_alloc_with_a_lifetime_ends_by_itself),
		TEST(ctl_alloc_ends_with_the_daemon),
		TEST(ctl_alloc_says_whether_quota_or_pool_is_short),
		TEST(ctl_open_follows_mode_and_access),
		TEST(ctl_open_by_names_of_users_and_groups),
		TEST(ctl_signal_ends_a_holder_without_a_daemon),
		TEST(ctl_holder_of_a_daemon_that_was_killed_fails),
		TEST(ctl_open_keeps_the_pages_of_who_has_let_go),
	};

	return cmocka_run_group_tests_name("system_ctl_lease", tests, NULL, NULL);
}

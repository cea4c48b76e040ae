/* system_ctl_operate.c - what an operator does by hugepoolctl: see who is charged for what, take memory back,
 * keep it from being leased, watch.
 */
#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/hugetlb.h"
#include "tests/support/operator.h"

#define PAGE     UINT64_C(4096)
#define MIB      (UINT64_C(1) << 20)
#define HUGE     (2 * MIB)
#define SOMEUID  12345
#define OTHERUID 12346
#define MAX_LINE 1024
#define MAX_WORD 24

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* For everybody: 16 MiB in arenas of 4, and another pool. */
#define POOLS DUT_WORDS("--pool", "p=4K:16M,arena=4M,users=*", "--pool", "q=4K:4M,arena=4M,quota=3M,users=*")

static const char *id_word(uint64_t id, char word[MAX_WORD])
{
	snprintf(word, MAX_WORD, "%" PRIu64, id);
	return word;
}

/* The arena of a lease's first run, as a word; 0: there is no such lease. */
static const char *arena_of(const struct dut *dut, uint64_t lease, char word[MAX_WORD])
{
	json_t *row = operator_row(dut, "leases", "leases", "lease", id_word(lease, word));

	id_word((uint64_t)json_integer_value(json_object_get(row, "arena")), word);
	json_decref(row);
	return word;
}

static bool is_lease(const struct dut *dut, uint64_t lease)
{
	char word[MAX_WORD];

	return strcmp(arena_of(dut, lease, word), "0") != 0;
}

/* ---- who may, and what cannot be done ---- */

static void ctl_operating_is_for_admins(void **state)
{
	static const char *const commands[][3] = {
		{"tenants"}, {"evict", "1"}, {"isolate", "1"}, {"drain", "p"}, {"restore", "p"}};
	char word[MAX_WORD];
	uint64_t lease;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOLS);
	for (size_t i = 0; i < LENGTH(commands); i++)
		operator_expect(&dut, SOMEUID, FAILED, "root|admin_groups", commands[i]);
	/* A lease's owner may revoke it, too. */
	lease = operator_leave(&dut, SOMEUID, DUT_WORDS("--revocable", "4K"));
	id_word(lease, word);
	operator_expect(&dut, OTHERUID, FAILED, "another user", DUT_WORDS("revoke", word));
	assert_true(is_lease(&dut, lease));
	operator_expect(&dut, SOMEUID, DONE, "", DUT_WORDS("revoke", word));
	assert_false(is_lease(&dut, lease));
	dut_stop(&dut);
}

static void ctl_operating_on_nothing_is_1(void **state)
{
	static const struct {
		const char *words[4], *sentence;
	} cases[] = {
		{{"tenants", "r"}, "\"r\""},     {{"revoke", "12345"}, "12345: "},
		{{"evict", "12345"}, "arena"},   {{"isolate", "12345"}, "arena"},
		{{"restore", "12345"}, "arena"}, {{"restore", "r"}, "\"r\""},
		{{"drain", "r"}, "\"r\""},
	};
	struct dut dut;

	dut_start(&dut, POOLS);
	for (size_t i = 0; i < LENGTH(cases); i++)
		operator_expect(&dut, 0, FAILED, cases[i].sentence, cases[i].words);
	dut_stop(&dut);
}

/* ---- tenants ---- */

static int64_t tenant_number(const struct dut *dut, const char *command, const char *what)
{
	return operator_number(dut, command, "tenants", "tenant", "uid 12345", what);
}

static void ctl_tenants_shows_who_is_charged(void **state)
{
	struct actor orphan;
	uint64_t lease;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOLS);
	operator_leave(&dut, SOMEUID, DUT_WORDS("--name", "n", "1M"));
	operator_leave(&dut, SOMEUID, DUT_WORDS("64K"));
	operator_leave(&dut, SOMEUID, DUT_WORDS("--pool", "q", "2M"));
	operator_leave(&dut, OTHERUID, DUT_WORDS("512K"));
	assert_int_equal(tenant_number(&dut, "tenants p", "pages_leased"), (MIB + 65536) / PAGE);
	assert_int_equal(tenant_number(&dut, "tenants p", "page_bytes"), PAGE);
	assert_int_equal(tenant_number(&dut, "tenants p", "leases"), 2);
	assert_int_equal(tenant_number(&dut, "tenants p", "names"), 1);
	assert_int_equal(tenant_number(&dut, "tenants p", "arenas"), 1);
	assert_int_equal(tenant_number(&dut, "tenants p", "pages_orphaned"), 0);
	assert_int_equal(tenant_number(&dut, "tenants p", "pages_limbo"), 0);
	assert_int_equal(tenant_number(&dut, "tenants q", "pages_leased"), 2 * MIB / PAGE);
	assert_int_equal(tenant_number(&dut, "tenants q", "pages_quota"), 3 * MIB / PAGE);
	assert_int_equal(operator_number(&dut, "tenants", "tenants", "tenant", "uid 12346", "pages_leased"),
			 512 * 1024 / PAGE);
	operator_expect(&dut, 0, DONE,
			"POOL  TENANT |QUOTA  LEASED  ORPHANED|\np     uid 12345 |\nq     uid 12345 ",
			DUT_WORDS("tenants"));

	actor_start(&orphan, OTHERUID, &dut);
	assert_int_equal(actor_alloc(&orphan, MIB, NULL, &lease), 0);
	actor_break(&orphan);
	operator_wait_number(&dut, "tenants p", "tenants", "tenant", "uid 12346", "pages_orphaned",
			     MIB / PAGE);
	assert_int_equal(tenant_number(&dut, "tenants p", "pages_orphaned"), 0);
	actor_kill(&orphan);
	operator_wait_number(&dut, "tenants p", "tenants", "tenant", "uid 12346", "pages_orphaned", 0);
	dut_stop(&dut);
}

/* A client that pins a page is charged for it as long as the kernel has not got it back. */
static void ctl_tenants_shows_limbo(void **state)
{
	struct hugetlb_pinner pinner;
	char word[MAX_WORD];
	struct actor actor;
	uint64_t lease;
	struct dut dut;
	int fd;

	dut_need_root();
	if (!hugetlb_lock() || !hugetlb_raise(HUGE, 4))
		skip();
	dut_start(&dut, DUT_WORDS("--pool", "p=2M:8M,arena=8M,users=*"));
	actor_start(&actor, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&actor, HUGE, NULL, &lease), 0);
	fd = actor_dup_fd(&actor, lease, NULL);
	if (!hugetlb_pin(fd, HUGE, &pinner)) {
		fprintf(stderr, "SKIPPED: no io_uring buffers here\n");
		close(fd);
		skip();
	}
	close(fd);
	operator_expect(&dut, 0, DONE, "1 lease has ended\n",
			DUT_WORDS("evict", arena_of(&dut, lease, word)));
	operator_wait_number(&dut, "tenants", "tenants", "tenant", "uid 12345", "pages_limbo", 1);
	assert_int_equal(tenant_number(&dut, "tenants", "pages_leased"), 0);
	dut_wait_pool(&dut, "p", "pages_limbo", 1);
	hugetlb_unpin(&pinner);
	operator_wait_number(&dut, "tenants", "tenants", "tenant", "uid 12345", "pages_limbo", 0);
	dut_wait_pool(&dut, "p", "pages_limbo", 0);
	actor_quit(&actor);
	dut_stop(&dut);
}

/* ---- taking back ---- */

static void ctl_revoke_ends_what_is_revocable(void **state)
{
	char words[3][MAX_WORD], *out, *error;
	uint64_t held, left, plain;
	json_t *result, *failed;
	struct dut dut;
	pid_t holder;

	dut_need_root();
	dut_start(&dut, POOLS);
	holder = dut_hold(&dut, SOMEUID, DUT_WORDS("--revocable", "1M"), &held);
	left = operator_leave(&dut, SOMEUID, DUT_WORDS("--revocable", "64K"));
	plain = operator_leave(&dut, SOMEUID, DUT_WORDS("64K"));
	operator_expect(&dut, 0, DONE, "REVOCABLE|yes", DUT_WORDS("leases"));
	assert_int_equal(
		operator_number(&dut, "leases", "leases", "lease", id_word(held, words[0]), "revocable"), 1);
	assert_int_equal(
		operator_number(&dut, "leases", "leases", "lease", id_word(plain, words[1]), "revocable"), 0);
	assert_int_equal(
		operator_number(&dut, "buddyinfo", "arenas", "arena", arena_of(&dut, held, words[0]), "sole"),
		1);
	assert_int_equal(operator_number(&dut, "buddyinfo", "arenas", "arena",
					 arena_of(&dut, plain, words[0]), "sole"),
			 0);

	assert_int_equal(dut_ctl(&dut, 0,
				 DUT_WORDS("--json", "revoke", id_word(plain, words[0]),
					   id_word(held, words[1]), id_word(left, words[2])),
				 &out, &error),
			 FAILED);
	assert_non_null(strstr(error, words[0]));
	result = json_loads(out, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(result, "revoked")), 2);
	failed = json_object_get(result, "failed");
	assert_int_equal(json_array_size(failed), 1);
	assert_string_equal(json_string_value(json_array_get(failed, 0)), words[0]);
	json_decref(result);
	free(out);
	free(error);
	assert_false(is_lease(&dut, held));
	assert_false(is_lease(&dut, left));
	assert_true(is_lease(&dut, plain));
	operator_await(holder, FAILED);
	dut_wait_pool(&dut, "p", "pages_leased", 65536 / PAGE);
	dut_stop(&dut);
}

static void ctl_evict_ends_every_lease_of_an_arena(void **state)
{
	char word[MAX_WORD], other_word[MAX_WORD], command[2 * MAX_WORD];
	uint64_t leases[3], other;
	json_t *result;
	struct dut dut;
	pid_t holder;

	dut_need_root();
	dut_start(&dut, POOLS);
	for (unsigned i = 0; i < 2; i++)
		leases[i] = operator_leave(&dut, SOMEUID, DUT_WORDS("64K"));
	holder = dut_hold(&dut, SOMEUID, DUT_WORDS("64K"), &leases[2]);
	other = operator_leave(&dut, OTHERUID, DUT_WORDS("64K"));
	arena_of(&dut, leases[0], word);
	for (unsigned i = 1; i < 3; i++)
		assert_string_equal(arena_of(&dut, leases[i], other_word), word);
	operator_expect(&dut, 0, DONE, "3 leases have ended\n", DUT_WORDS("evict", word));
	for (unsigned i = 0; i < 3; i++)
		assert_false(is_lease(&dut, leases[i]));
	assert_true(is_lease(&dut, other));
	operator_wait_number(&dut, "buddyinfo", "arenas", "arena", word, "n_pages", 0);
	operator_await(holder, FAILED);

	snprintf(command, sizeof(command), "evict %s", arena_of(&dut, other, word));
	result = dut_json(&dut, command);
	assert_int_equal(json_integer_value(json_object_get(result, "leases")), 1);
	json_decref(result);
	dut_wait_pool(&dut, "p", "pages_backed", 0);
	dut_stop(&dut);
}

/* ---- keeping from being leased ---- */

static void ctl_isolate_leases_nothing_more_from_an_arena(void **state)
{
	char word[MAX_WORD], other_word[MAX_WORD];
	uint64_t first, second, third;
	struct dut dut;

	dut_start(&dut, POOLS);
	first = operator_leave(&dut, 0, DUT_WORDS("64K"));
	arena_of(&dut, first, word);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("isolate", word));
	assert_int_equal(operator_number(&dut, "buddyinfo p", "arenas", "arena", word, "isolated"), 1);
	second = operator_leave(&dut, 0, DUT_WORDS("64K"));
	assert_string_not_equal(arena_of(&dut, second, other_word), word);
	assert_true(is_lease(&dut, first));

	operator_expect(&dut, 0, DONE, "{}\n", DUT_WORDS("--json", "restore", word));
	assert_int_equal(operator_number(&dut, "buddyinfo p", "arenas", "arena", word, "isolated"), 0);

	/* Empty, it goes. */
	operator_expect(&dut, 0, DONE, "{}\n", DUT_WORDS("--json", "isolate", word));
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("free", id_word(first, other_word)));
	operator_wait_number(&dut, "buddyinfo p", "arenas", "arena", word, "n_pages", 0);
	third = operator_leave(&dut, 0, DUT_WORDS("64K"));
	assert_string_not_equal(arena_of(&dut, third, other_word), word);
	dut_stop(&dut);
}

static void ctl_drain_leases_nothing_more_from_a_pool(void **state)
{
	char word[MAX_WORD];
	uint64_t lease;
	struct dut dut;

	dut_start(&dut, POOLS);
	lease = operator_leave(&dut, 0, DUT_WORDS("64K"));
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("drain", "p"));
	operator_expect(&dut, 0, DONE, "\"draining\": true|\"draining\": false",
			DUT_WORDS("--json", "pools"));
	operator_expect(&dut, 0, FAILED, "drain", DUT_WORDS("alloc", "--detach", "4K"));
	operator_expect(&dut, 0, FAILED, "drain", DUT_WORDS("alloc", "--detach", "--wait", "1000", "4K"));
	operator_leave(&dut, 0, DUT_WORDS("--pool", "q", "4K"));
	assert_true(is_lease(&dut, lease));
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("free", id_word(lease, word)));
	dut_wait_pool(&dut, "p", "pages_backed", 0);

	operator_expect(&dut, 0, DONE, "{}\n", DUT_WORDS("--json", "restore", "p"));
	operator_leave(&dut, 0, DUT_WORDS("4K"));
	operator_expect(&dut, 0, DONE, "{}\n", DUT_WORDS("--json", "drain", "p"));
	dut_stop(&dut);
}

/* ---- watching ---- */

/* It has subscribed when its first request is through. */
static pid_t watch(const struct dut *dut, uid_t uid, const char *const *arguments, int *ret_out_fd)
{
	pid_t pid = operator_spawn(dut, uid, arguments, ret_out_fd);
	char word[MAX_WORD];

	operator_wait_number(dut, "sessions", "sessions", "pid", id_word((uint64_t)pid, word), "requests", 1);
	return pid;
}

static void expect_line(int out_fd, const char *line)
{
	static const char json_time[] = "{\"time\": \"";
	const bool is_json = line[0] == '{';
	char got[MAX_LINE];
	struct tm utc;
	const char *rest;

	operator_read_line(out_fd, got, sizeof(got));
	if (is_json)
		assert_memory_equal(got, json_time, strlen(json_time));
	rest = strptime(got + (is_json ? strlen(json_time) : 0), "%Y-%m-%dT%H:%M:%S", &utc);
	assert_non_null(rest);
	rest = strchr(rest, 'Z');
	assert_non_null(rest);
	/* Behind the time it is the line. */
	assert_string_equal(rest + (is_json ? strlen("Z\", ") : strlen("Z ")), line + is_json);
}

/* Everybody may watch, one event a line, each written when it happens. */
static void ctl_events_prints_what_happens(void **state)
{
	char word[MAX_WORD], line[MAX_LINE];
	int all_fd, json_fd, some_fd;
	pid_t all, json, some;
	uint64_t lease;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOLS);
	lease = operator_leave(&dut, 0, DUT_WORDS("64K"));
	arena_of(&dut, lease, word);
	all = watch(&dut, SOMEUID, DUT_WORDS("events"), &all_fd);
	json = watch(&dut, 0, DUT_WORDS("--json", "events"), &json_fd);
	some = watch(&dut, 0, DUT_WORDS("events", "--kinds", "restored"), &some_fd);

	operator_expect(&dut, 0, DONE, "", DUT_WORDS("drain", "q"));
	expect_line(all_fd, "drained: pool q");
	expect_line(json_fd, "{\"kind\": \"drained\", \"pool\": \"q\", \"arena\": 0, \"missed\": false}");
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("drain", "q")); /* is no news */
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("restore", "q"));
	expect_line(all_fd, "restored: pool q");
	expect_line(some_fd, "restored: pool q");
	expect_line(json_fd, "{\"kind\": \"restored\", \"pool\": \"q\", \"arena\": 0, \"missed\": false}");
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("restore", "q"));
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("restore", word));
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("isolate", word));
	snprintf(line, sizeof(line), "drained: arena %s of pool p", word);
	expect_line(all_fd, line);
	snprintf(line, sizeof(line),
		 "{\"kind\": \"drained\", \"pool\": \"p\", \"arena\": %s, \"missed\": false}", word);
	expect_line(json_fd, line);

	operator_end(all, SIGTERM, DONE);
	operator_end(json, SIGINT, DONE);
	operator_end(some, SIGTERM, DONE);
	close(all_fd);
	close(json_fd);
	close(some_fd);
	dut_stop(&dut);
}

/* What happens to a pool is told to those whom it admits, and to operators. */
static void ctl_events_are_for_whom_the_pool_admits(void **state)
{
	pid_t stranger, admin;
	int out_fd, admin_fd;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", "p=4K:16M,arena=4M", "--pool", "q=4K:4M,arena=4M,users=*"));
	stranger = watch(&dut, SOMEUID, DUT_WORDS("events"), &out_fd);
	admin = watch(&dut, 0, DUT_WORDS("events"), &admin_fd);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("drain", "p"));
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("drain", "q"));
	expect_line(admin_fd, "drained: pool p");
	expect_line(out_fd, "drained: pool q");
	operator_end(stranger, SIGTERM, DONE);
	operator_end(admin, SIGTERM, DONE);
	close(out_fd);
	close(admin_fd);
	dut_stop(&dut);
}

/* A tenant wants what another one holds. */
static void ctl_events_tells_of_pressure(void **state)
{
	struct dut dut;
	int out_fd;
	pid_t pid;

	dut_need_root();
	dut_start(&dut, POOLS);
	operator_leave(&dut, 0, DUT_WORDS("16M"));
	pid = watch(&dut, 0, DUT_WORDS("events", "--kinds", "pressure,drained"), &out_fd);
	operator_expect(&dut, SOMEUID, FAILED, "", DUT_WORDS("alloc", "4K"));
	expect_line(out_fd, "pressure: pool p");
	operator_end(pid, SIGTERM, DONE);
	close(out_fd);
	dut_stop(&dut);
}

/* It does not go on for nobody. */
static void ctl_events_ends_when_nobody_reads(void **state)
{
	struct dut dut;
	int out_fd, status;
	pid_t pid;

	dut_start(&dut, POOLS);
	pid = watch(&dut, 0, DUT_WORDS("events"), &out_fd);
	close(out_fd);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("drain", "q"));
	status = dut_wait_child(pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), FAILED);
	dut_stop(&dut);
}

/* Also what a failed test has raised. */
static int teardown(void **state)
{
	dut_kill_all(state);
	hugetlb_unlock();
	return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, teardown)
	const struct CMUnitTest tests[] = {
		TEST(ctl_operating_is_for_admins),
		TEST(ctl_operating_on_nothing_is_1),
		TEST(ctl_tenants_shows_who_is_charged),
		TEST(ctl_tenants_shows_limbo),
		TEST(ctl_revoke_ends_what_is_revocable),
		TEST(ctl_evict_ends_every_lease_of_an_arena),
		TEST(ctl_isolate_leases_nothing_more_from_an_arena),
		TEST(ctl_drain_leases_nothing_more_from_a_pool),
		TEST(ctl_events_prints_what_happens),
		TEST(ctl_events_are_for_whom_the_pool_admits),
		TEST(ctl_events_tells_of_pressure),
		TEST(ctl_events_ends_when_nobody_reads),
	};

	return cmocka_run_group_tests_name("system_ctl_operate", tests, NULL, NULL);
}

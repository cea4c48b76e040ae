/* system_ctl.c - what hugepoolctl does: leases it holds and ends, to whom the daemon answers, how it ends.
 *
 * What it prints is system_ctl_show.c's.
 */
#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/dut.h"

#define PAGE     UINT64_C(4096)
#define MIB      (UINT64_C(1) << 20)
#define NOBODY   65534
#define SOMEUID  12345
#define CLOSED   -1
#define MAX_WORD 160

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define POOL DUT_WORDS("--pool", "p=4K:16M,arena=4M,users=*")

enum { DONE = 0, FAILED = 1, USAGE = 2, NO_DAEMON = 3 }; /* exit statuses */

/* ---- helpers ---- */

/* It must end with that status, and say all of `words` (parted by |) on stdout if that is 0, else on stderr.
 */
static void expect(const struct dut *dut, uid_t uid, int status, const char *words,
		   const char *const *arguments)
{
	const char *with_socket[16] = {"--socket", dut->socket};

	for (unsigned i = 0; i < LENGTH(with_socket) - 3 && arguments[i]; i++)
		with_socket[2 + i] = arguments[i];
	dut_expect("hugepoolctl", uid, status, words, with_socket);
}

static int exit_status_of(pid_t pid)
{
	int status = dut_wait_child(pid);

	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void end_holder(pid_t pid, int signal_number)
{
	assert_int_equal(kill(pid, signal_number), 0);
	assert_int_equal(exit_status_of(pid), DONE);
}

/* A lease that is left behind. Returns its id, as a word. */
static const char *leave_lease(const struct dut *dut, uid_t uid, char word[24])
{
	char *out;
	json_t *lease;

	assert_int_equal(dut_ctl(dut, uid, DUT_WORDS("--json", "alloc", "--detach", "64K"), &out, NULL),
			 DONE);
	lease = json_loads(out, 0, NULL);
	snprintf(word, 24, "%" JSON_INTEGER_FORMAT, json_integer_value(json_object_get(lease, "lease")));
	json_decref(lease);
	free(out);
	return word;
}

/* ---- alloc ---- */

static void ctl_alloc_holds_until_a_signal(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT};
	struct dut dut;

	dut_start(&dut, POOL);
	for (size_t i = 0; i < LENGTH(signals); i++) {
		uint64_t lease, other;
		pid_t holder = dut_hold(&dut, 0, DUT_WORDS("--name", "held", "3M"), &lease);
		pid_t stays = dut_hold(&dut, 0, DUT_WORDS("--pool", "p", "64K"), &other);

		assert_int_equal(dut_pool(&dut, "p", "pages_leased"), (3 * MIB + 65536) / PAGE);
		expect(&dut, 0, FAILED, "held", DUT_WORDS("alloc", "--name", "held", "4K"));
		end_holder(holder, signals[i]);
		/* Its end waits for the lease's. */
		assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
		assert_int_equal(waitpid(stays, NULL, WNOHANG), 0);
		end_holder(stays, signals[i]);
		assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	}
	dut_stop(&dut);
}

static void ctl_alloc_killed_is_a_lease_ended(void **state)
{
	struct dut dut;
	uint64_t lease;
	pid_t holder;

	dut_start(&dut, POOL);
	holder = dut_hold(&dut, 0, DUT_WORDS("1M"), &lease);
	assert_int_equal(kill(holder, SIGKILL), 0);
	dut_wait_child(holder);
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_stop(&dut);
}

static void ctl_alloc_detached_leaves_and_stays(void **state)
{
	char ids[2][24];
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	leave_lease(&dut, SOMEUID, ids[0]);
	leave_lease(&dut, NOBODY, ids[1]);
	expect(&dut, SOMEUID, DONE, "lease |: 8K of pool p in 1 run, until it is freed\n",
	       DUT_WORDS("alloc", "--detach", "--name", "kept", "8K"));
	assert_int_equal(dut_pool(&dut, "p", "leases"), 3);
	expect(&dut, 0, DONE, "detached  yes|kept", DUT_WORDS("leases"));

	expect(&dut, NOBODY, FAILED, ids[0], DUT_WORDS("free", ids[0]));
	expect(&dut, NOBODY, FAILED, "kept", DUT_WORDS("free", "kept"));
	assert_int_equal(dut_pool(&dut, "p", "leases"), 3);
	expect(&dut, SOMEUID, DONE, "", DUT_WORDS("free", ids[0], "kept"));
	expect(&dut, SOMEUID, DONE, "", DUT_WORDS("free", ids[0])); /* twice is fine */
	expect(&dut, SOMEUID, FAILED, "kept: ", DUT_WORDS("free", "kept"));
	expect(&dut, 0, DONE, "", DUT_WORDS("free", ids[1]));
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	dut_stop(&dut);
}

/* ---- free ---- */

static void ctl_free_goes_on_after_what_cannot_be_freed(void **state)
{
	char first[24], last[24], *out, *error;
	struct dut dut;
	json_t *result;

	dut_start(&dut, POOL);
	leave_lease(&dut, 0, first);
	leave_lease(&dut, 0, last);
	assert_int_equal(
		dut_ctl(&dut, 0,
			DUT_WORDS("--json", "free", first, "nobody", "99999999999999999999999", "", last),
			&out, &error),
		FAILED);
	assert_non_null(strstr(error, "hugepoolctl: nobody: "));
	assert_non_null(strstr(error, "hugepoolctl: 99999999999999999999999: "));
	result = json_loads(out, 0, NULL);
	assert_int_equal(json_array_size(json_object_get(result, "freed")), 2);
	assert_int_equal(json_array_size(json_object_get(result, "failed")), 3);
	assert_string_equal(json_string_value(json_array_get(json_object_get(result, "freed"), 1)), last);
	assert_string_equal(json_string_value(json_array_get(json_object_get(result, "failed"), 0)),
			    "nobody");
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	json_decref(result);
	free(out);
	free(error);
	dut_stop(&dut);
}

/* ---- how it ends ---- */

static void ctl_wrong_usage_is_2(void **state)
{
	static const struct {
		const char *words[6], *sentence;
	} cases[] = {
		{{NULL}, "A command is missing"},
		{{"stauts"}, "There is no command \"stauts\""},
		{{"--jsn", "status"}, "--jsn"},
		{{"--socket", "", "status"}, "--socket: expected a path"},
		{{"status", "now"}, "usage: hugepoolctl [--socket PATH] [--json] status\n"},
		{{"buddyinfo", "p", "q"}, "usage: |[POOL]"},
		{{"leases", "--pool", "p"}, "usage: "},
		{{"free"}, "usage: |LEASE|NAME..."},
		{{"free", "--detach", "1"}, "usage: "},
		{{"alloc"}, "usage: |[--detach] SIZE"},
		{{"alloc", "1M", "1M"}, "usage: "},
		{{"alloc", "lots"}, "SIZE: expected a size such as 512M, and more than 0, not \"lots\""},
		{{"alloc", "0"}, "SIZE: expected a size"},
		{{"alloc", "-1"}, "invalid option"},
		{{"alloc", "--pool"}, "--pool"},
		{{"alloc", "17179869185T"}, "SIZE: expected a size"},
	};

	for (size_t i = 0; i < LENGTH(cases); i++)
		dut_expect("hugepoolctl", 0, USAGE, cases[i].sentence, cases[i].words);
	/* The same when there is a daemon to ask. */
	dut_expect("hugepoolctl", 0, DONE, "usage: |status|alloc|free|--json|Exit status",
		   DUT_WORDS("--help"));
	dut_expect("hugepoolctl", 0, DONE, "hugepoolctl " PACKAGE_VERSION "\n", DUT_WORDS("--version"));
}

static void ctl_without_a_daemon_is_3(void **state)
{
	static const char *const commands[][4] = {{"status"},    {"pools"},       {"leases"},   {"sessions"},
						  {"buddyinfo"}, {"alloc", "4K"}, {"free", "1"}};
	struct dut dut;

	dut_prepare(&dut, 0);
	for (size_t i = 0; i < LENGTH(commands); i++)
		expect(&dut, 0, NO_DAEMON, dut.socket, commands[i]);
	dut_expect("hugepoolctl", 0, NO_DAEMON, "/nowhere/socket",
		   DUT_WORDS("--socket", "/nowhere/socket", "status"));
	dut_restart(&dut, POOL);
	dut_kill(&dut);
	expect(&dut, 0, NO_DAEMON, "Connection refused", DUT_WORDS("status"));
	assert_int_equal(unlink(dut.socket), 0);
	dut_discard(&dut);
}

static void ctl_refused_is_1(void **state)
{
	static const struct {
		const char *words[6], *sentence;
	} cases[] = {
		{{"alloc", "17M"}, "4352 pages (17M)|pages of 4K, from 1 to 4096 pages (16M)"},
		{{"alloc", "--pool", "q", "4K"}, "no pool q"},
		{{"free", "12345"}, "12345: "},
		{{"free", "nobody"}, "nobody: "},
		{{"buddyinfo", "q"}, "no pool \"q\""},
	};
	struct dut dut;

	dut_start(&dut, POOL);
	for (size_t i = 0; i < LENGTH(cases); i++)
		expect(&dut, 0, FAILED, cases[i].sentence, cases[i].words);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	dut_stop(&dut);
}

/* ---- who may ask ---- */

static const char *const asking[] = {"status", "pools", "sessions", "buddyinfo"};

static void ctl_asking_is_for_admins(void **state)
{
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	for (size_t i = 0; i < LENGTH(asking); i++) {
		expect(&dut, SOMEUID, FAILED, "root|admin_groups", DUT_WORDS(asking[i]));
		expect(&dut, 0, DONE, "\n", DUT_WORDS(asking[i]));
	}
	expect(&dut, SOMEUID, DONE, "4K of pool p", DUT_WORDS("alloc", "--detach", "4K"));
	dut_stop(&dut);
}

static void ctl_asking_is_for_the_daemons_user_too(void **state)
{
	struct dut dut;

	dut_need_root();
	dut_start_as(&dut, SOMEUID, POOL);
	for (size_t i = 0; i < LENGTH(asking); i++) {
		expect(&dut, SOMEUID, DONE, "\n", DUT_WORDS(asking[i]));
		expect(&dut, 0, DONE, "\n", DUT_WORDS(asking[i]));
		expect(&dut, NOBODY, FAILED, "admin_groups", DUT_WORDS(asking[i]));
	}
	dut_stop(&dut);
}

/* Programs of tests have their uid as their only group. */
static void ctl_asking_is_for_admin_groups(void **state)
{
	char path[MAX_WORD];
	struct dut place, dut;
	FILE *file;

	dut_need_root();
	dut_prepare(&place, 0);
	snprintf(path, sizeof(path), "%s/hugepool.conf", place.directory);
	file = fopen(path, "we");
	assert_non_null(file);
	fprintf(file, "{\"admin_groups\": [%d]}", SOMEUID);
	assert_int_equal(fclose(file), 0);
	dut_start(&dut, DUT_WORDS("--config", path));
	for (size_t i = 0; i < LENGTH(asking); i++) {
		expect(&dut, SOMEUID, DONE, "\n", DUT_WORDS(asking[i]));
		expect(&dut, NOBODY, FAILED, "admin_groups", DUT_WORDS(asking[i]));
	}
	/* To ask is not to lease. */
	expect(&dut, SOMEUID, FAILED, "default", DUT_WORDS("alloc", "4K"));
	dut_stop(&dut);
	assert_int_equal(unlink(path), 0);
	dut_discard(&place);
}

/* ---- where it finds the daemon, and where its output goes ---- */

static void ctl_finds_the_daemon_by_the_environment(void **state)
{
	char variable[MAX_WORD];
	struct dut_program program = {.name = "hugepoolctl", .environment = DUT_WORDS(variable)};
	struct dut dut;

	dut_start(&dut, POOL);
	snprintf(variable, sizeof(variable), "HUGEPOOL_SOCKET=%s", dut.socket);
	program.arguments = DUT_WORDS("alloc", "--detach", "4K");
	assert_int_equal(exit_status_of(dut_spawn(&program)), DONE);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
	/* The option counts more. */
	program.arguments = DUT_WORDS("--socket", "/nowhere/socket", "alloc", "--detach", "4K");
	assert_int_equal(exit_status_of(dut_spawn(&program)), NO_DAEMON);
	dut_stop(&dut);
}

/* Of a command whose output goes there. */
static void expect_unwritable(const struct dut *dut, int out_fd, const char *const *arguments)
{
	char variable[MAX_WORD], text[512] = "";
	int error_fd = memfd_create("error", MFD_CLOEXEC);
	pid_t pid;

	snprintf(variable, sizeof(variable), "HUGEPOOL_SOCKET=%s", dut->socket);
	pid = dut_spawn(&(struct dut_program){.name = "hugepoolctl",
					      .arguments = arguments,
					      .environment = DUT_WORDS(variable),
					      .out_fd = out_fd,
					      .error_fd = error_fd});
	if (exit_status_of(pid) != FAILED)
		fail_msg("hugepoolctl %s %s takes it for written", arguments[0], arguments[1]);
	assert_true(pread(error_fd, text, sizeof(text) - 1, 0) > 0);
	assert_non_null(strstr(text, "Cannot write"));
	close(error_fd);
}

/* Nobody reads it: a failure, also of alloc, which then ends a lease that nobody knows. */
static void ctl_output_that_cannot_be_written_is_a_failure(void **state)
{
	int full_fd = open("/dev/full", O_WRONLY | O_CLOEXEC), pipe_fds[2];
	struct dut dut;
	char id[24];

	assert_true(full_fd >= 0);
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	close(pipe_fds[0]);
	dut_start(&dut, POOL);
	for (unsigned i = 0; i < 3; i++) {
		int out_fd = i == 0 ? full_fd : i == 1 ? pipe_fds[1] : CLOSED;

		for (size_t c = 0; c < LENGTH(asking); c++) {
			expect_unwritable(&dut, out_fd, DUT_WORDS(asking[c]));
			expect_unwritable(&dut, out_fd, DUT_WORDS("--json", asking[c]));
		}
		expect_unwritable(&dut, out_fd, DUT_WORDS("alloc", "4K"));
		expect_unwritable(&dut, out_fd, DUT_WORDS("alloc", "--json", "4K"));
		expect_unwritable(&dut, out_fd, DUT_WORDS("alloc", "--detach", "4K"));
		expect_unwritable(&dut, out_fd, DUT_WORDS("--json", "free", leave_lease(&dut, 0, id)));
		expect_unwritable(&dut, out_fd, DUT_WORDS("--help"));
		expect_unwritable(&dut, out_fd, DUT_WORDS("--version"));
		assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	}
	close(full_fd);
	close(pipe_fds[1]);
	dut_stop(&dut);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(ctl_alloc_holds_until_a_signal),
		TEST(ctl_alloc_killed_is_a_lease_ended),
		TEST(ctl_alloc_detached_leaves_and_stays),
		TEST(ctl_free_goes_on_after_what_cannot_be_freed),
		TEST(ctl_wrong_usage_is_2),
		TEST(ctl_without_a_daemon_is_3),
		TEST(ctl_refused_is_1),
		TEST(ctl_asking_is_for_admins),
		TEST(ctl_asking_is_for_the_daemons_user_too),
		TEST(ctl_asking_is_for_admin_groups),
		TEST(ctl_finds_the_daemon_by_the_environment),
		TEST(ctl_output_that_cannot_be_written_is_a_failure),
	};

	return cmocka_run_group_tests_name("system_ctl", tests, NULL, NULL);
}

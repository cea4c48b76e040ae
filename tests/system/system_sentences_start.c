/* system_sentences_start.c - what is said where no daemon answers, where one answers that is not ours, and by
 * those that do not start or start with less.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/operator.h"
#include "tests/system/system_sentences_words.h"

#define MIB  UINT64_C(1048576)
#define USER 4321
#define FULL "p=4K:1M,users=*"

struct row {
	const char *cause, *says, *never;
};

static void check_words(const struct row *row, const char *sentence)
{
	words_check(row->cause, sentence, row->says, row->never);
}

/* ---- no daemon there, or none that answers ---- */

static void sentences_where_no_daemon_is(void **state)
{
	(void)state;
	dut_expect("hugepoolctl", 0, NO_DAEMON,
		   "There is no daemon at /nowhere/s|Start hugepoold|HUGEPOOL_SOCKET",
		   DUT_WORDS("--socket", "/nowhere/s", "status"));
}

static void check_ctl(const struct dut *dut, uid_t uid, int status, const char *says, const char *never)
{
	const struct row row = {.cause = "hugepoolctl", .says = says, .never = never};
	char *error;

	assert_int_equal(dut_ctl(dut, uid, DUT_WORDS("status"), NULL, &error), status);
	check_words(&row, error);
	free(error);
}

/* An ordinary user without a daemon of its own is told of the system's, and of the variable. */
static void sentences_for_a_user_without_a_daemon(void **state)
{
	const char *const environment[] = {"XDG_RUNTIME_DIR=/nowhere", NULL};
	const char *const arguments[] = {"status", NULL};
	char said[512] = "";
	int error[2];
	pid_t pid;

	(void)state;
	dut_need_root();
	/* Another test may have one there for a moment. */
	if (!wait_for(access("/run/hugepool/hugepoold.sock", F_OK) != 0)) {
		print_message("skipped: this host has a hugepoold of its own\n");
		skip();
	}
	assert_int_equal(pipe(error), 0);
	pid = dut_spawn(&(struct dut_program){.name = "hugepoolctl",
					      .uid = USER,
					      .arguments = arguments,
					      .environment = environment,
					      .error_fd = error[1]});
	close(error[1]);
	assert_true(read(error[0], said, sizeof(said) - 1) > 0);
	close(error[0]);
	operator_await(pid, NO_DAEMON);
	assert_non_null(strstr(said, "/run/hugepool/hugepoold.sock"));
	assert_non_null(strstr(said, "HUGEPOOL_SOCKET"));
}

static void sentences_of_a_socket_that_cannot_be_reached(void **state)
{
	struct dut dut;

	(void)state;
	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", FULL));
	assert_int_equal(chmod(dut.directory, 0700), 0);
	check_ctl(&dut, USER, FAILED, "This user may not connect to|chmod a+x",
		  "Start hugepoold|There is no");
	assert_int_equal(chmod(dut.directory, 0755), 0);
	assert_int_equal(kill(dut.pid, SIGSTOP), 0);
	check_ctl(&dut, USER, FAILED, "does not answer: is it stopped?",
		  "Start hugepoold|Connection timed out");
	assert_int_equal(kill(dut.pid, SIGCONT), 0);
	dut_kill(&dut);
	check_ctl(&dut, USER, NO_DAEMON, "No daemon listens at|Connection refused|Start hugepoold again",
		  "may not|stopped");
	dut_restart(&dut, DUT_WORDS("--pool", FULL));
	dut_stop(&dut);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they take terabytes of addresses */
/* Memory is leased, and this process has no addresses for it. */
static void sentences_of_a_client_that_cannot_map(void **state)
{
	const struct row row = {.cause = "no addresses",
				.says = "RLIMIT_AS|ulimit -v|ask for less",
				.never = "nr_hugepages|vm.max_map_count|Cannot allocate memory"};
	struct rlimit before, few;
	struct dut dut;
	char *error;
	int status;

	(void)state;
	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", "p=4K:512M,users=*"));
	assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
	few = (struct rlimit){.rlim_cur = 128 * MIB, .rlim_max = before.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_AS, &few), 0);
	status = dut_ctl(&dut, 0, DUT_WORDS("alloc", "256M"), NULL, &error);
	assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
	assert_int_equal(status, FAILED);
	check_words(&row, error);
	free(error);
	dut_stop(&dut);
}
#endif

/* Another daemon than before: at once, and at every call after that. */
static void sentences_of_a_session_that_the_daemon_does_not_know(void **state)
{
	struct row row = {.cause = "no session",
			  .says = "does not know this session|nobody's|what is mapped",
			  .never = "leases with it|gone"};
	hp_client *client;
	hp_lease *lease;
	struct dut dut;

	(void)state;
	dut_start(&dut, DUT_WORDS("--pool", FULL));
	assert_int_equal(hp_open(dut.socket, &client), 0);
	dut_kill(&dut);
	dut_restart(&dut, DUT_WORDS("--pool", FULL));
	assert_int_equal(hp_alloc(client, 4096, NULL, &lease), -ESTALE);
	check_words(&row, hp_error());
	row.says = "The session has ended|nobody's|Close it, and open another";
	assert_int_equal(hp_alloc(client, 4096, NULL, &lease), -ESTALE);
	check_words(&row, hp_error());
	hp_close(client);
	dut_stop(&dut);
}

/* ---- daemons that do not start, or start with less ---- */

static const struct {
	const char *arguments[6];
	const char *says, *never;
} refused[] = {
	{{"--pool", FULL, "--state", "/proc/nowhere/state"},
	 "the state directory /proc/nowhere/state",
	 "CAP_SYS_ADMIN|Linux 5.2"},
	{{"--pool", "p=2M:8M,backing=hugetlbfs,users=7", "--state", "/proc/nowhere/state"},
	 "the state directory /proc/nowhere/state",
	 "CAP_SYS_ADMIN|Linux 5.2"},
	{{"--pool", FULL, "--socket", "/nowhere/socket"},
	 "socket /nowhere/socket: cannot open its directory|make it, or name another --socket",
	 "CAP_SYS_ADMIN|permission"},
	{{"--pool", "p=4K:1M,users=4294967295"}, "key \"users\"|expected", "left out"},
};

static void sentences_of_daemons_that_do_not_start(void **state)
{
	(void)state;
	dut_need_root();
	for (unsigned i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const struct row row = {
			.cause = refused[i].arguments[1], .says = refused[i].says, .never = refused[i].never};
		char *error;

		assert_int_not_equal(dut_start_refused(refused[i].arguments, &error), 0);
		check_words(&row, error);
		free(error);
	}
}

static void read_log(const struct dut *dut, char *text, size_t size)
{
	FILE *log = fopen(dut->log, "re");

	assert_non_null(log);
	text[fread(text, 1, size - 1, log)] = 0;
	fclose(log);
}

/* One name that nobody has costs only itself, and admits nobody. */
static void sentences_of_an_unknown_user(void **state)
{
	const struct row row = {
		.cause = "an unknown user",
		.says = "key \"users\": pool q: this host knows no user \"no-such-user\"|left out",
		.never = "lacks|expected"};
	const char *const arguments[] = {"--pool", FULL, "--pool", "q=4K:1M,users=no-such-user", NULL};
	const char *const check[] = {"--check-config", "--pool", "q=4K:1M,users=no-such-user", NULL};
	char log[4096];
	struct dut dut;

	(void)state;
	dut_need_root();
	dut_start(&dut, arguments);
	read_log(&dut, log, sizeof(log));
	check_words(&row, log);
	operator_leave(&dut, USER, DUT_WORDS("4K"));
	operator_expect(&dut, USER, FAILED, "pool q does not admit you",
			DUT_WORDS("alloc", "--pool", "q", "4K"));
	dut_stop(&dut);
	dut_expect("hugepoold", 0, 1, "this host knows no user \"no-such-user\"", check);
}

#define TEST(test) cmocka_unit_test_teardown(test, dut_kill_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(sentences_where_no_daemon_is),
		TEST(sentences_for_a_user_without_a_daemon),
		TEST(sentences_of_a_socket_that_cannot_be_reached),
		TEST(sentences_of_a_session_that_the_daemon_does_not_know),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		TEST(sentences_of_a_client_that_cannot_map),
#endif
		TEST(sentences_of_daemons_that_do_not_start),
		TEST(sentences_of_an_unknown_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

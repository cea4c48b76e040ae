/* system_limits.c - the daemon under every limit of setrlimit(2): it serves, or it exits with a sentence that
 * names the limit; it dies of none, and leaves nothing.
 *
 * The daemons run as a user of their own, who cannot raise what is set.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/operator.h"

#define FIRST_UID 40000 /* a user to each test program that runs */
#define N_UIDS    20000
#define KIB       UINT64_C(1024)
#define MIB       (KIB * KIB)
#define READY_MS  (120 * 1000)

struct subject {
	struct dut dut; /* pid, directory and socket only */
	int log_fd;
};

/* How it is started. */
struct world {
	int resource; /* -1: none */
	rlim_t value;
	bool no_streams;
	const char *const *arguments;
};

static uid_t my_uid; /* of the daemons; nobody else's processes count for it */

static void become(const struct world *world, const struct subject *subject)
{
	const char *argv[16] = {"hugepoold", "--socket", subject->dut.socket};
	const char *build = getenv("HP_BUILD");
	unsigned n = 3;
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/hugepoold", build ? build : ".");
	fd = open(path, O_PATH | O_CLOEXEC);
	for (const char *const *word = world->arguments; word && *word; word++)
		argv[n++] = *word;
	dup2(subject->log_fd, STDERR_FILENO);
	close(subject->log_fd);
	if (setgroups(0, NULL) < 0 || setresgid(my_uid, my_uid, my_uid) < 0 ||
	    setresuid(my_uid, my_uid, my_uid) < 0)
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	unsetenv("HUGEPOOL_SOCKET");
	for (int stream = 0; world->no_streams && stream < 3; stream++)
		close(stream);
	if (world->resource >= 0)
		setrlimit((__rlimit_resource_t)world->resource,
			  &(struct rlimit){.rlim_cur = world->value, .rlim_max = world->value});
	execveat(fd, "", (char *const *)argv, environ, AT_EMPTY_PATH);
	_exit(127);
}

static char *read_log(const struct subject *subject)
{
	char *text = calloc(1, 4096);

	assert_non_null(text);
	assert_true(pread(subject->log_fd, text, 4095, 0) >= 0);
	return text;
}

static bool has_ended(const struct subject *subject)
{
	siginfo_t info = {.si_pid = 0};

	return waitid(P_PID, (id_t)subject->dut.pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
	       info.si_pid != 0;
}

/* True when it has a socket and answers there; false when it has ended. */
static bool start(struct subject *subject, const struct world *world)
{
	uint64_t deadline = dut_now_ms() + READY_MS;

	dut_prepare(&subject->dut, my_uid);
	subject->log_fd = memfd_create("log", MFD_CLOEXEC);
	assert_true(subject->log_fd >= 0);
	subject->dut.pid = fork();
	if (subject->dut.pid == 0)
		become(world, subject);
	dut_adopt(subject->dut.pid);
	for (;;) {
		char *log = read_log(subject);
		bool ready = strstr(log, "ready: ") ||
			     (world->no_streams &&
			      dut_ctl(&subject->dut, 0, DUT_WORDS("status"), NULL, NULL) == DONE);

		free(log);
		if (ready)
			return true;
		if (has_ended(subject))
			return false;
		assert_true(dut_now_ms() < deadline);
		dut_pause();
	}
}

/* It ends now, and has nothing left behind. */
static void expect_exit(struct subject *subject, int status)
{
	int ended = dut_wait_child(subject->dut.pid);
	char *log = read_log(subject);

	if (!WIFEXITED(ended) || WEXITSTATUS(ended) != status)
		fail_msg("wait status %#x: %s", (unsigned)ended, log);
	free(log);
	dut_discard(&subject->dut);
	close(subject->log_fd);
}

static void stop(struct subject *subject)
{
	assert_int_equal(kill(subject->dut.pid, SIGTERM), 0);
	expect_exit(subject, 0);
}

static void expect_said(const struct subject *subject, const char *words)
{
	char *log = read_log(subject);

	if (!strstr(log, words))
		fail_msg("\"%s\" is not in \"%s\"", words, log);
	free(log);
}

/* ---- descriptors ---- */

#define LOADER_NEEDS 4 /* with three the dynamic loader cannot open a library */

static void limits_of_descriptors_serve_or_are_named(void **state)
{
	unsigned n_served = 0, n_refused = 0;

	(void)state;
	for (rlim_t n = LOADER_NEEDS; n <= 64; n++) {
		const struct world world = {.resource = RLIMIT_NOFILE, .value = n};
		struct subject subject;

		if (start(&subject, &world)) {
			operator_leave(&subject.dut, 0, DUT_WORDS("64K"));
			n_served++;
			stop(&subject);
		} else {
			expect_said(&subject, "raise the limit (ulimit -n");
			n_refused++;
			expect_exit(&subject, 1);
		}
	}
	/* It takes what it takes: both are seen. */
	assert_true(n_served > 0 && n_refused > 0);
}

static void limits_of_descriptors_count_what_is_open_already(void **state)
{
	const struct world world = {.resource = RLIMIT_NOFILE, .value = 128};
	struct subject subject;
	int fds[100];

	(void)state;
	for (unsigned i = 0; i < 100; i++)
		assert_true((fds[i] = open("/dev/null", O_RDONLY)) >= 0);
	assert_false(start(&subject, &world));
	for (unsigned i = 0; i < 100; i++)
		close(fds[i]);
	expect_said(&subject, "raise the limit (ulimit -n");
	expect_exit(&subject, 1);
}

/* Nothing of the daemon's gets the numbers of what was closed. */
static void limits_of_streams_that_are_closed(void **state)
{
	const struct world world = {.resource = -1, .no_streams = true};
	struct subject subject;

	(void)state;
	assert_true(start(&subject, &world));
	for (int fd = 0; fd < 3; fd++) {
		char path[64], target[64] = "";

		snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)subject.dut.pid, fd);
		assert_true(readlink(path, target, sizeof(target) - 1) > 0);
		assert_string_equal(target, "/dev/null");
	}
	operator_leave(&subject.dut, 0, DUT_WORDS("64K"));
	stop(&subject);
}

/* ---- the others ---- */

/* A daemon that lives on under it, what it says, and what then can be leased and cannot. */
static const struct row {
	int resource;
	rlim_t value;
	const char *says;    /* in its log; NULL: nothing of it */
	const char *leases;  /* a size that can be had; NULL: the daemon exits with 1 */
	const char *refuses; /* one that cannot, and `why` is in the sentence; NULL: none */
	const char *why;
} rows[] = {
	{RLIMIT_AS, 600 * MIB, "RLIMIT_AS", "1M", NULL, NULL},
	{RLIMIT_AS, 40 * MIB, "RLIMIT_AS", NULL, "64M", "RLIMIT_AS"},
	{RLIMIT_CORE, 0, NULL, "1M", NULL, NULL},
	{RLIMIT_CPU, 3600, "RLIMIT_CPU", "1M", NULL, NULL},
	{RLIMIT_DATA, 200 * MIB, "RLIMIT_DATA", "1M", NULL, NULL},
	{RLIMIT_DATA, 2 * MIB, "RLIMIT_DATA", NULL, NULL, NULL},
	{RLIMIT_FSIZE, 8 * MIB, "RLIMIT_FSIZE", "32M", NULL, NULL},
	{RLIMIT_FSIZE, 64 * KIB, "RLIMIT_FSIZE", "1M", "128M", "RLIMIT_FSIZE"},
	{RLIMIT_LOCKS, 0, NULL, "1M", NULL, NULL},
	{RLIMIT_MEMLOCK, 0, NULL, "1M", NULL, NULL},
	{RLIMIT_MSGQUEUE, 0, NULL, "1M", NULL, NULL},
	{RLIMIT_NICE, 0, NULL, "1M", NULL, NULL},
	{RLIMIT_NPROC, 3, "RLIMIT_NPROC", NULL, NULL, NULL},
	{RLIMIT_RSS, 0, NULL, "1M", NULL, NULL},
	{RLIMIT_RTPRIO, 0, NULL, "1M", NULL, NULL},
	{RLIMIT_RTTIME, 1000, NULL, "1M", NULL, NULL},
	{RLIMIT_SIGPENDING, 0, NULL, "1M", NULL, NULL},
	{RLIMIT_STACK, 128 * KIB, NULL, "1M", NULL, NULL},
	{RLIMIT_STACK, RLIM_INFINITY, NULL, "1M", NULL, NULL},
};

static void expect_refusal(const struct subject *subject, const struct row *row)
{
	char *error = NULL;
	int status =
		dut_ctl(&subject->dut, 0, DUT_WORDS("alloc", "--contiguous", row->refuses), NULL, &error);

	if (status != FAILED || !strstr(error, row->why))
		fail_msg("limit %d: status %d, \"%s\" is not in: %s", row->resource, status, row->why, error);
	free(error);
}

/* A sanitizer takes terabytes of addresses itself. */
static bool is_left_out(const struct row *row)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	return row->resource == RLIMIT_AS || row->resource == RLIMIT_DATA || row->resource == RLIMIT_STACK;
#else
	(void)row;
	return false;
#endif
}

static void limits_of_all_kinds_serve_or_are_named(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		const struct world world = {.resource = row->resource, .value = row->value};
		struct subject subject;
		bool serves;

		if (is_left_out(row))
			continue;
		serves = start(&subject, &world);
		if (row->says)
			expect_said(&subject, row->says);
		if (serves != (row->leases || row->refuses))
			fail_msg("limit %d of %llu: %s", row->resource, (unsigned long long)row->value,
				 serves ? "it serves" : "it does not serve");
		if (row->leases)
			operator_leave(&subject.dut, 0, DUT_WORDS(row->leases));
		if (row->refuses)
			expect_refusal(&subject, row);
		if (serves)
			stop(&subject);
		else
			expect_exit(&subject, 1);
	}
}

/* What comes before the CPU time is over ends it as a wish to stop does. */
static void limits_of_cpu_time_stop_in_order(void **state)
{
	const struct world world = {.resource = -1};
	struct subject subject;

	(void)state;
	assert_true(start(&subject, &world));
	operator_leave(&subject.dut, 0, DUT_WORDS("1M"));
	assert_int_equal(kill(subject.dut.pid, SIGXCPU), 0);
	expect_exit(&subject, 0);
}

static int set_up(void **state)
{
	(void)state;
	dut_need_root();
	my_uid = FIRST_UID + (uid_t)getpid() % N_UIDS;
	return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(limits_of_descriptors_serve_or_are_named),
		TEST(limits_of_descriptors_count_what_is_open_already),
		TEST(limits_of_streams_that_are_closed),
		TEST(limits_of_all_kinds_serve_or_are_named),
		TEST(limits_of_cpu_time_stop_in_order),
	};

	return cmocka_run_group_tests_name("system_limits", tests, NULL, NULL);
}

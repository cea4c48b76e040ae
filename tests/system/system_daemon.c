/* system_daemon.c - the daemon's own life: how it is told what to do, when it is ready, how it refuses, how
 * it stops.
 *
 * The programs as they were built, in processes of their own. Pools are of 4 KiB pages, but where it is the
 * host's hugepages that a stop must give back.
 */
#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <regex.h>
#include <sched.h>
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

#include "tests/support/actor.h"
#include "tests/support/hugetlb.h"
#include "tests/support/wait.h"

#define PAGE     UINT64_C(4096)
#define HUGEPAGE (UINT64_C(2) << 20)
#define MIB      (UINT64_C(1) << 20)
#define NOBODY   65534
#define SOMEUID  12345
#define N_RACERS 6

#define POOL DUT_WORDS("--pool", "p=4K:16M,arena=4M,users=*")

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- helpers ---- */

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* For one that was not started by dut_start(): wait until it answers, asked with that environment. */
static void wait_until_answers(pid_t pid, uid_t uid, const char *const *environment)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	struct dut_program ask = {.name = "hugepoolctl",
				  .uid = uid,
				  .arguments = DUT_WORDS("status"),
				  .environment = environment};
	int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC), status;

	assert_true(null_fd >= 0);
	ask.out_fd = ask.error_fd = null_fd;
	while ((status = dut_wait_child(dut_spawn(&ask))) != 0) {
		assert_int_equal(WEXITSTATUS(status), 3);
		assert_int_equal(waitpid(pid, NULL, WNOHANG), 0);
		assert_true(wait_now_ms() < deadline);
		wait_pause();
	}
	close(null_fd);
}

/* On that socket it ends with 1 and says this. */
static void expect_refusal(const char *words, const char *socket)
{
	dut_expect("hugepoold", 0, 1, words, DUT_WORDS("--socket", socket));
}

/* The file has these words in it. */
static void expect_text(int fd, const char *words)
{
	char text[8192];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = 0;
	if (!strstr(text, words))
		fail_msg("\"%s\" is not in: %s", words, text);
}

static void end_holder(pid_t pid)
{
	kill(pid, SIGKILL);
	dut_wait_child(pid);
}

static int tear_down(void **state)
{
	dut_kill_all(state);
	hugetlb_unlock();
	return 0;
}

/* Take turns at the host's hugepages until the test ends, and have some; else skip it. */
static void need_hugepages(uint64_t n_pages)
{
	dut_need_root();
	if (hugetlb_lock() && hugetlb_raise(HUGEPAGE, n_pages))
		return;
	fprintf(stderr, "SKIPPED: %" PRIu64 " hugepages of 2 MiB cannot be had\n", n_pages);
	skip();
}

/* ---- starting and stopping ---- */

static void daemon_tells_when_it_is_ready_and_when_it_stops(void **state)
{
	struct dut dut;

	dut_start(&dut, POOL); /* waits for READY=1 */
	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("status"), NULL, NULL), 0);
	assert_int_equal(kill(dut.pid, SIGTERM), 0);
	dut_wait_notified(&dut, "STOPPING=1");
	dut_wait_stopped(&dut);
}

static void daemon_stopped_by_signal_ends_all_leases(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT};

	dut_need_root();
	for (size_t i = 0; i < LENGTH(signals); i++) {
		uint64_t held, kept;
		struct actor actor;
		struct dut dut;
		struct stat st;
		pid_t holder;
		int fd;

		dut_start(&dut, POOL);
		holder = dut_hold(&dut, NOBODY, DUT_WORDS("1M"), &held);
		actor_start(&actor, SOMEUID, &dut);
		assert_int_equal(actor_alloc(&actor, MIB, NULL, &held), 0);
		assert_int_equal(
			actor_alloc(&actor, PAGE, &(struct hp_alloc_options){.flags = HP_DETACHED}, &kept),
			0);
		actor_fill(&actor, held, 0x77);
		fd = actor_dup_fd(&actor, held, NULL);
		assert_int_equal(fstat(fd, &st), 0);
		assert_true(st.st_size >= (off_t)MIB);

		assert_int_equal(kill(dut.pid, signals[i]), 0);
		dut_wait_stopped(&dut);
		/* Its file is there as long as we hold it, with nothing in it. */
		assert_int_equal(fstat(fd, &st), 0);
		assert_int_equal(st.st_size, 0);
		assert_int_equal(st.st_blocks, 0);
		close(fd);
		end_holder(holder);
		actor_kill(&actor);
	}
}

static void daemon_stopped_gives_back_what_it_raised(void **state)
{
	struct hugetlb_counts before, after;
	struct dut dut;
	uint64_t lease;
	pid_t holder;

	need_hugepages(4);
	before = hugetlb_counts(HUGEPAGE);
	dut_start(&dut, DUT_WORDS("--pool", "p=2M:16M,arena=8M,reserve=16M,grow=yes,users=*"));
	holder = dut_hold(&dut, NOBODY, DUT_WORDS("6M"), &lease);
	assert_true(hugetlb_counts(HUGEPAGE).total >= before.total);
	assert_int_equal(dut_pool(&dut, "p", "pages_backed"), 8);
	assert_int_equal(kill(dut.pid, SIGINT), 0);
	dut_wait_stopped(&dut);
	after = hugetlb_counts(HUGEPAGE);
	assert_int_equal(after.total, before.total);
	assert_int_equal(after.free, before.free);
	assert_int_equal(after.reserved, before.reserved);
	end_holder(holder);
}

/* It listens before it has its memory: a signal that comes between is not lost, and undoes what there is. */
static void daemon_told_to_stop_while_it_starts_leaves_nothing(void **state)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	struct dut dut;

	dut_prepare(&dut, 0);
	dut.pid = dut_spawn(&(struct dut_program){
		.name = "hugepoold",
		.arguments = DUT_WORDS("--socket", dut.socket, "--pool", "p=4K:512M,arena=16M,reserve=512M"),
	});
	while (!is_there(dut.socket)) {
		assert_true(wait_now_ms() < deadline);
		sched_yield();
	}
	assert_int_equal(kill(dut.pid, SIGTERM), 0);
	dut_wait_stopped(&dut);
}

/* ---- the socket ---- */

static void daemon_on_a_living_ones_socket_is_refused(void **state)
{
	struct dut dut;
	uint64_t lease;
	pid_t holder;

	dut_start(&dut, POOL);
	holder = dut_hold(&dut, 0, DUT_WORDS("1M"), &lease);
	expect_refusal("a daemon is listening there|use another path", dut.socket);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
	end_holder(holder);
	dut_stop(&dut);
}

static void daemon_leaves_alone_what_is_not_a_socket(void **state)
{
	char target[128];
	struct dut dut;
	struct stat st;

	dut_prepare(&dut, 0);
	write_file(dut.socket, "precious");
	expect_refusal("not a socket", dut.socket);
	assert_int_equal(stat(dut.socket, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	assert_int_equal(st.st_size, strlen("precious"));
	assert_int_equal(unlink(dut.socket), 0);

	assert_int_equal(mkdir(dut.socket, 0700), 0);
	expect_refusal("not a socket", dut.socket);
	assert_int_equal(rmdir(dut.socket), 0);

	snprintf(target, sizeof(target), "%s/nowhere", dut.directory);
	assert_int_equal(symlink(target, dut.socket), 0);
	expect_refusal("not a socket", dut.socket);
	assert_false(is_there(target));
	assert_int_equal(unlink(dut.socket), 0);
	dut_discard(&dut);
}

static void daemon_replaces_a_dead_ones_socket(void **state)
{
	struct dut dut;

	dut_start(&dut, POOL);
	dut_kill(&dut);
	assert_true(is_there(dut.socket));
	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("status"), NULL, NULL), 3);
	dut_restart(&dut, POOL);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	dut_stop(&dut);
}

/* All see the dead one's socket; one of them gets it. */
static void daemon_of_many_that_start_at_once_is_one(void **state)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	pid_t pids[N_RACERS];
	unsigned n_left = N_RACERS;
	struct dut dut;

	dut_start(&dut, POOL);
	dut_kill(&dut);
	for (unsigned i = 0; i < N_RACERS; i++)
		pids[i] = dut_spawn(&(struct dut_program){
			.name = "hugepoold",
			.arguments = DUT_WORDS("--socket", dut.socket, "--pool", "p=4K:1M"),
		});
	while (n_left > 1) {
		assert_true(wait_now_ms() < deadline);
		wait_pause();
		for (unsigned i = 0; i < n_left; i++) {
			siginfo_t info = {.si_pid = 0};

			assert_int_equal(waitid(P_PID, (id_t)pids[i], &info, WEXITED | WNOHANG | WNOWAIT), 0);
			if (info.si_pid == 0)
				continue;
			assert_int_equal(WEXITSTATUS(dut_wait_child(pids[i])), 1);
			pids[i--] = pids[--n_left];
		}
	}
	dut.pid = pids[0];
	while (dut_ctl(&dut, 0, DUT_WORDS("status"), NULL, NULL) != 0) {
		assert_true(wait_now_ms() < deadline);
		wait_pause();
	}
	dut_stop(&dut);
}

static void daemon_with_an_impossible_socket_is_refused(void **state)
{
	char path[160], longer[109], variable[160];
	int error_fd = memfd_create("error", MFD_CLOEXEC);
	struct dut dut;
	pid_t pid;

	dut_prepare(&dut, 0);
	snprintf(path, sizeof(path), "%s/missing/socket", dut.directory);
	expect_refusal("/missing/socket: cannot open its directory: No such file", path);
	expect_refusal("Not a directory", "/proc/version/socket");
	expect_refusal("cannot bind", "/proc/socket");

	memset(longer, 'x', sizeof(longer));
	longer[0] = '/';
	longer[108] = 0;
	dut_expect("hugepoold", 0, 2, "--socket: |a path of 1 to 107 bytes", DUT_WORDS("--socket", longer));
	snprintf(variable, sizeof(variable), "HUGEPOOL_SOCKET=%s", longer);
	pid = dut_spawn(&(struct dut_program){
		.name = "hugepoold", .environment = DUT_WORDS(variable), .error_fd = error_fd});
	assert_int_equal(WEXITSTATUS(dut_wait_child(pid)), 1);
	expect_text(error_fd, "longer than 107 bytes");
	close(error_fd);
	dut_discard(&dut);
}

/* What is mounted for a pool is under the state directory: of a socket without one, where we are. */
static void daemon_with_a_relative_socket_mounts_beside_it(void **state)
{
	int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct dut dut;

	need_hugepages(2);
	dut_prepare(&dut, 0);
	assert_int_equal(chdir(dut.directory), 0);
	dut_restart(&dut, DUT_WORDS("--socket", "socket", "--pool", "p=2M:4M,backing=hugetlbfs,reserve=2M"));
	assert_int_equal(fchdir(here), 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_backed"), 1);
	dut_stop(&dut);
	close(here);
}

/* ---- where the socket is when nobody says ---- */

/* Start it as `uid` with that environment; it answers at `socket`, which hugepoolctl finds by itself, leases,
 * and goes. */
static void live_with(uid_t uid, const char *const *environment, const char *socket)
{
	struct dut_program alloc = {
		.name = "hugepoolctl",
		.uid = uid,
		.arguments = DUT_WORDS("alloc", "--detach", "8K"),
		.environment = environment,
		.out_fd = memfd_create("output", MFD_CLOEXEC),
	};
	pid_t pid =
		dut_spawn(&(struct dut_program){.name = "hugepoold", .uid = uid, .environment = environment});
	struct stat st;

	wait_until_answers(pid, uid, environment);
	assert_int_equal(stat(socket, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 0777, 0666); /* the pools say who is admitted */
	assert_int_equal(dut_wait_child(dut_spawn(&alloc)), 0);
	expect_text(alloc.out_fd, "8K of pool default");
	close(alloc.out_fd);
	assert_int_equal(kill(pid, SIGTERM), 0);
	assert_int_equal(dut_wait_child(pid), 0);
	assert_false(is_there(socket));
}

static void daemon_of_a_user_lives_in_its_runtime_directory(void **state)
{
	char runtime[160], variable[200], socket[160], other[160];
	struct dut dut;

	dut_need_root();
	dut_prepare(&dut, SOMEUID);
	snprintf(runtime, sizeof(runtime), "XDG_RUNTIME_DIR=%s", dut.directory);
	snprintf(socket, sizeof(socket), "%s/hugepool/hugepoold.sock", dut.directory);
	snprintf(other, sizeof(other), "%s/other.sock", dut.directory);
	snprintf(variable, sizeof(variable), "HUGEPOOL_SOCKET=%s", other);
	live_with(SOMEUID, DUT_WORDS(runtime), socket);
	live_with(SOMEUID, DUT_WORDS(runtime, variable), other);
	*strrchr(socket, '/') = 0;
	assert_int_equal(rmdir(socket), 0); /* the daemon's to make, and empty */
	dut_discard(&dut);
}

static void daemon_of_a_user_without_a_place_is_refused(void **state)
{
	int error_fd = memfd_create("error", MFD_CLOEXEC);
	pid_t pid;

	dut_need_root();
	pid = dut_spawn(&(struct dut_program){.name = "hugepoold",
					      .uid = SOMEUID,
					      .environment = DUT_WORDS("XDG_RUNTIME_DIR="),
					      .error_fd = error_fd});
	assert_int_equal(WEXITSTATUS(dut_wait_child(pid)), 1);
	expect_text(error_fd, "XDG_RUNTIME_DIR");
	close(error_fd);
}

/* ---- company ---- */

static void daemon_of_a_user_serves_itself_root_and_whom_it_names(void **state)
{
	uint64_t lease;
	struct dut dut;
	char *error;
	pid_t mine, roots;

	dut_need_root();
	dut_start_as(&dut, SOMEUID, DUT_NO_WORDS);
	mine = dut_hold(&dut, SOMEUID, DUT_WORDS("16M"), &lease);
	roots = dut_hold(&dut, 0, DUT_WORDS("16M"), &lease);
	assert_int_equal(dut_ctl(&dut, NOBODY, DUT_WORDS("alloc", "4K"), NULL, &error), 1);
	assert_non_null(strstr(error, "default"));
	assert_int_equal(dut_ctl(&dut, SOMEUID, DUT_WORDS("status"), NULL, NULL), 0);
	assert_int_equal(dut_pool(&dut, "default", "pages_leased"), 32 * MIB / PAGE);
	assert_int_equal(dut_pool(&dut, "default", "tenants"), 2);
	free(error);
	end_holder(mine);
	end_holder(roots);
	dut_stop(&dut);
}

static void daemon_beside_another_is_not_disturbed(void **state)
{
	uint64_t lease;
	pid_t holders[2];
	struct dut dut, other;

	dut_start(&dut, POOL);
	dut_start(&other, POOL);
	holders[0] = dut_hold(&dut, 0, DUT_WORDS("1M"), &lease);
	holders[1] = dut_hold(&other, 0, DUT_WORDS("2M"), &lease);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), MIB / PAGE);
	assert_int_equal(dut_pool(&other, "p", "pages_leased"), 2 * MIB / PAGE);
	dut_kill(&other);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), MIB / PAGE);
	dut_restart(&other, POOL);
	assert_int_equal(dut_pool(&other, "p", "leases"), 0);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
	dut_stop(&other);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
	end_holder(holders[0]);
	end_holder(holders[1]);
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_stop(&dut);
}

/* ---- the log ---- */

/* Start and stop it with its stderr at `error_fd` and that environment. */
static void log_a_life(int error_fd, const char *level, const char *const *environment)
{
	struct dut dut;

	dut_prepare(&dut, 0);
	dut.pid = dut_spawn(&(struct dut_program){
		.name = "hugepoold",
		.arguments = DUT_WORDS("--socket", dut.socket, "--log-level", level),
		.environment = environment,
		.error_fd = error_fd,
	});
	while (!is_there(dut.socket) || dut_ctl(&dut, 0, DUT_WORDS("status"), NULL, NULL) != 0)
		wait_pause();
	dut_stop(&dut);
}

/* Every line of it matches the extended regular expression, and there is one. */
static void expect_lines(int fd, const char *pattern)
{
	regex_t regex;
	FILE *file = fdopen(dup(fd), "r");
	char line[1024];
	unsigned n = 0;

	assert_non_null(file);
	assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	rewind(file);
	for (; fgets(line, sizeof(line), file); n++)
		if (regexec(&regex, line, 0, NULL, 0) != 0)
			fail_msg("a line that does not match %s: %s", pattern, line);
	regfree(&regex);
	fclose(file);
	assert_true(n > 0);
}

static void daemon_logs_as_its_stderr_wants_it(void **state)
{
	int fd = memfd_create("journal", MFD_CLOEXEC), other = memfd_create("plain", MFD_CLOEXEC);
	char variable[80];
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	snprintf(variable, sizeof(variable), "JOURNAL_STREAM=%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	log_a_life(fd, "info", DUT_WORDS(variable));
	expect_lines(fd, "^<6>");
	expect_text(fd, "<6>ready: ");
	expect_text(fd, "<6>stopping: ");
	/* Inherited from somebody whose stderr was the journal: ours is not. */
	log_a_life(other, "info", DUT_WORDS(variable));
	expect_lines(other, "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z hugepoold: ");
	assert_int_equal(ftruncate(other, 0), 0);
	log_a_life(other, "error", NULL);
	assert_int_equal(fstat(other, &st), 0);
	assert_int_equal(st.st_size, 0);
	close(fd);
	close(other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(daemon_tells_when_it_is_ready_and_when_it_stops),
		TEST(daemon_stopped_by_signal_ends_all_leases),
		TEST(daemon_stopped_gives_back_what_it_raised),
		TEST(daemon_told_to_stop_while_it_starts_leaves_nothing),
		TEST(daemon_on_a_living_ones_socket_is_refused),
		TEST(daemon_leaves_alone_what_is_not_a_socket),
		TEST(daemon_replaces_a_dead_ones_socket),
		TEST(daemon_of_many_that_start_at_once_is_one),
		TEST(daemon_with_an_impossible_socket_is_refused),
		TEST(daemon_with_a_relative_socket_mounts_beside_it),
		TEST(daemon_of_a_user_lives_in_its_runtime_directory),
		TEST(daemon_of_a_user_without_a_place_is_refused),
		TEST(daemon_of_a_user_serves_itself_root_and_whom_it_names),
		TEST(daemon_beside_another_is_not_disturbed),
		TEST(daemon_logs_as_its_stderr_wants_it),
	};

	return cmocka_run_group_tests_name("system_daemon", tests, NULL, NULL);
}

/* system_limits_client.c - programs with the library, and hugepoolctl, under every limit of setrlimit(2):
 * they get what they asked for, or a sentence that names the limit; they die of none, and leave no lease.
 *
 * The programs run as a user of their own, whom all limits bind; hugepoolctl, which asks what only an
 * operator may, as root, whom most do.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/operator.h"

#define FIRST_UID 40000 /* a user to each test program that runs */
#define N_UIDS    20000
#define KIB       UINT64_C(1024)
#define MIB       (KIB * KIB)
#define POOL      "p=4K:256M,arena=64M,users=*"
#define CTL_AS    (48 * MIB) /* more than hugepoolctl needs to start */

static uid_t my_uid;

#if defined(__SANITIZE_THREAD__)
#define CTL_WRITES_AT_START true /* its runtime does, before main() */
#else
#define CTL_WRITES_AT_START false
#endif

/* A sanitizer takes terabytes of addresses itself, and its mlock() does nothing. */
static bool is_left_out(int resource, const char *name)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	if (resource == RLIMIT_AS || resource == RLIMIT_DATA || resource == RLIMIT_STACK ||
	    resource == RLIMIT_MEMLOCK) {
		print_message("left out under a sanitizer: %s\n", name);
		return true;
	}
#else
	(void)resource;
	(void)name;
#endif
	return false;
}

static void become_user(void)
{
	if (setgroups(0, NULL) < 0 || setresgid(my_uid, my_uid, my_uid) < 0 ||
	    setresuid(my_uid, my_uid, my_uid) < 0)
		_exit(126);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	unsetenv("HUGEPOOL_SOCKET");
}

static void set_limit(int resource, rlim_t value)
{
	const struct rlimit limit = {.rlim_cur = value, .rlim_max = value};

	if (setrlimit((__rlimit_resource_t)resource, &limit) < 0)
		_exit(125);
}

/* It ended by itself and well, and nothing of its is left. */
static void expect_clean_end(const struct dut *dut, int ended, int status, const char *what)
{
	if (!WIFEXITED(ended) || WEXITSTATUS(ended) != status)
		fail_msg("%s: wait status %#x", what, (unsigned)ended);
	dut_wait_pool(dut, "p", "leases", 0);
}

/* ---- the library ---- */

enum what_counts {
	ABSOLUTE,
	ABOVE_VMSIZE, /* the limit is so much above what is used of it */
	ABOVE_VMDATA,
};

/* A client that opens, asks for `bytes` with `flags`, uses the memory, frees it and closes. The limit is set
 * first, or after hp_open(). */
static const struct row {
	const char *name;
	int resource;
	rlim_t value;
	enum what_counts counts;
	bool after_open;
	uint64_t bytes;
	unsigned flags;
	const char *says; /* a failure names it; NULL: there must be none */
	int error;        /* of hp_alloc(), or of hp_open() if `bytes` is 0 */
} rows[] = {
	{"AS, room for less than the arena and its alignment", RLIMIT_AS, 200 * MIB, ABOVE_VMSIZE, true, MIB,
	 0, NULL, 0},
	{"AS, room for the lease and not for its arena", RLIMIT_AS, 16 * MIB, ABOVE_VMSIZE, true, MIB, 0,
	 NULL, 0},
	{"AS, no room", RLIMIT_AS, 8 * MIB, ABOVE_VMSIZE, true, 32 * MIB, 0, "RLIMIT_AS", -ENOMEM},
	{"AS, no room with a guard", RLIMIT_AS, 8 * MIB, ABOVE_VMSIZE, true, 32 * MIB, HP_GUARD, "RLIMIT_AS",
	 -ENOMEM},
	{"AS, no room for a client", RLIMIT_AS, 0, ABSOLUTE, false, 0, 0, "RLIMIT_AS", -ENOMEM},
	{"CORE", RLIMIT_CORE, 0, ABSOLUTE, false, MIB, 0, NULL, 0},
	{"CPU", RLIMIT_CPU, 3600, ABSOLUTE, false, MIB, 0, NULL, 0},
	{"DATA, shared memory is none", RLIMIT_DATA, 8 * MIB, ABOVE_VMDATA, true, 32 * MIB, 0, NULL, 0},
	{"DATA, private memory is", RLIMIT_DATA, 8 * MIB, ABOVE_VMDATA, true, 32 * MIB, HP_PRIVATE,
	 "RLIMIT_DATA", -ENOMEM},
	{"DATA, no room for a client", RLIMIT_DATA, 0, ABSOLUTE, false, 0, 0, "RLIMIT_DATA", -ENOMEM},
	{"FSIZE", RLIMIT_FSIZE, 0, ABSOLUTE, false, 32 * MIB, 0, NULL, 0},
	{"LOCKS", RLIMIT_LOCKS, 0, ABSOLUTE, false, MIB, 0, NULL, 0},
	{"MEMLOCK, nothing is locked", RLIMIT_MEMLOCK, 0, ABSOLUTE, false, MIB, 0, NULL, 0},
	{"MEMLOCK, no right", RLIMIT_MEMLOCK, 0, ABSOLUTE, false, MIB, HP_LOCK, "RLIMIT_MEMLOCK", -ENOMEM},
	{"MEMLOCK, too little", RLIMIT_MEMLOCK, 64 * KIB, ABSOLUTE, false, MIB, HP_LOCK, "RLIMIT_MEMLOCK",
	 -ENOMEM},
	{"MEMLOCK, enough", RLIMIT_MEMLOCK, MIB, ABSOLUTE, false, MIB, HP_LOCK, NULL, 0},
	{"MSGQUEUE", RLIMIT_MSGQUEUE, 0, ABSOLUTE, false, MIB, 0, NULL, 0},
	{"NICE", RLIMIT_NICE, 0, ABSOLUTE, false, MIB, 0, NULL, 0},
	{"NOFILE, none for a client", RLIMIT_NOFILE, 0, ABSOLUTE, false, 0, 0, "RLIMIT_NOFILE", -EMFILE},
	{"NOFILE, none for memory", RLIMIT_NOFILE, 0, ABSOLUTE, true, MIB, 0, "RLIMIT_NOFILE", -EMFILE},
	{"NPROC", RLIMIT_NPROC, 0, ABSOLUTE, false, MIB, 0, NULL, 0},
	{"RSS", RLIMIT_RSS, 0, ABSOLUTE, false, MIB, 0, NULL, 0},
	{"RTPRIO", RLIMIT_RTPRIO, 0, ABSOLUTE, false, MIB, 0, NULL, 0},
	{"RTTIME", RLIMIT_RTTIME, 1000, ABSOLUTE, false, MIB, 0, NULL, 0},
	{"SIGPENDING", RLIMIT_SIGPENDING, 0, ABSOLUTE, false, MIB, 0, NULL, 0},
	{"STACK", RLIMIT_STACK, 64 * KIB, ABSOLUTE, false, MIB, 0, NULL, 0},
};

static uint64_t used_bytes(const char *key)
{
	FILE *file = fopen("/proc/self/status", "re");
	uint64_t kib = 0;
	char line[128];

	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, key, strlen(key)) == 0)
			kib = strtoull(line + strlen(key), NULL, 10);
	if (file)
		fclose(file);
	return kib * KIB;
}

static void set_row_limit(const struct row *row)
{
	rlim_t value = row->value;

	if (row->counts == ABOVE_VMSIZE)
		value += used_bytes("VmSize:");
	if (row->counts == ABOVE_VMDATA)
		value += used_bytes("VmData:");
	set_limit(row->resource, value);
}

static void check(const struct row *row, const char *call, bool is_last, int r)
{
	const int wanted = is_last ? row->error : 0;

	if (r == wanted && (r == 0 || strstr(hp_error(), row->says)))
		return;
	dprintf(STDERR_FILENO, "%s: %s: %d instead of %d: %s\n", row->name, call, r, wanted, hp_error());
	_exit(1);
}

static void run_client(const struct dut *dut, const struct row *row)
{
	const struct hp_alloc_options options = {.flags = row->flags};
	hp_client *client = NULL;
	hp_lease *lease;
	int r;

	if (!row->after_open)
		set_row_limit(row);
	r = hp_open(dut->socket, &client);
	check(row, "hp_open", row->bytes == 0, r);
	if (r < 0)
		return;
	if (row->after_open)
		set_row_limit(row);
	/* What fails leaves nothing that the next could stumble over. */
	for (unsigned i = 0; i < 3; i++) {
		r = hp_alloc(client, row->bytes, &options, &lease);
		check(row, "hp_alloc", true, r);
		if (r < 0)
			continue;
		memset(hp_lease_data(lease), 'x', row->bytes);
		check(row, "hp_free", false, hp_free(lease));
	}
	hp_close(client);
}

static void limits_of_programs_serve_or_are_named(void **state)
{
	struct dut dut;

	(void)state;
	dut_start(&dut, DUT_WORDS("--pool", POOL));
	for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		pid_t pid;

		if (is_left_out(rows[i].resource, rows[i].name))
			continue;
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			become_user();
			run_client(&dut, &rows[i]);
			_exit(0);
		}
		dut_adopt(pid);
		expect_clean_end(&dut, dut_wait_child(pid), 0, rows[i].name);
	}
	dut_stop(&dut);
}

/* ---- hugepoolctl ---- */

/* `output`: where it prints. A command that ends; detached leases are freed by the test. */
static const struct command_row {
	const char *name;
	int resource;
	rlim_t value;
	const char *words[3];
	const char *output; /* NULL: a file that is removed */
	int status;
	const char *says;
} commands[] = {
	{"AS", RLIMIT_AS, CTL_AS, {"alloc", "128M"}, "/dev/null", FAILED, "RLIMIT_AS"},
	{"AS, status", RLIMIT_AS, CTL_AS, {"status"}, "/dev/null", DONE, ""},
	{"CORE", RLIMIT_CORE, 0, {"status"}, "/dev/null", DONE, ""},
	{"CPU", RLIMIT_CPU, 3600, {"status"}, "/dev/null", DONE, ""},
	{"DATA", RLIMIT_DATA, 16 * MIB, {"status"}, "/dev/null", DONE, ""},
	{"DATA, too little", RLIMIT_DATA, 4 * MIB, {"status"}, "/dev/null", FAILED, "RLIMIT_DATA"},
	{"FSIZE", RLIMIT_FSIZE, 0, {"status"}, NULL, FAILED, "Cannot write the result"},
	{"FSIZE, in the middle",
	 RLIMIT_FSIZE,
	 64,
	 {"status", "--json"},
	 NULL,
	 FAILED,
	 "Cannot write the result"},
	{"FSIZE, a lease", RLIMIT_FSIZE, 0, {"alloc", "1M"}, NULL, FAILED, "Cannot write the result"},
	{"FSIZE, a detached lease",
	 RLIMIT_FSIZE,
	 0,
	 {"alloc", "--detach", "1M"},
	 NULL,
	 FAILED,
	 "Cannot write the result"},
	{"a full disk", -1, 0, {"status"}, "/dev/full", FAILED, "Cannot write the result"},
	{"a full disk, a lease", -1, 0, {"alloc", "1M"}, "/dev/full", FAILED, "Cannot write the result"},
	{"MEMLOCK", RLIMIT_MEMLOCK, 0, {"status"}, "/dev/null", DONE, ""},
	{"NOFILE", RLIMIT_NOFILE, 4, {"status"}, "/dev/null", DONE, ""},
	{"NOFILE, a lease", RLIMIT_NOFILE, 4, {"alloc", "1M"}, "/dev/null", FAILED, "RLIMIT_NOFILE"},
	{"NPROC", RLIMIT_NPROC, 0, {"status"}, "/dev/null", DONE, ""},
	{"STACK", RLIMIT_STACK, 128 * KIB, {"status"}, "/dev/null", DONE, ""},
};

static void run_ctl(const struct dut *dut, const struct command_row *row, int error_fd)
{
	const char *build = getenv("HP_BUILD");
	const char *argv[8] = {"hugepoolctl", "--socket", dut->socket};
	char path[512];
	int out_fd, fd;

	snprintf(path, sizeof(path), "%s/hugepoolctl", build ? build : ".");
	fd = open(path, O_PATH | O_CLOEXEC);
	out_fd = row->output ? open(row->output, O_WRONLY | O_CLOEXEC)
			     : open("/tmp", O_TMPFILE | O_WRONLY, 0600);
	if (out_fd < 0 || dup2(out_fd, STDOUT_FILENO) < 0 || dup2(error_fd, STDERR_FILENO) < 0)
		_exit(124);
	for (unsigned i = 0; i < 3; i++)
		argv[3 + i] = row->words[i];
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	close_range(3, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, ~0u, 0);
	if (row->resource >= 0)
		set_limit(row->resource, row->value);
	execveat(fd, "", (char *const *)argv, environ, AT_EMPTY_PATH);
	_exit(127);
}

static void limits_of_the_command_line_serve_or_are_named(void **state)
{
	struct dut dut;

	(void)state;
	dut_start(&dut, DUT_WORDS("--pool", POOL));
	for (unsigned i = 0; i < sizeof(commands) / sizeof(commands[0]); i++) {
		const struct command_row *row = &commands[i];
		int error_fds[2];
		char said[1024] = "";
		pid_t pid;
		int ended;

		if (is_left_out(row->resource, row->name) ||
		    (CTL_WRITES_AT_START && row->resource == RLIMIT_FSIZE))
			continue;
		assert_int_equal(pipe2(error_fds, O_CLOEXEC), 0); /* no limit of a file's is for it */
		pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			run_ctl(&dut, row, error_fds[1]);
		dut_adopt(pid);
		ended = dut_wait_child(pid);
		close(error_fds[1]);
		assert_true(read(error_fds[0], said, sizeof(said) - 1) >= 0);
		close(error_fds[0]);
		if (!strstr(said, row->says))
			fail_msg("%s: wait status %#x: \"%s\" is not in \"%s\"", row->name, (unsigned)ended,
				 row->says, said);
		expect_clean_end(&dut, ended, row->status, row->name);
	}
	dut_stop(&dut);
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
		TEST(limits_of_programs_serve_or_are_named),
		TEST(limits_of_the_command_line_serve_or_are_named),
	};

	return cmocka_run_group_tests_name("system_limits_client", tests, NULL, NULL);
}

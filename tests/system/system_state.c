/* system_state.c - what the daemon finds on the host and what it leaves there: its state directory, its
 * sockets, and what belongs to somebody else at the places where these are to be.
 *
 * The built programs in processes of their own, killed with SIGKILL and started again. Mounts and
 * nr_hugepages are system_host.c's.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/dut.h"
#include "tests/support/wait.h"

#define SOMEUID    12345
#define N_RESTARTS 20
#define POOL       "p=4K:1M,users=*"

static const char *words(const char *format, ...) __attribute__((format(printf, 1, 2)));
static const char *words(const char *format, ...)
{
	static char ring[64][512];
	static unsigned next;
	char *word = ring[next++ % 64];
	va_list args;

	va_start(args, format);
	assert_in_range(vsnprintf(word, sizeof(ring[0]), format, args), 0, sizeof(ring[0]) - 1);
	va_end(args);
	return word;
}

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static ino_t inode_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_ino;
}

static unsigned mode_of(const char *path)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	return st.st_mode & 07777;
}

static void wait_until_there(const char *path)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;

	while (!is_there(path)) {
		assert_true(wait_now_ms() < deadline);
		wait_pause();
	}
}

/* Until a client is answered on that socket. */
static void wait_until_serving(const char *socket, uid_t uid)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	char *error;
	int status;

	while ((status = dut_run("hugepoolctl", uid, DUT_WORDS("--socket", socket, "alloc", "--detach", "4K"),
				 NULL, &error)) == 3) {
		free(error);
		assert_true(wait_now_ms() < deadline);
		wait_pause();
	}
	if (status != 0)
		fail_msg("hugepoolctl alloc: %s", error);
	free(error);
}

static void end(pid_t pid, int signal_number)
{
	assert_int_equal(kill(pid, signal_number), 0);
	dut_wait_child(pid);
}

static void expect_text(int fd, const char *text)
{
	char all[8192];
	ssize_t n = pread(fd, all, sizeof(all) - 1, 0);

	assert_true(n >= 0);
	all[n] = 0;
	if (!strstr(all, text))
		fail_msg("\"%s\" is not in: %s", text, all);
}

static void wait_for_text(int fd, const char *text)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	char all[8192] = "";

	while (!strstr(all, text)) {
		ssize_t n = pread(fd, all, sizeof(all) - 1, 0);

		assert_true(n >= 0);
		all[n] = 0;
		if (wait_now_ms() > deadline)
			fail_msg("\"%s\" is never in: %s", text, all);
		wait_pause();
	}
}

/* ---- locks that others hold ---- */

/* A child as that user which holds flock(LOCK_EX) on the path until it is killed. */
static pid_t lock_as(uid_t uid, const char *path)
{
	int ready[2];
	char word;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		int fd = -1;

		if (setresuid(uid, uid, uid) == 0)
			fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0 && flock(fd, LOCK_EX) == 0 && write(ready[1], "x", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	dut_adopt(pid);
	close(ready[1]);
	assert_int_equal(read(ready[0], &word, 1), 1);
	close(ready[0]);
	return pid;
}

/* Whoever can open the socket's directory can hold its lock, and a state directory's. */
static void state_lock_on_a_directory_stops_nobody(void **state)
{
	struct dut dut;
	pid_t holders[2];
	const char *dir;

	dut_need_root();
	dut_prepare(&dut, 0);
	dir = words("%s/state", dut.directory);
	assert_int_equal(mkdir(dir, 0755), 0);
	holders[0] = lock_as(SOMEUID, dut.directory);
	holders[1] = lock_as(SOMEUID, dir);
	dut_restart(&dut, DUT_WORDS("--pool", POOL, "--state", dir));
	assert_int_equal(dut_ctl(&dut, SOMEUID, DUT_WORDS("alloc", "--detach", "4K"), NULL, NULL), 0);
	end(dut.pid, SIGTERM);
	end(holders[0], SIGKILL);
	end(holders[1], SIGKILL);
	assert_int_equal(rmdir(dir), 0);
	dut_discard(&dut);
}

/* No file that the daemon has in its directories can be opened, and so locked, by another user. */
static void state_lock_is_nobody_elses_to_take(void **state)
{
	const char *const names[] = {".hugepoold.lock", ".hugepoold.journal"};
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", POOL));
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(mode_of(words("%s/%s", dut.directory, names[i])), 0600);
	dut_stop(&dut);
}

static void state_wait_is_said_and_ends_by_signal(void **state)
{
	static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
	struct dut dut;

	dut_start(&dut, DUT_WORDS("--pool", POOL));
	for (size_t i = 0; i < 3; i++) {
		int error_fd = memfd_create("log", MFD_CLOEXEC), status;
		pid_t pid = dut_spawn(&(struct dut_program){
			.name = "hugepoold",
			.arguments = DUT_WORDS("--socket", words("%s/other", dut.directory), "--state",
					       dut.directory, "--pool", POOL),
			.error_fd = error_fd,
		});

		wait_for_text(error_fd, words("waiting for hugepoold with pid %d", (int)dut.pid));
		assert_int_equal(kill(pid, signals[i]), 0);
		status = dut_wait_child(pid);
		assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
		expect_text(error_fd, "stopping: signal");
		assert_false(is_there(words("%s/other", dut.directory)));
		close(error_fd);
	}
	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("status"), NULL, NULL), 0);
	dut_stop(&dut);
}

/* Its parent has them blocked, and a signal mask is inherited. */
static void state_signals_that_a_parent_has_blocked_end_it_too(void **state)
{
	sigset_t stop, old;
	struct dut dut;

	sigemptyset(&stop);
	sigaddset(&stop, SIGTERM);
	sigprocmask(SIG_BLOCK, &stop, &old);
	dut_start(&dut, DUT_WORDS("--pool", POOL));
	sigprocmask(SIG_SETMASK, &old, NULL);
	dut_stop(&dut);
}

/* ---- two daemons ---- */

static void state_of_a_living_daemon_is_refused_by_name(void **state)
{
	const char *other, *pid;
	struct dut dut;

	dut_start(&dut, DUT_WORDS("--pool", POOL));
	pid = words("pid %d", (int)dut.pid);
	other = words("%s/other", dut.directory);
	dut_expect("hugepoold", 0, 1, words("%s|%s|--state", dut.directory, pid),
		   DUT_WORDS("--socket", other, "--state", dut.directory, "--pool", POOL));
	dut_expect("hugepoold", 0, 1, words("%s|%s|a daemon is listening there", dut.directory, pid),
		   DUT_WORDS("--socket", dut.socket, "--pool", POOL));
	/* By another way to the same directory. */
	dut_expect("hugepoold", 0, 1, words("%s|%s|--state", dut.directory, pid),
		   DUT_WORDS("--socket", other, "--state",
			     words("%s/../%s", dut.directory, strrchr(dut.directory, '/') + 1)));
	assert_false(is_there(other));
	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("status"), NULL, NULL), 0);
	dut_stop(&dut);
}

static void state_socket_of_a_living_daemon_is_refused_by_name(void **state)
{
	const char *dir;
	struct dut dut;

	dut_start(&dut, DUT_WORDS("--pool", POOL));
	dir = words("%s/state", dut.directory);
	dut_expect("hugepoold", 0, 1,
		   words("%s|a daemon is listening there|pid %d|use another path", dut.socket, (int)dut.pid),
		   DUT_WORDS("--socket", dut.socket, "--state", dir, "--pool", POOL));
	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("status"), NULL, NULL), 0);
	assert_int_equal(rmdir(dir), 0);
	dut_stop(&dut);
}

/* The new one is started before the old one has gone, and finds all of its own at the end. */
static void state_quick_restart_keeps_the_new_ones_socket(void **state)
{
	struct dut dut;

	dut_start(&dut, DUT_WORDS("--pool", "p=4K:64M,arena=16M,reserve=32M,users=*"));
	for (unsigned i = 0; i < N_RESTARTS; i++) {
		pid_t old = dut.pid;

		assert_int_equal(kill(old, SIGTERM), 0);
		dut.pid = 0;
		dut_restart(&dut, DUT_WORDS("--pool", "p=4K:64M,arena=16M,reserve=32M,users=*"));
		assert_int_equal(WEXITSTATUS(dut_wait_child(old)), 0);
		assert_true(is_there(dut.socket));
		assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("status"), NULL, NULL), 0);
	}
	dut_stop(&dut);
}

/* ---- what is somebody else's ---- */

/* A socket that is bound and that nobody listens on. */
static void leave_dead_socket(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
}

static void state_dead_socket_of_another_program_is_left_alone(void **state)
{
	struct dut dut;
	ino_t inode;

	dut_prepare(&dut, 0);
	leave_dead_socket(dut.socket);
	inode = inode_of(dut.socket);
	dut_expect("hugepoold", 0, 1, words("%s|remove it", dut.socket),
		   DUT_WORDS("--socket", dut.socket, "--pool", POOL));
	assert_int_equal(inode_of(dut.socket), inode);
	unlink(dut.socket);

	/* One that took the place of a dead daemon's, too. */
	dut_restart(&dut, DUT_WORDS("--pool", POOL));
	dut_kill(&dut);
	assert_int_equal(rename(dut.socket, words("%s/moved", dut.directory)), 0);
	leave_dead_socket(dut.socket);
	inode = inode_of(dut.socket);
	dut_expect("hugepoold", 0, 1, words("%s|remove it", dut.socket),
		   DUT_WORDS("--socket", dut.socket, "--pool", POOL));
	assert_int_equal(inode_of(dut.socket), inode);
	unlink(dut.socket);
	unlink(words("%s/moved", dut.directory));
	dut_discard(&dut);
}

static void state_stop_leaves_what_took_the_sockets_place(void **state)
{
	struct dut dut;
	ino_t inode;

	dut_start(&dut, DUT_WORDS("--pool", POOL));
	assert_int_equal(unlink(dut.socket), 0);
	leave_dead_socket(dut.socket);
	inode = inode_of(dut.socket);
	end(dut.pid, SIGTERM);
	assert_int_equal(inode_of(dut.socket), inode);
	unlink(dut.socket);
	dut_discard(&dut);
}

static void state_of_a_killed_daemon_is_taken_over(void **state)
{
	struct dut dut;

	dut_prepare(&dut, 0);
	for (unsigned i = 0; i < 5; i++) {
		dut_restart(&dut, DUT_WORDS("--pool", POOL));
		assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("status"), NULL, NULL), 0);
		dut_kill(&dut);
		assert_true(is_there(dut.socket));
	}
	dut_restart(&dut, DUT_WORDS("--pool", POOL));
	dut_stop(&dut);
}

/* Whatever stands in the record, only what matches is touched, and a wrong record is refused. */
static void state_record_is_not_trusted(void **state)
{
	static const char *const records[] = {
		"",
		"hugepoold-journal 1 x",
		"hugepoold-journal 2 x\nsocket:/x 1 1 1 1\n",
		"hugepoold-journal 1 x\nsocket:/x\n",
		"hugepoold-journal 1 x\n socket:/x 1\n",
		"hugepoold-journal 1 x\nsocket:/x 1\nsocket:/x 1\n",
		"hugepoold-journal 1 x\nsocket:/\x1b 1\n",
	};
	const char *victim, *journal;
	struct dut dut;
	ino_t inode;

	dut_prepare(&dut, 0);
	journal = words("%s/.hugepoold.journal", dut.directory);
	victim = words("%s/victim", dut.directory);
	leave_dead_socket(victim);
	inode = inode_of(victim);
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]) + 1; i++) {
		int fd = open(journal, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

		if (i < sizeof(records) / sizeof(records[0])) {
			assert_int_equal(write(fd, records[i], strlen(records[i])), strlen(records[i]));
			dut_expect("hugepoold", 0, 1, words("%s|.hugepoold.journal|remove", dut.directory),
				   DUT_WORDS("--socket", dut.socket, "--pool", POOL));
		} else {
			/* The right form, and not what is there. */
			dprintf(fd, "hugepoold-journal 1 x\nsocket:%s 1 2 3 4\n", victim);
			dut_restart(&dut, DUT_WORDS("--pool", POOL));
			end(dut.pid, SIGTERM);
		}
		close(fd);
		assert_int_equal(inode_of(victim), inode);
		assert_false(is_there(dut.socket));
		unlink(journal);
	}
	unlink(victim);
	dut_discard(&dut);
}

/* ---- directories ---- */

static void state_directory_is_made_if_need_be(void **state)
{
	struct dut dut;
	mode_t old_mask;
	char *dir;

	dut_need_root();
	dut_prepare(&dut, 0);
	dir = strdup(words("%s/state", dut.directory));
	old_mask = umask(077);
	dut_restart(&dut, DUT_WORDS("--pool", POOL, "--state", dir));
	umask(old_mask);
	assert_int_equal(mode_of(dir), 0755);
	assert_int_equal(mode_of(dut.socket), 0666);
	assert_int_equal(dut_ctl(&dut, SOMEUID, DUT_WORDS("alloc", "--detach", "4K"), NULL, NULL), 0);
	end(dut.pid, SIGTERM);
	assert_int_equal(rmdir(dir), 0);
	dut_expect("hugepoold", 0, 1, "/none/state|cannot be made|No such file",
		   DUT_WORDS("--socket", dut.socket, "--state", words("%s/none/state", dut.directory)));
	free(dir);
	dut_discard(&dut);
}

/* Under a umask that keeps others out, those whom the pools admit reach the default socket nevertheless. */
static void state_default_directory_is_open_whatever_the_umask(void **state)
{
	const char *socket, *variable;
	mode_t old_mask;
	struct dut dut;
	pid_t pid;

	dut_need_root();
	dut_prepare(&dut, SOMEUID);
	variable = words("XDG_RUNTIME_DIR=%s", dut.directory);
	socket = words("%s/hugepool/hugepoold.sock", dut.directory);
	old_mask = umask(077);
	pid = dut_spawn(&(struct dut_program){.name = "hugepoold",
					      .uid = SOMEUID,
					      .arguments = DUT_WORDS("--pool", POOL),
					      .environment = DUT_WORDS(variable)});
	umask(old_mask);
	wait_until_serving(socket, SOMEUID + 1);
	end(pid, SIGTERM);
	assert_int_equal(rmdir(words("%s/hugepool", dut.directory)), 0);
	dut_discard(&dut);
}

static void state_directory_that_others_can_bend_is_refused(void **state)
{
	const char *real, *link, *open_to_all;
	struct dut dut;

	dut_need_root();
	dut_prepare(&dut, 0);
	real = words("%s/real", dut.directory);
	link = words("%s/link", dut.directory);
	open_to_all = words("%s/open", dut.directory);
	assert_int_equal(mkdir(real, 0755), 0);
	assert_int_equal(mkdir(open_to_all, 0777), 0);
	assert_int_equal(chmod(open_to_all, 0777), 0);
	assert_int_equal(symlink(real, link), 0);

	assert_int_equal(lchown(link, SOMEUID, SOMEUID), 0);
	dut_expect("hugepoold", 0, 1, words("%s|symlink", link),
		   DUT_WORDS("--socket", dut.socket, "--state", link, "--pool", POOL));
	dut_expect("hugepoold", 0, 1, words("%s|symlink", link),
		   DUT_WORDS("--socket", words("%s/socket", link), "--pool", POOL));
	dut_expect("hugepoold", 0, 1, words("%s|other users", open_to_all),
		   DUT_WORDS("--socket", dut.socket, "--state", open_to_all, "--pool", POOL));
	assert_false(is_there(dut.socket));
	assert_int_equal(rmdir(real), 0); /* nothing was made in it */
	assert_int_equal(rmdir(open_to_all), 0);

	/* An operator's own is followed. */
	assert_int_equal(mkdir(real, 0755), 0);
	assert_int_equal(lchown(link, 0, 0), 0);
	dut_restart(&dut, DUT_WORDS("--state", link, "--pool", POOL));
	end(dut.pid, SIGTERM);
	assert_int_equal(rmdir(real), 0);
	assert_int_equal(unlink(link), 0);
	dut_discard(&dut);
}

/* In a directory such as /tmp every socket has a state of its own, and what another user has put there is
 * refused, not followed. */
static void state_in_a_shared_directory_is_the_sockets_own(void **state)
{
	const char *sockets[2], *dir, *target;
	struct dut dut;
	pid_t pids[2];

	dut_need_root();
	dut_prepare(&dut, 0);
	assert_int_equal(chmod(dut.directory, 01777), 0);
	for (unsigned i = 0; i < 2; i++) {
		sockets[i] = words("%s/socket-%u", dut.directory, i);
		pids[i] = dut_spawn(&(struct dut_program){
			.name = "hugepoold",
			.uid = i == 0 ? 0 : SOMEUID,
			.arguments = DUT_WORDS("--socket", sockets[i], "--pool", POOL),
		});
		wait_until_serving(sockets[i], 0);
		wait_until_there(words("%s.state", sockets[i]));
	}
	end(pids[0], SIGTERM);
	end(pids[1], SIGTERM);

	target = words("%s/target", dut.directory);
	dir = words("%s.state", dut.socket);
	assert_int_equal(mkdir(target, 0755), 0);
	assert_int_equal(symlink(target, dir), 0);
	dut_expect("hugepoold", 0, 1, ".state", DUT_WORDS("--socket", dut.socket, "--pool", POOL));
	assert_int_equal(unlink(dir), 0);
	assert_int_equal(mkdir(dir, 0755), 0);
	assert_int_equal(chown(dir, SOMEUID, SOMEUID), 0);
	dut_expect("hugepoold", 0, 1, ".state|somebody else's",
		   DUT_WORDS("--socket", dut.socket, "--pool", POOL));
	assert_int_equal(rmdir(dir), 0);
	assert_int_equal(rmdir(target), 0);
	dut_discard(&dut);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(state_lock_on_a_directory_stops_nobody),
		TEST(state_lock_is_nobody_elses_to_take),
		TEST(state_wait_is_said_and_ends_by_signal),
		TEST(state_signals_that_a_parent_has_blocked_end_it_too),
		TEST(state_of_a_living_daemon_is_refused_by_name),
		TEST(state_socket_of_a_living_daemon_is_refused_by_name),
		TEST(state_quick_restart_keeps_the_new_ones_socket),
		TEST(state_dead_socket_of_another_program_is_left_alone),
		TEST(state_stop_leaves_what_took_the_sockets_place),
		TEST(state_of_a_killed_daemon_is_taken_over),
		TEST(state_record_is_not_trusted),
		TEST(state_directory_is_made_if_need_be),
		TEST(state_default_directory_is_open_whatever_the_umask),
		TEST(state_directory_that_others_can_bend_is_refused),
		TEST(state_in_a_shared_directory_is_the_sockets_own),
	};

	return cmocka_run_group_tests_name("system_state", tests, NULL, NULL);
}

/* test_holders.c - who maps a file or holds it open, with real processes of other users.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/backing/holders.h"

#define BYTES  4096
#define NOBODY 65534
#define A_FEW  7 /* items a step: ends in the middle of everything */

static int new_file(void)
{
	int fd = memfd_create("test-holders", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, BYTES), 0);
	return fd;
}

static enum holders_result scan_to_end(struct holders *scan)
{
	enum holders_result result;

	while ((result = holders_step(scan, A_FEW)) == HOLDERS_MORE)
		;
	holders_fini(scan);
	return result;
}

static void add_file(struct holders *scan, int fd)
{
	struct stat status;

	assert_int_equal(fstat(fd, &status), 0);
	scan->files[scan->n_files].device = status.st_dev;
	scan->files[scan->n_files++].inode = status.st_ino;
}

static enum holders_result look(int fd, struct holders *scan)
{
	*scan = (struct holders){0};
	add_file(scan, fd);
	return scan_to_end(scan);
}

/* ---- processes that hold it ---- */

static void map(int fd, int protection, int flags)
{
	if (mmap(NULL, BYTES, protection, flags, fd, 0) == MAP_FAILED)
		_exit(1);
}

static void hold_mapping(int fd)
{
	map(fd, PROT_READ | PROT_WRITE, MAP_SHARED);
	close(fd);
}

/* A private mapping of it, that nobody may touch, is one as well. */
static void hold_private_mapping(int fd)
{
	map(fd, PROT_NONE, MAP_PRIVATE);
	close(fd);
}

static void hold_descriptor(int fd)
{
	if (dup2(fd, 700) < 0)
		_exit(1);
	close(fd);
}

static void *hold_in_thread(void *arg)
{
	int *fds = arg;

	if (unshare(CLONE_FILES) < 0)
		_exit(1);
	if (write(fds[1], "", 1) != 1)
		_exit(1);
	while (true)
		pause();
}

/* In the table of a thread only. */
static void hold_descriptor_in_thread(int fd)
{
	pthread_t thread;
	int fds[2];
	char byte;

	if (pipe(fds) < 0 || pthread_create(&thread, NULL, hold_in_thread, fds) != 0 ||
	    read(fds[0], &byte, 1) != 1)
		_exit(1);
	close(fd);
}

static void hold_nothing(int fd)
{
	close(fd);
}

/* A process of that user which holds it in this way, until it is killed. Its own descriptor is the only one
 * that it has inherited. */
static pid_t start_holder(int fd, uid_t uid, void (*hold)(int fd))
{
	int ready[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (uid != 0 && setuid(uid) < 0)
			_exit(1);
		hold(fd);
		if (write(ready[1], "", 1) != 1)
			_exit(1);
		while (true)
			pause();
	}
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	return pid;
}

static void end_holder(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- tests ---- */

static void holders_of_a_file_of_our_own_are_nobody(void **state)
{
	int fd = new_file(), other_fd = new_file();
	pid_t pid = start_holder(fd, 0, hold_nothing);
	struct holders scan;

	assert_true(mmap(NULL, BYTES, PROT_READ, MAP_SHARED, fd, 0) != MAP_FAILED);
	close(other_fd);
	assert_int_equal(look(fd, &scan), HOLDERS_NOBODY);
	assert_int_equal(scan.n_passes, 2);
	assert_int_equal(scan.error, 0);
	end_holder(pid);
	close(fd);
}

static void holders_in_every_way_and_of_every_user_are_found(void **state)
{
	static const struct {
		void (*hold)(int fd);
		bool is_mapped;
	} ways[] = {
		{hold_mapping, true},
		{hold_private_mapping, true},
		{hold_descriptor, false},
		{hold_descriptor_in_thread, false},
	};
	static const uid_t uids[] = {0, 1, NOBODY};

	for (unsigned i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		for (unsigned k = 0; k < sizeof(uids) / sizeof(uids[0]); k++) {
			int fd = new_file();
			pid_t pid = start_holder(fd, uids[k], ways[i].hold);
			struct holders scan;

			assert_int_equal(look(fd, &scan), HOLDERS_SOMEBODY);
			assert_int_equal(scan.files[0].pid, pid);
			assert_int_equal(scan.files[0].is_mapped, ways[i].is_mapped);
			end_holder(pid);
			assert_int_equal(look(fd, &scan), HOLDERS_NOBODY);
			close(fd);
		}
}

static void holders_of_several_files_are_told_apart(void **state)
{
	int fds[3];
	pid_t pids[3];
	struct holders scan = {0};

	for (unsigned i = 0; i < 3; i++) {
		fds[i] = new_file();
		pids[i] = start_holder(fds[i], NOBODY, i == 1 ? hold_nothing : hold_mapping);
		add_file(&scan, fds[i]);
		if (i == 0)
			close(fds[0]); /* else the others would inherit it */
	}
	assert_int_equal(scan_to_end(&scan), HOLDERS_SOMEBODY);
	assert_int_equal(scan.files[0].pid, pids[0]);
	/* The third process has inherited the second file. */
	assert_int_equal(scan.files[1].pid, pids[2]);
	assert_false(scan.files[1].is_mapped);
	assert_int_equal(scan.files[2].pid, pids[2]);
	end_holder(pids[2]);

	scan = (struct holders){.n_files = 3, .files = {scan.files[0], scan.files[1], scan.files[2]}};
	for (unsigned i = 0; i < 3; i++)
		scan.files[i].pid = 0;
	assert_int_equal(scan_to_end(&scan), HOLDERS_SOMEBODY);
	assert_int_equal(holders_of(&scan, 0), HOLDERS_SOMEBODY);
	assert_int_equal(holders_of(&scan, 1), HOLDERS_NOBODY);
	assert_int_equal(holders_of(&scan, 2), HOLDERS_NOBODY);
	end_holder(pids[0]);
	end_holder(pids[1]);
	close(fds[1]);
	close(fds[2]);
}

static pid_t left_out;

static bool leaves_out(const struct holders *scan, pid_t pid)
{
	return pid == left_out;
}

static void holders_that_are_left_out_are_not_found(void **state)
{
	int fd = new_file();
	struct holders scan = {.leaves_out = leaves_out};
	pid_t pid = start_holder(fd, NOBODY, hold_mapping);

	left_out = pid;
	add_file(&scan, fd);
	assert_int_equal(scan_to_end(&scan), HOLDERS_NOBODY);
	end_holder(pid);
	close(fd);
}

/* Many mappings and descriptors: more than are read at once, and steps end among them. */
static void hold_the_last_of_many(int fd)
{
	for (int i = 0; i < 300; i++)
		if (mmap(NULL, BYTES, i % 2 ? PROT_READ : PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
		    MAP_FAILED)
			_exit(1);
	for (int i = 0; i < 300; i++)
		if (dup(0) < 0)
			_exit(1);
	hold_descriptor(fd);
}

static void holders_of_much_are_looked_at_to_the_end(void **state)
{
	int fd = new_file();
	pid_t pid = start_holder(fd, NOBODY, hold_the_last_of_many);
	struct holders scan;

	assert_int_equal(look(fd, &scan), HOLDERS_SOMEBODY);
	assert_int_equal(scan.files[0].pid, pid);
	end_holder(pid);
	close(fd);
}

/* The same of a user who may not look at others' processes. */
static void holders_that_may_not_be_looked_at_are_unknown(void **state)
{
	int fd = new_file(), status;
	pid_t holder = start_holder(fd, 0, hold_mapping), pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct holders scan;

		if (setuid(NOBODY) < 0)
			_exit(1);
		_exit(look(fd, &scan) == HOLDERS_UNKNOWN && scan.hidden_pid > 0 && scan.error == EACCES ? 0
													: 2);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	end_holder(holder);
	close(fd);
}

/* In another pid namespace, /proc is one of other pids. */
static void holders_beyond_a_pid_namespace_are_unknown(void **state)
{
	int fd = new_file(), status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct holders scan;
		pid_t inner;

		if (unshare(CLONE_NEWPID) < 0)
			_exit(1);
		inner = fork();
		if (inner == 0)
			_exit(look(fd, &scan) == HOLDERS_SOMEBODY && scan.error == EXDEV ? 0 : 2);
		_exit(inner > 0 && waitpid(inner, &status, 0) == inner && status == 0 ? 0 : 3);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(fd);
}

/* Processes that come and go meanwhile are no reason not to know. */
static void holders_that_vanish_are_nobody(void **state)
{
	int fd = new_file();
	pid_t pid = start_holder(fd, 0, hold_nothing), forker = fork();
	struct holders scan;

	assert_true(forker >= 0);
	if (forker == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fd);
		while (true) {
			pid_t child = fork();

			if (child == 0)
				_exit(0);
			if (child > 0)
				waitpid(child, NULL, 0);
		}
	}
	for (unsigned i = 0; i < 20; i++) {
		enum holders_result result = look(fd, &scan);

		/* It may not have closed its own yet. */
		if (result == HOLDERS_SOMEBODY && scan.files[0].pid == forker)
			continue;
		assert_int_equal(result, HOLDERS_NOBODY);
	}
	end_holder(forker);
	end_holder(pid);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(holders_of_a_file_of_our_own_are_nobody),
		cmocka_unit_test(holders_in_every_way_and_of_every_user_are_found),
		cmocka_unit_test(holders_of_several_files_are_told_apart),
		cmocka_unit_test(holders_that_are_left_out_are_not_found),
		cmocka_unit_test(holders_of_much_are_looked_at_to_the_end),
		cmocka_unit_test(holders_that_may_not_be_looked_at_are_unknown),
		cmocka_unit_test(holders_beyond_a_pid_namespace_are_unknown),
		cmocka_unit_test(holders_that_vanish_are_nobody),
	};

	if (geteuid() != 0) {
		print_message("skipped: only root has processes of other users\n");
		return 77;
	}
	return cmocka_run_group_tests_name("holders", tests, NULL, NULL);
}

/* system_orphaned.c - leases of programs that have exec'd: their owner has the memory back, and nobody loses
 * memory that he uses (rule 2).
 */
#include <config.h>

#include <errno.h>
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
#include <sys/prctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/operator.h"

#define PAGE      UINT64_C(4096)
#define MIB       (UINT64_C(1) << 20)
#define SOMEUID   12345
#define OTHERUID  23456
#define N_HOLDERS 4

#define POOL(isolation)                                                                                      \
	DUT_WORDS("--pool", "p=4K:16M,arena=8M,reserve=8M,quota=4M,users=*,isolation=" isolation)

/* ---- a program that leases, and then becomes another ---- */

struct holder {
	pid_t pid, child_pid; /* child: 0, or one that maps the lease */
	uint64_t lease;
};

/* Map the lease's file, and stay. Its descriptors go, but for the pipe's: a mapping is enough. */
static pid_t fork_user(hp_lease *lease, int parent_pid)
{
	uint64_t offset, bytes;
	int fd = hp_lease_dup_fd(lease, 0, &offset, &bytes);
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent_pid ||
	    mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset) == MAP_FAILED)
		_exit(1);
	closefrom(0);
	while (true)
		pause();
}

/* Not a word to the daemon: its socket and all descriptors are CLOEXEC, and so is the pipe. */
static void lease_and_exec(const struct dut *dut, uid_t uid, uint64_t bytes, bool with_child, int pipe_fd)
{
	struct holder holder = {.pid = getpid()};
	hp_client *client;
	hp_lease *lease;

	if (setgid(uid) < 0 || setuid(uid) < 0 || hp_open(dut->socket, &client) < 0 ||
	    hp_alloc(client, bytes, NULL, &lease) < 0)
		_exit(1);
	memset(hp_lease_data(lease), 0xee, bytes);
	holder.lease = hp_lease_id(lease);
	if (with_child)
		holder.child_pid = fork_user(lease, holder.pid);
	if (write(pipe_fd, &holder, sizeof(holder)) != sizeof(holder))
		_exit(1);
	execlp("sleep", "sleep", "infinity", NULL);
	_exit(1);
}

static const char *word_of(uint64_t lease, char word[24])
{
	snprintf(word, 24, "%" PRIu64, lease);
	return word;
}

static bool is_orphaned(const struct dut *dut, const char *lease)
{
	json_t *row = operator_row(dut, "leases", "leases", "lease", lease);
	bool is = row && strcmp(json_string_value(json_object_get(row, "state")), "orphaned") == 0;

	json_decref(row);
	return is;
}

/* When this returns it has exec'd, and the daemon knows that its connection is gone. */
static void start_holder(const struct dut *dut, uid_t uid, uint64_t bytes, bool with_child,
			 struct holder *ret_holder)
{
	char lease[24], byte;
	pid_t pid;
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0)
		lease_and_exec(dut, uid, bytes, with_child, fds[1]);
	dut_adopt(pid);
	close(fds[1]);
	assert_int_equal(read(fds[0], ret_holder, sizeof(*ret_holder)), sizeof(*ret_holder));
	assert_int_equal(ret_holder->pid, pid);
	assert_int_equal(read(fds[0], &byte, 1), 0);
	close(fds[0]);
	word_of(ret_holder->lease, lease);
	assert_true(wait_for(is_orphaned(dut, lease)));
}

static void end_holder(const struct holder *holder)
{
	assert_int_equal(kill(holder->pid, SIGKILL), 0);
	dut_wait_child(holder->pid);
}

static void expect_process(const struct dut *dut, uid_t uid, const char *format, pid_t pid, uint64_t lease)
{
	char words[128], word[24];

	snprintf(words, sizeof(words), format, (int)pid);
	operator_expect(dut, uid, FAILED, words, DUT_WORDS("free", "--orphaned", word_of(lease, word)));
}

/* `leases` says what can be done. */
static void expect_hint(const struct dut *dut)
{
	char *error;

	assert_int_equal(dut_ctl(dut, SOMEUID, DUT_WORDS("leases"), NULL, &error), DONE);
	assert_non_null(strstr(error, "free --orphaned"));
	free(error);
}

/* ---- tests ---- */

/* Four use up the quota; the owner has it back, though all of them live. */
static void free_what_has_execd(const char *const *pool, bool names_them)
{
	struct holder holders[N_HOLDERS];
	char words[N_HOLDERS][24];
	struct actor actor;
	struct dut dut;
	uint64_t lease;

	dut_need_root();
	dut_start(&dut, pool);
	for (unsigned i = 0; i < N_HOLDERS; i++) {
		start_holder(&dut, SOMEUID, MIB, false, &holders[i]);
		word_of(holders[i].lease, words[i]);
	}
	dut_wait_pool(&dut, "p", "pages_orphaned", N_HOLDERS * MIB / PAGE);
	actor_start(&actor, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&actor, PAGE, NULL, &lease), -EDQUOT);

	expect_hint(&dut);
	operator_expect(&dut, OTHERUID, FAILED, "is another user's",
			DUT_WORDS("free", "--orphaned", words[0]));
	operator_expect(&dut, OTHERUID, DONE, "", DUT_WORDS("free", "--orphaned"));
	operator_expect(&dut, SOMEUID, FAILED, "is held by", DUT_WORDS("free", words[0]));
	assert_int_equal(dut_pool(&dut, "p", "leases"), N_HOLDERS);

	operator_expect(&dut, SOMEUID, DONE, "",
			names_them ? DUT_WORDS("free", "--orphaned", words[0], words[1], words[2], words[3])
				   : DUT_WORDS("free", "--orphaned"));
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_orphaned"), 0);
	assert_int_equal(actor_alloc(&actor, N_HOLDERS * MIB, NULL, &lease), 0);
	assert_int_equal(actor_count_other(&actor, lease, 0), 0);
	for (unsigned i = 0; i < N_HOLDERS; i++)
		end_holder(&holders[i]);
	/* Their deaths end nothing more. */
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
	actor_quit(&actor);
	dut_stop(&dut);
}

static void orphaned_in_a_shared_arena_are_freed(void **state)
{
	free_what_has_execd(POOL("tenant"), false);
}

static void orphaned_in_a_shared_arena_are_freed_by_id(void **state)
{
	free_what_has_execd(POOL("tenant"), true);
}

static void orphaned_in_files_of_their_own_are_freed(void **state)
{
	free_what_has_execd(POOL("lease"), false);
}

static void orphaned_in_files_of_their_own_are_freed_by_id(void **state)
{
	free_what_has_execd(POOL("lease"), true);
}

/* An admin frees another user's. */
static void orphaned_are_freed_by_an_admin(void **state)
{
	struct holder holder;
	struct dut dut;
	char word[24];

	dut_need_root();
	dut_start(&dut, POOL("tenant"));
	start_holder(&dut, SOMEUID, MIB, false, &holder);
	/* Not without being named. */
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("free", "--orphaned"));
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("free", "--orphaned", word_of(holder.lease, word)));
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	end_holder(&holder);
	dut_stop(&dut);
}

static void orphaned_that_a_child_maps_is_kept(void **state)
{
	struct holder holder;
	struct dut dut;
	char word[24];

	dut_need_root();
	dut_start(&dut, POOL("tenant"));
	start_holder(&dut, SOMEUID, MIB, true, &holder);
	expect_process(&dut, SOMEUID, "process %d still maps the file", holder.child_pid, holder.lease);
	expect_process(&dut, 0, "process %d still maps the file", holder.child_pid, holder.lease);
	assert_int_equal(dut_pool(&dut, "p", "pages_orphaned"), MIB / PAGE);
	assert_int_equal(kill(holder.child_pid, SIGKILL), 0);
	/* Nobody can wait for another's child: it holds the file until it has gone. */
	assert_true(
		wait_for(dut_ctl(&dut, SOMEUID, DUT_WORDS("free", "--orphaned", word_of(holder.lease, word)),
				 NULL, NULL) == DONE));
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	end_holder(&holder);
	dut_stop(&dut);
}

/* The connection is gone, the program is not. */
static void orphaned_whose_holder_uses_it_is_kept(void **state)
{
	struct actor holder;
	struct dut dut;
	uint64_t lease, other;

	dut_need_root();
	dut_start(&dut, POOL("tenant"));
	actor_start(&holder, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&holder, MIB, NULL, &lease), 0);
	actor_fill(&holder, lease, 0x5a);
	expect_process(&dut, SOMEUID, "is not orphaned: process %d holds it", holder.pid, lease);
	actor_break(&holder);
	dut_wait_pool(&dut, "p", "pages_orphaned", MIB / PAGE);
	expect_process(&dut, SOMEUID, "process %d still maps the file", holder.pid, lease);
	operator_expect(&dut, SOMEUID, FAILED, "still maps the file", DUT_WORDS("free", "--orphaned"));
	assert_int_equal(actor_count_other(&holder, lease, 0x5a), 0);
	/* It comes back to it. */
	assert_int_equal(actor_alloc(&holder, PAGE, NULL, &other), 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_orphaned"), 0);
	assert_int_equal(actor_free(&holder, lease), 0);
	actor_quit(&holder);
	dut_stop(&dut);
}

/* In a file of its own it is truncated, but only if it was named. */
static void orphaned_of_its_own_file_goes_if_it_is_named(void **state)
{
	struct actor holder;
	struct dut dut;
	uint64_t lease;
	char word[24];

	dut_need_root();
	dut_start(&dut, POOL("lease"));
	actor_start(&holder, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&holder, MIB, NULL, &lease), 0);
	actor_fill(&holder, lease, 0x5a);
	actor_break(&holder);
	dut_wait_pool(&dut, "p", "pages_orphaned", MIB / PAGE);
	operator_expect(&dut, SOMEUID, FAILED, "still maps the file", DUT_WORDS("free", "--orphaned"));
	assert_int_equal(actor_count_other(&holder, lease, 0x5a), 0);
	operator_expect(&dut, SOMEUID, DONE, "", DUT_WORDS("free", "--orphaned", word_of(lease, word)));
	dut_wait_pool(&dut, "p", "pages_backed", dut_pool(&dut, "p", "pages_stock"));
	assert_int_equal(actor_peek(&holder, lease, 0), -SIGBUS);
	actor_kill(&holder);
	dut_stop(&dut);
}

/* Who shares the arena and is connected is in nobody's way, and keeps what is its. */
static void orphaned_beside_others_leases_is_freed(void **state)
{
	struct actor fellow;
	struct holder holder;
	uint64_t lease, more;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL("tenant"));
	actor_start(&fellow, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&fellow, 2 * MIB, NULL, &lease), 0);
	actor_fill(&fellow, lease, 0x77);
	start_holder(&dut, SOMEUID, 2 * MIB, false, &holder);
	operator_expect(&dut, SOMEUID, DONE, "", DUT_WORDS("free", "--orphaned"));
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
	assert_int_equal(actor_alloc(&fellow, 2 * MIB, NULL, &more), 0);
	assert_int_equal(actor_count_other(&fellow, more, 0), 0);
	assert_int_equal(actor_count_other(&fellow, lease, 0x77), 0);

	/* But not its child. */
	assert_int_equal(actor_free(&fellow, more), 0);
	end_holder(&holder);
	start_holder(&dut, SOMEUID, 2 * MIB, false, &holder);
	actor_fork(&fellow);
	operator_expect(&dut, SOMEUID, FAILED, "still ", DUT_WORDS("free", "--orphaned"));
	assert_int_equal(dut_pool(&dut, "p", "leases"), 2);
	end_holder(&holder);
	actor_kill(&fellow); /* its child takes the wake-ups of orders */
	dut_stop(&dut);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(orphaned_in_a_shared_arena_are_freed),
		TEST(orphaned_in_a_shared_arena_are_freed_by_id),
		TEST(orphaned_in_files_of_their_own_are_freed),
		TEST(orphaned_in_files_of_their_own_are_freed_by_id),
		TEST(orphaned_are_freed_by_an_admin),
		TEST(orphaned_that_a_child_maps_is_kept),
		TEST(orphaned_whose_holder_uses_it_is_kept),
		TEST(orphaned_of_its_own_file_goes_if_it_is_named),
		TEST(orphaned_beside_others_leases_is_freed),
	};

	return cmocka_run_group_tests_name("system_orphaned", tests, NULL, NULL);
}

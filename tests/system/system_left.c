/* system_left.c - memory of a daemon that was killed, which its clients still have, counts against the next
 * one's `max` until they let go of it.
 *
 * What a daemon finds at its start is there when it is ready; what goes later is waited for.
 */
#include <config.h>

#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/hugetlb.h"
#include "tests/support/operator.h"

#define MIB      (UINT64_C(1) << 20)
#define KIB4     4096
#define MIB2     (2 * MIB)
#define USER     12345
#define ALL      (64 * MIB) /* of the pools here */
#define HALF     (32 * MIB)
#define MORE     (48 * MIB) /* than is free beside a half */
#define IN_ALL   "--pool", "p", "64M"
#define IN_HALF  "--pool", "p", "32M"
#define IN_MORE  "--pool", "p", "48M"
#define OF_KIB4  "--pool", "p=4K:64M,users=*"
#define OF_MIB2  "--pool", "p=2M:64M,users=*"
#define OF_MOUNT "--pool", "p=2M:64M,backing=hugetlbfs,users=12345"

static int teardown(void **state)
{
	hugetlb_unlock();
	return dut_kill_all(state);
}

static int64_t left(const struct dut *dut)
{
	return dut_pool(dut, "p", "pages_left");
}

static void hold_half(struct actor *actor, uid_t uid, const struct dut *dut, uint64_t *ret_lease)
{
	actor_start(actor, uid, dut);
	assert_int_equal(actor_alloc(actor, HALF, NULL, ret_lease), 0);
	actor_fill(actor, *ret_lease, 0x5a);
}

/* Refused with the sentence, and as much as is free is had. */
static void expect_half(const struct dut *dut, uid_t uid, uint64_t page_bytes)
{
	char words[160];
	uint64_t lease;
	pid_t holder;

	snprintf(
		words, sizeof(words),
		"%u of its %u are not leased|%u pages are still held by clients of a daemon before this one, "
		"which was killed (pid |end or restart them",
		(unsigned)(HALF / page_bytes), (unsigned)(ALL / page_bytes), (unsigned)(HALF / page_bytes));
	operator_expect(dut, uid, FAILED, words, DUT_WORDS("alloc", IN_MORE));
	holder = dut_hold(dut, uid, DUT_WORDS(IN_HALF), &lease);
	assert_true(dut_pool(dut, "p", "pages_backed") + left(dut) <= (int64_t)(ALL / page_bytes));
	operator_end(holder, SIGTERM, DONE);
}

/* The whole course of it. */
static void kill_and_count(uid_t uid, uint64_t page_bytes, const char *const *arguments)
{
	const int64_t n_half = (int64_t)(HALF / page_bytes);
	struct actor client;
	uint64_t lease;
	struct dut dut;
	pid_t holder;

	dut_start(&dut, arguments);
	hold_half(&client, uid, &dut, &lease);
	assert_int_equal(left(&dut), 0);
	dut_kill(&dut);
	dut_restart(&dut, arguments);
	assert_int_equal(left(&dut), n_half);
	expect_half(&dut, uid, page_bytes);
	assert_int_equal(actor_count_other(&client, lease, 0x5a), 0);
	actor_kill(&client);
	dut_wait_pool(&dut, "p", "pages_left", 0);
	holder = dut_hold(&dut, uid, DUT_WORDS(IN_ALL), &lease);
	operator_end(holder, SIGTERM, DONE);
	dut_stop(&dut);
}

static void left_base_pages_count_until_their_client_ends(void **state)
{
	kill_and_count(0, KIB4, DUT_WORDS(OF_KIB4));
}

static void left_pages_of_another_user_count(void **state)
{
	dut_need_root();
	kill_and_count(USER, KIB4, DUT_WORDS(OF_KIB4));
}

static void left_hugepages_count(void **state)
{
	hugetlb_need(MIB2, ALL / MIB2);
	kill_and_count(0, MIB2, DUT_WORDS(OF_MIB2));
}

static void left_pages_of_a_detached_mount_count(void **state)
{
	dut_need_root();
	hugetlb_need(MIB2, ALL / MIB2);
	kill_and_count(USER, MIB2, DUT_WORDS(OF_MOUNT));
}

static void left_pages_of_a_descriptor_count(void **state)
{
	struct actor client;
	uint64_t lease;
	struct dut dut;
	int fd;

	dut_start(&dut, DUT_WORDS(OF_KIB4));
	hold_half(&client, 0, &dut, &lease);
	fd = actor_dup_fd(&client, lease, NULL);
	assert_true(fd >= 0);
	actor_kill(&client);
	dut_kill(&dut);
	dut_restart(&dut, DUT_WORDS(OF_KIB4));
	assert_int_equal(left(&dut), HALF / KIB4);
	close(fd);
	dut_wait_pool(&dut, "p", "pages_left", 0);
	dut_stop(&dut);
}

/* Not only the next daemon has to know: any that comes while they live, however the last one ended. */
static void left_pages_outlive_more_daemons(void **state)
{
	struct actor client, second;
	uint64_t lease;
	struct dut dut;

	dut_start(&dut, DUT_WORDS(OF_KIB4));
	hold_half(&client, 0, &dut, &lease);
	dut_kill(&dut);
	dut_restart(&dut, DUT_WORDS(OF_KIB4));
	actor_start(&second, 0, &dut);
	assert_int_equal(actor_alloc(&second, 4 * MIB, NULL, &lease), 0);
	dut_kill(&dut);
	dut_restart(&dut, DUT_WORDS(OF_KIB4));
	assert_true(left(&dut) >= (int64_t)((HALF + 4 * MIB) / KIB4));
	actor_kill(&second);
	dut_wait_pool(&dut, "p", "pages_left", HALF / KIB4);
	assert_int_equal(kill(dut.pid, SIGTERM), 0);
	assert_int_equal(dut_wait_child(dut.pid), 0);
	dut.pid = 0;
	dut_restart(&dut, DUT_WORDS(OF_KIB4));
	assert_int_equal(left(&dut), HALF / KIB4);
	actor_kill(&client);
	dut_wait_pool(&dut, "p", "pages_left", 0);
	dut_stop(&dut);
}

/* With the pool full of what is left the reserve comes when it has gone. */
static void left_pages_are_no_reserve(void **state)
{
	struct actor client;
	uint64_t lease;
	struct dut dut;

	dut_start(&dut, DUT_WORDS(OF_KIB4));
	hold_half(&client, 0, &dut, &lease);
	dut_kill(&dut);
	dut_restart(&dut, DUT_WORDS("--pool", "p=4K:64M,reserve=64M"));
	assert_int_equal(left(&dut), HALF / KIB4);
	assert_int_equal(dut_pool(&dut, "p", "pages_backed"), HALF / KIB4);
	actor_kill(&client);
	dut_wait_pool(&dut, "p", "pages_backed", ALL / KIB4);
	dut_stop(&dut);
}

/* One who waits gets what becomes free. */
static void left_pages_that_go_serve_who_waits(void **state)
{
	const struct hp_alloc_options waits = {.wait_ms = WAIT_MAX_MS};
	struct actor client, other;
	uint64_t lease;
	struct dut dut;

	dut_start(&dut, DUT_WORDS(OF_KIB4));
	hold_half(&client, 0, &dut, &lease);
	dut_kill(&dut);
	dut_restart(&dut, DUT_WORDS(OF_KIB4));
	actor_start(&other, 0, &dut);
	actor_alloc_begin(&other, MORE, &waits);
	dut_wait_pool(&dut, "p", "waiting", 1);
	actor_kill(&client);
	assert_int_equal(actor_alloc_end(&other, &lease), 0);
	actor_kill(&other);
	dut_stop(&dut);
}

static void left_pages_are_one_state_directory_s(void **state)
{
	struct actor client;
	struct dut dut, other;
	uint64_t lease;

	dut_start(&dut, DUT_WORDS(OF_KIB4));
	dut_start(&other, DUT_WORDS(OF_KIB4));
	hold_half(&client, 0, &dut, &lease);
	dut_kill(&dut);
	dut_kill(&other);
	dut_restart(&other, DUT_WORDS(OF_KIB4));
	assert_int_equal(left(&other), 0);
	dut_restart(&dut, DUT_WORDS(OF_KIB4));
	assert_int_equal(left(&dut), HALF / KIB4);
	actor_kill(&client);
	dut_stop(&other);
	dut_wait_pool(&dut, "p", "pages_left", 0);
	dut_stop(&dut);
}

/* A file of the client's own with the name of ours, and its pages. */
static int64_t forge(int fd)
{
	static const char start[] = "/memfd:", end[] = " (deleted)";
	char path[64], name[256];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof(name) - 1);
	if (n < (ssize_t)(strlen(start) + strlen(end)))
		return -1;
	name[(size_t)n - strlen(end)] = '\0';
	fd = memfd_create(name + strlen(start), 0);
	return fd >= 0 && fallocate(fd, 0, 0, 16 * MIB) == 0 ? 0 : -1;
}

static void left_pages_cannot_be_made_up(void **state)
{
	struct actor client;
	uint64_t lease;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS(OF_KIB4));
	hold_half(&client, USER, &dut, &lease);
	assert_int_equal(actor_act(&client, lease, forge), 0);
	dut_kill(&dut);
	dut_restart(&dut, DUT_WORDS(OF_KIB4));
	assert_int_equal(left(&dut), HALF / KIB4);
	actor_kill(&client);
	dut_wait_pool(&dut, "p", "pages_left", 0);
	dut_stop(&dut);
}

/* Without privilege: those of its own user. */
static void left_pages_of_an_unprivileged_daemon_count(void **state)
{
	struct dut dut;
	uint64_t lease;
	pid_t holder;

	dut_need_root();
	dut_start_as(&dut, USER, DUT_WORDS(OF_KIB4));
	holder = dut_hold(&dut, USER, DUT_WORDS(IN_HALF), &lease);
	assert_int_equal(kill(holder, SIGSTOP), 0);
	dut_kill(&dut);
	dut_restart_as(&dut, USER, DUT_WORDS(OF_KIB4));
	assert_int_equal(left(&dut), HALF / KIB4);
	assert_int_equal(kill(holder, SIGKILL), 0);
	assert_true(WIFSIGNALED(dut_wait_child(holder)));
	dut_wait_pool(&dut, "p", "pages_left", 0);
	dut_stop(&dut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(left_base_pages_count_until_their_client_ends, teardown),
		cmocka_unit_test_teardown(left_pages_of_another_user_count, teardown),
		cmocka_unit_test_teardown(left_hugepages_count, teardown),
		cmocka_unit_test_teardown(left_pages_of_a_detached_mount_count, teardown),
		cmocka_unit_test_teardown(left_pages_of_a_descriptor_count, teardown),
		cmocka_unit_test_teardown(left_pages_outlive_more_daemons, teardown),
		cmocka_unit_test_teardown(left_pages_are_no_reserve, teardown),
		cmocka_unit_test_teardown(left_pages_that_go_serve_who_waits, teardown),
		cmocka_unit_test_teardown(left_pages_are_one_state_directory_s, teardown),
		cmocka_unit_test_teardown(left_pages_cannot_be_made_up, teardown),
		cmocka_unit_test_teardown(left_pages_of_an_unprivileged_daemon_count, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* system_absent.c - the daemon is stopped, or gone, or takes its time; and a signal comes meanwhile.
 *
 * What ends leases does not wait for a daemon that is not there: such a test ends at all. What asks for
 * memory waits, until a signal handler without SA_RESTART has run, and then nothing of it is left. An alarm
 * ends a test that hangs.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/dut.h"

#define MIB      (UINT64_C(1) << 20)
#define HANGS_S  60 /* no call takes as long */
#define WAIT_MS  UINT64_C(3600000)
#define N_LEASES 20

#define POOL DUT_WORDS("--pool", "p=4K:8M,arena=8M")

static hp_client *open_client(const struct dut *dut)
{
	hp_client *client;

	assert_int_equal(hp_open(dut->socket, &client), 0);
	return client;
}

/* It has stopped when this returns, every thread of it. */
static void stop_daemon(const struct dut *dut)
{
	int status;

	assert_int_equal(kill(dut->pid, SIGSTOP), 0);
	assert_int_equal(waitpid(dut->pid, &status, WUNTRACED), dut->pid);
	assert_true(WIFSTOPPED(status));
}

static void alloc_all(hp_client *client, hp_lease **leases, unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		assert_int_equal(hp_alloc(client, 4096, NULL, &leases[i]), 0);
		memset(hp_lease_data(leases[i]), 1, 4096);
	}
}

/* ---- without a daemon ---- */

static void free_and_close_do_not_wait_for_a_stopped_daemon(void **state)
{
	hp_lease *leases[N_LEASES];
	hp_client *client;
	struct dut dut;
	void *data;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	alloc_all(client, leases, N_LEASES);
	data = hp_lease_data(leases[0]);
	stop_daemon(&dut);
	alarm(HANGS_S);
	for (unsigned i = 0; i < N_LEASES; i++)
		assert_int_equal(hp_free(leases[i]), 0);
	hp_close(client);
	alarm(0);
	/* Its memory is not this process's any more. */
	assert_int_equal(msync(data, 4096, MS_ASYNC), -1);
	assert_int_equal(errno, ENOMEM);
	assert_int_equal(kill(dut.pid, SIGCONT), 0);
	/* What could be said has been said. */
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_stop(&dut);
}

static void free_before_the_daemon_goes_on_is_heard(void **state)
{
	hp_lease *leases[N_LEASES], *lease;
	hp_client *client;
	struct dut dut;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	alloc_all(client, leases, N_LEASES);
	stop_daemon(&dut);
	alarm(HANGS_S);
	assert_int_equal(hp_free_batch(leases, N_LEASES, 0), 0);
	alarm(0);
	assert_int_equal(kill(dut.pid, SIGCONT), 0);
	/* In the order in which they were said: all of it is to be had. */
	if (hp_alloc(client, 8 * MIB, NULL, &lease) < 0)
		fail_msg("%s", hp_error());
	assert_int_equal(hp_free(lease), 0);
	dut_wait_pool(&dut, "p", "leases", 0);
	hp_close(client);
	dut_stop(&dut);
}

static void free_and_close_do_not_look_for_a_dead_daemon(void **state)
{
	hp_lease *leases[N_LEASES];
	hp_client *client;
	struct dut dut;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	alloc_all(client, leases, N_LEASES);
	dut_kill(&dut);
	alarm(HANGS_S);
	/* It would be -ECONNRESET when nobody was found. */
	for (unsigned i = 0; i < N_LEASES; i++)
		assert_int_equal(hp_free(leases[i]), 0);
	hp_close(client);
	alarm(0);
	dut_restart(&dut, POOL);
	dut_stop(&dut);
}

static void alloc_with_a_limit_does_not_wait_for_a_stopped_daemon(void **state)
{
	const struct hp_alloc_options options = {.wait_ms = 100};
	hp_client *client;
	hp_lease *lease;
	struct dut dut;

	dut_start(&dut, POOL);
	client = open_client(&dut);
	stop_daemon(&dut);
	alarm(HANGS_S);
	assert_int_equal(hp_alloc(client, 4096, &options, &lease), -ETIMEDOUT);
	assert_non_null(strstr(hp_error(), "does not answer"));
	alarm(0);
	assert_int_equal(kill(dut.pid, SIGCONT), 0);
	/* It may have been granted since, and then ends: nothing stays. */
	assert_int_equal(hp_alloc(client, 8 * MIB, NULL, &lease), 0);
	assert_int_equal(hp_free(lease), 0);
	dut_wait_pool(&dut, "p", "leases", 0);
	hp_close(client);
	dut_stop(&dut);
}

/* ---- signals ---- */

static atomic_uint n_handled;

static void on_signal(int signal)
{
	atomic_fetch_add(&n_handled, 1);
}

static void handle(int flags)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = flags};

	atomic_store(&n_handled, 0);
	sigemptyset(&action.sa_mask);
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
}

/* A thread that asks, and what came of it. */
struct asker {
	pthread_t thread;
	hp_client *client;
	const char *socket; /* of a daemon to open, or NULL */
	const char *name;   /* of a lease to open, or NULL */
	hp_lease *grown;    /* a lease to resize, or NULL */
	atomic_bool is_done;
	int result;
	hp_lease *lease;
};

static void *ask(void *arg)
{
	const struct hp_alloc_options options = {.wait_ms = WAIT_MS};
	struct asker *asker = arg;

	if (asker->socket)
		asker->result = hp_open(asker->socket, &asker->client);
	else if (asker->name)
		asker->result = hp_lease_open(asker->client, asker->name, 0, &asker->lease);
	else if (asker->grown)
		asker->result = hp_lease_resize(asker->grown, 2 * MIB, HP_MAY_MOVE);
	else
		asker->result = hp_alloc(asker->client, 8 * MIB, &options, &asker->lease);
	atomic_store(&asker->is_done, true);
	return NULL;
}

static void start(struct asker *asker)
{
	atomic_store(&asker->is_done, false);
	assert_int_equal(pthread_create(&asker->thread, NULL, ask, asker), 0);
}

/* One signal can come before it sleeps: so another, until it has ended. */
static void interrupt(struct asker *asker)
{
	while (!atomic_load(&asker->is_done)) {
		assert_int_equal(pthread_kill(asker->thread, SIGUSR1), 0);
		dut_pause();
	}
	pthread_join(asker->thread, NULL);
	assert_int_equal(asker->result, -EINTR);
}

static void wait_for_waiting(const struct dut *dut, unsigned n)
{
	dut_wait_pool(dut, "p", "waiting", n);
}

static void signal_ends_an_alloc_that_waits(void **state)
{
	struct asker asker = {0}, second = {0};
	hp_lease *lease, *small;
	hp_client *client;
	struct dut dut;

	dut_start(&dut, POOL);
	handle(0);
	client = asker.client = second.client = open_client(&dut);
	assert_int_equal(hp_alloc(client, 8 * MIB, NULL, &lease), 0);
	alarm(HANGS_S);
	/* One of them reads from the daemon, the other sleeps. */
	start(&asker);
	wait_for_waiting(&dut, 1);
	start(&second);
	wait_for_waiting(&dut, 2);
	interrupt(&second);
	wait_for_waiting(&dut, 1);
	interrupt(&asker);
	alarm(0);
	/* The daemon has been told, though nobody has asked for anything since. */
	wait_for_waiting(&dut, 0);
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(hp_alloc(client, 8 * MIB, NULL, &small), 0);
	assert_int_equal(hp_free(small), 0);
	dut_wait_pool(&dut, "p", "leases", 0);
	hp_close(client);
	dut_stop(&dut);
}

#if !defined(__SANITIZE_THREAD__) /* it runs no handler before the call returns */
static void handler_that_restarts_calls_ends_nothing(void **state)
{
	struct asker asker = {0};
	hp_client *client;
	hp_lease *lease;
	struct dut dut;

	dut_start(&dut, POOL);
	handle(SA_RESTART);
	client = asker.client = open_client(&dut);
	assert_int_equal(hp_alloc(client, 8 * MIB, NULL, &lease), 0);
	start(&asker);
	wait_for_waiting(&dut, 1);
	for (unsigned i = 1; i <= 50; i++) {
		assert_int_equal(pthread_kill(asker.thread, SIGUSR1), 0);
		while (atomic_load(&n_handled) < i)
			dut_pause();
	}
	assert_false(atomic_load(&asker.is_done));
	assert_int_equal(hp_free(lease), 0);
	pthread_join(asker.thread, NULL);
	assert_int_equal(asker.result, 0);
	assert_int_equal(hp_free(asker.lease), 0);
	hp_close(client);
	dut_stop(&dut);
}
#endif

/* The daemon grants it, and nobody wants it any more. */
static void grant_that_comes_too_late_is_given_back(void **state)
{
	struct asker asker = {0};
	hp_client *client;
	struct dut dut;

	dut_start(&dut, POOL);
	handle(0);
	client = asker.client = open_client(&dut);
	stop_daemon(&dut);
	alarm(HANGS_S);
	start(&asker);
	interrupt(&asker);
	alarm(0);
	assert_int_equal(kill(dut.pid, SIGCONT), 0);
	assert_int_equal(hp_free_id(client, 0), -ENOENT); /* it has read all that we said */
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
	hp_close(client);
	dut_stop(&dut);
}

static void signal_ends_an_open_and_a_resize(void **state)
{
	const struct hp_alloc_options options = {.name = "named"};
	struct asker asker = {.name = "named"};
	hp_client *client, *maker;
	hp_lease *named, *grown;
	struct dut dut;

	dut_start(&dut, POOL);
	handle(0);
	client = asker.client = open_client(&dut);
	maker = open_client(&dut);
	assert_int_equal(hp_alloc(maker, MIB, &options, &named), 0);
	assert_int_equal(hp_alloc(client, MIB, NULL, &grown), 0);
	alarm(HANGS_S);
	stop_daemon(&dut);
	start(&asker);
	interrupt(&asker);
	asker = (struct asker){.client = client, .grown = grown};
	start(&asker);
	interrupt(&asker);
	alarm(0);
	assert_int_equal(hp_lease_bytes(grown), MIB);
	memset(hp_lease_data(grown), 1, MIB);
	assert_int_equal(kill(dut.pid, SIGCONT), 0);
	assert_int_equal(hp_free_id(client, 0), -ENOENT);
	dut_wait_pool(&dut, "p", "leases", 2);
	dut_wait_pool(&dut, "p", "pages_leased", 2 * MIB / 4096);
	hp_close(client);
	hp_close(maker);
	dut_stop(&dut);
}

static void signal_ends_the_search_for_a_daemon(void **state)
{
	struct asker asker = {0};
	struct dut dut;

	dut_start(&dut, POOL);
	handle(0);
	asker.socket = dut.socket;
	stop_daemon(&dut);
	alarm(HANGS_S);
	start(&asker);
	interrupt(&asker);
	alarm(0);
	assert_int_equal(kill(dut.pid, SIGCONT), 0);
	dut_stop(&dut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(free_and_close_do_not_wait_for_a_stopped_daemon, dut_kill_all),
		cmocka_unit_test_teardown(free_before_the_daemon_goes_on_is_heard, dut_kill_all),
		cmocka_unit_test_teardown(free_and_close_do_not_look_for_a_dead_daemon, dut_kill_all),
		cmocka_unit_test_teardown(alloc_with_a_limit_does_not_wait_for_a_stopped_daemon,
					  dut_kill_all),
		cmocka_unit_test_teardown(signal_ends_an_alloc_that_waits, dut_kill_all),
#if !defined(__SANITIZE_THREAD__)
		cmocka_unit_test_teardown(handler_that_restarts_calls_ends_nothing, dut_kill_all),
#endif
		cmocka_unit_test_teardown(grant_that_comes_too_late_is_given_back, dut_kill_all),
		cmocka_unit_test_teardown(signal_ends_an_open_and_a_resize, dut_kill_all),
		cmocka_unit_test_teardown(signal_ends_the_search_for_a_daemon, dut_kill_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

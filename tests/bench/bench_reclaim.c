/* bench_reclaim.c - from the SIGKILL of a client that holds a gigabyte, dirty, until another one of its
 * tenant has it, clean. The pool has no more than that, so the other one waits for it. The peer is the goal
 * itself.
 */
#include <config.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/bench.h"
#include "tests/bench/bench_house.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"

#define N_KILLS       100
#define N_KILLS_SHORT 3
#define GOAL_US       25000.0

struct holder {
	const char *socket;
	int holding_fd; /* is told when it holds */
};

static void hold(void *arg)
{
	const struct holder *holder = arg;
	hp_client *client;
	hp_lease *lease;

	raw_check(hp_open(holder->socket, &client) == 0, "open: %s", hp_error());
	raw_check(hp_alloc(client, BENCH_GIB, &(struct hp_alloc_options){.wait_ms = WAIT_MAX_MS}, &lease) ==
			  0,
		  "alloc: %s", hp_error());
	memset(hp_lease_data(lease), 0xa5, BENCH_GIB);
	raw_check(write(holder->holding_fd, "", 1) == 1, "write");
	for (;;)
		pause();
}

/* In ns. */
static uint64_t kill_and_take(const struct house *house, hp_client *client)
{
	uint64_t start_ns, end_ns;
	hp_lease *lease;
	int holding[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(holding), 0);
	pid = raw_fork(0, hold, &(struct holder){.socket = house->dut.socket, .holding_fd = holding[1]});
	assert_int_equal(read(holding[0], &byte, 1), 1);
	start_ns = bench_now_ns();
	assert_int_equal(kill(pid, SIGKILL), 0);
	if (hp_alloc(client, BENCH_GIB, &(struct hp_alloc_options){.wait_ms = WAIT_MAX_MS}, &lease) < 0)
		fail_msg("alloc: %s", hp_error());
	end_ns = bench_now_ns();
	bench_expect_zeroed(hp_lease_data(lease), BENCH_GIB);
	assert_int_equal(hp_free(lease), 0);
	raw_kill(pid);
	close(holding[0]);
	close(holding[1]);
	return end_ns - start_ns;
}

void bench_reclaim(void)
{
	static const struct bench_figure figure = {
		.name = "reclaim-p99", .unit = "us", .goal = BENCH_AT_MOST, .times = 1};
	unsigned n = bench_n(N_KILLS, N_KILLS_SHORT);
	uint64_t times_ns[N_KILLS];
	struct house house;
	hp_client *client;

	if (!bench_has_hugepages("reclaim", BENCH_GIB_PAGES))
		return;
	house_open(&house, DUT_WORDS("--workers", "1", "--pool", "p=2M:1G,arena=1G,reserve=1G"));
	assert_int_equal(hp_open(house.dut.socket, &client), 0);
	for (unsigned i = 0; i < n; i++)
		times_ns[i] = kill_and_take(&house, client);
	bench_note("p50 %.0f us", bench_percentile_us(times_ns, n, 50));
	bench_tell(&figure, bench_percentile_us(times_ns, n, 99), GOAL_US, "the goal: 25 ms");
	hp_close(client);
	house_close(&house);
}

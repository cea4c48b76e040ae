/* bench_scale_clients.c - a call of the library beside 10,000 sessions that do nothing, against one beside
 * none; and what such a session costs the daemon.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/bench_scale.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"

#define N_IDLE       10000
#define N_IDLE_SHORT 200
#define N_SPARE_FDS  100
#define HELLO_ROOM   256
#define GOAL_BYTES   4096

struct crowd {
	const struct dut *dut;
	unsigned n;
	int gathered_fd; /* is told how many came in */
};

/* One session more, which stays. False: the daemon has no room for it, and may have said so before we say
 * Hello. */
static bool join(const struct dut *dut)
{
	uint8_t hello[HELLO_ROOM];
	struct raw_request ask;
	Hugepool__Reply *reply;
	struct raw raw;
	bool is_in;

	raw_connect(&raw, dut);
	raw_send_bytes(&raw, hello, raw_pack(raw_ask_hello(&ask), hello, 0, sizeof(hello)), WAIT_MAX_MS);
	reply = raw_receive(&raw, NULL);
	is_in = reply && reply->hello;
	raw_drop(reply);
	if (is_in)
		frame_reader_free(raw.reader); /* the socket stays open */
	else
		raw_close(&raw);
	return is_in;
}

/* In a process of its own. */
static void gather(void *arg)
{
	const struct crowd *crowd = arg;
	struct rlimit limit;
	unsigned n = 0;

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	while (n < crowd->n && n + N_SPARE_FDS < limit.rlim_cur && join(crowd->dut))
		n++;
	raw_check(write(crowd->gathered_fd, &n, sizeof(n)) == sizeof(n), "write");
	for (;;)
		pause();
}

/* Returns how many sessions there are; *ret_pid has them. */
static unsigned start_crowd(const struct dut *dut, unsigned n, pid_t *ret_pid)
{
	int gathered[2];

	assert_int_equal(pipe(gathered), 0);
	*ret_pid = raw_fork(0, gather, &(struct crowd){.dut = dut, .n = n, .gathered_fd = gathered[1]});
	close(gathered[1]);
	assert_int_equal(read(gathered[0], &n, sizeof(n)), sizeof(n));
	close(gathered[0]);
	return n;
}

void bench_scale_clients(void)
{
	static const struct bench_figure time = {
		.name = "scale-clients", .unit = "us", .goal = BENCH_AT_MOST, .times = 1.1};
	static const struct bench_figure bytes = {
		.name = "scale-clients-bytes", .unit = "B", .goal = BENCH_AT_MOST, .times = 1};
	const unsigned n_wanted = bench_n(N_IDLE, N_IDLE_SHORT);
	struct scale scale;
	uint64_t before_bytes;
	pid_t crowd;
	unsigned n;

	scale_open(&scale, DUT_WORDS("--workers", "1", "--pool", "p=4K:64M,reserve=64M"));
	before_bytes = dut_rss_bytes(&scale.large.house.dut);
	n = start_crowd(&scale.large.house.dut, n_wanted, &crowd);
	assert_true(n > 0);
	if (n < n_wanted)
		bench_note("only %u sessions: raise the hard limit of open files", n);
	scale_tell_bytes(&bytes, before_bytes, dut_rss_bytes(&scale.large.house.dut), n, GOAL_BYTES);
	scale_run(&scale, &time, "none");
	raw_kill(crowd);
	scale_close(&scale);
}

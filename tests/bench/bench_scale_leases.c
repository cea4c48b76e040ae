/* bench_scale_leases.c - a call of the library beside a million live leases, against one beside a thousand;
 * and what the daemon needs to remember a lease. They are another session's, of the same tenant and worker.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "tests/bench/bench_scale.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"

#define N_MANY       1000000
#define N_MANY_SHORT 10000
#define N_FEW        1000
#define N_BATCH      250
#define GOAL_BYTES   128

static void lease_batch(struct raw *raw)
{
	uint64_t n_pages[N_BATCH];
	struct raw_request ask;
	Hugepool__Reply *reply;

	for (unsigned i = 0; i < N_BATCH; i++)
		n_pages[i] = 1;
	raw_ask_alloc(&ask, 1);
	ask.alloc.n_pages = n_pages;
	ask.alloc.n_n_pages = N_BATCH;
	ask.alloc.wait_ms = WAIT_MAX_MS;
	reply = raw_call(raw, &ask.request);
	raw_check(reply->alloc && reply->alloc->n_grants == N_BATCH, "Alloc: %s",
		  reply->error ? reply->error->message : "not as many as asked for");
	if (reply->alloc->n_new_arenas > 0)
		raw_say_received(raw);
	raw_drop(reply);
}

/* They live until it is closed. */
static void hold(struct raw *raw, const struct scale_side *side, unsigned n)
{
	raw_open(raw, &side->house.dut);
	for (unsigned i = 0; i < n; i += N_BATCH)
		lease_batch(raw);
}

void bench_scale_leases(void)
{
	static const struct bench_figure time = {
		.name = "scale-leases", .unit = "us", .goal = BENCH_AT_MOST, .times = 1.2};
	static const struct bench_figure bytes = {
		.name = "scale-leases-bytes", .unit = "B", .goal = BENCH_AT_MOST, .times = 1};
	const unsigned n_many = bench_n(N_MANY, N_MANY_SHORT);
	struct raw many, few;
	struct scale scale;
	uint64_t before_bytes;

	scale_open(&scale, DUT_WORDS("--workers", "1", "--pool", bench_is_short() ? "p=4K:64M" : "p=4K:5G"));
	hold(&few, &scale.small, N_FEW);
	hold(&many, &scale.large, N_FEW); /* what everybody needs, it has by now */
	before_bytes = dut_rss_bytes(&scale.large.house.dut);
	for (unsigned i = N_FEW; i < n_many; i += N_BATCH)
		lease_batch(&many);
	scale_tell_bytes(&bytes, before_bytes, dut_rss_bytes(&scale.large.house.dut), n_many - N_FEW,
			 GOAL_BYTES);
	scale_run(&scale, &time, "1,000 leases");
	raw_close(&many);
	raw_close(&few);
	scale_close(&scale);
}

/* bench_crowd.c - one page for a well-behaved tenant beside one that misbehaves, against the same page alone.
 *
 * Both are processes of their own, of two users. Each kind of misbehaviour has a daemon of its own; in each
 * round the one who misbehaves is started, the page is leased again and again, and it is killed. What is told
 * is the 99th percentile of the time until the page is there; one that was refused counts as long as it was
 * waited for.
 */
#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/bench.h"
#include "tests/bench/bench_house.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"

#define GOOD_UID    54321
#define BAD_UID     54322
#define PAGE        4096
#define MIB         (UINT64_C(1) << 20)
#define WAIT_MS     20000
#define HOUR_MS     (60 * 60 * 1000)
#define N_ROUNDS    3
#define MAX_SAMPLES 200000
#define MEASURED_NS UINT64_C(1000000000) /* so long one leases and frees */
#define BATCH       250

/* What is asked for is smaller by this where only is seen whether it works. */
static uint64_t scaled(uint64_t n)
{
	return bench_is_short() ? n / 16 : n;
}

struct crowd {
	const struct misbehaviour *what;
	struct house house;
	int ready[2]; /* of a round: the one who misbehaves is at it */
};

struct misbehaviour {
	struct bench_figure figure;
	const char *pool, *short_pool;
	void (*run)(const struct crowd *crowd); /* until it is killed */
};

/* ---- who behaves ---- */

struct samples {
	const struct crowd *crowd;
	int result_fd;
};

struct measured {
	double p99_us, p50_us;
	uint32_t n, n_refused;
};

static void measure(void *arg)
{
	const struct samples *samples = arg;
	static uint64_t times_ns[MAX_SAMPLES];
	struct measured measured = {0};
	const uint64_t end_ns = bench_now_ns() + (bench_is_short() ? MEASURED_NS / 50 : MEASURED_NS);
	hp_client *client;

	raw_check(hp_open(samples->crowd->house.dut.socket, &client) == 0, "open: %s", hp_error());
	while (measured.n < MAX_SAMPLES && (measured.n == 0 || bench_now_ns() < end_ns)) {
		const uint64_t asked_ns = bench_now_ns();
		hp_lease *lease = NULL;
		int r = hp_alloc(client, PAGE, &(struct hp_alloc_options){.wait_ms = WAIT_MS}, &lease);

		times_ns[measured.n++] = bench_now_ns() - asked_ns;
		measured.n_refused += r < 0;
		raw_check(hp_free(lease) == 0, "free: %s", hp_error());
	}
	measured.p99_us = bench_percentile_us(times_ns, measured.n, 99);
	measured.p50_us = bench_percentile_us(times_ns, measured.n, 50);
	raw_check(write(samples->result_fd, &measured, sizeof(measured)) == sizeof(measured), "write");
	hp_close(client);
}

static double measure_round(const struct crowd *crowd, const char *how)
{
	struct samples samples = {.crowd = crowd};
	struct measured measured;
	int result[2];
	pid_t pid;

	assert_int_equal(pipe(result), 0);
	samples.result_fd = result[1];
	pid = raw_fork(GOOD_UID, measure, &samples);
	close(result[1]); /* if it fails, there is nothing to read */
	assert_int_equal(read(result[0], &measured, sizeof(measured)), sizeof(measured));
	raw_join(pid);
	close(result[0]);
	bench_note("%s %s: p50 %.0f us, p99 %.0f us of %" PRIu32 " leases, %" PRIu32 " of them refused",
		   crowd->what->figure.name, how, measured.p50_us, measured.p99_us, measured.n,
		   measured.n_refused);
	return measured.p99_us;
}

/* ---- who does not ---- */

static void say_ready(const struct crowd *crowd)
{
	raw_check(write(crowd->ready[1], "", 1) == 1, "write");
}

static hp_client *open_client(const struct crowd *crowd)
{
	hp_client *client;

	raw_check(hp_open(crowd->house.dut.socket, &client) == 0, "open: %s", hp_error());
	return client;
}

static hp_lease *take(hp_client *client, uint64_t bytes, const struct hp_alloc_options *options)
{
	hp_lease *lease;

	raw_check(hp_alloc(client, bytes, options, &lease) == 0, "alloc: %s", hp_error());
	return lease;
}

/* Waits for more than there is left. */
static void wait_for_much(const struct crowd *crowd)
{
	hp_client *client = open_client(crowd);
	hp_lease *lease;

	take(client, scaled(184 * MIB),
	     &(struct hp_alloc_options){.flags = HP_REVOCABLE, .wait_ms = WAIT_MS});
	say_ready(crowd);
	hp_alloc(client, scaled(368 * MIB),
		 &(struct hp_alloc_options){.flags = HP_REVOCABLE, .wait_ms = HOUR_MS}, &lease);
	pause();
}

static void lease_and_free_much(const struct crowd *crowd)
{
	hp_client *client = open_client(crowd);

	for (bool is_first = true;; is_first = false) {
		hp_lease *lease =
			take(client, scaled(234 * MIB), &(struct hp_alloc_options){.wait_ms = WAIT_MS});

		raw_check(hp_free(lease) == 0, "free: %s", hp_error());
		if (is_first)
			say_ready(crowd);
	}
}

/* Holds something, and asks again and again for what passes its quota. */
static void ask_past_quota(const struct crowd *crowd)
{
	hp_client *client = open_client(crowd);
	hp_lease *lease;

	take(client, scaled(64 * MIB), &(struct hp_alloc_options){.wait_ms = WAIT_MS});
	say_ready(crowd);
	for (;;)
		raw_check(hp_alloc(client, scaled(200 * MIB), NULL, &lease) < 0, "it was not refused");
}

#define N_NAMES       58000
#define N_DEADLINES   2000
#define ENDS_AFTER_NS UINT64_C(2000000000)
#define SOON_NS       UINT64_C(20000000)

/* False: the daemon has no descriptors for another file. */
static bool make_name(hp_client *client, unsigned i, uint64_t lifetime_ms)
{
	hp_lease *lease;
	char name[32];
	int r;

	snprintf(name, sizeof(name), "crowd-%u", i);
	r = hp_alloc(client, PAGE,
		     &(struct hp_alloc_options){.name = name, .lifetime_ms = lifetime_ms, .wait_ms = WAIT_MS},
		     &lease);
	raw_check(r == 0 || lifetime_ms > 0, "alloc: %s", hp_error());
	return r == 0;
}

/* Names, and more names whose deadlines come all at once: it is at it just before. */
static void end_together(const struct crowd *crowd)
{
	hp_client *client = open_client(crowd);
	const unsigned n_names = (unsigned)scaled(N_NAMES), n_deadlines = (unsigned)scaled(N_DEADLINES);
	uint64_t end_ns, now_ns;
	unsigned i;

	for (i = 0; i < n_names; i++)
		make_name(client, i, 0);
	end_ns = bench_now_ns() + ENDS_AFTER_NS;
	for (i = 0; i < n_deadlines; i++) {
		now_ns = bench_now_ns();
		if (!make_name(client, n_names + i, end_ns > now_ns ? (end_ns - now_ns) / 1000000 + 1 : 1))
			break;
	}
	bench_note("%u names, and %u that end together", n_names, i);
	while (bench_now_ns() + SOON_NS < end_ns)
		wait_pause();
	say_ready(crowd);
	for (;;)
		pause();
}

#define N_LEASES 100000

static void ask_again(const struct crowd *crowd)
{
	uint64_t n_pages[BATCH], first_id;
	struct raw_request ask;
	struct raw raw;

	raw_open(&raw, &crowd->house.dut);
	raw_alloc(&raw, 1);
	first_id = raw.last_id;
	for (unsigned i = 0; i < BATCH; i++)
		n_pages[i] = 1;
	for (unsigned i = 0; i < scaled(N_LEASES); i += BATCH) {
		Hugepool__Reply *reply;

		raw_ask_alloc(&ask, 1);
		ask.alloc.n_pages = n_pages;
		ask.alloc.n_n_pages = BATCH;
		ask.alloc.wait_ms = WAIT_MS;
		reply = raw_call(&raw, &ask.request);
		raw_check(reply->alloc, "Alloc: %s", reply->error ? reply->error->message : "no reply");
		if (reply->alloc->n_new_arenas > 0)
			raw_say_received(&raw);
		raw_drop(reply);
	}
	say_ready(crowd);
	for (;;) {
		raw_ask_alloc(&ask, 1);
		ask.request.id = first_id;
		ask.request.again = true;
		raw_drop(raw_call(&raw, &ask.request));
	}
}

#define N_SESSIONS 16
#define N_WAITING  64 /* of each session */

/* Has all that it may have, and waits for more by many requests. */
static void wait_a_lot(const struct crowd *crowd)
{
	struct raw sessions[N_SESSIONS];
	struct raw_request ask;

	raw_open(&sessions[0], &crowd->house.dut);
	raw_alloc(&sessions[0], scaled(64 * MIB) / PAGE);
	for (unsigned i = 0; i < N_SESSIONS; i++) {
		if (i > 0)
			raw_open(&sessions[i], &crowd->house.dut);
		for (unsigned k = 0; k < N_WAITING - 2; k++) {
			raw_ask_alloc(&ask, 1);
			ask.alloc.wait_ms = HOUR_MS;
			raw_send(&sessions[i], &ask.request);
		}
	}
	say_ready(crowd);
	for (;;)
		pause();
}

/* ---- the contest ---- */

static void misbehave(void *arg)
{
	const struct crowd *crowd = arg;

	crowd->what->run(crowd);
}

/* Nothing of it is left. */
static void wait_until_gone(const struct house *house)
{
	const uint64_t deadline_ms = wait_now_ms() + WAIT_MAX_MS;

	for (;;) {
		const struct house_pages pages = house_pages(house);

		if (pages.leased + pages.dirty + pages.limbo == 0)
			return;
		assert_true(wait_now_ms() < deadline_ms);
		wait_pause();
	}
}

static void beside(void *arg, double *ret)
{
	struct crowd *crowd = arg;
	pid_t pid;
	char byte;

	assert_int_equal(pipe(crowd->ready), 0);
	pid = raw_fork(BAD_UID, misbehave, crowd);
	close(crowd->ready[1]);
	assert_int_equal(read(crowd->ready[0], &byte, 1), 1);
	close(crowd->ready[0]);
	ret[0] = measure_round(crowd, "beside");
	raw_kill(pid);
	wait_until_gone(&crowd->house);
}

static void alone(void *arg, double *ret)
{
	ret[0] = measure_round(arg, "alone");
}

#define FIGURE(word)                                                                                         \
	{                                                                                                    \
		.name = "crowd-" word, .unit = "us", .goal = BENCH_AT_MOST, .times = 3                       \
	}

static const struct misbehaviour misbehaviours[] = {
	{FIGURE("waiting"), "p=4K:512M,users=*", "p=4K:32M,users=*", wait_for_much},
	{FIGURE("churn"), "p=4K:512M,users=*", "p=4K:32M,users=*", lease_and_free_much},
	{FIGURE("quota"), "p=4K:512M,users=*,quota=250M", "p=4K:32M,users=*,quota=15M", ask_past_quota},
	{FIGURE("deadlines"), "p=4K:512M,users=*", "p=4K:32M,users=*", end_together},
	{FIGURE("again"), "p=4K:512M,users=*", "p=4K:32M,users=*", ask_again},
	{FIGURE("requests"), "p=4K:512M,users=*,quota=64M", "p=4K:32M,users=*,quota=4M", wait_a_lot},
};

static void contest(const struct misbehaviour *what)
{
	struct crowd crowd = {.what = what};
	const struct bench_contest contest = {
		.peer_name = "alone",
		.figures = &what->figure,
		.n_figures = 1,
		.n_rounds = N_ROUNDS,
		.ours = beside,
		.peer = alone,
	};

	house_open(&crowd.house,
		   DUT_WORDS("--workers", "2", "--pool", bench_is_short() ? what->short_pool : what->pool));
	bench_run_contest(&contest, &crowd);
	house_close(&crowd.house);
}

void bench_crowd(void)
{
	if (geteuid() != 0) {
		bench_skip("crowd", "not root: there are no two users");
		return;
	}
	for (size_t i = 0; i < sizeof(misbehaviours) / sizeof(misbehaviours[0]); i++)
		contest(&misbehaviours[i]);
}

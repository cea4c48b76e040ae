/* system_kept.c - what clients make the daemon keep is bounded by user, however many sessions they have; it
 * is gone with them, and others have theirs. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/raw.h"

#define POOL_PAGES   16
#define N_SESSIONS   20
#define N_REQUESTS   64   /* of each: more are not read while these wait */
#define USER_WAITING 1024 /* that one user may have */
#define N_REFUSED    (N_SESSIONS * N_REQUESTS - USER_WAITING)
#define WAIT_MS      (60 * 60 * 1000)
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define GROWTH_MAX                                                                                           \
	(UINT64_C(64) << 20) /* with shadows of what is allocated, and a quarantine of what is freed */
#else
#define GROWTH_MAX (UINT64_C(8) << 20)
#endif
#define OTHER_UID 12345

#define N_PARTS    160 /* requests that do not come to their ends, each of a session */
#define USER_PARTS (USER_INPUT / (FRAME_HEADER_BYTES + FRAME_MAX_BYTES))
#define USER_INPUT (UINT64_C(8) << 20) /* bytes of these that one user may have */

static struct dut dut;
static int told[2]; /* the child has done its part */

static int setup(void **state)
{
	dut_start(&dut, DUT_WORDS("--workers", "2", "--pool", "p=4K:64K,users=*"));
	assert_int_equal(pipe(told), 0);
	return 0;
}

static int teardown(void **state)
{
	close(told[0]);
	close(told[1]);
	return dut_kill_all(NULL);
}

static void ask_and_wait(struct raw *raw)
{
	struct raw_request ask;

	for (unsigned i = 0; i < N_REQUESTS; i++) {
		raw_ask_alloc(&ask, 1);
		ask.alloc.wait_ms = WAIT_MS;
		raw_send(raw, &ask.request);
	}
}

/* Ask for more than there is, in all sessions; say so when as many as that were refused; stay. */
static void hoard(void *arg)
{
	struct raw sessions[N_SESSIONS];
	unsigned n_refused = 0;
	uint64_t deadline_ms = dut_now_ms() + 60000;

	for (unsigned i = 0; i < N_SESSIONS; i++) {
		raw_open(&sessions[i], &dut);
		ask_and_wait(&sessions[i]);
	}
	while (n_refused < N_REFUSED) {
		for (unsigned i = 0; i < N_SESSIONS; i++)
			for (; !raw_is_silent(&sessions[i], 0); n_refused++)
				raw_receive_error(&sessions[i], HUGEPOOL__CODE__TOO_MANY,
						  "one user may have 1024 waiting requests");
		raw_check(dut_now_ms() < deadline_ms, "only %u of %u refused", n_refused, N_REFUSED);
		dut_pause();
	}
	for (unsigned i = 0; i < N_SESSIONS; i++)
		raw_check(raw_is_silent(&sessions[i], 0), "more were refused than must be");
	raw_check(write(told[1], "", 1) == 1, "write");
	for (;;)
		pause();
}

static void wait_until_told(void)
{
	char byte;

	assert_int_equal(read(told[0], &byte, 1), 1);
}

/* But for the holder. */
static void wait_until_gone(void)
{
	uint64_t deadline_ms = dut_now_ms() + 60000;
	json_int_t n_sessions;

	do {
		json_t *status = dut_json(&dut, "status");

		n_sessions = json_integer_value(json_object_get(status, "sessions"));
		json_decref(status);
		assert_true(dut_now_ms() < deadline_ms);
	} while (n_sessions > 2); /* and who asks */
}

/* What somebody else asks for waits as it should, and is told that there was nothing. */
static void wait_in_vain(void *arg)
{
	struct raw raw;
	struct raw_request ask;

	raw_open(&raw, &dut);
	raw_ask_alloc(&ask, 1);
	ask.alloc.wait_ms = 10;
	raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__TIMED_OUT, "");
	raw_close(&raw);
}

static void kept_waiting_requests_are_bounded_by_user(void **state)
{
	struct raw holder;
	uint64_t before_bytes;
	pid_t child;

	raw_open(&holder, &dut);
	raw_alloc(&holder, POOL_PAGES);
	before_bytes = dut_rss_bytes(&dut);
	/* Twice: what the first one had is another's when that has died. */
	for (unsigned i = 0; i < 2; i++) {
		child = raw_fork(0, hoard, NULL);
		wait_until_told();
		assert_in_range(dut_rss_bytes(&dut), 0, before_bytes + GROWTH_MAX);
		raw_kill(child);
		wait_until_gone();
	}
	raw_close(&holder);
	dut_stop(&dut);
}

static void kept_of_one_user_is_not_missing_to_another(void **state)
{
	struct raw holder;
	pid_t child;

	dut_need_root();
	raw_open(&holder, &dut);
	raw_alloc(&holder, POOL_PAGES);
	child = raw_fork(OTHER_UID, hoard, NULL);
	wait_until_told();
	raw_join(raw_fork(OTHER_UID + 1, wait_in_vain, NULL));
	raw_kill(child);
	raw_close(&holder);
	dut_stop(&dut);
}

/* ---- requests that do not come to their ends ---- */

/* Send the largest request but for its last byte, in all sessions; say so when as many as that were refused.
 */
static void send_parts(void *arg)
{
	static const uint8_t zeroes[FRAME_MAX_BYTES - 1];
	static struct raw sessions[N_PARTS];
	const uint64_t deadline_ms = dut_now_ms() + 60000;
	uint8_t header[FRAME_HEADER_BYTES];
	unsigned n_refused = 0;

	frame_header_put(header, &(struct frame_header){.length = FRAME_MAX_BYTES});
	for (unsigned i = 0; i < N_PARTS; i++)
		raw_open(&sessions[i], &dut);
	for (unsigned i = 0; i < N_PARTS; i++)
		raw_send_frame(&sessions[i], header, zeroes, sizeof(zeroes));
	while (n_refused < N_PARTS - USER_PARTS) {
		for (unsigned i = 0; i < N_PARTS; i++) {
			if (sessions[i].fd < 0 || raw_is_silent(&sessions[i], 0))
				continue;
			raw_receive_error(&sessions[i], HUGEPOOL__CODE__TOO_MANY,
					  "bytes of requests that have not come to their ends");
			raw_close(&sessions[i]);
			n_refused++;
		}
		raw_check(dut_now_ms() < deadline_ms, "only %u refused", n_refused);
		dut_pause();
	}
	raw_check(write(told[1], "", 1) == 1, "write");
	for (;;)
		pause();
}

/* A long request of somebody else's is read, and answered. */
static void send_long(void *arg)
{
	uint64_t n_pages[256];
	struct raw_request ask;
	struct raw raw;

	for (unsigned i = 0; i < 256; i++)
		n_pages[i] = UINT64_MAX;
	raw_open(&raw, &dut);
	raw_ask_alloc(&ask, 1);
	ask.alloc.n_pages = n_pages;
	ask.alloc.n_n_pages = 256;
	raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__BAD_SIZE, "");
	raw_close(&raw);
}

static void kept_parts_of_requests_are_bounded_by_user(void **state)
{
	uint64_t before_bytes;
	pid_t child;

	dut_need_root();
	before_bytes = dut_rss_bytes(&dut);
	child = raw_fork(OTHER_UID, send_parts, NULL);
	wait_until_told();
	/* The sessions themselves take some, too. */
	assert_in_range(dut_rss_bytes(&dut), 0, before_bytes + USER_INPUT + GROWTH_MAX);
	raw_join(raw_fork(OTHER_UID + 1, send_long, NULL));
	raw_kill(child);
	dut_stop(&dut);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(kept_waiting_requests_are_bounded_by_user),
		TEST(kept_of_one_user_is_not_missing_to_another),
		TEST(kept_parts_of_requests_are_bounded_by_user),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

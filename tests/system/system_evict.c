/* system_evict.c - Revoke and Evict answer when it has happened: the file is empty and the kernel has its
 * pages, however much the janitor has to do before. The holder's own descriptor says so, in the moment of the
 * answer.
 */
#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/hugetlb.h"
#include "tests/support/raw.h"

#define PAGE       UINT64_C(4096)
#define HUGE_PAGE  (UINT64_C(2) << 20)
#define N_BURDENS  4
#define BURDEN     (UINT64_C(24) << 20) /* the janitor has some milliseconds with each */
#define N_ROUNDS   5
#define HUGE_PAGES 4

struct scene {
	struct dut dut;
	hp_client *client;
	struct raw raw; /* which asks for the end of leases */
};

static struct scene scene;

static void start(const char *pool)
{
	dut_start(&scene.dut, DUT_WORDS("--workers", "2", "--pool", pool, "--pool", "burdens=4K:128M"));
	assert_int_equal(hp_open(scene.dut.socket, &scene.client), 0);
	raw_open(&scene.raw, &scene.dut);
}

static void stop(void)
{
	raw_close(&scene.raw);
	scene.client = hp_close(scene.client);
	dut_stop(&scene.dut);
}

static int teardown(void **state)
{
	hugetlb_unlock();
	return dut_kill_all(NULL);
}

static hp_lease *lease(uint64_t bytes, const struct hp_alloc_options *options)
{
	hp_lease *got;

	if (hp_alloc(scene.client, bytes, options, &got) < 0)
		fail_msg("alloc: %s", hp_error());
	return got;
}

static int fd_of(const hp_lease *of)
{
	uint64_t offset, bytes;
	int fd = hp_lease_dup_fd(of, 0, &offset, &bytes);

	assert_true(fd >= 0);
	return fd;
}

static void burden_janitor(void)
{
	hp_lease *burdens[N_BURDENS];

	for (unsigned i = 0; i < N_BURDENS; i++)
		burdens[i] =
			lease(BURDEN, &(struct hp_alloc_options){
					      .pool = "burdens", .flags = HP_REVOCABLE, .wait_ms = 60000});
	for (unsigned i = 0; i < N_BURDENS; i++)
		assert_int_equal(hp_free(burdens[i]), 0);
}

static struct stat stat_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st;
}

static void expect_empty(int fd)
{
	const struct stat st = stat_of(fd);

	assert_int_equal(st.st_size, 0);
	assert_int_equal(st.st_blocks, 0);
}

static void revoke_lease(uint64_t id)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Revoke ask = HUGEPOOL__REVOKE__INIT;
	Hugepool__Reply *reply;

	ask.lease = id;
	request.method_case = HUGEPOOL__REQUEST__METHOD_REVOKE;
	request.revoke = &ask;
	reply = raw_call(&scene.raw, &request);
	assert_int_equal(reply->result_case, HUGEPOOL__REPLY__RESULT_REVOKE);
	raw_drop(reply);
}

static uint64_t evict_arena(uint64_t arena)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Evict ask = HUGEPOOL__EVICT__INIT;
	Hugepool__Reply *reply;
	uint64_t n;

	ask.arena = arena;
	request.method_case = HUGEPOOL__REQUEST__METHOD_EVICT;
	request.evict = &ask;
	reply = raw_call(&scene.raw, &request);
	assert_int_equal(reply->result_case, HUGEPOOL__REPLY__RESULT_EVICT);
	n = reply->evict->leases;
	raw_drop(reply);
	return n;
}

static uint64_t arena_of(uint64_t id)
{
	json_t *leases = dut_json(&scene.dut, "leases"), *row;
	uint64_t arena = 0;
	size_t i;

	json_array_foreach (json_object_get(leases, "leases"), i, row)
		if ((uint64_t)json_integer_value(json_object_get(row, "lease")) == id)
			arena = (uint64_t)json_integer_value(json_object_get(row, "arena"));
	json_decref(leases);
	assert_true(arena > 0);
	return arena;
}

static void evict_answers_revoke_when_the_memory_is_gone(void **state)
{
	start("p=4K:128M");
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		hp_lease *target = lease(i < 3 ? 8 * PAGE : BURDEN, &(struct hp_alloc_options){
									    .flags = HP_REVOCABLE,
									    .name = i % 2 ? "named" : NULL,
								    });
		int fd = fd_of(target);

		assert_int_equal(stat_of(fd).st_size, hp_lease_bytes(target));
		burden_janitor();
		revoke_lease(hp_lease_id(target));
		expect_empty(fd);
		/* Once more, that is over. */
		revoke_lease(hp_lease_id(target));
		close(fd);
		hp_free(target);
	}
	stop();
}

static void note_event(void *arg, const struct hp_event *event)
{
	*(uint64_t *)arg = event->lease_id;
}

/* Nor is the holder told before. */
static void evict_tells_the_holder_when_the_memory_is_gone(void **state)
{
	uint64_t told = 0, deadline_ms = dut_now_ms() + 60000;
	hp_lease *target;
	int fd;

	start("p=4K:32M");
	assert_int_equal(hp_subscribe(scene.client, HP_EVENT_REVOKED, note_event, &told), 0);
	target = lease(8 * PAGE, &(struct hp_alloc_options){.lifetime_ms = 300});
	fd = fd_of(target);
	while (told == 0) {
		burden_janitor();
		assert_true(hp_dispatch(scene.client) >= 0);
		assert_true(dut_now_ms() < deadline_ms);
	}
	assert_true(told == hp_lease_id(target));
	expect_empty(fd);
	close(fd);
	hp_free(target);
	stop();
}

/* One that is evicted already, and not gone: who asks for it as well waits as well. */
static void evict_answers_the_second_one_not_before(void **state)
{
	start("p=4K:32M");
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		hp_lease *target = lease(8 * PAGE, &(struct hp_alloc_options){.flags = HP_REVOCABLE});
		const uint64_t id = hp_lease_id(target);
		int fd = fd_of(target);

		burden_janitor();
		assert_int_equal(hp_free(target), 0);
		revoke_lease(id);
		expect_empty(fd);
		close(fd);
	}
	stop();
}

static void evict_answers_evict_when_the_memory_is_gone(void **state)
{
	start("p=4K:32M,arena=4M");
	for (unsigned i = 0; i < N_ROUNDS; i++) {
		hp_lease *target = lease(8 * PAGE, NULL), *freed = lease(PAGE, NULL);
		const uint64_t arena = arena_of(hp_lease_id(target));
		int fd = fd_of(target);

		assert_true(stat_of(fd).st_blocks > 0);
		/* Its pages are in a cache, or with the scrubber. */
		assert_int_equal(hp_free(freed), 0);
		burden_janitor();
		assert_int_equal(evict_arena(arena), 1);
		expect_empty(fd);
		close(fd);
		hp_free(target);
	}
	stop();
}

/* An Alloc that waits has got one of its items from the arena already. */
static void evict_does_not_wait_for_those_who_wait(void **state)
{
	uint64_t n_pages[2] = {1, 4096}; /* a few more than are left */
	struct raw waiting;
	struct raw_request ask;
	hp_lease *target, *rest;
	uint64_t arena;
	int fd;

	start("p=4K:32M,arena=4M");
	target = lease(8 * PAGE, NULL);
	rest = lease(16 << 20, &(struct hp_alloc_options){.flags = HP_REVOCABLE});
	arena = arena_of(hp_lease_id(target));
	fd = fd_of(target);
	raw_open(&waiting, &scene.dut);
	raw_ask_alloc(&ask, 1);
	ask.alloc.n_pages = n_pages;
	ask.alloc.n_n_pages = 2;
	ask.alloc.wait_ms = 60 * 60 * 1000;
	raw_send(&waiting, &ask.request);
	dut_wait_pool(&scene.dut, "p", "pages_leased", (int64_t)(8 + 1 + (16 << 20) / PAGE));
	assert_int_equal(evict_arena(arena), 1);
	expect_empty(fd);
	close(fd);
	hp_free(target);
	hp_free(rest);
	raw_close(&waiting);
	stop();
}

static void evict_gives_hugepages_back_before_it_answers(void **state)
{
	hp_lease *target;
	uint64_t before;

	hugetlb_need(HUGE_PAGE, HUGE_PAGES);
	start("p=2M:8M,grow=no");
	target = lease(HUGE_PAGES * HUGE_PAGE, &(struct hp_alloc_options){.flags = HP_REVOCABLE});
	memset(hp_lease_data(target), 1, HUGE_PAGES * HUGE_PAGE);
	before = hugetlb_counts(HUGE_PAGE).free;
	burden_janitor();
	revoke_lease(hp_lease_id(target));
	assert_int_equal(hugetlb_counts(HUGE_PAGE).free, before + HUGE_PAGES);
	hp_free(target);
	stop();
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, NULL, teardown)
	const struct CMUnitTest tests[] = {
		TEST(evict_answers_revoke_when_the_memory_is_gone),
		TEST(evict_answers_the_second_one_not_before),
		TEST(evict_tells_the_holder_when_the_memory_is_gone),
		TEST(evict_answers_evict_when_the_memory_is_gone),
		TEST(evict_does_not_wait_for_those_who_wait),
		TEST(evict_gives_hugepages_back_before_it_answers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

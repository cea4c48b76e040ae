/* test_lease_batch.c - Allocs that have to wait, in one thread: the test says what happens meanwhile. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/house.h"

#define MAX_PAGES   1024
#define ARENA_PAGES 256

static enum lease_result result;

static int lease_setup(void **state)
{
	static struct house house;

	house_init(&house, MAX_PAGES, ARENA_PAGES, 0, MAX_PAGES);
	*state = &house;
	return 0;
}

static int lease_teardown(void **state)
{
	house_fini(*state);
	return 0;
}

static void arrived(struct lease_alloc *alloc, enum lease_result how)
{
	result = how;
}

/* Start a batch whose first item is there, in pages that a lease had before, and whose second one has to
 * wait. */
static void start_batch(struct house *house, struct session *session, struct lease_alloc *alloc)
{
	uint64_t id;

	assert_int_equal(house_alloc(house, session, 8, &id), LEASE_OK);
	assert_int_equal(lease_free(session, id, true), LEASE_OK);
	shard_flush_freed(session->shard);
	house_settle(house);
	*alloc = (struct lease_alloc){
		.request = {.session = session, .request_id = UINT32_MAX},
		.want = {.max_runs = 1, .node = -1},
		.n_items = 2,
		.items = {{.n_pages = 8}, {.n_pages = ARENA_PAGES}},
		.done = arrived,
	};
	result = LEASE_WAIT;
	assert_int_equal(lease_alloc_start(alloc), LEASE_WAIT);
	assert_int_equal(alloc->failed_pages, ARENA_PAGES);
	lease_alloc_wait(alloc);
}

static uint64_t leased_pages(struct house *house)
{
	struct pool_figures figures;

	pool_get_figures(house->pools[0], &figures);
	return figures.zones.leased;
}

static void lease_batch_is_leased_when_all_of_it_is_there(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	struct lease_alloc alloc;

	start_batch(house, session, &alloc);
	assert_int_equal(session->n_leases, 0);
	house_settle(house);
	assert_int_equal(result, LEASE_OK);
	assert_int_equal(session->n_leases, 2);
	assert_int_equal(session->n_pages, 8 + ARENA_PAGES);
	house_end_session(house, session);
}

static void lease_batch_that_waits_ends_with_its_holder(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000), *other = house_session(house, 0, 1000);
	struct lease_alloc alloc;
	uint64_t id;

	start_batch(house, session, &alloc);
	session_set_connection(session, NULL, NULL);
	assert_false(session_end(session, &(uint64_t){100}));
	/* Where the batch's records would have been. */
	assert_int_equal(house_alloc(house, other, 8, &id), LEASE_OK);
	house_settle(house);
	assert_int_equal(result, LEASE_SESSION_ENDED);
	assert_true(session_end(session, &(uint64_t){100}));
	session_free(session);
	assert_int_equal(other->n_leases, 1);
	assert_int_equal(leased_pages(house), 8);
	house_end_session(house, other);
}

static void lease_batch_that_is_refused_leaves_nothing(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000), *other = house_session(house, 0, 2000);
	struct lease_alloc alloc;
	uint64_t id;

	for (unsigned i = 0; i < MAX_PAGES / ARENA_PAGES - 1; i++)
		assert_int_equal(house_alloc(house, other, ARENA_PAGES, &id), LEASE_OK);
	start_batch(house, session, &alloc);
	house_settle(house);
	assert_int_equal(result, LEASE_POOL_FULL);
	assert_int_equal(alloc.failed_pages, ARENA_PAGES);
	assert_int_equal(session->n_leases, 0);
	assert_int_equal(leased_pages(house), MAX_PAGES - ARENA_PAGES);
	house_end_session(house, session);
	house_end_session(house, other);
}

/* What a batch keeps while it waits is in no record, so no eviction finds it: it is taken anew. */
static void lease_batch_keeps_nothing_of_an_evicted_arena(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	struct lease_alloc alloc;
	struct zone *zone;
	uint64_t arena;

	start_batch(house, session, &alloc);
	arena = pool_arena(house->pools[0], run_slot(lease_alloc_runs(&alloc)[0]))->id;
	assert_int_equal(pool_condemn_arena(house->pools[0], arena, &zone, &(uint32_t){0}), 0);
	pool_zone_unref(zone);
	house_settle(house);
	assert_int_equal(result, LEASE_OK);
	assert_int_not_equal(alloc.items[0].record->arena, arena);
	assert_int_not_equal(alloc.items[1].record->arena, arena);
	house_end_session(house, session);
}

/* What is asked again is found, or not, without a look at the session's other leases. */
static void lease_batch_asked_again_visits_only_its_own(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	struct lease_alloc alloc = {
		.want = {.max_runs = 1, .node = -1}, .n_items = 2, .items = {{.n_pages = 1}, {.n_pages = 2}}};
	uint64_t before, ids[2], other;

	alloc.request = (struct lease_request){.session = session, .request_id = 77};
	assert_int_equal(lease_alloc_start(&alloc), LEASE_WAIT); /* there is no arena yet */
	lease_alloc_unwind(&alloc);
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(house_alloc(house, session, 1, &other), LEASE_OK);
	assert_int_equal(lease_alloc_start(&alloc), LEASE_OK);
	for (unsigned i = 0; i < 2; i++)
		ids[i] = alloc.items[i].record->id;
	for (unsigned i = 0; i < 500; i++)
		assert_int_equal(house_alloc(house, session, 1, &other), LEASE_OK);
	before = session->shard->asked.n_visited;
	assert_true(lease_alloc_find_again(&alloc));
	assert_int_equal(alloc.items[0].record->id, ids[0]);
	assert_int_equal(alloc.items[1].record->id, ids[1]);
	alloc.request.request_id = 78;
	assert_false(lease_alloc_find_again(&alloc));
	assert_in_range(session->shard->asked.n_visited - before, 0, 64);
	house_end_session(house, session);
}

/* A slice of a session's end counts the runs of its leases. */
static void lease_of_many_runs_fills_a_slice_of_the_end(void **state)
{
	static const struct lease_alloc scattered = {.want = {.max_runs = 8, .node = -1}};
	static uint64_t ids[MAX_PAGES / 2];
	struct house *house = *state;
	struct session *other = house_session(house, 0, 1000), *session = house_session(house, 0, 1000);
	uint64_t id, left = 5;

	/* Nothing is left but holes of two pages. */
	for (unsigned i = 0; i < MAX_PAGES / 2; i++)
		assert_int_equal(house_alloc(house, other, 2, &ids[i]), LEASE_OK);
	for (unsigned i = 0; i < 24; i += 2)
		assert_int_equal(lease_free(other, ids[i], true), LEASE_OK);
	shard_flush_freed(other->shard);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(house_alloc_like(house, session, 8, &scattered, &id), LEASE_OK);
	session_set_connection(session, NULL, NULL);
	assert_false(session_end(session, &left));
	assert_int_equal(left, 0);
	assert_int_equal(session->n_leases, 2);
	left = 100;
	assert_true(session_end(session, &left));
	assert_int_equal(left, 90);
	session_free(session);
	house_end_session(house, other);
}

/* One that waits takes room for its items and their runs, and is charged to its user. */
static void lease_batch_that_waits_is_charged_for_what_it_is(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	struct lease_alloc alloc = {.want = {.max_runs = 4, .node = -1}}, *kept;
	enum account_kind kind;
	size_t small, large;

	alloc.request.session = session;
	alloc.n_items = 1;
	alloc.items[0].n_pages = 1;
	assert_int_equal(lease_alloc_keep(&alloc, 0, &kept, &kind), 0);
	small = kept->request.kept_bytes;
	assert_int_equal(account_used(session->account, ACCOUNT_WAITING), 1);
	assert_int_equal(account_used(session->account, ACCOUNT_BYTES), small);
	lease_alloc_release(kept);
	alloc.n_items = LEASE_MAX_BATCH;
	for (unsigned i = 0; i < LEASE_MAX_BATCH; i++)
		alloc.items[i].n_pages = 8;
	assert_int_equal(lease_alloc_keep(&alloc, 0, &kept, &kind), 0);
	large = kept->request.kept_bytes;
	lease_alloc_release(kept);
	assert_int_equal(account_used(session->account, ACCOUNT_WAITING), 0);
	assert_int_equal(account_used(session->account, ACCOUNT_BYTES), 0);
	assert_in_range(small, 1, 2048);
	assert_int_equal(large - small, (LEASE_MAX_BATCH - 1) * sizeof(alloc.items[0]) +
						(LEASE_MAX_RUNS - 1) * sizeof(struct run));
	house_end_session(house, session);
}

int main(void)
{
#define LEASE_TEST(name) cmocka_unit_test_setup_teardown(name, lease_setup, lease_teardown)
	const struct CMUnitTest tests[] = {
		LEASE_TEST(lease_batch_is_leased_when_all_of_it_is_there),
		LEASE_TEST(lease_batch_that_waits_ends_with_its_holder),
		LEASE_TEST(lease_batch_that_is_refused_leaves_nothing),
		LEASE_TEST(lease_batch_keeps_nothing_of_an_evicted_arena),
		LEASE_TEST(lease_batch_asked_again_visits_only_its_own),
		LEASE_TEST(lease_of_many_runs_fills_a_slice_of_the_end),
		LEASE_TEST(lease_batch_that_waits_is_charged_for_what_it_is),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

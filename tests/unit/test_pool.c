/* test_pool.c - zones, stock, scrubber and stocker together, in one thread. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/lease/audit.h"
#include "tests/support/house.h"
#include "tests/support/hugetlb.h"
#include "tests/support/wait.h"

#define MAX_PAGES   1024
#define ARENA_PAGES 256
#define HUGE_BYTES  (UINT64_C(2) << 20)
#define N_HUGE      2

static struct pool_figures figures_of(struct house *house)
{
	struct pool_figures figures;

	pool_get_figures(house->pools[0], &figures);
	return figures;
}

static int pool_setup(void **state)
{
	static struct house house;

	house_init(&house, MAX_PAGES, ARENA_PAGES, 0, MAX_PAGES);
	*state = &house;
	return 0;
}

static int reserve_setup(void **state)
{
	static struct house house;

	house_init(&house, MAX_PAGES, ARENA_PAGES, 512, MAX_PAGES);
	*state = &house;
	return 0;
}

static int quota_setup(void **state)
{
	static struct house house;

	house_init(&house, MAX_PAGES, ARENA_PAGES, 0, 100);
	*state = &house;
	return 0;
}

static int pool_teardown(void **state)
{
	house_fini(*state);
	return 0;
}

static void stamp(struct house *house, const struct lease_record *record)
{
	const struct arena *arena = pool_arena(house->pools[0], (uint32_t)(record->address >> 32));
	uint64_t first = (uint32_t)record->address;

	for (uint64_t page = first; page < first + record->n_pages; page++)
		assert_int_equal(pwrite(backing_file_fd(arena->file), "dirt", 4, (off_t)(page * 4096 + 8)),
				 4);
}

static bool is_zero(struct house *house, const struct lease_record *record)
{
	static const uint8_t zeros[4096];
	const struct arena *arena = pool_arena(house->pools[0], (uint32_t)(record->address >> 32));
	uint64_t first = (uint32_t)record->address;
	uint8_t page_bytes[4096];

	for (uint64_t page = first; page < first + record->n_pages; page++) {
		assert_int_equal(backing_file_read(arena->file, page * 4096, page_bytes, 4096), 0);
		if (memcmp(page_bytes, zeros, 4096) != 0)
			return false;
	}
	return true;
}

static void pool_without_reserve_backs_nothing_until_asked(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t id;

	assert_int_equal(figures_of(house).backed, 0);
	assert_int_equal(house_alloc(house, session, 10, &id), LEASE_OK);
	assert_int_equal(figures_of(house).backed, ARENA_PAGES);
	assert_int_equal(figures_of(house).zones.leased, 10);
	house_end_session(house, session);
}

static void pool_freed_pages_are_zero_when_granted_again(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t id;

	for (unsigned round = 0; round < 20; round++) {
		/* the whole pool, so that every page comes round */
		assert_int_equal(house_alloc(house, session, ARENA_PAGES, &id), LEASE_OK);
		assert_true(is_zero(house, house_record(house, id)));
		stamp(house, house_record(house, id));
		assert_int_equal(lease_free(session, id, true), LEASE_OK);
	}
	house_settle(house);
	assert_int_equal(atomic_load(&house->pools[0]->scrubbed_pages), 20 * ARENA_PAGES);
	house_end_session(house, session);
}

static void pool_full_is_refused_and_leaves_nothing(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t id, other;

	assert_int_equal(house_alloc(house, session, MAX_PAGES, &id), LEASE_OK);
	assert_int_equal(house_alloc(house, session, 1, &other), LEASE_POOL_FULL);
	assert_int_equal(house_alloc(house, session, MAX_PAGES + 1, &other), LEASE_BAD_SIZE);
	assert_int_equal(house_alloc(house, session, 0, &other), LEASE_BAD_SIZE);
	assert_int_equal(figures_of(house).zones.leased, MAX_PAGES);
	assert_int_equal(lease_free(session, id, true), LEASE_OK);
	assert_int_equal(house_alloc(house, session, MAX_PAGES, &id), LEASE_OK);
	house_end_session(house, session);
}

static void pool_full_of_another_tenant_is_full(void **state)
{
	struct house *house = *state;
	struct session *one = house_session(house, 0, 1000), *two = house_session(house, 1, 1001);
	uint64_t id, other;

	assert_int_equal(house_alloc(house, one, MAX_PAGES, &id), LEASE_OK);
	assert_int_equal(house_alloc(house, two, 1, &other), LEASE_POOL_FULL);
	/* and has everything when the other is done: through the kernel */
	assert_int_equal(lease_free(one, id, true), LEASE_OK);
	assert_int_equal(house_alloc(house, two, MAX_PAGES, &other), LEASE_OK);
	assert_true(is_zero(house, house_record(house, other)));
	house_end_session(house, one);
	house_end_session(house, two);
}

static void pool_pages_in_another_workers_cache_are_found(void **state)
{
	struct house *house = *state;
	struct session *one = house_session(house, 0, 1000), *two = house_session(house, 1, 1000);
	uint64_t ids[MAX_PAGES], id;
	unsigned n;

	for (n = 0; n < MAX_PAGES; n++)
		assert_int_equal(house_alloc(house, one, 1, &ids[n]), LEASE_OK);
	for (n = 0; n < MAX_PAGES; n++)
		assert_int_equal(lease_free(one, ids[n], true), LEASE_OK);
	assert_true(figures_of(house).zones.cached > 0);
	assert_int_equal(house_alloc(house, two, ARENA_PAGES, &id), LEASE_OK);
	house_end_session(house, one);
	house_end_session(house, two);
}

/* What this worker has freed of one length is room for another length before pages are used that never were.
 */
static void pool_cached_pages_are_room_before_unused_pages(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	struct want want = {.n_pages = 1, .align_pages = 1, .max_runs = 1, .node = -1};
	struct run_list runs[20];
	struct zone *zone;
	uint64_t id;

	assert_int_equal(house_alloc(house, session, 1, &id), LEASE_OK);
	zone = session->zones[0].zone;
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(zone_take(zone, 0, &want, &runs[i]), 0);
	for (unsigned i = 0; i < 20; i++)
		zone_put_clean(zone, 0, runs[i].runs[0]);
	want.n_pages = 17;
	assert_int_equal(zone_take(zone, 0, &want, &runs[0]), 0);
	assert_in_range(run_first(runs[0].runs[0]), 0, 24 - 17);
	zone_put_clean(zone, 0, runs[0].runs[0]);
	house_end_session(house, session);
}

static void pool_tenants_never_share_an_arena(void **state)
{
	struct house *house = *state;
	struct session *one = house_session(house, 0, 1000), *two = house_session(house, 0, 1001);
	uint64_t id, other;

	assert_int_equal(house_alloc(house, one, 1, &id), LEASE_OK);
	assert_int_equal(house_alloc(house, two, 1, &other), LEASE_OK);
	assert_int_not_equal(house_record(house, id)->arena, house_record(house, other)->arena);
	house_end_session(house, one);
	house_end_session(house, two);
}

static void pool_empty_arena_is_given_back_after_decay(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t id;

	assert_int_equal(house_alloc(house, session, 700, &id), LEASE_OK);
	assert_true(figures_of(house).backed >= 700);
	assert_int_equal(lease_free(session, id, true), LEASE_OK);
	for (unsigned i = 0; i < 4; i++)
		house_tick(house);
	assert_int_equal(figures_of(house).backed, 0);
	house_end_session(house, session);
}

static void pool_reserve_is_backed_from_the_start_and_kept(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t id;

	assert_int_equal(figures_of(house).backed, 512);
	assert_int_equal(figures_of(house).stock, 512);
	assert_int_equal(house_alloc(house, session, 800, &id), LEASE_POOL_FULL);
	assert_int_equal(house_alloc(house, session, 512, &id), LEASE_OK);
	assert_int_equal(lease_free(session, id, true), LEASE_OK);
	for (unsigned i = 0; i < 4; i++)
		house_tick(house);
	assert_true(figures_of(house).backed >= 512);
	house_end_session(house, session);
}

/* ---- the stock ---- */

#define STOCK_PAGES 512 /* two arenas: refilled when one is left */

static int stock_setup(void **state)
{
	static struct house house;

	house_init(&house, MAX_PAGES, ARENA_PAGES, 0, MAX_PAGES);
	house.pools[0]->config.stock_pages = STOCK_PAGES;
	house_settle(&house);
	*state = &house;
	return 0;
}

static void pool_stock_is_filled_and_refilled_when_an_arena_was_taken(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t id;

	assert_int_equal(figures_of(house).stock, STOCK_PAGES);
	assert_int_equal(atomic_load(&house->pools[0]->stocked_pages), STOCK_PAGES);
	assert_int_equal(house_alloc(house, session, 10, &id), LEASE_OK);
	house_settle(house);
	assert_int_equal(figures_of(house).stock, STOCK_PAGES);
	assert_int_equal(figures_of(house).backed, STOCK_PAGES + ARENA_PAGES);
	assert_int_equal(atomic_load(&house->pools[0]->stocked_pages), STOCK_PAGES + ARENA_PAGES);
	house_end_session(house, session);
}

static void pool_stock_never_passes_max(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t id;

	assert_int_equal(house_alloc(house, session, MAX_PAGES - ARENA_PAGES - 10, &id), LEASE_OK);
	house_settle(house);
	assert_true(figures_of(house).backed <= MAX_PAGES);
	assert_int_equal(lease_free(session, id, true), LEASE_OK);
	/* All that was the tenant's goes back; and then the stock is full again. */
	for (unsigned i = 0; i < 4; i++)
		house_tick(house);
	assert_int_equal(figures_of(house).backed, STOCK_PAGES);
	assert_int_equal(figures_of(house).stock, STOCK_PAGES);
	house_end_session(house, session);
}

static void pool_stock_above_its_mark_is_given_back(void **state)
{
	struct house *house = *state;

	house->pools[0]->config.stock_pages = ARENA_PAGES;
	house_tick(house);
	assert_int_equal(figures_of(house).stock, ARENA_PAGES);
	assert_int_equal(figures_of(house).backed, ARENA_PAGES);
}

static void pool_stock_of_a_drained_pool_stays_empty(void **state)
{
	struct house *house = *state;

	pool_drain(house->pools[0], true);
	house_tick(house);
	assert_int_equal(figures_of(house).backed, 0);
	pool_drain(house->pools[0], false);
	house_tick(house);
	assert_int_equal(figures_of(house).stock, STOCK_PAGES);
}

#define LARGE_MAX_PAGES 20000 /* an arena of many slices */

static int large_setup(void **state)
{
	static struct house house;

	house_init(&house, LARGE_MAX_PAGES, LARGE_MAX_PAGES, 0, LARGE_MAX_PAGES);
	house.pools[0]->config.stock_pages = LARGE_MAX_PAGES;
	mailbox_ring(&house.stocker.mailbox);
	stocker_step(&house.stocker);
	*state = &house;
	return 0;
}

static void pool_arena_in_the_making_counts_as_stock(void **state)
{
	struct house *house = *state;
	uint64_t slice_pages = construction_slice_pages(house->pools[0]);

	assert_int_equal(figures_of(house).stock, slice_pages);
	assert_int_equal(figures_of(house).backed, slice_pages);
	assert_int_equal(figures_of(house).arenas, 0);
	stocker_step(&house->stocker); /* without being rung */
	assert_int_equal(figures_of(house).stock, 2 * slice_pages);
	house_settle(house);
	assert_int_equal(figures_of(house).stock, LARGE_MAX_PAGES);
	assert_int_equal(figures_of(house).arenas, 1);
}

static void pool_arena_in_the_making_makes_way_for_who_asks(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t id;

	assert_int_equal(figures_of(house).arenas, 0);
	assert_int_equal(house_alloc(house, session, LARGE_MAX_PAGES, &id), LEASE_OK);
	assert_int_equal(figures_of(house).stock, 0);
	house_end_session(house, session);
}

static void pool_arena_in_the_making_is_forgotten_at_the_end(void **state)
{
	struct house *house = *state;

	assert_int_equal(figures_of(house).arenas, 0);
	pool_drain(house->pools[0], true);
}

static void pool_quota_counts_only_what_is_held(void **state)
{
	struct house *house = *state;
	struct session *one = house_session(house, 0, 1000), *two = house_session(house, 1, 1000);
	const struct lease_alloc patient = {.want = {.max_runs = 1, .node = -1}, .wait_ms = 3600 * 1000};
	uint64_t ids[100], id;

	/* every page of the quota, one by one, from two workers whose caches hold some of them on the way */
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(house_alloc(house, i % 2 ? one : two, 1, &ids[i]), LEASE_OK);
	assert_int_equal(house_alloc(house, one, 1, &id), LEASE_OVER_QUOTA);
	/* who would wait for what can never be is told so at once */
	assert_int_equal(house_alloc_like(house, one, 101, &patient, &id), LEASE_OVER_QUOTA);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(lease_free(i % 2 ? one : two, ids[i], true), LEASE_OK);
	assert_int_equal(house_alloc(house, two, 100, &id), LEASE_OK);
	house_end_session(house, one);
	house_end_session(house, two);
}

static void pool_arena_that_a_client_truncated_is_condemned(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	const struct arena *arena;
	uint64_t id, first_arena;

	assert_int_equal(house_alloc(house, session, 8, &id), LEASE_OK);
	first_arena = house_record(house, id)->arena;
	arena = pool_arena(house->pools[0], (uint32_t)(house_record(house, id)->address >> 32));
	assert_int_equal(ftruncate(backing_file_fd(arena->file), 0), 0);
	assert_int_equal(lease_free(session, id, true), LEASE_OK);
	shard_flush_freed(&house->shards[0]);
	house_settle(house);
	assert_int_equal(house_alloc(house, session, 20, &id), LEASE_OK);
	assert_int_not_equal(house_record(house, id)->arena, first_arena);
	assert_true(is_zero(house, house_record(house, id)));
	house_tick(house);
	house_tick(house);
	assert_true(figures_of(house).backed <= ARENA_PAGES);
	house_end_session(house, session);
}

struct asker {
	struct supply supply;
	bool is_answered;
};

static void answered(struct supply *supply)
{
	((struct asker *)supply)->is_answered = true;
}

static void ask(struct house *house, struct asker *asker, uid_t uid, uint64_t n_pages)
{
	const struct peer peer = {.uid = uid, .gid = uid};

	asker->supply.zone = pool_zone_get(house->pools[0], &peer);
	asker->supply.want = (struct want){.n_pages = n_pages, .align_pages = 1, .max_runs = 1, .node = -1};
	asker->supply.done = answered;
	supply_post(&asker->supply);
}

static void assert_served(const struct asker *asker)
{
	struct zone *zone = asker->supply.zone;

	assert_true(asker->is_answered);
	assert_int_equal(asker->supply.result, SUPPLY_GRANTED);
	zone_put_clean(zone, 0, asker->supply.runs.runs[0]);
	pool_zone_unref(zone);
}

static struct lease_record record_of(struct run run)
{
	return (struct lease_record){.address = run.address, .n_pages = run.n_pages};
}

/* What the stocker gave, no worker has ever taken: it is not unused for that. */
static void pool_pages_with_old_contents_are_not_taken_for_unused(void **state)
{
	struct house *house = *state;
	struct want want = {.n_pages = 1, .align_pages = 1, .max_runs = 1, .node = -1};
	struct asker low = {0}, high = {0};
	struct lease_record record;
	struct run_list runs;
	struct zone *zone;

	ask(house, &low, 1000, 20);
	ask(house, &high, 1000, 40);
	house_settle(house);
	assert_served(&low);
	zone = high.supply.zone;
	assert_int_equal(zone_take(zone, 0, &want, &runs), 0);
	zone_put_clean(zone, 0, runs.runs[0]);
	record = record_of(high.supply.runs.runs[0]);
	stamp(house, &record);
	zone_put(zone, 0, high.supply.runs.runs[0], true);
	want.n_pages = 40;
	want.no_zero = true;
	assert_int_equal(zone_take(zone, 0, &want, &runs), 0);
	want.n_pages = 20;
	want.no_zero = false;
	assert_int_equal(zone_take(zone, 0, &want, &low.supply.runs), 0);
	record = record_of(low.supply.runs.runs[0]);
	assert_true(is_zero(house, &record));
	zone_put(zone, 0, low.supply.runs.runs[0], true);
	zone_put(zone, 0, runs.runs[0], true);
	pool_zone_unref(zone);
}

/* With this many pages of user 1000 just freed, and not scrubbed yet. */
static void ask_twice(struct house *house, struct session *session, uint64_t n_freed, struct asker *one,
		      uid_t one_uid, struct asker *two, uid_t two_uid)
{
	uint64_t id;

	assert_int_equal(house_alloc(house, session, n_freed, &id), LEASE_OK);
	assert_int_equal(lease_free(session, id, true), LEASE_OK);
	ask(house, one, one_uid, ARENA_PAGES);
	ask(house, two, two_uid, ARENA_PAGES);
}

/* Nobody waits for more than what is under way. */
static void pool_room_that_others_give_up_is_for_all_who_ask(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	struct asker one = {0}, two = {0};

	ask_twice(house, session, MAX_PAGES, &one, 1001, &two, 1002);
	house_settle(house);
	assert_served(&one);
	assert_served(&two);
	house_end_session(house, session);
}

static void pool_who_waits_for_its_own_pages_is_in_nobodys_way(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	struct asker one = {0}, two = {0};

	ask_twice(house, session, ARENA_PAGES, &one, 1000, &two, 1001);
	/* all but the scrubber, for which the first one waits */
	for (unsigned i = 0; i < 10; i++) {
		mailbox_ring(&house->stocker.mailbox);
		stocker_step(&house->stocker);
		for (unsigned k = 0; k < HOUSE_WORKERS; k++)
			mailbox_deliver(&house->worker_boxes[k]);
	}
	assert_false(one.is_answered);
	assert_served(&two);
	house_settle(house);
	assert_served(&one);
	house_end_session(house, session);
}

static void pool_orphaned_pages_are_counted_and_not_reused(void **state)
{
	struct house *house = *state;
	struct session *one = house_session(house, 0, 1000), *two = house_session(house, 0, 1000);
	uint64_t id, other;

	assert_int_equal(house_alloc(house, one, 600, &id), LEASE_OK);
	session_set_connection(one, NULL, NULL);
	assert_int_equal(figures_of(house).zones.orphaned, 600);
	assert_int_equal(figures_of(house).zones.leased, 0);
	assert_int_equal(lease_state_of(&house->shards[0], house_record(house, id)), LEASE_ORPHANED);
	assert_int_equal(house_alloc(house, two, 600, &other), LEASE_POOL_FULL);
	session_set_connection(one, house, &one->holders[0]);
	assert_int_equal(figures_of(house).zones.orphaned, 0);
	assert_int_equal(figures_of(house).zones.leased, 600);
	house_end_session(house, one);
	assert_int_equal(house_alloc(house, two, 600, &other), LEASE_OK);
	house_end_session(house, two);
}

/* The janitor has truncated an arena of which a client pins a page, and the stocker does not know yet: the
 * page comes back, and the stocker asks for what is back, before it hears of the arena. */
static void pool_limbo_that_returns_at_once_is_not_forgotten(void **state)
{
	static struct house house;
	struct session *session;
	struct hugetlb_pinner pinner;
	struct hugetlb_counts before;
	struct arena *arena;
	uint64_t id;

	hugetlb_need(HUGE_BYTES, N_HUGE);
	before = hugetlb_counts(HUGE_BYTES);
	house_init_sized(&house, HUGE_BYTES, N_HUGE, N_HUGE, 0, N_HUGE);
	session = house_session(&house, 0, 1000);
	assert_int_equal(house_alloc(&house, session, 1, &id), LEASE_OK);
	arena = pool_arena(house.pools[0], (uint32_t)(house_record(&house, id)->address >> 32));
	atomic_store(&arena->exposed, true);
	assert_true(hugetlb_pin(backing_file_fd(arena->file), HUGE_BYTES, &pinner));
	assert_int_equal(lease_free(session, id, true), LEASE_OK);
	shard_flush_freed(&house.shards[0]);
	house_settle(&house);
	assert_int_equal(pool_release_empty(house.pools[0], session->zones[0].zone, UINT64_MAX), 1);
	mailbox_deliver(&house.janitor);
	assert_int_equal(hugetlb_counts(HUGE_BYTES).free, before.free - 1);
	hugetlb_unpin(&pinner);
	assert_true(wait_for(hugetlb_counts(HUGE_BYTES).free >= before.free));
	pool_settle_limbo(house.pools[0]);
	house_settle(&house);
	assert_int_equal(figures_of(&house).zones.limbo, 1);
	pool_settle_limbo(house.pools[0]);
	assert_int_equal(figures_of(&house).zones.limbo, 0);
	assert_int_equal(figures_of(&house).backed, 0);
	house_end_session(&house, session);
	house_fini(&house);
}

static int unlock(void **state)
{
	hugetlb_unlock();
	return 0;
}

/* Missing is what was promised and can be had nowhere; what `max` would allow beyond that is no promise. */
static void pool_misses_what_its_reserve_lacks_only(void **state)
{
	const uint64_t more_than_any_host = UINT64_C(1) << 40;
	struct pool_figures figures;
	struct house house;
	struct pool *pool;

	(void)state;
	house_init(&house, 256, 64, 64, 256);
	pool = house.pools[0];
	pool->config.max_pages = more_than_any_host;
	pool_refresh_missing(pool);
	pool_get_figures(pool, &figures);
	assert_int_equal(figures.missing, 0);
	pool->config.reserve_pages = more_than_any_host;
	pool_refresh_missing(pool);
	pool_get_figures(pool, &figures);
	assert_in_range(figures.missing, 1, more_than_any_host - figures.backed);
	pool->config.max_pages = 256;
	pool->config.reserve_pages = 64;
	pool_refresh_missing(pool);
	pool_get_figures(pool, &figures);
	assert_int_equal(figures.missing, 0);
	house_fini(&house);
}

int main(void)
{
#define POOL_TEST(name) cmocka_unit_test_setup_teardown(name, pool_setup, pool_teardown)
	const struct CMUnitTest tests[] = {
		POOL_TEST(pool_without_reserve_backs_nothing_until_asked),
		POOL_TEST(pool_freed_pages_are_zero_when_granted_again),
		POOL_TEST(pool_full_is_refused_and_leaves_nothing),
		POOL_TEST(pool_full_of_another_tenant_is_full),
		POOL_TEST(pool_pages_in_another_workers_cache_are_found),
		POOL_TEST(pool_cached_pages_are_room_before_unused_pages),
		POOL_TEST(pool_pages_with_old_contents_are_not_taken_for_unused),
		POOL_TEST(pool_tenants_never_share_an_arena),
		POOL_TEST(pool_empty_arena_is_given_back_after_decay),
#define STOCK_TEST(name) cmocka_unit_test_setup_teardown(name, stock_setup, pool_teardown)
		STOCK_TEST(pool_stock_is_filled_and_refilled_when_an_arena_was_taken),
		STOCK_TEST(pool_stock_never_passes_max),
		STOCK_TEST(pool_stock_above_its_mark_is_given_back),
		STOCK_TEST(pool_stock_of_a_drained_pool_stays_empty),
#define LARGE_TEST(name) cmocka_unit_test_setup_teardown(name, large_setup, pool_teardown)
		LARGE_TEST(pool_arena_in_the_making_counts_as_stock),
		LARGE_TEST(pool_arena_in_the_making_makes_way_for_who_asks),
		LARGE_TEST(pool_arena_in_the_making_is_forgotten_at_the_end),
		cmocka_unit_test_setup_teardown(pool_reserve_is_backed_from_the_start_and_kept, reserve_setup,
						pool_teardown),
		cmocka_unit_test_setup_teardown(pool_quota_counts_only_what_is_held, quota_setup,
						pool_teardown),
		POOL_TEST(pool_arena_that_a_client_truncated_is_condemned),
		POOL_TEST(pool_room_that_others_give_up_is_for_all_who_ask),
		POOL_TEST(pool_who_waits_for_its_own_pages_is_in_nobodys_way),
		POOL_TEST(pool_orphaned_pages_are_counted_and_not_reused),
		cmocka_unit_test_teardown(pool_limbo_that_returns_at_once_is_not_forgotten, unlock),
		cmocka_unit_test(pool_misses_what_its_reserve_lacks_only),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

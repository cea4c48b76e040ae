/* test_pool_work.c - what requests make the stocker do: counted, never timed.
 *
 * The stocker is driven by steps, in one thread; every count is one of struct pool_work.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/pool/drain.h"
#include "tests/support/hugetlb.h"
#include "tests/unit/pool_scene.h"

#define MAX_PAGES   1024
#define ARENA_PAGES 256
#define HOUR_NS     (3600 * NS_PER_S)
#define HUGE_BYTES  (UINT64_C(2) << 20)

static int setup(void **state, uint64_t max_pages, uint64_t arena_pages, uint64_t reserve_pages)
{
	static struct house house;

	house_init(&house, max_pages, arena_pages, reserve_pages, max_pages);
	*state = &house;
	return 0;
}

static int plain_setup(void **state)
{
	return setup(state, MAX_PAGES, ARENA_PAGES, 0);
}

static int reserve_setup(void **state)
{
	return setup(state, MAX_PAGES, ARENA_PAGES, MAX_PAGES / 2);
}

/* A pool that is its reserve, in 128 arenas: more than a lease can be made of. */
static int scattered_setup(void **state)
{
	return setup(state, 512, 4, 512);
}

static int teardown(void **state)
{
	house_fini(*state);
	return 0;
}

static int huge_teardown(void **state)
{
	hugetlb_unlock();
	return 0;
}

/* ---- one that waits ---- */

static void assert_idle_while_waiting(struct house *house, struct asker *waiting)
{
	const struct pool_work before = house->pools[0]->work;
	const struct pool_work *work = &house->pools[0]->work;

	for (unsigned i = 0; i < 20; i++)
		house_tick(house);
	assert_false(waiting->is_answered);
	assert_int_equal(work->n_makes, before.n_makes);
	assert_int_equal(work->n_reclaimed, before.n_reclaimed);
	assert_int_equal(work->n_cuts, before.n_cuts);
}

/* Another tenant's small lease is served at once beside it. */
static void work_waiting_request_without_room_does_nothing(void **state)
{
	const struct want wants[] = {sole_of(736), run_of(736), scattered_of(736)};
	struct house *house = *state;
	struct asker holder, waiting, small;

	assert_int_equal(ask_and_settle(house, &holder, 1000, run_of(400)), SUPPLY_GRANTED);
	for (unsigned i = 0; i < 3; i++) {
		ask(house, &waiting, 1001, wants[i], HOUR_NS);
		house_settle(house);
		assert_idle_while_waiting(house, &waiting);
		for (uid_t uid = 1002; uid < 1010; uid++) {
			assert_int_equal(ask_and_settle(house, &small, uid, run_of(1)), SUPPLY_GRANTED);
			end(&small);
		}
		house_tick(house);
		assert_idle_while_waiting(house, &waiting);
		supply_cancel(&waiting.supply);
		house_settle(house);
		end(&waiting);
	}
	end(&holder);
}

static void work_waiting_request_is_served_when_there_is_room(void **state)
{
	const struct want wants[] = {sole_of(736), run_of(736), scattered_of(736)};
	struct house *house = *state;
	struct asker holder, waiting;

	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(ask_and_settle(house, &holder, 1000, run_of(400)), SUPPLY_GRANTED);
		ask(house, &waiting, 1001, wants[i], HOUR_NS);
		house_settle(house);
		assert_false(waiting.is_answered);
		end(&holder);
		for (unsigned k = 0; k < 3; k++)
			house_tick(house);
		assert_true(waiting.is_answered);
		assert_int_equal(waiting.supply.result, SUPPLY_GRANTED);
		end(&waiting);
		house_tick(house);
	}
}

/* What arithmetic says is in vain does not empty the caches of others, whether it waits or not; what is not
 * in vain does. */
static void work_vain_request_drains_nobodys_cache(void **state)
{
	struct house *house = *state;
	const struct zone_drain *drain = &house->pools[0]->drain;
	struct asker holder, waiting[20], cached, vain;

	assert_int_equal(ask_and_settle(house, &holder, 1000, run_of(400)), SUPPLY_GRANTED);
	assert_int_equal(ask_and_settle(house, &cached, 1001, run_of(1)), SUPPLY_GRANTED);
	pool_zone_ref(cached.supply.zone);
	end(&cached);
	assert_int_equal(drain_cached_pages(cached.supply.zone), 1);
	for (unsigned i = 0; i < 20; i++)
		ask(house, &waiting[i], 2000 + i, scattered_of(700), HOUR_NS);
	house_settle(house);
	assert_int_equal(ask_and_settle(house, &vain, 3000, scattered_of(625)), SUPPLY_POOL_FULL);
	end(&vain);
	assert_int_equal(drain->n_started, 0);
	assert_int_equal(drain_cached_pages(cached.supply.zone), 1);
	for (unsigned i = 0; i < 20; i++)
		supply_cancel(&waiting[i].supply);
	house_settle(house);
	for (unsigned i = 0; i < 20; i++)
		end(&waiting[i]);
	assert_int_equal(ask_and_settle(house, &vain, 3000, scattered_of(624)), SUPPLY_GRANTED);
	assert_int_equal(drain->n_started, 1);
	end(&vain);
	pool_zone_unref(cached.supply.zone);
	end(&holder);
}

#define N_TENANTS 600

/* A tick visits some zones in a step, and who asks meanwhile is served before it is over. */
static void work_tick_visits_some_zones_in_a_step(void **state)
{
	static struct asker tenants[N_TENANTS];
	struct house *house = *state;
	struct stocker *stocker = &house->stocker;
	const uint64_t n_ticks = stocker->n_ticks;
	struct asker small;
	unsigned n_steps = 0;

	assert_int_equal(ask_and_settle(house, &small, 5000, run_of(1)), SUPPLY_GRANTED);
	end(&small);
	for (unsigned i = 0; i < N_TENANTS; i++)
		ask(house, &tenants[i], 1000 + i, run_of(MAX_PAGES + 1), 0);
	house_settle(house);
	stocker->next_tick_ns = 0;
	ask(house, &small, 5000, run_of(1), 0);
	for (; stocker->n_ticks == n_ticks && n_steps < 10; n_steps++) {
		const uint64_t n_ticked = stocker->n_ticked;

		stocker_step(stocker);
		assert_true(stocker->n_ticked - n_ticked <= 256);
		mailbox_deliver(&house->worker_boxes[0]);
		assert_true(small.is_answered);
	}
	assert_int_equal(stocker->n_ticks, n_ticks + 1);
	assert_true(stocker->n_ticked >= N_TENANTS);
	stocker->next_tick_ns = clock_now_ns() + HOUR_NS;
	house_settle(house);
	end(&small);
	for (unsigned i = 0; i < N_TENANTS; i++)
		end(&tenants[i]);
}

/* Who is refused again and again has nobody look at all tenants each time; with few tenants it is exact. */
static void work_refusals_do_not_look_at_all_tenants(void **state)
{
	static struct zone *zones[65];
	struct house *house = *state;
	struct pool *pool = house->pools[0];
	struct asker one;
	uint64_t n_looks;

	for (unsigned i = 0; i < 64; i++)
		zones[i] = pool_zone_get(pool, &(struct peer){.uid = 1000 + i});
	assert_int_equal(pool_free_pages(pool), MAX_PAGES);
	assert_int_equal(ask_and_settle(house, &one, 1000, run_of(10)), SUPPLY_GRANTED);
	assert_int_equal(pool_free_pages(pool), MAX_PAGES - 10);
	zones[64] = pool_zone_get(pool, &(struct peer){.uid = 5000});
	assert_int_equal(pool_free_pages(pool), MAX_PAGES - 10);
	pool->free_seen_ns = clock_now_ns() + HOUR_NS;
	n_looks = pool->n_free_looks;
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(pool_free_pages(pool), MAX_PAGES - 10);
	assert_int_equal(pool->n_free_looks, n_looks);
	pool->free_seen_ns = 1;
	assert_int_equal(pool_free_pages(pool), MAX_PAGES - 10);
	assert_int_equal(pool->n_free_looks, n_looks + 1);
	end(&one);
	for (unsigned i = 0; i < 65; i++)
		pool_zone_unref(zones[i]);
}

#define N_CROWD 3000

/* Of thousands that wait a step looks at some, and who comes then is served all the same. */
static void work_step_looks_at_some_of_those_that_wait(void **state)
{
	static struct asker crowd[N_CROWD];
	struct house *house = *state;
	struct asker holder, small;
	unsigned n_steps = 0;

	assert_int_equal(ask_and_settle(house, &holder, 1000, run_of(400)), SUPPLY_GRANTED);
	for (unsigned i = 0; i < N_CROWD; i++)
		ask(house, &crowd[i], 1001 + i % 50, run_of(736), HOUR_NS);
	house_settle(house);
	ask(house, &small, 5000, run_of(1), 0);
	for (; !small.is_answered && n_steps < 100; n_steps++) {
		const uint64_t n_looked = house->stocker.n_looked, n_tried = house->stocker.n_tried;

		stocker_step(&house->stocker);
		assert_true(house->stocker.n_looked - n_looked <= 256);
		assert_true(house->stocker.n_tried - n_tried <= 32);
		mailbox_deliver(&house->worker_boxes[0]);
	}
	assert_int_equal(small.supply.result, SUPPLY_GRANTED);
	end(&small);
	for (unsigned i = 0; i < N_CROWD; i++)
		supply_cancel(&crowd[i].supply);
	house_settle(house);
	for (unsigned i = 0; i < N_CROWD; i++)
		end(&crowd[i]);
	end(&holder);
}

/* Every step is the first of a tick, as when one step takes longer than that. */
static void work_request_that_does_not_wait_ends_however_long_a_step_takes(void **state)
{
	const struct want wants[] = {sole_of(736), run_of(736), scattered_of(736)};
	struct house *house = *state;
	struct asker holder, one;

	assert_int_equal(ask_and_settle(house, &holder, 1000, run_of(400)), SUPPLY_GRANTED);
	for (unsigned i = 0; i < 3; i++) {
		unsigned n_steps = 0;

		ask(house, &one, 1001, wants[i], 0);
		for (; !one.is_answered && n_steps < 50; n_steps++) {
			house->stocker.next_tick_ns = 0;
			mailbox_ring(&house->stocker.mailbox);
			stocker_step(&house->stocker);
			for (unsigned k = 0; k < HOUSE_WORKERS; k++)
				mailbox_deliver(&house->worker_boxes[k]);
		}
		assert_true(one.is_answered);
		assert_in_range(n_steps, 1, 10);
		assert_int_equal(one.supply.result, SUPPLY_POOL_FULL);
		end(&one);
	}
	house->stocker.next_tick_ns = clock_now_ns() + HOUR_NS;
	house_settle(house);
	end(&holder);
}

/* The scrubber is at work in what another tenant has just freed: however often somebody rings meanwhile, a
 * request that does not wait has it then. */
static void work_request_that_does_not_wait_outlasts_the_scrubber(void **state)
{
	struct house *house = *state;
	struct pool *pool = house->pools[0];
	struct asker holder, one;
	struct arena *arena;

	assert_int_equal(ask_and_settle(house, &holder, 1000, run_of(MAX_PAGES)), SUPPLY_GRANTED);
	arena = pool_arena(pool, run_slot(holder.supply.runs.runs[0]));
	arena->scrubbing = true;
	end(&holder);
	ask(house, &one, 1001, run_of(MAX_PAGES), 0);
	for (unsigned i = 0; i < 50; i++) {
		mailbox_ring(&house->stocker.mailbox);
		stocker_step(&house->stocker);
		for (unsigned k = 0; k < HOUSE_WORKERS; k++)
			mailbox_deliver(&house->worker_boxes[k]);
	}
	assert_false(one.is_answered);
	arena->scrubbing = false;
	atomic_fetch_add(&pool->n_pieces, 1);
	house_settle(house);
	assert_int_equal(one.supply.result, SUPPLY_GRANTED);
	end(&one);
}

/* ---- a small one ---- */

/* Of one blank arena that is all but the whole pool, everybody who comes gets some. */
static void work_small_requests_share_a_large_blank_arena(void **state)
{
	struct house *house = *state;
	const struct want large = run_of(800);
	struct asker small[8];

	assert_int_equal(pool_make_arena(house->pools[0], &large), 0);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(ask_and_settle(house, &small[i], 1000 + i, run_of(1)), SUPPLY_GRANTED);
	assert_in_range(house->pools[0]->work.n_cuts, 1, 8);
	for (unsigned i = 0; i < 8; i++)
		end(&small[i]);
}

/* Where max is more than what the kernel has, that is what there is to be shared: by those for whom an arena
 * is made, and by those who are given a part of a blank one. */
static void work_small_requests_share_what_the_kernel_has(void **state)
{
	static struct house house;
	struct asker small[4];
	struct want large;
	uint64_t n_free;

	hugetlb_need(HUGE_BYTES, 32);
	for (unsigned blank = 0; blank < 2; blank++) {
		n_free = hugetlb_counts(HUGE_BYTES).free - hugetlb_counts(HUGE_BYTES).reserved;
		house_init_sized(&house, HUGE_BYTES, 4 * n_free, 4 * n_free, 0, 4 * n_free);
		large = run_of(n_free / 4 * 3);
		if (blank)
			assert_int_equal(pool_make_arena(house.pools[0], &large), POOL_MAKING);
		house_settle(&house);
		construction_disown(house.pools[0], &large);
		for (unsigned i = 0; i < 4; i++)
			assert_int_equal(ask_and_settle(&house, &small[i], 1000 + i, run_of(1)),
					 SUPPLY_GRANTED);
		for (unsigned i = 0; i < 4; i++)
			end(&small[i]);
		house_fini(&house);
	}
	(void)state;
}

/* ---- slices ---- */

#define LARGE_PAGES 20000 /* many slices */

static int large_setup(void **state)
{
	return setup(state, LARGE_PAGES, LARGE_PAGES, 0);
}

/* Nobody else waits for more than a slice of what is made for one, whatever kind of lease that is for. */
static void work_large_lease_is_made_in_slices_and_others_come_between(void **state)
{
	const struct want wants[] = {sole_of(10000), run_of(10000), scattered_of(10000)};
	struct house *house = *state;
	const struct pool *pool = house->pools[0];
	const uint64_t n_slices = 10000 / construction_slice_pages(pool);
	struct asker large, small;

	for (unsigned i = 0; i < 3; i++) {
		uint64_t n_before, n_at_start = pool->work.n_slices;

		ask(house, &large, 1000, wants[i], 0);
		mailbox_ring(&house->stocker.mailbox);
		stocker_step(&house->stocker);
		ask(house, &small, 1001, run_of(1), 0);
		for (unsigned k = 0; k < 2 && !small.is_answered; k++) {
			n_before = pool->work.n_slices;
			mailbox_ring(&house->stocker.mailbox);
			stocker_step(&house->stocker);
			assert_true(pool->work.n_slices <= n_before + 2); /* one for each */
			mailbox_deliver(&house->worker_boxes[0]);
		}
		assert_false(large.is_answered);
		end(&small);
		assert_int_equal(small.supply.result, SUPPLY_GRANTED);
		house_settle(house);
		assert_int_equal(large.supply.result, SUPPLY_GRANTED);
		assert_true(pool->work.n_slices > n_at_start + n_slices);
		end(&large);
		for (unsigned k = 0; k < 3; k++)
			house_tick(house);
		assert_int_equal(figures_of(house).backed, 0);
	}
}

/* What is in the making for somebody who goes away is nobody's, and goes too. */
static void work_arena_in_the_making_for_nobody_is_given_back(void **state)
{
	struct house *house = *state;
	struct asker large;

	ask(house, &large, 1000, sole_of(10000), HOUR_NS);
	mailbox_ring(&house->stocker.mailbox);
	stocker_step(&house->stocker);
	assert_in_range(figures_of(house).backed, 1, 9999);
	supply_cancel(&large.supply);
	house_settle(house);
	assert_int_equal(large.supply.result, SUPPLY_CANCELLED);
	end(&large);
	house_tick(house);
	house_tick(house);
	assert_int_equal(figures_of(house).backed, 0);
}

/* The janitor's: a large file goes slice by slice, in turn with others; a trim that is not over when the
 * lease ends stays in the accounts. */
static void work_large_files_are_truncated_in_slices(void **state)
{
	struct house *house = *state;
	struct pool *pool = house->pools[0];
	struct asker large, small;

	assert_int_equal(ask_and_settle(house, &large, 1000, sole_of(19000)), SUPPLY_GRANTED);
	assert_int_equal(ask_and_settle(house, &small, 1001, sole_of(1)), SUPPLY_GRANTED);
	assert_int_equal(large.supply.runs.n, 1);
	pool_trim_sole(large.supply.zone, large.supply.runs.runs[0], 100);
	end(&large);
	end(&small);
	mailbox_deliver_some(&house->janitor, 3);
	house_settle(house);
	assert_int_equal(pool->backed_pages, 0);
	assert_int_equal(pool->limbo_pages, 0);
	assert_true(atomic_load(&pool->n_cut_slices) >= 2);
	house_tick(house);
}

/* ---- quotas ---- */

static int quota_setup(void **state)
{
	static struct house house;

	house_init(&house, MAX_PAGES, ARENA_PAGES, 0, 100);
	*state = &house;
	return 0;
}

/* With a page here and there, and no run between them, one tenant would keep all arenas, however small its
 * quota is. */
static void work_free_pages_between_leased_ones_are_bounded_by_the_quota(void **state)
{
	const uint64_t run_pages = 90, quota_pages = 100;
	struct house *house = *state;
	const struct pool *pool = house->pools[0];
	enum supply_result result = SUPPLY_GRANTED;
	struct asker held[11] = {0}, one;
	unsigned n_held;

	for (n_held = 0; n_held < 11; n_held++) {
		struct run *run = &held[n_held].supply.runs.runs[0], front;

		result = ask_and_settle(house, &held[n_held], 1000, run_of(run_pages));
		if (result != SUPPLY_GRANTED)
			break;
		front = (struct run){run->address, run_pages - 1};
		*run = (struct run){run->address + run_pages - 1, 1};
		zone_put_clean(held[n_held].supply.zone, 0, front);
	}
	assert_int_equal(result, SUPPLY_POOL_FULL);
	assert_true(pool->backed_pages <= 2 * quota_pages + ARENA_PAGES);
	end(&held[n_held]);
	assert_int_equal(ask_and_settle(house, &one, 1001, run_of(run_pages)), SUPPLY_GRANTED);
	end(&one);
	while (n_held-- > 0)
		end(&held[n_held]);
}

static void work_request_over_quota_makes_nothing(void **state)
{
	const struct want wants[] = {sole_of(50), run_of(50), scattered_of(50), sole_of(101), run_of(101)};
	struct house *house = *state;
	const struct pool_work *work = &house->pools[0]->work;
	struct asker holder, one;
	uint64_t n_makes;

	assert_int_equal(ask_and_settle(house, &holder, 1000, run_of(60)), SUPPLY_GRANTED);
	n_makes = work->n_makes;
	for (unsigned i = 0; i < sizeof(wants) / sizeof(wants[0]); i++) {
		assert_int_equal(ask_and_settle(house, &one, 1000, wants[i]), SUPPLY_OVER_QUOTA);
		end(&one);
	}
	/* The first of two leases of one request fits, both do not. */
	ask(house, &one, 1000, run_of(30), 0);
	one.supply.more_pages = 30;
	house_settle(house);
	assert_int_equal(one.supply.result, SUPPLY_OVER_QUOTA);
	end(&one);
	assert_int_equal(work->n_makes, n_makes);
	assert_int_equal(work->n_reclaimed, 0);
	end(&holder);
}

/* Nor one of which the first lease has room, and the last has not. */
static void work_request_of_more_than_there_is_makes_nothing(void **state)
{
	struct house *house = *state;
	struct asker one;

	ask(house, &one, 1000, run_of(300), 0);
	one.supply.more_pages = MAX_PAGES - 299;
	house_settle(house);
	assert_int_equal(one.supply.result, SUPPLY_POOL_FULL);
	end(&one);
	assert_int_equal(house->pools[0]->work.n_makes, 0);
}

/* Whoever would wait for what can never be is told so by the worker, and nothing is queued. */
static void work_what_can_never_be_is_not_queued(void **state)
{
	const struct lease_alloc patient = {.want = {.max_runs = 1, .node = -1}, .wait_ms = 3600 * 1000};
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	const uint64_t n_makes = house->pools[0]->work.n_makes;
	uint64_t id;

	assert_int_equal(house_alloc_like(house, session, MAX_PAGES / 2 + 1, &patient, &id), LEASE_POOL_FULL);
	assert_int_equal(house_alloc_like(house, session, MAX_PAGES + 1, &patient, &id), LEASE_BAD_SIZE);
	house->pools[0]->config.quota_leases = 1;
	assert_int_equal(house_alloc_like(house, session, 1, &patient, &id), LEASE_OK);
	assert_int_equal(house_alloc_like(house, session, 300, &patient, &id), LEASE_TOO_MANY);
	assert_int_equal(house->pools[0]->work.n_makes, n_makes);
	house_end_session(house, session);
}

/* What the janitor has is its tenant's until the kernel has it: a request that lacks only that waits for it.
 */
static void work_pages_with_a_busy_janitor_stay_charged(void **state)
{
	const struct want wants[] = {sole_of(100), run_of(1)};
	struct house *house = *state;
	struct asker first, next, other;

	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(ask_and_settle(house, &first, 1000, sole_of(100)), SUPPLY_GRANTED);
		end(&first);
		ask(house, &next, 1000, wants[i], 0);
		ask(house, &other, 1001, sole_of(100), 0);
		for (unsigned k = 0; k < 20; k++) {
			mailbox_ring(&house->stocker.mailbox);
			stocker_step(&house->stocker);
			mailbox_deliver(&house->worker_boxes[0]);
		}
		assert_false(next.is_answered);
		assert_int_equal(other.supply.result, SUPPLY_GRANTED);
		end(&other);
		house_settle(house);
		assert_int_equal(next.supply.result, SUPPLY_GRANTED);
		end(&next);
		house_tick(house);
	}
}

/* ---- the kernel ---- */

/* What its counters say is believed, before any page is taken. */
static void work_kernel_is_not_asked_for_what_it_has_not(void **state)
{
	static struct house house;
	struct asker waiting, one;
	uint64_t n_free;

	hugetlb_need(HUGE_BYTES, 2);
	n_free = hugetlb_counts(HUGE_BYTES).free - hugetlb_counts(HUGE_BYTES).reserved;
	house_init_sized(&house, HUGE_BYTES, n_free + 8, n_free + 8, 0, n_free + 8);
	assert_int_equal(ask_and_settle(&house, &one, 1000, run_of(n_free + 1)), SUPPLY_KERNEL_SHORT);
	end(&one);
	assert_int_equal(ask_and_settle(&house, &one, 1000, sole_of(n_free + 1)), SUPPLY_KERNEL_SHORT);
	end(&one);
	ask(&house, &waiting, 1000, scattered_of(n_free + 1), HOUR_NS);
	house_settle(&house);
	assert_idle_while_waiting(&house, &waiting);
	assert_int_equal(house.pools[0]->work.n_makes, 0);
	assert_int_equal(ask_and_settle(&house, &one, 1001, run_of(1)), SUPPLY_GRANTED);
	end(&one);
	supply_cancel(&waiting.supply);
	house_settle(&house);
	end(&waiting);
	house_fini(&house);
}

/* ---- the reserve ---- */

static void assert_reserve_stays(struct house *house, struct want want, uint64_t wait_ns)
{
	struct pool *pool = house->pools[0];
	const uint64_t reserve_pages = pool->config.reserve_pages;
	struct asker asker;

	ask(house, &asker, 1000, want, wait_ns);
	for (unsigned i = 0; i < 50; i++) {
		house->stocker.next_tick_ns = 0;
		mailbox_ring(&house->stocker.mailbox);
		stocker_step(&house->stocker);
		assert_true(pool->backed_pages - pool->limbo_pages >= reserve_pages);
		for (unsigned k = 0; k < HOUSE_WORKERS; k++)
			mailbox_deliver(&house->worker_boxes[k]);
		mailbox_deliver(&house->janitor);
	}
	if (wait_ns > 0) {
		assert_false(asker.is_answered);
		supply_cancel(&asker.supply);
	}
	house->stocker.next_tick_ns = clock_now_ns() + HOUR_NS;
	house_settle(house);
	assert_int_equal(asker.supply.result, wait_ns > 0 ? SUPPLY_CANCELLED : SUPPLY_POOL_FULL);
	end(&asker);
	assert_int_equal(pool->work.n_reclaimed, 0);
	assert_int_equal(figures_of(house).stock, reserve_pages);
}

static void work_reserve_stays_for_a_run_longer_than_an_arena(void **state)
{
	assert_reserve_stays(*state, run_of(MAX_PAGES / 2 + 1), 0);
	assert_reserve_stays(*state, run_of(MAX_PAGES), HOUR_NS);
}

static void work_reserve_stays_for_a_lease_of_too_many_arenas(void **state)
{
	struct house *house = *state;
	struct asker asker;

	assert_reserve_stays(house, scattered_of(RUN_LIST_MAX * 4 + 1), 0);
	assert_reserve_stays(house, sole_of(RUN_LIST_MAX * 4 + 1), 0);
	assert_reserve_stays(house, scattered_of(400), HOUR_NS);
	assert_int_equal(ask_and_settle(house, &asker, 1000, scattered_of(RUN_LIST_MAX * 4)), SUPPLY_GRANTED);
	end(&asker);
}

/* A longer run than any arena of the reserve, where max leaves room: it is made first. */
static void work_long_run_is_made_beside_the_reserve(void **state)
{
	struct house *house = *state;
	struct asker asker;

	assert_int_equal(ask_and_settle(house, &asker, 1000, run_of(MAX_PAGES / 2)), SUPPLY_GRANTED);
	assert_int_equal(figures_of(house).backed, MAX_PAGES);
	assert_int_equal(house->pools[0]->work.n_reclaimed, 0);
	end(&asker);
}

int main(void)
{
#define PLAIN(name)     cmocka_unit_test_setup_teardown(name, plain_setup, teardown)
#define LARGE(name)     cmocka_unit_test_setup_teardown(name, large_setup, teardown)
#define RESERVE(name)   cmocka_unit_test_setup_teardown(name, reserve_setup, teardown)
#define SCATTERED(name) cmocka_unit_test_setup_teardown(name, scattered_setup, teardown)
	const struct CMUnitTest tests[] = {
		PLAIN(work_waiting_request_without_room_does_nothing),
		PLAIN(work_waiting_request_is_served_when_there_is_room),
		PLAIN(work_vain_request_drains_nobodys_cache),
		PLAIN(work_tick_visits_some_zones_in_a_step),
		PLAIN(work_refusals_do_not_look_at_all_tenants),
		PLAIN(work_step_looks_at_some_of_those_that_wait),
		PLAIN(work_request_that_does_not_wait_ends_however_long_a_step_takes),
		PLAIN(work_request_that_does_not_wait_outlasts_the_scrubber),
		PLAIN(work_small_requests_share_a_large_blank_arena),
		cmocka_unit_test_teardown(work_kernel_is_not_asked_for_what_it_has_not, huge_teardown),
		cmocka_unit_test_teardown(work_small_requests_share_what_the_kernel_has, huge_teardown),
		LARGE(work_large_lease_is_made_in_slices_and_others_come_between),
		LARGE(work_arena_in_the_making_for_nobody_is_given_back),
		LARGE(work_large_files_are_truncated_in_slices),
		cmocka_unit_test_setup_teardown(work_request_over_quota_makes_nothing, quota_setup, teardown),
		cmocka_unit_test_setup_teardown(work_free_pages_between_leased_ones_are_bounded_by_the_quota,
						quota_setup, teardown),
		cmocka_unit_test_setup_teardown(work_pages_with_a_busy_janitor_stay_charged, quota_setup,
						teardown),
		PLAIN(work_request_of_more_than_there_is_makes_nothing),
		RESERVE(work_what_can_never_be_is_not_queued),
		RESERVE(work_reserve_stays_for_a_run_longer_than_an_arena),
		RESERVE(work_long_run_is_made_beside_the_reserve),
		SCATTERED(work_reserve_stays_for_a_lease_of_too_many_arenas),
	};

	return cmocka_run_group_tests_name("pool_work", tests, NULL, NULL);
}

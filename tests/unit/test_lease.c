/* test_lease.c - the kinds of leases: of several runs, of files of their own, named and opened, longer and
 * shorter, with a deadline, evicted; and how those that wait take turns. One thread, every step the test's
 * own; the pages are real.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/lease/audit.h"
#include "tests/support/house.h"

#define ARENA_PAGES            64
#define OPENING(name_, write_) (&(struct lease_opening){.name = (name_), .write = (write_)})

static const struct lease_alloc scattered = {.want = {.max_runs = RUN_LIST_MAX, .node = -1}};
static const struct lease_alloc revocable = {.want = {.max_runs = RUN_LIST_MAX, .node = -1},
					     .revocable = true};

struct scene {
	struct house house;
	struct session *one, *two; /* two tenants, on two workers */
};

static int setup(void **state)
{
	static struct scene scene;

	house_init(&scene.house, 4 * ARENA_PAGES, ARENA_PAGES, 0, 8 * ARENA_PAGES);
	scene.one = house_session(&scene.house, 0, 1000);
	scene.two = house_session(&scene.house, 1, 1001);
	*state = &scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	house_settle(&scene->house);
	audit_walk(scene->house.pools, 1, scene->house.ledger);
	house_end_session(&scene->house, scene->one);
	house_end_session(&scene->house, scene->two);
	house_fini(&scene->house);
	return 0;
}

static struct share_runs runs_of(struct scene *scene, uint64_t id)
{
	struct share_runs runs;

	lease_get_runs(scene->house.ledger, house_record(&scene->house, id), &runs);
	return runs;
}

static struct pool_figures figures_of(struct scene *scene)
{
	struct pool_figures figures;

	house_settle(&scene->house);
	pool_get_figures(scene->house.pools[0], &figures);
	return figures;
}

static off_t file_pages(struct scene *scene, struct run run)
{
	struct stat st;

	assert_int_equal(fstat(backing_file_fd(pool_arena(scene->house.pools[0], run_slot(run))->file), &st),
			 0);
	return st.st_size / 4096;
}

/* Every other run of 8 pages is freed: no free run is longer. */
static void fragment(struct scene *scene)
{
	uint64_t ids[4 * ARENA_PAGES / 8];
	unsigned n = 0;

	while (n < 4 * ARENA_PAGES / 8 && house_alloc(&scene->house, scene->one, 8, &ids[n]) == LEASE_OK)
		n++;
	assert_int_equal(n, 4 * ARENA_PAGES / 8);
	for (unsigned i = 0; i < n; i++)
		if (run_first(runs_of(scene, ids[i]).list.runs[0]) / 8 % 2 == 1)
			assert_int_equal(lease_free(scene->one, ids[i], true), LEASE_OK);
	shard_flush_freed(scene->one->shard);
	house_settle(&scene->house);
}

static void lease_larger_than_any_run_is_several(void **state)
{
	struct scene *scene = *state;
	struct pool_figures before;
	struct share_runs runs;
	uint64_t id, sum = 0;

	fragment(scene);
	before = figures_of(scene);
	assert_int_equal(house_alloc(&scene->house, scene->one, 20, &id), LEASE_POOL_FULL);
	assert_int_equal(house_alloc_like(&scene->house, scene->one, 20, &scattered, &id), LEASE_OK);
	runs = runs_of(scene, id);
	assert_int_equal(runs.list.n, 3);
	for (unsigned i = 0; i < runs.list.n; i++)
		sum += runs.list.runs[i].n_pages;
	assert_int_equal(sum, 20);
	assert_int_equal(house_record(&scene->house, id)->lease_pages, 20);
	assert_int_equal(figures_of(scene).zones.leases, before.zones.leases + 1);
	assert_int_equal(figures_of(scene).zones.leased, before.zones.leased + 20);
	assert_int_equal(lease_free(scene->one, id, true), LEASE_OK);
	assert_int_equal(figures_of(scene).zones.leased, before.zones.leased);
}

static void lease_of_more_runs_than_allowed_is_refused(void **state)
{
	struct scene *scene = *state;
	struct lease_alloc two_runs = scattered;
	uint64_t id;

	two_runs.want.max_runs = 2;
	fragment(scene);
	assert_int_equal(house_alloc_like(&scene->house, scene->one, 20, &two_runs, &id), LEASE_POOL_FULL);
	assert_int_equal(house_alloc_like(&scene->house, scene->one, 16, &two_runs, &id), LEASE_OK);
	assert_int_equal(runs_of(scene, id).list.n, 2);
}

static void lease_revocable_has_files_of_its_own_exact_to_the_page(void **state)
{
	struct scene *scene = *state;
	struct share_runs runs;
	uint64_t id, other;

	assert_int_equal(house_alloc_like(&scene->house, scene->one, 5, &revocable, &id), LEASE_OK);
	assert_int_equal(house_alloc(&scene->house, scene->one, 5, &other), LEASE_OK);
	runs = runs_of(scene, id);
	assert_int_equal(runs.list.n, 1);
	assert_int_equal(run_first(runs.list.runs[0]), 0);
	assert_int_equal(file_pages(scene, runs.list.runs[0]), 5);
	assert_int_not_equal(runs.arenas[0], runs_of(scene, other).arenas[0]);
	/* It goes at once, not after a scrub or a decay. */
	assert_int_equal(lease_free(scene->one, id, true), LEASE_OK);
	house_settle(&scene->house);
	assert_false(pool_has_arena(scene->house.pools[0], run_slot(runs.list.runs[0]), runs.arenas[0]));
}

static void lease_trimmed_gives_back_its_tail(void **state)
{
	struct scene *scene = *state;
	struct share_runs runs;
	uint64_t plain, sole;

	assert_int_equal(house_alloc(&scene->house, scene->one, 10, &plain), LEASE_OK);
	assert_int_equal(house_alloc_like(&scene->house, scene->one, 10, &revocable, &sole), LEASE_OK);
	assert_int_equal(house_resize(&scene->house, scene->one, plain, 3, 1), LEASE_OK);
	assert_int_equal(house_resize(&scene->house, scene->one, sole, 3, 1), LEASE_OK);
	assert_int_equal(figures_of(scene).zones.leased, 6);
	assert_int_equal(figures_of(scene).zones.limbo, 0);
	runs = runs_of(scene, sole);
	assert_int_equal(file_pages(scene, runs.list.runs[0]), 3);
	assert_int_equal(house_resize(&scene->house, scene->one, plain, 0, 1), LEASE_BAD_SIZE);
	assert_int_equal(house_resize(&scene->house, scene->two, plain, 2, 1), LEASE_NOT_HOLDER);
	assert_int_equal(house_resize(&scene->house, scene->one, plain + (1u << 30), 2, 1), LEASE_NEVER);
}

static void lease_grows_in_place_or_by_runs(void **state)
{
	struct scene *scene = *state;
	struct share_runs before, after;
	uint64_t first, behind, sole;

	assert_int_equal(house_alloc(&scene->house, scene->one, 20, &first), LEASE_OK);
	before = runs_of(scene, first);
	assert_int_equal(house_resize(&scene->house, scene->one, first, 25, 1), LEASE_OK);
	after = runs_of(scene, first);
	assert_int_equal(after.list.n, 1);
	assert_int_equal(after.list.runs[0].address, before.list.runs[0].address);
	assert_int_equal(after.list.runs[0].n_pages, 25);
	/* Another lease right behind it. */
	assert_int_equal(house_alloc(&scene->house, scene->one, 20, &behind), LEASE_OK);
	assert_int_equal(runs_of(scene, behind).list.runs[0].address, before.list.runs[0].address + 25);
	assert_int_equal(house_resize(&scene->house, scene->one, first, 30, 1), LEASE_POOL_FULL);
	assert_int_equal(runs_of(scene, first).list.runs[0].n_pages, 25);
	assert_int_equal(house_resize(&scene->house, scene->one, first, 30, 4), LEASE_OK);
	after = runs_of(scene, first);
	assert_int_equal(after.list.n, 2);
	assert_int_equal(after.list.runs[0].address, before.list.runs[0].address);
	assert_int_equal(after.list.runs[1].n_pages, 5);
	/* One of files of its own gets another file. */
	assert_int_equal(house_alloc_like(&scene->house, scene->one, 5, &revocable, &sole), LEASE_OK);
	assert_int_equal(house_resize(&scene->house, scene->one, sole, 9, 4), LEASE_OK);
	after = runs_of(scene, sole);
	assert_int_equal(after.list.n, 2);
	assert_int_equal(file_pages(scene, after.list.runs[1]), 4);
	assert_int_equal(figures_of(scene).zones.leased, 30 + 20 + 9);
}

static struct lease_alloc named(const char *name, uint32_t mode)
{
	struct lease_alloc like = {.want = {.max_runs = 1, .node = -1}, .terms = {.mode = mode}};

	strcpy(like.name, name);
	return like;
}

static void lease_opened_keeps_its_pages_until_closed(void **state)
{
	struct scene *scene = *state;
	const struct lease_alloc open_to_all = named("frames", 0644), private = named("mine", 0600);
	struct lease_record *opened;
	uint64_t id, mine, held;

	assert_int_equal(house_alloc_like(&scene->house, scene->one, 7, &open_to_all, &id), LEASE_OK);
	assert_int_equal(house_alloc_like(&scene->house, scene->one, 2, &private, &mine), LEASE_OK);
	assert_true(house_record(&scene->house, id)->sole);
	assert_false(house_record(&scene->house, mine)->sole);
	assert_int_equal(lease_open(scene->two, 1, OPENING("mine", false), &opened), LEASE_NOT_ALLOWED);
	assert_int_equal(lease_open(scene->two, 1, OPENING("nobody's", false), &opened), LEASE_NO_NAME);
	assert_int_equal(lease_open(scene->two, 1, OPENING("frames", true), &opened), LEASE_NOT_ALLOWED);
	assert_int_equal(lease_open(scene->two, 1, OPENING("frames", false), &opened), LEASE_OK);
	held = opened->id;
	assert_true(opened->read_only);
	assert_int_equal(opened->lease_pages, 7);
	assert_int_equal(house_resize(&scene->house, scene->one, id, 3, 1), LEASE_BUSY);
	assert_int_equal(house_resize(&scene->house, scene->two, held, 3, 1), LEASE_BUSY);
	assert_int_equal(figures_of(scene).zones.leased, 9);
	assert_int_equal(lease_free(scene->one, id, true), LEASE_OK);
	/* The name is free, the pages are not. */
	assert_int_equal(figures_of(scene).zones.leased, 9);
	assert_int_equal(lease_open(scene->two, 1, OPENING("frames", false), &opened), LEASE_NO_NAME);
	assert_int_equal(lease_free(scene->two, held, true), LEASE_OK);
	assert_int_equal(figures_of(scene).zones.leased, 2);
	assert_int_equal(figures_of(scene).zones.limbo, 0);
}

static void lease_opened_of_dead_holder_is_left(void **state)
{
	struct scene *scene = *state;
	const struct lease_alloc open_to_all = named("frames", 0666);
	struct session *third = house_session(&scene->house, 1, 1002);
	struct lease_record *opened;
	uint64_t id;

	assert_int_equal(house_alloc_like(&scene->house, scene->one, 7, &open_to_all, &id), LEASE_OK);
	assert_int_equal(lease_open(third, 1, OPENING("frames", true), &opened), LEASE_OK);
	house_end_session(&scene->house, third);
	assert_int_equal(lease_free(scene->one, id, true), LEASE_OK);
	assert_int_equal(figures_of(scene).zones.leased, 0);
}

/* What an eviction does on each worker. */
static unsigned evict(struct scene *scene, uint64_t arena)
{
	struct pool *pool = scene->house.pools[0];
	unsigned n_ended = 0;
	struct zone *zone;
	int owner;

	assert_int_equal(pool_condemn_arena(pool, arena, &zone, &(uint32_t){0}), 0);
	house_settle(&scene->house);
	lease_condemn_shares(&scene->house.shards[0], arena);
	for (uint32_t chunk = 0; (owner = ledger_chunk_owner(scene->house.ledger, chunk)) >= 0; chunk++)
		for (uint32_t i = 0; i < LEDGER_CHUNK_SLOTS; i++) {
			struct lease_record *record =
				ledger_at(scene->house.ledger, chunk * LEDGER_CHUNK_SLOTS + i);

			if (record->state != LEASE_NONE && record->state != LEASE_PART)
				n_ended += lease_evict(&scene->house.shards[owner], record, &arena, 1) ==
					   LEASE_EVICTED;
		}
	while (!lease_evict_shares(&scene->house.shards[0], zone, arena, 1))
		;
	pool_zone_unref(zone);
	for (unsigned i = 0; i < HOUSE_WORKERS; i++)
		shard_flush_freed(&scene->house.shards[i]);
	house_tick(&scene->house);
	return n_ended;
}

static void lease_evicted_loses_all_and_its_arena_goes(void **state)
{
	struct scene *scene = *state;
	const struct lease_alloc shared = named("frames", 0600);
	uint64_t ids[4], name_id;
	struct run run;
	uint64_t arena;

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(house_alloc(&scene->house, scene->one, 3, &ids[i]), LEASE_OK);
	assert_int_equal(house_alloc_like(&scene->house, scene->one, 3, &shared, &name_id), LEASE_OK);
	run = runs_of(scene, ids[0]).list.runs[0];
	arena = runs_of(scene, ids[0]).arenas[0];
	assert_int_equal(runs_of(scene, name_id).arenas[0], arena);
	assert_int_equal(evict(scene, arena), 5);
	assert_false(pool_has_arena(scene->house.pools[0], run_slot(run), arena));
	assert_int_equal(figures_of(scene).zones.leases, 0);
	assert_int_equal(figures_of(scene).backed, 0);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(lease_free(scene->one, ids[i], true), LEASE_OK);
}

/* Its answer got lost, one of its leases was evicted, and it is asked again. */
static void lease_batch_asked_again_is_whole_or_anew(void **state)
{
	struct scene *scene = *state;
	struct lease_alloc *alloc = calloc(1, sizeof(*alloc));
	uint64_t filler, arena, other;

	*alloc = scattered;
	alloc->request.session = scene->one;
	alloc->request.request_id = UINT64_C(1) << 40;
	alloc->revocable = true;
	alloc->n_items = 2;
	alloc->items[0].n_pages = 3;
	alloc->items[1].n_pages = 4;
	/* What the stocker had to make is there afterwards, as these go to the kernel. */
	assert_int_equal(house_alloc(&scene->house, scene->one, 1, &filler), LEASE_OK);
	if (lease_alloc_start(alloc) == LEASE_WAIT) {
		alloc->done = NULL;
		lease_alloc_unwind(alloc);
		alloc->revocable = false;
		assert_int_equal(lease_alloc_start(alloc), LEASE_OK);
	}
	assert_true(lease_alloc_find_again(alloc));
	arena = alloc->items[0].record->arena;
	other = alloc->items[1].record->id;
	if (alloc->items[1].record->arena == arena)
		lease_free(scene->one, alloc->items[0].record->id, true);
	else
		assert_int_equal(evict(scene, arena), 1);
	assert_false(lease_alloc_find_again(alloc));
	assert_null(house_record(&scene->house, other));
	assert_int_equal(figures_of(scene).zones.leases, 1);
	free(alloc);
}

/* Rule 2: its holder lives, so what it has elsewhere is not reused. */
static void lease_evicted_of_one_run_keeps_the_others(void **state)
{
	struct scene *scene = *state;
	struct share_runs runs;
	uint64_t id;

	assert_int_equal(house_alloc_like(&scene->house, scene->one, 3 * ARENA_PAGES, &scattered, &id),
			 LEASE_OK);
	assert_int_equal(house_alloc_like(&scene->house, scene->one, ARENA_PAGES / 2, &scattered, &id),
			 LEASE_OK);
	assert_int_equal(house_resize(&scene->house, scene->one, id, ARENA_PAGES, RUN_LIST_MAX), LEASE_OK);
	runs = runs_of(scene, id);
	if (runs.list.n < 2)
		skip();
	assert_int_equal(evict(scene, runs.arenas[0]), 0);
	assert_int_equal(house_record(&scene->house, id)->lease_pages,
			 ARENA_PAGES - runs.list.runs[0].n_pages);
	/* Its holder does not know that, and means other pages. */
	assert_int_equal(house_resize(&scene->house, scene->one, id, 1, RUN_LIST_MAX), LEASE_ENDED);
	assert_int_equal(house_resize(&scene->house, scene->one, id, 2 * ARENA_PAGES, RUN_LIST_MAX),
			 LEASE_ENDED);
}

/* Its worker was not visited yet: it has its pages until then, and they are put once. */
static void lease_named_is_resized_while_it_is_evicted(void **state)
{
	struct scene *scene = *state;
	const struct lease_alloc private = named("mine", 0600);
	struct lease_record *opened;
	struct share_runs runs;
	struct zone *zone;
	uint64_t id;

	assert_int_equal(house_alloc_like(&scene->house, scene->one, 4, &private, &id), LEASE_OK);
	runs = runs_of(scene, id);
	assert_int_equal(pool_condemn_arena(scene->house.pools[0], runs.arenas[0], &zone, &(uint32_t){0}), 0);
	lease_condemn_shares(scene->one->shard, runs.arenas[0]);
	pool_zone_unref(zone);
	assert_int_equal(figures_of(scene).zones.leased, 4);
	assert_int_equal(lease_open(scene->one, 1, OPENING("mine", true), &opened), LEASE_NO_NAME);
	assert_int_equal(house_resize(&scene->house, scene->one, id, 2, 1), LEASE_ENDED);
	assert_int_equal(house_resize(&scene->house, scene->one, id, 6, RUN_LIST_MAX), LEASE_ENDED);
	assert_int_equal(evict(scene, runs.arenas[0]), 1);
	assert_int_equal(figures_of(scene).zones.leased, 0);
	assert_false(pool_has_arena(scene->house.pools[0], run_slot(runs.list.runs[0]), runs.arenas[0]));
}

/* Rule 2: its holder may write to its page until the file is truncated, so nobody is given it as it is. */
static void lease_evicted_is_not_granted_unscrubbed(void **state)
{
	struct scene *scene = *state;
	struct lease_alloc unscrubbed = scattered;
	struct pool *pool = scene->house.pools[0];
	uint64_t id, stays, arena;
	struct zone *zone;

	assert_int_equal(house_alloc(&scene->house, scene->one, 2, &id), LEASE_OK);
	assert_int_equal(house_alloc(&scene->house, scene->one, 2, &stays), LEASE_OK);
	arena = house_record(&scene->house, id)->arena;
	assert_int_equal(house_record(&scene->house, stays)->arena, arena);
	assert_int_equal(pool_condemn_arena(pool, arena, &zone, &(uint32_t){0}), 0);
	/* The worker is visited: its caches are drained, then one of its records; another will be later. */
	lock_take(&zone->lock);
	zone_drain_locked(zone, 0);
	lock_drop(&zone->lock);
	assert_int_equal(lease_evict(scene->one->shard, house_record(&scene->house, id), &arena, 1),
			 LEASE_EVICTED);
	pool_zone_unref(zone);
	unscrubbed.want.no_zero = true;
	assert_int_equal(house_alloc_like(&scene->house, scene->one, 2, &unscrubbed, &id), LEASE_OK);
	assert_int_not_equal(house_record(&scene->house, id)->arena, arena);
	/* Nor by way of a Free. */
	assert_int_equal(lease_free(scene->one, stays, true), LEASE_OK);
	assert_int_equal(house_alloc_like(&scene->house, scene->one, 2, &unscrubbed, &id), LEASE_OK);
	assert_int_not_equal(house_record(&scene->house, id)->arena, arena);
}

static void lease_with_deadline_is_due_then(void **state)
{
	struct scene *scene = *state;
	struct lease_alloc brief = scattered;
	uint64_t ids[3], ends_ns[3];

	for (unsigned i = 0; i < 3; i++) {
		brief.lifetime_ms = 3000000 - 1000000 * i;
		assert_int_equal(house_alloc_like(&scene->house, scene->one, 2, &brief, &ids[i]), LEASE_OK);
		ends_ns[i] = house_record(&scene->house, ids[i])->deadline_ns;
	}
	assert_null(lease_take_due(scene->one->shard, ends_ns[2] - 1));
	assert_int_equal(lease_free(scene->one, ids[1], true), LEASE_OK);
	assert_int_equal(lease_take_due(scene->one->shard, ends_ns[2])->id, ids[2]);
	assert_null(lease_take_due(scene->one->shard, ends_ns[0] - 1));
	assert_int_equal(lease_take_due(scene->one->shard, ends_ns[0])->id, ids[0]);
	assert_null(lease_take_due(scene->one->shard, UINT64_MAX));
}

/* ---- waiting ---- */

struct waiter {
	struct lease_alloc alloc;
	enum lease_result result;
};

static void served(struct lease_alloc *alloc, enum lease_result result)
{
	((struct waiter *)alloc)->result = result;
}

static void start_waiting(struct scene *scene, struct waiter *waiter, struct session *session,
			  uint64_t n_pages)
{
	static uint64_t last_id = 1u << 20;

	waiter->alloc = scattered;
	waiter->alloc.request.session = session;
	waiter->alloc.request.request_id = ++last_id;
	waiter->alloc.n_items = 1;
	waiter->alloc.items[0].n_pages = n_pages;
	waiter->alloc.wait_ms = 3600 * 1000;
	waiter->alloc.done = served;
	session->shard->now_ns = clock_now_ns();
	waiter->result = lease_alloc_start(&waiter->alloc);
	assert_int_equal(waiter->result, LEASE_WAIT);
	lease_alloc_wait(&waiter->alloc);
	house_settle(&scene->house);
	assert_int_equal(waiter->result, LEASE_WAIT);
}

static void lease_waits_and_first_come_is_first_served(void **state)
{
	struct scene *scene = *state;
	struct waiter *waiters = calloc(2, sizeof(*waiters));
	uint64_t ids[4], refused;

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(
			house_alloc_like(&scene->house, scene->one, ARENA_PAGES, &scattered, &ids[i]),
			LEASE_OK);
	start_waiting(scene, &waiters[0], scene->one, ARENA_PAGES);
	start_waiting(scene, &waiters[1], scene->one, ARENA_PAGES);
	/* Who does not wait is told so at once. */
	assert_int_equal(house_alloc_like(&scene->house, scene->one, ARENA_PAGES, &scattered, &refused),
			 LEASE_POOL_FULL);
	lease_free(scene->one, ids[0], true);
	shard_flush_freed(scene->one->shard);
	house_settle(&scene->house);
	assert_int_equal(waiters[0].result, LEASE_OK);
	assert_int_equal(waiters[1].result, LEASE_WAIT);
	lease_free(scene->one, ids[1], true);
	shard_flush_freed(scene->one->shard);
	house_settle(&scene->house);
	assert_int_equal(waiters[1].result, LEASE_OK);
	free(waiters);
}

/* One who holds all and wants more must not get what comes free before one who has nothing. */
static void lease_waits_and_no_tenant_starves_another(void **state)
{
	struct scene *scene = *state;
	struct waiter *waiters = calloc(2, sizeof(*waiters));
	uint64_t ids[4];

	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(
			house_alloc_like(&scene->house, scene->one, ARENA_PAGES, &scattered, &ids[i]),
			LEASE_OK);
	start_waiting(scene, &waiters[0], scene->one, ARENA_PAGES + ARENA_PAGES / 2);
	start_waiting(scene, &waiters[1], scene->two, ARENA_PAGES / 2);
	lease_free(scene->one, ids[3], true);
	shard_flush_freed(scene->one->shard);
	house_settle(&scene->house);
	house_tick(&scene->house);
	assert_int_equal(waiters[1].result, LEASE_OK);
	assert_int_equal(waiters[0].result, LEASE_WAIT);
	lease_free(scene->one, ids[2], true);
	shard_flush_freed(scene->one->shard);
	house_settle(&scene->house);
	assert_int_equal(waiters[0].result, LEASE_OK);
	free(waiters);
}

static void lease_waiting_is_called_off_with_its_session(void **state)
{
	struct scene *scene = *state;
	struct waiter *waiter = calloc(1, sizeof(*waiter));
	struct session *third = house_session(&scene->house, 1, 1002);
	uint64_t id;

	assert_int_equal(house_alloc_like(&scene->house, scene->one, 4 * ARENA_PAGES, &scattered, &id),
			 LEASE_OK);
	start_waiting(scene, waiter, third, 1);
	house_end_session(&scene->house, third);
	assert_int_equal(waiter->result, LEASE_SESSION_ENDED);
	free(waiter);
}

static void lease_from_a_pool_that_is_drained_is_refused(void **state)
{
	struct scene *scene = *state;
	struct pool *pool = scene->house.pools[0];
	uint64_t id, other;

	assert_int_equal(house_alloc(&scene->house, scene->one, 3, &id), LEASE_OK);
	pool_drain(pool, true);
	assert_int_equal(house_alloc(&scene->house, scene->one, 3, &other), LEASE_DRAINING);
	assert_int_equal(house_resize(&scene->house, scene->one, id, 4, 2), LEASE_DRAINING);
	assert_int_equal(figures_of(scene).zones.leased, 3);
	assert_int_equal(lease_free(scene->one, id, true), LEASE_OK);
	shard_flush_freed(scene->one->shard);
	house_tick(&scene->house);
	assert_int_equal(figures_of(scene).backed, 0);
	pool_drain(pool, false);
	assert_int_equal(house_alloc(&scene->house, scene->one, 3, &id), LEASE_OK);
}

static void lease_no_zero_gets_what_the_tenant_has_freed(void **state)
{
	struct scene *scene = *state;
	struct lease_alloc dirty_is_fine = scattered;
	uint64_t id, again;
	struct run run;

	dirty_is_fine.want.no_zero = true;
	assert_int_equal(house_alloc(&scene->house, scene->one, 40, &id), LEASE_OK);
	run = runs_of(scene, id).list.runs[0];
	assert_int_equal(lease_free(scene->one, id, true), LEASE_OK);
	assert_int_equal(house_alloc_like(&scene->house, scene->one, 30, &dirty_is_fine, &again), LEASE_OK);
	assert_int_equal(runs_of(scene, again).list.runs[0].address, run.address);
	assert_int_equal(figures_of(scene).zones.leased, 30);
	/* Never another tenant's. */
	assert_int_equal(house_alloc_like(&scene->house, scene->two, 30, &dirty_is_fine, &id), LEASE_OK);
	assert_int_not_equal(runs_of(scene, id).arenas[0], runs_of(scene, again).arenas[0]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lease_larger_than_any_run_is_several),
		TEST(lease_of_more_runs_than_allowed_is_refused),
		TEST(lease_revocable_has_files_of_its_own_exact_to_the_page),
		TEST(lease_trimmed_gives_back_its_tail),
		TEST(lease_grows_in_place_or_by_runs),
		TEST(lease_opened_keeps_its_pages_until_closed),
		TEST(lease_opened_of_dead_holder_is_left),
		TEST(lease_evicted_loses_all_and_its_arena_goes),
		TEST(lease_batch_asked_again_is_whole_or_anew),
		TEST(lease_evicted_of_one_run_keeps_the_others),
		TEST(lease_named_is_resized_while_it_is_evicted),
		TEST(lease_evicted_is_not_granted_unscrubbed),
		TEST(lease_with_deadline_is_due_then),
		TEST(lease_waits_and_first_come_is_first_served),
		TEST(lease_waits_and_no_tenant_starves_another),
		TEST(lease_waiting_is_called_off_with_its_session),
		TEST(lease_from_a_pool_that_is_drained_is_refused),
		TEST(lease_no_zero_gets_what_the_tenant_has_freed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

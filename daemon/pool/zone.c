/* zone.c - see zone.h. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/assert.h"
#include "daemon/pool/drain.h"
#include "daemon/pool/poison.h"
#include "daemon/pool/pool.h"
#include "daemon/pool/scrubber.h"
#include "daemon/pool/zone.h"

#define DRAIN_ROOM        64 /* runs moved per turn of a drain */
#define REFILL_MAX        64 /* runs fetched by one refill */
#define GROWTH_MAX_PAGES  16 /* of these, what was never used */
#define SCRUB_WORTH_BYTES (1u << 20)

static inline struct arena *arena_of(const struct zone *zone, struct run run)
{
	struct arena *arena = pool_arena(zone->pool, run_slot(run));

	hp_assert_alive(arena, ARENA_MAGIC);
	hp_assert(arena->zone == zone);
	return arena;
}

static struct pcache *cache_new(const struct pcache_limits *limits)
{
	size_t bytes = (pcache_bytes(limits) + 63) / 64 * 64;
	void *memory;

	if (posix_memalign(&memory, 64, bytes) != 0)
		return NULL;
	memset(memory, 0, bytes);
	return pcache_init(memory, limits);
}

struct zone *zone_new(struct pool *pool, uint32_t tenant, unsigned n_workers,
		      const struct pcache_limits *limits)
{
	size_t bytes = sizeof(struct zone) + n_workers * sizeof(struct zone_worker);
	struct zone *zone;
	void *memory;

	if (posix_memalign(&memory, 64, bytes) != 0)
		return NULL;
	zone = memset(memory, 0, bytes);
	zone->magic = ZONE_MAGIC;
	zone->pool = pool;
	zone->tenant = tenant;
	zone->n_workers = n_workers;
	lock_init(&zone->lock, LOCK_ZONE);
	scrubber_prepare(zone);
	drain_prepare(zone);
	for (unsigned i = 0; i < n_workers; i++) {
		struct zone_worker *worker = &zone->workers[i];

		worker->zone = zone;
		worker->worker = i;
		worker->clean = cache_new(limits);
		worker->dirty = cache_new(limits);
		if (!worker->clean || !worker->dirty)
			return zone_free(zone);
	}
	return zone;
}

struct zone *zone_free(struct zone *zone)
{
	if (!zone)
		return NULL;
	hp_assert_alive(zone, ZONE_MAGIC);
	hp_assert(zone->n_arenas == 0 && zone->limbo_pages == 0 && zone->n_refs == 0);
	zone->magic = 0;
	for (unsigned i = 0; i < zone->n_workers; i++) {
		free(zone->workers[i].clean);
		free(zone->workers[i].dirty);
	}
	lock_fini(&zone->lock);
	free(zone->shared);
	free(zone);
	return NULL;
}

bool zone_can_scrub_locked(const struct zone *zone)
{
	lock_assert_held(&zone->lock);
	for (unsigned i = 0; i < zone->n_shared; i++) {
		const struct arena *arena = zone->shared[i];

		if (arena->n_dirty > 0 && !arena->condemned && !(arena->leaving && arena->is_empty) &&
		    (!arena->poison || zone->n_waiting > 0 || poison_bare_pages(arena) > 0))
			return true;
	}
	return false;
}

void zone_wake_scrubber_locked(struct zone *zone)
{
	if (zone->scrub_queued || !zone_can_scrub_locked(zone))
		return;
	zone->scrub_queued = true;
	mailbox_post(zone->pool->threads->scrubber, &zone->scrub_letter);
}

/* The sums of pages in empty arenas follow: after each change of what is out of a shared arena. */
static void note_empty_locked(struct arena *arena, bool is_empty)
{
	struct zone *zone = arena->zone;

	if (arena->is_empty == is_empty)
		return;
	arena->is_empty = is_empty;
	if (is_empty) {
		zone->empty_pages += arena->n_pages;
		atomic_fetch_add_explicit(&zone->pool->empty_pages, arena->n_pages, memory_order_relaxed);
	} else {
		zone->empty_pages -= arena->n_pages;
		atomic_fetch_sub_explicit(&zone->pool->empty_pages, arena->n_pages, memory_order_relaxed);
	}
}

static void put_locked(struct zone *zone, struct run run, bool clean)
{
	struct arena *arena = arena_of(zone, run);

	lock_assert_held(&zone->lock);
	zone->out_pages -= run.n_pages;
	if (clean) {
		arena_put_clean(arena, run_first(run), run.n_pages);
		zone->clean_pages += run.n_pages;
	} else {
		arena_put_dirty(arena, run_first(run), run.n_pages);
		zone->dirty_pages += run.n_pages;
	}
	note_empty_locked(arena, arena_out_pages(arena) == 0);
}

/* Add a run to the one before it if they lie side by side. Freed in a row they do, and cost one change. */
static bool join(struct run *run, const struct pcache_run *next)
{
	if (next->run >> 32 != run->address >> 32)
		return false;
	if (next->run == run->address + run->n_pages) {
		run->n_pages += next->n_pages;
		return true;
	}
	if (next->run + next->n_pages == run->address) {
		run->address = next->run;
		run->n_pages += next->n_pages;
		return true;
	}
	return false;
}

/* Move at least `n_pages` of a cache back to the arenas, or all. */
static void drain_cache_locked(struct zone *zone, struct pcache *cache, uint64_t n_pages, bool clean)
{
	struct pcache_run runs[DRAIN_ROOM];
	uint32_t n;

	while (n_pages > 0 && (n = pcache_drain(cache, n_pages, runs, DRAIN_ROOM)) > 0)
		for (uint32_t i = 0; i < n;) {
			struct run run = {.address = runs[i].run, .n_pages = runs[i].n_pages};

			while (++i < n && join(&run, &runs[i]))
				;
			put_locked(zone, run, clean);
			n_pages -= run.n_pages < n_pages ? run.n_pages : n_pages;
		}
}

/* The caches may hold runs of an arena that shall grant nothing any more. */
static void ask_for_drain_locked(struct zone *zone)
{
	if (zone->drain_queued)
		return;
	zone->drain_queued = true;
	mailbox_post(zone->pool->threads->stocker, &zone->drain_letter);
}

void zone_condemn_locked(struct arena *arena)
{
	lock_assert_held(&arena->zone->lock);
	arena->condemned = true;
	atomic_store(&arena->shut, true);
	buddy_isolate(arena->buddy);
	/* No cache has runs of a sole arena. */
	if (!arena->sole)
		ask_for_drain_locked(arena->zone);
}

void zone_condemn_run(struct zone *zone, struct run run)
{
	lock_take(&zone->lock);
	zone_condemn_locked(arena_of(zone, run));
	lock_drop(&zone->lock);
}

bool zone_isolate_locked(struct arena *arena, bool isolated)
{
	const bool changed = arena->isolated != isolated;

	lock_assert_held(&arena->zone->lock);
	arena->isolated = isolated;
	atomic_store(&arena->shut, arena->condemned || isolated);
	if (isolated)
		buddy_isolate(arena->buddy);
	else if (!arena->condemned)
		buddy_restore(arena->buddy);
	if (isolated)
		ask_for_drain_locked(arena->zone);
	return changed;
}

uint64_t zone_quota_left(const struct zone *zone)
{
	const uint64_t used = zone->out_pages + zone->returning_pages + zone->pinned_pages;
	const uint64_t quota = zone->pool->config.quota_pages;

	lock_assert_held(&zone->lock);
	if (quota >= zone->pool->config.max_pages)
		return UINT64_MAX;
	return used < quota ? quota - used : 0;
}

/* ---- taking ---- */

/* Enter a run that left its arena into the list. */
static void went_out(struct zone *zone, struct arena *arena, uint64_t first, uint64_t n_pages,
		     struct run_list *runs)
{
	arena->empty_since_ns = 0;
	arena->leaving = false;
	note_empty_locked(arena, false);
	zone->out_pages += n_pages;
	runs->runs[runs->n++] = (struct run){.address = run_address(arena->slot, first), .n_pages = n_pages};
}

/* Are these pages there, and the file what it was? Else a client has destroyed it, and nothing is granted
 * from it any more. */
static bool arena_is_sound(struct arena *arena, uint64_t first, uint64_t n_pages)
{
	return !atomic_load(&arena->exposed) || backing_file_verify(arena->file, first, n_pages) == 0;
}

/* One run from this arena. */
static int take_from(struct zone *zone, struct arena *arena, uint64_t n_pages, uint64_t align_pages,
		     struct run_list *runs)
{
	uint64_t first;

	if (buddy_take(arena->buddy, n_pages, align_pages, &first) != 0)
		return ZONE_SHORT;
	if (!arena_is_sound(arena, first, n_pages)) {
		buddy_put(arena->buddy, first, n_pages);
		zone_condemn_locked(arena);
		return ZONE_SHORT;
	}
	zone->clean_pages -= n_pages;
	went_out(zone, arena, first, n_pages, runs);
	return 0;
}

static bool suits_node(const struct arena *arena, int node)
{
	return node < 0 || arena->node == node;
}

/* One run: from the lowest arena that has it, so that high ones empty and can be given back. */
static int take_one(struct zone *zone, const struct want *want, struct run_list *runs)
{
	for (unsigned i = 0; want->node >= 0 && i < zone->n_shared; i++)
		if (suits_node(zone->shared[i], want->node) &&
		    take_from(zone, zone->shared[i], want->n_pages, want->align_pages, runs) == 0)
			return 0;
	for (unsigned i = 0; i < zone->n_shared; i++)
		if (take_from(zone, zone->shared[i], want->n_pages, want->align_pages, runs) == 0)
			return 0;
	return ZONE_SHORT;
}

/* One run that was freed and not scrubbed yet. */
static int take_one_dirty(struct zone *zone, const struct want *want, struct run_list *runs)
{
	uint64_t first;

	for (unsigned i = 0; want->align_pages == 1 && i < zone->n_shared; i++) {
		struct arena *arena = zone->shared[i];

		if (arena->condemned || arena->isolated || !arena_take_dirty(arena, want->n_pages, &first))
			continue;
		if (!arena_is_sound(arena, first, want->n_pages)) {
			arena_put_dirty(arena, first, want->n_pages);
			continue;
		}
		zone->dirty_pages -= want->n_pages;
		went_out(zone, arena, first, want->n_pages, runs);
		return 0;
	}
	return ZONE_SHORT;
}

static struct arena *arena_of_longest_run(const struct zone *zone, uint64_t *ret_n_pages)
{
	struct arena *best = NULL;

	*ret_n_pages = 0;
	for (unsigned i = 0; i < zone->n_shared; i++) {
		uint64_t n = buddy_sure_run(zone->shared[i]->buddy);

		if (n > *ret_n_pages) {
			*ret_n_pages = n;
			best = zone->shared[i];
		}
	}
	return best;
}

/* Several runs, the longest first so that they are few. */
static int take_several(struct zone *zone, const struct want *want, struct run_list *runs)
{
	uint64_t left = want->n_pages, longest;
	struct arena *arena;

	while (left > 0 && runs->n < want->max_runs && (arena = arena_of_longest_run(zone, &longest))) {
		uint64_t n = longest < left ? longest : left;

		while (n > 0 && take_from(zone, arena, n, want->align_pages, runs) != 0 && !arena->condemned)
			n /= 2; /* only alignment makes it so */
		if (n == 0)
			break;
		left -= arena->condemned ? 0 : n;
	}
	if (left == 0)
		return 0;
	while (runs->n > 0)
		put_locked(zone, runs->runs[--runs->n], true);
	return ZONE_SHORT;
}

int zone_take_locked(struct zone *zone, const struct want *want, struct run_list *ret_runs)
{
	lock_assert_held(&zone->lock);
	ret_runs->n = 0;
	if (want->n_pages > zone_quota_left(zone))
		return ZONE_OVER_QUOTA;
	if (want->no_zero && take_one_dirty(zone, want, ret_runs) == 0)
		return 0;
	if (take_one(zone, want, ret_runs) == 0)
		return 0;
	return want->max_runs > 1 && want->n_pages <= zone->clean_pages ? take_several(zone, want, ret_runs)
									: ZONE_SHORT;
}

bool zone_is_granting(struct zone *zone, const struct run *runs, unsigned n)
{
	bool granting = true;

	lock_take(&zone->lock);
	for (unsigned i = 0; i < n; i++)
		granting &= !arena_of(zone, runs[i])->condemned;
	lock_drop(&zone->lock);
	return granting;
}

int zone_take_behind(struct zone *zone, struct run run, uint64_t n_more)
{
	struct arena *arena = arena_of(zone, run);
	int r = ZONE_SHORT;

	lock_take(&zone->lock);
	if (!arena->condemned && !arena->isolated && zone->n_waiting == 0 &&
	    n_more <= zone_quota_left(zone) && run_first(run) + run.n_pages + n_more <= arena->n_pages &&
	    arena_is_sound(arena, run_first(run) + run.n_pages, n_more) &&
	    buddy_take_at(arena->buddy, run_first(run) + run.n_pages, n_more) == 0) {
		zone->clean_pages -= n_more;
		zone->out_pages += n_more;
		r = 0;
	}
	lock_drop(&zone->lock);
	return r;
}

/* One run that is the caller's now ends past all that was ever used of its arena. */
static bool is_growth(const struct zone *zone, const struct run_list *runs)
{
	return runs->n == 1 &&
	       run_first(runs->runs[0]) + runs->runs[0].n_pages > arena_of(zone, runs->runs[0])->used_pages;
}

static void note_used(struct arena *arena, uint64_t end)
{
	if (end > arena->used_pages)
		arena->used_pages = end;
}

/* Before pages are used that never were, the worker's cache gives back what it has: there may be room in
 * lower pages then, and high arenas stay empty. */
static int take_low(struct zone *zone, struct zone_worker *worker, const struct want *want,
		    struct run_list *ret_runs)
{
	if (zone_take_locked(zone, want, ret_runs) != 0)
		return ZONE_SHORT;
	/* What was not zeroed cannot be put back as clean. */
	if (!want->no_zero && is_growth(zone, ret_runs) && pcache_pages(worker->clean) > 0) {
		put_locked(zone, ret_runs->runs[0], true);
		drain_cache_locked(zone, worker->clean, UINT64_MAX, true);
		if (zone_take_locked(zone, want, ret_runs) != 0)
			return ZONE_SHORT;
	}
	for (unsigned i = 0; i < ret_runs->n; i++)
		note_used(arena_of(zone, ret_runs->runs[i]),
			  run_first(ret_runs->runs[i]) + ret_runs->runs[i].n_pages);
	return 0;
}

static void put_some(struct arena *arena, uint64_t n_pages, const uint64_t *firsts, uint32_t n)
{
	while (n > 0)
		buddy_put(arena->buddy, firsts[--n], n_pages);
}

static uint32_t min_u32(uint32_t a, uint64_t b)
{
	return a < b ? a : (uint32_t)b;
}

/* From the lowest of these runs to the highest one. */
static bool are_sound(struct arena *arena, uint64_t n_pages, const uint64_t *firsts, uint32_t n)
{
	uint64_t lowest = firsts[0], highest = firsts[0];

	for (uint32_t i = 1; i < n; i++) {
		lowest = firsts[i] < lowest ? firsts[i] : lowest;
		highest = firsts[i] > highest ? firsts[i] : highest;
	}
	return arena_is_sound(arena, lowest, highest - lowest + n_pages);
}

/* Up to `n_runs` runs of one arena, the lowest that has any. Returns how many. */
static uint32_t take_some(struct zone *zone, uint64_t n_pages, uint32_t n_runs, struct arena **ret_arena,
			  uint64_t firsts[1 + REFILL_MAX])
{
	for (unsigned i = 0; i < zone->n_shared; i++) {
		struct arena *arena = zone->shared[i];
		uint32_t n = buddy_take_bulk(arena->buddy, n_pages, n_runs, firsts);

		*ret_arena = arena;
		if (n > 0 && are_sound(arena, n_pages, firsts, n))
			return n;
		if (n > 0) {
			put_some(arena, n_pages, firsts, n);
			zone_condemn_locked(arena);
		}
	}
	return 0;
}

/* A run for who asks, firsts[0], and more for the cache, from the same arena; as in take_low() the cache goes
 * back before pages are used that never were. Returns how many. */
static uint32_t take_batch(struct zone *zone, struct pcache *cache, uint64_t n_pages,
			   struct arena **ret_arena, uint64_t firsts[1 + REFILL_MAX])
{
	uint32_t n_wanted = 1 + min_u32(REFILL_MAX, pcache_refill_runs(cache, n_pages)), n;

	hp_assert(n_pages > 0);
	n_wanted = min_u32(n_wanted, zone_quota_left(zone) / n_pages);
	n = take_some(zone, n_pages, n_wanted, ret_arena, firsts);
	if (n > 0 && firsts[0] + n_pages > (*ret_arena)->used_pages && pcache_pages(cache) > 0) {
		put_some(*ret_arena, n_pages, firsts, n);
		drain_cache_locked(zone, cache, UINT64_MAX, true);
		n = take_some(zone, n_pages, n_wanted, ret_arena, firsts);
	}
	return n;
}

/* Fetch a batch of runs for the cache along with the one that is asked for; of pages that never were used
 * only the next few. */
static int take_and_refill(struct zone *zone, struct zone_worker *worker, const struct want *want,
			   struct run_list *ret_runs)
{
	const uint64_t n_pages = want->n_pages;
	uint64_t firsts[1 + REFILL_MAX], end;
	struct arena *arena;
	uint32_t n;

	ret_runs->n = 0;
	if (want->no_zero && zone_quota_left(zone) >= n_pages && take_one_dirty(zone, want, ret_runs) == 0)
		return 0;
	n = take_batch(zone, worker->clean, n_pages, &arena, firsts);
	if (n == 0)
		return take_low(zone, worker, want, ret_runs);
	note_used(arena, firsts[0] + n_pages);
	end = arena->used_pages + GROWTH_MAX_PAGES;
	went_out(zone, arena, firsts[0], n_pages, ret_runs);
	zone->clean_pages -= n_pages;
	/* Cold and, mostly, in ascending order: low addresses are granted first. */
	for (uint32_t i = 1; i < n; i++) {
		if (firsts[i] + n_pages > end) {
			buddy_put(arena->buddy, firsts[i], n_pages);
			continue;
		}
		note_used(arena, firsts[i] + n_pages);
		zone->clean_pages -= n_pages;
		zone->out_pages += n_pages;
		hp_assert(pcache_put(worker->clean, run_address(arena->slot, firsts[i]), n_pages, false) ==
			  0);
	}
	return 0;
}

/* From this worker's caches. */
static int take_cached(struct zone_worker *worker, const struct want *want, struct run_list *ret_runs)
{
	struct run *run = &ret_runs->runs[0];

	if ((!want->no_zero || pcache_take(worker->dirty, want->n_pages, &run->address) != 0) &&
	    pcache_take(worker->clean, want->n_pages, &run->address) != 0)
		return ZONE_SHORT;
	run->n_pages = want->n_pages;
	ret_runs->n = 1;
	return 0;
}

int zone_take(struct zone *zone, unsigned index, const struct want *want, struct run_list *ret_runs)
{
	struct zone_worker *worker = &zone->workers[index];
	bool cached = want->n_pages <= PCACHE_MAX_RUN && want->align_pages <= 1 && want->node < 0;
	int r;

	if (cached && take_cached(worker, want, ret_runs) == 0)
		return 0;
	lock_take(&zone->lock);
	if (zone->n_waiting > 0)
		r = ZONE_SHORT;
	else if (cached)
		r = take_and_refill(zone, worker, want, ret_runs);
	else
		r = take_low(zone, worker, want, ret_runs);
	lock_drop(&zone->lock);
	return r;
}

/* ---- putting ---- */

/* Waking the scrubber costs as much as zeroing some hundred KiB: what is less waits for the worker's next
 * flush, unless there may be need of it before. */
static bool is_worth_scrubbing(const struct zone *zone)
{
	return zone->dirty_pages * zone->pool->config.page_bytes >= SCRUB_WORTH_BYTES ||
	       zone->clean_pages < zone->dirty_pages;
}

/* What a full cache gives back. Of clean pages little: who puts many takes some of them again soon. Dirty
 * ones are on their way to the scrubber. */
static uint64_t surplus_pages(const struct pool *pool, bool clean)
{
	const uint32_t batch_pages = pool->cache_limits.batch_pages;

	return clean ? (batch_pages + 3) / 4 : batch_pages;
}

/* Once a worker's caches were drained of a shut arena they stay so: what comes back goes past them. */
static void put(struct zone *zone, struct pcache *cache, struct run run, bool hot, bool clean)
{
	const bool is_shut = atomic_load_explicit(&arena_of(zone, run)->shut, memory_order_relaxed);

	if (!is_shut && pcache_put(cache, run.address, run.n_pages, hot) == 0)
		return;
	lock_take(&zone->lock);
	if (!is_shut)
		drain_cache_locked(zone, cache, surplus_pages(zone->pool, clean), clean);
	if (is_shut || pcache_put(cache, run.address, run.n_pages, hot) != 0)
		put_locked(zone, run, clean);
	if (!clean && is_worth_scrubbing(zone))
		zone_wake_scrubber_locked(zone);
	lock_drop(&zone->lock);
}

void zone_put(struct zone *zone, unsigned worker, struct run run, bool hot)
{
	put(zone, zone->workers[worker].dirty, run, hot, false);
}

void zone_put_clean(struct zone *zone, unsigned worker, struct run run)
{
	put(zone, zone->workers[worker].clean, run, true, true);
}

void zone_flush_freed_locked(struct zone *zone, unsigned worker)
{
	struct pcache *cache = zone->workers[worker].dirty;

	lock_assert_held(&zone->lock);
	drain_cache_locked(zone, cache, pcache_pages(cache), false);
	zone_wake_scrubber_locked(zone);
}

void zone_drain_locked(struct zone *zone, unsigned worker)
{
	zone_flush_freed_locked(zone, worker);
	drain_cache_locked(zone, zone->workers[worker].clean, UINT64_MAX, true);
}

/* ---- arenas ---- */

static int make_room_for_shared(struct zone *zone)
{
	unsigned room = zone->shared_room ? 2 * zone->shared_room : 8;
	struct arena **shared;

	if (zone->n_shared < zone->shared_room)
		return 0;
	shared = reallocarray(zone->shared, room, sizeof(struct arena *));
	if (!shared)
		return -ENOMEM;
	zone->shared = shared;
	zone->shared_room = room;
	return 0;
}

static void insert_shared(struct zone *zone, struct arena *arena)
{
	unsigned i = zone->n_shared++;

	for (; i > 0 && zone->shared[i - 1]->slot > arena->slot; i--)
		zone->shared[i] = zone->shared[i - 1];
	zone->shared[i] = arena;
}

static void remove_shared(struct zone *zone, const struct arena *arena)
{
	unsigned i = 0;

	while (zone->shared[i] != arena)
		i++;
	zone->n_shared--;
	memmove(&zone->shared[i], &zone->shared[i + 1], (zone->n_shared - i) * sizeof(zone->shared[0]));
}

int zone_add_arena_locked(struct zone *zone, struct arena *arena, bool sole)
{
	lock_assert_held(&zone->lock);
	hp_assert(!arena->zone);
	if (!sole && make_room_for_shared(zone) < 0)
		return -ENOMEM;
	arena->zone = zone;
	arena->sole = sole;
	arena->prev = NULL;
	arena->next = zone->arenas;
	if (arena->next)
		arena->next->prev = arena;
	zone->arenas = arena;
	zone->n_arenas++;
	if (sole) {
		arena_take_all(arena);
		zone->out_pages += arena->n_pages;
		zone->sole_pages += arena->n_pages;
	} else {
		insert_shared(zone, arena);
		note_empty_locked(arena, true);
		zone->clean_pages += arena->n_pages;
	}
	return 0;
}

void zone_remove_arena_locked(struct zone *zone, struct arena *arena)
{
	lock_assert_held(&zone->lock);
	hp_assert(arena->zone == zone && !arena->scrubbing);
	hp_assert(arena->sole || arena_out_pages(arena) == 0);
	note_empty_locked(arena, false);
	if (arena->prev)
		arena->prev->next = arena->next;
	else
		zone->arenas = arena->next;
	if (arena->next)
		arena->next->prev = arena->prev;
	zone->n_arenas--;
	if (arena->sole) {
		zone->out_pages -= arena->n_pages;
		zone->sole_pages -= arena->n_pages;
	} else {
		remove_shared(zone, arena);
	}
	zone->clean_pages -= buddy_free_pages(arena->buddy);
	zone->dirty_pages -= arena->n_dirty;
	zone->limbo_pages += arena->n_pages;
	/* Who has a descriptor can pin any page of the file. */
	arena->is_charged = arena->sole || atomic_load(&arena->exposed);
	if (arena->is_charged)
		zone->returning_pages += arena->n_pages;
}

void zone_shorten_arena_locked(struct zone *zone, struct arena *arena, uint64_t n_pages)
{
	const uint64_t n_cut = arena->n_pages - n_pages;

	lock_assert_held(&zone->lock);
	hp_assert(arena->zone == zone && arena->sole);
	arena_shorten(arena, n_pages);
	zone->out_pages -= n_cut;
	zone->sole_pages -= n_cut;
	zone->limbo_pages += n_cut;
	zone->returning_pages += n_cut;
}

void zone_add_figures(struct zone *zone, struct zone_figures *sum)
{
	uint64_t cached = 0, orphaned = 0, leases = 0;

	lock_assert_held(&zone->lock);
	for (unsigned i = 0; i < zone->n_workers; i++) {
		struct zone_worker *worker = &zone->workers[i];

		cached += pcache_pages(worker->clean) + pcache_pages(worker->dirty);
		orphaned += atomic_load_explicit(&worker->orphaned_pages, memory_order_relaxed);
		leases += atomic_load_explicit(&worker->n_leases, memory_order_relaxed);
	}
	/* Workers move pages between their caches and leases without the lock: count the rest, so that it
	 * adds up. */
	if (cached > zone->out_pages)
		cached = zone->out_pages;
	if (orphaned > zone->out_pages - cached)
		orphaned = zone->out_pages - cached;
	sum->cached += cached;
	sum->orphaned += orphaned;
	sum->leased += zone->out_pages - cached - orphaned;
	sum->clean += zone->clean_pages;
	sum->dirty += zone->dirty_pages;
	sum->limbo += zone->limbo_pages;
	sum->arenas += zone->n_arenas;
	sum->leases += leases;
}

bool zone_is_idle(struct zone *zone)
{
	bool idle;

	lock_take(&zone->lock);
	idle = zone->n_arenas == 0 && zone->limbo_pages == 0 && zone->n_waiting == 0 && !zone->scrub_queued &&
	       !zone->drain_queued && zone->drain.n_missing == 0;
	lock_drop(&zone->lock);
	return idle;
}

void zone_check(struct zone *zone)
{
	uint64_t clean = 0, dirty = 0, out = 0, cached = 0, sole = 0, empty = 0;
	unsigned n_arenas = 0;

	lock_assert_held(&zone->lock);
	hp_assert_alive(zone, ZONE_MAGIC);
	for (const struct arena *arena = zone->arenas; arena; arena = arena->next) {
		arena_check(arena);
		hp_assert(arena->zone == zone);
		n_arenas++;
		clean += buddy_free_pages(arena->buddy);
		dirty += arena->n_dirty;
		out += arena_out_pages(arena);
		sole += arena->sole ? arena_out_pages(arena) : 0;
		hp_assert(!arena->sole || arena_out_pages(arena) == arena->n_pages);
		hp_assert(arena->is_empty == (!arena->sole && arena_out_pages(arena) == 0));
		empty += arena->is_empty ? arena->n_pages : 0;
	}
	for (unsigned i = 1; i < zone->n_shared; i++)
		hp_assert(zone->shared[i - 1]->slot < zone->shared[i]->slot);
	hp_assert(n_arenas == zone->n_arenas && sole == zone->sole_pages && empty == zone->empty_pages);
	hp_assert(clean == zone->clean_pages && dirty == zone->dirty_pages && out == zone->out_pages);
	for (unsigned i = 0; i < zone->n_workers; i++)
		cached += pcache_pages(zone->workers[i].clean) + pcache_pages(zone->workers[i].dirty);
	hp_assert(cached + sole <= zone->out_pages);
}

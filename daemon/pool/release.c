/* release.c - how arenas leave a pool: empty, sole, condemned, drained; and what the kernel has not back.
 *
 * Arenas are taken out of their zone or of the stock under the locks; truncating is the janitor's and holds
 * none.
 */
#include <config.h>

#include <stddef.h>

#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/pool/pool_inside.h"

/* Given back between two letters of the janitor's. */
#define HUGE_CUT_BYTES (1ull << 30)
#define BASE_CUT_BYTES (32ull << 20)

static struct arena *arena_of_letter(struct letter *letter)
{
	return (struct arena *)((char *)letter - offsetof(struct arena, letter));
}

/* Pages that were on their way out are gone, but for those that the kernel has not back: these stay with the
 * zone, in limbo. A blank arena (no zone) leaves nothing behind. `is_charged`: they count in the zone's
 * quota.
 */
static void account_returned_locked(struct pool *pool, struct zone *zone, uint64_t n_pages,
				    uint64_t limbo_pages, bool is_charged)
{
	const uint64_t n_returned = n_pages - limbo_pages;

	lock_assert_held(&pool->lock);
	if (zone) {
		lock_take(&zone->lock);
		zone->limbo_pages -= n_returned;
		zone->returning_pages -= is_charged ? n_pages : 0;
		zone->pinned_pages += limbo_pages;
		zone->gone_pages += zone->n_refs == 0 ? limbo_pages : 0;
		lock_drop(&zone->lock);
		pool->pinned_pages += limbo_pages;
	}
	pool->backed_pages -= n_returned;
	pool->limbo_pages -= n_returned;
	pool->returning_pages -= n_pages;
	atomic_fetch_add(&pool->n_released, 1);
}

/* ---- who waits for what the janitor has ---- */

static void enter_releasing_locked(struct pool *pool, struct arena *arena)
{
	arena->release_ticket = pool->n_posted;
	arena->release_next = NULL;
	arena->release_prev = pool->last_releasing;
	if (arena->release_prev)
		arena->release_prev->release_next = arena;
	else
		pool->first_releasing = arena;
	pool->last_releasing = arena;
}

static void leave_releasing_locked(struct pool *pool, struct arena *arena)
{
	if (arena->release_prev)
		arena->release_prev->release_next = arena->release_next;
	else
		pool->first_releasing = arena->release_next;
	if (arena->release_next)
		arena->release_next->release_prev = arena->release_prev;
	else
		pool->last_releasing = arena->release_prev;
}

/* Those who wait for nothing any more, out of the list. */
static struct release_watch *take_watches_locked(struct pool *pool)
{
	const uint64_t oldest = pool->first_releasing ? pool->first_releasing->release_ticket : UINT64_MAX;
	struct release_watch *first = pool->first_watch, **end = &first;

	while (*end && (*end)->ticket < oldest)
		end = &(*end)->next;
	pool->first_watch = *end;
	if (!pool->first_watch)
		pool->last_watch = NULL;
	*end = NULL;
	return first;
}

bool pool_watch_released(struct pool *pool, struct release_watch *watch)
{
	bool waits;

	lock_take(&pool->lock);
	waits = pool->first_releasing;
	if (waits) {
		watch->ticket = pool->n_posted;
		watch->next = NULL;
		if (pool->last_watch)
			pool->last_watch->next = watch;
		else
			pool->first_watch = watch;
		pool->last_watch = watch;
	}
	lock_drop(&pool->lock);
	return waits;
}

/* On the stocker's thread: the file is gone. */
static void arena_released(struct letter *letter)
{
	struct arena *arena = arena_of_letter(letter);
	struct pool *pool = arena->pool;
	struct arena_watch *watch, *next;
	struct release_watch *released, *after;

	lock_take(&pool->lock);
	account_returned_locked(pool, arena->zone, arena->n_pages, arena->limbo_pages, arena->is_charged);
	pool->n_arenas--;
	atomic_store(&pool->arenas[arena->slot], NULL);
	if (arena->slot < pool->slot_hint)
		pool->slot_hint = arena->slot;
	watch = arena->watches;
	leave_releasing_locked(pool, arena);
	released = take_watches_locked(pool);
	lock_drop(&pool->lock);
	pool_uncount_arena(pool);
	arena_free(arena);
	for (; watch; watch = next) {
		next = watch->next;
		watch->gone(watch);
	}
	for (; released; released = after) {
		after = released->next;
		released->gone(released);
	}
}

/* Pages of the pool that truncating gives back in a millisecond or so. */
static uint64_t cut_slice_pages(const struct pool *pool)
{
	const uint64_t page_bytes = pool->config.page_bytes;
	const uint64_t slice = pool_has_base_pages(pool) ? BASE_CUT_BYTES : HUGE_CUT_BYTES;

	return slice > page_bytes ? slice / page_bytes : 1;
}

/* Truncate the file by a slice, down to `keep_pages` at least, which is not 0. Returns how many pages went.
 */
static uint64_t cut_slice(struct arena *arena, uint64_t keep_pages, uint64_t *ret_limbo_pages)
{
	const uint64_t n_pages = backing_file_pages(arena->file), slice = cut_slice_pages(arena->pool);
	const uint64_t n_cut = n_pages - keep_pages < slice ? n_pages - keep_pages : slice;

	atomic_fetch_add_explicit(&arena->pool->n_cut_slices, 1, memory_order_relaxed);
	backing_file_trim(arena->file, n_pages - n_cut, atomic_load(&arena->exposed), ret_limbo_pages);
	return n_cut;
}

/* The file is being trimmed, slice by slice: that has its own accounts. */
static bool is_trim_queued(struct arena *arena)
{
	bool is_queued;

	if (!arena->zone)
		return false;
	lock_take(&arena->zone->lock);
	is_queued = arena->trim_queued;
	lock_drop(&arena->zone->lock);
	return is_queued;
}

/* On the janitor's thread: truncating can take long, whoever maps the file. Between two slices it is the
 * others' turn. */
static void release_arena(struct letter *letter)
{
	struct arena *arena = arena_of_letter(letter);
	uint64_t limbo_pages;

	lock_assert_none();
	if (is_trim_queued(arena)) {
		mailbox_post(arena->pool->threads->janitor, letter);
		return;
	}
	if (backing_file_pages(arena->file) > cut_slice_pages(arena->pool)) {
		cut_slice(arena, 1, &limbo_pages);
		arena->limbo_pages += limbo_pages;
		mailbox_post(arena->pool->threads->janitor, letter);
		return;
	}
	backing_file_release(take_ptr(arena->file), atomic_load(&arena->exposed), &limbo_pages);
	arena->limbo_pages += limbo_pages;
	letter->deliver = arena_released;
	mailbox_post(arena->pool->threads->stocker, letter);
}

void pool_post_release_locked(struct pool *pool, struct arena *arena)
{
	lock_assert_held(&pool->lock);
	atomic_store_explicit(&pool->arena_ids[arena->slot], 0, memory_order_release);
	atomic_fetch_add(&pool->n_gone, 1);
	pool->limbo_pages += arena->n_pages;
	pool->returning_pages += arena->n_pages;
	pool->n_posted++;
	enter_releasing_locked(pool, arena);
	arena->letter.deliver = release_arena;
	mailbox_post(pool->threads->janitor, &arena->letter);
}

/* May this much go? Never below the reserve, unless the arena is of no use any more. */
static bool may_release_locked(const struct pool *pool, const struct arena *arena)
{
	return arena->condemned || arena->isolated ||
	       pool_usable_pages(pool) >= pool->config.reserve_pages + arena->n_pages;
}

unsigned pool_release_empty(struct pool *pool, struct zone *zone, uint64_t empty_since_ns)
{
	unsigned n = 0;

	lock_take(&pool->lock);
	lock_take(&zone->lock);
	/* The highest first: what is behind moves up when one leaves. */
	for (unsigned i = zone->n_shared; i-- > 0;) {
		struct arena *arena = zone->shared[i];

		if (arena_out_pages(arena) > 0 || arena->scrubbing) {
			arena->empty_since_ns = 0;
			continue;
		}
		if (arena->empty_since_ns == 0)
			arena->empty_since_ns = clock_now_ns();
		if (!arena->condemned && !arena->isolated && arena->empty_since_ns > empty_since_ns)
			continue;
		if (!may_release_locked(pool, arena))
			continue;
		zone_remove_arena_locked(zone, arena);
		pool_post_release_locked(pool, arena);
		n++;
	}
	lock_drop(&zone->lock);
	lock_drop(&pool->lock);
	return n;
}

void pool_release_stock(struct pool *pool)
{
	lock_take(&pool->lock);
	for (struct arena **link = &pool->stock; *link;) {
		struct arena *arena = *link;

		if (!atomic_load(&pool->draining) &&
		    (!may_release_locked(pool, arena) ||
		     pool->stock_pages < pool->config.stock_pages + arena->n_pages)) {
			link = &arena->stock_next;
			continue;
		}
		*link = arena->stock_next;
		pool->stock_pages -= arena->n_pages;
		pool_post_release_locked(pool, arena);
	}
	lock_drop(&pool->lock);
}

/* ---- sole arenas ---- */

static struct arena *sole_of(const struct zone *zone, struct run run)
{
	struct arena *arena = pool_arena(zone->pool, run_slot(run));

	hp_assert_alive(arena, ARENA_MAGIC);
	hp_assert(arena->zone == zone && arena->sole);
	return arena;
}

void pool_end_sole(struct zone *zone, struct run run)
{
	struct pool *pool = zone->pool;
	struct arena *arena = sole_of(zone, run);

	lock_take(&pool->lock);
	lock_take(&zone->lock);
	zone_remove_arena_locked(zone, arena);
	lock_drop(&zone->lock);
	pool_post_release_locked(pool, arena);
	lock_drop(&pool->lock);
}

/* On the janitor's thread. Nobody else touches the file meanwhile: what is taken out afterwards is released
 * behind us.
 */
static void trim_arena(struct letter *letter)
{
	struct arena *arena = (struct arena *)((char *)letter - offsetof(struct arena, trim_letter));
	struct pool *pool = arena->pool;
	struct zone *zone = arena->zone;
	uint64_t keep_pages, cut_pages, limbo_pages;

	lock_take(&zone->lock);
	keep_pages = arena->n_pages;
	lock_drop(&zone->lock);

	lock_assert_none();
	cut_pages = cut_slice(arena, keep_pages, &limbo_pages);
	lock_take(&pool->lock);
	account_returned_locked(pool, zone, cut_pages, limbo_pages, true);
	lock_take(&zone->lock);
	/* It may have been shortened again meanwhile. */
	arena->trim_queued = backing_file_pages(arena->file) > arena->n_pages;
	pool->n_posted += arena->trim_queued;
	if (arena->trim_queued)
		mailbox_post(pool->threads->janitor, &arena->trim_letter);
	lock_drop(&zone->lock);
	lock_drop(&pool->lock);
	mailbox_ring(pool->threads->stocker);
}

void pool_trim_sole(struct zone *zone, struct run run, uint64_t n_pages)
{
	struct pool *pool = zone->pool;
	struct arena *arena = sole_of(zone, run);
	uint64_t cut_pages;

	lock_take(&pool->lock);
	lock_take(&zone->lock);
	cut_pages = arena->n_pages - n_pages;
	zone_shorten_arena_locked(zone, arena, n_pages);
	pool->limbo_pages += cut_pages;
	pool->returning_pages += cut_pages;
	if (!arena->trim_queued) {
		arena->trim_queued = true;
		pool->n_posted++;
		arena->trim_letter.deliver = trim_arena;
		mailbox_post(pool->threads->janitor, &arena->trim_letter);
	}
	lock_drop(&zone->lock);
	lock_drop(&pool->lock);
}

/* ---- the operator's ---- */

/* Do `act` to a zone's arena, under the locks; *ret_changed is what it says. *ret_zone is its zone, with a
 * reference for the caller. */
static int act_on_arena(struct pool *pool, uint64_t arena_id, bool (*act)(struct arena *arena),
			bool *ret_changed, struct zone **ret_zone, uint32_t *ret_slot)
{
	int r = POOL_NO_ARENA;

	lock_take(&pool->lock);
	for (struct zone *zone = pool->zones; zone && r != 0; zone = zone->next) {
		lock_take(&zone->lock);
		for (struct arena *arena = zone->arenas; arena && r != 0; arena = arena->next)
			if (arena->id == arena_id) {
				*ret_changed = act(arena);
				*ret_slot = arena->slot;
				r = 0;
			}
		lock_drop(&zone->lock);
		if (r == 0) {
			zone->n_refs++;
			*ret_zone = zone;
		}
	}
	lock_drop(&pool->lock);
	return r;
}

static bool isolate(struct arena *arena)
{
	return zone_isolate_locked(arena, true);
}

static bool restore(struct arena *arena)
{
	return zone_isolate_locked(arena, false);
}

static bool condemn(struct arena *arena)
{
	zone_condemn_locked(arena);
	return true;
}

static void send_signal(const struct pool *pool, enum pool_signal signal, uint64_t arena_id)
{
	const struct pool_threads *threads = pool->threads;

	lock_assert_none();
	if (threads->signal)
		threads->signal(threads->signal_arg, pool, signal, arena_id);
}

int pool_isolate_arena(struct pool *pool, uint64_t arena_id, bool isolated, uint32_t *ret_tenant)
{
	uint32_t slot;
	struct zone *zone;
	bool changed = false;
	int r = act_on_arena(pool, arena_id, isolated ? isolate : restore, &changed, &zone, &slot);

	if (r == 0) {
		*ret_tenant = zone->tenant;
		pool_zone_unref(zone);
	}
	if (changed)
		send_signal(pool, isolated ? POOL_DRAINED : POOL_RESTORED, arena_id);
	return r;
}

int pool_condemn_arena(struct pool *pool, uint64_t arena_id, struct zone **ret_zone, uint32_t *ret_slot)
{
	bool changed;

	return act_on_arena(pool, arena_id, condemn, &changed, ret_zone, ret_slot);
}

/* Nothing is out, nobody is at work in it. */
static bool release_condemned_locked(struct arena *arena)
{
	struct zone *zone = arena->zone;
	bool can_go;

	lock_take(&zone->lock);
	can_go = arena->condemned && !arena->sole && !arena->scrubbing && arena_out_pages(arena) == 0;
	if (can_go)
		zone_remove_arena_locked(zone, arena);
	lock_drop(&zone->lock);
	return can_go;
}

int pool_watch_arena(struct pool *pool, uint32_t slot, uint64_t arena_id, struct arena_watch *watch)
{
	struct arena *arena;
	bool is_there;

	lock_take(&pool->lock);
	arena = pool_arena(pool, slot);
	is_there = arena && arena->id == arena_id;
	if (is_there) {
		watch->next = arena->watches;
		arena->watches = watch;
		if (pool_has_arena(pool, slot, arena_id) && release_condemned_locked(arena))
			pool_post_release_locked(pool, arena);
	}
	lock_drop(&pool->lock);
	return is_there ? 0 : POOL_NO_ARENA;
}

void pool_release_all(struct pool *pool)
{
	for (struct zone *zone = pool->zones; zone; zone = zone->next)
		pool_release_empty(pool, zone, UINT64_MAX);
}

void pool_drain(struct pool *pool, bool draining)
{
	bool changed;

	lock_take(&pool->lock);
	changed = atomic_exchange(&pool->draining, draining) != draining;
	for (struct zone *zone = pool->zones; zone; zone = zone->next) {
		lock_take(&zone->lock);
		for (struct arena *arena = zone->arenas; arena; arena = arena->next)
			changed |= zone_isolate_locked(arena, draining);
		lock_drop(&zone->lock);
	}
	while (draining && pool->stock) {
		struct arena *arena = pool->stock;

		pool->stock = arena->stock_next;
		pool->stock_pages -= arena->n_pages;
		pool_post_release_locked(pool, arena);
	}
	lock_drop(&pool->lock);
	if (changed)
		send_signal(pool, draining ? POOL_DRAINED : POOL_RESTORED, 0);
}

void pool_signal_pressure(struct pool *pool, uint64_t tick)
{
	if (pool->pressure_tick == tick)
		return;
	pool->pressure_tick = tick;
	send_signal(pool, POOL_PRESSURE, 0);
}

static uint64_t at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

/* The most that each zone can still miss, when all together miss pool->pinned_pages. */
static void limit_pinned_locked(struct pool *pool)
{
	const uint64_t total = pool->pinned_pages;
	uint64_t live = 0, for_gone;

	lock_assert_held(&pool->lock);
	for (const struct zone *zone = pool->zones; zone; zone = zone->next)
		live += at_most(zone->pinned_pages - zone->gone_pages, total);
	for_gone = total > live ? total - live : 0;
	for (struct zone *zone = pool->zones; zone; zone = zone->next) {
		uint64_t pinned;

		lock_take(&zone->lock);
		pinned = at_most(zone->pinned_pages - zone->gone_pages, total);
		zone->gone_pages = at_most(zone->gone_pages, for_gone);
		pinned = at_most(pinned + zone->gone_pages, total);
		zone->limbo_pages -= zone->pinned_pages - pinned;
		zone->pinned_pages = pinned;
		lock_drop(&zone->lock);
	}
}

/* Pages can be back before arena_released() has put them into a zone's limbo: they are kept for the next
 * time.
 */
void pool_settle_limbo(struct pool *pool)
{
	uint64_t left = pool->returned_pages + backing_limbo_returned(pool->backing), n;

	lock_take(&pool->lock);
	n = at_most(left, pool->pinned_pages);
	pool->pinned_pages -= n;
	pool->backed_pages -= n;
	pool->limbo_pages -= n;
	if (n > 0 || pool->has_gone)
		limit_pinned_locked(pool);
	pool->has_gone = false;
	lock_drop(&pool->lock);
	pool->returned_pages = left - n;
}

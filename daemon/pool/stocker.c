/* stocker.c - see stocker.h. */
#include <config.h>

#include <errno.h>
#include <stddef.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/pool/stocker.h"

#define TICK_NS      (NS_PER_S / 2)
#define RECLAIMS_MAX 8
#define LATER_NS     (5 * NS_PER_MS)
#define RETRY_NS     (10 * NS_PER_S) /* of a refill that the kernel could not supply */

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* ---- draining: every worker empties its caches of a zone, and says so ---- */

static uint64_t drain_start(struct zone *zone);

static void drain_answered(struct letter *letter)
{
	struct zone *zone = container_of(letter, struct zone_worker, drain_letter)->zone;
	struct zone_drain *drain = &zone->drain;

	if (--drain->n_missing > 0)
		return;
	drain->n_finished = drain->n_started;
	if (drain->again)
		drain_start(zone);
}

static void drain_on_worker(struct letter *letter)
{
	struct zone_worker *worker = container_of(letter, struct zone_worker, drain_letter);

	lock_take(&worker->zone->lock);
	zone_drain_locked(worker->zone, worker->worker);
	lock_drop(&worker->zone->lock);
	letter->deliver = drain_answered;
	mailbox_post(worker->zone->pool->threads->stocker, letter);
}

/* Returns the value that drain.n_finished will have when a drain that began now or later is over. */
static uint64_t drain_start(struct zone *zone)
{
	struct zone_drain *drain = &zone->drain;

	drain->again = drain->n_missing > 0;
	if (drain->again)
		return drain->n_started + 1;
	drain->n_started++;
	drain->n_missing = zone->n_workers;
	for (unsigned i = 0; i < zone->n_workers; i++) {
		zone->workers[i].drain_letter.deliver = drain_on_worker;
		mailbox_post(zone->pool->threads->workers[i], &zone->workers[i].drain_letter);
	}
	return drain->n_started;
}

/* A zone asks for it: an arena was condemned, and the caches may hold runs of it. */
static void drain_asked(struct letter *letter)
{
	struct zone *zone = container_of(letter, struct zone, drain_letter);

	lock_take(&zone->lock);
	zone->drain_queued = false;
	lock_drop(&zone->lock);
	drain_start(zone);
}

void stocker_prepare(struct zone *zone)
{
	zone->drain_letter.deliver = drain_asked;
}

/* Zones are entered at the head of the list, and freed on this thread only: the walk needs no lock. */
static struct zone *first_zone(struct pool *pool)
{
	struct zone *zone;

	lock_take(&pool->lock);
	zone = pool->zones;
	lock_drop(&pool->lock);
	return zone;
}

/* ---- one supply ---- */

/* Something under way may help: try again when the stocker is rung. */
enum {
	SUPPLY_WAIT = -1,      /* in its own zone */
	SUPPLY_WAIT_ROOM = -2, /* in others: they give up what they do not use */
};

/* No worker's cache hides pages of the zone any more: true when such a drain, begun for this supply, is over.
 */
static bool is_drained(struct supply *supply)
{
	if (supply->drain_target == 0)
		supply->drain_target = drain_start(supply->zone);
	return supply->zone->drain.n_finished >= supply->drain_target;
}

/* From the zone itself. */
static int try_zone(struct supply *supply)
{
	struct zone *zone = supply->zone;
	bool can_scrub;
	int r;

	lock_take(&zone->lock);
	r = zone_take_locked(zone, &supply->want, &supply->runs);
	zone_wake_scrubber_locked(zone);
	can_scrub = zone_can_scrub_locked(zone);
	lock_drop(&zone->lock);
	if (r == 0)
		return SUPPLY_GRANTED;
	if (!is_drained(supply))
		return SUPPLY_WAIT;
	if (r == ZONE_OVER_QUOTA)
		return SUPPLY_OVER_QUOTA;
	return can_scrub ? SUPPLY_WAIT : SUPPLY_POOL_FULL;
}

static int result_of(int r)
{
	switch (r) {
	case BACKING_SHORT:
		return SUPPLY_KERNEL_SHORT;
	case -ENOSPC:
		return SUPPLY_POOL_FULL;
	default:
		return SUPPLY_NO_MEMORY;
	}
}

/* From as many arenas of the stock, and new ones, as it takes; none are taken if they would not do. */
static int try_new_arenas(struct supply *supply)
{
	int r = pool_add_arenas(supply->zone, &supply->want);

	return r == 0 ? try_zone(supply) : result_of(r);
}

/* From one arena of the stock, or a new one. */
static int try_new_arena(struct supply *supply)
{
	struct zone *zone = supply->zone;
	int r;

	if (pool_move_stock(zone, supply->want.n_pages) == 0)
		return try_zone(supply);
	r = pool_make_arena(zone->pool, supply->want.n_pages, supply->want.node);
	if (r == 0 && pool_move_stock(zone, supply->want.n_pages) == 0)
		return try_zone(supply);
	return result_of(r);
}

static int try_shared(struct supply *supply, bool may_take_room)
{
	int r = try_zone(supply);

	if (r != SUPPLY_POOL_FULL || !may_take_room)
		return r;
	r = try_new_arena(supply);
	if ((r == SUPPLY_POOL_FULL || r == SUPPLY_KERNEL_SHORT) && supply->want.max_runs > 1)
		r = try_new_arenas(supply);
	return r;
}

static int try_sole(struct supply *supply, bool may_take_room)
{
	int r = may_take_room ? pool_give_sole(supply->zone, &supply->want, &supply->runs) : -ENOSPC;

	if (r == 0)
		return SUPPLY_GRANTED;
	if (r == POOL_OVER_QUOTA)
		return is_drained(supply) ? SUPPLY_OVER_QUOTA : SUPPLY_WAIT;
	return r == POOL_TOO_MANY_RUNS ? SUPPLY_POOL_FULL : result_of(r);
}

/* What nobody uses: drain the caches of all zones, let their empty arenas go, and blank ones, which were too
 * small. Returns whether anything is under way. One pass makes way for the next; but what a supply lets go
 * it, or another, may take in vain, so there are only so many, and for one that waits another in each tick
 * until its time is over. */
static bool reclaim(struct stocker *stocker, struct supply *supply)
{
	struct pool *pool = supply->zone->pool;
	bool under_way = false, is_first = supply->reclaim_tick != stocker->n_ticks;
	unsigned n_released = 0;
	bool may_release;

	if (is_first) {
		pool_signal_pressure(pool);
		if (supply->n_reclaims > 0 && clock_now_ns() < supply->deadline_ns)
			supply->n_reclaims--;
	}
	supply->reclaim_tick = stocker->n_ticks;
	may_release = supply->n_reclaims < RECLAIMS_MAX;
	under_way |= pool_stop_refill(pool);
	while (may_release && pool_move_stock(supply->zone, 1) == 0)
		;
	for (struct zone *zone = first_zone(pool); zone; zone = zone->next) {
		bool scrubbing = false; /* what can go once that is done */

		if (is_first)
			drain_start(zone);
		under_way |= zone->drain.n_missing > 0;
		if (may_release)
			n_released += pool_release_empty(pool, zone, UINT64_MAX, true, &scrubbing);
		under_way |= scrubbing;
		lock_take(&zone->lock);
		zone_wake_scrubber_locked(zone);
		lock_drop(&zone->lock);
	}
	supply->n_reclaims += n_released > 0;
	lock_take(&pool->lock);
	under_way |= pool->n_releasing > 0;
	lock_drop(&pool->lock);
	return under_way;
}

static bool lacks_room(int result)
{
	return result == SUPPLY_POOL_FULL || result == SUPPLY_KERNEL_SHORT;
}

/* While others still make room for somebody before, some of it may be left for who comes behind. */
static int try_supply(struct stocker *stocker, struct supply *supply, bool may_take_room)
{
	int r = supply->want.sole ? try_sole(supply, may_take_room) : try_shared(supply, may_take_room);
	bool may_help;

	if (!lacks_room(r))
		return r;
	may_help = may_take_room ? reclaim(stocker, supply) : supply->zone->pool->blocked_by_work;
	return may_help ? SUPPLY_WAIT_ROOM : r;
}

/* ---- the queue ---- */

static void supply_done(struct letter *letter)
{
	struct supply *supply = container_of(letter, struct supply, letter);

	supply->done(supply);
}

static void finish(struct supply *supply, enum supply_result result)
{
	struct zone *zone = supply->zone;

	supply->result = result;
	if (result == SUPPLY_KERNEL_SHORT)
		supply->shortage = zone->pool->shortage;
	lock_take(&zone->lock);
	zone->n_waiting--;
	lock_drop(&zone->lock);
	atomic_fetch_sub(&zone->pool->n_waiting, 1);
	supply->letter.deliver = supply_done;
	mailbox_post(zone->pool->threads->workers[supply->worker], &supply->letter);
}

static void supply_arrived(struct letter *letter)
{
	struct supply *supply = container_of(letter, struct supply, letter);
	struct stocker *stocker = container_of(supply->zone->pool->threads->stocker, struct stocker, mailbox);

	supply->next = NULL;
	*stocker->tail = supply;
	stocker->tail = &supply->next;
}

void supply_post(struct supply *supply)
{
	struct zone *zone = supply->zone;

	supply->drain_target = 0;
	supply->reclaim_tick = supply->n_reclaims = 0;
	lock_take(&zone->lock);
	zone->n_waiting++;
	lock_drop(&zone->lock);
	atomic_fetch_add(&zone->pool->n_waiting, 1);
	supply->letter.deliver = supply_arrived;
	mailbox_post(zone->pool->threads->stocker, &supply->letter);
}

void supply_cancel(struct supply *supply)
{
	atomic_store(&supply->cancelled, true);
	mailbox_ring(supply->zone->pool->threads->stocker);
}

/* What the tenant would hold with this. */
static uint64_t pages_then(const struct supply *supply)
{
	struct zone *zone = supply->zone;
	uint64_t out;

	lock_take(&zone->lock);
	out = zone->out_pages;
	lock_drop(&zone->lock);
	return out + supply->want.n_pages;
}

static bool is_waiting(int result)
{
	return result == SUPPLY_WAIT || result == SUPPLY_WAIT_ROOM;
}

/* It waits for room: from now on in this round only those get some who would hold less. */
static void note_blocked_for_room(struct stocker *stocker, struct pool *pool, uint64_t pages, int result)
{
	if (pool->blocked_round != stocker->round) {
		pool->blocked_round = stocker->round;
		pool->blocked_pages = pages;
		pool->blocked_by_work = false;
	}
	if (pages < pool->blocked_pages)
		pool->blocked_pages = pages;
	pool->blocked_by_work |= result == SUPPLY_WAIT_ROOM;
}

/* Somebody waits: from now on in this round only those of its zone are tried who would hold less. */
static void note_blocked(struct stocker *stocker, struct zone *zone, uint64_t pages, int result)
{
	if (zone->blocked_round != stocker->round || pages < zone->blocked_pages) {
		zone->blocked_pages = pages;
		zone->blocked_result = result;
	}
	zone->blocked_round = stocker->round;
	if (result != SUPPLY_WAIT && result != SUPPLY_OVER_QUOTA)
		note_blocked_for_room(stocker, zone->pool, pages, result);
}

/* Returns a supply_result, or one of those that wait. */
static int serve_one(struct stocker *stocker, struct supply *supply, uint64_t now_ns)
{
	struct zone *zone = supply->zone;
	struct pool *pool = zone->pool;
	const uint64_t pages = pages_then(supply);
	const bool may_take_room = pool->blocked_round != stocker->round || pages < pool->blocked_pages;
	bool refused;
	int r;

	if (atomic_load(&supply->cancelled))
		return SUPPLY_CANCELLED;
	if (atomic_load(&pool->draining))
		return SUPPLY_DRAINING;
	if (zone->blocked_round == stocker->round && pages >= zone->blocked_pages)
		r = zone->blocked_result;
	else
		r = try_supply(stocker, supply, may_take_room);
	refused = r != SUPPLY_GRANTED && r != SUPPLY_NO_MEMORY && !is_waiting(r);
	if (refused && supply->deadline_ns > 0 && now_ns >= supply->deadline_ns)
		return SUPPLY_TIMED_OUT;
	if (is_waiting(r) || (refused && supply->deadline_ns > 0)) {
		note_blocked(stocker, zone, pages, r);
		return SUPPLY_WAIT;
	}
	return r;
}

/* At the latest. */
static void wake_at(struct stocker *stocker, uint64_t time_ns)
{
	if (time_ns < stocker->next_wake_ns)
		stocker->next_wake_ns = time_ns;
}

/* In the order of arrival. */
static void serve(struct stocker *stocker)
{
	const uint64_t now_ns = clock_now_ns();

	stocker->round++;
	stocker->next_wake_ns = UINT64_MAX;
	for (struct supply **link = &stocker->head, *supply; (supply = *link);) {
		int r = serve_one(stocker, supply, now_ns);

		if (r == SUPPLY_WAIT) {
			if (supply->deadline_ns > 0)
				wake_at(stocker, supply->deadline_ns);
			link = &supply->next;
			continue;
		}
		*link = supply->next;
		if (!supply->next)
			stocker->tail = link;
		finish(supply, (enum supply_result)r);
	}
}

/* ---- refilling ---- */

/* A slice for each pool, but for those of which somebody waits for the room. Returns whether there is more
 * to do. */
static bool refill(struct stocker *stocker)
{
	const uint64_t now_ns = clock_now_ns();
	bool more = false;

	for (unsigned i = 0; i < stocker->n_pools; i++) {
		struct pool *pool = stocker->pools[i];
		int r;

		if (atomic_load(&pool->n_waiting) > 0 || now_ns < pool->refill.retry_ns)
			continue;
		r = pool_refill_some(pool);
		more |= r == POOL_MORE;
		if (r == POOL_LATER)
			wake_at(stocker, now_ns + LATER_NS);
		else if (r != 0 && r != POOL_MORE)
			pool->refill.retry_ns = now_ns + RETRY_NS;
	}
	return more;
}

/* ---- giving back ---- */

static bool has_cached(struct zone *zone)
{
	for (unsigned i = 0; i < zone->n_workers; i++)
		if (pcache_pages(zone->workers[i].clean) + pcache_pages(zone->workers[i].dirty) > 0)
			return true;
	return false;
}

static void tick_pool(struct pool *pool, uint64_t now_ns)
{
	uint64_t decay_ns = pool->config.decay_ms * NS_PER_MS;

	for (struct zone *zone = first_zone(pool); zone; zone = zone->next) {
		if (has_cached(zone))
			drain_start(zone);
		lock_take(&zone->lock);
		zone_wake_scrubber_locked(zone);
		lock_drop(&zone->lock);
		pool_release_empty(pool, zone, now_ns > decay_ns ? now_ns - decay_ns : 0, false,
				   &(bool){false});
	}
	pool_settle_limbo(pool);
	pool_release_stock(pool);
	pool_refresh_missing(pool);
	pool_free_idle_zones(pool);
}

int stocker_init(struct stocker *stocker, struct pool **pools)
{
	*stocker = (struct stocker){
		.pools = pools, .tail = &stocker->head, .n_ticks = 1, .next_wake_ns = UINT64_MAX};
	return mailbox_init(&stocker->mailbox);
}

void stocker_fini(struct stocker *stocker)
{
	mailbox_fini(&stocker->mailbox);
}

void stocker_step(struct stocker *stocker)
{
	uint64_t now_ns = clock_now_ns(), until_ns = stocker->next_tick_ns;

	if (stocker->next_wake_ns < until_ns)
		until_ns = stocker->next_wake_ns;
	if (stocker->is_refilling || now_ns >= until_ns)
		mailbox_wait(&stocker->mailbox, 0);
	else
		mailbox_wait(&stocker->mailbox, (int)((until_ns - now_ns) / NS_PER_MS + 1));
	serve(stocker);
	stocker->is_refilling = refill(stocker);
	now_ns = clock_now_ns();
	if (now_ns < stocker->next_tick_ns)
		return;
	for (unsigned i = 0; i < stocker->n_pools; i++)
		tick_pool(stocker->pools[i], now_ns);
	stocker->n_ticks++;
	stocker->next_tick_ns = now_ns + TICK_NS;
}

/* stocker.c - see stocker.h. */
#include <config.h>

#include <poll.h>
#include <stddef.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/pool/drain.h"
#include "daemon/pool/memoryerror.h"
#include "daemon/pool/stocker.h"

#define LOOKS_MAX  256 /* supplies that one step looks at */
#define TRIES_MAX  32  /* and tries */
#define MAKE_EVERY 8   /* steps of one round, at the latest, some of what is in the making is made */
#define TICK_NS    (NS_PER_S / 2)
#define TICK_ZONES 256 /* that one step visits for a tick */
#define LATER_NS   (5 * NS_PER_MS)
#define RETRY_NS   (10 * NS_PER_S) /* of a refill that the kernel could not supply */

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Zones are entered at the head of the list, and freed on this thread only: the walk needs no lock. */
static struct zone *first_zone(struct pool *pool)
{
	struct zone *zone;

	lock_take(&pool->lock);
	zone = pool->zones;
	lock_drop(&pool->lock);
	return zone;
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

	construction_disown(zone->pool, &supply->want);
	supply->result = result;
	if (result == SUPPLY_KERNEL_SHORT ||
	    (result == SUPPLY_TIMED_OUT && supply->refusal == SUPPLY_KERNEL_SHORT))
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

	supply->drain_target = supply->pool_drain_target = supply->drain_tick = 0;
	supply->scrub_target = supply->release_target = supply->piece_target = 0;
	supply->n_attempts = supply->n_failed = 0;
	supply->quota_target = supply->n_quota_waits = 0;
	supply->attempt_tick = supply->retry_tick = 0;
	supply->is_kernel_short = supply->is_in_vain = false;
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

static bool is_refused(int result)
{
	return result != SUPPLY_GRANTED && result != SUPPLY_NO_MEMORY && !is_waiting(result);
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

/* Somebody waits: from now on in this round only those of its zone are tried who want less. `pages` are what
 * its tenant would hold. */
static void note_blocked(struct stocker *stocker, const struct supply *supply, uint64_t pages, int result)
{
	struct zone *zone = supply->zone;

	if (zone->blocked_round != stocker->round || supply->want.n_pages < zone->blocked_pages) {
		zone->blocked_pages = supply->want.n_pages;
		zone->blocked_result = result;
	}
	zone->blocked_round = stocker->round;
	if (result != SUPPLY_WAIT && result != SUPPLY_OVER_QUOTA)
		note_blocked_for_room(stocker, zone->pool, pages, result);
}

/* One of its tenant that wants no more waits already, in this round. */
static bool is_behind_another(const struct stocker *stocker, const struct supply *supply)
{
	const struct zone *zone = supply->zone;

	return zone->blocked_round == stocker->round && supply->want.n_pages >= zone->blocked_pages;
}

static int try_one(struct stocker *stocker, struct supply *supply, bool is_patient)
{
	const struct pool *pool = supply->zone->pool;
	const uint64_t pages = pages_then(supply);
	const bool may_take_room = pool->blocked_round != stocker->round || pages < pool->blocked_pages;
	int r = supply_try(supply, may_take_room, is_patient, stocker->n_ticks);

	stocker->n_tried++;
	if (is_waiting(r) || (is_refused(r) && is_patient))
		note_blocked(stocker, supply, pages, r);
	return r;
}

/* Returns a supply_result, or SUPPLY_WAIT. One behind another costs a look at it, and no lock. */
static int serve_one(struct stocker *stocker, struct supply *supply, uint64_t now_ns)
{
	const struct zone *zone = supply->zone;
	const bool is_patient = now_ns < supply->deadline_ns;
	int r;

	if (atomic_load(&supply->cancelled))
		return SUPPLY_CANCELLED;
	if (atomic_load(&zone->pool->draining))
		return SUPPLY_DRAINING;
	if (is_behind_another(stocker, supply))
		r = zone->blocked_result;
	else
		r = try_one(stocker, supply, is_patient);
	if (is_refused(r) && supply->deadline_ns > 0 && !is_patient) {
		supply->refusal = (enum supply_result)r;
		return SUPPLY_TIMED_OUT;
	}
	return is_waiting(r) || (is_refused(r) && is_patient) ? SUPPLY_WAIT : r;
}

/* At the latest. */
static void wake_at(struct stocker *stocker, uint64_t time_ns)
{
	if (time_ns < stocker->next_wake_ns)
		stocker->next_wake_ns = time_ns;
}

/* In the order of arrival: so many as one step may look at, and try. The rest of the round is the next
 * step's. */
static void serve(struct stocker *stocker)
{
	const uint64_t now_ns = clock_now_ns(), n_tried = stocker->n_tried;
	struct supply **link = stocker->cursor, *supply;

	if (!link) {
		link = &stocker->head;
		stocker->round++;
		stocker->next_wake_ns = UINT64_MAX;
	}
	for (unsigned n = 0; (supply = *link) && n < LOOKS_MAX && stocker->n_tried - n_tried < TRIES_MAX;
	     n++) {
		int r = serve_one(stocker, supply, now_ns);

		stocker->n_looked++;
		if (r == SUPPLY_WAIT) {
			if (supply->deadline_ns > now_ns)
				wake_at(stocker, supply->deadline_ns);
			link = &supply->next;
			continue;
		}
		*link = supply->next;
		if (!supply->next)
			stocker->tail = link;
		finish(supply, (enum supply_result)r);
	}
	stocker->cursor = *link ? link : NULL;
}

/* ---- making ---- */

/* Room is being made in the pool for somebody: it is not for the stock. */
static bool is_room_wanted(const struct stocker *stocker, const struct pool *pool)
{
	return pool->blocked_round == stocker->round && pool->blocked_by_work;
}

/* A slice of what the pool's stock lacks. Returns whether there is more to do. */
static bool refill(struct stocker *stocker, struct pool *pool)
{
	const uint64_t now_ns = clock_now_ns();
	int r;

	if (is_room_wanted(stocker, pool) || now_ns < pool->refill.retry_ns)
		return false;
	r = pool_refill_some(pool);
	if (r == POOL_LATER)
		wake_at(stocker, now_ns + LATER_NS);
	else if (r != 0 && r != POOL_MORE)
		pool->refill.retry_ns = now_ns + RETRY_NS;
	return r == POOL_MORE;
}

/* A slice for each pool: for somebody who asked, or else for the stock. Returns whether there is more to do.
 */
static bool make_some(struct stocker *stocker)
{
	bool more = false;

	for (unsigned i = 0; i < stocker->n_pools; i++)
		more |= construction_step(stocker->pools[i]) || refill(stocker, stocker->pools[i]);
	return more;
}

/* ---- giving back ---- */

static void tick_zone(struct zone *zone, uint64_t now_ns)
{
	const uint64_t decay_ns = zone->pool->config.decay_ms * NS_PER_MS;

	if (drain_has_cached(zone))
		drain_start(zone);
	lock_take(&zone->lock);
	zone_wake_scrubber_locked(zone);
	lock_drop(&zone->lock);
	pool_release_empty(zone->pool, zone, now_ns > decay_ns ? now_ns - decay_ns : 0);
}

/* All its zones have been visited. */
static void tick_pool(struct pool *pool)
{
	pool_settle_limbo(pool);
	pool_release_stock(pool);
	pool_refresh_left(pool);
	pool_refresh_missing(pool);
	pool_refresh_foreign(pool);
	pool_free_idle_zones(pool);
}

/* A slice of the tick: some zones of one pool after the other. Zones are freed at the end of their pool's
 * only, so the next one is still there. Returns whether it is over. */
static bool tick_some(struct stocker *stocker, uint64_t now_ns)
{
	if (stocker->tick_pool == 0 && !stocker->tick_zone)
		memoryerror_look(stocker->pools, stocker->n_pools);
	for (unsigned n_left = TICK_ZONES; stocker->tick_pool < stocker->n_pools; stocker->tick_pool++) {
		struct pool *pool = stocker->pools[stocker->tick_pool];
		struct zone *zone = stocker->tick_zone ? stocker->tick_zone : first_zone(pool);

		for (; zone && n_left > 0; zone = zone->next, n_left--, stocker->n_ticked++)
			tick_zone(zone, now_ns);
		stocker->tick_zone = zone;
		if (zone)
			return false;
		tick_pool(pool);
	}
	stocker->tick_pool = 0;
	return true;
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

/* Deliver letters, waiting for one at most until there is something else to do. Returns whether somebody
 * rang. */
static bool wait_for_letters(struct stocker *stocker)
{
	const uint64_t now_ns = clock_now_ns();
	uint64_t until_ns = stocker->next_tick_ns;
	struct pollfd bell = {.fd = stocker->mailbox.event_fd, .events = POLLIN};
	int timeout_ms = 0;
	bool is_rung;

	if (stocker->next_wake_ns < until_ns)
		until_ns = stocker->next_wake_ns;
	if (!stocker->is_making && !stocker->cursor && !stocker->is_rung && now_ns < until_ns)
		timeout_ms = (int)((until_ns - now_ns) / NS_PER_MS + 1);
	is_rung = poll(&bell, 1, timeout_ms) > 0;
	mailbox_deliver(&stocker->mailbox);
	return is_rung;
}

void stocker_step(struct stocker *stocker)
{
	const bool goes_on = stocker->cursor;
	const bool is_rung = wait_for_letters(stocker);
	uint64_t now_ns;

	/* Those that a round has passed already are looked at again in one of its own. */
	stocker->is_rung = goes_on && (stocker->is_rung || is_rung);
	serve(stocker);
	/* Who stands at the end of a long round is not kept from it by a slice in each step. */
	stocker->n_round_steps = stocker->cursor ? stocker->n_round_steps + 1 : 0;
	if (stocker->n_round_steps % MAKE_EVERY == 0)
		stocker->is_making = make_some(stocker);
	now_ns = clock_now_ns();
	if (now_ns < stocker->next_tick_ns || !tick_some(stocker, now_ns))
		return;
	stocker->n_ticks++;
	stocker->next_tick_ns = now_ns + TICK_NS;
}

/* refill.c - keeps the stock between its watermarks and the pool at its reserve, a slice at a time
 * (construction.h). Runs on the stocker's thread.
 *
 * Below its low watermark the stock is filled up to the high one; what is above that pool_release_stock()
 * lets go.
 */
#include <config.h>

#include <errno.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/pool/pool_inside.h"

#define PATIENCE_NS NS_PER_S

static uint64_t at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

/* Blank pages that shall be made. */
static uint64_t count_lacking(struct pool *pool)
{
	const struct pool_config *config = &pool->config;
	uint64_t usable, room, for_stock, for_reserve;

	lock_take(&pool->lock);
	usable = pool_usable_pages(pool);
	room = atomic_load(&pool->draining) ? 0 : pool_room_locked(pool);
	if (pool->stock_pages <= pool_stock_low(pool))
		pool->refill.is_below = true;
	if (pool->stock_pages >= config->stock_pages)
		pool->refill.is_below = false;
	for_stock = pool->refill.is_below ? config->stock_pages - pool->stock_pages : 0;
	lock_drop(&pool->lock);
	for_reserve = usable < config->reserve_pages ? config->reserve_pages - usable : 0;
	return at_most(for_stock > for_reserve ? for_stock : for_reserve, room);
}

static int begin(struct pool *pool, uint64_t n_pages)
{
	return construction_begin(pool, &pool->making, 1, at_most(n_pages, pool->config.arena_pages),
				  pool->config.node);
}

/* An arena is made whole, so that one table can map it and a lease of that size is one run. Where pages in
 * limbo are all that is missing for that, they are given a second to come back: most take some milliseconds.
 */
static bool is_patient(struct pool *pool, uint64_t lacking)
{
	const uint64_t whole = pool->config.arena_pages, now_ns = clock_now_ns();
	bool is_limbo_missed;

	lock_take(&pool->lock);
	is_limbo_missed = lacking > 0 && lacking < whole && lacking + pool->limbo_pages >= whole;
	lock_drop(&pool->lock);
	if (!is_limbo_missed)
		pool->refill.patient_since_ns = 0;
	else if (pool->refill.patient_since_ns == 0)
		pool->refill.patient_since_ns = now_ns;
	return is_limbo_missed && now_ns - pool->refill.patient_since_ns < PATIENCE_NS;
}

int pool_refill_some(struct pool *pool)
{
	struct construction *making = &pool->making;
	uint64_t lacking, left;
	int r = 0;

	if (making->owner)
		return 0;
	if (pool->refill.patient_since_ns > 0)
		pool_settle_limbo(pool);
	lacking = count_lacking(pool);
	if (!making->file && is_patient(pool, lacking))
		return POOL_LATER;
	if (lacking == 0) {
		construction_stop(pool);
		return 0;
	}
	if (!making->file)
		r = begin(pool, lacking);
	if (r < 0)
		return r;
	left = making->want_pages - backing_file_pages(making->file);
	if (left > 0)
		r = construction_extend(pool, making, at_most(left, lacking));
	if (r != 0 || construction_is_complete(making))
		construction_stop(pool);
	return r == 0 ? POOL_MORE : r;
}

static bool lacks_reserve(struct pool *pool)
{
	bool lacks;

	lock_take(&pool->lock);
	lacks = pool_usable_pages(pool) < pool->config.reserve_pages;
	lock_drop(&pool->lock);
	return lacks;
}

int pool_fill_reserve(struct pool *pool)
{
	int r = POOL_MORE;

	while (r == POOL_MORE && lacks_reserve(pool)) {
		if (pool->threads->cancelled && atomic_load(pool->threads->cancelled))
			return -ECANCELED;
		r = pool_refill_some(pool);
	}
	return lacks_reserve(pool) ? r : 0;
}

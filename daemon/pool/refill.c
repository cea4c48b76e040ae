/* refill.c - keeps the stock between its watermarks and the pool at its reserve, a slice at a time, so that
 * who asks for memory meanwhile waits for a slice and not for an arena. Runs on the stocker's thread.
 *
 * Below its low watermark the stock is filled up to the high one; what is above that pool_release_stock()
 * lets go. The pages of an arena in the making count as stock, as far as it has got.
 */
#include <config.h>

#include <errno.h>

#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
#include "daemon/pool/pool_inside.h"

#define SLICE_BYTES (32ull << 20) /* zeroed by the kernel in about 1.5 ms */
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
	room = atomic_load(&pool->draining) ? 0 : config->max_pages - pool->backed_pages;
	if (pool->stock_pages <= pool_stock_low(pool))
		pool->refill.is_below = true;
	if (pool->stock_pages >= config->stock_pages)
		pool->refill.is_below = false;
	for_stock = pool->refill.is_below ? config->stock_pages - pool->stock_pages : 0;
	lock_drop(&pool->lock);
	for_reserve = usable < config->reserve_pages ? config->reserve_pages - usable : 0;
	return at_most(for_stock > for_reserve ? for_stock : for_reserve, room);
}

static void count_pages(struct pool *pool, uint64_t n_pages)
{
	lock_take(&pool->lock);
	pool->backed_pages += n_pages;
	pool->stock_pages += n_pages;
	lock_drop(&pool->lock);
	atomic_fetch_add(&pool->stocked_pages, n_pages);
}

static void uncount_pages(struct pool *pool, uint64_t n_pages)
{
	lock_take(&pool->lock);
	pool->backed_pages -= n_pages;
	pool->stock_pages -= n_pages;
	lock_drop(&pool->lock);
}

/* What is in the making becomes an arena of the stock, as large as it is. Mapping it takes as long as many
 * slices: `n_last` pages are counted after that, so that a full stock is one that is ready. */
static int finish(struct pool *pool, uint64_t n_last)
{
	struct backing_file *file = take_ptr(pool->refill.file);
	uint64_t n_pages = backing_file_pages(file);
	struct arena *arena;
	int r = 0;

	if (n_pages == 0)
		backing_file_release(file, false, &(uint64_t){0});
	else
		r = backing_file_finish(file);
	count_pages(pool, n_last);
	if (n_pages == 0 || r < 0) {
		pool_uncount_arena(pool);
		uncount_pages(pool, n_pages);
		return r;
	}
	r = pool_adopt_file(pool, file, pool->config.node, &arena);
	if (r < 0) {
		uncount_pages(pool, n_pages);
		return r;
	}
	lock_take(&pool->lock);
	pool_put_in_stock_locked(pool, arena);
	lock_drop(&pool->lock);
	return 0;
}

static int begin(struct pool *pool, uint64_t n_pages)
{
	int r;

	if (!pool_count_arena(pool))
		return -EMFILE;
	r = backing_file_begin(pool->backing, &pool->refill.file);
	if (r < 0) {
		pool_uncount_arena(pool);
		return r;
	}
	pool->refill.want_pages = at_most(n_pages, pool->config.arena_pages);
	return 0;
}

/* One slice, or what the kernel has of it: *ret_n_pages, not counted yet. */
static int extend(struct pool *pool, uint64_t most_pages, uint64_t *ret_n_pages)
{
	const uint64_t page_bytes = pool->config.page_bytes;
	struct backing_file *file = pool->refill.file;
	uint64_t n_pages = SLICE_BYTES > page_bytes ? SLICE_BYTES / page_bytes : 1;
	struct backing_shortage *shortage = &pool->shortage;
	int r;

	n_pages = at_most(n_pages, most_pages);
	r = backing_file_extend(file, n_pages, pool->config.node, shortage);
	*ret_n_pages = r == 0 ? n_pages : 0;
	if (r == BACKING_SHORT && shortage->missing_pages < n_pages) {
		struct backing_shortage again;

		n_pages -= shortage->missing_pages;
		if (backing_file_extend(file, n_pages, pool->config.node, &again) == 0)
			*ret_n_pages = n_pages;
	}
	return r;
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
	uint64_t lacking, left, n_pages;
	int r = 0, finished;

	if (pool->refill.patient_since_ns > 0)
		pool_settle_limbo(pool);
	lacking = count_lacking(pool);
	if (!pool->refill.file && is_patient(pool, lacking))
		return POOL_LATER;
	if (lacking == 0)
		return pool->refill.file ? finish(pool, 0) : 0;
	if (!pool->refill.file)
		r = begin(pool, lacking);
	if (r < 0)
		return r;
	left = pool->refill.want_pages - backing_file_pages(pool->refill.file);
	r = extend(pool, at_most(left, lacking), &n_pages);
	if (r == 0 && backing_file_pages(pool->refill.file) < pool->refill.want_pages) {
		count_pages(pool, n_pages);
		return POOL_MORE;
	}
	finished = finish(pool, n_pages);
	if (r == 0)
		r = finished;
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

uint64_t pool_refill_pages(const struct pool *pool)
{
	return pool->refill.file ? backing_file_pages(pool->refill.file) : 0;
}

bool pool_stop_refill(struct pool *pool)
{
	return pool->refill.file && finish(pool, 0) == 0;
}

/* admission.c - see admission.h. */
#include <config.h>

#include "daemon/pool/admission.h"
#include "daemon/pool/pool_inside.h"

static uint64_t at_most(uint64_t n, uint64_t most)
{
	return n < most ? n : most;
}

static uint64_t minus_or_zero(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* Sums that do not pass UINT64_MAX, which stands for "any number". */
static uint64_t plus(uint64_t a, uint64_t b)
{
	return a > UINT64_MAX - b ? UINT64_MAX : a + b;
}

enum admission admission_ever(const struct pool *pool, const struct want *want, uint64_t n_pages)
{
	const struct pool_config *config = &pool->config;

	if (n_pages > config->max_pages)
		return ADMISSION_FULL;
	if (n_pages > config->quota_pages)
		return ADMISSION_OVER_QUOTA;
	return want->max_runs == 1 && want->n_pages > pool_longest_run(config) ? ADMISSION_FULL
									       : ADMISSION_NOW;
}

uint64_t admission_spare_locked(const struct pool *pool)
{
	if (pool_kernel_keeps_reserve(&pool->config))
		return UINT64_MAX;
	return minus_or_zero(pool_usable_pages(pool), pool->config.reserve_pages);
}

/* Pages of a pool, as one request sees them. */
struct outlook {
	uint64_t own;                     /* clean in its zone, and of use for it */
	uint64_t own_dirty;               /* that will be */
	uint64_t stock;                   /* blank */
	uint64_t longest;                 /* blank, in one arena */
	uint64_t room;                    /* below max */
	uint64_t returning;               /* with the janitor */
	uint64_t others_empty, own_empty; /* in arenas of which nothing is out */
	uint64_t spare;                   /* may leave, by the reserve */
};

static void look(struct zone *zone, const struct want *want, struct outlook *ret)
{
	struct pool *pool = zone->pool;
	uint64_t empty;

	*ret = (struct outlook){.longest = construction_stock_pages(pool)};
	lock_take(&pool->lock);
	lock_take(&zone->lock);
	ret->own = want->sole ? 0 : zone->clean_pages;
	ret->own_dirty = want->sole ? 0 : zone->dirty_pages;
	ret->own_empty = zone->empty_pages;
	lock_drop(&zone->lock);
	empty = atomic_load(&pool->empty_pages);
	ret->others_empty = minus_or_zero(empty, ret->own_empty);
	ret->stock = pool->stock_pages;
	for (const struct arena *arena = pool->stock; arena; arena = arena->stock_next)
		if (arena->n_pages > ret->longest)
			ret->longest = arena->n_pages;
	ret->room = pool_room_locked(pool);
	ret->returning = pool->returning_pages;
	ret->spare = admission_spare_locked(pool);
	lock_drop(&pool->lock);
}

/* There are `have` pages; what the janitor has and `may_go` can be made to more of them. */
static enum admission compare(const struct outlook *look, uint64_t n_pages, uint64_t have, uint64_t may_go,
			      uint64_t *ret_release_pages)
{
	const uint64_t soon = plus(have, look->returning);

	if (n_pages <= have)
		return ADMISSION_NOW;
	if (n_pages > plus(soon, may_go))
		return ADMISSION_FULL;
	*ret_release_pages = minus_or_zero(n_pages, soon);
	return ADMISSION_LATER;
}

/* One run: a blank arena that is long enough, or a new one. Arenas that the reserve keeps are let go for it
 * only if another owner is all that they lack: else all that it is made of would be the kernel's until it is
 * together. */
static enum admission compare_one(const struct pool *pool, const struct outlook *look,
				  const struct want *want, uint64_t new_pages, uint64_t *ret_release_pages)
{
	const uint64_t empty = look->others_empty + look->own_empty;
	uint64_t may_go;

	if (want->n_pages <= look->longest)
		return ADMISSION_NOW;
	if (want->n_pages > pool->config.arena_pages)
		may_go = at_most(empty + look->stock, look->spare);
	else if (want->sole)
		may_go = empty + at_most(look->stock, look->spare);
	else
		may_go = look->others_empty + at_most(look->own_empty + look->stock, look->spare);
	return compare(look, want->n_pages, new_pages, may_go, ret_release_pages);
}

static enum admission compare_all(const struct pool *pool, const struct outlook *look,
				  const struct want *want, bool in_one, uint64_t new_pages,
				  uint64_t *ret_release_pages)
{
	if (in_one || want->max_runs == 1)
		return compare_one(pool, look, want, new_pages, ret_release_pages);
	return compare(look, want->n_pages, plus(look->own + look->stock, new_pages),
		       look->others_empty + (want->sole ? look->own_empty : 0), ret_release_pages);
}

/* Everything, if nobody else took any of it. */
static uint64_t sum_of(const struct outlook *look, const struct want *want)
{
	return look->own + look->own_dirty + look->stock + look->room + look->returning + look->others_empty +
	       (want->sole ? look->own_empty : 0);
}

enum admission admission_of_arenas(struct zone *zone, const struct want *want, uint64_t more_pages,
				   bool in_one, uint64_t *ret_release_pages)
{
	struct pool *pool = zone->pool;
	struct backing_shortage nearest;
	uint64_t kernel_pages;
	struct outlook outlook;
	enum admission admission;

	look(zone, want, &outlook);
	if (want->n_pages + more_pages > sum_of(&outlook, want))
		return ADMISSION_FULL;
	/* The pool's own limit first, which costs nothing to ask for. */
	admission = compare_all(pool, &outlook, want, in_one, outlook.room, ret_release_pages);
	if (admission == ADMISSION_FULL)
		return admission;
	kernel_pages = pool_kernel_pages(pool, &nearest);
	if (kernel_pages >= outlook.room)
		return admission;
	admission = compare_all(pool, &outlook, want, in_one, kernel_pages, ret_release_pages);
	if (admission != ADMISSION_FULL)
		return admission;
	pool->shortage = nearest;
	pool->shortage.missing_pages = minus_or_zero(want->n_pages, kernel_pages);
	return ADMISSION_SHORT;
}

/* stock.c - blank arenas: how they are made, and how they come to zones, shared or sole.
 *
 * Making and trimming are the stocker's; a worker may take what is just right. Keeping it filled is refill.c.
 */
#include <config.h>

#include <errno.h>

#include "daemon/base/assert.h"
#include "daemon/pool/admission.h"
#include "daemon/pool/pool_inside.h"

#define ROOM_SHARE     4  /* a new arena has at most this part of what the pool may still grow by */
#define SMALLEST_ARENA 16 /* but at least this part of the configured size */
#define TAKE_SHARE     2 /* a whole blank arena is taken for less if it is at most this part of what is left */
#define TRIM_SHARE     2 /* a blank arena is trimmed for a sole run of at least this part of it */

/* Put a new arena into the table, at the lowest free slot. */
static void enter_arena_locked(struct pool *pool, struct arena *arena)
{
	uint32_t slot = pool->slot_hint;

	while (slot < pool->n_slots && pool->arenas[slot])
		slot++;
	hp_assert(slot < pool->n_slots);
	pool->slot_hint = slot + 1;
	arena->slot = slot;
	atomic_store_explicit(&pool->arenas[slot], arena, memory_order_release);
	atomic_store_explicit(&pool->arena_ids[slot], arena->id, memory_order_release);
	pool->n_arenas++;
}

static uint64_t power_of_two_at_most(uint64_t n)
{
	return n ? UINT64_C(1) << (63 - __builtin_clzll(n)) : 0;
}

/* The less room is left, the smaller the arenas: so that there is some for tenants who are still to come.
 * Such a smaller one has a power of two of pages, so that leases which divide the pool leave no tails in it.
 */
static uint64_t arena_pages_in_room(const struct pool *pool, uint64_t min_pages, uint64_t room)
{
	uint64_t want_pages = pool->config.arena_pages;
	uint64_t share = room / ROOM_SHARE, least = want_pages / SMALLEST_ARENA;

	if (want_pages > share)
		want_pages = power_of_two_at_most(share);
	if (want_pages < least)
		want_pages = least;
	if (want_pages < min_pages)
		want_pages = min_pages;
	return want_pages < room ? want_pages : room;
}

void pool_put_in_stock_locked(struct pool *pool, struct arena *arena)
{
	arena->stock_next = pool->stock;
	pool->stock = arena;
}

static void put_in_stock(struct pool *pool, struct arena *arena)
{
	lock_take(&pool->lock);
	pool_put_in_stock_locked(pool, arena);
	lock_drop(&pool->lock);
}

bool pool_count_arena(const struct pool *pool)
{
	_Atomic unsigned *left = pool->threads->arenas_left;

	if (!left)
		return true;
	if (atomic_fetch_sub(left, 1) > 0)
		return true;
	atomic_fetch_add(left, 1);
	return false;
}

int pool_adopt_file(struct pool *pool, struct backing_file *consume_file, int node, struct arena **ret)
{
	static _Atomic uint64_t last_id;
	struct arena *arena = arena_new(pool, atomic_fetch_add(&last_id, 1) + 1, node, consume_file);

	if (!arena) {
		backing_file_release(consume_file, false, &(uint64_t){0});
		pool_uncount_arena(pool);
		return -ENOMEM;
	}
	lock_take(&pool->lock);
	enter_arena_locked(pool, arena);
	lock_drop(&pool->lock);
	*ret = arena;
	return 0;
}

/* All of it at once: at most a slice. */
static int make_slice(struct pool *pool, const struct want *want, uint64_t min_pages, uint64_t want_pages,
		      struct arena **ret)
{
	struct construction construction;
	int r = construction_begin(pool, &construction, min_pages, want_pages, want->node);

	if (r < 0)
		return r;
	construction.owner = want;
	r = construction_extend(pool, &construction, want_pages);
	if (backing_file_pages(construction.file) < min_pages) {
		backing_file_release(construction.file, false, &(uint64_t){0});
		pool_uncount_arena(pool);
		return r;
	}
	return construction_finish(pool, &construction, ret);
}

/* An arena of `want_pages`, or as many as the kernel has, but at least `min_pages`; in nobody's hands, and
 * counted with the stock. POOL_MAKING: it will be in the stock. */
static int make_arena(struct pool *pool, const struct want *want, uint64_t min_pages, uint64_t want_pages,
		      struct arena **ret)
{
	struct backing_shortage nearest, largest;
	const uint64_t kernel_pages = pool_kernel_pages(pool, &nearest);
	const uint64_t file_pages = backing_file_most_pages(pool->backing, min_pages, &largest);
	const uint64_t slice = construction_slice_pages(pool);

	if (min_pages > RUN_ARENA_MAX)
		return -ENOSPC;
	if (want_pages > RUN_ARENA_MAX)
		want_pages = RUN_ARENA_MAX;
	if (want_pages > file_pages)
		want_pages = file_pages;
	if (file_pages < min_pages) {
		pool->shortage = largest;
		return BACKING_SHORT;
	}
	if (kernel_pages < min_pages) {
		pool->shortage = nearest;
		pool->shortage.missing_pages = min_pages - kernel_pages;
		return BACKING_SHORT;
	}
	if (want_pages > kernel_pages)
		want_pages = kernel_pages;
	/* Who needs little does not wait for what is made for another. */
	if (want_pages > slice && want->n_pages <= slice && pool->making.owner)
		want_pages = slice;
	if (want_pages > slice)
		return construction_start(pool, want, min_pages, want_pages, want->node);
	return make_slice(pool, want, min_pages, want_pages, ret);
}

static int make_stock(struct pool *pool, const struct want *want, uint64_t min_pages, uint64_t want_pages)
{
	struct arena *arena;
	int r = make_arena(pool, want, min_pages, want_pages, &arena);

	if (r == 0)
		put_in_stock(pool, arena);
	return r;
}

/* Pages that the pool may still grow by. Only the stocker makes arenas, so the room is still there
 * afterwards. */
static uint64_t room_left(struct pool *pool)
{
	uint64_t room;

	lock_take(&pool->lock);
	room = pool_room_locked(pool);
	lock_drop(&pool->lock);
	return room;
}

/* Of those, the ones that the kernel has: max says little where it has much less. */
static uint64_t growth_left(struct pool *pool)
{
	struct backing_shortage nearest;
	const uint64_t kernel_pages = pool_kernel_pages(pool, &nearest), room = room_left(pool);

	return kernel_pages < room ? kernel_pages : room;
}

/* Of a new arena for at least so many, whether there is as much or not. */
static uint64_t new_arena_pages(struct pool *pool, uint64_t min_pages)
{
	const uint64_t growth = growth_left(pool);

	return arena_pages_in_room(pool, min_pages, growth > min_pages ? growth : min_pages);
}

int pool_make_arena(struct pool *pool, const struct want *want)
{
	if (room_left(pool) < want->n_pages)
		return -ENOSPC;
	return make_stock(pool, want, want->n_pages, new_arena_pages(pool, want->n_pages));
}

/* ---- blank arenas, and parts of them ---- */

/* The link of the first blank arena of at most `n_pages` that suits. */
static struct arena **find_whole_locked(struct pool *pool, uint64_t n_pages, int node)
{
	struct arena **best = NULL;

	for (struct arena **link = &pool->stock; *link; link = &(*link)->stock_next)
		if ((*link)->n_pages <= n_pages && (node < 0 || (*link)->node == node) &&
		    (!best || (*link)->n_pages > (*best)->n_pages))
			best = link;
	return best;
}

/* The link of the smallest one that is larger, up to `most_pages`. */
static struct arena **find_larger_locked(struct pool *pool, uint64_t n_pages, uint64_t most_pages, int node)
{
	struct arena **best = NULL;

	for (struct arena **link = &pool->stock; *link; link = &(*link)->stock_next)
		if ((*link)->n_pages > n_pages && (*link)->n_pages <= most_pages &&
		    (node < 0 || (*link)->node == node) && (!best || (*link)->n_pages < (*best)->n_pages))
			best = link;
	return best;
}

static struct arena *take_link(struct arena **link)
{
	struct arena *arena = *link;

	*link = arena->stock_next;
	arena->stock_next = NULL;
	return arena;
}

/* Cut a blank arena to size; the rest is the kernel's. */
static void trim_blank(struct pool *pool, struct arena *arena, uint64_t n_pages)
{
	const uint64_t n_cut = arena->n_pages - n_pages;
	uint64_t limbo_pages;

	if (n_cut == 0)
		return;
	pool->work.n_cuts++;
	backing_file_trim(arena->file, n_pages, false, &limbo_pages);
	arena_shorten(arena, n_pages);
	lock_take(&pool->lock);
	pool->stock_pages -= n_cut;
	pool->backed_pages -= n_cut;
	lock_drop(&pool->lock);
}

/* May so much of the stock go to the kernel? */
static bool may_cut(struct pool *pool, uint64_t n_cut)
{
	bool may;

	lock_take(&pool->lock);
	may = n_cut <= admission_spare_locked(pool);
	lock_drop(&pool->lock);
	return may;
}

/* What a zone that wants `n_pages` gets of a blank arena: all of it, unless that is too much of what all
 * tenants may still have. */
static uint64_t share_of_blank(struct pool *pool, uint64_t arena_pages, uint64_t n_pages)
{
	uint64_t left = growth_left(pool), share;

	lock_take(&pool->lock);
	left += pool->stock_pages;
	lock_drop(&pool->lock);
	share = arena_pages_in_room(pool, n_pages, left);
	return arena_pages <= left / TAKE_SHARE || arena_pages <= share ? arena_pages : share;
}

/* The smallest blank arena of at least `n_pages`, out of the stock's list, cut to a fair share. If the
 * reserve keeps what would be cut off, a smaller one is made if there is room. NULL: there is none. */
static struct arena *take_blank(struct pool *pool, const struct want *want, uint64_t n_pages)
{
	struct arena **link, *arena = NULL, *smaller;
	uint64_t share;

	lock_take(&pool->lock);
	link = find_larger_locked(pool, n_pages - 1, UINT64_MAX, -1);
	if (link)
		arena = take_link(link);
	lock_drop(&pool->lock);
	if (!arena)
		return NULL;
	share = share_of_blank(pool, arena->n_pages, n_pages);
	if (may_cut(pool, arena->n_pages - share)) {
		trim_blank(pool, arena, share);
	} else if (room_left(pool) >= share && share <= construction_slice_pages(pool) &&
		   make_slice(pool, want, n_pages, share, &smaller) == 0) {
		put_in_stock(pool, arena);
		arena = smaller;
	}
	return arena;
}

int pool_move_stock(struct zone *zone, const struct want *want)
{
	struct pool *pool = zone->pool;
	struct arena *arena = take_blank(pool, want, want->n_pages);
	int r;

	if (!arena)
		return POOL_NO_STOCK;
	lock_take(&pool->lock);
	lock_take(&zone->lock);
	r = zone_add_arena_locked(zone, arena, false);
	lock_drop(&zone->lock);
	if (r == 0)
		pool->stock_pages -= arena->n_pages;
	else
		pool_put_in_stock_locked(pool, arena);
	lock_drop(&pool->lock);
	return r;
}

/* ---- sole arenas ---- */

/* Arenas that are on their way from the stock to a lease: counted with the stock, and in no list. */
struct handful {
	struct arena *arenas[RUN_LIST_MAX];
	unsigned n;
};

static void put_back(struct pool *pool, struct handful *handful)
{
	lock_take(&pool->lock);
	while (handful->n > 0)
		pool_put_in_stock_locked(pool, handful->arenas[--handful->n]);
	lock_drop(&pool->lock);
}

/* They become the zone's, for all its leases: 0 or -ENOMEM, and the rest is still in hand. */
static int hand_over_shared_locked(struct zone *zone, struct handful *handful)
{
	int r = 0;

	lock_assert_held(&zone->pool->lock);
	lock_take(&zone->lock);
	while (r == 0 && handful->n > 0) {
		struct arena *arena = handful->arenas[handful->n - 1];

		r = zone_add_arena_locked(zone, arena, false);
		if (r == 0) {
			zone->pool->stock_pages -= arena->n_pages;
			handful->n--;
		}
	}
	lock_drop(&zone->lock);
	return r;
}

/* They become the zone's, and the lease's runs: 0, POOL_OVER_QUOTA, or -EMFILE. */
static int hand_over_locked(struct zone *zone, const struct want *want, struct handful *handful,
			    struct run_list *runs)
{
	struct pool *pool = zone->pool;
	const unsigned max_sole = pool->threads->max_sole;
	int r = 0;

	lock_assert_held(&pool->lock);
	lock_take(&zone->lock);
	if (want->n_pages > zone_quota_left(zone))
		r = POOL_OVER_QUOTA;
	else if (max_sole > 0 && zone->n_arenas - zone->n_shared + handful->n > max_sole)
		r = -EMFILE;
	runs->n = 0;
	while (r == 0 && runs->n < handful->n) {
		struct arena *arena = handful->arenas[runs->n];

		r = zone_add_arena_locked(zone, arena, true);
		pool->stock_pages -= arena->n_pages;
		runs->runs[runs->n++] =
			(struct run){.address = run_address(arena->slot, 0), .n_pages = arena->n_pages};
	}
	lock_drop(&zone->lock);
	return r;
}

/* Whole blank arenas, the largest first, of together at most what is wanted. Returns the pages that are
 * lacking. */
static uint64_t gather_locked(struct pool *pool, const struct want *want, struct handful *handful)
{
	uint64_t left = want->n_pages;
	struct arena **link;

	while (left > 0 && handful->n < want->max_runs &&
	       (link = find_whole_locked(pool, left, want->node))) {
		/* One run is one arena: all of it or nothing. */
		if (want->max_runs - handful->n == 1 && (*link)->n_pages < left)
			break;
		handful->arenas[handful->n] = take_link(link);
		left -= handful->arenas[handful->n++]->n_pages;
	}
	return left;
}

int pool_take_sole(struct zone *zone, const struct want *want, struct run_list *ret_runs)
{
	struct pool *pool = zone->pool;
	struct handful handful = {.n = 0};
	int r = ZONE_SHORT;
	bool is_low;

	if (want->has_readers || atomic_load(&pool->n_waiting) > 0)
		return ZONE_SHORT;
	lock_take(&pool->lock);
	if (gather_locked(pool, want, &handful) == 0)
		r = hand_over_locked(zone, want, &handful, ret_runs);
	while (r != 0 && handful.n > 0)
		pool_put_in_stock_locked(pool, handful.arenas[--handful.n]);
	is_low = r == 0 && pool->config.stock_pages > 0 && pool->stock_pages <= pool_stock_low(pool);
	lock_drop(&pool->lock);
	if (is_low)
		mailbox_ring(pool->threads->stocker);
	return r == 0 ? 0 : ZONE_SHORT;
}

/* A larger blank arena, of up to `most_pages`, cut to `n_pages`. NULL: there is none. */
static struct arena *take_larger(struct pool *pool, uint64_t n_pages, uint64_t most_pages, int node)
{
	struct arena **link, *arena = NULL;

	lock_take(&pool->lock);
	link = find_larger_locked(pool, n_pages, most_pages, node);
	if (link)
		arena = take_link(link);
	lock_drop(&pool->lock);
	if (arena)
		trim_blank(pool, arena, n_pages);
	return arena;
}

/* A new one, of `left` pages or as many as there is room for. */
static int make_for(struct pool *pool, const struct want *want, uint64_t min_pages, uint64_t left,
		    struct arena **ret)
{
	const uint64_t room = room_left(pool), want_pages = left < room ? left : room;

	return want_pages >= min_pages && want_pages > 0 ? make_arena(pool, want, min_pages, want_pages, ret)
							 : -ENOSPC;
}

/* One more arena, of `left` pages at most: a larger one if not much is cut off, a new one, or any that is
 * larger. What the reserve keeps is cut last: it is the kernel's until the reserve is filled again. */
static int gather_one_more(struct pool *pool, const struct want *want, uint64_t left, struct handful *handful)
{
	const uint64_t min_pages = want->max_runs - handful->n == 1 ? left : 1;
	struct arena *arena = NULL;
	int r = 0;

	if (may_cut(pool, left * (TRIM_SHARE - 1)))
		arena = take_larger(pool, left, left * TRIM_SHARE, want->node);
	if (!arena)
		r = make_for(pool, want, min_pages, left, &arena);
	if (r != 0 && r != POOL_MAKING && (arena = take_larger(pool, left, UINT64_MAX, -1)))
		r = 0;
	if (r == 0)
		handful->arenas[handful->n++] = arena;
	return r;
}

static int open_readers(const struct want *want, const struct handful *handful)
{
	int r = 0;

	for (unsigned i = 0; want->has_readers && i < handful->n && r == 0; i++)
		r = backing_file_open_reader(handful->arenas[i]->file);
	return r;
}

int pool_give_sole(struct zone *zone, const struct want *want, struct run_list *ret_runs)
{
	struct pool *pool = zone->pool;
	struct handful handful = {.n = 0};
	uint64_t left;
	int r = 0;

	lock_take(&pool->lock);
	left = gather_locked(pool, want, &handful);
	lock_drop(&pool->lock);
	while (left > 0 && r == 0) {
		r = handful.n < want->max_runs ? gather_one_more(pool, want, left, &handful)
					       : POOL_TOO_MANY_RUNS;
		if (r == 0)
			left -= handful.arenas[handful.n - 1]->n_pages;
	}
	if (r == 0)
		r = open_readers(want, &handful);
	if (r == 0) {
		lock_take(&pool->lock);
		r = hand_over_locked(zone, want, &handful, ret_runs);
		lock_drop(&pool->lock);
	}
	if (r != 0)
		put_back(pool, &handful);
	return r;
}

/* ---- several arenas for one lease ---- */

/* Pages that the zone's clean ones do not make up for, at least 1; and whether there is any point in looking
 * for them. */
static bool find_lacking(struct zone *zone, const struct want *want, uint64_t *ret_lacking)
{
	struct pool *pool = zone->pool;
	uint64_t clean, available;

	lock_take(&pool->lock);
	lock_take(&zone->lock);
	clean = zone->clean_pages;
	lock_drop(&zone->lock);
	available = clean + pool->stock_pages + pool_room_locked(pool);
	lock_drop(&pool->lock);
	*ret_lacking = want->n_pages > clean ? want->n_pages - clean : 1;
	return available >= want->n_pages;
}

/* One of the stock, the smallest that suffices or else the largest, or a new one, as large as there is room
 * for. */
static int gather_any(struct pool *pool, const struct want *want, uint64_t lacking, struct handful *handful)
{
	uint64_t room = room_left(pool), want_pages = lacking < room ? lacking : room;
	struct arena **link, *arena = take_blank(pool, want, lacking);
	int r = 0;

	if (!arena) {
		lock_take(&pool->lock);
		link = find_whole_locked(pool, UINT64_MAX, -1);
		if (link)
			arena = take_link(link);
		lock_drop(&pool->lock);
	}
	if (!arena)
		r = room > 0 ? make_arena(pool, want, 1, new_arena_pages(pool, want_pages), &arena) : -ENOSPC;
	if (r == 0)
		handful->arenas[handful->n++] = arena;
	return r;
}

int pool_add_arenas(struct zone *zone, const struct want *want)
{
	struct pool *pool = zone->pool;
	struct handful handful = {.n = 0};
	uint64_t lacking, got = 0;
	int r = 0;

	if (!find_lacking(zone, want, &lacking))
		return -ENOSPC;
	while (got < lacking && r == 0) {
		r = handful.n < want->max_runs ? gather_any(pool, want, lacking - got, &handful) : -ENOSPC;
		if (r == 0)
			got += handful.arenas[handful.n - 1]->n_pages;
	}
	if (r == 0) {
		lock_take(&pool->lock);
		r = hand_over_shared_locked(zone, &handful);
		lock_drop(&pool->lock);
	}
	put_back(pool, &handful);
	return r;
}

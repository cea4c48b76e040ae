/* scrubber.c - see scrubber.h. Runs on the scrubber's thread, but for scrubber_prepare(). */
#include <config.h>

#include <stddef.h>

#include "daemon/base/assert.h"
#include "daemon/pool/memoryerror.h"
#include "daemon/pool/poison.h"
#include "daemon/pool/pool.h"
#include "daemon/pool/scrubber.h"

#define PIECE_BYTES (16ull << 20) /* zeroed between two looks at the zone: 0.2 to 0.4 ms */
#define TURN_BYTES  (64ull << 20) /* zeroed before it is another zone's turn */

enum work {
	WORK_ZERO,
	WORK_POISON, /* fill with the pattern */
	WORK_LOOK,   /* at the pattern, and zero */
};

/* Scattered over the arena it may be, for what is paid once a piece: the lock, and looks at the file. */
struct piece {
	struct arena *arena;
	enum work work;
	unsigned n_runs; /* more than one only where they are zeroed */
	struct backing_run runs[BACKING_ZERO_MAX];
	uint64_t n_pages; /* of all */
};

static bool find_dirty(struct piece *piece, uint64_t max_pages)
{
	struct backing_run *run = piece->runs;
	uint64_t from = 0;

	while (piece->n_runs < BACKING_ZERO_MAX && piece->n_pages < max_pages &&
	       arena_next_dirty(piece->arena, from, max_pages - piece->n_pages, run)) {
		piece->n_runs++;
		piece->n_pages += run->n_pages;
		from = run->first + run->n_pages;
		run++;
	}
	return piece->n_runs > 0;
}

static bool find_poisoned(struct piece *piece, bool filled, uint64_t max_pages)
{
	struct backing_run *run = piece->runs;

	if (!poison_next(piece->arena, filled, max_pages, &run->first, &run->n_pages))
		return false;
	piece->n_runs = 1;
	piece->n_pages = run->n_pages;
	return true;
}

/* What there is to be done in this arena. Poisoned pages are made clean for those who wait. */
static bool find_work(struct zone *zone, struct piece *piece, uint64_t max_pages)
{
	piece->n_runs = 0;
	piece->n_pages = 0;
	piece->work = WORK_ZERO;
	if (!piece->arena->poison)
		return find_dirty(piece, max_pages);
	piece->work = WORK_LOOK;
	if (zone->n_waiting > 0 && find_poisoned(piece, true, max_pages))
		return true;
	piece->work = WORK_POISON;
	return find_poisoned(piece, false, max_pages);
}

/* Find a piece of work. The arena is pinned by `scrubbing` until the piece is handed over. */
static bool claim_locked(struct zone *zone, uint64_t max_pages, struct piece *piece)
{
	lock_assert_held(&zone->lock);
	for (unsigned i = 0; i < zone->n_shared; i++) {
		struct arena *arena = piece->arena = zone->shared[i];
		const struct backing_run *last;

		if (arena->condemned || (arena->leaving && arena->is_empty) ||
		    !find_work(zone, piece, max_pages))
			continue;
		last = &piece->runs[piece->n_runs - 1];
		arena->scrubbing = true;
		arena->scrub_first = piece->runs[0].first;
		arena->scrub_pages = last->first + last->n_pages - arena->scrub_first;
		return true;
	}
	return false;
}

/* What is broken is never granted again: the arena goes as a whole, and the kernel keeps the page. */
static void report_memory_error(struct arena *arena)
{
	uint64_t page;

	while (backing_file_take_memory_error(arena->file, &page))
		memoryerror_report(arena, page);
}

/* 0 or BACKING_DAMAGED. */
static int do_work(const struct piece *piece)
{
	const struct backing_run *run = piece->runs;
	struct arena *arena = piece->arena;
	int r;

	lock_assert_none();
	r = backing_file_verify(arena->file, arena->scrub_first, arena->scrub_pages);
	if (r == 0 && piece->work == WORK_POISON)
		return poison_fill(arena, run->first, run->n_pages);
	if (r == 0 && piece->work == WORK_LOOK)
		r = poison_look(arena, run->first, run->n_pages);
	if (r == 0)
		r = backing_file_zero_runs(arena->file, run, piece->n_runs, arena->pool->threads->assistant);
	return r;
}

static void hand_over_locked(struct zone *zone, const struct piece *piece, bool damaged)
{
	struct arena *arena = piece->arena;

	lock_assert_held(&zone->lock);
	arena->scrubbing = false;
	atomic_fetch_add(&zone->pool->n_pieces, 1);
	if (damaged) {
		zone_condemn_locked(arena);
		return;
	}
	if (piece->work != WORK_ZERO)
		poison_set_filled(arena, piece->runs[0].first, piece->n_pages, piece->work == WORK_POISON);
	if (piece->work == WORK_POISON)
		return;
	for (unsigned i = 0; i < piece->n_runs; i++)
		arena_cleaned(arena, piece->runs[i].first, piece->runs[i].n_pages);
	atomic_fetch_add(&zone->pool->scrubbed_pages, piece->n_pages);
	zone->n_scrubbed += piece->n_pages;
	zone->dirty_pages -= piece->n_pages;
	zone->clean_pages += piece->n_pages;
}

/* One turn of one zone. Returns whether there is more to do. */
static bool scrub(struct zone *zone)
{
	uint64_t page_bytes = zone->pool->config.page_bytes;
	uint64_t piece_pages = PIECE_BYTES > page_bytes ? PIECE_BYTES / page_bytes : 1;
	uint64_t left = TURN_BYTES > page_bytes ? TURN_BYTES / page_bytes : 1;
	bool more = false;

	lock_take(&zone->lock);
	while (left > 0 && !atomic_load(&zone->pool->threads->stopping)) {
		struct piece piece;
		bool damaged;

		more = claim_locked(zone, piece_pages < left ? piece_pages : left, &piece);
		if (!more)
			break;
		lock_drop(&zone->lock);
		damaged = do_work(&piece) != 0;
		if (damaged)
			report_memory_error(piece.arena);
		lock_take(&zone->lock);
		hand_over_locked(zone, &piece, damaged);
		/* Those who wait may have enough now: as many pages as can be stay poisoned. */
		left = piece.work == WORK_LOOK ? 0 : left - piece.n_pages;
	}
	zone->scrub_queued = more;
	lock_drop(&zone->lock);
	return more;
}

static void scrub_letter(struct letter *letter)
{
	struct zone *zone = (struct zone *)((char *)letter - offsetof(struct zone, scrub_letter));
	const struct pool *pool = zone->pool;

	hp_assert_alive(zone, ZONE_MAGIC);
	if (scrub(zone))
		mailbox_post(pool->threads->scrubber, letter);
	if (atomic_load(&pool->n_waiting) > 0) /* for clean pages, or arenas that become empty */
		mailbox_ring(pool->threads->stocker);
}

void scrubber_prepare(struct zone *zone)
{
	zone->scrub_letter.deliver = scrub_letter;
}

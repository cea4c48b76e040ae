/* scrubber.c - see scrubber.h. Runs on the scrubber's thread, but for scrubber_prepare(). */
#include <config.h>

#include <stddef.h>

#include "daemon/base/assert.h"
#include "daemon/pool/poison.h"
#include "daemon/pool/pool.h"
#include "daemon/pool/scrubber.h"

#define PIECE_BYTES (8ull << 20)  /* zeroed between two looks at the zone: about 0.1 ms */
#define TURN_BYTES  (64ull << 20) /* zeroed before it is another zone's turn */

enum work {
	WORK_ZERO,
	WORK_POISON, /* fill with the pattern */
	WORK_LOOK,   /* at the pattern, and zero */
};

struct piece {
	struct arena *arena;
	uint64_t first, n_pages;
	enum work work;
};

/* What there is to be done in this arena. Poisoned pages are made clean for those who wait. */
static bool find_work(struct zone *zone, struct piece *piece, uint64_t max_pages)
{
	struct arena *arena = piece->arena;

	piece->work = WORK_ZERO;
	if (!arena->poison)
		return arena_next_dirty(arena, max_pages, &piece->first, &piece->n_pages);
	piece->work = WORK_LOOK;
	if (zone->n_waiting > 0 && poison_next(arena, true, max_pages, &piece->first, &piece->n_pages))
		return true;
	piece->work = WORK_POISON;
	return poison_next(arena, false, max_pages, &piece->first, &piece->n_pages);
}

/* Find a piece of work. The arena is pinned by `scrubbing` until the piece is handed over. */
static bool claim_locked(struct zone *zone, uint64_t max_pages, struct piece *piece)
{
	lock_assert_held(&zone->lock);
	for (unsigned i = 0; i < zone->n_shared; i++) {
		struct arena *arena = piece->arena = zone->shared[i];

		if (arena->condemned || !find_work(zone, piece, max_pages))
			continue;
		arena->scrubbing = true;
		arena->scrub_first = piece->first;
		arena->scrub_pages = piece->n_pages;
		return true;
	}
	return false;
}

/* 0 or BACKING_DAMAGED. */
static int do_work(const struct piece *piece)
{
	struct arena *arena = piece->arena;
	int r;

	lock_assert_none();
	r = backing_file_verify(arena->file);
	if (r == 0 && piece->work == WORK_POISON)
		return poison_fill(arena, piece->first, piece->n_pages);
	if (r == 0 && piece->work == WORK_LOOK)
		r = poison_look(arena, piece->first, piece->n_pages);
	return r == 0 ? backing_file_zero(arena->file, piece->first, piece->n_pages) : r;
}

static void hand_over_locked(struct zone *zone, const struct piece *piece, bool damaged)
{
	struct arena *arena = piece->arena;

	lock_assert_held(&zone->lock);
	arena->scrubbing = false;
	if (damaged) {
		zone_condemn_locked(arena);
		return;
	}
	if (piece->work != WORK_ZERO)
		poison_set_filled(arena, piece->first, piece->n_pages, piece->work == WORK_POISON);
	if (piece->work == WORK_POISON)
		return;
	arena_cleaned(arena, piece->first, piece->n_pages);
	atomic_fetch_add(&zone->pool->scrubbed_pages, piece->n_pages);
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
	struct mailbox *stocker = zone->pool->threads->stocker;

	hp_assert_alive(zone, ZONE_MAGIC);
	if (scrub(zone))
		mailbox_post(zone->pool->threads->scrubber, letter);
	mailbox_ring(stocker); /* somebody may be waiting for clean pages */
}

void scrubber_prepare(struct zone *zone)
{
	zone->scrub_letter.deliver = scrub_letter;
}

/* scrubber.c - see scrubber.h. Runs on the scrubber's thread, but for scrubber_prepare(). */
#include <config.h>

#include <stddef.h>

#include "daemon/base/assert.h"
#include "daemon/pool/pool.h"
#include "daemon/pool/scrubber.h"

#define PIECE_BYTES (8ull << 20)  /* zeroed between two looks at the zone: about 0.1 ms */
#define TURN_BYTES  (64ull << 20) /* zeroed before it is another zone's turn */

/* Find a piece of work. The arena is pinned by `scrubbing` until the piece is handed over. */
static struct arena *claim_locked(struct zone *zone, uint64_t max_pages, uint64_t *ret_first,
				  uint64_t *ret_n_pages)
{
	lock_assert_held(&zone->lock);
	for (unsigned i = 0; i < zone->n_shared; i++) {
		struct arena *arena = zone->shared[i];

		if (arena->condemned || !arena_next_dirty(arena, max_pages, ret_first, ret_n_pages))
			continue;
		arena->scrubbing = true;
		arena->scrub_first = *ret_first;
		arena->scrub_pages = *ret_n_pages;
		return arena;
	}
	return NULL;
}

static void hand_over_locked(struct zone *zone, struct arena *arena, uint64_t first, uint64_t n_pages,
			     bool damaged)
{
	lock_assert_held(&zone->lock);
	arena->scrubbing = false;
	if (damaged) {
		zone_condemn_locked(arena);
		return;
	}
	arena_cleaned(arena, first, n_pages);
	zone->dirty_pages -= n_pages;
	zone->clean_pages += n_pages;
}

/* One turn of one zone. Returns whether there is more to do. */
static bool scrub(struct zone *zone)
{
	uint64_t page_bytes = zone->pool->config.page_bytes;
	uint64_t piece_pages = PIECE_BYTES > page_bytes ? PIECE_BYTES / page_bytes : 1;
	uint64_t left = TURN_BYTES > page_bytes ? TURN_BYTES / page_bytes : 1;
	struct arena *arena = NULL;

	lock_take(&zone->lock);
	while (left > 0 && !atomic_load(&zone->pool->threads->stopping)) {
		uint64_t first, n_pages;
		bool damaged;

		arena = claim_locked(zone, piece_pages < left ? piece_pages : left, &first, &n_pages);
		if (!arena)
			break;
		lock_drop(&zone->lock);

		lock_assert_none();
		damaged = backing_file_verify(arena->file) != 0 ||
			  backing_file_zero(arena->file, first, n_pages) != 0;

		lock_take(&zone->lock);
		hand_over_locked(zone, arena, first, n_pages, damaged);
		left -= n_pages;
	}
	zone->scrub_queued = arena != NULL;
	lock_drop(&zone->lock);
	return arena != NULL;
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

/* poison.h - pools that look for writes after free: a pattern in pages that were freed, and who had them
 * last.
 *
 * In such a pool the scrubber fills freed pages instead of zeroing them. They stay dirty; only when the zone
 * is short of clean pages it looks at the pattern, says whose page was touched, and zeroes them. Pages that
 * leave with their whole arena are not looked at.
 *
 * Serialised by the zone's lock, but for what is said below.
 * Invariant (poison_check): every filled page is dirty.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "daemon/pool/arena.h"
#include "daemon/pool/run.h"

struct pool;
struct poison;

/* What an arena of such a pool has beside. NULL: no memory. */
struct poison *poison_new(uint64_t n_pages);
struct poison *poison_free(struct poison *poison);

/* Pages that are still out have had this lease, and process, as their last. On the thread that puts them.
 * Does nothing in other pools. */
void poison_note_holder(const struct pool *pool, struct run run, uint64_t lease, uint32_t pid);

/* Dirty pages that the pattern is not in. */
uint64_t poison_bare_pages(const struct arena *arena);
/* The lowest run of dirty pages that are filled, or bare, at most `max_pages`: false when there is none. */
bool poison_next(const struct arena *arena, bool filled, uint64_t max_pages, uint64_t *ret_first,
		 uint64_t *ret_n_pages);
/* The pattern is in these pages now, or is not any more. */
void poison_set_filled(struct arena *arena, uint64_t first, uint64_t n_pages, bool filled);

/* Fill pages, or look for bytes that have changed: each such page is counted and reported. Both unlocked, on
 * the scrubber's thread; 0 or BACKING_DAMAGED. */
int poison_fill(struct arena *arena, uint64_t first, uint64_t n_pages);
int poison_look(const struct arena *arena, uint64_t first, uint64_t n_pages);

void poison_check(const struct arena *arena);

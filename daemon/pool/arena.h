/* arena.h - one backing file of a pool and which of its pages are free.
 *
 * A page is clean (free in the buddy), dirty (free, in the dirty bitmap, until the scrubber has zeroed it) or
 * out (in a worker's cache or a lease: the zone's business). An arena belongs to one zone, or to nobody: then
 * it is blank, and lies in the stock. A file that a client ever saw never serves another zone. A sole arena
 * belongs to one lease, all of it, and is truncated when that ends.
 *
 * Serialised by its zone's lock; in the stock by the pool's lock.
 * Invariant (arena_check): no page is both clean and dirty; clean + dirty + out = n_pages.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/backing/backing.h"
#include "daemon/base/mailbox.h"
#include "daemon/core/buddy.h"

struct poison;
struct pool;
struct zone;

#define ARENA_MAGIC 0xa2e4a000u

/* Somebody waits until the arena's pages are the kernel's again: see pool_watch_arena(). */
struct arena_watch {
	struct arena_watch *next;
	void (*gone)(struct arena_watch *watch); /* on the stocker's thread, no lock held */
};

struct arena {
	unsigned magic;

	/* constant after arena_new() */
	uint32_t slot; /* in the pool's arena table */
	struct pool *pool;
	uint64_t id; /* never used twice by this daemon */
	struct backing_file *file;
	int node; /* that it was asked from; -1: any */

	_Atomic bool exposed; /* a client was sent its descriptor */
	_Atomic uint64_t lost_page; /* memoryerror.c: the last one, plus 1; 0: none */
	_Atomic bool shut; /* condemned or isolated: no worker's cache shall have its runs. Written under the
			      lock */

	/* guarded by the zone's lock */
	bool sole;      /* constant while pages are out */
	bool scrubbing; /* the scrubber is at work in it, unlocked, somewhere in scrub_pages from scrub_first
			   on */
	bool condemned; /* a client destroyed the file, or it is evicted: released when nothing is out */
	bool isolated; /* by the operator: no new leases until it is restored; released when nothing is out */
	bool is_empty; /* shared, and nothing is out: its pages are in zone->empty_pages */
	bool is_charged;           /* with the janitor: its pages are in zone->returning_pages */
	bool leaving;              /* empty, and wanted elsewhere: nothing more of it is scrubbed */
	bool trim_queued;          /* trim_letter is with the janitor */
	struct zone *zone;         /* NULL: blank. Constant while pages are out */
	struct arena *prev, *next; /* the zone's list */
	uint64_t n_pages;          /* of a sole arena less, once it was trimmed */
	struct buddy *buddy;       /* clean pages */
	uint64_t *dirty;           /* one bit a page */
	uint64_t n_dirty;          /* pages in `dirty`, those that are being scrubbed among them */
	uint64_t dirty_hint;       /* no dirty page below this one */
	struct poison *poison;     /* poison.h; NULL: the pool has none */
	uint64_t scrub_first, scrub_pages;
	uint64_t used_pages;     /* no page from this one on was ever granted; a worker's takes only */
	uint64_t empty_since_ns; /* 0: something is out */
	struct letter trim_letter;

	/* guarded by the pool's lock */
	struct arena *stock_next;                  /* while blank */
	struct arena_watch *watches;               /* who waits for its end */
	struct arena *release_prev, *release_next; /* while the janitor has it: the pool's list */
	uint64_t release_ticket;                   /* its place in that */

	/* the janitor's, while it is released */
	struct letter letter;
	uint64_t limbo_pages;
};

/* A blank arena around `consume_file`, all pages clean. NULL: no memory, the file is untouched. */
struct arena *arena_new(struct pool *pool, uint64_t id, int node, struct backing_file *consume_file);
/* The file must have been released (or be NULL). Returns NULL. */
struct arena *arena_free(struct arena *arena);

static inline uint64_t arena_out_pages(const struct arena *arena)
{
	return arena->n_pages - buddy_free_pages(arena->buddy) - arena->n_dirty;
}

/* All pages of a blank arena go out, or come back untouched. */
void arena_take_all(struct arena *arena);
void arena_put_all(struct arena *arena);
/* While blank or sole: it has only its first `n_pages` now. Its file is the caller's to trim. */
void arena_shorten(struct arena *arena, uint64_t n_pages);

/* A run of `n_pages` dirty pages that nobody is scrubbing, lowest first, goes out as it is: false when there
 * is none. Looks at every word of the bitmap at worst. */
bool arena_take_dirty(struct arena *arena, uint64_t n_pages, uint64_t *ret_first);

/* Pages that are out come back dirty. */
void arena_put_dirty(struct arena *arena, uint64_t first, uint64_t n_pages);
/* Pages that are out come back as they were granted: no client ever saw them. */
void arena_put_clean(struct arena *arena, uint64_t first, uint64_t n_pages);

/* The lowest run of dirty pages from page `from` on, at most `max_pages`: false when there is none. They stay
 * dirty. */
bool arena_next_dirty(struct arena *arena, uint64_t from, uint64_t max_pages, struct backing_run *ret);
/* Dirty pages have been zeroed: they are clean now. */
void arena_cleaned(struct arena *arena, uint64_t first, uint64_t n_pages);

void arena_check(const struct arena *arena);

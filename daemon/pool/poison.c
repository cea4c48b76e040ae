/* poison.c - see poison.h. */
#include <config.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/assert.h"
#include "daemon/base/log.h"
#include "daemon/pool/poison.h"
#include "daemon/pool/pool.h"

#define PATTERN    0x6b /* as the kernel's slab allocator has it */
#define LOOK_BYTES 4096 /* at a time; divides every page */
#define WORD_BITS  64

struct holder {
	uint64_t lease;
	uint32_t pid;
};

struct poison {
	uint64_t n_filled;
	uint64_t *filled;        /* one bit a page */
	struct holder holders[]; /* by page; written while it is out, read while it is dirty */
};

static uint64_t n_words(uint64_t n_pages)
{
	return (n_pages + WORD_BITS - 1) / WORD_BITS;
}

struct poison *poison_new(uint64_t n_pages)
{
	struct poison *poison = calloc(1, sizeof(*poison) + n_pages * sizeof(poison->holders[0]));

	if (!poison)
		return NULL;
	poison->filled = calloc(n_words(n_pages), sizeof(uint64_t));
	return poison->filled ? poison : poison_free(poison);
}

struct poison *poison_free(struct poison *poison)
{
	if (!poison)
		return NULL;
	free(poison->filled);
	free(poison);
	return NULL;
}

void poison_note_holder(const struct pool *pool, struct run run, uint64_t lease, uint32_t pid)
{
	struct holder *holders;

	if (!pool->config.poison)
		return;
	holders = pool_arena(pool, run_slot(run))->poison->holders;
	for (uint64_t page = run_first(run); page < run_first(run) + run.n_pages; page++)
		holders[page] = (struct holder){.lease = lease, .pid = pid};
}

uint64_t poison_bare_pages(const struct arena *arena)
{
	return arena->n_dirty - arena->poison->n_filled;
}

/* The pages that are dirty and filled, or dirty and bare, of those that word `i` of the bitmaps is about. */
static uint64_t word_of(const struct arena *arena, uint64_t i, bool filled)
{
	return filled ? arena->poison->filled[i] : arena->dirty[i] & ~arena->poison->filled[i];
}

bool poison_next(const struct arena *arena, bool filled, uint64_t max_pages, uint64_t *ret_first,
		 uint64_t *ret_n_pages)
{
	uint64_t i = arena->dirty_hint / WORD_BITS, first, end;

	if ((filled ? arena->poison->n_filled : poison_bare_pages(arena)) == 0)
		return false;
	while (word_of(arena, i, filled) == 0)
		i++;
	first = i * WORD_BITS + (unsigned)__builtin_ctzll(word_of(arena, i, filled));
	for (end = first + 1; end < arena->n_pages && end - first < max_pages; end++)
		if (!(word_of(arena, end / WORD_BITS, filled) >> end % WORD_BITS & 1))
			break;
	*ret_first = first;
	*ret_n_pages = end - first;
	return true;
}

void poison_set_filled(struct arena *arena, uint64_t first, uint64_t n_pages, bool filled)
{
	struct poison *poison = arena->poison;

	for (uint64_t page = first; page < first + n_pages; page++) {
		uint64_t mask = UINT64_C(1) << page % WORD_BITS, *word = &poison->filled[page / WORD_BITS];

		hp_assert(!(*word & mask) == filled);
		*word ^= mask;
	}
	poison->n_filled += filled ? n_pages : -n_pages;
}

int poison_fill(struct arena *arena, uint64_t first, uint64_t n_pages)
{
	return backing_file_fill(arena->file, first, n_pages, PATTERN);
}

static void report(const struct arena *arena, uint64_t page, uint64_t offset)
{
	const struct holder *holder = &arena->poison->holders[page];

	atomic_fetch_add(&arena->pool->writes_after_free, 1);
	log_line_limited(&arena->pool->poison_limit, LOG_LEVEL_WARNING,
			 "pool %s: page %" PRIu64 " of arena %" PRIu64
			 " was written after it was freed, at byte %" PRIu64 ": lease %" PRIu64
			 " of process %" PRIu32 "%s had it last",
			 arena->pool->config.name, page, arena->id, offset, holder->lease, holder->pid,
			 holder->pid == 0 ? " (of another pid namespace)" : "");
}

/* The first byte that is not the pattern's, or `n_bytes`. */
static uint64_t first_change(const uint8_t *bytes, uint64_t n_bytes)
{
	uint64_t i = 0;

	if (bytes[0] == PATTERN && memcmp(bytes, bytes + 1, n_bytes - 1) == 0)
		return n_bytes;
	while (bytes[i] == PATTERN)
		i++;
	return i;
}

static int look_at_page(const struct arena *arena, uint64_t page)
{
	const uint64_t page_bytes = arena->pool->config.page_bytes;
	uint8_t bytes[LOOK_BYTES];

	for (uint64_t offset = 0; offset < page_bytes; offset += LOOK_BYTES) {
		int r = backing_file_read(arena->file, page * page_bytes + offset, bytes, LOOK_BYTES);
		uint64_t change = r == 0 ? first_change(bytes, LOOK_BYTES) : LOOK_BYTES;

		if (change < LOOK_BYTES)
			report(arena, page, offset + change);
		if (r != 0 || change < LOOK_BYTES)
			return r;
	}
	return 0;
}

int poison_look(const struct arena *arena, uint64_t first, uint64_t n_pages)
{
	int r = 0;

	for (uint64_t page = first; page < first + n_pages && r == 0; page++)
		r = look_at_page(arena, page);
	return r;
}

void poison_check(const struct arena *arena)
{
	uint64_t n_filled = 0;

	for (uint64_t i = 0; i < n_words(arena->n_pages); i++) {
		hp_assert((arena->poison->filled[i] & ~arena->dirty[i]) == 0);
		n_filled += (unsigned)__builtin_popcountll(arena->poison->filled[i]);
	}
	hp_assert(n_filled == arena->poison->n_filled);
}

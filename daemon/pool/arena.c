/* arena.c - see arena.h. The bitmap and the buddy are one allocation each, made by the stocker. */
#include <config.h>

#include <stdlib.h>

#include "daemon/base/assert.h"
#include "daemon/pool/arena.h"
#include "daemon/pool/poison.h"
#include "daemon/pool/pool.h"

#define WORD_BITS 64

static uint64_t n_words(uint64_t n_pages)
{
	return (n_pages + WORD_BITS - 1) / WORD_BITS;
}

/* Bits [bit, bit + n) of a word, n at most 64 - bit. */
static uint64_t word_mask(unsigned bit, uint64_t n)
{
	return (n == WORD_BITS ? ~UINT64_C(0) : (UINT64_C(1) << n) - 1) << bit;
}

/* Set or clear [first, first + n_pages); asserts that every bit changes. */
static void dirty_change(struct arena *arena, uint64_t first, uint64_t n_pages, bool set)
{
	hp_assert(n_pages > 0 && first + n_pages <= arena->n_pages);
	while (n_pages) {
		unsigned bit = first % WORD_BITS;
		uint64_t n = n_pages < WORD_BITS - bit ? n_pages : WORD_BITS - bit;
		uint64_t mask = word_mask(bit, n), *word = &arena->dirty[first / WORD_BITS];

		hp_assert((*word & mask) == (set ? 0 : mask));
		*word ^= mask;
		first += n;
		n_pages -= n;
	}
}

struct arena *arena_new(struct pool *pool, uint64_t id, int node, struct backing_file *consume_file)
{
	uint64_t n_pages = backing_file_pages(consume_file);
	struct arena *arena = calloc(1, sizeof(*arena));
	size_t buddy_size = (buddy_bytes(n_pages) + 63) / 64 * 64;
	void *buddy_memory = NULL;

	if (!arena)
		return NULL;
	arena->magic = ARENA_MAGIC;
	arena->dirty = calloc(n_words(n_pages), sizeof(uint64_t));
	if (pool->config.poison)
		arena->poison = poison_new(n_pages);
	if (!arena->dirty || (pool->config.poison && !arena->poison) ||
	    posix_memalign(&buddy_memory, 64, buddy_size) != 0)
		return arena_free(arena);
	__builtin_memset(buddy_memory, 0, buddy_size);
	arena->pool = pool;
	arena->id = id;
	arena->node = node;
	arena->n_pages = n_pages;
	arena->buddy = buddy_init(buddy_memory, n_pages);
	arena->dirty_hint = n_pages;
	buddy_put(arena->buddy, 0, n_pages);
	arena->file = consume_file;
	return arena;
}

struct arena *arena_free(struct arena *arena)
{
	if (!arena)
		return NULL;
	hp_assert_alive(arena, ARENA_MAGIC);
	arena->magic = 0;
	free(arena->buddy);
	free(arena->dirty);
	poison_free(arena->poison);
	free(arena);
	return NULL;
}

void arena_put_dirty(struct arena *arena, uint64_t first, uint64_t n_pages)
{
	dirty_change(arena, first, n_pages, true);
	arena->n_dirty += n_pages;
	if (first < arena->dirty_hint)
		arena->dirty_hint = first;
}

void arena_put_clean(struct arena *arena, uint64_t first, uint64_t n_pages)
{
	buddy_put(arena->buddy, first, n_pages);
}

void arena_take_all(struct arena *arena)
{
	hp_assert(buddy_take_at(arena->buddy, 0, arena->n_pages) == 0);
}

void arena_put_all(struct arena *arena)
{
	buddy_put(arena->buddy, 0, arena->n_pages);
}

void arena_shorten(struct arena *arena, uint64_t n_pages)
{
	const uint64_t n_cut = arena->n_pages - n_pages;

	hp_assert(n_pages > 0 && n_pages <= arena->n_pages && arena->n_dirty == 0);
	/* The buddy goes on counting what is cut off as taken. */
	if (n_cut > 0 && buddy_free_pages(arena->buddy) > 0)
		hp_assert(buddy_take_at(arena->buddy, n_pages, n_cut) == 0);
	arena->n_pages = n_pages;
}

static bool is_dirty(const struct arena *arena, uint64_t page)
{
	return arena->dirty[page / WORD_BITS] >> page % WORD_BITS & 1;
}

/* The first dirty page at or after `page`; n_pages: none. */
static uint64_t next_dirty(const struct arena *arena, uint64_t page)
{
	while (page < arena->n_pages) {
		uint64_t word = arena->dirty[page / WORD_BITS] >> page % WORD_BITS;

		if (word)
			return page + (unsigned)__builtin_ctzll(word);
		page = (page / WORD_BITS + 1) * WORD_BITS;
	}
	return arena->n_pages;
}

/* Dirty, and not in the scrubber's hands. */
static bool is_idle(const struct arena *arena, uint64_t page)
{
	return is_dirty(arena, page) && !(arena->scrubbing && page >= arena->scrub_first &&
					  page < arena->scrub_first + arena->scrub_pages);
}

bool arena_take_dirty(struct arena *arena, uint64_t n_pages, uint64_t *ret_first)
{
	uint64_t first, end;

	if (n_pages > arena->n_dirty)
		return false;
	for (first = next_dirty(arena, arena->dirty_hint); first + n_pages <= arena->n_pages;
	     first = next_dirty(arena, end + 1)) {
		end = first;
		while (end < first + n_pages && is_idle(arena, end))
			end++;
		if (end < first + n_pages)
			continue;
		dirty_change(arena, first, n_pages, false);
		arena->n_dirty -= n_pages;
		*ret_first = first;
		return true;
	}
	return false;
}

bool arena_next_dirty(struct arena *arena, uint64_t from, uint64_t max_pages, struct backing_run *ret)
{
	const bool is_lowest = from <= arena->dirty_hint;
	uint64_t first, end;

	if (arena->n_dirty == 0)
		return false;
	first = next_dirty(arena, is_lowest ? arena->dirty_hint : from);
	if (is_lowest)
		arena->dirty_hint = first;
	if (first == arena->n_pages)
		return false;
	end = first + 1;
	while (end < arena->n_pages && end - first < max_pages && is_dirty(arena, end))
		end++;
	*ret = (struct backing_run){first, end - first};
	return true;
}

void arena_cleaned(struct arena *arena, uint64_t first, uint64_t n_pages)
{
	dirty_change(arena, first, n_pages, false);
	arena->n_dirty -= n_pages;
	buddy_put(arena->buddy, first, n_pages);
}

void arena_check(const struct arena *arena)
{
	uint64_t n_dirty = 0, first = 0, n_pages;

	hp_assert_alive(arena, ARENA_MAGIC);
	buddy_check(arena->buddy);
	for (uint64_t i = 0; i < n_words(arena->n_pages); i++)
		n_dirty += (unsigned)__builtin_popcountll(arena->dirty[i]);
	hp_assert(n_dirty == arena->n_dirty);
	hp_assert(n_dirty + buddy_free_pages(arena->buddy) <= arena->n_pages);
	hp_assert(arena->n_dirty == 0 || next_dirty(arena, 0) >= arena->dirty_hint);
	if (arena->poison)
		poison_check(arena);
	while (buddy_next_free_run(arena->buddy, first, &first, &n_pages)) {
		for (uint64_t page = first; page < first + n_pages; page++)
			hp_assert(!is_dirty(arena, page));
		first += n_pages;
	}
}

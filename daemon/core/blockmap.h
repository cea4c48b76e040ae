/* blockmap.h - which aligned blocks of an arena are whole (entirely free), for every order at once.
 *
 * Mechanism only: it finds, measures and marks; which block to use is the buddy's choice. The caller
 * serialises. A block of order k is 2^k pages at a multiple of 2^k.
 *
 * Level 0 is one bit a page: free or not. A bit of level l stands for a unit of 64^l pages, and the level has
 * one map for each order up to 6l: the bit in map k says that the unit holds a whole block of order k. So map
 * 6l says that the unit itself is whole; orders between 6l and 6l+6 are read out of the words of that map by
 * folding. The top level has one word a map. All of it is 1.11 bits a page; every search and measurement is a
 * climb and a descent, two words a level, and there are at most six levels.
 *
 * Invariant (blockmap_check): every bit above level 0 follows from level 0; there is nothing free past the
 * end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCKMAP_LEVELS 6 /* 64^6 pages, more than an arena can have */

struct blockmap {
	uint64_t n_pages;                  /* constant after init */
	unsigned top;                      /* the highest level; constant after init */
	uint32_t n_words[BLOCKMAP_LEVELS]; /* constant after init: words of each map of a level */
	uint64_t *levels[BLOCKMAP_LEVELS]; /* constant after init: the maps of a level, order by order */
};

/* Bytes of words for `n_pages`. */
size_t blockmap_bytes(uint64_t n_pages);
/* Make a map with nothing free in `words`: blockmap_bytes(n_pages) zeroed bytes that stay the caller's. */
void blockmap_init(struct blockmap *map, uint64_t *words, uint64_t n_pages);

/* Mark pages that are not free as free, or free ones as not free. Asserts that all of them change. */
void blockmap_write(struct blockmap *map, uint64_t first, uint64_t n_pages, bool free);

/* The lowest whole block of `order` that starts at or after `from`. Returns false if there is none
 * (*ret_first untouched). */
bool blockmap_find(const struct blockmap *map, unsigned order, uint64_t from, uint64_t *ret_first);
bool blockmap_is_whole(const struct blockmap *map, unsigned order, uint64_t first);

/* The first page at or after `page` that is not free (n_pages if all are). */
uint64_t blockmap_run_end(const struct blockmap *map, uint64_t page);
/* The lowest page from which all pages up to `page`, itself excluded, are free (`page` if there is none). */
uint64_t blockmap_run_start(const struct blockmap *map, uint64_t page);

/* The order of the largest whole block, -1 if nothing is free. */
int blockmap_largest_order(const struct blockmap *map);
/* How many blocks of `order` are whole, those inside larger whole blocks included. Reads a word for every
 * 64 pages, or for every 4096 when order >= 6, and so on. */
uint64_t blockmap_count(const struct blockmap *map, unsigned order);

void blockmap_check(const struct blockmap *map);

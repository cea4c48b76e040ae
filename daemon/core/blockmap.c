/* blockmap.c - the words behind blockmap.h: what a level's maps are is said there.
 *
 * The caller serialises. Invariant (blockmap_check): bit i of map k on level l + 1 says that word i of level
 * l holds a whole block of order k: read from map k of level l if it has one, and by folding its words of
 * whole units if not.
 */
#include <config.h>

#include "daemon/core/blockmap.h"

#include "daemon/base/assert.h"

#define WORD_ORDER 6 /* a word holds 2^6 bits: units of one level, together one unit of the next */
#define WORD_BITS  (1u << WORD_ORDER)
#define ALL_ONES   (~UINT64_C(0))

/* ---- words ---- */

/* The bits at multiples of 2^order. */
static const uint64_t block_starts[WORD_ORDER + 1] = {
	UINT64_C(0xffffffffffffffff), UINT64_C(0x5555555555555555), UINT64_C(0x1111111111111111),
	UINT64_C(0x0101010101010101), UINT64_C(0x0001000100010001), UINT64_C(0x0000000100000001),
	UINT64_C(0x0000000000000001),
};

/* From the places where 2^order set bits begin to those where twice as many do. */
static inline uint64_t word_double(uint64_t places, unsigned order)
{
	return places & places >> (1u << order);
}

/* The whole blocks of `order` in a word, named by their first bits. */
static inline uint64_t word_blocks(uint64_t word, unsigned order)
{
	for (unsigned i = 0; i < order; i++)
		word = word_double(word, i);
	return word & block_starts[order];
}

/* The order of the largest whole block in a word, -1 if the word is 0. All orders are looked at: a branch for
 * each would go one way as often as the other. */
static inline int word_largest_order(uint64_t word)
{
	const uint64_t of_2 = word_double(word, 0) & block_starts[1];
	const uint64_t of_4 = word_double(of_2, 1) & block_starts[2];
	const uint64_t of_8 = word_double(of_4, 2) & block_starts[3];
	const uint64_t of_16 = word_double(of_8, 3) & block_starts[4];
	const uint64_t of_32 = word_double(of_16, 4) & block_starts[5];

	return (word != 0) + (of_2 != 0) + (of_4 != 0) + (of_8 != 0) + (of_16 != 0) + (of_32 != 0) +
	       (word == ALL_ONES) - 1;
}

static inline unsigned word_trailing_ones(uint64_t word)
{
	return word == ALL_ONES ? WORD_BITS : (unsigned)__builtin_ctzll(~word);
}

static inline unsigned word_leading_ones(uint64_t word)
{
	return word == ALL_ONES ? WORD_BITS : (unsigned)__builtin_clzll(~word);
}

/* ---- levels ---- */

static inline uint64_t level_words(uint64_t n_pages, unsigned level)
{
	return ((n_pages - 1) >> WORD_ORDER * (level + 1)) + 1;
}

static inline unsigned level_maps(unsigned level)
{
	return WORD_ORDER * level + 1;
}

static inline uint64_t *level_map(const struct blockmap *map, unsigned level, unsigned order)
{
	return map->levels[level] + order * map->n_words[level];
}

/* The map whose bits say that a unit is whole. */
static inline uint64_t *level_whole(const struct blockmap *map, unsigned level)
{
	return level_map(map, level, WORD_ORDER * level);
}

/* The level whose words a block of `order` is read from. */
static inline unsigned level_of_order(const struct blockmap *map, unsigned order)
{
	return order / WORD_ORDER < map->top ? order / WORD_ORDER : map->top;
}

static unsigned top_level(uint64_t n_pages)
{
	unsigned level = 0;

	while (level_words(n_pages, level) > 1)
		level++;
	return level;
}

size_t blockmap_bytes(uint64_t n_pages)
{
	uint64_t n_words = 0;

	for (unsigned level = 0; level <= top_level(n_pages); level++)
		n_words += level_maps(level) * level_words(n_pages, level);
	return n_words * sizeof(uint64_t);
}

void blockmap_init(struct blockmap *map, uint64_t *words, uint64_t n_pages)
{
	map->n_pages = n_pages;
	map->top = top_level(n_pages);
	for (unsigned level = 0; level <= map->top; level++) {
		map->levels[level] = words;
		map->n_words[level] = (uint32_t)level_words(n_pages, level);
		words += level_maps(level) * level_words(n_pages, level);
	}
}

/* ---- marking ---- */

static void map_write(struct blockmap *map, unsigned level, unsigned order, uint64_t first, uint64_t n,
		      bool value);

/* Set or clear the bit of one unit, which changes, and carry that upwards as long as it makes a map's word
 * empty or not empty any more. For maps that say "holds a whole block", not for those that say "is whole". */
static inline void unit_write(struct blockmap *map, unsigned level, unsigned order, uint64_t unit, bool value)
{
	for (;; level++, unit /= WORD_BITS) {
		uint64_t *word = &level_map(map, level, order)[unit / WORD_BITS];
		uint64_t others = *word & ~(UINT64_C(1) << unit % WORD_BITS);

		*word = value ? others | UINT64_C(1) << unit % WORD_BITS : others;
		if (others != 0 || level == map->top)
			return;
	}
}

/* `n_words` words of the whole-map of `level`, from `index` on, changed from `old` to `new`: tell the level
 * above. */
static inline void carry_up(struct blockmap *map, unsigned level, uint64_t index, uint64_t n_words,
			    uint64_t old, uint64_t new)
{
	const bool value = new > old;
	const int was = word_largest_order(old), is = word_largest_order(new);

	for (int o = (value ? was : is) + 1; o <= (value ? is : was); o++) {
		unsigned order = WORD_ORDER * level + (unsigned)o;

		if (o < WORD_ORDER && n_words == 1)
			unit_write(map, level + 1, order, index, value);
		else
			map_write(map, level + 1, order, index, n_words, value);
	}
}

/* Set or clear `n` bits of one map, all of which change, and carry what follows from it upwards: words that
 * change from end to end in one go, so that a gigabyte costs what its words cost and not what its bits do. */
static inline __attribute__((always_inline)) void write_bits(struct blockmap *map, unsigned level,
							     unsigned order, uint64_t first, uint64_t n,
							     bool value)
{
	uint64_t *words = level_map(map, level, order);
	const uint64_t last = first + n;

	while (first < last) {
		uint64_t index = first / WORD_BITS, n_words = 1;
		unsigned bit = first % WORD_BITS;
		uint64_t n_bits = last - first < WORD_BITS - bit ? last - first : WORD_BITS - bit;
		uint64_t mask = ALL_ONES >> (WORD_BITS - n_bits) << bit;
		uint64_t old = words[index], new = old ^ mask;

		hp_assert((old & mask) == (value ? 0 : mask));
		words[index] = new;
		if (n_bits == WORD_BITS) {
			n_words = (last - first) / WORD_BITS;
			for (uint64_t i = 1; i < n_words; i++) {
				hp_assert(words[index + i] == old);
				words[index + i] = new;
			}
		}
		if (level < map->top) {
			if (order == WORD_ORDER * level)
				carry_up(map, level, index, n_words, old, new);
			else if ((value ? old : new) == 0)
				map_write(map, level + 1, order, index, n_words, value);
		}
		first += n_bits + (n_words - 1) * WORD_BITS;
	}
}

static void map_write(struct blockmap *map, unsigned level, unsigned order, uint64_t first, uint64_t n,
		      bool value)
{
	write_bits(map, level, order, first, n, value);
}

/* Compiled for the lowest level, where nearly all work is. */
void blockmap_write(struct blockmap *map, uint64_t first, uint64_t n_pages, bool free)
{
	if (free)
		write_bits(map, 0, 0, first, n_pages, true);
	else
		write_bits(map, 0, 0, first, n_pages, false);
}

/* ---- finding ---- */

/* The whole blocks of `order` in word `index` of the level whose words show them. */
static inline uint64_t blocks_at(const struct blockmap *map, unsigned order, unsigned level, uint64_t index)
{
	return word_blocks(level_whole(map, level)[index], order - WORD_ORDER * level);
}

/* The units of a level that hold blocks of `order`, or are: word `index`. */
static inline uint64_t holders_at(const struct blockmap *map, unsigned order, unsigned level,
				  unsigned own_level, uint64_t index)
{
	return level > own_level ? level_map(map, level, order)[index] : blocks_at(map, order, level, index);
}

bool blockmap_find(const struct blockmap *map, unsigned order, uint64_t from, uint64_t *ret_first)
{
	const unsigned own_level = level_of_order(map, order);
	const unsigned shift = WORD_ORDER * own_level;
	const uint64_t size = UINT64_C(1) << order;
	uint64_t unit = ((from + size - 1) & ~(size - 1)) >> shift;
	uint64_t index = unit / WORD_BITS, word;
	unsigned level = own_level;

	if (size > map->n_pages || index >= map->n_words[level])
		return false;
	if (unit == 0) {
		/* The lowest of all: the way down is always as long. */
		level = map->top;
		index = 0;
	}
	word = holders_at(map, order, level, own_level, index) & ALL_ONES << unit % WORD_BITS;
	/* Up, until there is a word further on that holds one. */
	while (word == 0) {
		if (level == map->top)
			return false;
		unit = index + 1;
		index = unit / WORD_BITS;
		level++;
		if (index >= map->n_words[level])
			return false;
		word = level_map(map, level, order)[index] & ALL_ONES << unit % WORD_BITS;
	}
	/* Down, to the first of it. */
	while (level > own_level) {
		index = index * WORD_BITS + (unsigned)__builtin_ctzll(word);
		level--;
		word = holders_at(map, order, level, own_level, index);
	}
	*ret_first = (index * WORD_BITS + (unsigned)__builtin_ctzll(word)) << shift;
	return true;
}

bool blockmap_is_whole(const struct blockmap *map, unsigned order, uint64_t first)
{
	const unsigned level = level_of_order(map, order);
	const uint64_t unit = first >> WORD_ORDER * level;

	if (first + (UINT64_C(1) << order) > map->n_pages)
		return false;
	return blocks_at(map, order, level, unit / WORD_BITS) >> unit % WORD_BITS & 1;
}

uint64_t blockmap_run_end(const struct blockmap *map, uint64_t page)
{
	unsigned level = 0;
	uint64_t unit = page;

	/* Up, while the units are whole to the end of their word. */
	for (;;) {
		unsigned ones;

		if (unit << WORD_ORDER * level >= map->n_pages)
			return map->n_pages;
		ones = word_trailing_ones(level_whole(map, level)[unit / WORD_BITS] >> unit % WORD_BITS);
		unit += ones;
		if (ones == 0 || unit % WORD_BITS != 0)
			break;
		if (level == map->top)
			return map->n_pages;
		unit /= WORD_BITS;
		level++;
	}
	/* Down, into the one that is not. The last unit of a level may be a part of one: what is behind it is
	 * the end, and no word. */
	for (; unit << WORD_ORDER * level < map->n_pages;
	     unit = unit * WORD_BITS + word_trailing_ones(level_whole(map, level)[unit])) {
		if (level == 0)
			return unit;
		level--;
	}
	return map->n_pages;
}

uint64_t blockmap_run_start(const struct blockmap *map, uint64_t page)
{
	unsigned level = 0;
	uint64_t unit = page; /* the run reaches down to where this unit starts */

	while (unit > 0) {
		uint64_t word = level_whole(map, level)[(unit - 1) / WORD_BITS];
		unsigned ones = word_leading_ones(word << (WORD_BITS - 1 - (unit - 1) % WORD_BITS));

		unit -= ones;
		if (ones == 0 || unit % WORD_BITS != 0)
			break;
		if (level == map->top)
			return 0;
		unit /= WORD_BITS;
		level++;
	}
	while (level > 0 && unit > 0) {
		level--;
		unit = unit * WORD_BITS - word_leading_ones(level_whole(map, level)[unit - 1]);
	}
	return unit;
}

/* ---- counting ---- */

int blockmap_largest_order(const struct blockmap *map)
{
	const unsigned n_maps = level_maps(map->top);
	const int in_top = word_largest_order(*level_whole(map, map->top));

	if (in_top >= 0)
		return (int)n_maps - 1 + in_top;
	for (int order = (int)n_maps - 2; order >= 0; order--)
		if (*level_map(map, map->top, (unsigned)order) != 0)
			return order;
	return -1;
}

uint64_t blockmap_count(const struct blockmap *map, unsigned order)
{
	const unsigned level = level_of_order(map, order);
	const uint64_t n_words = map->n_words[level];
	uint64_t n_blocks = 0;

	if (UINT64_C(1) << order > map->n_pages)
		return 0;
	for (uint64_t i = 0; i < n_words; i++)
		n_blocks += (unsigned)__builtin_popcountll(blocks_at(map, order, level, i));
	return n_blocks;
}

void blockmap_check(const struct blockmap *map)
{
	const uint64_t *pages = level_whole(map, 0);
	const unsigned n_last = map->n_pages % WORD_BITS;

	if (n_last != 0)
		hp_assert(pages[map->n_pages / WORD_BITS] >> n_last == 0);
	for (unsigned level = 0; level < map->top; level++) {
		for (unsigned order = 0; order < level_maps(level + 1); order++) {
			const uint64_t *above = level_map(map, level + 1, order);
			const uint64_t n_words = map->n_words[level];

			for (uint64_t i = 0; i < n_words; i++) {
				bool holds_one;

				if (order < WORD_ORDER * level)
					holds_one = level_map(map, level, order)[i] != 0;
				else
					holds_one = word_blocks(level_whole(map, level)[i],
								order - WORD_ORDER * level) != 0;
				hp_assert((above[i / WORD_BITS] >> i % WORD_BITS & 1) == holds_one);
			}
		}
	}
}

/* pool_set.h - a set of a daemon's pools, by index: one word, so that threads can hand it over atomically.
 *
 * Everybody who keeps a bit for each pool does so by these: a shift by the number of all pools, 64, would be
 * undefined.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "daemon/base/assert.h"

#define POOLS_MAX 64 /* in one daemon */

_Static_assert(POOLS_MAX <= 64, "a bit for each pool");

struct pool_set {
	uint64_t bits;
};

/* The same, for any thread. */
struct pool_set_shared {
	_Atomic uint64_t bits;
};

static inline uint64_t pool_set_bit(unsigned index)
{
	hp_assert(index < POOLS_MAX);
	return UINT64_C(1) << index;
}

static inline void pool_set_add(struct pool_set *set, unsigned index)
{
	set->bits |= pool_set_bit(index);
}

/* Take out the lowest. False: the set is empty, *ret_index untouched. */
static inline bool pool_set_take(struct pool_set *set, unsigned *ret_index)
{
	if (set->bits == 0)
		return false;
	*ret_index = (unsigned)__builtin_ctzll(set->bits);
	set->bits &= set->bits - 1;
	return true;
}

/* Whoever takes all afterwards sees what was written before. */
static inline void pool_set_add_shared(struct pool_set_shared *shared, unsigned index)
{
	atomic_fetch_or(&shared->bits, pool_set_bit(index));
}

/* All of them; the shared set is empty then. */
static inline struct pool_set pool_set_take_all_shared(struct pool_set_shared *shared)
{
	struct pool_set all = {0};

	if (atomic_load_explicit(&shared->bits, memory_order_relaxed) != 0)
		all.bits = atomic_exchange(&shared->bits, 0);
	return all;
}

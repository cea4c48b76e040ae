/* run.h - contiguous pages inside one arena of a pool, named without pointers. */
#pragma once

#include <stdint.h>

/* `address` is what pcache and the ledger keep: the arena's slot in its pool, and the first page. */
struct run {
	uint64_t address;
	uint64_t n_pages;
};

static inline uint64_t run_address(uint32_t slot, uint64_t first)
{
	return (uint64_t)slot << 32 | first;
}
static inline uint32_t run_slot(struct run run)
{
	return (uint32_t)(run.address >> 32);
}
static inline uint64_t run_first(struct run run)
{
	return (uint32_t)run.address;
}

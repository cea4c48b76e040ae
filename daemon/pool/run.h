/* run.h - contiguous pages inside one arena of a pool, named without pointers; and what a lease wants of
 * them.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* `address` is what pcache and the ledger keep: the arena's slot in its pool, and the first page. */
struct run {
	uint64_t address;
	uint64_t n_pages;
};

/* Pages of one arena, at most: so the end of a run is not the beginning of the next slot. */
#define RUN_ARENA_MAX ((uint64_t)UINT32_MAX)

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

/* The pages of one lease, in the order of its bytes. */
#define RUN_LIST_MAX 64

struct run_list {
	unsigned n;
	struct run runs[RUN_LIST_MAX];
};

/* What a lease asks for: `n_pages` in all, in as few runs as can be. */
struct want {
	uint64_t n_pages;
	uint64_t align_pages; /* of each run's first page, a power of two, at least 1 */
	unsigned max_runs;    /* 1 ... RUN_LIST_MAX */
	int node;             /* NUMA node to prefer; -1: any */
	bool sole;            /* files of its own, exact to the page: each run is a whole arena */
	bool no_zero;         /* what this tenant has written before is good enough */
	bool has_readers;     /* sole: somebody may get a descriptor that can only be read */
};

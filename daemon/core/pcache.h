/* pcache.h - one worker's cache of free page runs of one zone: the kernel's per-cpu pageset in user space.
 *
 * Runs are cached by their exact length, up to PCACHE_MAX_RUN pages; longer ones go to the buddy directly. A
 * run is named by its address: the arena's slot in the upper 32 bits, the first page in the lower, opaque
 * here. Hot runs come back first (last in, first out), cold ones last. No locks: one thread owns a pcache. No
 * malloc.
 *
 * The cache holds at most `high_pages` over all lengths; who puts more is told to drain some.
 *
 * Invariant (pcache_check): pcache_pages() is the sum over lengths of runs times length, and at most
 * high_pages.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PCACHE_MAX_RUN 16

enum {
	PCACHE_EMPTY = 1, /* no run of that length */
	PCACHE_FULL = 2,  /* would pass high_pages (drain some first), or the run is longer than
			     PCACHE_MAX_RUN */
};

struct pcache;

struct pcache_limits {
	uint32_t high_pages;  /* at most this many pages cached */
	uint32_t batch_pages; /* what one refill moves, at most high_pages */
};

/* Bytes for a cache with these limits, struct included: 27 for each of high_pages and 544 more. */
size_t pcache_bytes(const struct pcache_limits *limits);
/* Make an empty cache in `memory`: pcache_bytes() zeroed bytes aligned to 64, the caller's. */
struct pcache *pcache_init(void *memory, const struct pcache_limits *limits);

/* Take a run of exactly `n_pages`. Returns 0 or PCACHE_EMPTY (*ret_run untouched). */
int pcache_take(struct pcache *pcache, uint64_t n_pages, uint64_t *ret_run);
/* Put a free run: hot to be reused next, cold last. Returns 0 or PCACHE_FULL with nothing changed. */
int pcache_put(struct pcache *pcache, uint64_t run, uint64_t n_pages, bool hot);

/* How many runs of `n_pages` a refill should fetch now (at least 1 when there is room, 0 when not cached):
 * twice as many as the last time, up to batch_pages, unless some of that length had to be drained since,
 * unused. Who fetched them in ascending order puts them cold, so that the low addresses go out first. */
uint32_t pcache_refill_runs(struct pcache *pcache, uint64_t n_pages);

struct pcache_run {
	uint64_t run;
	uint64_t n_pages;
};

/* Remove at least `n_pages` pages (fewer when the cache or `room` has no more; the last run may pass it) into
 * `runs` of `room` entries: the lengths that were unused the longest first, and of a length the coldest runs
 * first. Returns how many entries were filled; 0 when the cache is empty. */
uint32_t pcache_drain(struct pcache *pcache, uint64_t n_pages, struct pcache_run *runs, uint32_t room);

/* Read by other threads for statistics (relaxed); written by the owner. */
uint64_t pcache_pages(const struct pcache *pcache);

/* Call `visit` for every cached run; for checkers. */
void pcache_for_each(const struct pcache *pcache, void (*visit)(void *arg, uint64_t run, uint64_t n_pages),
		     void *arg);
void pcache_check(const struct pcache *pcache);

/* memoryerror.h - pages that the hardware has broken: nobody gets them again, and somebody is told.
 *
 * The kernel tells the process of a broken page, at once or when it is touched; the guard of daemon/backing
 * notes where. An arena with such a page goes as a whole: out of the stock at once, else as soon as nothing
 * of it is leased. The kernel never gives that page to anybody again.
 */
#pragma once

#include <stdint.h>

struct arena;
struct pool;

/* The arena's page is lost: count it, and log it. No lock may be held. */
void memoryerror_report(struct arena *arena, uint64_t page);

/* On the stocker's thread, in each tick: find the arenas of what was noted since the last one. */
void memoryerror_look(struct pool **pools, unsigned n_pools);

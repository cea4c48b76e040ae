/* drain.h - every worker empties its caches of a zone, and says so: what was cached is free in the zone then.
 *
 * A drain is a number; it is over when the zone's (or the pool's) count of finished ones has reached it.
 * Those asked for while one is under way are one drain, the next: so there are never more than two, whoever
 * asks. On the stocker's thread, but for what the workers do.
 */
#pragma once

#include "daemon/pool/pool.h"

/* Make the zone's drain_letter ready; part of zone_new(). */
void drain_prepare(struct zone *zone);

/* Some worker's cache of the zone holds pages, as far as another thread can see. */
bool drain_has_cached(const struct zone *zone);
/* Pages in all workers' caches of the zone: the same. */
uint64_t drain_cached_pages(const struct zone *zone);

/* Returns the value that zone->drain.n_finished will have when a drain that began now or later is over. */
uint64_t drain_start(struct zone *zone);
/* The same of all zones of a pool whose caches hold anything: of pool->drain.n_finished. */
uint64_t drain_start_pool(struct pool *pool);
/* So many pages of the pool are in no client's hands: less, and no drain can make room for them. Looks at
 * each zone. */
bool drain_may_help(struct pool *pool, uint64_t n_pages);

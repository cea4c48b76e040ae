/* admission.h - what arithmetic says of a request, before anything is made or let go for it.
 *
 * Two questions. Can it ever be met? That depends on the pool's configuration alone, and a worker asks before
 * it queues anything. Can it be met now? The stocker asks at each try: sums that are kept anyway are
 * compared, no arena is looked at but blank ones. Only where the answer is yes does a request make the
 * stocker work.
 */
#pragma once

#include "daemon/pool/pool.h"

enum admission {
	ADMISSION_NOW,   /* blank arenas, and what may be made, suffice */
	ADMISSION_LATER, /* they will: when `release_pages` that nobody uses were let go, and what is with
			    the janitor is back */
	ADMISSION_OVER_QUOTA, /* the tenant's */
	ADMISSION_FULL,       /* max, and what the reserve keeps, leave no room */
	ADMISSION_SHORT,      /* the kernel has not as many pages */
};

/* Whether a request for `n_pages` in all, of which the largest lease is as `want` says, can be met when
 * nobody holds anything: ADMISSION_NOW, or ADMISSION_OVER_QUOTA, or ADMISSION_FULL. Any thread, no lock. */
enum admission admission_ever(const struct pool *pool, const struct want *want, uint64_t n_pages);

/* Whether blank or new arenas can meet `want`, now or later; `more_pages` are wanted with it. `in_one`: as
 * one new run, whatever want->max_runs allows. *ret_release_pages is set if the answer is ADMISSION_LATER; 0
 * where only what the janitor has is lacking. On the stocker's thread. */
enum admission admission_of_arenas(struct zone *zone, const struct want *want, uint64_t more_pages,
				   bool in_one, uint64_t *ret_release_pages);

/* Blank pages, and pages of its own zone, that may go to the kernel so that a new arena of at least
 * `n_pages` can be made: what the reserve does not keep. With the pool's lock held. */
uint64_t admission_spare_locked(const struct pool *pool);

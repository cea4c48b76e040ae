/* pool_scene.h - requests of the stocker's own kind, for unit tests that drive it by steps.
 */
#pragma once

#include "tests/support/house.h"

struct pool_figures figures_of(struct house *house);

/* One request, which is answered on its worker's thread: by house_settle(). */
struct asker {
	struct supply supply;
	bool is_answered;
};

/* Of the tenant `uid`; `wait_ns` is 0 for one that does not wait. */
void ask(struct house *house, struct asker *asker, uid_t uid, struct want want, uint64_t wait_ns);
/* The same, and its answer. */
enum supply_result ask_and_settle(struct house *house, struct asker *asker, uid_t uid, struct want want);
/* It has been answered: give back what was granted. */
void end(struct asker *asker);

/* One run of so many pages; files of their own; and as many runs as can be. */
struct want run_of(uint64_t n_pages);
struct want sole_of(uint64_t n_pages);
struct want scattered_of(uint64_t n_pages);

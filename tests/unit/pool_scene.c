/* pool_scene.c - see pool_scene.h. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "tests/unit/pool_scene.h"

struct pool_figures figures_of(struct house *house)
{
	struct pool_figures figures;

	pool_get_figures(house->pools[0], &figures);
	return figures;
}

static void answered(struct supply *supply)
{
	((struct asker *)supply)->is_answered = true;
}

void ask(struct house *house, struct asker *asker, uid_t uid, struct want want, uint64_t wait_ns)
{
	const struct peer peer = {.uid = uid, .gid = uid};

	*asker = (struct asker){.supply = {
					.zone = pool_zone_get(house->pools[0], &peer),
					.want = want,
					.deadline_ns = wait_ns > 0 ? clock_now_ns() + wait_ns : 0,
					.done = answered,
				}};
	supply_post(&asker->supply);
}

/* One run of so many pages. */
struct want run_of(uint64_t n_pages)
{
	return (struct want){.n_pages = n_pages, .align_pages = 1, .max_runs = 1, .node = -1};
}

struct want sole_of(uint64_t n_pages)
{
	return (struct want){
		.n_pages = n_pages, .align_pages = 1, .max_runs = RUN_LIST_MAX, .node = -1, .sole = true};
}

struct want scattered_of(uint64_t n_pages)
{
	return (struct want){.n_pages = n_pages, .align_pages = 1, .max_runs = RUN_LIST_MAX, .node = -1};
}

/* Give back what was granted. */
void end(struct asker *asker)
{
	struct zone *zone = asker->supply.zone;

	assert_true(asker->is_answered);
	for (unsigned i = 0; asker->supply.result == SUPPLY_GRANTED && i < asker->supply.runs.n; i++)
		if (asker->supply.want.sole)
			pool_end_sole(zone, asker->supply.runs.runs[i]);
		else
			zone_put_clean(zone, 0, asker->supply.runs.runs[i]);
	pool_zone_unref(zone);
}

enum supply_result ask_and_settle(struct house *house, struct asker *asker, uid_t uid, struct want want)
{
	ask(house, asker, uid, want, 0);
	house_settle(house);
	assert_true(asker->is_answered);
	return asker->supply.result;
}

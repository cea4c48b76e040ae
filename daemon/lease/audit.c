/* audit.c - marks each page of each arena with the state that claims it; nobody may claim a page twice. */
#include <config.h>

#include <stdlib.h>

#include "daemon/base/assert.h"
#include "daemon/lease/audit.h"
#include "daemon/lease/lease.h"

/* One byte a page, per arena slot of one pool. */
struct marks {
	struct pool *pool;
	uint8_t **pages;
	uint64_t n_cached, n_leased;
};

static void mark(struct marks *marks, struct run run)
{
	const struct arena *arena = pool_arena(marks->pool, run_slot(run));
	uint64_t first = run_first(run);

	hp_assert_alive(arena, ARENA_MAGIC);
	hp_assert(first + run.n_pages <= arena->n_pages);
	for (uint64_t page = first; page < first + run.n_pages; page++) {
		hp_assert(marks->pages[arena->slot][page] == 0);
		marks->pages[arena->slot][page] = 1;
	}
}

static void mark_cached(void *arg, uint64_t address, uint64_t n_pages)
{
	struct marks *marks = arg;

	mark(marks, (struct run){.address = address, .n_pages = n_pages});
	marks->n_cached += n_pages;
}

static void mark_free(struct marks *marks, struct arena *arena)
{
	uint64_t first = 0, n_pages;

	while (buddy_next_free_run(arena->buddy, first, &first, &n_pages)) {
		mark(marks, (struct run){.address = run_address(arena->slot, first), .n_pages = n_pages});
		first += n_pages;
	}
	for (uint64_t page = 0; page < arena->n_pages; page++)
		if (arena->dirty[page / 64] >> page % 64 & 1)
			mark(marks, (struct run){.address = run_address(arena->slot, page), .n_pages = 1});
}

static void mark_zone(void *arg, struct zone *zone)
{
	struct marks *marks = arg;

	zone_check(zone);
	for (struct arena *arena = zone->arenas; arena; arena = arena->next) {
		marks->pages[arena->slot] = calloc(arena->n_pages, 1);
		hp_assert(marks->pages[arena->slot]);
		mark_free(marks, arena);
	}
	for (unsigned i = 0; i < zone->n_workers; i++) {
		pcache_check(zone->workers[i].clean);
		pcache_check(zone->workers[i].dirty);
		pcache_for_each(zone->workers[i].clean, mark_cached, marks);
		pcache_for_each(zone->workers[i].dirty, mark_cached, marks);
	}
}

static void mark_runs(struct marks *marks, const struct run_list *runs)
{
	for (unsigned i = 0; i < runs->n; i++) {
		mark(marks, runs->runs[i]);
		marks->n_leased += runs->runs[i].n_pages;
	}
}

/* The pages of a named lease are its share's, however many hold it. */
static void mark_share(void *arg, const struct share_terms *terms, const struct share_runs *runs)
{
	struct marks *marks = arg;

	if (terms->pool == marks->pool->index)
		mark_runs(marks, &runs->list);
}

static void mark_leased(struct marks *marks, struct ledger *ledger)
{
	for (uint32_t chunk = 0; ledger_chunk_owner(ledger, chunk) >= 0; chunk++)
		for (uint32_t i = 0; i < LEDGER_CHUNK_SLOTS; i++) {
			const struct lease_record *record = ledger_at(ledger, chunk * LEDGER_CHUNK_SLOTS + i);
			struct share_runs runs;

			if (record->state == LEASE_NONE || record->state == LEASE_PART || record->share ||
			    record->pool != marks->pool->index)
				continue;
			lease_get_runs(ledger, record, &runs);
			mark_runs(marks, &runs.list);
		}
	shares_for_each(ledger_shares(ledger), mark_share, marks);
}

/* Every page of every arena that belongs to a zone is claimed by now. */
static void check_and_free(struct marks *marks)
{
	for (uint32_t slot = 0; slot < marks->pool->n_slots; slot++) {
		const struct arena *arena = marks->pages[slot] ? pool_arena(marks->pool, slot) : NULL;

		for (uint64_t page = 0; arena && page < arena->n_pages; page++)
			hp_assert(marks->pages[slot][page] == 1);
		free(marks->pages[slot]);
	}
	free(marks->pages);
}

uint64_t audit_walk(struct pool *const *pools, unsigned n_pools, struct ledger *ledger)
{
	uint64_t n_leased = 0;

	for (unsigned i = 0; i < n_pools; i++) {
		struct marks marks = {.pool = pools[i]};
		struct pool_figures figures;

		marks.pages = calloc(pools[i]->n_slots, sizeof(marks.pages[0]));
		hp_assert(marks.pages);
		pool_check(pools[i]);
		pool_for_each_zone(pools[i], mark_zone, &marks);
		mark_leased(&marks, ledger);
		pool_get_figures(pools[i], &figures);
		hp_assert(figures.zones.cached == marks.n_cached);
		hp_assert(figures.zones.leased + figures.zones.orphaned == marks.n_leased);
		check_and_free(&marks);
		n_leased += marks.n_leased;
	}
	return n_leased;
}

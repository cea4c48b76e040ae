/* model_pcache.c - random puts, takes and drains against plain sorted arrays, the checker walking.
 *
 * The model keeps each length as an array from the coldest run to the hottest. Every answer is compared, and
 * everything cached after every operation.
 *
 * model_pcache [SEED [OPERATIONS]], or $HP_SEED and $HP_OPS.
 */
#include "config.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/core/pcache.h"
#include "tests/model/model_random.h"

#define MAX_HIGH UINT64_C(300)
#define LONGEST  (PCACHE_MAX_RUN + 2) /* more than is cached */

static uint64_t n_operations;

struct model {
	struct pcache *pcache;
	struct pcache_limits limits;
	uint64_t pages, clock;
	struct length {
		uint64_t runs[MAX_HIGH]; /* the coldest first */
		uint32_t n_runs;
		uint64_t last_used;
	} lengths[LONGEST + 1];
};

static struct model model;

/* Small ones more often, sometimes longer than is cached. */
static uint64_t random_length(void)
{
	return 1 + random_below(1 + random_below(LONGEST));
}

static uint64_t remove_coldest(struct length *length)
{
	uint64_t run = length->runs[0];

	length->n_runs--;
	memmove(length->runs, length->runs + 1, length->n_runs * sizeof(length->runs[0]));
	return run;
}

/* ---- operations ---- */

static void step_put(void)
{
	uint64_t n_pages = random_length(), run = next_random();
	bool hot = random_below(3) != 0;
	struct length *length;

	if (n_pages > PCACHE_MAX_RUN || model.pages + n_pages > model.limits.high_pages) {
		assert_int_equal(pcache_put(model.pcache, run, n_pages, hot), PCACHE_FULL);
		return;
	}
	assert_int_equal(pcache_put(model.pcache, run, n_pages, hot), 0);
	length = &model.lengths[n_pages];
	length->last_used = ++model.clock;
	if (!hot)
		memmove(length->runs + 1, length->runs, length->n_runs * sizeof(length->runs[0]));
	length->runs[hot ? length->n_runs : 0] = run;
	length->n_runs++;
	model.pages += n_pages;
}

static void step_take(void)
{
	uint64_t n_pages = random_length(), run = UINT64_MAX;
	struct length *length = &model.lengths[n_pages];

	if (n_pages <= PCACHE_MAX_RUN)
		length->last_used = ++model.clock;
	if (n_pages > PCACHE_MAX_RUN || length->n_runs == 0) {
		assert_int_equal(pcache_take(model.pcache, n_pages, &run), PCACHE_EMPTY);
		assert_int_equal(run, UINT64_MAX);
		return;
	}
	assert_int_equal(pcache_take(model.pcache, n_pages, &run), 0);
	assert_int_equal(run, length->runs[--length->n_runs]);
	model.pages -= n_pages;
}

static void step_drain(void)
{
	struct pcache_run runs[32];
	uint64_t n_pages = random_below(2 * model.limits.batch_pages + 1), drained = 0;
	uint32_t room = (uint32_t)random_below(33), n_runs = pcache_drain(model.pcache, n_pages, runs, room);

	assert_true(n_runs <= room);
	for (uint32_t i = 0; i < n_runs; i++) {
		uint64_t oldest = 0;

		assert_true(drained < n_pages);
		for (uint64_t n = 1; n <= PCACHE_MAX_RUN; n++)
			if (model.lengths[n].n_runs > 0 &&
			    (oldest == 0 || model.lengths[n].last_used < model.lengths[oldest].last_used))
				oldest = n;
		assert_int_equal(runs[i].n_pages, oldest);
		assert_int_equal(runs[i].run, remove_coldest(&model.lengths[oldest]));
		drained += oldest;
		model.pages -= oldest;
	}
	assert_true(drained >= n_pages || n_runs == room || model.pages == 0);
}

/* ---- comparing ---- */

struct visit {
	uint64_t n_pages;
	uint32_t place;
	uint64_t total;
};

static void compare_run(void *arg, uint64_t run, uint64_t n_pages)
{
	struct visit *visit = arg;

	if (visit->n_pages != n_pages)
		*visit = (struct visit){n_pages, 0, visit->total};
	assert_true(visit->place < model.lengths[n_pages].n_runs);
	assert_int_equal(run, model.lengths[n_pages].runs[visit->place++]);
	visit->total += n_pages;
}

static void compare(void)
{
	struct visit visit = {0};
	uint64_t room = model.limits.high_pages - model.pages;

	pcache_check(model.pcache);
	assert_int_equal(pcache_pages(model.pcache), model.pages);
	pcache_for_each(model.pcache, compare_run, &visit);
	assert_int_equal(visit.total, model.pages);
	for (uint64_t n = 1; n <= PCACHE_MAX_RUN + 1; n++) {
		uint32_t n_runs = pcache_refill_runs(model.pcache, n);

		assert_true(n_runs * n <= room);
		assert_true((n_runs > 0) == (n <= PCACHE_MAX_RUN && n <= room));
		assert_true(n_runs <= 1 || n_runs * n <= model.limits.batch_pages);
	}
}

static void run_model(struct pcache_limits limits, uint64_t n_steps)
{
	size_t n_bytes = (pcache_bytes(&limits) + 63) / 64 * 64;
	void *memory = aligned_alloc(64, n_bytes);
	uint64_t takes_in_16 = 8;

	assert_non_null(memory);
	memset(memory, 0, n_bytes);
	memset(&model, 0, sizeof(model));
	model.limits = limits;
	model.pcache = pcache_init(memory, &limits);
	for (uint64_t step = 0; step < n_steps; step++) {
		if (random_below(2000) == 0)
			takes_in_16 = 4 + random_below(9);
		if (random_below(50) == 0)
			step_drain();
		else if (random_below(16) < takes_in_16)
			step_take();
		else
			step_put();
		compare();
	}
	free(memory);
}

static void pcache_random_operations_agree_with_model(void **state)
{
	static const struct pcache_limits limits[] = {
		{1, 1}, {2, 0}, {16, 4}, {31, 31}, {64, 16}, {256, 16}, {300, 100},
	};
	const unsigned n_limits = sizeof(limits) / sizeof(limits[0]);

	for (unsigned i = 0; i < n_limits; i++) {
		printf("high %3" PRIu32 ", batch %3" PRIu32 ": %5zu bytes\n", limits[i].high_pages,
		       limits[i].batch_pages, pcache_bytes(&limits[i]));
		run_model(limits[i], n_operations / n_limits);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pcache_random_operations_agree_with_model),
	};

	n_operations = model_random_init(argc, argv, 1000000);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

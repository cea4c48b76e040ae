/* model_buddy.c - random takes and puts against one byte a page, the checker walking.
 *
 * Arenas of many sizes share the operations. Whatever the buddy says is compared: that a granted run was free
 * and lies as asked; that a refused one could be refused; counts, blocks and runs. In small arenas all of it
 * after every operation, in large ones now and then. Also prints what the bookkeeping costs.
 *
 * model_buddy [SEED [OPERATIONS]], or $HP_SEED and $HP_OPS.
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

#include "daemon/core/buddy.h"
#include "tests/model/model_random.h"

#define MAX_PAGES     (UINT64_C(300000))
#define SMALL_PAGES   UINT64_C(200) /* compared in full after every operation */
#define PAGES_A_CHECK UINT64_C(300) /* others once in n_pages / this many operations */
#define MAX_BITS      4.0           /* a page, from 512 pages on */

static uint64_t n_operations;

/* The model: which pages are free, and the runs that were taken. */
struct model {
	struct buddy *buddy;
	uint64_t n_pages, n_free;
	uint8_t free[MAX_PAGES];
	struct run {
		uint64_t first, n_pages;
	} runs[MAX_PAGES];
	uint64_t n_runs;
};

static struct model model;

/* Mostly small, any size at times. */
static uint64_t random_length(void)
{
	uint64_t limit = UINT64_C(1) << random_below(8);

	if (random_below(50) == 0)
		limit = model.n_pages;
	return 1 + random_below(limit);
}

/* ---- the naive answers ---- */

static bool all_free(uint64_t first, uint64_t n_pages)
{
	return memchr(model.free + first, 0, n_pages) == NULL;
}

static bool is_block(uint64_t first, uint64_t size)
{
	return first % size == 0 && first + size <= model.n_pages && all_free(first, size);
}

static bool has_block(uint64_t at_least_pages)
{
	uint64_t size = 1;

	while (size < at_least_pages)
		size *= 2;
	for (uint64_t first = 0; first + size <= model.n_pages; first += size)
		if (is_block(first, size))
			return true;
	return false;
}

static void model_take(uint64_t first, uint64_t n_pages)
{
	assert_true(first < model.n_pages && n_pages <= model.n_pages - first);
	assert_true(all_free(first, n_pages));
	memset(model.free + first, 0, n_pages);
	model.n_free -= n_pages;
	model.runs[model.n_runs++] = (struct run){first, n_pages};
}

/* ---- operations ---- */

static void assert_may_refuse(uint64_t n_pages, uint64_t align_pages)
{
	assert_false(has_block(n_pages > align_pages ? n_pages : align_pages));
	if (align_pages == 1)
		assert_true(n_pages > buddy_sure_run(model.buddy));
}

static void step_take(void)
{
	uint64_t n_pages = random_length(), align_pages = UINT64_C(1)
							  << (random_below(4) ? 0 : random_below(12));
	uint64_t sure = buddy_sure_run(model.buddy), first = UINT64_MAX;

	if (sure > 0 && random_below(20) == 0) {
		n_pages = sure - random_below(sure < 3 ? sure : 3);
		align_pages = 1;
	}
	if (buddy_take(model.buddy, n_pages, align_pages, &first) != 0) {
		assert_int_equal(first, UINT64_MAX);
		assert_may_refuse(n_pages, align_pages);
		return;
	}
	assert_int_equal(first % align_pages, 0);
	model_take(first, n_pages);
}

static void step_take_bulk(void)
{
	uint64_t n_pages = 1 + random_below(16), firsts[32];
	uint32_t n_runs = 1 + (uint32_t)random_below(32);
	uint32_t n_taken = buddy_take_bulk(model.buddy, n_pages, n_runs, firsts);

	assert_true(n_taken <= n_runs);
	for (uint32_t i = 0; i < n_taken; i++)
		model_take(firsts[i], n_pages);
	if (n_taken < n_runs)
		assert_may_refuse(n_pages, 1);
}

static void step_take_at(void)
{
	uint64_t first = random_below(model.n_pages), n_pages = random_length();

	if (n_pages > model.n_pages - first)
		n_pages = model.n_pages - first;
	if (all_free(first, n_pages)) {
		assert_int_equal(buddy_take_at(model.buddy, first, n_pages), 0);
		model_take(first, n_pages);
	} else {
		assert_int_equal(buddy_take_at(model.buddy, first, n_pages), BUDDY_TAKEN);
	}
}

/* A whole run, or a piece of it from its front, its back or its middle. */
static void step_put(void)
{
	struct run *run, piece;

	if (model.n_runs == 0)
		return;
	run = &model.runs[random_below(model.n_runs)];
	piece = *run;
	if (random_below(4) == 0) {
		piece.first += random_below(run->n_pages);
		piece.n_pages = 1 + random_below(run->first + run->n_pages - piece.first);
	}
	buddy_put(model.buddy, piece.first, piece.n_pages);
	memset(model.free + piece.first, 1, piece.n_pages);
	model.n_free += piece.n_pages;

	uint64_t before = piece.first - run->first, after = run->n_pages - before - piece.n_pages;

	*run = model.runs[--model.n_runs];
	if (before > 0)
		model.runs[model.n_runs++] = (struct run){piece.first - before, before};
	if (after > 0)
		model.runs[model.n_runs++] = (struct run){piece.first + piece.n_pages, after};
}

static void step_isolate(void)
{
	uint64_t first;

	buddy_isolate(model.buddy);
	assert_int_equal(buddy_take(model.buddy, 1, 1, &first), BUDDY_FULL);
	step_put();
	assert_int_equal(buddy_sure_run(model.buddy), 0);
	buddy_restore(model.buddy);
}

/* ---- comparing ---- */

static void compare_runs(void)
{
	uint64_t first = 0, found = 0, found_pages = 0, longest = 0, sure = buddy_sure_run(model.buddy);

	while (first < model.n_pages) {
		const uint8_t *start = memchr(model.free + first, 1, model.n_pages - first), *end;

		if (!start)
			break;
		first = (uint64_t)(start - model.free);
		end = memchr(start, 0, model.n_pages - first);
		found += found_pages; /* where the last run ended */
		assert_true(buddy_next_free_run(model.buddy, found, &found, &found_pages));
		assert_int_equal(found, first);
		assert_int_equal(found_pages, end ? (uint64_t)(end - start) : model.n_pages - first);
		longest = found_pages > longest ? found_pages : longest;
		first += found_pages;
	}
	assert_false(buddy_next_free_run(model.buddy, found + found_pages, &found, &found_pages));
	assert_true(sure <= longest);
	assert_true((sure > 0) == (longest > 0));
	assert_true(!has_block(sure + 1));
}

static void compare_blocks(void)
{
	for (unsigned order = 0; order < BUDDY_ORDERS; order++) {
		const uint64_t size = UINT64_C(1) << order;
		uint64_t n_blocks = 0;

		for (uint64_t first = 0; first + size <= model.n_pages; first += size)
			n_blocks += is_block(first, size) && !is_block(first & ~(2 * size - 1), 2 * size);
		assert_int_equal(buddy_free_blocks(model.buddy, order), n_blocks);
	}
}

static void compare(void)
{
	buddy_check(model.buddy);
	assert_int_equal(buddy_free_pages(model.buddy), model.n_free);
	compare_runs();
	compare_blocks();
}

/* Phases of growing and shrinking, so that an arena is now nearly full and now nearly empty. */
static void run_model(uint64_t n_pages, uint64_t n_steps)
{
	size_t n_bytes = (buddy_bytes(n_pages) + 63) / 64 * 64;
	void *memory = aligned_alloc(64, n_bytes);
	uint64_t check_every = n_pages <= SMALL_PAGES ? 1 : n_pages / PAGES_A_CHECK + 1, puts_in_16 = 8;

	assert_non_null(memory);
	memset(memory, 0, n_bytes);
	memset(&model, 0, sizeof(model));
	model.n_pages = model.n_free = n_pages;
	model.buddy = buddy_init(memory, n_pages);
	memset(model.free, 1, n_pages);
	buddy_put(model.buddy, 0, n_pages);

	for (uint64_t step = 0; step < n_steps; step++) {
		if (random_below(2000) == 0)
			puts_in_16 = 4 + random_below(9);
		if (random_below(1000) == 0)
			step_isolate();
		else if (random_below(16) < puts_in_16)
			step_put();
		else if (random_below(8) == 0)
			step_take_at();
		else if (random_below(8) == 0)
			step_take_bulk();
		else
			step_take();
		if (step % check_every == 0)
			compare();
	}
	while (model.n_runs > 0)
		step_put();
	compare();
	assert_int_equal(buddy_sure_run(model.buddy), n_pages);
	free(memory);
}

static void buddy_random_operations_agree_with_model(void **state)
{
	static const uint64_t sizes[] = {
		1, 7, 64, 65, 130, 200, 512, 4096, 4160, 5003, 6400, 70000, (1 << 18) + 77, 266240};
	const unsigned n_sizes = sizeof(sizes) / sizeof(sizes[0]);

	for (unsigned i = 0; i < n_sizes; i++)
		run_model(sizes[i], n_operations / n_sizes);
}

static void buddy_bookkeeping_stays_under_half_a_byte_a_page(void **state)
{
	static const uint64_t sizes[] = {
		1,       64,      256,           512,     1000,    4096,          4097,
		1 << 15, 1 << 18, (1 << 18) + 1, 1 << 24, 1 << 28, (1 << 28) + 1, BUDDY_MAX_PAGES};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		double bits = 8.0 * (double)buddy_bytes(sizes[i]) / (double)sizes[i];

		printf("%10" PRIu64 " pages: %9zu bytes, %8.3f bits a page\n", sizes[i],
		       buddy_bytes(sizes[i]), bits);
		if (sizes[i] >= 512)
			assert_true(bits <= MAX_BITS);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buddy_bookkeeping_stays_under_half_a_byte_a_page),
		cmocka_unit_test(buddy_random_operations_agree_with_model),
	};

	n_operations = model_random_init(argc, argv, 1000000);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_buddy.c - the buddy by temper: optimistic, pessimistic, pathological; then rule by rule.
 *
 * Whether any of it holds after a million random steps is model_buddy's question.
 */
#include <config.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/core/buddy.h"

#define UNTOUCHED UINT64_C(0xdeadbeef)

static struct buddy *new_taken(uint64_t n_pages)
{
	size_t n_bytes = (buddy_bytes(n_pages) + 63) / 64 * 64;
	void *memory = aligned_alloc(64, n_bytes);

	assert_non_null(memory);
	memset(memory, 0, n_bytes);
	return buddy_init(memory, n_pages);
}

static struct buddy *new_free(uint64_t n_pages)
{
	struct buddy *buddy = new_taken(n_pages);

	buddy_put(buddy, 0, n_pages);
	return buddy;
}

static void end(struct buddy *buddy)
{
	buddy_check(buddy);
	free(buddy);
}

static uint64_t take(struct buddy *buddy, uint64_t n_pages)
{
	uint64_t first;

	assert_int_equal(buddy_take(buddy, n_pages, 1, &first), 0);
	return first;
}

static void assert_full(struct buddy *buddy, uint64_t n_pages, uint64_t align_pages)
{
	uint64_t first = UNTOUCHED;

	assert_int_equal(buddy_take(buddy, n_pages, align_pages, &first), BUDDY_FULL);
	assert_int_equal(first, UNTOUCHED);
}

/* ---- by temper ---- */

static void buddy_smoke_takes_and_puts(void **state)
{
	struct buddy *buddy = new_free(1024);

	assert_int_equal(buddy_n_pages(buddy), 1024);
	assert_int_equal(take(buddy, 10), 0);
	assert_int_equal(take(buddy, 1), 10);
	assert_int_equal(buddy_free_pages(buddy), 1013);
	buddy_put(buddy, 0, 10);
	buddy_put(buddy, 10, 1);
	assert_int_equal(buddy_free_pages(buddy), 1024);
	assert_int_equal(buddy_free_blocks(buddy, 10), 1);
	end(buddy);
}

static void buddy_optimistic_grants_every_order_once(void **state)
{
	struct buddy *buddy = new_free((1 << 13) - 1);

	for (unsigned order = 0; order < 13; order++)
		take(buddy, UINT64_C(1) << order);
	assert_int_equal(buddy_free_pages(buddy), 0);
	assert_int_equal(buddy_sure_run(buddy), 0);
	assert_full(buddy, 1, 1);
	end(buddy);
}

static void buddy_pessimistic_one_page_in_use_costs_the_largest_order(void **state)
{
	const unsigned top = 12;
	struct buddy *buddy = new_free(UINT64_C(1) << top);

	assert_int_equal(take(buddy, 1), 0);
	assert_full(buddy, UINT64_C(1) << top, 1);
	for (unsigned order = 0; order < top; order++)
		assert_int_equal(buddy_free_blocks(buddy, order), 1);
	for (unsigned order = top; order-- > 0;)
		take(buddy, UINT64_C(1) << order);
	assert_int_equal(buddy_free_pages(buddy), 0);
	end(buddy);
}

static void buddy_pathological_every_other_page_serves_single_pages_only(void **state)
{
	const uint64_t n_pages = 1 << 16;
	struct buddy *buddy = new_free(n_pages);

	for (uint64_t page = 0; page < n_pages; page += 2)
		assert_int_equal(buddy_take_at(buddy, page, 1), 0);
	assert_int_equal(buddy_free_blocks(buddy, 0), n_pages / 2);
	assert_int_equal(buddy_sure_run(buddy), 1);
	assert_full(buddy, 2, 1);
	assert_full(buddy, 1, 2);
	assert_int_equal(take(buddy, 1), 1);
	for (uint64_t page = 0; page < n_pages; page += 2)
		buddy_put(buddy, page, 1);
	buddy_put(buddy, 1, 1);
	assert_int_equal(buddy_free_blocks(buddy, 16), 1);
	end(buddy);
}

/* ---- exact to the page ---- */

static void buddy_take_of_part_of_a_block_leaves_its_tail_free(void **state)
{
	struct buddy *buddy = new_free(64);

	assert_int_equal(take(buddy, 37), 0);
	assert_int_equal(buddy_free_pages(buddy), 27);
	assert_int_equal(buddy_free_blocks(buddy, 0), 1); /* 37 */
	assert_int_equal(buddy_free_blocks(buddy, 1), 1); /* 38 */
	assert_int_equal(buddy_free_blocks(buddy, 3), 1); /* 40 */
	assert_int_equal(buddy_free_blocks(buddy, 4), 1); /* 48 */
	assert_int_equal(take(buddy, 27), 37);
	end(buddy);
}

static void buddy_run_across_blocks_is_found(void **state)
{
	struct buddy *buddy = new_taken(256);
	uint64_t first;

	buddy_put(buddy, 61, 6); /* no block larger than 2 pages in it */
	assert_int_equal(buddy_sure_run(buddy), 6);
	assert_full(buddy, 7, 1);
	assert_full(buddy, 4, 4);
	assert_int_equal(buddy_take(buddy, 3, 2, &first), 0);
	assert_int_equal(first, 62);
	buddy_put(buddy, 62, 3);
	assert_int_equal(take(buddy, 6), 61);
	end(buddy);
}

static void buddy_odd_arena_is_used_to_the_last_page(void **state)
{
	static const uint64_t sizes[] = {1,    2,    3,    63,   64,    65,     127,    511,    513,   4095,
					 4096, 4097, 4160, 6400, 16000, 100003, 262145, 266240, 327680};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct buddy *buddy = new_free(sizes[i]);
		uint64_t first, n_pages;

		assert_int_equal(buddy_sure_run(buddy), sizes[i]);
		assert_full(buddy, sizes[i] + 1, 1);
		assert_true(buddy_next_free_run(buddy, 0, &first, &n_pages));
		assert_int_equal(first, 0);
		assert_int_equal(n_pages, sizes[i]);
		assert_int_equal(take(buddy, sizes[i]), 0);
		assert_false(buddy_next_free_run(buddy, 0, &first, &n_pages));
		buddy_put(buddy, sizes[i] - 1, 1);
		assert_int_equal(take(buddy, 1), sizes[i] - 1);
		end(buddy);
	}
}

static void buddy_bulk_take_fills_holes_from_below(void **state)
{
	struct buddy *buddy = new_free(32);
	uint64_t firsts[8];

	assert_int_equal(buddy_take_at(buddy, 0, 2), 0);
	assert_int_equal(buddy_take_at(buddy, 6, 20), 0);
	assert_int_equal(buddy_take_bulk(buddy, 2, 3, firsts), 3);
	assert_int_equal(firsts[0], 2);
	assert_int_equal(firsts[1], 4);
	assert_int_equal(firsts[2], 26);
	assert_int_equal(buddy_take_bulk(buddy, 2, 8, firsts), 2);
	assert_int_equal(buddy_take_bulk(buddy, 2, 8, firsts), 0);
	end(buddy);
}

/* ---- merging ---- */

static void buddy_free_last_half_merges(void **state)
{
	struct buddy *buddy = new_free(4096);

	assert_int_equal(take(buddy, 2048), 0);
	assert_int_equal(take(buddy, 2048), 2048);
	buddy_put(buddy, 2048, 2048);
	assert_int_equal(buddy_free_blocks(buddy, 11), 1);
	buddy_put(buddy, 0, 2048);
	assert_int_equal(buddy_free_blocks(buddy, 11), 0);
	assert_int_equal(buddy_free_blocks(buddy, 12), 1);
	end(buddy);
}

static void buddy_put_in_pieces_merges_like_one(void **state)
{
	struct buddy *buddy = new_free(5000);

	assert_int_equal(take(buddy, 5000), 0);
	for (uint64_t i = 0; i < 5000; i++)
		buddy_put(buddy, (i * 2741) % 5000, 1);
	assert_int_equal(buddy_free_pages(buddy), 5000);
	assert_int_equal(buddy_sure_run(buddy), 5000);
	assert_int_equal(buddy_free_blocks(buddy, 12), 1);
	assert_int_equal(buddy_free_blocks(buddy, 3), 1);
	end(buddy);
}

static void buddy_neighbours_that_are_not_buddies_stay_two_blocks(void **state)
{
	struct buddy *buddy = new_taken(16);

	buddy_put(buddy, 2, 2);
	buddy_put(buddy, 4, 2);
	assert_int_equal(buddy_free_blocks(buddy, 1), 2);
	assert_int_equal(buddy_free_blocks(buddy, 2), 0);
	assert_int_equal(take(buddy, 4), 2);
	end(buddy);
}

/* ---- choosing ---- */

static void buddy_lowest_run_goes_first(void **state)
{
	struct buddy *buddy = new_taken(1 << 18);

	buddy_put(buddy, 200000, 8);
	buddy_put(buddy, 70000, 8);
	buddy_put(buddy, 300, 4);
	assert_int_equal(take(buddy, 8), 70000);
	assert_int_equal(take(buddy, 8), 200000);
	assert_int_equal(take(buddy, 4), 300);
	end(buddy);
}

/* Pages 0 and 1 wait for 2 and 3, with 4 to 7 they become a block of 8; pages 10 and 11 wait for nothing. */
static struct buddy *new_with_spared_block(void)
{
	struct buddy *buddy = new_taken(64);

	buddy_put(buddy, 0, 2);
	buddy_put(buddy, 4, 4);
	buddy_put(buddy, 10, 2);
	return buddy;
}

static void buddy_block_whose_larger_buddy_is_whole_is_not_taken_first(void **state)
{
	struct buddy *buddy = new_with_spared_block();

	assert_int_equal(take(buddy, 2), 10);
	buddy_put(buddy, 2, 2);
	assert_int_equal(buddy_free_blocks(buddy, 3), 1);
	end(buddy);
}

static void buddy_spared_block_is_taken_before_a_larger_one_is_split(void **state)
{
	struct buddy *buddy = new_with_spared_block();

	assert_int_equal(take(buddy, 2), 10);
	assert_int_equal(take(buddy, 2), 0);
	assert_int_equal(take(buddy, 2), 4);
	end(buddy);
}

static void buddy_spared_block_is_taken_when_the_other_is_far(void **state)
{
	struct buddy *buddy = new_taken(4096);

	buddy_put(buddy, 0, 2);
	buddy_put(buddy, 4, 4);
	buddy_put(buddy, 2050, 2);
	assert_int_equal(take(buddy, 2), 0);
	end(buddy);
}

static void buddy_aligned_take_begins_at_a_multiple(void **state)
{
	struct buddy *buddy = new_free(1 << 14);
	uint64_t first;

	assert_int_equal(take(buddy, 1), 0);
	for (uint64_t align = 1; align <= 1 << 13; align *= 2) {
		assert_int_equal(buddy_take(buddy, 3, align, &first), 0);
		assert_int_equal(first % align, 0);
		buddy_put(buddy, first, 3);
	}
	assert_full(buddy, 1, 1 << 14);
	assert_full(buddy, 1, UINT64_C(1) << 63);
	buddy_put(buddy, 0, 1);
	assert_int_equal(buddy_take(buddy, 1, UINT64_C(1) << 63, &first), 0);
	assert_int_equal(first, 0);
	end(buddy);
}

static void buddy_aligned_take_skips_longer_runs_that_miss_the_multiple(void **state)
{
	struct buddy *buddy = new_taken(1 << 14);
	uint64_t first;

	for (uint64_t page = 0; page + 1024 < 1 << 14; page += 1024)
		buddy_put(buddy, page + 1, 1000);
	buddy_put(buddy, 15 << 10, 512);
	assert_int_equal(buddy_take(buddy, 500, 1024, &first), 0);
	assert_int_equal(first, 15 << 10);
	end(buddy);
}

/* ---- taking by place ---- */

static void buddy_take_at_of_a_taken_page_changes_nothing(void **state)
{
	struct buddy *buddy = new_free(1 << 12);

	assert_int_equal(buddy_take_at(buddy, 1000, 1), 0);
	assert_int_equal(buddy_take_at(buddy, 1000, 1), BUDDY_TAKEN);
	assert_int_equal(buddy_take_at(buddy, 900, 101), BUDDY_TAKEN);
	assert_int_equal(buddy_take_at(buddy, 1000, 100), BUDDY_TAKEN);
	assert_int_equal(buddy_free_pages(buddy), 4095);
	assert_int_equal(buddy_take_at(buddy, 1001, 3095), 0);
	assert_int_equal(buddy_take_at(buddy, 0, 1000), 0);
	end(buddy);
}

static void buddy_put_of_a_free_page_aborts(void **state)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		struct buddy *buddy = new_free(64);

		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		buddy_put(buddy, 3, 1);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGABRT);
}

/* ---- isolating ---- */

static void buddy_isolated_takes_nothing_and_records_puts(void **state)
{
	struct buddy *buddy = new_free(128);
	uint64_t first = take(buddy, 100), firsts[2];

	buddy_isolate(buddy);
	assert_true(buddy_is_isolated(buddy));
	assert_full(buddy, 1, 1);
	assert_int_equal(buddy_take_bulk(buddy, 1, 2, firsts), 0);
	assert_int_equal(buddy_sure_run(buddy), 0);
	buddy_put(buddy, first, 100);
	assert_int_equal(buddy_free_pages(buddy), 128);
	buddy_restore(buddy);
	assert_false(buddy_is_isolated(buddy));
	assert_int_equal(take(buddy, 128), 0);
	end(buddy);
}

/* ---- asking ---- */

static void buddy_next_free_run_walks_maximal_runs(void **state)
{
	struct buddy *buddy = new_taken(10000);
	uint64_t first, n_pages;

	buddy_put(buddy, 5, 60);
	buddy_put(buddy, 4000, 5000);
	buddy_put(buddy, 9999, 1);
	assert_true(buddy_next_free_run(buddy, 0, &first, &n_pages));
	assert_int_equal(first, 5);
	assert_int_equal(n_pages, 60);
	assert_true(buddy_next_free_run(buddy, 65, &first, &n_pages));
	assert_int_equal(first, 4000);
	assert_int_equal(n_pages, 5000);
	assert_true(buddy_next_free_run(buddy, 9000, &first, &n_pages));
	assert_int_equal(first, 9999);
	assert_int_equal(n_pages, 1);
	assert_false(buddy_next_free_run(buddy, 10000, &first, &n_pages));
	end(buddy);
}

/* ---- the largest arena ---- */

static size_t resident_pages(void *memory, size_t n_bytes)
{
	const size_t page = (size_t)sysconf(_SC_PAGESIZE);
	size_t n_pages = (n_bytes + page - 1) / page, n_resident = 0;
	unsigned char *map = malloc(n_pages);

	assert_non_null(map);
	assert_int_equal(mincore(memory, n_bytes, map), 0);
	for (size_t i = 0; i < n_pages; i++)
		n_resident += map[i] & 1;
	free(map);
	return n_resident;
}

static void buddy_of_2_to_the_32_pages_is_ready_at_once(void **state)
{
	const size_t n_bytes = buddy_bytes(BUDDY_MAX_PAGES);
	void *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct buddy *buddy;
	uint64_t first;

	assert_ptr_not_equal(memory, MAP_FAILED);
	assert_int_equal(madvise(memory, n_bytes, MADV_NOHUGEPAGE), 0);
	buddy = buddy_init(memory, BUDDY_MAX_PAGES);
	assert_int_equal(resident_pages(memory, n_bytes), 1);

	assert_int_equal(buddy_sure_run(buddy), 0);
	assert_full(buddy, 1, 1);
	buddy_put(buddy, BUDDY_MAX_PAGES - 1000, 1000);
	buddy_put(buddy, UINT64_C(1) << 31, 10);
	assert_int_equal(take(buddy, 10), UINT64_C(1) << 31);
	assert_int_equal(take(buddy, 1000), BUDDY_MAX_PAGES - 1000);
	assert_full(buddy, BUDDY_MAX_PAGES, 1);
	buddy_put(buddy, BUDDY_MAX_PAGES - 64, 64);
	assert_int_equal(buddy_take(buddy, 1, 32, &first), 0);
	assert_int_equal(first, BUDDY_MAX_PAGES - 64);
	assert_true(resident_pages(memory, n_bytes) < 256);
	munmap(memory, n_bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(buddy_smoke_takes_and_puts),
		cmocka_unit_test(buddy_optimistic_grants_every_order_once),
		cmocka_unit_test(buddy_pessimistic_one_page_in_use_costs_the_largest_order),
		cmocka_unit_test(buddy_pathological_every_other_page_serves_single_pages_only),
		cmocka_unit_test(buddy_take_of_part_of_a_block_leaves_its_tail_free),
		cmocka_unit_test(buddy_run_across_blocks_is_found),
		cmocka_unit_test(buddy_odd_arena_is_used_to_the_last_page),
		cmocka_unit_test(buddy_bulk_take_fills_holes_from_below),
		cmocka_unit_test(buddy_free_last_half_merges),
		cmocka_unit_test(buddy_put_in_pieces_merges_like_one),
		cmocka_unit_test(buddy_neighbours_that_are_not_buddies_stay_two_blocks),
		cmocka_unit_test(buddy_lowest_run_goes_first),
		cmocka_unit_test(buddy_block_whose_larger_buddy_is_whole_is_not_taken_first),
		cmocka_unit_test(buddy_spared_block_is_taken_before_a_larger_one_is_split),
		cmocka_unit_test(buddy_spared_block_is_taken_when_the_other_is_far),
		cmocka_unit_test(buddy_aligned_take_begins_at_a_multiple),
		cmocka_unit_test(buddy_aligned_take_skips_longer_runs_that_miss_the_multiple),
		cmocka_unit_test(buddy_take_at_of_a_taken_page_changes_nothing),
		cmocka_unit_test(buddy_put_of_a_free_page_aborts),
		cmocka_unit_test(buddy_isolated_takes_nothing_and_records_puts),
		cmocka_unit_test(buddy_next_free_run_walks_maximal_runs),
		cmocka_unit_test(buddy_of_2_to_the_32_pages_is_ready_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

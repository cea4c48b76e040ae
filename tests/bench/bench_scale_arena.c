/* bench_scale_arena.c - taking and putting runs in an arena of a terabyte of 4 KiB pages, against one of a
 * gigabyte: half full, at random. What it may cost more is three memory accesses that depend on each other,
 * in as many bytes as the large arena's bookkeeping has.
 *
 * An arena is laid out in cells of 32 pages, each with a run of 1 to 31 pages at its start that is taken. A
 * pair puts the run of a cell far from the last one, and takes one of another length; after a round all is as
 * it was.
 */
#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "daemon/core/buddy.h"
#include "tests/bench/bench.h"

#define SMALL_PAGES (UINT64_C(1) << 18)
#define LARGE_PAGES (UINT64_C(1) << 28)
#define SHORT_PAGES (UINT64_C(1) << 22)
#define CELL_PAGES  32
#define N_ROUNDS    11
#define N_PAIRS     4096 /* a round: half of the small arena's cells */
#define N_CHASES    1000000
#define N_ACCESSES  3
#define GOAL_BYTES  0.5 /* a page */
#define LINE_BYTES  64

struct layout {
	struct buddy *buddy;
	size_t bytes;
	uint64_t n_cells, next_cell;
	uint64_t firsts[N_PAIRS], cells[N_PAIRS];
	uint32_t lengths[N_PAIRS]; /* of what is taken */
};

/* Random, and the same every time. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 33) * UINT64_C(0xff51afd7ed558ccd);
	x = (x ^ x >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
	return x ^ x >> 33;
}

static uint32_t length_of(uint64_t cell)
{
	return 1 + (uint32_t)(mix(cell) % (CELL_PAGES - 1));
}

static void *map_zeroed(size_t bytes)
{
	void *memory =
		mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	assert_true(memory != MAP_FAILED);
	return memory;
}

static void layout_init(struct layout *layout, uint64_t n_pages)
{
	layout->bytes = buddy_bytes(n_pages);
	layout->buddy = buddy_init(map_zeroed(layout->bytes), n_pages);
	layout->n_cells = n_pages / CELL_PAGES;
	layout->next_cell = 0;
	for (uint64_t cell = 0; cell < layout->n_cells; cell++) {
		uint32_t length = length_of(cell);

		buddy_put(layout->buddy, cell * CELL_PAGES + length, CELL_PAGES - length);
	}
}

static void layout_fini(struct layout *layout)
{
	munmap(layout->buddy, layout->bytes);
}

/* ns a pair. */
static double run_pairs(struct layout *layout)
{
	uint64_t start_ns, end_ns;

	/* An odd step walks through all cells before it comes to one again. */
	for (unsigned i = 0; i < N_PAIRS; i++) {
		layout->next_cell = (layout->next_cell + UINT64_C(0x9e3779b97f4a7c15)) % layout->n_cells;
		layout->cells[i] = layout->next_cell;
		layout->lengths[i] = length_of(~layout->next_cell);
	}
	start_ns = bench_cpu_ns();
	for (unsigned i = 0; i < N_PAIRS; i++) {
		buddy_put(layout->buddy, layout->cells[i] * CELL_PAGES, length_of(layout->cells[i]));
		if (buddy_take(layout->buddy, layout->lengths[i], 1, &layout->firsts[i]) != 0)
			fail_msg("no run of %" PRIu32 " pages", layout->lengths[i]);
	}
	end_ns = bench_cpu_ns();
	for (unsigned i = 0; i < N_PAIRS; i++)
		buddy_put(layout->buddy, layout->firsts[i], layout->lengths[i]);
	for (unsigned i = 0; i < N_PAIRS; i++)
		assert_int_equal(buddy_take_at(layout->buddy, layout->cells[i] * CELL_PAGES,
					       length_of(layout->cells[i])),
				 0);
	return (double)(end_ns - start_ns) / N_PAIRS;
}

/* ---- memory ---- */

struct chase {
	void **lines;
	size_t bytes;
};

/* A circle through all lines, in random order. */
static void chase_init(struct chase *chase, size_t bytes)
{
	const size_t step = LINE_BYTES / sizeof(void *), n = bytes / LINE_BYTES;
	uint32_t *order = calloc(n, sizeof(*order));

	assert_non_null(order);
	chase->bytes = bytes;
	chase->lines = map_zeroed(bytes);
	for (size_t i = 0; i < n; i++)
		order[i] = (uint32_t)i;
	for (size_t i = n - 1; i > 0; i--) {
		size_t other = mix(i) % (i + 1);
		uint32_t swapped = order[i];

		order[i] = order[other];
		order[other] = swapped;
	}
	for (size_t i = 0; i < n; i++)
		chase->lines[order[i] * step] = &chase->lines[order[(i + 1) % n] * step];
	free(order);
}

static double run_chase(const struct chase *chase)
{
	unsigned n = bench_n(N_CHASES, 1000);
	void **line = chase->lines;
	uint64_t start_ns = bench_cpu_ns();

	for (unsigned i = 0; i < n; i++)
		line = *line;
	bench_keep(line);
	return (double)(bench_cpu_ns() - start_ns) / n;
}

/* ---- the contest ---- */

struct contestants {
	struct layout small, large;
	struct chase chase;
};

static void run_large(void *arg, double *ret)
{
	struct contestants *contestants = arg;

	ret[0] = run_pairs(&contestants->large);
}

static void run_small(void *arg, double *ret)
{
	struct contestants *contestants = arg;
	double pair_ns = run_pairs(&contestants->small), access_ns = run_chase(&contestants->chase);

	ret[0] = pair_ns + N_ACCESSES * access_ns;
}

static void tell_bytes(const struct layout *layout, uint64_t n_pages)
{
	static const struct bench_figure figure = {
		.name = "scale-arena-bytes", .unit = "B/page", .goal = BENCH_AT_MOST, .times = 1};

	bench_tell(&figure, (double)layout->bytes / (double)n_pages, GOAL_BYTES, "the goal");
}

void bench_scale_arena(void)
{
	static const struct bench_figure figure = {
		.name = "scale-arena", .unit = "ns", .goal = BENCH_AT_MOST, .times = 1};
	static const struct bench_contest contest = {.peer_name = "2^18 pages + 3 accesses",
						     .figures = &figure,
						     .n_figures = 1,
						     .n_rounds = N_ROUNDS,
						     .ours = run_large,
						     .peer = run_small};
	static struct contestants contestants;
	uint64_t n_pages = bench_is_short() ? SHORT_PAGES : LARGE_PAGES;

	layout_init(&contestants.small, SMALL_PAGES);
	layout_init(&contestants.large, n_pages);
	chase_init(&contestants.chase, contestants.large.bytes);
	bench_run_contest(&contest, &contestants);
	bench_note("2^18 pages: %.0f ns a pair; an access: %.0f ns", run_pairs(&contestants.small),
		   run_chase(&contestants.chase));
	tell_bytes(&contestants.large, n_pages);
	layout_fini(&contestants.small);
	layout_fini(&contestants.large);
	munmap(contestants.chase.lines, contestants.chase.bytes);
}

/* bench_ready.c - how long it takes until a program has zeroed hugepages to write to: from us, where they are
 * ready, and from the kernel. A round of ours that leases a gigabyte is a new client, so that mapping it is
 * part of the time. What it gets is looked at, byte by byte, in every round, outside of the time.
 */
#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "tests/bench/bench.h"
#include "tests/bench/bench_house.h"

#define GIB_ROUNDS  21
#define PAGE_ROUNDS 11
#define N_ROTATING  64
#define N_LAPS      16
#define N_SAMPLES   (N_ROTATING * N_LAPS)

static double in_us(uint64_t ns)
{
	return (double)ns / 1000;
}

/* ---- a gigabyte ---- */

static void lease_gib(void *arg, double *ret)
{
	struct house *house = arg;
	hp_client *client;
	hp_lease *lease;
	uint64_t start_ns;
	int r;

	house_wait_ready(house, BENCH_GIB_PAGES);
	assert_int_equal(hp_open(house->dut.socket, &client), 0);
	start_ns = bench_now_ns();
	r = hp_alloc(client, BENCH_GIB, NULL, &lease);
	if (r < 0)
		fail_msg("alloc: %d: %s", r, hp_error());
	bench_touch(hp_lease_data(lease), BENCH_GIB);
	ret[0] = in_us(bench_now_ns() - start_ns);

	for (uint64_t at = 0; at < BENCH_GIB; at += BENCH_PAGE_BYTES)
		*((char *)hp_lease_data(lease) + at) = 0;
	bench_expect_zeroed(hp_lease_data(lease), BENCH_GIB);
	memset(hp_lease_data(lease), 0xa5, BENCH_GIB);
	hp_close(client);
}

static void map_gib(void *arg, double *ret)
{
	uint64_t start_ns = bench_now_ns();
	void *memory = peer_map(BENCH_GIB);

	bench_touch(memory, BENCH_GIB);
	ret[0] = in_us(bench_now_ns() - start_ns);
	peer_unmap(memory, BENCH_GIB);
}

static void run_gib(const char *name, double times, const char *pool)
{
	const struct bench_figure figure = {
		.name = name, .unit = "us", .goal = BENCH_AT_LEAST, .times = times};
	const struct bench_contest contest = {.peer_name = "memfd + MAP_POPULATE",
					      .figures = &figure,
					      .n_figures = 1,
					      .n_rounds = GIB_ROUNDS,
					      .ours = lease_gib,
					      .peer = map_gib};
	struct house house;

	if (!bench_has_hugepages(name, 2 * BENCH_GIB_PAGES))
		return;
	house_open(&house, DUT_WORDS("--workers", "1", "--pool", pool));
	bench_run_contest(&contest, &house);
	house_close(&house);
}

void bench_ready_1g(void)
{
	run_gib("ready-1g", 400, "p=2M:1G,arena=1G,reserve=1G");
}

void bench_ready_lease(void)
{
	run_gib("ready-lease", 200, "p=2M:1G,arena=1G,reserve=1G,isolation=lease");
}

/* ---- one page ---- */

struct page_arena {
	struct house house;
	hp_client *client;
	hp_lease *leases[N_ROTATING];
	void *pages[N_ROTATING];
	uint64_t times_ns[N_SAMPLES];
};

/* How a side gives a slot's page back, if it has one, and takes another. */
struct page_side {
	void (*give)(struct page_arena *arena, unsigned slot);
	void *(*take)(struct page_arena *arena, unsigned slot);
};

/* The page that was taken the longest ago makes room for the next; each is written to all over, so that none
 * is in a cache. Returns the median, in us. */
static double time_pages(struct page_arena *arena, const struct page_side *side)
{
	unsigned n = bench_n(N_SAMPLES, N_ROTATING);

	for (unsigned i = 0; i < n; i++) {
		uint64_t start_ns;
		char *page;

		side->give(arena, i % N_ROTATING);
		start_ns = bench_now_ns();
		page = side->take(arena, i % N_ROTATING);
		bench_touch(page, BENCH_PAGE_BYTES);
		arena->times_ns[i] = bench_now_ns() - start_ns;
		*page = 0;
		bench_expect_zeroed(page, BENCH_PAGE_BYTES);
		memset(page, 0xa5, BENCH_PAGE_BYTES);
	}
	return bench_percentile_us(arena->times_ns, n, 50);
}

static void free_page(struct page_arena *arena, unsigned slot)
{
	hp_free(arena->leases[slot]);
}

static void *lease_page(struct page_arena *arena, unsigned slot)
{
	if (hp_alloc(arena->client, BENCH_PAGE_BYTES, NULL, &arena->leases[slot]) < 0)
		fail_msg("alloc: %s", hp_error());
	return hp_lease_data(arena->leases[slot]);
}

static void lease_pages(void *arg, double *ret)
{
	static const struct page_side ours = {.give = free_page, .take = lease_page};
	struct page_arena *arena = arg;

	assert_int_equal(hp_set_spin(arena->client, 0), 0);
	ret[0] = time_pages(arena, &ours);
	assert_int_equal(hp_set_spin(arena->client, BENCH_SPIN_US), 0);
	ret[1] = time_pages(arena, &ours);
}

static void unmap_page(struct page_arena *arena, unsigned slot)
{
	if (arena->pages[slot])
		peer_unmap(arena->pages[slot], BENCH_PAGE_BYTES);
}

static void *map_page(struct page_arena *arena, unsigned slot)
{
	arena->pages[slot] = peer_map(BENCH_PAGE_BYTES);
	return arena->pages[slot];
}

static void map_pages(void *arg, double *ret)
{
	ret[0] = ret[1] = time_pages(arg, &(struct page_side){.give = unmap_page, .take = map_page});
}

void bench_ready_2m(void)
{
	static const struct bench_figure figures[] = {
		{.name = "ready-2m", .unit = "us", .goal = BENCH_AT_LEAST, .times = 6},
		{.name = "ready-2m-spin", .unit = "us", .goal = BENCH_AT_LEAST, .times = 6},
	};
	static const struct bench_contest contest = {.peer_name = "memfd + MAP_POPULATE",
						     .figures = figures,
						     .n_figures = 2,
						     .n_rounds = PAGE_ROUNDS,
						     .ours = lease_pages,
						     .peer = map_pages};
	static struct page_arena arena;

	if (!bench_has_hugepages("ready-2m", 4 * N_ROTATING))
		return;
	house_open(&arena.house, DUT_WORDS("--workers", "1", "--pool", "p=2M:256M,arena=256M,reserve=256M"));
	assert_int_equal(hp_open(arena.house.dut.socket, &arena.client), 0);
	bench_run_contest(&contest, &arena);
	hp_close(arena.client);
	house_close(&arena.house);
}

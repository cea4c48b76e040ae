/* bench_scrub.c - the scrubber, from the Free of a dirty gigabyte until all of it is clean, against the
 * kernel that zeroes as many pages in a memfd. The waking up, the bookkeeping and our looking are part of the
 * time.
 */
#include <config.h>

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/bench.h"
#include "tests/bench/bench_house.h"

#define N_ROUNDS      21
#define LOOK_EVERY_US 100 /* so that it is not we who are measured */

struct arena {
	struct house house;
	hp_client *client;
};

static double gb_a_second(uint64_t ns)
{
	return (double)BENCH_GIB / (double)ns;
}

static void scrub_gib(void *arg, double *ret)
{
	struct arena *arena = arg;
	hp_lease *lease;
	uint64_t start_ns;

	house_wait_ready(&arena->house, BENCH_GIB_PAGES);
	if (hp_alloc(arena->client, BENCH_GIB, NULL, &lease) < 0)
		fail_msg("alloc: %s", hp_error());
	memset(hp_lease_data(lease), 0xa5, BENCH_GIB);
	start_ns = bench_now_ns();
	assert_int_equal(hp_free(lease), 0);
	while (house_pages(&arena->house).clean < BENCH_GIB_PAGES)
		usleep(LOOK_EVERY_US);
	ret[0] = gb_a_second(bench_now_ns() - start_ns);
}

static void allocate_gib(void *arg, double *ret)
{
	int fd = peer_memfd();
	uint64_t start_ns = bench_now_ns();

	assert_int_equal(fallocate(fd, 0, 0, (off_t)BENCH_GIB), 0);
	ret[0] = gb_a_second(bench_now_ns() - start_ns);
	close(fd);
}

void bench_scrub(void)
{
	static const struct bench_figure figure = {
		.name = "scrub", .unit = "GB/s", .is_rate = true, .goal = BENCH_AT_LEAST, .times = 3};
	static const struct bench_contest contest = {.peer_name = "fallocate",
						     .figures = &figure,
						     .n_figures = 1,
						     .n_rounds = N_ROUNDS,
						     .ours = scrub_gib,
						     .peer = allocate_gib};
	static struct arena arena;

	if (!bench_has_hugepages("scrub", 2 * BENCH_GIB_PAGES))
		return;
	house_open(&arena.house, DUT_WORDS("--workers", "1", "--pool", "p=2M:1G,arena=1G,reserve=1G"));
	assert_int_equal(hp_open(arena.house.dut.socket, &arena.client), 0);
	bench_run_contest(&contest, &arena);
	hp_close(arena.client);
	house_close(&arena.house);
}

/* bench_cache.c - a buffer taken from the client library's cache and put back, warm, against a malloc that
 * allocates and frees as much. Both touch what they got: a byte of every page that it is made of, which is
 * one for us, be the page 4 KiB or 2 MiB, and one of every 4 KiB for a malloc.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_house.h"
#include "tests/bench/bench_malloc.h"

#define N_ROUNDS      11
#define N_PAIRS       2000000
#define N_PAIRS_LARGE 20000 /* of the mallocs */
#define N_PAIRS_SHORT 2000
#define PAGE_BYTES    4096
#define HUGE_BYTES    (2u << 20)
#define POOL_BYTES    (64u << 20)

struct arena {
	hp_cache *cache;
	uint64_t buffer_bytes, step_bytes; /* a byte is written every so many */
	const char *words[5];              /* for bench-malloc */
};

static double pairs_ns(const struct arena *arena, unsigned n_pairs)
{
	uint64_t start_ns = bench_cpu_ns();

	for (unsigned i = 0; i < n_pairs; i++) {
		volatile char *memory;
		hp_lease *lease;

		if (hp_cache_take(arena->cache, &lease) < 0)
			fail_msg("take: %s", hp_error());
		memory = hp_lease_data(lease);
		for (uint64_t at = 0; at < arena->buffer_bytes; at += arena->step_bytes)
			memory[at] = 1;
		hp_cache_put(arena->cache, lease);
	}
	return (double)(bench_cpu_ns() - start_ns) / n_pairs;
}

static double run_ours(void *arg)
{
	return pairs_ns(arg, bench_n(N_PAIRS, N_PAIRS_SHORT));
}

static double run_peer(void *arg, enum malloc_peer peer)
{
	const struct arena *arena = arg;

	return malloc_peer_run(peer, arena->words, -1);
}

/* What of the time is touching. */
static void note_touching(struct arena *arena, const bool *there)
{
	arena->step_bytes = PAGE_BYTES;
	bench_note("ours with a byte of every 4 KiB written: %.1f ns",
		   pairs_ns(arena, bench_n(N_PAIRS_LARGE, N_PAIRS_SHORT)));
	arena->words[3] = "0";
	for (enum malloc_peer peer = 0; peer < N_MALLOCS; peer++)
		if (there[peer])
			bench_note("%s without touching: %.1f ns", malloc_peer_name(peer),
				   malloc_peer_run(peer, arena->words, -1));
}

static void run_contest(struct arena *arena, const bool *there, struct malloc_medians *ret)
{
	static char bytes[32], count[32];
	const struct malloc_contest contest = {
		.there = there, .n_rounds = N_ROUNDS, .ours = run_ours, .peer = run_peer};
	unsigned n = arena->buffer_bytes > PAGE_BYTES ? N_PAIRS_LARGE : N_PAIRS;

	snprintf(bytes, sizeof(bytes), "%llu", (unsigned long long)arena->buffer_bytes);
	snprintf(count, sizeof(count), "%u", bench_n(n, N_PAIRS_SHORT));
	arena->words[0] = "pair";
	arena->words[1] = bytes;
	arena->words[2] = count;
	arena->words[3] = "1";
	malloc_contest_run(&contest, arena, ret);
	for (enum malloc_peer peer = 0; peer < N_MALLOCS; peer++)
		if (there[peer])
			bench_note("%s: %.1f ns", malloc_peer_name(peer), ret->peers[peer]);
}

static void run_4k(hp_client *client, const bool *there)
{
	static const struct bench_figure figure = {
		.name = "cache-4k", .unit = "ns", .goal = BENCH_AT_MOST, .times = 1};
	struct arena arena = {.buffer_bytes = PAGE_BYTES, .step_bytes = PAGE_BYTES};
	struct malloc_medians medians;

	assert_int_equal(hp_cache_new(client, &(struct hp_cache_options){.pool = "s"}, &arena.cache), 0);
	run_contest(&arena, there, &medians);
	if (there[MALLOC_JEMALLOC])
		bench_tell(&figure, medians.ours, medians.peers[MALLOC_JEMALLOC], "jemalloc");
	hp_cache_free(arena.cache);
}

static void run_2m(hp_client *client, const bool *there)
{
	static const struct bench_figure figure = {
		.name = "cache-2m", .unit = "ns", .goal = BENCH_AT_LEAST, .times = 100};
	struct arena arena = {.buffer_bytes = HUGE_BYTES, .step_bytes = HUGE_BYTES};
	struct malloc_medians medians;
	enum malloc_peer best;

	assert_int_equal(hp_cache_new(client, &(struct hp_cache_options){.pool = "p"}, &arena.cache), 0);
	run_contest(&arena, there, &medians);
	best = malloc_best(medians.peers);
	if (best < N_MALLOCS)
		bench_tell(&figure, medians.ours, medians.peers[best], malloc_peer_name(best));
	note_touching(&arena, there);
	hp_cache_free(arena.cache);
}

void bench_cache(void)
{
	bool has_huge = bench_has_hugepages("cache-2m", POOL_BYTES / HUGE_BYTES);
	const char *const huge = has_huge ? "p=2M:64M,arena=64M" : NULL;
	bool there[N_MALLOCS];
	struct house house;

	malloc_peers_find("cache", there);
	house_open(&house,
		   DUT_WORDS("--workers", "1", "--pool", "s=4K:64M,arena=64M", huge ? "--pool" : NULL, huge));
	run_4k(house.watcher, there);
	if (has_huge)
		run_2m(house.watcher, there);
	house_close(&house);
}

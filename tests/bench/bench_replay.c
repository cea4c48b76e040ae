/* bench_replay.c - the page requests of real programs through a zone and its worker's caches, in this
 * process, against mallocs that get the same requests.
 *
 * For the time nobody touches the pages, so they come back to the zone as they went, clean; what it costs to
 * clean them is another benchmark's (scrub). A lap before those that are measured warms everything up, on
 * both sides. The footprint is what a lap from an empty zone, or in a new process, needs at its peak over
 * what the program had live at its own: for us the distinct pages that were ever handed out, for a malloc its
 * resident set with every page touched, less what was resident before.
 */
#include <config.h>

#include <glob.h>
#include <inttypes.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/pool/pool.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_malloc.h"
#include "tests/bench/bench_options.h"
#include "tests/bench/bench_trace.h"
#include "tests/support/dut.h"

#define N_ROUNDS    11
#define MIN_OPS     2000000 /* of all laps that are measured together */
#define GOAL_MEAN   1.05
#define ARENA_EXTRA 4096

/* ---- our side: a pool with one zone and one worker ---- */

struct ours {
	struct pool_config config;
	struct pool_threads threads;
	struct mailbox stocker, scrubber, janitor, worker, *worker_ptr;
	struct pool *pool;
	struct zone *zone;
};

/* All that it may need is there from the start, as in a daemon with a reserve. */
static void ours_init(struct ours *ours, uint64_t n_pages)
{
	const struct peer peer = {.pid = getpid(), .uid = geteuid(), .gid = getegid()};
	const struct want want = {.n_pages = n_pages, .align_pages = 1, .max_runs = 1, .node = -1};
	char *error;

	memset(ours, 0, sizeof(*ours));
	ours->config = (struct pool_config){.name = "bench",
					    .page_bytes = TRACE_PAGE_BYTES,
					    .max_pages = n_pages,
					    .arena_pages = n_pages,
					    .quota_pages = n_pages,
					    .node = -1};
	assert_int_equal(mailbox_init(&ours->stocker), 0);
	assert_int_equal(mailbox_init(&ours->scrubber), 0);
	assert_int_equal(mailbox_init(&ours->janitor), 0);
	assert_int_equal(mailbox_init(&ours->worker), 0);
	ours->worker_ptr = &ours->worker;
	ours->threads = (struct pool_threads){.stocker = &ours->stocker,
					      .scrubber = &ours->scrubber,
					      .janitor = &ours->janitor,
					      .workers = &ours->worker_ptr,
					      .n_workers = 1};
	assert_int_equal(pool_new(&ours->config, 0, &ours->threads, NULL, &ours->pool, &error), 0);
	ours->zone = pool_zone_get(ours->pool, &peer);
	assert_non_null(ours->zone);
	if (pool_make_arena(ours->pool, &want) == POOL_MAKING)
		while (construction_step(ours->pool))
			;
	assert_int_equal(pool_move_stock(ours->zone, &want), 0);
}

static void ours_fini(struct ours *ours)
{
	lock_take(&ours->zone->lock);
	zone_drain_locked(ours->zone, 0);
	lock_drop(&ours->zone->lock);
	pool_free(ours->pool);
	mailbox_fini(&ours->worker);
	mailbox_fini(&ours->janitor);
	mailbox_fini(&ours->scrubber);
	mailbox_fini(&ours->stocker);
}

#define NOT_LIVE UINT64_MAX
#define OF_RUNS  (UINT64_C(1) << 63) /* the rest is the address of a struct run_list */

struct arena_state {
	const struct trace *trace;
	struct ours ours;
	uint64_t *blocks; /* by number: the address of its run, or OF_RUNS */
	char laps[16];
	unsigned n_laps;
};

static uint64_t keep_runs(const struct run_list *runs)
{
	struct run_list *kept = malloc(sizeof(*kept));

	assert_non_null(kept);
	*kept = *runs;
	return (uintptr_t)kept | OF_RUNS;
}

static struct run_list *kept_runs(uint64_t block)
{
	return (struct run_list *)(uintptr_t)(block & ~OF_RUNS);
}

static inline void take(struct arena_state *state, const struct trace_op *op)
{
	struct want want = {.n_pages = op->pages, .align_pages = 1, .max_runs = RUN_LIST_MAX, .node = -1};
	struct run_list runs;

	if (zone_take(state->ours.zone, 0, &want, &runs) != 0)
		fail_msg("%s: no run of %" PRIu32 " pages", state->trace->name, op->pages);
	state->blocks[op->block] = runs.n == 1 ? runs.runs[0].address : keep_runs(&runs);
}

static void put_runs(struct zone *zone, struct run_list *runs)
{
	for (unsigned i = 0; i < runs->n; i++)
		zone_put_clean(zone, 0, runs->runs[i]);
	free(runs);
}

static inline void put(struct arena_state *state, const struct trace_op *op)
{
	uint64_t block = state->blocks[op->block];

	if (block & OF_RUNS)
		put_runs(state->ours.zone, kept_runs(block));
	else
		zone_put_clean(state->ours.zone, 0,
			       (struct run){.address = block, .n_pages = op->pages & ~TRACE_FREES});
	state->blocks[op->block] = NOT_LIVE;
}

static void play(struct arena_state *state)
{
	const struct trace_ops *ops = state->trace->ops;

	for (uint64_t i = 0; i < ops->n_ops; i++)
		if (ops->ops[i].pages & TRACE_FREES)
			put(state, &ops->ops[i]);
		else
			take(state, &ops->ops[i]);
}

static void put_rest(struct arena_state *state)
{
	const struct trace_ops *ops = state->trace->ops;

	for (uint64_t i = 0; i < ops->n_ops; i++)
		if (state->blocks[ops->ops[i].block] != NOT_LIVE)
			put(state, &ops->ops[i]);
}

/* Valid until the next. */
static const char *figure_name(const struct arena_state *state, const char *what)
{
	static char name[128];

	snprintf(name, sizeof(name), "replay-%s-%s", what, state->trace->name);
	return name;
}

/* ---- time ---- */

static double our_time(void *arg)
{
	struct arena_state *state = arg;
	uint64_t spent_ns = 0;

	for (unsigned i = 0; i <= state->n_laps; i++) {
		uint64_t start_ns = bench_cpu_ns();

		play(state);
		if (i > 0)
			spent_ns += bench_cpu_ns() - start_ns;
		put_rest(state);
	}
	return (double)spent_ns / state->n_laps / (double)state->trace->ops->n_ops;
}

static double peer_time(void *arg, enum malloc_peer peer)
{
	const struct arena_state *state = arg;

	return malloc_peer_run(peer, DUT_WORDS("replay", state->laps), state->trace->fd);
}

/* ---- footprint ---- */

/* How many of them were not seen before. */
static uint64_t see(bool *seen, struct run run)
{
	uint64_t n_new = 0;

	for (uint64_t page = run_first(run); page < run_first(run) + run.n_pages; page++) {
		n_new += !seen[page];
		seen[page] = true;
	}
	return n_new;
}

/* Distinct pages that one lap hands out. */
static uint64_t pages_handed_out(struct arena_state *state, uint64_t n_pages)
{
	const struct trace_ops *ops = state->trace->ops;
	bool *seen = calloc(n_pages, sizeof(*seen));
	uint64_t n_seen = 0;

	assert_non_null(seen);
	for (uint64_t i = 0; i < ops->n_ops; i++) {
		const struct trace_op *op = &ops->ops[i];
		uint64_t block;

		if (op->pages & TRACE_FREES) {
			put(state, op);
			continue;
		}
		take(state, op);
		block = state->blocks[op->block];
		if (block & OF_RUNS)
			for (unsigned k = 0; k < kept_runs(block)->n; k++)
				n_seen += see(seen, kept_runs(block)->runs[k]);
		else
			n_seen += see(seen, (struct run){.address = block, .n_pages = op->pages});
	}
	put_rest(state);
	free(seen);
	return n_seen;
}

static double over_peak(const struct arena_state *state, double bytes)
{
	return bytes / TRACE_PAGE_BYTES / (double)state->trace->ops->peak_pages;
}

/* Each allocates the same way every time: one round. */
static double compare_footprints(struct arena_state *state, const bool *there, double ours)
{
	const struct bench_figure figure = {
		.name = figure_name(state, "span"), .unit = "peak", .goal = BENCH_AT_MOST, .times = 1};
	double peers[N_MALLOCS] = {0};
	enum malloc_peer best;

	for (enum malloc_peer peer = 0; peer < N_MALLOCS; peer++)
		if (there[peer])
			peers[peer] = over_peak(
				state, malloc_peer_run(peer, DUT_WORDS("footprint"), state->trace->fd));
	best = malloc_best(peers);
	if (best < N_MALLOCS)
		bench_tell(&figure, ours, peers[best], malloc_peer_name(best));
	return ours;
}

static void compare_times(struct arena_state *state, const bool *there)
{
	const struct bench_figure figure = {
		.name = figure_name(state, "ns"), .unit = "ns", .goal = BENCH_AT_MOST, .times = 1};
	const struct malloc_contest contest = {
		.there = there, .n_rounds = N_ROUNDS, .ours = our_time, .peer = peer_time};
	struct malloc_medians medians;
	enum malloc_peer best;

	malloc_contest_run(&contest, state, &medians);
	best = malloc_best(medians.peers);
	if (best < N_MALLOCS)
		bench_tell(&figure, medians.ours, medians.peers[best], malloc_peer_name(best));
}

/* Returns our footprint. */
static double run_trace(const char *path, const bool *there)
{
	struct arena_state state = {0};
	struct trace trace = {0};
	uint64_t n_pages;
	double span;

	trace_load(&trace, path);
	n_pages = trace.ops->peak_pages + trace.ops->peak_pages / 2 + ARENA_EXTRA;
	state.trace = &trace;
	state.n_laps = bench_n((unsigned)(MIN_OPS / trace.ops->n_ops), 1);
	snprintf(state.laps, sizeof(state.laps), "%u", state.n_laps);
	state.blocks = malloc(trace.ops->n_blocks * sizeof(state.blocks[0]));
	assert_non_null(state.blocks);
	memset(state.blocks, 0xff, trace.ops->n_blocks * sizeof(state.blocks[0]));
	ours_init(&state.ours, n_pages);
	bench_note("%s: %" PRIu64 " operations, at most %" PRIu64 " pages live", trace.name, trace.ops->n_ops,
		   trace.ops->peak_pages);
	span = over_peak(&state, (double)pages_handed_out(&state, n_pages) * TRACE_PAGE_BYTES);
	compare_footprints(&state, there, span);
	compare_times(&state, there);
	ours_fini(&state.ours);
	free(state.blocks);
	trace_unload(&trace);
	return span;
}

/* ---- which traces ---- */

struct mean {
	double log_sum;
	unsigned n;
};

static void run_one(struct mean *mean, const char *path, const bool *there)
{
	mean->log_sum += log(run_trace(path, there));
	mean->n++;
}

static void run_directory(struct mean *mean, const char *directory, const bool *there)
{
	static const char *const endings[] = {"trace", "trace.gz"};

	for (unsigned i = 0; i < 2; i++) {
		char pattern[4096];
		glob_t found;

		snprintf(pattern, sizeof(pattern), "%s/*.%s", directory, endings[i]);
		if (glob(pattern, 0, NULL, &found) == 0) {
			for (size_t k = 0; k < found.gl_pathc; k++)
				run_one(mean, found.gl_pathv[k], there);
			globfree(&found);
		}
	}
}

void bench_replay(void)
{
	static const struct bench_figure figure = {
		.name = "replay-span-mean", .unit = "peak", .goal = BENCH_AT_MOST, .times = GOAL_MEAN};
	const char *traces = getenv("HP_TRACES"), *source = getenv("HP_SOURCE");
	bool there[N_MALLOCS];
	struct mean mean = {0};
	char own[4096];

	malloc_peers_find("replay", there);
	snprintf(own, sizeof(own), "%s/tests/traces", source ? source : ".");
	for (const char *const *file = bench_options.files; *file; file++)
		run_one(&mean, *file, there);
	if (!bench_options.files[0])
		run_directory(&mean, own, there);
	if (!bench_options.files[0] && traces)
		run_directory(&mean, traces, there);
	if (mean.n == 0)
		fail_msg("there is no trace in %s", own);
	bench_tell(&figure, exp(mean.log_sum / mean.n), 1, "perfect");
}

/* replay-trace.c - replay what a real program allocated as leases, and verify every byte.
 *
 *   replay-trace [--socket PATH] [--pool NAME] [TRACE]       (without TRACE: from standard input)
 *
 * A trace is lines `a ID PAGES` and `f ID`, pages of 4096 bytes (tests/traces/README.md). Fresh memory must
 * be zero; then it is filled with words that no other block has, and those must be there when the block is
 * freed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <hugepool.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRACE_PAGE_BYTES 4096
#define MAX_BLOCKS       (1u << 24)

struct replay {
	hp_client *client;
	struct hp_alloc_options options;
	hp_lease **leases; /* by the trace's id; NULL: not live */
	size_t n_leases;
	uint64_t n_operations, live_bytes, peak_bytes, verified_bytes;
};

/* Block `id` of this process is filled with this, this + 1, ...: blocks that overlap cannot both be right. */
static uint64_t first_word_of(uint64_t id)
{
	return ((uint64_t)getpid() << 40 ^ id) * 0x9e3779b97f4a7c15u;
}

static bool is_zero(const uint64_t *words, uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		if (words[i] != 0)
			return false;
	}
	return true;
}

static void fill(uint64_t *words, uint64_t n, uint64_t first)
{
	for (uint64_t i = 0; i < n; i++)
		words[i] = first + i;
}

static bool is_filled(const uint64_t *words, uint64_t n, uint64_t first)
{
	for (uint64_t i = 0; i < n; i++) {
		if (words[i] != first + i)
			return false;
	}
	return true;
}

/* Make room for block `id`. Negative errno. */
static int grow(struct replay *replay, uint64_t id)
{
	size_t n = replay->n_leases ? replay->n_leases : 1024;
	hp_lease **leases;

	if (id >= MAX_BLOCKS)
		return -E2BIG;
	while (n <= id)
		n *= 2;
	leases = reallocarray(replay->leases, n, sizeof(hp_lease *));
	if (!leases)
		return -ENOMEM;
	memset(leases + replay->n_leases, 0, (n - replay->n_leases) * sizeof(hp_lease *));
	replay->leases = leases;
	replay->n_leases = n;
	return 0;
}

static int alloc_block(struct replay *replay, uint64_t id, uint64_t n_pages)
{
	hp_lease *lease;
	uint64_t n;
	int r;

	r = id < replay->n_leases ? 0 : grow(replay, id);
	if (r == 0 && replay->leases[id])
		r = -EEXIST;
	if (r < 0) {
		fprintf(stderr, "replay-trace: block %" PRIu64 ": %s\n", id, strerror(-r));
		return r;
	}
	r = hp_alloc(replay->client, n_pages * TRACE_PAGE_BYTES, &replay->options, &lease);
	if (r < 0) {
		fprintf(stderr, "replay-trace: block %" PRIu64 ", %" PRIu64 " pages: %s\n", id, n_pages,
			hp_error());
		return r;
	}
	replay->leases[id] = lease;
	replay->live_bytes += hp_lease_bytes(lease);
	if (replay->live_bytes > replay->peak_bytes)
		replay->peak_bytes = replay->live_bytes;
	n = hp_lease_bytes(lease) / sizeof(uint64_t);
	if (!is_zero(hp_lease_data(lease), n)) {
		fprintf(stderr, "replay-trace: block %" PRIu64 ": fresh memory is not zero\n", id);
		return -EIO;
	}
	fill(hp_lease_data(lease), n, first_word_of(id));
	return 0;
}

static int free_block(struct replay *replay, uint64_t id)
{
	hp_lease *lease = id < replay->n_leases ? replay->leases[id] : NULL;
	uint64_t bytes;
	int r;

	if (!lease) {
		fprintf(stderr, "replay-trace: block %" PRIu64 " is freed but not live\n", id);
		return -EINVAL;
	}
	bytes = hp_lease_bytes(lease);
	if (!is_filled(hp_lease_data(lease), bytes / sizeof(uint64_t), first_word_of(id))) {
		fprintf(stderr, "replay-trace: block %" PRIu64 ": somebody wrote into it\n", id);
		return -EIO;
	}
	replay->leases[id] = NULL;
	replay->live_bytes -= bytes;
	replay->verified_bytes += bytes;
	r = hp_free(lease);
	if (r < 0)
		fprintf(stderr, "replay-trace: block %" PRIu64 ": %s\n", id, hp_error());
	return r;
}

static int replay_all(struct replay *replay, FILE *trace)
{
	uint64_t id, n_pages;
	char line[128];
	int r = 0;

	while (r == 0 && fgets(line, sizeof(line), trace)) {
		replay->n_operations++;
		if (sscanf(line, "a %" SCNu64 " %" SCNu64, &id, &n_pages) == 2) {
			r = alloc_block(replay, id, n_pages);
		} else if (sscanf(line, "f %" SCNu64, &id) == 1) {
			r = free_block(replay, id);
		} else {
			fprintf(stderr, "replay-trace: line %" PRIu64 " is no operation: %s",
				replay->n_operations, line);
			r = -EINVAL;
		}
	}
	/* What the program never freed. */
	for (size_t i = 0; r == 0 && i < replay->n_leases; i++) {
		if (replay->leases[i])
			r = free_block(replay, i);
	}
	return r;
}

int main(int argc, char **argv)
{
	static const struct option long_options[] = {{"socket", required_argument, NULL, 's'},
						     {"pool", required_argument, NULL, 'p'},
						     {NULL, 0, NULL, 0}};
	struct replay replay = {0};
	const char *socket_path = NULL;
	FILE *trace = stdin;
	int option, r;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		if (option == 's') {
			socket_path = optarg;
		} else if (option == 'p') {
			replay.options.pool = optarg;
		} else {
			fprintf(stderr, "usage: replay-trace [--socket PATH] [--pool NAME] [TRACE]\n");
			return 2;
		}
	}
	if (optind < argc)
		trace = fopen(argv[optind], "re");
	if (!trace) {
		fprintf(stderr, "replay-trace: %s: %s\n", argv[optind], strerror(errno));
		return 1;
	}
	r = hp_open(socket_path, &replay.client);
	if (r < 0)
		fprintf(stderr, "replay-trace: %s\n", hp_error());
	else
		r = replay_all(&replay, trace);
	hp_close(replay.client);
	free(replay.leases);
	fclose(trace);
	if (r == 0)
		printf("replay-trace %d: %" PRIu64
		       " operations, at most %.1f MiB at a time, %.1f MiB filled and verified\n",
		       (int)getpid(), replay.n_operations, (double)replay.peak_bytes / (1 << 20),
		       (double)replay.verified_bytes / (1 << 20));
	return r < 0;
}

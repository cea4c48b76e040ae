/* kinds.c - four tenants lease in every way there is, are killed on the way and replaced, while an operator
 * takes memory back; afterwards everything is as it was before.
 *
 *     kinds [SEED [OPERATIONS]]      or $HP_SEED and $HP_OPS
 *
 * Eight clients, two of each tenant; pools of 4 KiB pages and of 2 MiB hugepages, with an arena for each
 * tenant and with one for each lease, two workers. The clients see that memory is zeroed, or their own, and
 * that it stays what it was (kinds_client.c); this file, that the daemon's sums hold all the time, that at
 * the end nothing is leased, orphaned, in limbo or connected, and that the kernel has its hugepages back.
 */
#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/stress/kinds_client.h"
#include "tests/support/dut.h"
#include "tests/support/hugetlb.h"
#include "tests/support/random.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"

#define N_OPERATIONS  1000000u
#define N_LIVES       4 /* of a seat: all but the last end by SIGKILL */
#define HUGE_BYTES    (UINT64_C(2) << 20)
#define N_HUGE        32 /* as the pool's max below */
#define FIRST_UID     23460
#define LOOK_EVERY_MS 300
#define N_QUIET_LOOKS 50

/* Short decays: arenas come and go. The last pool is for those who have hugepages. */
static const char *const arguments[] = {
	"--workers", "2",
	"--pool",    "small=4K:12M,arena=1M,quota=5M,decay=50ms,users=*",
	"--pool",    "shaken=4K:4M,arena=512K,decay=50ms,users=*",
	"--pool",    "common=4K:3M,arena=1M,isolation=pool,decay=500ms,users=*",
	"--pool",    "sole=4K:1M,isolation=lease,decay=50ms,users=*",
	"--pool",    "huge=2M:64M,arena=8M,decay=50ms,users=*",
	NULL,
};
#define N_ARGUMENTS_WITHOUT_HUGE 10

static const struct kinds_pool pools[KINDS_MAX_POOLS] = {
	{.name = "small", .page_bytes = 4096, .weight = 80, .max_pages = 12, .max_batch = 16},
	{.name = "shaken",
	 .page_bytes = 4096,
	 .weight = 16,
	 .max_pages = 12,
	 .max_batch = 16,
	 .is_evicted = true},
	{.name = "common",
	 .page_bytes = 4096,
	 .weight = 12,
	 .max_pages = 12,
	 .max_batch = 16,
	 .is_common = true},
	{.name = "sole", .page_bytes = 4096, .weight = 2, .max_pages = 5, .max_batch = 3, .is_sole = true},
	{.name = "huge", .page_bytes = HUGE_BYTES, .weight = 2, .max_pages = 3, .max_batch = 3},
};

static const char *const count_names[KINDS_N_COUNTS] = {
	[KINDS_ALLOC] = "allocs",
	[KINDS_BATCH] = "in batches",
	[KINDS_HOT] = "hot",
	[KINDS_OPEN] = "opened",
	[KINDS_RESIZE] = "resized",
	[KINDS_DUP] = "duplicated",
	[KINDS_LOOK] = "looks",
	[KINDS_FREE] = "frees",
	[KINDS_FREE_BATCH] = "in batches",
	[KINDS_FREE_ID] = "by id",
	[KINDS_FREE_NAME] = "by name",
	[KINDS_FREE_OTHERS] = "of others",
	[KINDS_FREE_LEFT] = "detached",
	[KINDS_FORGET] = "forgotten",
	[KINDS_START] = "begun",
	[KINDS_CUT] = "cut",
	[KINDS_DISPATCH] = "dispatches",
	[KINDS_BREAK] = "broken",
	[KINDS_BREAK_LATER] = "broken in a call",
	[KINDS_REOPEN] = "reopened",
	[KINDS_REFUSED] = "refused",
	[KINDS_ENDED] = "found ended",
	[KINDS_TOLD_REVOKED] = "told of that",
	[KINDS_TOLD] = "other events",
	[KINDS_REVOKED] = "revoked",
	[KINDS_EVICTED] = "arenas evicted",
	[KINDS_ISOLATED] = "isolated",
	[KINDS_DRAINED] = "pools drained",
};

static uint64_t seed;
static unsigned n_operations;

/* ---- the clients ---- */

struct seat {
	struct kinds_part part;
	pid_t pid;
	uint64_t kill_at; /* operations of the seat */
};

static struct kinds *share_kinds(const struct dut *dut, bool has_huge)
{
	struct kinds *kinds =
		mmap(NULL, sizeof(*kinds), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(kinds != MAP_FAILED);
	kinds->seed = seed;
	kinds->socket = dut->socket;
	memcpy(kinds->pools, pools, sizeof(pools));
	kinds->n_pools = has_huge ? KINDS_MAX_POOLS : KINDS_MAX_POOLS - 1;
	for (unsigned i = 0; i < KINDS_SEATS; i++)
		kinds->uids[i] = geteuid() == 0 ? FIRST_UID + i % KINDS_TENANTS : getuid();
	return kinds;
}

static uint64_t seat_operations(const struct seat *seat)
{
	return atomic_load(&seat->part.kinds->n_operations[seat->part.seat]);
}

static bool is_last_life(const struct seat *seat)
{
	return seat->part.life + 1 == N_LIVES;
}

static void start_life(struct seat *seat, uint64_t *random)
{
	const uint64_t n = n_operations / KINDS_SEATS + 1, n_a_life = n / N_LIVES;
	const uint64_t lives_on = seat->part.life * n_a_life;

	seat->part.n_until = is_last_life(seat) ? n : UINT64_MAX;
	seat->kill_at = is_last_life(seat) ? UINT64_MAX : lives_on + 1 + random_next(random) % (n_a_life + 1);
	seat->pid = raw_fork(seat->part.kinds->uids[seat->part.seat], kinds_client_run, &seat->part);
}

/* One that ended by itself has found something wrong or has done its part. */
static bool has_ended(const struct seat *seat)
{
	siginfo_t info = {0};

	assert_int_equal(waitid(P_PID, (id_t)seat->pid, &info, WEXITED | WNOHANG | WNOWAIT), 0);
	return info.si_pid == seat->pid;
}

/* Returns whether the seat is still taken. */
static bool tend(const struct dut *dut, struct seat *seat, uint64_t *random)
{
	if (seat->pid == 0)
		return false;
	if (has_ended(seat)) {
		int status = dut_wait_child(seat->pid);

		if (status != 0 || !is_last_life(seat)) {
			dut_show_log(dut);
			fail_msg("client %d ended with wait status %#x", (int)seat->pid, (unsigned)status);
		}
		seat->pid = 0;
		return false;
	}
	if (seat_operations(seat) >= seat->kill_at) {
		raw_kill(seat->pid);
		seat->part.life++;
		start_life(seat, random);
	}
	return true;
}

static uint64_t sum_operations(const struct kinds *kinds)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < KINDS_SEATS; i++)
		sum += atomic_load(&kinds->n_operations[i]);
	return sum;
}

/* Until every seat's last client has done its part. */
static void run_clients(const struct dut *dut, struct kinds *kinds)
{
	uint64_t random = seed, look_at_ms = wait_now_ms(), deadline_ms = look_at_ms + WAIT_MAX_MS,
		 n_last = 0;
	struct seat seats[KINDS_SEATS] = {0};
	unsigned n_taken;

	for (unsigned i = 0; i < KINDS_SEATS; i++) {
		seats[i].part = (struct kinds_part){.kinds = kinds, .seat = i};
		start_life(&seats[i], &random);
	}
	do {
		uint64_t n_now = sum_operations(kinds), now_ms = wait_now_ms();

		n_taken = 0;
		for (unsigned i = 0; i < KINDS_SEATS; i++)
			n_taken += tend(dut, &seats[i], &random);
		if (n_now != n_last)
			deadline_ms = now_ms + WAIT_MAX_MS;
		else if (now_ms > deadline_ms)
			fail_msg("the clients hang after %" PRIu64 " operations", n_now);
		n_last = n_now;
		if (now_ms > look_at_ms) {
			for (unsigned i = 0; i < kinds->n_pools; i++)
				dut_pool(dut, kinds->pools[i].name, "pages_backed");
			look_at_ms = now_ms + LOOK_EVERY_MS;
		}
		wait_pause();
	} while (n_taken > 0);
}

static void print_operations(const struct kinds *kinds)
{
	printf("%" PRIu64 " operations:", sum_operations(kinds));
	for (unsigned i = 0; i < KINDS_N_COUNTS; i++)
		printf(" %" PRIu64 " %s,", atomic_load(&kinds->n_of[i]), count_names[i]);
	printf(" %d killed\n", KINDS_SEATS * (N_LIVES - 1));
}

/* ---- afterwards ---- */

static int64_t count_fds(const struct dut *dut)
{
	return dut_n_fds(dut);
}

/* Without those that are just being closed, such as of what told us that it is ready, if we are so lucky. */
static int64_t count_quiet_fds(const struct dut *dut)
{
	int64_t least = count_fds(dut);

	for (unsigned i = 0; i < N_QUIET_LOOKS; i++) {
		int64_t n = count_fds(dut);

		least = n < least ? n : least;
		wait_pause();
	}
	return least;
}

static int64_t count_sessions(const struct dut *dut)
{
	json_t *status = dut_json(dut, "status");
	int64_t n = json_integer_value(json_object_get(status, "sessions"));

	json_decref(status);
	return n;
}

static int64_t count_free_hugepages(const struct dut *unused)
{
	return (int64_t)hugetlb_counts(HUGE_BYTES).free;
}

static void wait_count(const struct dut *dut, const char *what, int64_t (*count)(const struct dut *dut),
		       int64_t value)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	int64_t got;

	while ((got = count(dut)) != value) {
		if (wait_now_ms() > deadline)
			fail_msg("%s: %" PRId64 ", and never %" PRId64, what, got, value);
		wait_pause();
	}
}

/* What is left are detached leases. */
static void free_detached(const struct dut *dut)
{
	json_t *object = dut_json(dut, "leases"), *row;
	hp_client *client;
	size_t i;

	assert_int_equal(hp_open(dut->socket, &client), 0);
	json_array_foreach (json_object_get(object, "leases"), i, row) {
		assert_string_equal(json_string_value(json_object_get(row, "state")), "detached");
		assert_int_equal(
			hp_free_id(client, (uint64_t)json_integer_value(json_object_get(row, "lease"))), 0);
	}
	hp_close(client);
	json_decref(object);
}

static void expect_empty(const struct dut *dut, const struct kinds *kinds)
{
	static const char *const keys[] = {"leases",      "pages_leased", "pages_orphaned",
					   "pages_limbo", "pages_backed", "arenas"};

	for (unsigned i = 0; i < kinds->n_pools; i++)
		for (unsigned k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
			dut_wait_pool(dut, kinds->pools[i].name, keys[k], 0);
}

static void kinds_end_as_they_began(void **state)
{
	bool has_huge = hugetlb_lock() && hugetlb_top_up(HUGE_BYTES, N_HUGE);
	struct hugetlb_counts counts = hugetlb_counts(HUGE_BYTES);
	const char *words[sizeof(arguments) / sizeof(arguments[0])] = {NULL};
	struct kinds *kinds;
	int64_t n_sessions, n_fds;
	pid_t operator;
	struct dut dut;

	printf("seed %" PRIu64 ", %u operations\n", seed, n_operations);
	memcpy(words, arguments, has_huge ? sizeof(arguments) : N_ARGUMENTS_WITHOUT_HUGE * sizeof(words[0]));
	dut_start(&dut, words);
	n_sessions = count_sessions(&dut);
	n_fds = count_quiet_fds(&dut);
	kinds = share_kinds(&dut, has_huge);

	operator= raw_fork(0, kinds_operator_run, kinds);
	run_clients(&dut, kinds);
	atomic_store(&kinds->is_over, true);
	raw_join(operator);
	print_operations(kinds);
	assert_true(sum_operations(kinds) >= n_operations);

	wait_count(&dut, "sessions", count_sessions, n_sessions);
	free_detached(&dut);
	expect_empty(&dut, kinds);
	if (!wait_for(count_fds(&dut) <= n_fds))
		fail_msg("%" PRId64 " descriptors, before there were %" PRId64, count_fds(&dut), n_fds);
	dut_stop(&dut);
	if (has_huge) {
		wait_count(&dut, "free hugepages", count_free_hugepages, (int64_t)counts.free);
		assert_int_equal(hugetlb_counts(HUGE_BYTES).total, counts.total);
	}
	munmap(kinds, sizeof(*kinds));
	/* Skipped, but for the pools of 4 KiB pages. */
	hugetlb_unlock();
	if (!has_huge)
		hugetlb_need(HUGE_BYTES, N_HUGE);
}

static int end(void **state)
{
	dut_kill_all(state);
	hugetlb_unlock();
	return 0;
}

int main(int argc, char **argv)
{
	const char *seed_word = argc > 1 ? argv[1] : getenv("HP_SEED");
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(kinds_end_as_they_began, end)};

	seed = seed_word ? strtoull(seed_word, NULL, 0) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
	n_operations = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : dut_ops(N_OPERATIONS);
	return cmocka_run_group_tests_name("kinds", tests, NULL, NULL);
}

/* soak.c - eight client processes make random lease operations, are killed on the way and replaced;
 * afterwards everything is as it was before.
 *
 *     soak [SEED [OPERATIONS]]      or $HP_SEED and $HP_OPS
 *
 * Several tenants, 4 KiB pages and 2 MiB hugepages, one arena for all and one for each, two workers. The
 * clients see that memory is zeroed and nobody else's (soak_client.c); this file, that the daemon's sums hold
 * all the time, that at the end nothing is leased, orphaned, connected or open, and that the kernel has its
 * hugepages back.
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
#include "tests/stress/soak_client.h"
#include "tests/stress/soak_random.h"
#include "tests/support/dut.h"
#include "tests/support/hugetlb.h"
#include "tests/support/raw.h"

#ifdef __SANITIZE_THREAD__
#define N_OPERATIONS 500000u /* the slowest of them all */
#else
#define N_OPERATIONS 1000000u
#endif
#define N_LIVES       4 /* of a seat: all but the last end by SIGKILL */
#define HUGE_BYTES    (UINT64_C(2) << 20)
#define N_HUGE        32 /* as the pool's max below */
#define FIRST_UID     23450
#define N_UIDS        3
#define LOOK_EVERY_MS 1000
#define STALL_MS      (60 * 1000)
#define N_QUIET_LOOKS 50
#define SETTLE_MS     (60 * 1000)

/* Short decays: arenas come and go. The last pool is for those who have hugepages. */
static const char *const arguments[] = {
	"--workers", "2",
	"--pool",    "small=4K:12M,arena=1M,quota=5M,decay=50ms,users=*",
	"--pool",    "common=4K:3M,arena=1M,isolation=pool,decay=500ms,users=*",
	"--pool",    "huge=2M:64M,arena=8M,decay=50ms,users=*",
	NULL,
};
#define N_ARGUMENTS_WITHOUT_HUGE 6

static const struct soak_pool pools[SOAK_MAX_POOLS] = {
	{.name = "small", .page_bytes = 4096, .weight = 80, .max_pages = 12, .max_batch = 32},
	{.name = "common", .page_bytes = 4096, .weight = 16, .max_pages = 12, .max_batch = 32},
	{.name = "huge", .page_bytes = HUGE_BYTES, .weight = 4, .max_pages = 3, .max_batch = 3},
};

static const char *const kind_names[SOAK_N_KINDS] = {
	[SOAK_ALLOC] = "allocs",
	[SOAK_ALLOC_BATCH] = "in batches",
	[SOAK_REFUSED] = "refused",
	[SOAK_FREE] = "frees",
	[SOAK_FREE_BATCH] = "in batches",
	[SOAK_FREE_ID] = "by id",
	[SOAK_FREE_NAME] = "by name",
	[SOAK_FREE_TWICE] = "twice",
	[SOAK_FREE_ABANDONED] = "abandoned",
	[SOAK_FREE_OTHERS] = "of others",
	[SOAK_FORGET] = "forgotten",
	[SOAK_HOT] = "hot",
	[SOAK_BREAK] = "broken",
	[SOAK_BREAK_LATER] = "broken in a call",
	[SOAK_REOPEN] = "reopened",
};

static uint64_t seed;
static unsigned n_operations;

/* ---- the clients ---- */

struct seat {
	struct soak_part part;
	pid_t pid;
	uint64_t kill_at; /* operations of the seat */
};

static struct soak *share_soak(const struct dut *dut, bool has_huge)
{
	struct soak *soak =
		mmap(NULL, sizeof(*soak), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(soak != MAP_FAILED);
	soak->seed = seed;
	soak->socket = dut->socket;
	memcpy(soak->pools, pools, sizeof(pools));
	soak->n_pools = has_huge ? SOAK_MAX_POOLS : SOAK_MAX_POOLS - 1;
	for (unsigned i = 0; i < SOAK_SEATS; i++)
		soak->uids[i] = geteuid() == 0 ? FIRST_UID + i % N_UIDS : 0;
	return soak;
}

static uint64_t seat_operations(const struct seat *seat)
{
	return atomic_load(&seat->part.soak->n_operations[seat->part.seat]);
}

static bool is_last_life(const struct seat *seat)
{
	return seat->part.life + 1 == N_LIVES;
}

static void start_life(struct seat *seat, uint64_t *random)
{
	const uint64_t n = n_operations / SOAK_SEATS + 1, n_a_life = n / N_LIVES;
	const uint64_t lives_on = seat->part.life * n_a_life;

	seat->part.n_until = is_last_life(seat) ? n : UINT64_MAX;
	seat->kill_at = is_last_life(seat) ? UINT64_MAX : lives_on + 1 + soak_random(random) % (n_a_life + 1);
	seat->pid = raw_fork(seat->part.soak->uids[seat->part.seat], soak_client_run, &seat->part);
}

/* What the dead one held on the shelf is anybody's. */
static void bury(const struct seat *seat)
{
	struct soak_detached *shelf = seat->part.soak->shelf;

	for (unsigned i = 0; i < SOAK_SHELF_ROOM; i++) {
		if (atomic_load(&shelf[i].holder) != (uint32_t)seat->pid)
			continue;
		shelf[i].is_shaken = true;
		atomic_store(&shelf[i].holder,
			     atomic_load(&shelf[i].lease) == 0 ? SOAK_SLOT_EMPTY : SOAK_SLOT_NOBODY);
	}
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
		bury(seat);
		seat->part.life++;
		start_life(seat, random);
	}
	return true;
}

static uint64_t sum_operations(const struct soak *soak)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < SOAK_SEATS; i++)
		sum += atomic_load(&soak->n_operations[i]);
	return sum;
}

/* Until every seat's last client has done its part. */
static void run_clients(const struct dut *dut, struct soak *soak)
{
	uint64_t random = seed, looked_ms = dut_now_ms(), moved_ms = looked_ms, n_last = 0;
	struct seat seats[SOAK_SEATS] = {0};
	unsigned n_taken;

	for (unsigned i = 0; i < SOAK_SEATS; i++) {
		seats[i].part = (struct soak_part){.soak = soak, .seat = i};
		start_life(&seats[i], &random);
	}
	do {
		uint64_t n_now = sum_operations(soak), now_ms = dut_now_ms();

		n_taken = 0;
		for (unsigned i = 0; i < SOAK_SEATS; i++)
			n_taken += tend(dut, &seats[i], &random);
		if (n_now != n_last)
			moved_ms = now_ms;
		else if (now_ms - moved_ms > STALL_MS)
			fail_msg("the clients hang after %" PRIu64 " operations", n_now);
		n_last = n_now;
		if (now_ms - looked_ms > LOOK_EVERY_MS) {
			for (unsigned i = 0; i < soak->n_pools; i++)
				dut_pool(dut, soak->pools[i].name, "pages_backed");
			looked_ms = now_ms;
		}
		dut_pause();
	} while (n_taken > 0);
}

static void print_operations(const struct soak *soak)
{
	printf("%" PRIu64 " operations:", sum_operations(soak));
	for (unsigned i = 0; i < SOAK_N_KINDS; i++)
		printf(" %" PRIu64 " %s,", atomic_load(&soak->n_of_kind[i]), kind_names[i]);
	printf(" %d killed\n", SOAK_SEATS * (N_LIVES - 1));
}

/* ---- afterwards ---- */

static int64_t count_sessions(const struct dut *dut)
{
	json_t *status = dut_json(dut, "status");
	int64_t n = json_integer_value(json_object_get(status, "sessions"));

	json_decref(status);
	return n;
}

static int64_t count_fds(const struct dut *dut)
{
	return dut_n_fds(dut);
}

/* Without those that are just being closed, such as of what told us that it is ready. */
static int64_t count_quiet_fds(const struct dut *dut)
{
	int64_t least = count_fds(dut);

	for (unsigned i = 0; i < N_QUIET_LOOKS; i++) {
		int64_t n = count_fds(dut);

		least = n < least ? n : least;
		dut_pause();
	}
	return least;
}

static int64_t count_free_hugepages(const struct dut *unused)
{
	return (int64_t)hugetlb_counts(HUGE_BYTES).free;
}

static void wait_count(const struct dut *dut, const char *what, int64_t (*count)(const struct dut *dut),
		       int64_t value)
{
	uint64_t deadline = dut_now_ms() + SETTLE_MS;
	int64_t got;

	while ((got = count(dut)) != value) {
		if (dut_now_ms() > deadline)
			fail_msg("%s: %" PRId64 ", and never %" PRId64, what, got, value);
		dut_pause();
	}
}

/* Take the lease off the shelf; false if it is not there. */
static bool find_on_shelf(struct soak *soak, uint64_t lease)
{
	for (unsigned i = 0; i < SOAK_SHELF_ROOM; i++)
		if (atomic_load(&soak->shelf[i].lease) == lease) {
			atomic_store(&soak->shelf[i].lease, 0);
			return true;
		}
	return false;
}

/* What is left are detached leases: all that are on the shelf, and those whose clients were killed before
 * they could put them there. */
static void free_detached(const struct dut *dut, struct soak *soak)
{
	json_t *object = dut_json(dut, "leases"), *row;
	unsigned n_unknown = 0;
	hp_client *client;
	size_t i;

	assert_int_equal(hp_open(dut->socket, &client), 0);
	json_array_foreach (json_object_get(object, "leases"), i, row) {
		uint64_t lease = (uint64_t)json_integer_value(json_object_get(row, "lease"));

		assert_string_equal(json_string_value(json_object_get(row, "state")), "detached");
		n_unknown += !find_on_shelf(soak, lease);
		assert_int_equal(hp_free_id(client, lease), 0);
	}
	hp_close(client);
	json_decref(object);
	assert_in_range(n_unknown, 0, SOAK_SEATS * (N_LIVES - 1));
	for (i = 0; i < SOAK_SHELF_ROOM; i++)
		if (atomic_load(&soak->shelf[i].lease) != 0 && !soak->shelf[i].is_shaken)
			fail_msg("detached lease %" PRIu64 " did not live on",
				 atomic_load(&soak->shelf[i].lease));
}

static void expect_empty(const struct dut *dut, const struct soak *soak)
{
	for (unsigned i = 0; i < soak->n_pools; i++) {
		dut_wait_pool(dut, soak->pools[i].name, "leases", 0);
		dut_wait_pool(dut, soak->pools[i].name, "pages_leased", 0);
		dut_wait_pool(dut, soak->pools[i].name, "pages_orphaned", 0);
		/* Their decay has passed. */
		dut_wait_pool(dut, soak->pools[i].name, "pages_backed", 0);
	}
}

static void soak_ends_as_it_began(void **state)
{
	bool has_huge = hugetlb_lock() && hugetlb_top_up(HUGE_BYTES, N_HUGE);
	struct hugetlb_counts counts = hugetlb_counts(HUGE_BYTES);
	const char *words[sizeof(arguments) / sizeof(arguments[0])] = {NULL};
	int64_t n_sessions, n_fds;
	struct soak *soak;
	struct dut dut;

	printf("seed %" PRIu64 ", %u operations\n", seed, n_operations);
	memcpy(words, arguments, has_huge ? sizeof(arguments) : N_ARGUMENTS_WITHOUT_HUGE * sizeof(words[0]));
	dut_start(&dut, words);
	n_fds = count_quiet_fds(&dut);
	n_sessions = count_sessions(&dut);
	soak = share_soak(&dut, has_huge);

	run_clients(&dut, soak);
	print_operations(soak);
	assert_true(sum_operations(soak) >= n_operations);

	wait_count(&dut, "sessions", count_sessions, n_sessions);
	free_detached(&dut, soak);
	expect_empty(&dut, soak);
	wait_count(&dut, "sessions", count_sessions, n_sessions);
	wait_count(&dut, "the daemon's descriptors", count_fds, n_fds);
	dut_stop(&dut);
	if (has_huge) {
		wait_count(&dut, "free hugepages", count_free_hugepages, (int64_t)counts.free);
		assert_int_equal(hugetlb_counts(HUGE_BYTES).total, counts.total);
	}
	munmap(soak, sizeof(*soak));
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
	const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(soak_ends_as_it_began, end)};

	seed = seed_word ? strtoull(seed_word, NULL, 0) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
	n_operations = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 0) : dut_ops(N_OPERATIONS);
	return cmocka_run_group_tests_name("soak", tests, NULL, NULL);
}

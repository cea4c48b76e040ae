/* system_hugetlb.c - the built daemon on real hugepages: whose pages are where, by the kernel's own counters.
 *
 * Anonymous files here; hugetlbfs mounts are in system_hugetlb_mount.c. Clients are processes of several
 * users. Each test has its turn with the host's hugepages, so that between two readings only we move the
 * counters: a pool that does not grow takes from the free ones exactly what it says is backed, and all are
 * back when it stops.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/hugetlb.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"
#include "tests/system/system_hugetlb_scene.h"

#define KIB4 UINT64_C(4096)

/* ---- leases ---- */

static void pages_are_leased_and_come_back(uint64_t page_bytes, const char *page)
{
	const char *pool =
		scene_words("p=%s:%" PRIu64 ",arena=%s,decay=0,users=*", page, 2 * page_bytes, page);
	struct actor one, two;
	uint64_t first, second;
	struct dut dut;

	scene_begin(page_bytes, 2);
	dut_start(&dut, DUT_WORDS("--pool", pool));
	actor_start(&one, SOMEUID, &dut);
	actor_start(&two, OTHERUID, &dut);
	assert_int_equal(actor_alloc(&one, page_bytes, NULL, &first), 0);
	assert_int_equal(actor_alloc(&two, page_bytes, NULL, &second), 0);
	assert_int_equal(actor_count_other(&two, second, 0), 0);
	actor_fill(&one, first, 0x11);
	actor_fill(&two, second, 0x22);
	assert_int_equal(actor_count_other(&one, first, 0x11), 0);
	assert_int_equal(actor_count_other(&two, second, 0x22), 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 2);
	scene_assert_taken(&dut, 2);

	/* What one tenant frees, the other can have, by way of the kernel. */
	assert_int_equal(actor_free(&one, first), 0);
	dut_wait_pool(&dut, "p", "pages_backed", 1);
	scene_assert_taken(&dut, 1);
	assert_int_equal(actor_alloc(&two, page_bytes, NULL, &first), 0);
	assert_int_equal(actor_count_other(&two, first, 0), 0);
	actor_quit(&one);
	actor_quit(&two);
	dut_stop(&dut);
	scene_assert_all_back();
}

static void hugetlb_2m_pages_are_leased_and_come_back(void **state)
{
	pages_are_leased_and_come_back(MIB2, "2M");
}

static void hugetlb_1g_pages_are_leased_and_come_back(void **state)
{
	pages_are_leased_and_come_back(GIB1, "1G");
}

#define N_ACTORS 3
#define N_LEASES 4

static void hugetlb_stopped_under_many_holders_has_all_back(void **state)
{
	static const uid_t uids[N_ACTORS] = {SOMEUID, SOMEUID, OTHERUID};
	uint64_t leases[N_ACTORS][N_LEASES], printed;
	struct actor actors[N_ACTORS];
	struct dut dut;
	pid_t holder;

	scene_begin(MIB2, 64);
	dut_start(&dut, DUT_WORDS("--workers", "2", "--pool", "p=2M:128M,arena=16M,users=*"));
	for (unsigned i = 0; i < N_ACTORS; i++) {
		actor_start(&actors[i], uids[i], &dut);
		assert_int_equal(actor_alloc_batch(&actors[i], N_LEASES, (i + 1) * MIB2, NULL, leases[i]), 0);
		for (unsigned k = 0; k < N_LEASES; k++)
			actor_fill(&actors[i], leases[i][k], (uint8_t)(1 + i * N_LEASES + k));
	}
	holder = dut_hold(&dut, NOBODY, DUT_WORDS("6M"), &printed);
	for (unsigned i = 0; i < N_ACTORS; i++)
		for (unsigned k = 0; k < N_LEASES; k++)
			assert_int_equal(
				actor_count_other(&actors[i], leases[i][k], (uint8_t)(1 + i * N_LEASES + k)),
				0);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), N_LEASES * (1 + 2 + 3) + 3);
	scene_assert_taken(&dut, dut_pool(&dut, "p", "pages_backed"));

	/* They all still map what they had. */
	dut_stop(&dut);
	scene_assert_all_back();
	for (unsigned i = 0; i < N_ACTORS; i++)
		actor_kill(&actors[i]);
	raw_kill(holder);
	scene_assert_all_back();
}

#define N_CHURNERS 4
#define N_ROUNDS   24

struct churner {
	const struct dut *dut;
	_Atomic unsigned *n_done; /* rounds; shared */
	pid_t pid;
};

static bool is_all(const uint8_t *data, uint8_t value, uint64_t bytes)
{
	return data[0] == value && memcmp(data, data + 1, bytes - 1) == 0;
}

/* Lease, look, dirty, free, until killed. */
static void churn(void *arg)
{
	const struct churner *self = arg;
	hp_client *client;

	raw_check(hp_open(self->dut->socket, &client) == 0, "%s", hp_error());
	for (unsigned i = 0;; i++) {
		uint64_t bytes = (1 + i % 3) * MIB2;
		hp_lease *lease;

		raw_check(hp_alloc(client, bytes, NULL, &lease) == 0, "%s", hp_error());
		raw_check(is_all(hp_lease_data(lease), 0, bytes), "memory that is not zero");
		memset(hp_lease_data(lease), 0xee, bytes);
		raw_check(hp_free(lease) == 0, "%s", hp_error());
		atomic_fetch_add(self->n_done, 1);
	}
}

static void wait_rounds(_Atomic unsigned *n_done, unsigned n)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;

	while (atomic_load(n_done) < n) {
		if (wait_now_ms() > deadline)
			fail_msg("a client is stuck, or has failed, after %u rounds", atomic_load(n_done));
		wait_pause();
	}
}

static void hugetlb_clients_killed_at_work_leave_nothing(void **state)
{
	static const uid_t uids[N_CHURNERS] = {SOMEUID, OTHERUID, NOBODY, SOMEUID};
	struct churner churners[N_CHURNERS];
	struct actor witness;
	_Atomic unsigned *n_done;
	uint64_t kept, lease;
	struct dut dut;

	scene_begin(MIB2, 128);
	n_done = mmap(NULL, N_CHURNERS * sizeof(*n_done), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	assert_ptr_not_equal(n_done, MAP_FAILED);
	dut_start(&dut, DUT_WORDS("--workers", "2", "--pool", "p=2M:256M,arena=16M,users=*"));
	actor_start(&witness, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&witness, 3 * MIB2, NULL, &kept), 0);
	actor_fill(&witness, kept, 0x77);
	for (unsigned i = 0; i < N_CHURNERS; i++) {
		churners[i] = (struct churner){.dut = &dut, .n_done = &n_done[i]};
		churners[i].pid = raw_fork(uids[i], churn, &churners[i]);
	}
	for (unsigned i = 0; i < N_CHURNERS; i++) {
		wait_rounds(&n_done[i], dut_ops(N_ROUNDS));
		assert_int_equal(kill(churners[i].pid, SIGKILL), 0);
		assert_int_equal(dut_wait_child(churners[i].pid), SIGKILL);
	}
	dut_wait_pool(&dut, "p", "leases", 1);
	dut_wait_pool(&dut, "p", "pages_leased", 3);
	scene_assert_taken(&dut, dut_pool(&dut, "p", "pages_backed"));
	assert_int_equal(actor_count_other(&witness, kept, 0x77), 0);
	assert_int_equal(actor_alloc(&witness, 8 * MIB2, NULL, &lease), 0);
	assert_int_equal(actor_count_other(&witness, lease, 0), 0);
	actor_quit(&witness);
	dut_stop(&dut);
	scene_assert_all_back();
	munmap(n_done, N_CHURNERS * sizeof(*n_done));
}

static void hugetlb_daemon_killed_without_holders_leaves_nothing(void **state)
{
	const char *const *pool = DUT_WORDS("--pool", "p=2M:64M,arena=16M,reserve=16M,users=*");
	struct actor actor;
	uint64_t lease;
	struct dut dut;

	scene_begin(MIB2, 32);
	dut_start(&dut, pool);
	actor_start(&actor, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&actor, 4 * MIB2, NULL, &lease), 0);
	actor_fill(&actor, lease, 1);
	actor_quit(&actor);
	dut_wait_pool(&dut, "p", "leases", 0);
	scene_assert_taken(&dut, dut_pool(&dut, "p", "pages_backed"));
	dut_kill(&dut);
	scene_wait_all_back();

	dut_restart(&dut, pool);
	scene_assert_taken(&dut, 8);
	dut_stop(&dut);
	scene_assert_all_back();
}

/* ---- what the pool takes and keeps ---- */

static void hugetlb_reserve_is_kept_and_the_rest_decays(void **state)
{
	const int64_t reserve = 16;
	uint64_t leases[4];
	struct actor one, two;
	int64_t backed;
	struct dut dut;

	scene_begin(MIB2, 64);
	dut_start(&dut, DUT_WORDS("--pool", "p=2M:128M,arena=8M,reserve=32M,decay=200ms,users=*"));
	assert_int_equal(dut_pool(&dut, "p", "pages_reserve"), reserve);
	assert_int_equal(dut_pool(&dut, "p", "pages_stock"), reserve);
	scene_assert_taken(&dut, (uint64_t)reserve);
	for (unsigned round = 0; round < 3; round++) {
		uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;

		actor_start(&one, SOMEUID, &dut);
		actor_start(&two, OTHERUID, &dut);
		assert_int_equal(actor_alloc_batch(&one, 4, 4 * MIB2, NULL, leases), 0);
		assert_int_equal(actor_alloc_batch(&two, 4, 4 * MIB2, NULL, leases), 0);
		assert_true(dut_pool(&dut, "p", "pages_backed") >= 2 * reserve);
		actor_quit(&one);
		actor_quit(&two);
		while ((backed = dut_pool(&dut, "p", "pages_backed")) != reserve) {
			assert_true(backed > reserve);
			assert_true(scene_taken() >= (uint64_t)reserve);
			assert_true(wait_now_ms() < deadline);
			wait_pause();
		}
		scene_assert_taken(&dut, (uint64_t)reserve);
	}
	dut_stop(&dut);
	scene_assert_all_back();
}

/* Everything the kernel has, and 16 pages more. */
/* Before anybody asks, and again when somebody has taken some. */
static void hugetlb_stock_is_kept_ready(void **state)
{
	struct dut dut;
	uint64_t lease;
	pid_t holder;

	scene_begin(MIB2, 16);
	dut_start(&dut, DUT_WORDS("--pool", "p=2M:32M,arena=8M,stock=16M,decay=0,users=*"));
	assert_int_equal(dut_pool(&dut, "p", "pages_stock_wanted"), 8);
	dut_wait_pool(&dut, "p", "pages_stock", 8);
	scene_assert_taken(&dut, 8);
	holder = dut_hold(&dut, SOMEUID, DUT_WORDS("8M"), &lease);
	dut_wait_pool(&dut, "p", "stocked", 12);
	assert_int_equal(dut_pool(&dut, "p", "pages_stock"), 8);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 4);
	scene_assert_taken(&dut, 12);
	raw_kill(holder);
	/* Nobody else's: what a client has seen goes back, not into the stock. */
	dut_wait_pool(&dut, "p", "pages_backed", 8);
	assert_int_equal(dut_pool(&dut, "p", "stocked"), 12);
	dut_stop(&dut);
	scene_assert_all_back();
}

static void hugetlb_growing_pool_raises_and_gives_back(void **state)
{
	uint64_t available, lease, last = 0, backed;
	struct hugetlb_counts counts;
	struct actor one, two;
	struct dut dut;

	scene_begin(MIB2, 4);
	available = scene_available();
	dut_start(&dut, DUT_WORDS("--pool", scene_words("p=2M:%" PRIu64 "M,arena=32M,grow=yes,users=*",
							2 * (available + 16))));
	assert_int_equal(dut_pool(&dut, "p", "pages_missing"), 0);
	actor_start(&one, SOMEUID, &dut);
	actor_start(&two, OTHERUID, &dut);
	/* The last lease leaves less than its own size, so the kernel's own did not suffice. */
	while (actor_alloc(&one, 8 * MIB2, NULL, &lease) == 0) {
		actor_fill(&one, lease, 0x5a);
		last = lease;
	}
	backed = (uint64_t)dut_pool(&dut, "p", "pages_backed");
	assert_true(backed > available);
	counts = hugetlb_counts(MIB2);
	assert_int_equal(counts.total, scene_start.total + backed - available);
	assert_int_equal(counts.free - counts.reserved, 0);
	assert_int_equal(counts.surplus, scene_start.surplus);
	assert_int_equal(actor_count_other(&one, last, 0x5a), 0);
	assert_int_equal(actor_alloc(&two, 16 * MIB2, NULL, &lease), -ENOSPC);

	dut_stop(&dut);
	scene_assert_all_back();
	actor_kill(&one);
	actor_kill(&two);
}

static void hugetlb_reserve_that_cannot_be_met_is_refused(void **state)
{
	scene_begin(MIB2, 4);
	scene_assert_reserve_refused("");
	scene_assert_all_back();
}

/* What is missing counts from what the reserve promised: a pool without one promises nothing. */
static void hugetlb_pool_without_a_reserve_misses_nothing(void **state)
{
	struct dut dut;
	uint64_t max, lease;
	pid_t holder;
	char *error;

	scene_begin(MIB2, 4);
	max = scene_available() + 16;
	dut_start(&dut, DUT_WORDS("--pool", scene_words("p=2M:%" PRIu64 "M,users=*", 2 * max)));
	assert_int_equal(dut_pool(&dut, "p", "pages_missing"), 0);
	assert_int_equal(dut_ctl(&dut, SOMEUID, DUT_WORDS("alloc", scene_words("%" PRIu64 "M", 2 * max)),
				 NULL, &error),
			 1);
	scene_assert_says(error, "the kernel has no %" PRIu64 " pages (", max);
	free(error);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	dut_wait_pool(&dut, "p", "pages_backed", 0); /* what was taken in vain */
	scene_assert_taken(&dut, 0);

	/* What there is can be had, and the rest once an operator has found it. */
	holder = dut_hold(&dut, SOMEUID, DUT_WORDS("8M"), &lease);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 4);
	raw_kill(holder);
	assert_true(hugetlb_raise(MIB2, 16));
	scene_start = (struct hugetlb_counts){.total = scene_start.total + 16,
					      .free = scene_start.free + 16,
					      .reserved = scene_start.reserved,
					      .surplus = scene_start.surplus};
	holder = dut_hold(&dut, OTHERUID, DUT_WORDS(scene_words("%" PRIu64 "M", 2 * max)), &lease);
	scene_assert_taken(&dut, max);
	raw_kill(holder);
	dut_stop(&dut);
	scene_assert_all_back();
}

/* ---- what clients do to pages ---- */

static void hugetlb_pinned_page_is_limbo_of_its_tenant(void **state)
{
	struct actor pinned, heir, other;
	struct hugetlb_pinner pinner;
	uint64_t lease, offset;
	struct dut dut;
	int fd;

	scene_begin(MIB2, 16);
	dut_start(&dut, DUT_WORDS("--pool", "p=2M:32M,arena=8M,quota=8M,decay=0,users=*"));
	actor_start(&pinned, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&pinned, 4 * MIB2, NULL, &lease), 0);
	fd = actor_dup_fd(&pinned, lease, &offset);
	assert_int_equal(offset, 0);
	if (!hugetlb_pin(fd, MIB2, &pinner)) {
		fprintf(stderr, "SKIPPED: no io_uring buffers here\n");
		skip();
	}
	dut_adopt(pinner.pid);
	close(fd);
	actor_quit(&pinned);
	dut_wait_pool(&dut, "p", "pages_backed", 1);
	assert_int_equal(dut_pool(&dut, "p", "pages_limbo"), 1);
	scene_assert_taken(&dut, 1);

	/* Its user has that much less. Others have not. */
	actor_start(&heir, SOMEUID, &dut);
	actor_start(&other, OTHERUID, &dut);
	assert_int_equal(actor_alloc(&heir, 4 * MIB2, NULL, &lease), -EDQUOT);
	assert_int_equal(actor_alloc(&heir, 3 * MIB2, NULL, &lease), 0);
	assert_int_equal(actor_alloc(&heir, MIB2, NULL, &lease), -EDQUOT);
	assert_int_equal(actor_alloc(&other, 4 * MIB2, NULL, &lease), 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_limbo"), 1);
	scene_assert_taken(&dut, dut_pool(&dut, "p", "pages_backed"));

	hugetlb_unpin(&pinner);
	dut_wait_pool(&dut, "p", "pages_limbo", 0);
	assert_int_equal(actor_alloc(&heir, MIB2, NULL, &lease), 0);
	actor_quit(&heir);
	actor_quit(&other);
	dut_stop(&dut);
	scene_assert_all_back();
}

/* Lease all there is, pin a page, and end: that page is in limbo from then on. */
static void leave_in_limbo(const struct dut *dut, struct hugetlb_pinner *ret_pinner)
{
	struct actor pinned;
	uint64_t lease;
	int fd;

	actor_start(&pinned, SOMEUID, dut);
	assert_int_equal(actor_alloc(&pinned, 4 * MIB2, NULL, &lease), 0);
	fd = actor_dup_fd(&pinned, lease, NULL);
	if (!hugetlb_pin(fd, MIB2, ret_pinner)) {
		fprintf(stderr, "SKIPPED: no io_uring buffers here\n");
		skip();
	}
	dut_adopt(ret_pinner->pid);
	close(fd);
	actor_quit(&pinned);
	dut_wait_pool(dut, "p", "pages_limbo", 1);
}

/* The stock is one arena again if the page is back in a second, which a busy machine may miss now and then.
 * For longer the other pages do not wait. */
static void hugetlb_refill_waits_for_limbo_a_moment(void **state)
{
	struct hugetlb_pinner pinner;
	int64_t n_arenas = 0;
	struct dut dut;

	scene_begin(MIB2, 4);
	dut_start(&dut, DUT_WORDS("--pool", "p=2M:8M,arena=8M,reserve=8M,isolation=lease,users=*"));
	for (unsigned i = 0; i < 5 && n_arenas != 1; i++) {
		leave_in_limbo(&dut, &pinner);
		hugetlb_unpin(&pinner);
		dut_wait_pool(&dut, "p", "pages_stock", 4);
		n_arenas = dut_pool(&dut, "p", "arenas");
	}
	assert_int_equal(n_arenas, 1);

	leave_in_limbo(&dut, &pinner);
	dut_wait_pool(&dut, "p", "pages_stock", 3);
	assert_int_equal(dut_pool(&dut, "p", "pages_limbo"), 1);
	hugetlb_unpin(&pinner);
	dut_wait_pool(&dut, "p", "pages_stock", 4);
	dut_stop(&dut);
	scene_assert_all_back();
}

static uint8_t *private_copy; /* an actor's */

/* The lease's first two pages, both written to. */
static int64_t copy_privately(int fd)
{
	void *memory = mmap(NULL, 2 * MIB2, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);

	if (memory == MAP_FAILED)
		return -errno;
	private_copy = memory;
	private_copy[0] = private_copy[MIB2] = 0xcc;
	return 0;
}

static int64_t drop_private_copy(int unused)
{
	return munmap(private_copy, 2 * MIB2) == 0 ? 0 : -errno;
}

static void hugetlb_private_copies_come_back_at_unmap(void **state)
{
	struct actor actor;
	uint64_t lease;
	struct dut dut;

	scene_begin(MIB2, 8);
	dut_start(&dut, DUT_WORDS("--pool", "p=2M:16M,arena=4M,users=*"));
	actor_start(&actor, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&actor, 2 * MIB2, NULL, &lease), 0);
	actor_fill(&actor, lease, 0x11);
	scene_assert_taken(&dut, 2);
	assert_int_equal(actor_act(&actor, lease, copy_privately), 0);
	scene_assert_taken(&dut, 2 + 2);
	assert_int_equal(dut_pool(&dut, "p", "pages_backed"), 2);
	assert_int_equal(actor_count_other(&actor, lease, 0x11), 0);
	assert_int_equal(actor_act(&actor, lease, drop_private_copy), 0);
	scene_assert_taken(&dut, 2);

	/* Death unmaps, too. */
	assert_int_equal(actor_act(&actor, lease, copy_privately), 0);
	scene_assert_taken(&dut, 2 + 2);
	actor_kill(&actor);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
	scene_assert_taken(&dut, 2);
	dut_stop(&dut);
	scene_assert_all_back();
}

/* ---- page sizes ---- */

static void hugetlb_page_sizes_are_the_kernels(void **state)
{
	static const struct {
		uint64_t bytes;
		const char *word;
	} sizes[] = {{KIB4, "4K"}, {MIB2, "2M"}, {GIB1, "1G"}};

	dut_need_root();
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const char *pool = scene_words("p=%s:%s", sizes[i].word, sizes[i].word);
		struct dut dut;
		char *error;

		if (sizes[i].bytes == (uint64_t)sysconf(_SC_PAGESIZE) || hugetlb_has(sizes[i].bytes)) {
			dut_start(&dut, DUT_WORDS("--pool", pool));
			assert_int_equal(dut_pool(&dut, "p", "page_bytes"), sizes[i].bytes);
			dut_stop(&dut);
			continue;
		}
		assert_int_equal(dut_start_refused(DUT_WORDS("--pool", pool), &error), 1);
		scene_assert_says(error, "pool p: the kernel has no pages of %s; it has ", sizes[i].word);
		free(error);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, scene_end)
	const struct CMUnitTest tests[] = {
		TEST(hugetlb_2m_pages_are_leased_and_come_back),
		TEST(hugetlb_1g_pages_are_leased_and_come_back),
		TEST(hugetlb_stopped_under_many_holders_has_all_back),
		TEST(hugetlb_clients_killed_at_work_leave_nothing),
		TEST(hugetlb_daemon_killed_without_holders_leaves_nothing),
		TEST(hugetlb_reserve_is_kept_and_the_rest_decays),
		TEST(hugetlb_stock_is_kept_ready),
		TEST(hugetlb_growing_pool_raises_and_gives_back),
		TEST(hugetlb_reserve_that_cannot_be_met_is_refused),
		TEST(hugetlb_pool_without_a_reserve_misses_nothing),
		TEST(hugetlb_pinned_page_is_limbo_of_its_tenant),
		TEST(hugetlb_refill_waits_for_limbo_a_moment),
		TEST(hugetlb_private_copies_come_back_at_unmap),
		TEST(hugetlb_page_sizes_are_the_kernels),
	};

	return cmocka_run_group_tests_name("system_hugetlb", tests, NULL, NULL);
}

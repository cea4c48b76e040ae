/* system_mapping.c - how leases of the built daemon are mapped by the library, on 2 MiB pages: several runs
 * back to back, private, guarded, growing; what each takes from the kernel and when it goes back.
 *
 * This process is the client. It holds the hugepages' lock, so the kernel's counters are ours.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/dut.h"
#include "tests/support/hugetlb.h"
#include "tests/support/wait.h"

#define PAGE       (UINT64_C(2) << 20)
#define POOL_PAGES 8
#define SPARE      6 /* pages of the kernel's that are not the pool's */

static struct dut dut;
static hp_client *client;

/* The first step of every test: skips it where there are no pages. */
static void open_all(void)
{
	dut_need_root();
	hugetlb_need(PAGE, POOL_PAGES + SPARE);
	dut_start(&dut, DUT_WORDS("--pool", "p=2M:16M,arena=16M,reserve=16M"));
	assert_int_equal(hp_open(dut.socket, &client), 0);
}

static int tear_down(void **state)
{
	client = hp_close(client);
	dut_kill_all(state);
	hugetlb_unlock();
	return 0;
}

static uint64_t n_free(void)
{
	struct hugetlb_counts counts = hugetlb_counts(PAGE);

	return counts.free - counts.reserved;
}

static hp_lease *alloc(uint64_t n_pages, unsigned flags)
{
	hp_lease *lease = NULL;
	int r = hp_alloc(client, n_pages * PAGE, &(struct hp_alloc_options){.flags = flags}, &lease);

	if (r < 0)
		fail_msg("hp_alloc: %s", hp_error());
	return lease;
}

/* Which page of the one arena a lease of one page is. */
static uint64_t page_of(const hp_lease *lease)
{
	uint64_t offset;
	int fd = hp_lease_dup_fd(lease, 0, &offset, NULL);

	assert_true(fd >= 0);
	close(fd);
	return offset / PAGE;
}

static uint8_t *byte_of(hp_lease *lease, uint64_t page)
{
	return (uint8_t *)hp_lease_data(lease) + page * PAGE;
}

static void mapping_private_takes_a_page_a_copy_until_it_goes(void **state)
{
	uint64_t before;
	hp_lease *lease;

	open_all();
	before = n_free();
	lease = alloc(4, HP_PRIVATE);
	assert_int_equal(n_free(), before);
	assert_int_equal(*byte_of(lease, 0), 0);
	assert_int_equal(n_free(), before);
	*byte_of(lease, 0) = *byte_of(lease, 2) = 1;
	assert_int_equal(n_free(), before - 2);
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(n_free(), before);
}

static void mapping_private_populated_has_all_copies_or_none(void **state)
{
	const struct hp_alloc_options options = {.flags = HP_PRIVATE | HP_POPULATE};
	uint64_t before, hog_bytes;
	void *hog = NULL;
	hp_lease *lease, *other = NULL;

	open_all();
	before = n_free();
	hog_bytes = (before - SPARE) * PAGE;
	if (hog_bytes > 0) {
		hog = mmap(NULL, hog_bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
		assert_ptr_not_equal(hog, MAP_FAILED);
	}
	assert_int_equal(n_free(), SPARE);
	lease = alloc(4, HP_PRIVATE | HP_POPULATE);
	assert_int_equal(n_free(), SPARE - 4);
	assert_int_equal(hp_alloc(client, 4 * PAGE, &options, &other), -ENOMEM);
	assert_null(other);
	assert_int_equal(n_free(), SPARE - 4);
	dut_wait_pool(&dut, "p", "pages_leased", 4); /* given back */
	assert_int_equal(hp_free(lease), 0);
	if (hog)
		munmap(hog, hog_bytes);
	assert_int_equal(n_free(), before);
}

static void mapping_shared_takes_nothing_whatever_its_kind(void **state)
{
	static const unsigned kinds[] = {0,       HP_READ_ONLY, HP_POPULATE, HP_POPULATE | HP_READ_ONLY,
					 HP_LOCK, HP_GUARD};
	uint64_t before;

	open_all();
	before = n_free();
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		hp_lease *lease = alloc(2, kinds[i]);

		assert_int_equal(*byte_of(lease, 1), 0);
		if (!(kinds[i] & HP_READ_ONLY))
			memset(hp_lease_data(lease), 1, 2 * PAGE);
		assert_int_equal(n_free(), before);
		assert_int_equal(hp_free(lease), 0);
	}
	assert_int_equal(n_free(), before);
}

static void mapping_of_several_runs_grows_and_shrinks(void **state)
{
	hp_lease *pages[POOL_PAGES], *lease, *again;
	uint64_t before;
	unsigned n_runs = 0;
	int fd;

	open_all();
	before = n_free();
	for (unsigned i = 0; i < POOL_PAGES; i++) {
		lease = alloc(1, 0);
		pages[page_of(lease)] = lease;
	}
	for (unsigned i = 0; i < POOL_PAGES; i += 2)
		assert_int_equal(hp_free(pages[i]), 0);
	lease = alloc(3, HP_GUARD);
	for (; (fd = hp_lease_dup_fd(lease, n_runs, NULL, NULL)) >= 0; n_runs++)
		close(fd);
	assert_int_equal(n_runs, 3);
	for (uint64_t i = 0; i < 3; i++) {
		assert_int_equal(*byte_of(lease, i), 0);
		memset(byte_of(lease, i), (int)(1 + i), PAGE);
	}
	assert_int_equal(hp_lease_resize(lease, 4 * PAGE, HP_MAY_MOVE), 0);
	assert_int_equal(*byte_of(lease, 2), 3);
	assert_int_equal(*byte_of(lease, 3), 0);
	*byte_of(lease, 3) = 4;
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, HP_MAY_MOVE), -ENOSPC);
	assert_int_equal(hp_lease_bytes(lease), 4 * PAGE);
	assert_int_equal(hp_lease_resize(lease, PAGE, 0), 0);
	assert_int_equal(*byte_of(lease, 0), 1);
	dut_wait_pool(&dut, "p", "pages_leased", POOL_PAGES / 2 + 1);

	/* What it had is clean when somebody has it again. */
	again = alloc(3, 0);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(*byte_of(again, i), 0);
	assert_int_equal(n_free(), before);
	assert_int_equal(hp_free(again), 0);
	assert_int_equal(hp_free(lease), 0);
	for (unsigned i = 1; i < POOL_PAGES; i += 2)
		assert_int_equal(hp_free(pages[i]), 0);
}

static void mapping_private_moves_with_its_copies(void **state)
{
	uint64_t before;
	hp_lease *lease;

	open_all();
	before = n_free();
	lease = alloc(2, HP_PRIVATE);
	*byte_of(lease, 1) = 7;
	assert_int_equal(hp_lease_resize(lease, 3 * PAGE, HP_MAY_MOVE), 0);
	assert_int_equal(*byte_of(lease, 1), 7);
	assert_int_equal(*byte_of(lease, 2), 0);
	assert_int_equal(n_free(), before - 1);
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(n_free(), before);
}

static void mapping_of_an_opened_lease_is_the_same_memory(void **state)
{
	const struct hp_alloc_options named = {.name = "frames"};
	hp_lease *lease, *reader, *writer;

	open_all();
	assert_int_equal(hp_alloc(client, 2 * PAGE, &named, &lease), 0);
	*byte_of(lease, 1) = 5;
	assert_int_equal(hp_lease_open(client, "frames", HP_READ_ONLY, &reader), 0);
	assert_int_equal(hp_lease_open(client, "frames", HP_GUARD, &writer), 0);
	assert_int_equal(*byte_of(reader, 1), 5);
	*byte_of(writer, 0) = 6;
	assert_int_equal(*byte_of(reader, 0), 6);
	assert_int_equal(hp_lease_resize(lease, PAGE, 0), -EBUSY);
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(*byte_of(reader, 1), 5);
	assert_int_equal(hp_free(writer), 0);
	assert_int_equal(hp_free(reader), 0);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
}

/* ---- in a loop ---- */

static struct {
	unsigned n_done, n_failed, n_events;
	hp_lease *leases[POOL_PAGES + 1];
} seen;

static void on_lease(void *arg, int result, hp_lease *lease)
{
	seen.n_failed += result < 0;
	seen.leases[seen.n_done++] = lease;
}

static void on_event(void *arg, const struct hp_event *event)
{
	seen.n_events += event->kind == HP_EVENT_PRESSURE;
}

static void dispatch_until(const unsigned *count, unsigned n)
{
	while (*count < n) {
		struct pollfd fd = {.fd = hp_fd(client), .events = POLLIN};

		if (poll(&fd, 1, WAIT_MAX_MS) != 1)
			fail_msg("silence after %u leases (%u failed) and %u events", seen.n_done,
				 seen.n_failed, seen.n_events);
		assert_true(hp_dispatch(client) >= 0);
	}
}

/* All pages one by one, every other one back, and no two beside each other: until pressure makes us. */
static void mapping_in_a_loop_waits_for_memory(void **state)
{
	const struct hp_alloc_options contiguous = {.wait_ms = WAIT_MAX_MS,
						    .flags = HP_CONTIGUOUS | HP_GUARD};
	hp_lease *pages[POOL_PAGES];
	uint64_t before;

	open_all();
	before = n_free();
	memset(&seen, 0, sizeof(seen));
	assert_int_equal(hp_subscribe(client, HP_EVENT_PRESSURE, on_event, NULL), 0);
	for (unsigned i = 0; i < POOL_PAGES; i++)
		assert_int_equal(hp_alloc_start(client, PAGE, NULL, on_lease, NULL), 0);
	dispatch_until(&seen.n_done, POOL_PAGES);
	assert_int_equal(seen.n_failed, 0);
	for (unsigned i = 0; i < POOL_PAGES; i++)
		pages[page_of(seen.leases[i])] = seen.leases[i];
	for (unsigned i = 0; i < POOL_PAGES; i += 2)
		assert_int_equal(hp_free_start(pages[i], 0, NULL, NULL), 0);
	assert_int_equal(hp_alloc_start(client, 2 * PAGE, &contiguous, on_lease, NULL), 0);
	dispatch_until(&seen.n_events, 1);
	assert_int_equal(seen.n_done, POOL_PAGES);
	for (unsigned i = 1; i < POOL_PAGES; i += 2)
		assert_int_equal(hp_free_start(pages[i], HP_COLD, NULL, NULL), 0);
	dispatch_until(&seen.n_done, POOL_PAGES + 1);
	assert_int_equal(seen.n_failed, 0);
	memset(hp_lease_data(seen.leases[POOL_PAGES]), 1, 2 * PAGE);
	assert_int_equal(hp_free(seen.leases[POOL_PAGES]), 0);
	/* The arena may have been exchanged for another one meanwhile. */
	dut_wait_pool(&dut, "p", "pages_backed", POOL_PAGES);
	assert_int_equal(n_free(), before);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(mapping_private_takes_a_page_a_copy_until_it_goes),
		TEST(mapping_private_populated_has_all_copies_or_none),
		TEST(mapping_shared_takes_nothing_whatever_its_kind),
		TEST(mapping_of_several_runs_grows_and_shrinks),
		TEST(mapping_private_moves_with_its_copies),
		TEST(mapping_of_an_opened_lease_is_the_same_memory),
		TEST(mapping_in_a_loop_waits_for_memory),
	};

	return cmocka_run_group_tests_name("system_mapping", tests, NULL, NULL);
}

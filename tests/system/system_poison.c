/* system_poison.c - a pool that looks for writes after free: the log names who had the page, status counts.
 */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/wait.h"

#define PAGE       UINT64_C(4096)
#define POOL_PAGES 256
#define POOL       "p=4K:1M,users=*"
#define POISON     ((const uint8_t[]){0x6b, 0x6b, 0x6b, 0x6b})
#define ALICE      1001
#define BOB        1002

/* The scrubber gets there soon after the pages were freed. */
static void wait_poisoned(int fd, uint64_t offset)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	uint8_t bytes[sizeof(POISON)] = {0};

	while (memcmp(bytes, POISON, sizeof(POISON)) != 0) {
		assert_true(wait_now_ms() < deadline);
		wait_pause();
		assert_int_equal(pread(fd, bytes, sizeof(bytes), (off_t)offset), sizeof(bytes));
	}
}

static bool log_says(const struct dut *dut, const char *words)
{
	FILE *log = fopen(dut->log, "re");
	char line[512];
	bool found = false;

	assert_non_null(log);
	while (fgets(line, sizeof(line), log))
		found |= strstr(line, words) != NULL;
	fclose(log);
	return found;
}

/* Lease every page that is left, or is about to be, a page a lease, and find each zeroed. */
static void lease_rest(struct actor *actor, unsigned n_pages, uint64_t *ret_leases)
{
	const struct hp_alloc_options patient = {.wait_ms = WAIT_MAX_MS};

	assert_int_equal(actor_alloc_batch(actor, n_pages, PAGE, &patient, ret_leases), 0);
	for (unsigned i = 0; i < n_pages; i++)
		assert_int_equal(actor_count_other(actor, ret_leases[i], 0), 0);
}

/* Fails without report() in look_at_page() of pool/poison.c. */
static void poison_tells_who_wrote_after_free(void **state)
{
	uint64_t lease, kept, offset, rest[POOL_PAGES];
	struct actor alice;
	struct dut dut;
	char words[128];
	int fd;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", POOL ",poison=yes"));
	actor_start(&alice, ALICE, &dut);
	assert_int_equal(actor_alloc(&alice, 4 * PAGE, NULL, &lease), 0);
	assert_int_equal(actor_alloc(&alice, PAGE, NULL, &kept), 0);
	fd = actor_dup_fd(&alice, lease, &offset);
	actor_fill(&alice, lease, 0xaa);
	assert_int_equal(actor_free(&alice, lease), 0);
	for (unsigned i = 0; i < 4; i++)
		wait_poisoned(fd, offset + i * PAGE);
	assert_int_equal(dut_pool(&dut, "p", "pages_dirty"), 4);

	assert_int_equal(pwrite(fd, "!", 1, (off_t)(offset + 2 * PAGE + 77)), 1);
	lease_rest(&alice, POOL_PAGES - 1, rest);
	assert_int_equal(dut_pool(&dut, "p", "writes_after_free"), 1);
	snprintf(words, sizeof(words),
		 "was written after it was freed, at byte 77: lease %llu of process %d had it last\n",
		 (unsigned long long)lease, (int)alice.pid);
	assert_true(log_says(&dut, words));

	/* Nobody wrote to these. */
	for (unsigned i = 0; i < POOL_PAGES - 1; i++)
		assert_int_equal(actor_free(&alice, rest[i]), 0);
	lease_rest(&alice, POOL_PAGES - 1, rest);
	assert_int_equal(dut_pool(&dut, "p", "writes_after_free"), 1);
	close(fd);
	actor_quit(&alice);
	dut_stop(&dut);
}

/* Two tenants who press each other: pages go through the kernel between them, and come to rest. */
static void poison_does_not_keep_memory_from_others(void **state)
{
	uint64_t of_alice[POOL_PAGES], of_bob[POOL_PAGES];
	struct actor alice, bob;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", POOL ",poison=yes"));
	actor_start(&alice, ALICE, &dut);
	actor_start(&bob, BOB, &dut);
	for (unsigned round = 0; round < 3; round++) {
		lease_rest(&alice, POOL_PAGES, of_alice);
		for (unsigned i = 0; i < POOL_PAGES; i++)
			assert_int_equal(actor_free(&alice, of_alice[i]), 0);
		lease_rest(&bob, POOL_PAGES, of_bob);
		for (unsigned i = 0; i < POOL_PAGES; i++)
			assert_int_equal(actor_free(&bob, of_bob[i]), 0);
	}
	assert_int_equal(dut_pool(&dut, "p", "writes_after_free"), 0);
	actor_quit(&alice);
	actor_quit(&bob);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
	dut_stop(&dut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(poison_tells_who_wrote_after_free, dut_kill_all),
		cmocka_unit_test_teardown(poison_does_not_keep_memory_from_others, dut_kill_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* system_quota.c - attacks on what a tenant is allowed, and on what is another's: quotas, names, ids.
 *
 * Clients are real processes of several users. Tokens are system_holder.c's, who is let in is
 * system_tenant.c's, quotas under a random walk are system_quota_random.c's. Lines of defence that were taken
 * out to see a test fail are named beside it; every test of a quota of pages fails without the comparison in
 * zone_take_locked() of pool/zone.c, but for that of what is pinned.
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
#include "tests/support/operator.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"

#define PAGE     UINT64_C(4096)
#define HUGE     (UINT64_C(2) << 20)
#define USER     12345
#define OTHER    12346
#define QUOTA    UINT64_C(64) /* pages: 256K */
#define MAX_WORD 24

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

#define BY_PAGES DUT_WORDS("--workers", "2", "--pool", "p=4K:16M,arena=1M,users=*,quota=256K")
#define BY_COUNT                                                                                             \
	DUT_WORDS("--workers", "2", "--pool", "p=4K:16M,arena=1M,users=*,quota_leases=6,quota_names=2")

static const struct hp_alloc_options detached = {.flags = HP_DETACHED};

static struct dut dut;
static struct actor a, b; /* of one user: two sessions, two workers */

static void begin(const char *const *arguments)
{
	dut_need_root();
	dut_start(&dut, arguments);
	actor_start(&a, USER, &dut);
	actor_start(&b, USER, &dut);
}

static void end(void)
{
	actor_quit(&a);
	actor_quit(&b);
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
	dut_stop(&dut);
}

static int try_alloc(struct actor *actor, uint64_t n_pages, const struct hp_alloc_options *options)
{
	uint64_t lease;

	return actor_alloc(actor, n_pages * PAGE, options, &lease);
}

static uint64_t alloc(struct actor *actor, uint64_t n_pages, const struct hp_alloc_options *options)
{
	uint64_t lease = 0;

	assert_int_equal(actor_alloc(actor, n_pages * PAGE, options, &lease), 0);
	return lease;
}

static int64_t tenant_number(const char *what)
{
	return operator_number(&dut, "tenants p", "tenants", "tenant", "uid 12345", what);
}

static const char *word_of(uint64_t number, char word[MAX_WORD])
{
	snprintf(word, MAX_WORD, "%" PRIu64, number);
	return word;
}

/* ---- pages ---- */

/* No way to one page more, by either session; and what was refused left nothing behind. */
static void expect_full(uint64_t lease_of_a, uint64_t its_pages)
{
	static const struct hp_alloc_options ways[] = {
		{.flags = 0},
		{.flags = HP_CONTIGUOUS},
		{.flags = HP_REVOCABLE},
		{.flags = HP_NO_ZERO},
		{.flags = HP_DETACHED},
		{.name = "more"},
		{.name = "more", .mode = 0644},
		{.lifetime_ms = 1000000},
		{.align_bytes = 8 * PAGE},
	};
	uint64_t leases[2];

	assert_int_equal(tenant_number("pages_leased"), QUOTA);
	for (unsigned i = 0; i < LENGTH(ways); i++) {
		assert_int_equal(try_alloc(&a, 1, &ways[i]), -EDQUOT);
		assert_int_equal(try_alloc(&b, 1, &ways[i]), -EDQUOT);
	}
	assert_int_equal(try_alloc(&b, 1, &(struct hp_alloc_options){.wait_ms = 20}), -ETIME);
	assert_int_equal(actor_alloc_batch(&b, 2, PAGE, NULL, leases), -EDQUOT);
	assert_int_equal(actor_resize(&a, lease_of_a, (its_pages + 1) * PAGE, HP_MAY_MOVE), -EDQUOT);
	assert_int_equal(tenant_number("pages_leased"), QUOTA);
}

/* Fails without the comparison with zone_quota_left() in hand_over_locked() of pool/stock.c, and without
 * n_allowed in take_and_refill() of pool/zone.c. */
static void quota_of_pages_holds_for_every_kind_of_lease(void **state)
{
	struct actor stranger;
	uint64_t lease, leases[8];

	begin(BY_PAGES);
	lease = alloc(&a, QUOTA - 4, NULL);
	assert_int_equal(actor_alloc_batch(&b, 5, PAGE, NULL, leases), -EDQUOT);
	assert_int_equal(actor_alloc_batch(&b, 4, PAGE, NULL, leases), 0);
	expect_full(lease, QUOTA - 4);

	/* What is trimmed can be had again, and no more. */
	assert_int_equal(actor_resize(&a, lease, 10 * PAGE, 0), 0);
	assert_int_equal(try_alloc(&b, QUOTA - 4 - 10 + 1, NULL), -EDQUOT);
	alloc(&b, QUOTA - 4 - 10, NULL);
	expect_full(lease, 10);

	actor_start(&stranger, OTHER, &dut);
	alloc(&stranger, QUOTA, NULL);
	assert_int_equal(try_alloc(&stranger, 1, NULL), -EDQUOT);
	actor_quit(&stranger);
	end();
}

/* Fails without the comparison with zone_quota_left() in zone_take_behind() of pool/zone.c. */
static void quota_of_pages_holds_for_growing_in_place(void **state)
{
	uint64_t lease;

	begin(BY_PAGES);
	lease = alloc(&a, 1, NULL);
	alloc(&b, QUOTA / 2, &(struct hp_alloc_options){.flags = HP_REVOCABLE});
	dut_wait_pool(&dut, "p", "pages_cached", 0); /* then the pages behind it are free */
	assert_int_equal(actor_resize(&a, lease, (QUOTA / 2 + 1) * PAGE, 0), -ENOSPC);
	assert_int_equal(actor_resize(&a, lease, QUOTA / 2 * PAGE, 0), 0);
	expect_full(lease, QUOTA / 2);
	end();
}

/* Free pages with a worker count as long as they are there, but do not keep another worker from them. */
static void quota_of_pages_counts_what_workers_cache(void **state)
{
	const struct hp_alloc_options sole = {.flags = HP_REVOCABLE};
	uint64_t leases[QUOTA], lease;

	begin(BY_PAGES);
	for (unsigned round = 0; round < 10; round++) {
		assert_int_equal(actor_alloc_batch(&a, QUOTA, PAGE, NULL, leases), 0);
		for (unsigned i = 0; i < QUOTA; i++)
			assert_int_equal(actor_free(&a, leases[i]), 0);
		lease = alloc(&b, QUOTA, round % 2 ? &sole : NULL);
		assert_int_equal(try_alloc(&a, 1, NULL), -EDQUOT);
		assert_int_equal(actor_free(&b, lease), 0);
	}
	end();
}

/* Who has opened a lease cannot be asked for its pages: its maker is charged until it has closed. Fails if
 * the maker puts them in end() of lease/lease.c, not the last holder; and without the two looks for others,
 * in lease_may_change() and shares_set_runs(). */
static void quota_of_pages_stays_with_the_maker_of_what_others_opened(void **state)
{
	const struct hp_alloc_options named = {.name = "n", .mode = 0644};
	struct actor reader;
	uint64_t made, opened;

	begin(BY_PAGES);
	actor_start(&reader, OTHER, &dut);
	made = alloc(&a, QUOTA, &named);
	assert_int_equal(actor_open_lease(&reader, "n", HP_READ_ONLY, &opened), 0);
	assert_int_equal(actor_resize(&a, made, PAGE, 0), -EBUSY);
	assert_int_equal(actor_free(&a, made), 0);
	assert_int_equal(try_alloc(&a, 1, NULL), -EDQUOT);
	actor_kill(&a);
	assert_int_equal(try_alloc(&b, 1, NULL), -EDQUOT);
	assert_int_equal(tenant_number("pages_leased"), QUOTA);
	alloc(&reader, QUOTA, NULL);
	actor_kill(&reader);
	alloc(&b, QUOTA, &(struct hp_alloc_options){.wait_ms = WAIT_MAX_MS});
	actor_start(&a, USER, &dut);
	end();
}

/* Leases that outlive their holder, and a connection that breaks again and again. */
static void quota_of_pages_outlives_detached_holders_and_connections(void **state)
{
	uint64_t lease;

	begin(BY_PAGES);
	lease = alloc(&a, QUOTA - 8, &detached);
	actor_kill(&a);
	dut_wait_pool(&dut, "p", "pages_leased", QUOTA - 8);
	assert_int_equal(try_alloc(&b, 9, NULL), -EDQUOT);
	alloc(&b, 8, NULL);
	actor_start(&a, USER, &dut);
	for (unsigned i = 0; i < 5; i++) {
		actor_break(&b);
		assert_int_equal(try_alloc(&a, 1, NULL), -EDQUOT);
		assert_int_equal(try_alloc(&b, 1, NULL), -EDQUOT);
	}
	actor_break(&b);
	dut_wait_pool(&dut, "p", "pages_orphaned", 8);
	assert_int_equal(tenant_number("pages_leased") + tenant_number("pages_orphaned"), QUOTA);
	assert_int_equal(try_alloc(&a, 1, NULL), -EDQUOT);
	assert_int_equal(actor_free_id(&a, lease), 0);
	assert_int_equal(try_alloc(&a, QUOTA - 7, NULL), -EDQUOT);
	alloc(&a, QUOTA - 8, NULL);
	end();
}

/* Its first request has come to the daemon. */
static void wait_asked(const struct actor *actor)
{
	char word[MAX_WORD];

	operator_wait_number(&dut, "sessions", "sessions", "pid", word_of((uint64_t)actor->pid, word),
			     "requests", 1);
}

static void quota_of_pages_lets_only_as_many_wait_no_more(void **state)
{
	const struct hp_alloc_options patient = {.wait_ms = WAIT_MAX_MS};
	struct actor waiters[3];
	uint64_t lease, none;

	begin(BY_PAGES);
	lease = alloc(&a, QUOTA, NULL);
	for (unsigned i = 0; i < 3; i++) {
		actor_start(&waiters[i], USER, &dut);
		actor_alloc_begin(&waiters[i], QUOTA / 2 * PAGE, &patient);
		wait_asked(&waiters[i]);
	}
	assert_int_equal(actor_resize(&a, lease, QUOTA / 2 * PAGE, 0), 0);
	assert_int_equal(actor_alloc_end(&waiters[0], &none), 0);
	assert_int_equal(try_alloc(&b, 1, NULL), -EDQUOT);
	assert_int_equal(tenant_number("pages_leased"), QUOTA);
	for (unsigned i = 1; i < 3; i++)
		assert_true(actor_is_busy(&waiters[i]));
	assert_int_equal(actor_free(&a, lease), 0);
	assert_int_equal(actor_alloc_end(&waiters[1], &none), 0);
	assert_true(actor_is_busy(&waiters[2]));
	actor_kill(&waiters[2]);
	actor_quit(&waiters[0]);
	actor_quit(&waiters[1]);
	end();
}

/* Pages that were freed, and that the user still pins past every descriptor and mapping. Fails without
 * pinned_pages in zone_quota_left() of pool/zone.c, and if file_truncate() of backing/backing.c takes what is
 * missing for returned. */
static void quota_of_pages_counts_what_is_pinned(void **state)
{
	struct hugetlb_pinner pinner;
	uint64_t lease;
	int fd;

	dut_need_root();
	hugetlb_need(HUGE, 6);
	begin(DUT_WORDS("--pool", "p=2M:12M,arena=2M,users=*,quota=4M,isolation=lease"));
	lease = alloc(&a, HUGE / PAGE, NULL);
	fd = actor_dup_fd(&a, lease, NULL);
	if (!hugetlb_pin(fd, HUGE, &pinner)) {
		fprintf(stderr, "SKIPPED: no io_uring buffers here\n");
		close(fd);
		skip();
	}
	close(fd);
	assert_int_equal(actor_free(&a, lease), 0);
	operator_wait_number(&dut, "tenants p", "tenants", "tenant", "uid 12345", "pages_limbo", 1);
	assert_int_equal(try_alloc(&a, 2 * HUGE / PAGE, NULL), -EDQUOT);
	alloc(&b, HUGE / PAGE, NULL);
	assert_int_equal(try_alloc(&a, HUGE / PAGE, NULL), -EDQUOT);
	hugetlb_unpin(&pinner);
	operator_wait_number(&dut, "tenants p", "tenants", "tenant", "uid 12345", "pages_limbo", 0);
	alloc(&a, HUGE / PAGE, NULL);
	end();
}

/* ---- leases and names ---- */

/* Fails without charge_one() of n_leases in charge() of lease/lease.c, and without charge() in lease_open().
 */
static void quota_of_leases_holds_for_every_kind_of_lease(void **state)
{
	const struct hp_alloc_options sole = {.flags = HP_REVOCABLE};
	uint64_t leases[8], one, named, none;

	begin(BY_COUNT);
	one = alloc(&a, 1, NULL);
	alloc(&b, 1, &sole);
	named = alloc(&b, 1, &(struct hp_alloc_options){.name = "n"});
	assert_int_equal(actor_alloc_batch(&a, 4, PAGE, NULL, leases), -EDQUOT);
	assert_int_equal(tenant_number("pages_leased"), 3);
	assert_int_equal(actor_alloc_batch(&a, 2, PAGE, NULL, leases), 0);
	assert_int_equal(actor_open_lease(&a, "n", 0, &none), 0);
	assert_int_equal(actor_open_lease(&a, "n", 0, &none), -EDQUOT);
	assert_int_equal(try_alloc(&a, 1, NULL), -EDQUOT);
	assert_int_equal(try_alloc(&b, 1, &sole), -EDQUOT);
	assert_int_equal(try_alloc(&b, 1, &detached), -EDQUOT);
	assert_int_equal(tenant_number("leases"), 6);

	/* A name is a lease as well; the one that opened it stays. */
	assert_int_equal(actor_free(&b, named), 0);
	assert_int_equal(actor_free(&a, one), 0);
	alloc(&a, 1, &detached);
	actor_close(&a);
	assert_int_equal(actor_open(&a, &dut), 0);
	dut_wait_pool(&dut, "p", "leases", 2);
	assert_int_equal(actor_alloc_batch(&a, 5, PAGE, NULL, leases), -EDQUOT);
	assert_int_equal(actor_alloc_batch(&a, 4, PAGE, NULL, leases), 0);
	actor_quit(&a);
	actor_quit(&b);
	dut_wait_pool(&dut, "p", "leases", 1);
	dut_stop(&dut);
}

/* Fails without charge_one() of n_names in charge(). */
static void quota_of_names_holds_in_all_sessions(void **state)
{
	uint64_t first, none;

	begin(BY_COUNT);
	first = alloc(&a, 1, &(struct hp_alloc_options){.name = "n1"});
	alloc(&b, 1, &(struct hp_alloc_options){.name = "n2", .flags = HP_DETACHED});
	assert_int_equal(try_alloc(&a, 1, &(struct hp_alloc_options){.name = "n3"}), -EDQUOT);
	assert_int_equal(try_alloc(&b, 1, &(struct hp_alloc_options){.name = "n3", .mode = 0644}), -EDQUOT);
	assert_int_equal(tenant_number("names"), 2);
	assert_int_equal(tenant_number("leases"), 2);
	assert_int_equal(tenant_number("pages_leased"), 2);
	/* Opening is no name; detached, one outlives its session. */
	assert_int_equal(actor_open_lease(&b, "n1", 0, &none), 0);
	actor_close(&b);
	assert_int_equal(actor_open(&b, &dut), 0);
	assert_int_equal(try_alloc(&b, 1, &(struct hp_alloc_options){.name = "n3"}), -EDQUOT);
	assert_int_equal(actor_free(&a, first), 0);
	alloc(&b, 1, &(struct hp_alloc_options){.name = "n3"});
	assert_int_equal(actor_free_name(&a, "n2"), 0);
	alloc(&b, 1, &(struct hp_alloc_options){.name = "n2"});
	end();
}

/* ---- without manners ---- */

static void send_resize(struct raw *raw, uint64_t lease, uint64_t n_pages)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Resize resize = HUGEPOOL__RESIZE__INIT;

	resize.lease = lease;
	resize.n_pages = n_pages;
	resize.max_runs = 8;
	resize.wait_ms = WAIT_MAX_MS;
	request.method_case = HUGEPOOL__REQUEST__METHOD_RESIZE;
	request.resize = &resize;
	raw_send(raw, &request);
}

/* Fails if resize_supplied() of lease/request.c does not look at the length that the lease has by then. */
static void quota_resizes_that_wait_do_not_add_up(void **state)
{
	struct raw_request ask;
	uint64_t lease, others;
	char word[MAX_WORD];
	struct raw raw;

	dut_start(&dut, BY_PAGES);
	raw_open(&raw, &dut);
	lease = raw_alloc(&raw, 4);
	others = raw_alloc(&raw, QUOTA - 4);
	for (unsigned i = 0; i < 3; i++)
		send_resize(&raw, lease, 12);
	raw_send(&raw, raw_ask_free(&ask, others));
	for (unsigned i = 0; i < 4; i++) {
		Hugepool__Reply *reply = raw_receive(&raw, NULL);

		assert_non_null(reply);
		assert_null(reply->error);
		raw_drop(reply);
	}
	assert_int_equal(operator_number(&dut, "leases", "leases", "lease", word_of(lease, word), "bytes"),
			 12 * PAGE);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 12);
	raw_close(&raw);
	dut_stop(&dut);
}

/* ---- what is another's ---- */

static uint64_t loot, loot_arena; /* a lease that is not the thief's */
static uint64_t loot_detached;    /* one that has no holder; others of its user may free it */

static void expect_resize_refused(struct raw *raw, uint64_t n_pages)
{
	Hugepool__Reply *reply;

	send_resize(raw, loot, n_pages);
	reply = raw_receive(raw, NULL);
	raw_check(reply && reply->error && reply->error->code == HUGEPOOL__CODE__NOT_HOLDER,
		  "resized to %" PRIu64, n_pages);
	raw_drop(reply);
}

static void expect_revoke_refused(struct raw *raw)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Revoke revoke = HUGEPOOL__REVOKE__INIT;

	revoke.lease = loot;
	request.method_case = HUGEPOOL__REQUEST__METHOD_REVOKE;
	request.revoke = &revoke;
	raw_expect_error(raw, &request, HUGEPOOL__CODE__NOT_ALLOWED, "");
}

static void expect_free_by_name_refused(struct raw *raw, Hugepool__Code code)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Free ask = HUGEPOOL__FREE__INIT;
	Hugepool__Reply *reply;

	ask.name = "theirs";
	request.method_case = HUGEPOOL__REQUEST__METHOD_FREE;
	request.free = &ask;
	reply = raw_call(raw, &request);
	raw_check(reply->free && reply->free->n_failures == 1 &&
			  reply->free->failures[0]->error->code == code,
		  "freed by name");
	raw_drop(reply);
}

static void expect_name_taken(struct raw *raw)
{
	struct raw_request ask;

	raw_ask_alloc(&ask, 1);
	ask.alloc.name = "theirs";
	raw_expect_error(raw, &ask.request, HUGEPOOL__CODE__NAME_TAKEN, "");
}

/* On connections to both workers: the record is only one's. */
static void thief(void *arg)
{
	const bool of_same_user = arg;
	const Hugepool__Code code = of_same_user ? HUGEPOOL__CODE__NOT_HOLDER : HUGEPOOL__CODE__NOT_ALLOWED;
	struct raw_request ask;
	struct raw raws[2];

	for (unsigned i = 0; i < 2; i++) {
		raw_open(&raws[i], &dut);
		raw_check(raw_free(&raws[i], loot) == code, "freed");
		expect_resize_refused(&raws[i], 1);
		expect_resize_refused(&raws[i], 9);
		expect_free_by_name_refused(&raws[i], code);
		expect_name_taken(&raws[i]);
		raw_expect_error(&raws[i], raw_ask_arena(&ask, loot_arena), HUGEPOOL__CODE__NO_ARENA, "");
		if (of_same_user)
			continue;
		raw_check(raw_free(&raws[i], loot_detached) == code, "freed without a holder");
		expect_revoke_refused(&raws[i]);
	}
	for (unsigned i = 0; i < 2; i++)
		raw_close(&raws[i]);
}

/* Fails without any of these: the comparison of sessions in lease_find(), those of users and of states in
 * lease_free_detached(), both of lease/lease.c; the two looks for the name, in lease_alloc_start() of
 * lease/request.c and enter_locked() of ledger/shares.c; session_find_arena() in arena_handle() of
 * rpc/grants.c; the comparison of users in revoke_here() of rpc/operate.c. */
static void quota_names_and_ids_of_others_are_theirs(void **state)
{
	char word[MAX_WORD];

	begin(BY_PAGES);
	loot = alloc(&a, 8, &(struct hp_alloc_options){.name = "theirs", .flags = HP_REVOCABLE});
	loot_detached = alloc(&b, 2, &detached);
	actor_close(&b);
	dut_wait_pool(&dut, "p", "leases", 2);
	loot_arena =
		(uint64_t)operator_number(&dut, "leases", "leases", "lease", word_of(loot, word), "arena");
	actor_fill(&a, loot, 1);
	raw_join(raw_fork(OTHER, thief, NULL));
	raw_join(raw_fork(USER, thief, &loot));
	assert_int_equal(actor_count_other(&a, loot, 1), 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 10);
	assert_int_equal(actor_free(&a, loot), 0);
	assert_int_equal(actor_free_id(&a, loot_detached), 0);
	end();
}

static int tear_down(void **state)
{
	dut_kill_all(state);
	hugetlb_unlock();
	return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(quota_of_pages_holds_for_every_kind_of_lease),
		TEST(quota_of_pages_holds_for_growing_in_place),
		TEST(quota_of_pages_counts_what_workers_cache),
		TEST(quota_of_pages_stays_with_the_maker_of_what_others_opened),
		TEST(quota_of_pages_outlives_detached_holders_and_connections),
		TEST(quota_of_pages_lets_only_as_many_wait_no_more),
		TEST(quota_of_pages_counts_what_is_pinned),
		TEST(quota_of_leases_holds_for_every_kind_of_lease),
		TEST(quota_of_names_holds_in_all_sessions),
		TEST(quota_resizes_that_wait_do_not_add_up),
		TEST(quota_names_and_ids_of_others_are_theirs),
	};

	return cmocka_run_group_tests_name("system_quota", tests, NULL, NULL);
}

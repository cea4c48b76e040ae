/* test_ledger.c - ids, records and names. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/ledger/ledger.h"
#include "daemon/ledger/shares.h"

static struct lease_record *grant(struct ledger *ledger, unsigned worker)
{
	struct lease_record *record = ledger_take(ledger, worker);

	assert_non_null(record);
	record->state = LEASE_LEASED;
	return record;
}

static void strike(struct ledger *ledger, unsigned worker, struct lease_record *record)
{
	record->state = LEASE_NONE;
	ledger_put(ledger, worker, record);
}

static void ledger_find_of_live_id_finds(void **state)
{
	struct ledger *ledger = ledger_new(2, 10000);
	struct lease_record *record = grant(ledger, 1), *found = NULL;
	unsigned worker = 9;

	assert_int_equal(ledger_owner(ledger, record->id, &worker), 0);
	assert_int_equal(worker, 1);
	assert_int_equal(ledger_find(ledger, record->id, &found), 0);
	assert_ptr_equal(found, record);
	ledger_free(ledger);
}

static void ledger_find_of_ended_id_says_ended_for_ever(void **state)
{
	struct ledger *ledger = ledger_new(1, 10000);
	uint64_t ids[1000];
	struct lease_record *record;

	for (unsigned i = 0; i < 1000; i++) {
		record = grant(ledger, 0);
		ids[i] = record->id;
		for (unsigned k = 0; k < i; k++)
			assert_int_not_equal(ids[k], ids[i]);
		strike(ledger, 0, record);
	}
	for (unsigned i = 0; i < 1000; i++)
		assert_int_equal(ledger_find(ledger, ids[i], &record), LEDGER_ENDED);
	ledger_free(ledger);
}

/* Its id was never told to anybody: whoever names it must not reach the record. */
static void ledger_find_of_part_says_never(void **state)
{
	struct ledger *ledger = ledger_new(1, 10000);
	struct lease_record *part = ledger_take(ledger, 0), *found = NULL;

	part->state = LEASE_PART;
	assert_int_equal(ledger_find(ledger, part->id, &found), LEDGER_NEVER);
	assert_null(found);
	strike(ledger, 0, part);
	ledger_free(ledger);
}

static void ledger_find_of_id_that_never_was_says_never(void **state)
{
	struct ledger *ledger = ledger_new(1, 10000);
	struct lease_record *record = grant(ledger, 0), *found;
	unsigned worker;

	assert_int_equal(ledger_owner(ledger, 0, &worker), LEDGER_NEVER);
	assert_int_equal(ledger_owner(ledger, UINT64_MAX, &worker), LEDGER_NEVER);
	/* a later generation of a live slot, a slot not used yet, a generation 0 */
	assert_int_equal(ledger_find(ledger, record->id + (1u << LEDGER_SLOT_BITS), &found), LEDGER_NEVER);
	assert_int_equal(ledger_find(ledger, record->id + 1, &found), LEDGER_NEVER);
	assert_int_equal(ledger_find(ledger, ledger_slot(record->id), &found), LEDGER_NEVER);
	ledger_free(ledger);
}

static void ledger_take_past_max_fails(void **state)
{
	struct ledger *ledger = ledger_new(1, 1);
	unsigned n = 0;

	while (ledger_take(ledger, 0))
		n++;
	assert_true(n >= 1 && n <= 2 * LEDGER_CHUNK_SLOTS);
	ledger_free(ledger);
}

static void ledger_record_is_small(void **state)
{
	printf("a lease record has %zu bytes\n", sizeof(struct lease_record));
	assert_true(sizeof(struct lease_record) <= 128);
}

static const struct share_runs some_runs = {
	.list = {.n = 2, .runs = {{UINT64_C(1) << 32, 3}, {UINT64_C(2) << 32 | 5, 1}}},
	.arenas = {11, 12},
};

static void shares_names_are_unique_until_ended(void **state)
{
	const struct share_terms terms = {.uid = 1000, .mode = 0600};
	struct shares *shares = shares_new();
	char name[SHARE_NAME_MAX + 1];
	struct share_runs runs;

	assert_int_equal(shares_add(shares, 7, "frames", &terms, &some_runs), 0);
	assert_int_equal(shares_add(shares, 8, "frames", &terms, &some_runs), SHARE_NAME_TAKEN);
	assert_int_equal(shares_find(shares, "frames"), 7);
	shares_name_of(shares, 7, name);
	assert_string_equal(name, "frames");
	shares_name_of(shares, 8, name);
	assert_string_equal(name, "");
	shares_end_name(shares, 7);
	assert_int_equal(shares_find(shares, "frames"), 0);
	assert_int_equal(shares_add(shares, 8, "frames", &terms, &some_runs), 0);
	assert_true(shares_leave(shares, 7, 7, &runs));
	assert_int_equal(runs.list.n, 2);
	assert_int_equal(runs.arenas[1], 12);
	shares_free(shares);
}

static uint64_t visited_by_end(struct shares *shares, uint64_t arena, unsigned n_expected)
{
	const uint64_t before = shares_visited(shares);
	struct run_list runs;

	shares_condemn_arena(shares, arena);
	for (unsigned i = 0; i < n_expected; i++) {
		assert_true(shares_drop_arena(shares, arena, &runs));
		assert_int_equal(runs.n, 1);
	}
	assert_false(shares_drop_arena(shares, arena, &runs));
	return shares_visited(shares) - before;
}

/* The end of an arena costs what lies in it, however many names there are elsewhere. */
static void shares_end_of_arena_visits_only_its_own(void **state)
{
	const struct share_terms terms = {.uid = 1000, .mode = 0600};
	struct share_runs one = {.list = {.n = 1, .runs = {{0, 1}}}};
	struct shares *shares = shares_new();
	uint64_t few, many;
	char name[32];

	for (uint64_t id = 1; id <= 20000; id++) {
		snprintf(name, sizeof(name), "name-%u", (unsigned)id);
		one.arenas[0] = id <= 10 ? 1 : id;
		assert_int_equal(shares_add(shares, id, name, &terms, &one), 0);
		if (id == 12)
			few = visited_by_end(shares, 12, 1);
	}
	many = visited_by_end(shares, 19999, 1);
	assert_int_equal(many, few);
	assert_in_range(many, 1, 8);
	assert_in_range(visited_by_end(shares, 1, 10), 10, 32);
	shares_free(shares);
}

/* All its holders are found one by one, and nobody else comes in meanwhile. */
static void shares_evicted_leaves_holder_by_holder(void **state)
{
	const struct share_terms terms = {.uid = 1000, .mode = 0666};
	const struct share_who who = {.uid = 1001};
	struct shares *shares = shares_new();
	struct share_runs runs;
	struct share_terms got;
	uint64_t id, holder;
	unsigned n = 0;

	assert_int_equal(shares_add(shares, 7, "frames", &terms, &some_runs), 0);
	for (uint64_t record = 100; record < 110; record++)
		assert_int_equal(shares_open(shares, "frames", &who, true, record, &id, &got, &runs), 0);
	assert_true(shares_begin_eviction(shares, 7));
	assert_false(shares_begin_eviction(shares, 7));
	assert_int_equal(shares_open(shares, "frames", &who, true, 200, &id, &got, &runs), SHARE_NONE);
	for (; (holder = shares_some_holder(shares, 7)) != 0; n++)
		assert_int_equal(shares_leave(shares, 7, holder, &runs), n == 10);
	assert_int_equal(n, 11);
	assert_int_equal(runs.list.n, 2);
	assert_false(shares_begin_eviction(shares, 7));
	shares_free(shares);
}

/* Who may open a lease of uid 1000 and gid 100, in mode 0640, with a list. */
static void shares_open_is_as_a_file_says(void **state)
{
	static const gid_t groups[] = {5, 100};
	static const uid_t maker = 1000, other = 1002;
	static const struct {
		struct share_who who;
		bool write;
		int result;
	} cases[] = {
		{{.uid = 0, .is_privileged = true}, true, 0},
		{{.uid = 0},
		 false,
		 SHARE_NOT_ALLOWED}, /* where the configuration says that root is nobody special */
		{{.uid = 1002, .maker = &maker}, true, 0},
		{{.uid = 1002, .maker = &other}, true, SHARE_OTHER_MAKER},
		{{.uid = 0, .is_privileged = true, .maker = &other}, true, SHARE_OTHER_MAKER},
		{{.uid = 1001, .maker = &other}, false, SHARE_NOT_ALLOWED}, /* nor told whose it is */
		{{.uid = 1000}, true, 0},
		{{.uid = 1001}, false, SHARE_NOT_ALLOWED},
		{{.uid = 1001, .gid = 100}, false, 0},
		{{.uid = 1001, .gid = 100}, true, SHARE_NOT_ALLOWED},
		{{.uid = 1001, .gid = 7, .groups = groups, .n_groups = 2}, false, 0},
		{{.uid = 1002}, true, 0},  /* named for writing */
		{{.uid = 1003}, false, 0}, /* named for reading */
		{{.uid = 1003}, true, SHARE_NOT_ALLOWED},
		{{.uid = 1004, .gid = 8}, true, 0}, /* by group */
	};
	const struct share_terms terms = {
		.uid = 1000,
		.gid = 100,
		.mode = 0640,
		.access = {{.id = 1002, .write = true},
			   {.id = 1003},
			   {.id = 8, .is_group = true, .write = true}},
		.n_access = 3,
	};
	struct shares *shares = shares_new();
	struct share_terms got;
	struct share_runs runs;
	uint64_t id;

	assert_int_equal(shares_add(shares, 7, "frames", &terms, &some_runs), 0);
	assert_int_equal(shares_open(shares, "frame", &cases[0].who, false, 70, &id, &got, &runs),
			 SHARE_NONE);
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int r = shares_open(shares, "frames", &cases[i].who, cases[i].write, 70, &id, &got, &runs);

		assert_int_equal(r, cases[i].result);
		if (r == 0) {
			assert_true(shares_has_others(shares, 7));
			assert_int_equal(shares_set_runs(shares, 7, &some_runs), SHARE_BUSY);
			assert_false(shares_leave(shares, id, 70, &runs));
		}
	}
	assert_false(shares_has_others(shares, 7));
	shares_free(shares);
}

static void shares_pages_go_with_the_last_holder(void **state)
{
	const struct share_terms terms = {.uid = 1000, .mode = 0600};
	const struct share_who who = {.uid = 1000};
	struct shares *shares = shares_new();
	struct share_terms got;
	struct share_runs runs;
	struct run_list dropped;
	uint64_t id;

	assert_int_equal(shares_add(shares, 7, "frames", &terms, &some_runs), 0);
	assert_int_equal(shares_open(shares, "frames", &who, true, 70, &id, &got, &runs), 0);
	shares_end_name(shares, 7);
	assert_int_equal(shares_open(shares, "frames", &who, true, 70, &id, &got, &runs), SHARE_NONE);
	assert_false(shares_leave(shares, 7, 7, &runs));
	assert_true(shares_drop_arena(shares, 11, &dropped));
	assert_int_equal(dropped.n, 1);
	assert_int_equal(dropped.runs[0].n_pages, 3);
	assert_false(shares_drop_arena(shares, 11, &dropped));
	assert_true(shares_leave(shares, 7, 70, &runs));
	assert_int_equal(runs.list.n, 1);
	assert_int_equal(runs.arenas[0], 12);
	shares_free(shares);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ledger_find_of_live_id_finds),
		cmocka_unit_test(ledger_find_of_ended_id_says_ended_for_ever),
		cmocka_unit_test(ledger_find_of_id_that_never_was_says_never),
		cmocka_unit_test(ledger_find_of_part_says_never),
		cmocka_unit_test(ledger_take_past_max_fails),
		cmocka_unit_test(ledger_record_is_small),
		cmocka_unit_test(shares_names_are_unique_until_ended),
		cmocka_unit_test(shares_open_is_as_a_file_says),
		cmocka_unit_test(shares_pages_go_with_the_last_holder),
		cmocka_unit_test(shares_end_of_arena_visits_only_its_own),
		cmocka_unit_test(shares_evicted_leaves_holder_by_holder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

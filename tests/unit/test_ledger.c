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

static void ledger_names_are_unique_until_dropped(void **state)
{
	struct ledger *ledger = ledger_new(1, 100);
	char name[LEDGER_NAME_MAX + 1];

	assert_int_equal(ledger_name_take(ledger, "frames", 7), 0);
	assert_int_equal(ledger_name_take(ledger, "frames", 8), LEDGER_NAME_TAKEN);
	assert_int_equal(ledger_name_find(ledger, "frames"), 7);
	ledger_name_of(ledger, 7, name);
	assert_string_equal(name, "frames");
	ledger_name_of(ledger, 8, name);
	assert_string_equal(name, "");
	ledger_name_drop(ledger, 7);
	assert_int_equal(ledger_name_find(ledger, "frames"), 0);
	assert_int_equal(ledger_name_take(ledger, "frames", 8), 0);
	ledger_free(ledger);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ledger_find_of_live_id_finds),
		cmocka_unit_test(ledger_find_of_ended_id_says_ended_for_ever),
		cmocka_unit_test(ledger_find_of_id_that_never_was_says_never),
		cmocka_unit_test(ledger_take_past_max_fails),
		cmocka_unit_test(ledger_record_is_small),
		cmocka_unit_test(ledger_names_are_unique_until_dropped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_balance.c - pages in limbo told from those that others took: the arithmetic alone, by readings that
 * the tests make up.
 *
 * The same on the kernel's own counters: test_backing.c.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/backing/balance.h"

/* Readings above the floor tell nothing; one below it is a return, of no more than is missing. */
static void balance_foreign_pages_come_and_go_nothing_returns(void **state)
{
	struct balance balance = {0};
	struct limbo limbo;

	balance_add(&balance, &limbo);
	balance_gain(&balance, 10);
	assert_int_equal(balance_foreign(&balance, 15), 5);
	assert_int_equal(balance_foreign(&balance, 9), 0);
	assert_int_equal(balance_lose_watched(&balance, &limbo, 10, 15, 8), 3); /* 5 foreign, 3 in limbo */
	assert_int_equal(balance_foreign(&balance, 8), 5);
	balance_settle(&balance, 20);
	balance_settle(&balance, 8);
	assert_int_equal(limbo.returned_pages, 0);
	balance_settle(&balance, 6);
	assert_int_equal(limbo.returned_pages, 2);
	balance_settle(&balance, 9);
	balance_settle(&balance, 6);
	assert_int_equal(limbo.returned_pages, 2);
	balance_settle(&balance, 0);
	assert_int_equal(limbo.returned_pages, 3);
	assert_int_equal(balance.limbo_pages, 0);
}

/* Three of four pages are back: nobody can miss more than one, and each of them may miss that one. */
static void balance_return_clears_nobody_who_may_still_miss_pages(void **state)
{
	struct balance balance = {0};
	struct limbo old, young;

	balance_add(&balance, &old);
	balance_add(&balance, &young);
	balance_gain(&balance, 4);
	assert_int_equal(balance_lose_watched(&balance, &young, 2, 4, 4), 2);
	assert_int_equal(balance_lose_watched(&balance, &old, 2, 4, 4), 2);
	balance_settle(&balance, 2);
	assert_int_equal(old.returned_pages + young.returned_pages, 0);
	balance_settle(&balance, 1);
	assert_int_equal(old.returned_pages, 1);
	assert_int_equal(young.returned_pages, 1);
	balance_settle(&balance, 0);
	assert_int_equal(old.returned_pages, 2);
	assert_int_equal(young.returned_pages, 2);
	assert_int_equal(balance.limbo_pages, 0);
}

/* What it misses is somebody else's then; the others' shares stay what they can be. */
static void balance_removed_backing_takes_no_share_of_others(void **state)
{
	struct balance balance = {0};
	struct limbo one, other;

	balance_add(&balance, &one);
	balance_add(&balance, &other);
	balance_gain(&balance, 5);
	assert_int_equal(balance_lose_watched(&balance, &one, 3, 5, 5), 3);
	assert_int_equal(balance_lose_watched(&balance, &other, 2, 5, 5), 2);
	balance_remove(&balance, &one);
	assert_int_equal(balance.limbo_pages, 2);
	assert_int_equal(other.pages, 2);
	balance_remove(&balance, &other);
	assert_int_equal(balance.limbo_pages, 0);
}

/* A client's private copies go with the file: more pages come back than the file had. */
static void balance_copies_dropped_by_truncation_are_no_return(void **state)
{
	struct balance balance = {0};
	struct limbo limbo;

	balance_add(&balance, &limbo);
	balance_gain(&balance, 4);
	assert_int_equal(balance_lose_watched(&balance, &limbo, 2, 4, 3), 1);
	assert_int_equal(balance_lose_watched(&balance, &limbo, 2, 6, 1), 0); /* 2 pages and 3 copies */
	balance_settle(&balance, 1);
	assert_int_equal(limbo.returned_pages, 0);
	balance_settle(&balance, 0);
	assert_int_equal(limbo.returned_pages, 1);
}

/* A client that unmapped a file while it was truncated lets go of its pages while the next one is. */
static void balance_return_during_a_truncation_is_a_return(void **state)
{
	struct balance balance = {0};
	struct limbo limbo;

	balance_add(&balance, &limbo);
	balance_gain(&balance, 7);
	assert_int_equal(balance_lose_watched(&balance, &limbo, 3, 12, 12), 3); /* 5 foreign */
	assert_int_equal(balance_lose_watched(&balance, &limbo, 4, 12, 5), 0);
	assert_int_equal(limbo.returned_pages, 3);
	assert_int_equal(balance.limbo_pages, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(balance_foreign_pages_come_and_go_nothing_returns),
		cmocka_unit_test(balance_return_clears_nobody_who_may_still_miss_pages),
		cmocka_unit_test(balance_removed_backing_takes_no_share_of_others),
		cmocka_unit_test(balance_copies_dropped_by_truncation_are_no_return),
		cmocka_unit_test(balance_return_during_a_truncation_is_a_return),
	};

	return cmocka_run_group_tests_name("test_balance", tests, NULL, NULL);
}

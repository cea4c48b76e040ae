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
	assert_int_equal(balance_lose_watched(&balance, &limbo, 10, 15, 8), 3); /* 5 foreign, 3 in limbo */
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

/* By when they were added, and not by when they began to miss pages. */
static void balance_return_goes_to_oldest_first(void **state)
{
	struct balance balance = {0};
	struct limbo old, young;

	balance_add(&balance, &old);
	balance_add(&balance, &young);
	balance_gain(&balance, 4);
	assert_int_equal(balance_lose_watched(&balance, &young, 2, 4, 4), 2);
	assert_int_equal(balance_lose_watched(&balance, &old, 2, 4, 4), 2);
	balance_settle(&balance, 1);
	assert_int_equal(old.returned_pages, 2);
	assert_int_equal(young.returned_pages, 1);
	balance_remove(&balance, &young);
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
		cmocka_unit_test(balance_return_goes_to_oldest_first),
		cmocka_unit_test(balance_copies_dropped_by_truncation_are_no_return),
		cmocka_unit_test(balance_return_during_a_truncation_is_a_return),
	};

	return cmocka_run_group_tests_name("test_balance", tests, NULL, NULL);
}

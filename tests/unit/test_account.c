/* test_account.c - what users may make the daemon keep: one user, all of them, and root. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/lease/account.h"

static const struct account_limits limits = {.user = {4, 100, 100, 100}, .all = {16, 1600, 1600, 1600}};

static void account_of_a_user_is_one_however_often_it_is_had(void **state)
{
	struct accounts *accounts = accounts_new(&limits);
	struct account *one = account_get(accounts, 1000), *again = account_get(accounts, 1000);
	char message[ACCOUNT_MESSAGE_MAX];

	assert_ptr_equal(one, again);
	assert_int_equal(account_charge(one, ACCOUNT_WAITING, 4), 0);
	assert_int_equal(account_charge(again, ACCOUNT_WAITING, 1), ACCOUNT_USER_FULL);
	assert_false(account_has_room(again, ACCOUNT_WAITING));
	assert_non_null(strstr(account_explain(one, ACCOUNT_WAITING, ACCOUNT_USER_FULL, message),
			       "one user may have 4 waiting requests: "));
	account_discharge(one, ACCOUNT_WAITING, 1);
	assert_int_equal(account_charge(again, ACCOUNT_WAITING, 1), 0);
	account_discharge(one, ACCOUNT_WAITING, 4);
	assert_int_equal(account_charge(one, ACCOUNT_BYTES, UINT64_MAX), ACCOUNT_USER_FULL);
	assert_int_equal(account_used(one, ACCOUNT_BYTES), 0);
	account_put(one);
	account_put(again);
	accounts_free(accounts);
}

static void account_of_all_is_bounded_and_the_rest_is_roots(void **state)
{
	struct accounts *accounts = accounts_new(&limits);
	struct account *users[5], *root = account_get(accounts, 0);
	unsigned n_charged = 0;

	for (uid_t i = 0; i < 5; i++) {
		users[i] = account_get(accounts, 1000 + i);
		while (account_charge(users[i], ACCOUNT_WAITING, 1) == 0)
			n_charged++;
	}
	assert_int_equal(n_charged, 15);
	assert_int_equal(account_charge(users[4], ACCOUNT_WAITING, 1), ACCOUNT_FULL);
	assert_int_equal(account_charge(root, ACCOUNT_WAITING, 1), 0);
	assert_int_equal(account_charge(root, ACCOUNT_WAITING, 1), ACCOUNT_FULL);
	account_discharge(root, ACCOUNT_WAITING, 1);
	for (uid_t i = 0; i < 5; i++) {
		account_discharge(users[i], ACCOUNT_WAITING, account_used(users[i], ACCOUNT_WAITING));
		account_put(users[i]);
	}
	account_put(root);
	accounts_free(accounts);
}

static void account_limits_follow_what_is_served(void **state)
{
	const struct account_limits small = account_limits_for(0),
				    large = account_limits_for(UINT64_C(1) << 50),
				    middle = account_limits_for(UINT64_C(16) << 30);

	for (unsigned kind = 0; kind < N_ACCOUNT_KINDS; kind++) {
		assert_true(small.user[kind] > 0 && small.user[kind] < small.all[kind]);
		assert_true(small.all[kind] <= middle.all[kind] && middle.all[kind] <= large.all[kind]);
	}
	assert_int_equal(middle.all[ACCOUNT_BYTES], UINT64_C(256) << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(account_of_a_user_is_one_however_often_it_is_had),
		cmocka_unit_test(account_of_all_is_bounded_and_the_rest_is_roots),
		cmocka_unit_test(account_limits_follow_what_is_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

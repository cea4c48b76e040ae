/* test_seats.c - how many come in: in all, of one user, and root. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/lease/seats.h"

#define ALICE 1001
#define BOB   1002

/* Take until refused; returns how many. */
static unsigned take_all(struct seats *seats, uid_t uid, enum seat kind, int expected)
{
	unsigned n = 0;
	int r;

	while ((r = seats_take(seats, uid, kind)) == 0)
		n++;
	assert_int_equal(r, expected);
	return n;
}

static void leave_all(struct seats *seats, uid_t uid, enum seat kind, unsigned n)
{
	while (n-- > 0)
		seats_leave(seats, uid, kind);
}

static void seats_of_one_user_are_half(void **state)
{
	struct seats *seats = seats_new(10, 0);

	assert_int_equal(seats_take(seats, ALICE, SEAT_SESSION), 0);
	assert_int_equal(take_all(seats, ALICE, SEAT_CONNECTION, SEATS_USER_FULL), 4);
	assert_int_equal(take_all(seats, BOB, SEAT_SESSION, SEATS_FULL), 5);
	seats_leave(seats, ALICE, SEAT_SESSION);
	assert_int_equal(seats_take(seats, BOB, SEAT_SESSION), SEATS_USER_FULL);
	assert_int_equal(seats_take(seats, ALICE, SEAT_CONNECTION), 0);
	leave_all(seats, ALICE, SEAT_CONNECTION, 5);
	leave_all(seats, BOB, SEAT_SESSION, 5);
	assert_int_equal(seats_taken(seats), 0);
	seats_free(seats);
}

static void seats_of_root_are_all(void **state)
{
	for (unsigned user_sessions = 0; user_sessions <= 2; user_sessions += 2) {
		struct seats *seats = seats_new(10, user_sessions);

		assert_int_equal(take_all(seats, 0, SEAT_SESSION, SEATS_FULL), 10);
		leave_all(seats, 0, SEAT_SESSION, 10);
		seats_free(seats);
	}
}

static void seats_with_a_limit_count_sessions_apart(void **state)
{
	struct seats *seats = seats_new(100, 3);
	unsigned n_connections;

	assert_int_equal(take_all(seats, ALICE, SEAT_SESSION, SEATS_USER_FULL), 3);
	/* There is room to be told so. */
	n_connections = take_all(seats, ALICE, SEAT_CONNECTION, SEATS_USER_FULL);
	assert_in_range(n_connections, 4, 10);
	assert_int_equal(seats_take(seats, BOB, SEAT_SESSION), 0);
	seats_leave(seats, ALICE, SEAT_SESSION);
	assert_int_equal(take_all(seats, ALICE, SEAT_SESSION, SEATS_USER_FULL), 1);
	leave_all(seats, ALICE, SEAT_SESSION, 3);
	leave_all(seats, ALICE, SEAT_CONNECTION, n_connections);
	seats_leave(seats, BOB, SEAT_SESSION);
	seats_free(seats);
}

static void seats_with_a_limit_above_all_are_all(void **state)
{
	struct seats *seats = seats_new(4, 100);

	assert_int_equal(take_all(seats, ALICE, SEAT_SESSION, SEATS_FULL), 4);
	leave_all(seats, ALICE, SEAT_SESSION, 4);
	seats_free(seats);
}

static void seats_are_kept_for_root(void **state)
{
	struct seats *seats = seats_new(32, 0);

	assert_int_equal(take_all(seats, ALICE, SEAT_SESSION, SEATS_USER_FULL), 16);
	assert_int_equal(take_all(seats, BOB, SEAT_CONNECTION, SEATS_FULL), 14);
	assert_int_equal(take_all(seats, 0, SEAT_CONNECTION, SEATS_FULL), 2);
	leave_all(seats, ALICE, SEAT_SESSION, 16);
	leave_all(seats, BOB, SEAT_CONNECTION, 14);
	leave_all(seats, 0, SEAT_CONNECTION, 2);
	seats_free(seats);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(seats_are_kept_for_root),
		cmocka_unit_test(seats_of_one_user_are_half),
		cmocka_unit_test(seats_of_root_are_all),
		cmocka_unit_test(seats_with_a_limit_count_sessions_apart),
		cmocka_unit_test(seats_with_a_limit_above_all_are_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

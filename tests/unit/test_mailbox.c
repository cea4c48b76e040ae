/* test_mailbox.c - letters are delivered once, in order, and as many at a time as the owner likes. */
#include <config.h>

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "daemon/base/mailbox.h"

#define N_LETTERS 10

static unsigned delivered[2 * N_LETTERS], n_delivered;

struct numbered {
	struct letter letter;
	unsigned number;
	struct mailbox *again; /* posted once more from its delivery */
};

static void note(struct letter *letter)
{
	struct numbered *numbered = (struct numbered *)letter;
	struct mailbox *box = numbered->again;

	delivered[n_delivered++] = numbered->number;
	numbered->again = NULL;
	if (box)
		mailbox_post(box, letter);
}

static bool is_readable(const struct mailbox *box)
{
	struct pollfd poll_fd = {.fd = box->event_fd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) == 1;
}

static void post_all(struct mailbox *box, struct numbered *letters)
{
	n_delivered = 0;
	for (unsigned i = 0; i < N_LETTERS; i++) {
		letters[i] = (struct numbered){.letter = {.deliver = note}, .number = i};
		mailbox_post(box, &letters[i].letter);
	}
}

static void assert_in_order(void)
{
	assert_int_equal(n_delivered, N_LETTERS);
	for (unsigned i = 0; i < N_LETTERS; i++)
		assert_int_equal(delivered[i], i);
}

static void mailbox_delivers_in_order(void **state)
{
	struct numbered letters[N_LETTERS];
	struct mailbox box;

	assert_int_equal(mailbox_init(&box), 0);
	assert_false(is_readable(&box));
	post_all(&box, letters);
	assert_true(is_readable(&box));
	assert_int_equal(mailbox_deliver(&box), N_LETTERS);
	assert_in_order();
	assert_false(is_readable(&box));
	assert_int_equal(mailbox_deliver(&box), 0);
	mailbox_fini(&box);
}

static void mailbox_with_letters_left_stays_readable(void **state)
{
	struct numbered letters[N_LETTERS], late;
	struct mailbox box;

	assert_int_equal(mailbox_init(&box), 0);
	post_all(&box, letters);
	assert_int_equal(mailbox_deliver_some(&box, 4), 4);
	assert_true(is_readable(&box));
	late = (struct numbered){.letter = {.deliver = note}, .number = N_LETTERS};
	mailbox_post(&box, &late.letter);
	assert_int_equal(mailbox_deliver_some(&box, 4), 4);
	assert_true(is_readable(&box));
	assert_int_equal(mailbox_deliver_some(&box, 4), 3);
	assert_false(is_readable(&box));
	assert_int_equal(n_delivered, N_LETTERS + 1);
	for (unsigned i = 0; i <= N_LETTERS; i++)
		assert_int_equal(delivered[i], i);
	mailbox_fini(&box);
}

/* Else two who write to each other would never come back. */
static void mailbox_leaves_what_arrives_meanwhile(void **state)
{
	struct numbered letters[N_LETTERS];
	struct mailbox box;

	assert_int_equal(mailbox_init(&box), 0);
	post_all(&box, letters);
	letters[0].again = &box;
	assert_int_equal(mailbox_deliver(&box), N_LETTERS);
	assert_in_order();
	assert_true(is_readable(&box));
	assert_int_equal(mailbox_deliver(&box), 1);
	assert_int_equal(delivered[N_LETTERS], 0);
	mailbox_fini(&box);
}

static void mailbox_can_be_rung_without_a_letter(void **state)
{
	struct mailbox box;

	assert_int_equal(mailbox_init(&box), 0);
	mailbox_ring(&box);
	assert_true(is_readable(&box));
	assert_int_equal(mailbox_wait(&box, 0), 0);
	assert_false(is_readable(&box));
	mailbox_fini(&box);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mailbox_delivers_in_order),
		cmocka_unit_test(mailbox_with_letters_left_stays_readable),
		cmocka_unit_test(mailbox_leaves_what_arrives_meanwhile),
		cmocka_unit_test(mailbox_can_be_rung_without_a_letter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

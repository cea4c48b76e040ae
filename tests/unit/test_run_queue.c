/* test_run_queue.c - whose turn is next on a worker. Turns are counted, nothing is timed. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/rpc/run_queue.h"
#include "tests/model/model_random.h"

#define N_MANY 200

/* The next item's turn; NULL: nothing is ready. */
static struct run_item *run_next(struct run_queue *queue)
{
	struct run_item *item = run_queue_take(queue);

	if (item)
		run_queue_count_turn(queue);
	return item;
}

static void run_queue_gives_a_user_with_many_items_no_more_turns_than_one_with_one(void **state)
{
	struct run_queue queue;
	struct run_item many[N_MANY] = {0}, one = {0}, *item;
	struct run_user *flooder, *other;
	unsigned n_others = 0;

	run_queue_init(&queue);
	flooder = run_queue_get_user(&queue, 1001);
	other = run_queue_get_user(&queue, 1002);
	for (unsigned i = 0; i < N_MANY; i++)
		run_queue_add(&queue, flooder, &many[i]);
	run_queue_add(&queue, other, &one);
	for (unsigned i = 0; i < 10 * N_MANY; i++) {
		item = run_next(&queue);
		n_others += item == &one;
		run_queue_add(&queue, item == &one ? other : flooder, item);
	}
	assert_int_equal(n_others, 5 * N_MANY);
	assert_int_equal(run_user_most_waited(other), 1);
	assert_int_equal(run_user_most_waited(flooder), 1);
	for (unsigned i = 0; i < N_MANY; i++)
		run_queue_remove(&many[i]);
	run_queue_remove(&one);
	run_queue_put_user(&queue, flooder);
	run_queue_put_user(&queue, other);
	run_queue_fini(&queue);
}

static void run_queue_serves_items_of_one_user_in_their_order(void **state)
{
	struct run_queue queue;
	struct run_item items[3] = {0};
	struct run_user *user;

	run_queue_init(&queue);
	assert_null(run_queue_take(&queue));
	user = run_queue_get_user(&queue, 1001);
	for (unsigned i = 0; i < 3; i++)
		run_queue_add(&queue, user, &items[i]);
	run_queue_add(&queue, user, &items[0]); /* is queued */
	run_queue_remove(&items[1]);
	run_queue_remove(&items[1]); /* is not */
	assert_ptr_equal(run_next(&queue), &items[0]);
	assert_ptr_equal(run_next(&queue), &items[2]);
	assert_null(run_next(&queue));
	assert_int_equal(run_user_most_waited(user), 0);
	run_queue_put_user(&queue, user);
	run_queue_fini(&queue);
}

/* Of many users who are always ready: one who was idle comes next. */
static void run_queue_serves_who_was_idle_before_who_was_not(void **state)
{
	struct run_queue queue;
	struct run_item items[N_MANY] = {0}, rare = {0};
	struct run_user *users[N_MANY], *idle;

	run_queue_init(&queue);
	idle = run_queue_get_user(&queue, 1);
	for (unsigned i = 0; i < N_MANY; i++) {
		users[i] = run_queue_get_user(&queue, 1000 + i);
		run_queue_add(&queue, users[i], &items[i]);
	}
	for (unsigned round = 0; round < 3; round++) {
		for (unsigned i = 0; i < N_MANY; i++) {
			assert_ptr_equal(run_next(&queue), &items[i]);
			run_queue_add(&queue, users[i], &items[i]);
		}
		run_queue_add(&queue, idle, &rare);
		assert_ptr_equal(run_next(&queue), &rare);
		/* Not so before its place in the round has passed. */
		run_queue_add(&queue, idle, &rare);
		assert_ptr_equal(run_next(&queue), &items[0]);
		run_queue_add(&queue, users[0], &items[0]);
		run_queue_remove(&rare);
		for (unsigned i = 1; i < N_MANY; i++) {
			assert_ptr_equal(run_next(&queue), &items[i]);
			run_queue_add(&queue, users[i], &items[i]);
		}
	}
	for (unsigned i = 0; i < N_MANY; i++) {
		run_queue_remove(&items[i]);
		run_queue_put_user(&queue, users[i]);
	}
	run_queue_put_user(&queue, idle);
	run_queue_fini(&queue);
}

/* Who goes and comes again after each turn has no more of them for it. */
static void run_queue_knows_who_comes_again(void **state)
{
	struct run_queue queue;
	struct run_item ours = {0}, theirs = {0};
	struct run_user *other;
	unsigned n_ours = 0;

	run_queue_init(&queue);
	other = run_queue_get_user(&queue, 1002);
	for (unsigned i = 0; i < 10; i++) {
		struct run_user *user = run_queue_get_user(&queue, 1001);

		run_queue_add(&queue, user, &ours);
		run_queue_add(&queue, other, &theirs);
		n_ours += run_next(&queue) == &ours;
		run_queue_remove(&ours);
		run_queue_put_user(&queue, user);
	}
	assert_int_equal(n_ours, 5);
	run_queue_remove(&theirs);
	run_queue_put_user(&queue, other);
	run_queue_fini(&queue);
}

static void run_queue_is_one_user_by_uid(void **state)
{
	struct run_queue queue;
	struct run_user *one, *other;

	run_queue_init(&queue);
	one = run_queue_get_user(&queue, 1001);
	other = run_queue_get_user(&queue, 1002);
	assert_ptr_not_equal(one, other);
	assert_ptr_equal(run_queue_get_user(&queue, 1001), one);
	run_queue_put_user(&queue, run_queue_ref_user(one));
	run_queue_put_user(&queue, one);
	assert_ptr_equal(run_queue_get_user(&queue, 1001), one);
	run_queue_put_user(&queue, one);
	run_queue_put_user(&queue, one);
	run_queue_put_user(&queue, other);
	assert_null(run_queue_put_user(&queue, NULL));
	run_queue_fini(&queue);
}

/* ---- users who come and go at random ---- */

#define N_USERS      6
#define N_ITEMS      8 /* of each */
#define N_OPERATIONS 200000

struct user_model {
	struct run_user *user; /* NULL: is not here */
	struct run_item items[N_ITEMS];
	unsigned n_ready;
	unsigned n_turns[N_USERS]; /* of others, while this one is ready, since its last */
	uint64_t most_waited;
};

static void model_add(struct run_queue *queue, struct user_model *model, unsigned item)
{
	if (model->items[item].owner)
		return;
	if (model->n_ready++ == 0)
		memset(model->n_turns, 0, sizeof(model->n_turns));
	run_queue_add(queue, model->user, &model->items[item]);
}

static void model_remove(struct user_model *model, unsigned item)
{
	if (model->items[item].owner)
		model->n_ready--;
	run_queue_remove(&model->items[item]);
}

static unsigned user_of(const struct user_model *models, const struct run_item *item)
{
	for (unsigned i = 0; i < N_USERS; i++)
		if (item >= models[i].items && item < models[i].items + N_ITEMS)
			return i;
	fail_msg("an item of nobody's");
	return 0;
}

/* One turn of each other user at most has passed for the one whose turn it is. */
static void model_run(struct run_queue *queue, struct user_model *models)
{
	struct run_item *item = run_next(queue);
	unsigned i, n_waited = 0;

	if (!item) {
		for (i = 0; i < N_USERS; i++)
			assert_int_equal(models[i].n_ready, 0);
		return;
	}
	i = user_of(models, item);
	for (unsigned k = 0; k < N_USERS; k++) {
		assert_true(models[i].n_turns[k] <= 1);
		n_waited += models[i].n_turns[k];
	}
	if (n_waited > models[i].most_waited)
		models[i].most_waited = n_waited;
	assert_int_equal(run_user_most_waited(models[i].user), models[i].most_waited);
	models[i].n_ready--;
	memset(models[i].n_turns, 0, sizeof(models[i].n_turns));
	for (unsigned k = 0; k < N_USERS; k++)
		if (k != i && models[k].n_ready > 0)
			models[k].n_turns[i]++;
}

static void model_come_or_go(struct run_queue *queue, struct user_model *model, uid_t uid)
{
	if (!model->user) {
		model->user = run_queue_get_user(queue, uid);
		model->most_waited = run_user_most_waited(model->user);
		return;
	}
	for (unsigned i = 0; i < N_ITEMS; i++)
		model_remove(model, i);
	model->user = run_queue_put_user(queue, model->user);
}

static uint64_t n_operations;

static void run_queue_lets_nobody_wait_for_two_turns_of_another(void **state)
{
	struct user_model models[N_USERS] = {0};
	struct run_queue queue;

	run_queue_init(&queue);
	for (uint64_t n = 0; n < n_operations; n++) {
		struct user_model *model = &models[random_below(N_USERS)];
		const unsigned what = (unsigned)random_below(100);

		if (what < 2)
			model_come_or_go(&queue, model, 1000 + (uid_t)(model - models));
		else if (what < 45)
			model_run(&queue, models);
		else if (model->user && what < 95)
			model_add(&queue, model, (unsigned)random_below(N_ITEMS));
		else
			model_remove(model, (unsigned)random_below(N_ITEMS));
	}
	for (unsigned i = 0; i < N_USERS; i++)
		if (models[i].user)
			model_come_or_go(&queue, &models[i], 0);
	run_queue_fini(&queue);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(run_queue_gives_a_user_with_many_items_no_more_turns_than_one_with_one),
		cmocka_unit_test(run_queue_serves_items_of_one_user_in_their_order),
		cmocka_unit_test(run_queue_serves_who_was_idle_before_who_was_not),
		cmocka_unit_test(run_queue_knows_who_comes_again),
		cmocka_unit_test(run_queue_is_one_user_by_uid),
		cmocka_unit_test(run_queue_lets_nobody_wait_for_two_turns_of_another),
	};

	n_operations = model_random_init(argc, argv, N_OPERATIONS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

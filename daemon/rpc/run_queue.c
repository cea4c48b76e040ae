/* run_queue.c - see run_queue.h. */
#include <config.h>

#include <search.h>
#include <stdlib.h>

#include "daemon/base/assert.h"
#include "daemon/rpc/run_queue.h"

struct run_user {
	uid_t uid;
	unsigned n_refs;
	struct run_items items;  /* ready, in the order in which they became so */
	struct run_users *list;  /* NULL: in neither */
	uint64_t ready_at_turns; /* what n_turns was when the first became ready, or at the last turn */
	uint64_t most_waited;    /* turns */
	TAILQ_ENTRY(run_user) link;
};

static int compare_uid(const void *a, const void *b)
{
	uid_t x = ((const struct run_user *)a)->uid, y = ((const struct run_user *)b)->uid;

	return (x > y) - (x < y);
}

static void set_list(struct run_user *user, struct run_users *list)
{
	if (user->list)
		TAILQ_REMOVE(user->list, user, link);
	if (list)
		TAILQ_INSERT_TAIL(list, user, link);
	user->list = list;
}

static void maybe_free(struct run_queue *queue, struct run_user *user)
{
	if (user->n_refs > 0 || user->list)
		return;
	hp_assert(TAILQ_EMPTY(&user->items));
	tdelete(user, &queue->by_uid, compare_uid);
	free(user);
}

void run_queue_init(struct run_queue *queue)
{
	*queue = (struct run_queue){0};
	TAILQ_INIT(&queue->fresh);
	TAILQ_INIT(&queue->old);
}

void run_queue_fini(struct run_queue *queue)
{
	hp_assert(!run_queue_take(queue));
	hp_assert(!queue->by_uid);
}

struct run_user *run_queue_get_user(struct run_queue *queue, uid_t uid)
{
	struct run_user key = {.uid = uid}, *user, **node = tfind(&key, &queue->by_uid, compare_uid);

	if (node)
		return run_queue_ref_user(*node);
	user = calloc(1, sizeof(*user));
	if (!user)
		return NULL;
	user->uid = uid;
	user->n_refs = 1;
	TAILQ_INIT(&user->items);
	if (!tsearch(user, &queue->by_uid, compare_uid)) {
		free(user);
		return NULL;
	}
	return user;
}

struct run_user *run_queue_ref_user(struct run_user *user)
{
	user->n_refs++;
	return user;
}

struct run_user *run_queue_put_user(struct run_queue *queue, struct run_user *user)
{
	if (!user)
		return NULL;
	hp_assert(user->n_refs > 0);
	user->n_refs--;
	/* One that is in a list stays there until its place in the round has passed: who closes its last
	 * connection and comes again is not new. */
	maybe_free(queue, user);
	return NULL;
}

uint64_t run_user_most_waited(const struct run_user *user)
{
	return user->most_waited;
}

void run_queue_add(struct run_queue *queue, struct run_user *user, struct run_item *item)
{
	if (item->owner)
		return;
	if (TAILQ_EMPTY(&user->items))
		user->ready_at_turns = queue->n_turns;
	item->owner = user;
	TAILQ_INSERT_TAIL(&user->items, item, link);
	if (!user->list)
		set_list(user, &queue->fresh);
}

void run_queue_remove(struct run_item *item)
{
	if (!item->owner)
		return;
	TAILQ_REMOVE(&item->owner->items, item, link);
	item->owner = NULL;
}

/* The user whose turn it is; those that have nothing ready leave their place on the way. */
static struct run_user *first_ready(struct run_queue *queue)
{
	struct run_user *user;

	while ((user = TAILQ_FIRST(&queue->fresh))) {
		set_list(user, &queue->old);
		if (!TAILQ_EMPTY(&user->items))
			return user;
	}
	while ((user = TAILQ_FIRST(&queue->old))) {
		if (!TAILQ_EMPTY(&user->items)) {
			set_list(user, &queue->old);
			return user;
		}
		set_list(user, NULL);
		maybe_free(queue, user);
	}
	return NULL;
}

struct run_item *run_queue_take(struct run_queue *queue)
{
	struct run_user *user = first_ready(queue);
	struct run_item *item;
	uint64_t waited;

	if (!user)
		return NULL;
	item = TAILQ_FIRST(&user->items);
	run_queue_remove(item);
	waited = queue->n_turns - user->ready_at_turns;
	if (waited > user->most_waited)
		user->most_waited = waited;
	/* Its own next turn is not among those that it waits for. */
	user->ready_at_turns = queue->n_turns + 1;
	return item;
}

void run_queue_count_turn(struct run_queue *queue)
{
	queue->n_turns++;
}

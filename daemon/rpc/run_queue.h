/* run_queue.h - what is to be done on a worker: whose turn is next, of those who have something ready.
 *
 * Users take turns, and within a user its connections, so a user with hundreds of connections that all ask
 * for something has no more turns than a user with one. Deficit round robin with two lists, as fq_codel has
 * it, and a turn as the quantum: a user who had nothing ready for a round is new, and comes before those that
 * are old; after one turn it is old, and stays so until its place in the round has passed, whatever it has
 * ready by then. The order depends on what became ready when, and on no clock: a busy machine does not change
 * it.
 *
 * Invariant (test_run_queue): between becoming ready, or its last turn, and its next turn a user waits for
 * one turn of each other user at most. One thread.
 */
#pragma once

#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

struct run_user;

/* Embedded in what has turns. */
struct run_item {
	void (*run)(struct run_item *item); /* constant: its turn */
	struct run_user *owner;             /* NULL: not queued */
	TAILQ_ENTRY(run_item) link;
};

TAILQ_HEAD(run_items, run_item);
TAILQ_HEAD(run_users, run_user);

struct run_queue {
	void *by_uid; /* a tree of the users to whom somebody refers, or that are in a list */
	struct run_users fresh, old;
	uint64_t n_turns; /* see run_queue_count_turn() */
};

void run_queue_init(struct run_queue *queue);
/* Nobody refers to a user any more. */
void run_queue_fini(struct run_queue *queue);

/* The user, with a reference. NULL: no memory. */
struct run_user *run_queue_get_user(struct run_queue *queue, uid_t uid);
struct run_user *run_queue_ref_user(struct run_user *user);
/* Nothing of the user's may be queued when the last reference goes. Returns NULL. NULL is fine. */
struct run_user *run_queue_put_user(struct run_queue *queue, struct run_user *user);
/* The most turns of others for which a turn of the user has had to wait, since the user is known here. */
uint64_t run_user_most_waited(const struct run_user *user);

/* The item has something to do. It may be queued already. */
void run_queue_add(struct run_queue *queue, struct run_user *user, struct run_item *item);
/* It need not be queued. */
void run_queue_remove(struct run_item *item);
/* Take the next item off the queue, for its turn. NULL: nothing is ready. */
struct run_item *run_queue_take(struct run_queue *queue);
/* A turn is spent: whoever is ready meanwhile waits for it. */
void run_queue_count_turn(struct run_queue *queue);

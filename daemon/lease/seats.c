/* seats.c - see seats.h. */
#include <config.h>

#include <errno.h>
#include <search.h>
#include <stdbool.h>
#include <stdlib.h>

#include "daemon/base/assert.h"
#include "daemon/base/lock.h"
#include "daemon/lease/seats.h"

/* A user with all its sessions can still connect: to be told so, to ask who it is, to come back before we
 * noticed that its old connection is broken. */
#define SPARE_CONNECTIONS 4

#define KEPT_SHARE 16
#define KEPT_MAX   16

struct user {
	uid_t uid;
	unsigned n_taken[N_SEAT_KINDS];
};

struct seats {
	unsigned max, kept, user_sessions; /* constant; kept for root */
	bool is_root_bound;                /* constant */
	struct lock lock;
	unsigned n_taken; /* guarded by lock */
	void *users;      /* guarded by lock; a tree */
};

static int compare_user(const void *a, const void *b)
{
	uid_t x = ((const struct user *)a)->uid, y = ((const struct user *)b)->uid;

	return (x > y) - (x < y);
}

struct seats *seats_new(unsigned max, unsigned user_sessions)
{
	struct seats *seats = calloc(1, sizeof(*seats));

	if (!seats)
		return NULL;
	seats->max = max;
	seats->kept = max / KEPT_SHARE < KEPT_MAX ? max / KEPT_SHARE : KEPT_MAX;
	seats->user_sessions = user_sessions;
	lock_init(&seats->lock, LOCK_SESSIONS);
	return seats;
}

struct seats *seats_free(struct seats *seats)
{
	if (!seats)
		return NULL;
	hp_assert(seats->n_taken == 0);
	lock_fini(&seats->lock);
	free(seats);
	return NULL;
}

void seats_bind_root(struct seats *seats)
{
	seats->is_root_bound = true;
	seats->kept = 0;
}

/* Not bound by a user's limits. */
static bool is_free(const struct seats *seats, uid_t uid)
{
	return uid == 0 && !seats->is_root_bound;
}

static unsigned taken_by(const struct user *user)
{
	return user->n_taken[SEAT_CONNECTION] + user->n_taken[SEAT_SESSION];
}

static bool is_full_for(const struct seats *seats, const struct user *user, enum seat kind)
{
	if (is_free(seats, user->uid))
		return false;
	if (seats->user_sessions == 0)
		return taken_by(user) >= seats->max / 2;
	return user->n_taken[kind] >=
	       seats->user_sessions + (kind == SEAT_CONNECTION ? SPARE_CONNECTIONS : 0);
}

static int take_locked(struct seats *seats, uid_t uid, enum seat kind)
{
	struct user key = {.uid = uid}, *user, **node;

	if (seats->n_taken + (is_free(seats, uid) ? 0 : seats->kept) >= seats->max)
		return SEATS_FULL;
	node = tsearch(&key, &seats->users, compare_user);
	if (!node)
		return -ENOMEM;
	if (*node == &key) {
		user = malloc(sizeof(*user));
		if (!user) {
			tdelete(&key, &seats->users, compare_user);
			return -ENOMEM;
		}
		*user = key;
		*node = user;
	}
	user = *node;
	if (is_full_for(seats, user, kind))
		return SEATS_USER_FULL;
	user->n_taken[kind]++;
	seats->n_taken++;
	return 0;
}

int seats_take(struct seats *seats, uid_t uid, enum seat kind)
{
	int r;

	lock_take(&seats->lock);
	r = take_locked(seats, uid, kind);
	lock_drop(&seats->lock);
	return r;
}

void seats_leave(struct seats *seats, uid_t uid, enum seat kind)
{
	struct user key = {.uid = uid}, *user;

	lock_take(&seats->lock);
	user = *(struct user **)tfind(&key, &seats->users, compare_user);
	hp_assert(user->n_taken[kind] > 0);
	seats->n_taken--;
	user->n_taken[kind]--;
	if (taken_by(user) == 0) {
		tdelete(user, &seats->users, compare_user);
		free(user);
	}
	lock_drop(&seats->lock);
}

unsigned seats_taken(struct seats *seats)
{
	unsigned n;

	lock_take(&seats->lock);
	n = seats->n_taken;
	lock_drop(&seats->lock);
	return n;
}

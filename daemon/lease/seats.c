/* seats.c - see seats.h. */
#include <config.h>

#include <errno.h>
#include <search.h>
#include <stdlib.h>

#include "daemon/base/assert.h"
#include "daemon/base/lock.h"
#include "daemon/lease/seats.h"

struct user {
	uid_t uid;
	unsigned n_taken;
};

struct seats {
	unsigned max; /* constant */
	struct lock lock;
	unsigned n_taken; /* guarded by lock */
	void *users;      /* guarded by lock; a tree */
};

static int compare_user(const void *a, const void *b)
{
	uid_t x = ((const struct user *)a)->uid, y = ((const struct user *)b)->uid;

	return (x > y) - (x < y);
}

struct seats *seats_new(unsigned max)
{
	struct seats *seats = calloc(1, sizeof(*seats));

	if (!seats)
		return NULL;
	seats->max = max;
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

static int take_locked(struct seats *seats, uid_t uid)
{
	struct user key = {.uid = uid}, *user, **node;

	if (seats->n_taken >= seats->max)
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
	if (uid != 0 && user->n_taken >= seats->max / 2)
		return SEATS_USER_FULL;
	user->n_taken++;
	seats->n_taken++;
	return 0;
}

int seats_take(struct seats *seats, uid_t uid)
{
	int r;

	lock_take(&seats->lock);
	r = take_locked(seats, uid);
	lock_drop(&seats->lock);
	return r;
}

void seats_leave(struct seats *seats, uid_t uid)
{
	struct user key = {.uid = uid}, *user;

	lock_take(&seats->lock);
	user = *(struct user **)tfind(&key, &seats->users, compare_user);
	seats->n_taken--;
	if (--user->n_taken == 0) {
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

/* account.c - see account.h. */
#include <config.h>

#include "daemon/lease/account.h"

#include <inttypes.h>
#include <search.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/assert.h"
#include "daemon/base/lock.h"

#define MIB            (UINT64_C(1) << 20)
#define SERVED_SHARE   64 /* of the memory that is served, so much is kept for requests */
#define LEAST_BYTES    (64 * MIB)
#define MOST_BYTES     (1024 * MIB)
#define USER_SHARE     8 /* one user may have this part of what all may */
#define USER_WAITING   1024
#define ALL_WAITING    (16 * USER_WAITING)
#define RESERVED_SHARE 16 /* this part of what all may have is root's alone */

static const struct {
	const char *noun, *advice;
} kinds[N_ACCOUNT_KINDS] = {
	[ACCOUNT_WAITING] = {"waiting requests", "let some of them end, or do not wait"},
	[ACCOUNT_BYTES] = {"bytes of the daemon's memory for requests",
			   "let some of your requests end, or ask for fewer items in each"},
	[ACCOUNT_OUTPUT] = {"bytes of replies that were not read", "read them"},
	[ACCOUNT_INPUT] = {"bytes of requests that have not come to their ends",
			   "send them whole, or shorter ones"},
};

struct account {
	struct accounts *accounts; /* constant */
	uid_t uid;                 /* constant */
	unsigned n_refs;           /* guarded by the accounts' lock */
	_Atomic uint64_t used[N_ACCOUNT_KINDS];
};

struct accounts {
	struct account_limits limits; /* constant */
	_Atomic uint64_t used[N_ACCOUNT_KINDS];
	struct lock lock;
	void *users; /* guarded by lock; a tree */
};

struct account_limits account_limits_for(uint64_t served_bytes)
{
	uint64_t bytes = served_bytes / SERVED_SHARE;

	if (bytes < LEAST_BYTES)
		bytes = LEAST_BYTES;
	if (bytes > MOST_BYTES)
		bytes = MOST_BYTES;
	return (struct account_limits){
		.user = {USER_WAITING, bytes / USER_SHARE, bytes / USER_SHARE, bytes / USER_SHARE},
		.all = {ALL_WAITING, bytes, bytes, bytes},
	};
}

static int compare_user(const void *a, const void *b)
{
	uid_t x = ((const struct account *)a)->uid, y = ((const struct account *)b)->uid;

	return (x > y) - (x < y);
}

struct accounts *accounts_new(const struct account_limits *limits)
{
	struct accounts *accounts = calloc(1, sizeof(*accounts));

	if (!accounts)
		return NULL;
	accounts->limits = *limits;
	lock_init(&accounts->lock, LOCK_SESSIONS);
	return accounts;
}

struct accounts *accounts_free(struct accounts *accounts)
{
	if (!accounts)
		return NULL;
	hp_assert(!accounts->users);
	for (unsigned kind = 0; kind < N_ACCOUNT_KINDS; kind++)
		hp_assert(accounts->used[kind] == 0);
	lock_fini(&accounts->lock);
	free(accounts);
	return NULL;
}

static struct account *get_locked(struct accounts *accounts, uid_t uid)
{
	struct account key = {.uid = uid}, *account, **node = tfind(&key, &accounts->users, compare_user);

	if (node)
		return *node;
	account = calloc(1, sizeof(*account));
	if (!account)
		return NULL;
	account->accounts = accounts;
	account->uid = uid;
	if (!tsearch(account, &accounts->users, compare_user)) {
		free(account);
		return NULL;
	}
	return account;
}

struct account *account_get(struct accounts *accounts, uid_t uid)
{
	struct account *account;

	lock_take(&accounts->lock);
	account = get_locked(accounts, uid);
	if (account)
		account->n_refs++;
	lock_drop(&accounts->lock);
	return account;
}

struct account *account_ref(struct account *account)
{
	lock_take(&account->accounts->lock);
	account->n_refs++;
	lock_drop(&account->accounts->lock);
	return account;
}

struct account *account_put(struct account *account)
{
	struct accounts *accounts;
	bool is_last;

	if (!account)
		return NULL;
	accounts = account->accounts;
	lock_take(&accounts->lock);
	hp_assert(account->n_refs > 0);
	is_last = --account->n_refs == 0;
	if (is_last)
		tdelete(account, &accounts->users, compare_user);
	lock_drop(&accounts->lock);
	if (!is_last)
		return NULL;
	for (unsigned kind = 0; kind < N_ACCOUNT_KINDS; kind++)
		hp_assert(account->used[kind] == 0);
	free(account);
	return NULL;
}

/* False: more than `max` would be used, and nothing is. */
static bool use(_Atomic uint64_t *used, uint64_t n, uint64_t max)
{
	const uint64_t before = atomic_fetch_add(used, n);

	if (before <= max && n <= max - before)
		return true;
	atomic_fetch_sub(used, n);
	return false;
}

static uint64_t max_of_all(const struct account *account, enum account_kind kind)
{
	const uint64_t max = account->accounts->limits.all[kind];

	return account->uid == 0 ? max : max - max / RESERVED_SHARE;
}

int account_charge(struct account *account, enum account_kind kind, uint64_t n)
{
	if (!use(&account->used[kind], n, account->accounts->limits.user[kind]))
		return ACCOUNT_USER_FULL;
	if (use(&account->accounts->used[kind], n, max_of_all(account, kind)))
		return 0;
	atomic_fetch_sub(&account->used[kind], n);
	return ACCOUNT_FULL;
}

void account_add(struct account *account, enum account_kind kind, uint64_t n)
{
	atomic_fetch_add(&account->used[kind], n);
	atomic_fetch_add(&account->accounts->used[kind], n);
}

void account_discharge(struct account *account, enum account_kind kind, uint64_t n)
{
	hp_assert(atomic_fetch_sub(&account->used[kind], n) >= n);
	hp_assert(atomic_fetch_sub(&account->accounts->used[kind], n) >= n);
}

bool account_has_room(const struct account *account, enum account_kind kind)
{
	return atomic_load(&account->used[kind]) < account->accounts->limits.user[kind] &&
	       atomic_load(&account->accounts->used[kind]) < max_of_all(account, kind);
}

uint64_t account_used(const struct account *account, enum account_kind kind)
{
	return atomic_load(&account->used[kind]);
}

const char *account_explain(const struct account *account, enum account_kind kind, int refusal,
			    char message[ACCOUNT_MESSAGE_MAX])
{
	const struct account_limits *limits = &account->accounts->limits;

	if (refusal == ACCOUNT_USER_FULL)
		snprintf(message, ACCOUNT_MESSAGE_MAX, "one user may have %" PRIu64 " %s: %s",
			 limits->user[kind], kinds[kind].noun, kinds[kind].advice);
	else
		snprintf(message, ACCOUNT_MESSAGE_MAX,
			 "all users together have %" PRIu64 " %s, as many as they may: try again later",
			 limits->all[kind], kinds[kind].noun);
	return message;
}

/* account.h - what the daemon keeps for each user beside leases, and how much of it one user may make it
 * keep.
 *
 * By user and not by session or connection: of those a user can have many. An account is there as long as
 * somebody refers to it. Charging is for what a client causes; who is refused is told by account_explain().
 * Any thread; charging takes no lock. What each kind is bounded by, account_limits says; connections and
 * sessions themselves are in seats.h, pages in the quota of a pool.
 *
 * Invariant: what all users are charged is the sum of what each of them is.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum account_kind {
	ACCOUNT_WAITING, /* requests that wait for pages */
	ACCOUNT_BYTES,   /* of memory: of those, of calls to other workers, of tables of known arenas */
	ACCOUNT_OUTPUT,  /* bytes of replies that were not read; not refused: see account_has_room() */
	ACCOUNT_INPUT,   /* bytes of memory for requests of which the last part has not come, or their turn */
	N_ACCOUNT_KINDS
};

struct account_limits {
	uint64_t user[N_ACCOUNT_KINDS]; /* of one user */
	uint64_t all[N_ACCOUNT_KINDS];  /* of all together; a sixteenth is root's alone */
};

struct accounts;
struct account;

/* What suits pools of that many bytes together: what is kept is a small part of what is served. */
struct account_limits account_limits_for(uint64_t served_bytes);

/* NULL: no memory. */
struct accounts *accounts_new(const struct account_limits *limits);
/* Nobody refers to any account. */
struct accounts *accounts_free(struct accounts *accounts);

/* The user's account, with a reference. NULL: no memory. */
struct account *account_get(struct accounts *accounts, uid_t uid);
struct account *account_ref(struct account *account);
/* Returns NULL. NULL is fine. */
struct account *account_put(struct account *account);

enum {
	ACCOUNT_USER_FULL = 1, /* this user has as much as one may */
	ACCOUNT_FULL = 2,      /* all together have */
};
/* Charge `n` more: 0, or one of the above and nothing is charged. */
int account_charge(struct account *account, enum account_kind kind, uint64_t n);
/* Charge in any case. */
void account_add(struct account *account, enum account_kind kind, uint64_t n);
void account_discharge(struct account *account, enum account_kind kind, uint64_t n);
/* Would anything more be refused? */
bool account_has_room(const struct account *account, enum account_kind kind);
uint64_t account_used(const struct account *account, enum account_kind kind);

/* A sentence: how much, of what, and what to do. Returns `message`. */
#define ACCOUNT_MESSAGE_MAX 160
const char *account_explain(const struct account *account, enum account_kind kind, int refusal,
			    char message[ACCOUNT_MESSAGE_MAX]);

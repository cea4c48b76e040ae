/* lock.h - mutexes with a rank. A thread takes them in the order of the enum, outermost first.
 *
 * Builds with --enable-checks assert the order and the ownership; others pay for a mutex and nothing more.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>

enum lock_rank {
	LOCK_SESSIONS, /* session table: who may come in, tokens */
	LOCK_POOL,     /* one pool: its zones, its arena table, its stock */
	LOCK_ZONE,     /* one zone: its arenas' free pages */
	LOCK_LEDGER,   /* ledger: chunks of records, names */
	LOCK_KERNEL,   /* one page size's kernel pool: free counter, nr_hugepages */
	LOCK_LEFTOVER, /* what daemons before this one have left */
	LOCK_JOURNAL,  /* what was changed on the host */
	LOCK_MAILBOX,  /* a thread's mailbox */
	LOCK_LOG,
	N_LOCK_RANKS,
};

struct lock {
	pthread_mutex_t mutex;
	enum lock_rank rank;
};

void lock_init(struct lock *lock, enum lock_rank rank);
void lock_fini(struct lock *lock);
void lock_take(struct lock *lock);
void lock_drop(struct lock *lock);

/* Assert that this thread holds the lock (checks builds; nothing elsewhere). */
void lock_assert_held(const struct lock *lock);
/* Assert that this thread holds no lock at all: before work that may take long. */
void lock_assert_none(void);

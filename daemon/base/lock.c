/* lock.c - the ranks are kept in a bit set per thread; one lock of a rank at a time. */
#include <config.h>

#include "daemon/base/assert.h"
#include "daemon/base/lock.h"

#ifdef HP_CHECKS
static _Thread_local const struct lock *held_locks[N_LOCK_RANKS];
#endif

void lock_init(struct lock *lock, enum lock_rank rank)
{
	hp_assert(pthread_mutex_init(&lock->mutex, NULL) == 0);
	lock->rank = rank;
}

void lock_fini(struct lock *lock)
{
	pthread_mutex_destroy(&lock->mutex);
}

void lock_take(struct lock *lock)
{
#ifdef HP_CHECKS
	for (int rank = (int)lock->rank; rank < N_LOCK_RANKS; rank++)
		hp_assert(held_locks[rank] == NULL);
#endif
	pthread_mutex_lock(&lock->mutex);
#ifdef HP_CHECKS
	held_locks[lock->rank] = lock;
#endif
}

void lock_drop(struct lock *lock)
{
#ifdef HP_CHECKS
	hp_assert(held_locks[lock->rank] == lock);
	held_locks[lock->rank] = NULL;
#endif
	pthread_mutex_unlock(&lock->mutex);
}

void lock_assert_held(const struct lock *lock)
{
#ifdef HP_CHECKS
	hp_assert(held_locks[lock->rank] == lock);
#else
	(void)lock;
#endif
}

void lock_assert_none(void)
{
#ifdef HP_CHECKS
	for (int rank = 0; rank < N_LOCK_RANKS; rank++)
		hp_assert(held_locks[rank] == NULL);
#endif
}

/* kernelpool.h - the kernel's pool of free hugepages, one object per page size, for the whole process.
 *
 * Reads its counters in /sys/kernel/mm/hugepages, raises and lowers nr_hugepages, and keeps the balance that
 * tells pages in limbo. It takes no pages itself. There is none for the base page size: the kernel has no
 * such counters.
 *
 * The lock is the caller's to take: whoever allocates or truncates hugepages of ours does so under it, so
 * that between two readings of the counters only other processes move them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/backing/backing.h"
#include "daemon/backing/balance.h"
#include "daemon/backing/fellows.h"
#include "daemon/backing/raised.h"
#include "daemon/base/lock.h"

struct kernelpool {
	struct lock lock;
	uint64_t page_bytes;    /* constant */
	struct raised raised;   /* guarded by lock: what we added to nr_hugepages */
	struct fellows fellows; /* guarded by lock: what all daemons did, as far as this one has seen */
	struct balance balance; /* guarded by lock: every file of ours with this page size */
};

/* Never freed. NULL: the kernel has no such hugepages. */
struct kernelpool *kernelpool_find(uint64_t page_bytes);

/* The sizes there are, the base page's first, in words: "4K, 2M, 1G". Returns `words`, cut to `size`. */
char *kernelpool_size_words(char *words, size_t size);

/* All of these with the lock held. */

/* One consistent reading. Negative errno if /sys does not say. */
int kernelpool_read(struct kernelpool *pool, struct backing_kernel_counts *ret);

/* Pages that are in some file or mapping, anybody's. Unlike the free counter it does not move when
 * nr_hugepages is changed, or when a surplus page is freed and leaves the pool. */
int kernelpool_used(struct kernelpool *pool, uint64_t *ret_used_pages);

/* Have the kernel add `n_pages` to its free ones, for the pool of that name, which has raised `limit_pages`
 * at most in all, whoever has them now (0: no limit). Returns 0 and sets *ret_raised_pages, to be handed to
 * kernelpool_lower() if they are of no use (more than n_pages if there were surplus pages, which the kernel
 * adopts first); BACKING_SHORT with *ret_shortage set, but for missing_pages, if it could not add them all,
 * or we may not ask: then nothing has changed. */
int kernelpool_raise(struct kernelpool *pool, const char *name, uint64_t limit_pages, uint64_t n_pages,
		     uint64_t *ret_raised_pages, struct backing_shortage *ret_shortage);

/* How many more the pool may raise, as `counts` has just been read; UINT64_MAX: as many as there are. */
uint64_t kernelpool_may_raise(struct kernelpool *pool, const char *name, uint64_t limit_pages,
			      const struct backing_kernel_counts *counts);

/* Take back what kernelpool_raise() added: relative to what nr_hugepages is now, whoever raised it meanwhile.
 * If an operator has set it lower, it is what the operator wants: nothing of it is ours any more. Pages in
 * use become surplus and leave the pool when they are freed. */
void kernelpool_lower(struct kernelpool *pool, const char *name, uint64_t raised_pages);

/* Without a lock held: */

/* The pool of that name is there, and may raise: what a daemon that was killed has raised for it stays. */
void kernelpool_want(struct kernelpool *pool, const char *name);
/* What a daemon that was killed has raised is ours now; and what we raise is written down there from now on.
 */
void kernelpool_take_over(const struct backing_host *host);
/* Lower all pools by all that was raised, or that was for pools that are not there any more. Returns how many
 * pages are in use, and leave when they are freed. */
uint64_t kernelpool_lower_all(bool only_unwanted);

/* raised.h - private to the room: how many persistent hugepages of one size this daemon has raised, pool by
 * pool.
 *
 * Arithmetic and the journal; the kernel's counters are read and written by kernelpool.c, under whose lock
 * all of this is. A change is in the journal before it is made, with the counter it begins and the one it
 * ends at: the next daemon sees how far one that was killed has come. Invariant: `pages` is the sum over the
 * accounts.
 */
#pragma once

#include <stdint.h>

#include "daemon/backing/backing.h"

struct raised_account {
	struct raised_account *next;
	char *pool;
	uint64_t pages;
	bool is_wanted; /* the pool is there, and may raise */
};

struct raised {
	const struct backing_host *host; /* NULL: nothing is written down */
	uint64_t page_bytes;
	struct raised_account *accounts;
	uint64_t pages;
	uint64_t era; /* see fellows.h */
};

/* The pool's account, made if need be. NULL: no memory. */
struct raised_account *raised_find(struct raised *raised, const char *pool);

/* Write down that the account is about to have `pages`, by a change of the counter of persistent pages from
 * `from` to `to`. Negative errno: it must not be done then. */
int raised_begin(struct raised *raised, struct raised_account *account, uint64_t pages, uint64_t from,
		 uint64_t to);
/* It has so many now. */
void raised_end(struct raised *raised, struct raised_account *account, uint64_t pages);

/* An operator has set a lower number: nothing is ours any more. */
void raised_forget(struct raised *raised);

/* Read what a daemon that was killed has written down of this page size, `persistent_pages` being there now.
 * Returns by how many that counter went up (or down, negative) in a change that the daemon was killed in. */
int64_t raised_take_over(struct raised *raised, const struct backing_host *host, uint64_t persistent_pages);

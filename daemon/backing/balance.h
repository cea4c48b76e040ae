/* balance.h - pages that truncation did not bring back, told from those that somebody else took.
 *
 * Arithmetic only: no system calls; whoever asks has read the kernel's counter. A balance belongs to one
 * counter of used pages: that of a page size, or that of one hugetlbfs mount. The caller serialises and keeps
 * every change of the counter that is our own doing inside one critical section with the call that says so.
 *
 * The excess is what is used and is not in a file of ours: other programs' pages and those in limbo. A
 * truncation by which the excess grows has left so many pages behind. They count as returned when the excess
 * falls below its floor, the least that was seen since there is limbo. So a foreign program that takes pages
 * in the very moment of a truncation looks like limbo until as many come back; what it takes at any other
 * time delays the news of a return until it has given it back; and what it had before and gives up looks like
 * a return. All three are errors of accounting that mend themselves: no page is used again because of them.
 * A client's private copies of pages of the file are dropped by the truncation too. That hides as many pages
 * in limbo; if the copies are older than what is in limbo, it looks like a return of that. The other way
 * round would not mend itself: pages often return in a truncation, because a client that unmaps at the same
 * time has the previous file's for a moment longer; taken for copies, they would stay in limbo for ever.
 *
 * Whose pages have returned the counter does not say, and nothing else does: a page without a file is in no
 * list that a process could read. So each backing's share is the most that it can miss: what it left behind,
 * and not more than all together miss. One whose pages are back is told so at once if nobody else misses any,
 * else when the others' are back too; none is cleared because another's came back.
 *
 * Invariant: each share is at most limbo_pages, which is at most their sum, and at most floor_pages.
 */
#pragma once

#include <stdint.h>

/* One backing's share, embedded in it. */
struct limbo {
	struct limbo *next;
	uint64_t pages;          /* missing now, at most */
	uint64_t returned_pages; /* came back and nobody has asked yet */
};

struct balance {
	uint64_t live_pages;  /* in files of ours */
	uint64_t limbo_pages; /* of all on the list */
	uint64_t floor_pages; /* least excess since there is limbo */
	struct limbo *oldest; /* the list, by the time they were added */
};

/* Both need no other preparation than to be zero. */
void balance_add(struct balance *balance, struct limbo *limbo);
/* What `limbo` still misses is forgotten and from now on somebody else's. */
void balance_remove(struct balance *balance, struct limbo *limbo);

/* A file of ours got `n_pages`. */
void balance_gain(struct balance *balance, uint64_t n_pages);
/* A file of ours lost `n_pages`, and nobody watched where they went. */
void balance_lose(struct balance *balance, uint64_t n_pages);

/* A file of `n_pages` was truncated between two readings of the counter. Returns how many did not come back,
 * at most n_pages; they are on `limbo` now. */
uint64_t balance_lose_watched(struct balance *balance, struct limbo *limbo, uint64_t n_pages,
			      uint64_t used_before, uint64_t used_after);

/* Pages that are used, but neither in a file of ours nor in limbo. */
uint64_t balance_foreign(const struct balance *balance, uint64_t used_pages);

/* Compare with a fresh reading: what has returned is credited to those that can have missed it. */
void balance_settle(struct balance *balance, uint64_t used_pages);

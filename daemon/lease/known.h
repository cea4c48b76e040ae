/* known.h - the arenas of one pool whose descriptors a client has: a hash table by arena id, as large as they
 * are many.
 *
 * An arena that is gone is told to the client once, and forgotten then; the table is looked through for such
 * in slices. One that is told nowhere before the table would have to grow for it is forgotten untold: the
 * client keeps a descriptor that is of no use. Of one session; its worker only.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct pool;

struct known_arena {
	uint64_t id; /* 0: a free place */
	uint32_t slot;
	bool write; /* its descriptor can */
};

struct known {
	struct known_arena *table;
	uint32_t n, room; /* room: a power of two, at least twice as many; 0: no table yet */
	uint32_t cursor;  /* where looking for gone ones goes on */
};

/* NULL: the client has none of it. */
const struct known_arena *known_find(const struct known *known, uint64_t id);
/* Add it, or make it writable. 0 or -ENOMEM. */
int known_add(struct known *known, const struct pool *pool, uint64_t id, uint32_t slot, bool write);
/* Forget arenas that are gone, `room` at most: their ids. *ret_whole: the end of the table was reached, so
 * that the next call begins again. Returns how many. */
unsigned known_forget_gone(struct known *known, const struct pool *pool, uint64_t *ids, unsigned room,
			   bool *ret_whole);
void known_fini(struct known *known);

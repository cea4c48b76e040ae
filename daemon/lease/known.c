/* known.c - open addressing, the next free place; see known.h. */
#include <config.h>

#include "daemon/lease/known.h"

#include <errno.h>
#include <stdlib.h>

#include "daemon/base/assert.h"
#include "daemon/pool/pool.h"

#define FIRST_ROOM 8
#define SLICE      1024 /* places that are looked at for one reply */

/* Ids are given in order: the multiplication spreads them. */
static uint32_t home_of(const struct known *known, uint64_t id)
{
	return (uint32_t)(id * UINT64_C(0x9e3779b97f4a7c15) >> 32) & (known->room - 1);
}

static uint32_t place_of(const struct known *known, uint64_t id)
{
	uint32_t place = home_of(known, id);

	while (known->table[place].id != 0 && known->table[place].id != id)
		place = (place + 1) & (known->room - 1);
	return place;
}

const struct known_arena *known_find(const struct known *known, uint64_t id)
{
	const struct known_arena *arena;

	if (known->room == 0)
		return NULL;
	arena = &known->table[place_of(known, id)];
	return arena->id != 0 ? arena : NULL;
}

/* A table of `room` with all that are still there. */
static int rebuild(struct known *known, const struct pool *pool, uint32_t room)
{
	struct known new = {.room = room};

	hp_assert(room > 0);
	new.table = calloc(room, sizeof(*new.table));
	if (!new.table)
		return -ENOMEM;
	for (uint32_t i = 0; i < known->room; i++) {
		const struct known_arena *arena = &known->table[i];

		if (arena->id == 0 || !pool_has_arena(pool, arena->slot, arena->id))
			continue;
		new.table[place_of(&new, arena->id)] = *arena;
		new.n++;
	}
	free(known->table);
	*known = new;
	return 0;
}

static int make_room(struct known *known, const struct pool *pool)
{
	int r;

	if (known->room > 0 && 2 * (known->n + 1) <= known->room)
		return 0;
	r = rebuild(known, pool, known->room > 0 ? known->room : FIRST_ROOM);
	/* A quarter is left, or it would be rebuilt again soon. */
	if (r == 0 && 4 * known->n > known->room)
		r = rebuild(known, pool, 2 * known->room);
	return r;
}

int known_add(struct known *known, const struct pool *pool, uint64_t id, uint32_t slot, bool write)
{
	struct known_arena *arena;
	int r = make_room(known, pool);

	if (r < 0)
		return r;
	arena = &known->table[place_of(known, id)];
	known->n += arena->id == 0;
	*arena = (struct known_arena){.id = id, .slot = slot, .write = write};
	return 0;
}

/* Those behind it move up, as far as they may. */
static void remove_at(struct known *known, uint32_t place)
{
	const uint32_t mask = known->room - 1;

	known->n--;
	for (uint32_t next = (place + 1) & mask; known->table[next].id != 0; next = (next + 1) & mask) {
		const uint32_t home = home_of(known, known->table[next].id);

		if (((next - home) & mask) < ((next - place) & mask))
			continue;
		known->table[place] = known->table[next];
		place = next;
	}
	known->table[place] = (struct known_arena){0};
}

unsigned known_forget_gone(struct known *known, const struct pool *pool, uint64_t *ids, unsigned room,
			   bool *ret_whole)
{
	unsigned n = 0;

	for (unsigned n_left = SLICE; n_left > 0 && n < room && known->cursor < known->room; n_left--) {
		const struct known_arena *arena = &known->table[known->cursor];

		if (arena->id == 0 || pool_has_arena(pool, arena->slot, arena->id)) {
			known->cursor++;
			continue;
		}
		ids[n++] = arena->id;
		remove_at(known, known->cursor);
	}
	*ret_whole = known->cursor >= known->room;
	if (*ret_whole)
		known->cursor = 0;
	return n;
}

void known_fini(struct known *known)
{
	free(known->table);
	*known = (struct known){0};
}

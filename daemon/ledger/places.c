/* places.c - see places.h. One of the C library's search trees for the arenas, a chain of places in each. */
#include <config.h>

#include "daemon/ledger/places.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>

struct place_arena {
	uint64_t id;
	struct place *first;
	bool is_condemned;
};

struct place {
	struct run run;
	struct place_arena *arena;
	void *owner;
	struct place *prev, *next; /* in the arena's chain */
};

static int compare_id(const void *a, const void *b)
{
	uint64_t x = ((const struct place_arena *)a)->id, y = ((const struct place_arena *)b)->id;

	return (x > y) - (x < y);
}

static struct place_arena *find_arena(const struct place_index *index, uint64_t id)
{
	struct place_arena key = {.id = id}, **node = tfind(&key, &index->arenas, compare_id);

	return node ? *node : NULL;
}

/* Made when there is none. NULL: no memory. */
static struct place_arena *get_arena(struct place_index *index, uint64_t id)
{
	struct place_arena *arena = find_arena(index, id);

	if (arena)
		return arena;
	arena = calloc(1, sizeof(*arena));
	if (!arena)
		return NULL;
	arena->id = id;
	if (!tsearch(arena, &index->arenas, compare_id)) {
		free(arena);
		return NULL;
	}
	return arena;
}

static void link_place(struct place *place)
{
	struct place_arena *arena = place->arena;

	place->prev = NULL;
	place->next = arena->first;
	if (place->next)
		place->next->prev = place;
	arena->first = place;
}

static void unlink_place(struct place_index *index, struct place *place)
{
	struct place_arena *arena = place->arena;

	if (place->prev)
		place->prev->next = place->next;
	else
		arena->first = place->next;
	if (place->next)
		place->next->prev = place->prev;
	if (arena->first)
		return;
	tdelete(arena, &index->arenas, compare_id);
	free(arena);
}

void places_clear(struct place_index *index, struct places *places)
{
	for (unsigned i = 0; i < places->n; i++)
		unlink_place(index, &places->list[i]);
	free(places->list);
	*places = (struct places){0};
}

int places_set(struct place_index *index, struct places *places, void *owner, const struct share_runs *runs)
{
	struct places new = {.list = calloc(runs->list.n + 1, sizeof(*new.list))};

	if (!new.list)
		return -ENOMEM;
	for (; new.n < runs->list.n; new.n++) {
		struct place *place = &new.list[new.n];

		*place = (struct place){
			.run = runs->list.runs[new.n],
			.arena = get_arena(index, runs->arenas[new.n]),
			.owner = owner,
		};
		if (!place->arena) {
			places_clear(index, &new);
			return -ENOMEM;
		}
		link_place(place);
	}
	places_clear(index, places);
	*places = new;
	return 0;
}

void places_get(const struct places *places, struct share_runs *ret)
{
	ret->list.n = places->n;
	for (unsigned i = 0; i < places->n; i++) {
		ret->list.runs[i] = places->list[i].run;
		ret->arenas[i] = places->list[i].arena->id;
	}
}

void places_condemn(struct place_index *index, uint64_t id)
{
	struct place_arena *arena = find_arena(index, id);

	index->n_visited++;
	if (arena)
		arena->is_condemned = true;
}

bool places_are_condemned(const struct places *places)
{
	for (unsigned i = 0; i < places->n; i++)
		if (places->list[i].arena->is_condemned)
			return true;
	return false;
}

void *places_first_owner(struct place_index *index, uint64_t id)
{
	const struct place_arena *arena = find_arena(index, id);

	index->n_visited++;
	return arena ? arena->first->owner : NULL;
}

void places_take(struct place_index *index, struct places *places, uint64_t id, struct run_list *ret_runs)
{
	unsigned n_kept = 0;

	ret_runs->n = 0;
	for (unsigned i = 0; i < places->n; i++) {
		struct place *place = &places->list[i], *kept = &places->list[n_kept];

		index->n_visited++;
		if (place->arena->id == id) {
			ret_runs->runs[ret_runs->n++] = place->run;
			unlink_place(index, place);
			continue;
		}
		n_kept++;
		if (kept == place)
			continue;
		/* Before the old one leaves: the arena stays in the index. */
		*kept = *place;
		link_place(kept);
		unlink_place(index, place);
	}
	places->n = n_kept;
}

/* kinds_self.c - see kinds_self.h: what we hold, and looks at it. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "tests/stress/kinds_self.h"
#include "tests/support/random.h"
#include "tests/support/raw.h"

struct self self;

unsigned below(unsigned bound)
{
	return (unsigned)(random_next(&self.random) % bound);
}

bool one_in(unsigned n)
{
	return below(n) == 0;
}

void count(enum kinds_count what, unsigned n)
{
	atomic_fetch_add_explicit(&self.kinds->n_of[what], n, memory_order_relaxed);
	if (what <= KINDS_REFUSED)
		atomic_fetch_add_explicit(&self.kinds->n_operations[self.seat], n, memory_order_relaxed);
}

bool has_room(void)
{
	return self.n_held + self.n_pending + MAX_BATCH <= MAX_HELD;
}

struct kinds_memory memory_of(const struct held *held, void *data, uint64_t n_bytes)
{
	return (struct kinds_memory){
		.data = data,
		.to_bytes = n_bytes,
		.lease = held->is_opened ? 0 : held->id,
		.maker = held->maker,
		.is_mortal = held->is_mortal,
		.is_open = held->name[0] != 0,
		.pool = held->pool->name,
		.flags = held->flags,
	};
}

void look_from(struct held *held, uint64_t from_bytes, enum kinds_look what)
{
	struct kinds_memory memory = memory_of(held, hp_lease_data(held->lease), hp_lease_bytes(held->lease));

	memory.from_bytes = from_bytes;
	if (kinds_look(&memory, what) || held->is_ended)
		return;
	held->is_ended = true;
	count(KINDS_ENDED, 1);
	event_wait_revoked(held);
}

void look(struct held *held)
{
	if (held->lease)
		look_from(held, 0, held->look);
}

void look_first(struct held *held)
{
	held->id = hp_lease_id(held->lease);
	held->is_ended = false;
	if (held->is_mortal)
		event_expect(held->id);
	if (held->flags & HP_READ_ONLY)
		held->look = KINDS_BLANK;
	if (held->flags & HP_READ_ONLY)
		look(held);
	else
		look_from(held, 0, held->flags & HP_NO_ZERO ? KINDS_TAKE_OLD : KINDS_TAKE);
}

void keep(const struct held *held)
{
	raw_check(self.n_held < MAX_HELD, "%u leases are held", self.n_held);
	self.held[self.n_held++] = *held;
}

void hold(struct held *held)
{
	look_first(held);
	keep(held);
	if (!(held->flags & HP_DETACHED))
		atomic_store(&self.kinds->shown_lease[self.seat], held->id);
}

struct held choose_held(void)
{
	unsigned i = below(self.n_held);
	struct held held = self.held[i];

	self.held[i] = self.held[--self.n_held];
	look(&held);
	return held;
}

bool is_held(const char *name)
{
	for (unsigned i = 0; i < self.n_held; i++)
		if (strcmp(self.held[i].name, name) == 0)
			return true;
	for (unsigned i = 0; i < MAX_PENDING; i++)
		if (self.pending[i].kind != PENDING_NONE && strcmp(self.pending[i].held.name, name) == 0)
			return true;
	return false;
}

void kinds_name(char *name, uid_t maker, char who, bool is_mortal)
{
	snprintf(name, MAX_NAME, "%u-%u-%c-%c", maker, below(KINDS_N_NAMES), is_mortal ? 'm' : 'f', who);
}

char kinds_name_who(const char *name)
{
	return name[strlen(name) - 1];
}

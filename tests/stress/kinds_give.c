/* kinds_give.c - see kinds_self.h: operations that give back, or try to give back what is not ours. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>

#include "tests/stress/kinds_self.h"
#include "tests/support/raw.h"

/* Detached and anonymous, of this process's client before. */
static uint64_t left[MAX_HELD];
static unsigned n_left;

void has_freed(const struct held *held, int r)
{
	raw_check(r == 0, "free of lease %" PRIu64 " \"%s\": %d: %s", held->id, held->name, r, hp_error());
	self.ended_lease = held->id;
}

/* ---- ours ---- */

static void free_forgotten(const struct held *held)
{
	has_freed(held, hp_free_id(self.client, held->id));
	count(KINDS_FREE_ID, 1);
}

void do_free(void)
{
	struct held held = choose_held();

	if (!held.lease) {
		free_forgotten(&held);
		return;
	}
	has_freed(&held, hp_free(held.lease));
	count(KINDS_FREE, 1);
}

void do_free_batch(void)
{
	unsigned n = 1 + below(self.n_held < MAX_BATCH ? self.n_held : MAX_BATCH), n_freed = 0;
	hp_lease *leases[MAX_BATCH];
	int r;

	for (unsigned i = 0; i < n; i++) {
		struct held held = choose_held();

		if (held.lease)
			leases[n_freed++] = held.lease;
		else
			free_forgotten(&held);
	}
	r = hp_free_batch(leases, n_freed, one_in(4) ? HP_COLD : 0);
	raw_check(r == 0, "free batch: %d: %s", r, hp_error());
	count(KINDS_FREE_BATCH, n_freed);
}

void do_free_id(void)
{
	struct held held = choose_held();

	hp_lease_forget(held.lease);
	free_forgotten(&held);
}

void do_free_twice(void)
{
	int r = self.ended_lease ? hp_free_id(self.client, self.ended_lease) : 0;

	raw_check(r == 0, "free of the ended lease %" PRIu64 ": %d: %s", self.ended_lease, r, hp_error());
	count(KINDS_FREE_ID, 1);
}

/* Anybody's name: only a detached lease of our own user, that nobody holds, may end by this; or it has ended
 * since its name was found. Another user's live one goes on: who holds it would miss its stamps, or the event
 * that it was revoked. */
void do_free_name(void)
{
	uid_t maker = self.kinds->uids[below(KINDS_SEATS)];
	bool is_one = !one_in(8);
	char name[MAX_NAME];
	int r;

	kinds_name(name, maker, is_one ? "prw"[below(3)] : 'x', one_in(2));
	if (is_held(name))
		return;
	r = hp_free_name(self.client, name);
	raw_check(r == -ENOENT || (is_one && (r == 0 || r == (maker == self.uid ? -EACCES : -EPERM))),
		  "free of \"%s\" by %u: %d: %s", name, self.uid, r, hp_error());
	count(KINDS_FREE_NAME, 1);
}

/* Of a living client, or a dead one whose lease has ended: nothing happens, and its holder looks at its
 * stamps. */
void do_free_others(void)
{
	unsigned seat = below(KINDS_SEATS);
	uint64_t lease = atomic_load(&self.kinds->shown_lease[seat]);
	int refusal = self.kinds->uids[seat] == self.uid ? -EACCES : -EPERM, r;

	if (seat == self.seat || lease == 0)
		return;
	r = hp_free_id(self.client, lease);
	raw_check(r == 0 || r == refusal, "free of the lease %" PRIu64 " of seat %u: %d: %s", lease, seat, r,
		  hp_error());
	count(KINDS_FREE_OTHERS, 1);
}

void do_forget(void)
{
	struct held held = choose_held();

	hp_lease_forget(held.lease);
	held.lease = NULL;
	keep(&held);
	count(KINDS_FORGET, 1);
}

/* ---- over the end of a client ---- */

void leave_detached(void)
{
	n_left = 0;
	for (unsigned i = 0; i < self.n_held; i++)
		if (self.held[i].flags & HP_DETACHED && !self.held[i].name[0])
			left[n_left++] = self.held[i].id;
}

void free_left(void)
{
	while (n_left > 0) {
		uint64_t lease = left[--n_left];
		int r = hp_free_id(self.client, lease);

		raw_check(r == 0, "free of the detached lease %" PRIu64 ": %d: %s", lease, r, hp_error());
		count(KINDS_FREE_LEFT, 1);
	}
}

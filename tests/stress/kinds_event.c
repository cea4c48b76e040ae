/* kinds_event.c - see kinds_self.h: what a client is told, and that it fits what it has seen.
 *
 * REVOKED names a lease that is ours and mortal, and whoever finds memory gone is told so, or that events
 * were missed: the operator does things that all are told of until the end, so the next event is never far.
 * A lease that could not be mapped any more is never seen. Its event is on its way before its memory goes, so
 * the next reply comes behind it: by then it is clear which of those we have never seen was told of.
 */
#include <config.h>

#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>

#include "tests/stress/kinds_self.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"

#define N_SLOTS    65536u /* a power of two */
#define FULL       (N_SLOTS / 2)
#define ALL_KINDS  (HP_EVENT_PRESSURE | HP_EVENT_REVOKED | HP_EVENT_DRAINED | HP_EVENT_RESTORED)
#define MAX_UNSEEN 256
#define POLL_MS    10

/* Mortal leases of this client, by id. */
static struct slot {
	uint64_t lease; /* 0: free */
	bool is_ours, is_told;
} slots[N_SLOTS];
static unsigned n_slots;

static unsigned n_losses, n_may_be_unseen;
static volatile sig_atomic_t n_cuts;   /* one after the other, so no more than an operation each */
static uint64_t strangers[MAX_UNSEEN]; /* told of, and not seen yet */
static unsigned n_strangers;

static struct slot *find_slot(uint64_t lease)
{
	uint64_t i = lease * UINT64_C(0x9e3779b97f4a7c15) >> 32;

	while (slots[i % N_SLOTS].lease != 0 && slots[i % N_SLOTS].lease != lease)
		i++;
	return &slots[i % N_SLOTS];
}

/* Its place among them; n_strangers: it is none. */
static unsigned find_stranger(uint64_t lease)
{
	unsigned i = 0;

	while (i < n_strangers && strangers[i] != lease)
		i++;
	return i;
}

void event_expect(uint64_t lease)
{
	struct slot *slot = find_slot(lease);
	unsigned stranger = find_stranger(lease);

	raw_check(lease != 0 && n_slots < FULL, "%u mortal leases, and number %" PRIu64, n_slots, lease);
	n_slots += slot->lease == 0;
	slot->lease = lease;
	slot->is_ours = true;
	if (stranger < n_strangers) {
		strangers[stranger] = strangers[--n_strangers];
		slot->is_told = true;
	}
}

void event_expect_unseen(unsigned n)
{
	n_may_be_unseen += n;
}

void event_expect_cut(void)
{
	n_cuts++;
}

unsigned event_n_losses(void)
{
	return n_losses;
}

static bool is_pool(const char *name)
{
	for (unsigned i = 0; i < self.kinds->n_pools; i++)
		if (strcmp(self.kinds->pools[i].name, name) == 0)
			return true;
	return false;
}

static void on_revoked(uint64_t lease)
{
	struct slot *slot = find_slot(lease);

	for (unsigned i = 0; i < self.n_held; i++)
		raw_check(self.held[i].id != lease || self.held[i].is_mortal,
			  "lease %" PRIu64 " was revoked, which cannot be", lease);
	if (slot->is_ours) {
		slot->is_told = true;
		return;
	}
	/* Once for each of its arenas, if it has several. */
	if (find_stranger(lease) < n_strangers)
		return;
	raw_check(n_strangers < MAX_UNSEEN, "many leases were revoked that are not ours");
	strangers[n_strangers++] = lease;
}

static void on_event(void *unused, const struct hp_event *event)
{
	raw_check(is_pool(event->pool), "event %#x of pool \"%s\"", event->kind, event->pool);
	raw_check((event->kind == HP_EVENT_REVOKED) == (event->lease_id != 0), "event %#x of lease %" PRIu64,
		  event->kind, event->lease_id);
	raw_check(event->arena == 0 || event->kind & (HP_EVENT_DRAINED | HP_EVENT_RESTORED),
		  "event %#x of arena %" PRIu64, event->kind, event->arena);
	n_losses += event->missed;
	if (event->kind == HP_EVENT_REVOKED)
		on_revoked(event->lease_id);
	count(event->kind == HP_EVENT_REVOKED ? KINDS_TOLD_REVOKED : KINDS_TOLD, 1);
}

static void subscribe(void)
{
	int r = hp_subscribe(self.client, ALL_KINDS, on_event, NULL);

	raw_check(r == 0, "subscribe: %d: %s", r, hp_error());
}

void event_subscribe(void)
{
	memset(slots, 0, sizeof(slots));
	n_slots = n_strangers = n_may_be_unseen = 0;
	subscribe();
}

static void call_back(void)
{
	int r = hp_dispatch(self.client);

	raw_check(r >= 0, "dispatch: %d: %s", r, hp_error());
}

/* What was told of, and nobody has seen, was for what could not be mapped. Some of that is told only later,
 * when its memory is gone. */
static void check_strangers(void)
{
	static sig_atomic_t n_cuts_seen;
	const sig_atomic_t n_new_cuts = n_cuts - n_cuts_seen;

	n_cuts_seen += n_new_cuts;
	n_may_be_unseen += (unsigned)n_new_cuts * (MAX_BATCH + MAX_PENDING);
	if (n_may_be_unseen > 0) {
		subscribe(); /* a call that always asks the daemon */
		call_back();
	}
	raw_check(n_strangers <= n_may_be_unseen,
		  "%u leases were revoked that are not ours, %" PRIu64 " is one, and %u may be", n_strangers,
		  n_strangers > 0 ? strangers[0] : 0, n_may_be_unseen);
	n_may_be_unseen -= n_strangers;
	n_strangers = 0;
}

void dispatch(void)
{
	call_back();
	if (self.n_pending == 0)
		check_strangers();
}

void event_wait_revoked(const struct held *held)
{
	const uint64_t deadline_ms = wait_now_ms() + WAIT_MAX_MS;
	struct pollfd poll_fd = {.fd = hp_fd(self.client), .events = POLLIN};

	raw_check(poll_fd.fd >= 0, "fd: %d: %s", poll_fd.fd, hp_error());
	while (held->n_losses == n_losses && !find_slot(held->id)->is_told) {
		raw_check(wait_now_ms() < deadline_ms,
			  "lease %" PRIu64 " \"%s\" has ended, and nobody says so", held->id, held->name);
		poll(&poll_fd, 1, POLL_MS);
		dispatch();
	}
}

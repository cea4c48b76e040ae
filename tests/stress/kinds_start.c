/* kinds_start.c - see kinds_self.h: calls that only begin, and end in a callback. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>

#include "tests/stress/kinds_self.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"

#define POLL_MS 10
#define MAX_CUT 6

/* ---- what is under way ---- */

/* Dispatch until at most so many are. */
static void wait_pending(unsigned n_left)
{
	const uint64_t deadline_ms = wait_now_ms() + WAIT_MAX_MS;
	struct pollfd poll_fd = {.fd = hp_fd(self.client), .events = POLLIN};

	raw_check(poll_fd.fd >= 0, "fd: %d: %s", poll_fd.fd, hp_error());
	dispatch();
	while (self.n_pending > n_left) {
		raw_check(wait_now_ms() < deadline_ms, "%u calls that have begun do not end", self.n_pending);
		poll(&poll_fd, 1, POLL_MS);
		dispatch();
	}
}

static struct pending *begin(enum pending_kind kind, const struct held *held, uint64_t wait_ms)
{
	unsigned i = 0;

	if (self.n_pending == MAX_PENDING)
		wait_pending(MAX_PENDING - 1);
	while (self.pending[i].kind != PENDING_NONE)
		i++;
	self.n_pending++;
	self.pending[i] = (struct pending){.kind = kind, .held = *held, .wait_ms = wait_ms};
	return &self.pending[i];
}

static void on_done(void *arg, int r, hp_lease *lease)
{
	struct pending *pending = arg, ended = *pending;

	raw_check(pending->kind != PENDING_NONE, "a call has ended twice: %d", r);
	raw_check((lease != NULL) == (r == 0 && ended.kind != PENDING_FREE), "ended by %d, and lease %p", r,
		  (void *)lease);
	pending->kind = PENDING_NONE;
	self.n_pending--;
	ended.held.lease = lease;
	if (r == -ECANCELED && self.is_closing)
		return;
	switch (ended.kind) {
	case PENDING_ALLOC:
		has_alloced(&ended.held, r, ended.wait_ms);
		break;
	case PENDING_OPEN:
		has_opened(&ended.held, r);
		break;
	default:
		has_freed(&ended.held, r);
	}
}

/* ---- the operations ---- */

static void start_alloc(void)
{
	struct alloc_plan plan;
	struct pending *pending;
	int r;

	choose_alloc(&plan);
	pending = begin(PENDING_ALLOC, &plan.held, plan.options.wait_ms);
	r = hp_alloc_start(self.client, plan.bytes, &plan.options, on_done, pending);
	raw_check(r == 0, "start of an alloc: %d: %s", r, hp_error());
}

static void start_open(void)
{
	struct held held = choose_opened();
	struct pending *pending = begin(PENDING_OPEN, &held, 0);
	int r = hp_lease_open_start(self.client, held.name, held.flags, on_done, pending);

	raw_check(r == 0, "start of an open: %d: %s", r, hp_error());
}

static void start_free(void)
{
	struct held held = choose_held();
	struct pending *pending;
	int r;

	if (!held.lease) {
		keep(&held);
		return;
	}
	pending = begin(PENDING_FREE, &held, 0);
	r = hp_free_start(held.lease, one_in(4) ? HP_COLD : 0, on_done, pending);
	raw_check(r == 0, "start of a free: %d: %s", r, hp_error());
}

void do_start_alloc(void)
{
	start_alloc();
	count(KINDS_START, 1);
}

void do_start_open(void)
{
	start_open();
	count(KINDS_START, 1);
}

void do_start_free(void)
{
	start_free();
	count(KINDS_START, 1);
}

void do_cut(void)
{
	unsigned n = 1 + below(MAX_CUT);

	for (unsigned i = 0; i < n; i++)
		if (one_in(3) && self.n_held > 0)
			start_free();
		else if (one_in(3))
			start_open();
		else
			start_alloc();
	if (one_in(2))
		dispatch();
	client_break();
	wait_pending(0);
	count(KINDS_CUT, n);
}

/* soak_client.c - see soak_client.h.
 *
 * One thread. The connection is broken between calls, or by a timer in the middle of one.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/include/hugepool.h"
#include "tests/stress/soak_client.h"
#include "tests/stress/soak_random.h"
#include "tests/stress/soak_stamp.h"
#include "tests/support/raw.h"

#define MAX_HELD        192
#define MAX_BATCH       32
#define N_SHARED_NAMES  4
#define LOOK_CLOSELY    16 /* one large lease of so many is looked at byte by byte */
#define HOT_PAIRS       16
#define BREAK_WITHIN_US 400
#define FIRST_FD        3
#define MAX_FDS         256 /* a client has a socket, and a descriptor an arena */
#define NO_SLOT         (-1)

struct held {
	hp_lease *lease; /* NULL: forgotten, its memory is not to be touched */
	uint64_t id;
	int slot; /* on the shelf: it is detached */
	char name[SOAK_MAX_NAME];
};

static struct {
	struct soak *soak;
	unsigned seat, life;
	uint32_t pid;
	uid_t uid;
	uint64_t random;
	hp_client *client;
	struct held held[MAX_HELD];
	unsigned n_held;
	unsigned n_named;
	uint64_t ended_lease; /* freed by us */
} self;

static unsigned below(unsigned bound)
{
	return bound > 0 ? (unsigned)(soak_random(&self.random) % bound) : 0;
}

static void count(enum soak_kind kind, unsigned n)
{
	atomic_fetch_add_explicit(&self.soak->n_of_kind[kind], n, memory_order_relaxed);
	atomic_fetch_add_explicit(&self.soak->n_operations[self.seat], n, memory_order_relaxed);
}

/* ---- the shelf of detached leases ---- */

static int shelf_take_slot(void)
{
	for (int slot = 0; slot < SOAK_SHELF_ROOM; slot++) {
		uint32_t empty = SOAK_SLOT_EMPTY;

		if (atomic_compare_exchange_strong(&self.soak->shelf[slot].holder, &empty, self.pid))
			return slot;
	}
	return NO_SLOT;
}

static void shelf_put_slot(int slot)
{
	struct soak_detached *detached = &self.soak->shelf[slot];

	atomic_store(&detached->lease, 0);
	detached->is_shaken = false;
	detached->name[0] = 0;
	atomic_store(&detached->holder, SOAK_SLOT_EMPTY);
}

static void shelf_enter(const struct held *held)
{
	struct soak_detached *detached = &self.soak->shelf[held->slot];

	detached->uid = self.uid;
	strcpy(detached->name, held->name);
	atomic_store(&detached->lease, held->id);
}

/* One that lives on without a holder and is ours to free, or NO_SLOT. */
static int shelf_claim(void)
{
	unsigned start = below(SOAK_SHELF_ROOM);

	for (unsigned i = 0; i < SOAK_SHELF_ROOM; i++) {
		unsigned slot = (start + i) % SOAK_SHELF_ROOM;
		struct soak_detached *detached = &self.soak->shelf[slot];
		uint32_t nobody = SOAK_SLOT_NOBODY;

		if (!atomic_compare_exchange_strong(&detached->holder, &nobody, self.pid))
			continue;
		if (detached->uid == self.uid)
			return (int)slot;
		atomic_store(&detached->holder, SOAK_SLOT_NOBODY);
	}
	return NO_SLOT;
}

/* ---- allocs ---- */

static bool is_refusal(int r, const struct hp_alloc_options *options)
{
	return r == -ENOSPC || r == -EDQUOT || (r == -EEXIST && options->name);
}

static const struct soak_pool *choose_pool(void)
{
	unsigned sum = 0, roll;

	for (unsigned i = 0; i < self.soak->n_pools; i++)
		sum += self.soak->pools[i].weight;
	roll = below(sum);
	for (unsigned i = 0;; roll -= self.soak->pools[i++].weight)
		if (roll < self.soak->pools[i].weight)
			return &self.soak->pools[i];
}

/* Mostly one page. */
static uint64_t choose_bytes(const struct soak_pool *pool)
{
	uint64_t n_pages = below(2) == 0 ? 1 : 1 + below(pool->max_pages);

	return n_pages * pool->page_bytes - (below(8) == 0 ? 1 : 0);
}

static void take_held(struct held *held)
{
	soak_stamp(held->lease, self.pid, below(LOOK_CLOSELY) == 0);
	held->id = hp_lease_id(held->lease);
	self.held[self.n_held++] = *held;
	if (held->slot != NO_SLOT)
		shelf_enter(held);
	else
		atomic_store(&self.soak->shown_lease[self.seat], held->id);
}

static void choose_name(struct held *held)
{
	if (held->slot == NO_SLOT && below(2) == 0)
		snprintf(held->name, sizeof(held->name), "shared-%u", below(N_SHARED_NAMES));
	else
		snprintf(held->name, sizeof(held->name), "%u-%u-%u", self.seat, self.life, self.n_named++);
}

static void do_alloc(void)
{
	const struct soak_pool *pool = choose_pool();
	struct held held = {.slot = below(20) == 0 ? shelf_take_slot() : NO_SLOT};
	struct hp_alloc_options options = {.pool = pool->name};
	int r;

	if (below(5) == 0)
		choose_name(&held);
	if (held.name[0])
		options.name = held.name;
	if (held.slot != NO_SLOT)
		options.flags = HP_DETACHED;
	if (below(16) == 0)
		options.align_bytes = pool->page_bytes << below(3);
	r = hp_alloc(self.client, choose_bytes(pool), &options, &held.lease);
	if (r == 0) {
		take_held(&held);
		count(SOAK_ALLOC, 1);
		return;
	}
	raw_check(is_refusal(r, &options), "alloc: %d: %s", r, hp_error());
	if (held.slot != NO_SLOT)
		shelf_put_slot(held.slot);
	count(SOAK_REFUSED, 1);
}

static void do_alloc_batch(void)
{
	const struct soak_pool *pool = choose_pool();
	const struct hp_alloc_options options = {.pool = pool->name};
	unsigned n = 2 + below(pool->max_batch - 1);
	hp_lease *leases[MAX_BATCH] = {NULL};
	uint64_t n_bytes[MAX_BATCH];
	int r;

	for (unsigned i = 0; i < n; i++)
		n_bytes[i] = choose_bytes(pool);
	r = hp_alloc_batch(self.client, n_bytes, n, &options, leases);
	raw_check(r == 0 || is_refusal(r, &options), "alloc batch: %d: %s", r, hp_error());
	for (unsigned i = 0; r == 0 && i < n; i++)
		take_held(&(struct held){.lease = leases[i], .slot = NO_SLOT});
	count(r == 0 ? SOAK_ALLOC_BATCH : SOAK_REFUSED, r == 0 ? n : 1);
}

/* ---- frees ---- */

/* Take one out of what we hold. */
static struct held choose_held(void)
{
	unsigned i = below(self.n_held);
	struct held held = self.held[i];

	self.held[i] = self.held[--self.n_held];
	if (held.lease)
		soak_expect_stamp(held.lease, self.pid);
	return held;
}

static void has_freed(const struct held *held, int r)
{
	raw_check(r == 0, "free of lease %" PRIu64 " \"%s\": %d: %s", held->id, held->name, r, hp_error());
	if (held->slot != NO_SLOT)
		shelf_put_slot(held->slot);
	self.ended_lease = held->id;
}

static void free_forgotten(const struct held *held)
{
	if (held->name[0] && below(2) == 0) {
		has_freed(held, hp_free_name(self.client, held->name));
		count(SOAK_FREE_NAME, 1);
	} else {
		has_freed(held, hp_free_id(self.client, held->id));
		count(SOAK_FREE_ID, 1);
	}
}

static void do_free(void)
{
	struct held held = choose_held();

	if (!held.lease) {
		free_forgotten(&held);
		return;
	}
	has_freed(&held, hp_free(held.lease));
	count(SOAK_FREE, 1);
}

static void do_free_batch(void)
{
	unsigned n = 1 + below(self.n_held < MAX_BATCH ? self.n_held : MAX_BATCH), n_freed = 0;
	struct held held[MAX_BATCH];
	hp_lease *leases[MAX_BATCH];
	int r;

	for (unsigned i = 0; i < n; i++) {
		struct held each = choose_held();

		if (!each.lease) {
			free_forgotten(&each);
			continue;
		}
		leases[n_freed] = each.lease;
		held[n_freed++] = each;
	}
	r = hp_free_batch(leases, n_freed, 0);
	for (unsigned i = 0; i < n_freed; i++)
		has_freed(&held[i], r);
	count(SOAK_FREE_BATCH, n_freed);
}

static void do_free_without_handle(void)
{
	struct held held = choose_held();

	hp_lease_forget(held.lease);
	free_forgotten(&held);
}

static void do_free_twice(void)
{
	int r = self.ended_lease ? hp_free_id(self.client, self.ended_lease) : 0;

	raw_check(r == 0, "free of the ended lease %" PRIu64 ": %d: %s", self.ended_lease, r, hp_error());
	count(SOAK_FREE_TWICE, 1);
}

/* What a client that was closed or killed left behind; -EACCES: the daemon has not seen its end yet. */
static void do_free_abandoned(void)
{
	int slot = shelf_claim(), r;
	struct soak_detached *detached;
	uint64_t lease;

	if (slot == NO_SLOT)
		return;
	detached = &self.soak->shelf[slot];
	lease = atomic_load(&detached->lease);
	if (detached->name[0] && below(2) == 0) {
		r = hp_free_name(self.client, detached->name);
		if (r == -ENOENT && detached->is_shaken)
			r = 0;
	} else {
		r = hp_free_id(self.client, lease);
	}
	raw_check(r == 0 || r == -EACCES, "free of the detached lease %" PRIu64 " \"%s\": %d: %s", lease,
		  detached->name, r, hp_error());
	if (r == 0)
		shelf_put_slot(slot);
	else
		atomic_store(&detached->holder, SOAK_SLOT_NOBODY);
	count(SOAK_FREE_ABANDONED, 1);
}

/* Of a living client, or a dead one whose lease has ended: nothing happens, and its holder looks at its
 * stamps. */
static void do_free_others(void)
{
	unsigned seat = below(SOAK_SEATS);
	uint64_t lease = atomic_load(&self.soak->shown_lease[seat]);
	int refusal = self.soak->uids[seat] == self.soak->uids[self.seat] ? -EACCES : -EPERM, r;

	if (seat == self.seat || lease == 0)
		return;
	r = hp_free_id(self.client, lease);
	raw_check(r == 0 || r == refusal, "free of the lease %" PRIu64 " of seat %u: %d: %s", lease, seat, r,
		  hp_error());
	count(SOAK_FREE_OTHERS, 1);
}

static void do_forget(void)
{
	struct held held = choose_held();

	hp_lease_forget(held.lease);
	held.lease = NULL;
	self.held[self.n_held++] = held;
	count(SOAK_FORGET, 1);
}

/* One size again and again: the path on which the worker's caches serve. */
static void do_hot(void)
{
	const struct soak_pool *pool = choose_pool();
	const struct hp_alloc_options options = {.pool = pool->name};
	uint64_t n_bytes = choose_bytes(pool);

	for (unsigned i = 0; i < HOT_PAIRS; i++) {
		hp_lease *lease;
		int r = hp_alloc(self.client, n_bytes, &options, &lease);

		if (r < 0) {
			raw_check(is_refusal(r, &options), "alloc: %d: %s", r, hp_error());
			count(SOAK_REFUSED, 1);
			return;
		}
		soak_stamp(lease, self.pid, false);
		soak_expect_stamp(lease, self.pid);
		r = hp_free(lease);
		raw_check(r == 0, "free: %d: %s", r, hp_error());
		count(SOAK_HOT, 2);
	}
}

/* ---- the connection ---- */

/* Also as a signal's handler: shutdown() fails for what is not a socket, and does nothing. */
static void shut_sockets(int unused)
{
	int saved_errno = errno;

	for (int fd = FIRST_FD; fd < MAX_FDS; fd++)
		shutdown(fd, SHUT_RDWR);
	errno = saved_errno;
}

static void set_timer(unsigned in_us)
{
	const struct itimerval value = {.it_value.tv_usec = in_us};

	raw_check(setitimer(ITIMER_REAL, &value, NULL) == 0, "setitimer: %s", strerror(errno));
}

static void do_break(void)
{
	shut_sockets(0);
	count(SOAK_BREAK, 1);
}

/* In the middle of one of the next operations. */
static void do_break_later(void)
{
	set_timer(1 + below(BREAK_WITHIN_US));
	count(SOAK_BREAK_LATER, 1);
}

static void open_client(void)
{
	int r = hp_open(self.soak->socket, &self.client);

	raw_check(r == 0, "open: %d: %s", r, hp_error());
}

/* Every lease ends, but for the detached ones, which are anybody's then. */
static void close_client(void)
{
	for (unsigned i = 0; i < self.n_held; i++)
		if (self.held[i].lease)
			soak_expect_stamp(self.held[i].lease, self.pid);
	self.client = hp_close(self.client);
	for (; self.n_held > 0; self.n_held--)
		if (self.held[self.n_held - 1].slot != NO_SLOT)
			atomic_store(&self.soak->shelf[self.held[self.n_held - 1].slot].holder,
				     SOAK_SLOT_NOBODY);
}

static void do_reopen(void)
{
	close_client();
	/* A session that is broken before its token has arrived is nobody's, until this process ends. */
	set_timer(0);
	open_client();
	count(SOAK_REOPEN, 1);
}

/* ---- all together ---- */

enum need {
	NOTHING,
	ROOM, /* for a batch more */
	HELD, /* a lease at least */
};

static const struct act {
	void (*run)(void);
	unsigned weight;
	enum need need;
} acts[] = {
	{do_alloc, 260, ROOM},
	{do_alloc_batch, 60, ROOM},
	{do_free, 240, HELD},
	{do_free_batch, 65, HELD},
	{do_free_without_handle, 50, HELD},
	{do_free_twice, 20, NOTHING},
	{do_free_abandoned, 20, NOTHING},
	{do_free_others, 20, NOTHING},
	{do_forget, 15, HELD},
	{do_hot, 20, NOTHING},
	{do_break, 3, NOTHING},
	{do_break_later, 8, NOTHING},
	{do_reopen, 3, NOTHING},
};
#define N_ACTS (sizeof(acts) / sizeof(acts[0]))

static const struct act *choose_act(void)
{
	unsigned sum = 0, roll;

	for (unsigned i = 0; i < N_ACTS; i++)
		sum += acts[i].weight;
	roll = below(sum);
	for (unsigned i = 0;; roll -= acts[i++].weight)
		if (roll < acts[i].weight)
			return &acts[i];
}

void soak_client_run(void *arg)
{
	const struct soak_part *part = arg;
	const struct sigaction on_alarm = {.sa_handler = shut_sockets};

	/* The test's own descriptors, its lock among them. */
	raw_check(syscall(SYS_close_range, FIRST_FD, ~0u, 0) == 0, "close_range: %s", strerror(errno));
	raw_check(sigaction(SIGALRM, &on_alarm, NULL) == 0, "sigaction: %s", strerror(errno));
	self.soak = part->soak;
	self.seat = part->seat;
	self.life = part->life;
	self.pid = (uint32_t)getpid();
	self.uid = getuid();
	self.random =
		self.soak->seed ^ ((uint64_t)self.seat << 32 | self.life) * UINT64_C(0xd1342543de82ef95);
	open_client();
	while (atomic_load(&self.soak->n_operations[self.seat]) < part->n_until) {
		const struct act *act = choose_act();

		if ((act->need == HELD && self.n_held == 0) ||
		    (act->need == ROOM && self.n_held + MAX_BATCH > MAX_HELD))
			continue;
		act->run();
	}
	close_client();
}

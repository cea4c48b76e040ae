/* kinds_client.c - see kinds_client.h.
 *
 * One thread. What has files of its own an operator may revoke, so of those no lease is sure to live until it
 * is freed. A lease's name says what whoever opens it may expect: its maker's uid, who may open it, and
 * whether it can end at any time.
 */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/include/hugepool.h"
#include "tests/stress/kinds_client.h"
#include "tests/stress/kinds_stamp.h"
#include "tests/stress/soak_random.h"
#include "tests/support/raw.h"

#define MAX_HELD        96
#define MAX_BATCH       16
#define MAX_NAME        48
#define HOT_PAIRS       16
#define MAX_WAIT_MS     5
#define MAX_LIFETIME_MS 300
#define MAX_RUNS        8
#define FIRST_FD        3
#define MAX_FDS         256
#define OWN_MAPPING     (HP_READ_ONLY | HP_PRIVATE | HP_POPULATE | HP_LOCK | HP_GUARD)

struct held {
	hp_lease *lease; /* NULL: forgotten, its memory is not to be touched */
	uint64_t id;
	const struct kinds_pool *pool;
	unsigned flags;
	enum kinds_look look; /* that finds it as it should be */
	uid_t maker;
	bool is_mortal, is_opened;
	char name[MAX_NAME];
};

static struct {
	struct kinds *kinds;
	unsigned seat;
	uid_t uid;
	uint64_t random;
	hp_client *client;
	struct held held[MAX_HELD];
	unsigned n_held;
	uint64_t ended_lease; /* freed by us */
} self;

static unsigned below(unsigned bound)
{
	return (unsigned)(soak_random(&self.random) % bound);
}

static bool one_in(unsigned n)
{
	return below(n) == 0;
}

static void count(enum kinds_count what, unsigned n)
{
	atomic_fetch_add_explicit(&self.kinds->n_of[what], n, memory_order_relaxed);
	if (what <= KINDS_REFUSED)
		atomic_fetch_add_explicit(&self.kinds->n_operations[self.seat], n, memory_order_relaxed);
}

/* ---- looks at what we hold ---- */

static bool look_from(struct held *held, uint64_t from_bytes, enum kinds_look look)
{
	const struct kinds_memory memory = {
		.data = hp_lease_data(held->lease),
		.from_bytes = from_bytes,
		.to_bytes = hp_lease_bytes(held->lease),
		.lease = held->is_opened ? 0 : held->id,
		.maker = held->maker,
		.is_mortal = held->is_mortal,
		.is_open = held->name[0] != 0,
		.pool = held->pool->name,
		.flags = held->flags,
	};
	bool is_there = kinds_look(&memory, look);

	if (!is_there)
		count(KINDS_ENDED, 1);
	return is_there;
}

static void look(struct held *held)
{
	if (held->lease)
		look_from(held, 0, held->look);
}

static void hold(struct held *held)
{
	held->id = hp_lease_id(held->lease);
	if (held->flags & HP_READ_ONLY)
		look_from(held, 0, held->look = KINDS_BLANK);
	else
		look_from(held, 0, held->flags & HP_NO_ZERO ? KINDS_TAKE_OLD : KINDS_TAKE);
	self.held[self.n_held++] = *held;
	if (!(held->flags & HP_DETACHED))
		atomic_store(&self.kinds->shown_lease[self.seat], held->id);
}

/* Take one out of what we hold. */
static struct held choose_held(void)
{
	unsigned i = below(self.n_held);
	struct held held = self.held[i];

	self.held[i] = self.held[--self.n_held];
	look(&held);
	return held;
}

/* ---- allocs ---- */

static const struct kinds_pool *choose_pool(void)
{
	unsigned sum = 0, roll;

	for (unsigned i = 0; i < self.kinds->n_pools; i++)
		sum += self.kinds->pools[i].weight;
	assert(sum > 0);
	roll = below(sum);
	for (unsigned i = 0;; roll -= self.kinds->pools[i++].weight)
		if (roll < self.kinds->pools[i].weight)
			return &self.kinds->pools[i];
}

/* Mostly one page. */
static uint64_t choose_bytes(const struct kinds_pool *pool)
{
	uint64_t n_pages = one_in(2) ? 1 : 1 + below(pool->max_pages);

	return n_pages * pool->page_bytes - one_in(8);
}

static bool is_refusal(int r, const struct hp_alloc_options *options)
{
	return r == -ENOSPC || r == -EDQUOT || r == -ESHUTDOWN || (r == -EEXIST && options->name) ||
	       (r == -ETIME && options->wait_ms > 0) || (r == -ENOMEM && options->flags & HP_LOCK);
}

/* A mapping of its own, sometimes. Copies of hugepages are more than the host has. */
static unsigned choose_mapping(const struct kinds_pool *pool)
{
	static const unsigned ways[] = {HP_READ_ONLY,
					HP_POPULATE,
					HP_GUARD,
					HP_LOCK,
					HP_GUARD | HP_POPULATE,
					HP_PRIVATE,
					HP_PRIVATE | HP_POPULATE};
	const unsigned n_ways = sizeof(ways) / sizeof(ways[0]) - (pool->page_bytes > 4096 ? 2 : 0);

	return one_in(12) ? ways[below(n_ways)] : 0;
}

/* What several leases can have in common. */
static void choose_options(struct held *held, struct hp_alloc_options *options)
{
	options->pool = held->pool->name;
	held->flags = choose_mapping(held->pool);
	if (one_in(8))
		held->flags |= HP_CONTIGUOUS;
	else if (one_in(4))
		options->max_runs = 1 + below(MAX_RUNS);
	if (one_in(16))
		options->align_bytes = held->pool->page_bytes << below(3);
	if (one_in(16))
		options->wait_ms = 1 + below(MAX_WAIT_MS);
	if (one_in(60))
		held->flags |= HP_REVOCABLE;
	if (one_in(80))
		options->lifetime_ms = 1 + below(MAX_LIFETIME_MS);
	held->is_mortal = held->pool->is_evicted || held->pool->is_sole || held->flags & HP_REVOCABLE ||
			  options->lifetime_ms > 0;
}

/* Who else may open it: nobody, others for reading, others for writing. */
static void choose_name(struct held *held, struct hp_alloc_options *options, struct hp_access *access)
{
	char who = "prw"[below(3)];

	held->is_mortal = held->is_mortal || who != 'p';
	snprintf(held->name, sizeof(held->name), "%u-%u-%c-%c", self.uid, below(KINDS_N_NAMES), who,
		 held->is_mortal ? 'm' : 'f');
	options->name = held->name;
	if (who == 'p')
		return;
	if (one_in(2)) {
		options->mode = who == 'r' ? 0604 : 0606;
		return;
	}
	for (unsigned i = 0; i < KINDS_TENANTS; i++)
		access[i] = (struct hp_access){.id = self.kinds->uids[i], .may_write = who == 'w'};
	options->access = access;
	options->n_access = KINDS_TENANTS;
}

static struct held new_held(void)
{
	return (struct held){.pool = choose_pool(), .look = KINDS_KEPT, .maker = self.uid};
}

static void do_alloc(void)
{
	struct hp_alloc_options options = {0};
	struct hp_access access[KINDS_TENANTS];
	struct held held = new_held();
	int r;

	choose_options(&held, &options);
	if (one_in(12))
		choose_name(&held, &options, access);
	else if (one_in(10) && !(held.flags & OWN_MAPPING))
		held.flags |= HP_NO_ZERO;
	if (one_in(30))
		held.flags |= HP_DETACHED;
	options.flags = held.flags;
	r = hp_alloc(self.client, choose_bytes(held.pool), &options, &held.lease);
	raw_check(r == 0 || is_refusal(r, &options), "alloc: %d: %s", r, hp_error());
	if (r == 0)
		hold(&held);
	count(r == 0 ? KINDS_ALLOC : KINDS_REFUSED, 1);
}

static void do_alloc_batch(void)
{
	struct hp_alloc_options options = {0};
	struct held held = new_held();
	unsigned n = 1 + below(held.pool->max_batch);
	hp_lease *leases[MAX_BATCH] = {NULL};
	uint64_t n_bytes[MAX_BATCH];
	int r;

	choose_options(&held, &options);
	if (one_in(10) && !(held.flags & OWN_MAPPING))
		held.flags |= HP_NO_ZERO;
	options.flags = held.flags;
	for (unsigned i = 0; i < n; i++)
		n_bytes[i] = choose_bytes(held.pool);
	r = hp_alloc_batch(self.client, n_bytes, n, &options, leases);
	raw_check(r == 0 || is_refusal(r, &options), "alloc batch: %d: %s", r, hp_error());
	for (unsigned i = 0; r == 0 && i < n; i++) {
		struct held each = held;

		each.lease = leases[i];
		hold(&each);
	}
	count(r == 0 ? KINDS_BATCH : KINDS_REFUSED, r == 0 ? n : 1);
}

/* One size again and again: the path on which the worker's caches serve. */
static void do_hot(void)
{
	struct held held = new_held();
	const struct hp_alloc_options options = {.pool = held.pool->name};
	uint64_t n_bytes = choose_bytes(held.pool);

	if (held.pool->is_sole)
		return;
	held.is_mortal = held.pool->is_evicted;
	for (unsigned i = 0; i < HOT_PAIRS; i++) {
		int r = hp_alloc(self.client, n_bytes, &options, &held.lease);

		raw_check(r == 0 || is_refusal(r, &options), "alloc: %d: %s", r, hp_error());
		if (r < 0) {
			count(KINDS_REFUSED, 1);
			return;
		}
		hold(&held);
		self.n_held--;
		look(&held);
		r = hp_free(held.lease);
		raw_check(r == 0, "free: %d: %s", r, hp_error());
		count(KINDS_HOT, 2);
	}
}

/* ---- what others have named ---- */

static bool may_open(uid_t maker, char who, bool for_writing)
{
	return maker == self.uid || who == 'w' || (who == 'r' && !for_writing);
}

static void do_open(void)
{
	char who = "prw"[below(3)];
	bool is_mortal = who != 'p' || one_in(2), reads = one_in(2);
	struct held held = {
		.pool = &self.kinds->pools[0],
		.maker = self.kinds->uids[below(KINDS_SEATS)],
		.is_opened = true,
		.is_mortal = is_mortal,
		.flags = reads ? HP_READ_ONLY : 0,
		.look = reads ? KINDS_OPENED : KINDS_MARK,
	};
	bool is_allowed = may_open(held.maker, who, !reads);
	int r;

	snprintf(held.name, sizeof(held.name), "%u-%u-%c-%c", held.maker, below(KINDS_N_NAMES), who,
		 is_mortal ? 'm' : 'f');
	r = hp_lease_open(self.client, held.name, held.flags, &held.lease);
	raw_check(is_allowed || r < 0, "\"%s\" was opened by %u", held.name, self.uid);
	raw_check(r == 0 || r == -ENOENT || r == -EBUSY || (r == -EPERM && !is_allowed),
		  "open of \"%s\" by %u: %d: %s", held.name, self.uid, r, hp_error());
	count(r == 0 ? KINDS_OPEN : KINDS_REFUSED, 1);
	if (r < 0)
		return;
	held.id = hp_lease_id(held.lease);
	look(&held);
	self.held[self.n_held++] = held;
}

/* ---- resizes and looks ---- */

static void do_resize(void)
{
	struct held held = choose_held();
	uint64_t old_bytes, new_bytes = choose_bytes(held.pool);
	int r;

	self.held[self.n_held++] = held;
	if (!held.lease)
		return;
	old_bytes = hp_lease_bytes(held.lease);
	r = hp_lease_resize(held.lease, new_bytes, one_in(2) ? HP_MAY_MOVE : 0);
	count(r == 0 ? KINDS_RESIZE : KINDS_REFUSED, 1);
	raw_check(r == 0 || r == -ENOSPC || r == -EDQUOT || r == -EBUSY || r == -ESHUTDOWN ||
			  (r == -ENOENT && held.is_mortal) || (r == -ENOMEM && held.flags & HP_LOCK),
		  "resize of lease %" PRIu64 " \"%s\": %d: %s", held.id, held.name, r, hp_error());
	if (r == 0)
		new_bytes = (new_bytes + held.pool->page_bytes - 1) / held.pool->page_bytes *
			    held.pool->page_bytes;
	else
		new_bytes = old_bytes;
	raw_check(hp_lease_bytes(held.lease) == new_bytes, "resized to %" PRIu64 ", not %" PRIu64,
		  hp_lease_bytes(held.lease), new_bytes);
	raw_check(!held.is_opened || new_bytes == old_bytes, "an opened lease was resized");
	if (new_bytes > old_bytes)
		look_from(&held, old_bytes, held.flags & HP_READ_ONLY ? KINDS_BLANK : KINDS_TAKE);
	look(&held);
}

static void do_look(void)
{
	look(&self.held[below(self.n_held)]);
	count(KINDS_LOOK, 1);
}

/* ---- frees ---- */

static void has_freed(const struct held *held, int r)
{
	raw_check(r == 0 || (held->is_mortal && held->name[0] && r == -ENOENT),
		  "free of lease %" PRIu64 " \"%s\": %d: %s", held->id, held->name, r, hp_error());
	self.ended_lease = held->id;
}

static void free_forgotten(const struct held *held)
{
	has_freed(held, hp_free_id(self.client, held->id));
	count(KINDS_FREE_ID, 1);
}

static void do_free(void)
{
	struct held held = choose_held();

	if (!held.lease) {
		free_forgotten(&held);
		return;
	}
	has_freed(&held, hp_free(held.lease));
	count(KINDS_FREE, 1);
}

static void do_free_batch(void)
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

static void do_free_id(void)
{
	struct held held = choose_held();

	hp_lease_forget(held.lease);
	free_forgotten(&held);
}

static void do_free_twice(void)
{
	int r = self.ended_lease ? hp_free_id(self.client, self.ended_lease) : 0;

	raw_check(r == 0, "free of the ended lease %" PRIu64 ": %d: %s", self.ended_lease, r, hp_error());
	count(KINDS_FREE_ID, 1);
}

static bool is_held(const char *name)
{
	for (unsigned i = 0; i < self.n_held; i++)
		if (strcmp(self.held[i].name, name) == 0)
			return true;
	return false;
}

/* Anybody's name: only a detached lease of our own user, that nobody holds, may end by this. 0 is also said
 * of one that has ended since its name was found. */
static void do_free_name(void)
{
	uid_t maker = self.kinds->uids[below(KINDS_SEATS)];
	char name[MAX_NAME];
	int r;

	snprintf(name, sizeof(name), "%u-%u-%c-%c", maker, below(KINDS_N_NAMES), "prw"[below(3)],
		 "mf"[below(2)]);
	if (is_held(name))
		return;
	r = hp_free_name(self.client, name);
	raw_check(r == -ENOENT || r == -EACCES || r == 0 || (r == -EPERM && maker != self.uid),
		  "free of \"%s\" by %u: %d: %s", name, self.uid, r, hp_error());
	count(KINDS_FREE_NAME, 1);
}

/* Of a living client, or a dead one whose lease has ended: nothing happens, and its holder looks at its
 * stamps. */
static void do_free_others(void)
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

static void do_forget(void)
{
	struct held held = choose_held();

	hp_lease_forget(held.lease);
	held.lease = NULL;
	self.held[self.n_held++] = held;
	count(KINDS_FORGET, 1);
}

/* ---- the connection ---- */

static void do_break(void)
{
	for (int fd = FIRST_FD; fd < MAX_FDS; fd++)
		shutdown(fd, SHUT_RDWR);
	count(KINDS_BREAK, 1);
}

static void open_client(void)
{
	int r = hp_open(self.kinds->socket, &self.client);

	raw_check(r == 0, "open: %d: %s", r, hp_error());
}

/* Every lease ends, but for the detached ones, which live on by their names or until the test's end. */
static void close_client(void)
{
	for (unsigned i = 0; i < self.n_held; i++)
		look(&self.held[i]);
	self.n_held = 0;
	self.client = hp_close(self.client);
}

static void do_reopen(void)
{
	close_client();
	open_client();
	count(KINDS_REOPEN, 1);
}

/* ---- all together ---- */

enum need {
	NOTHING,
	ROOM, /* for a batch more */
	HELD, /* a lease at least */
	HANDLE,
};

static const struct act {
	void (*run)(void);
	unsigned weight;
	enum need need;
} acts[] = {
	{do_alloc, 260, ROOM},        {do_alloc_batch, 60, ROOM},  {do_hot, 20, NOTHING},
	{do_open, 20, ROOM},          {do_resize, 60, HELD},       {do_look, 60, HELD},
	{do_free, 200, HELD},         {do_free_batch, 65, HELD},   {do_free_id, 40, HELD},
	{do_free_twice, 20, NOTHING}, {do_free_name, 20, NOTHING}, {do_free_others, 20, NOTHING},
	{do_forget, 15, HELD},        {do_break, 3, NOTHING},      {do_reopen, 2, NOTHING},
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

void kinds_client_run(void *arg)
{
	const struct kinds_part *part = arg;

	/* The test's own descriptors, its lock among them. */
	raw_check(syscall(SYS_close_range, FIRST_FD, ~0u, 0) == 0, "close_range: %s", strerror(errno));
	kinds_stamp_init();
	self.kinds = part->kinds;
	self.seat = part->seat;
	self.uid = getuid();
	self.random =
		self.kinds->seed ^ ((uint64_t)self.seat << 32 | part->life) * UINT64_C(0xd1342543de82ef95);
	open_client();
	while (atomic_load(&self.kinds->n_operations[self.seat]) < part->n_until) {
		const struct act *act = choose_act();

		if ((act->need == HELD && self.n_held == 0) ||
		    (act->need == ROOM && self.n_held + MAX_BATCH > MAX_HELD))
			continue;
		act->run();
	}
	close_client();
}

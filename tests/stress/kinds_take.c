/* kinds_take.c - see kinds_self.h: operations that take memory, and what they may be refused for. */
#include <config.h>

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/stress/kinds_self.h"
#include "tests/support/raw.h"

#define HOT_PAIRS       16
#define MAX_WAIT_MS     5
#define MAX_LIFETIME_MS 300
#define MAX_RUNS        8

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

/* It could not be mapped any more, and we never see it. */
static bool was_revoked(int r)
{
	return r == -ENOENT && strstr(hp_error(), "revoked");
}

static bool is_refusal(const struct held *held, int r, uint64_t wait_ms)
{
	return r == -ENOSPC || r == -EDQUOT || r == -ESHUTDOWN || (r == -EEXIST && held->name[0]) ||
	       (r == -ETIME && wait_ms > 0) || (r == -ENOMEM && held->flags & HP_LOCK) ||
	       (held->is_mortal && was_revoked(r));
}

/* For `n` leases. */
static void check_alloced(const struct held *held, int r, uint64_t wait_ms, unsigned n)
{
	raw_check(r == 0 || is_refusal(held, r, wait_ms), "alloc: %d: %s", r, hp_error());
	if (r == -ENOENT || r == -ENOMEM)
		event_expect_unseen(n);
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
	if (one_in(16))
		options->node = 1; /* node 0: every host has it */
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
	kinds_name(held->name, self.uid, who, held->is_mortal);
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
	return (struct held){
		.pool = choose_pool(), .look = KINDS_KEPT, .maker = self.uid, .n_losses = event_n_losses()};
}

/* In a pool where tenants are one, it may have anybody's stamps. */
static void choose_no_zero(struct held *held)
{
	if (one_in(10) && !held->pool->is_common && !(held->flags & OWN_MAPPING))
		held->flags |= HP_NO_ZERO;
}

void choose_alloc(struct alloc_plan *plan)
{
	*plan = (struct alloc_plan){.held = new_held()};
	choose_options(&plan->held, &plan->options);
	if (one_in(8))
		choose_name(&plan->held, &plan->options, plan->access);
	else
		choose_no_zero(&plan->held);
	if (one_in(30))
		plan->held.flags |= HP_DETACHED;
	plan->options.flags = plan->held.flags;
	plan->bytes = choose_bytes(plan->held.pool);
}

bool has_alloced(struct held *held, int r, uint64_t wait_ms)
{
	check_alloced(held, r, wait_ms, 1);
	if (r == 0)
		hold(held);
	return r == 0;
}

void do_alloc(void)
{
	struct alloc_plan plan;
	int r;

	choose_alloc(&plan);
	r = hp_alloc(self.client, plan.bytes, &plan.options, &plan.held.lease);
	count(has_alloced(&plan.held, r, plan.options.wait_ms) ? KINDS_ALLOC : KINDS_REFUSED, 1);
}

void do_alloc_batch(void)
{
	struct hp_alloc_options options = {0};
	struct held held = new_held();
	unsigned n = 1 + below(held.pool->max_batch);
	hp_lease *leases[MAX_BATCH] = {NULL};
	uint64_t n_bytes[MAX_BATCH];
	int r;

	choose_options(&held, &options);
	choose_no_zero(&held);
	options.flags = held.flags;
	for (unsigned i = 0; i < n; i++)
		n_bytes[i] = choose_bytes(held.pool);
	r = hp_alloc_batch(self.client, n_bytes, n, &options, leases);
	check_alloced(&held, r, options.wait_ms, n);
	for (unsigned i = 0; r == 0 && held.is_mortal && i < n; i++)
		event_expect(hp_lease_id(leases[i]));
	for (unsigned i = 0; r == 0 && i < n; i++) {
		struct held each = held;

		each.lease = leases[i];
		hold(&each);
	}
	count(r == 0 ? KINDS_BATCH : KINDS_REFUSED, r == 0 ? n : 1);
}

/* One size again and again: the path on which the worker's caches serve. */
void do_hot(void)
{
	struct held held = new_held();
	const struct hp_alloc_options options = {.pool = held.pool->name};
	uint64_t n_bytes = choose_bytes(held.pool);

	if (held.pool->is_sole)
		return;
	held.is_mortal = held.pool->is_evicted;
	for (unsigned i = 0; i < HOT_PAIRS; i++) {
		int r = hp_alloc(self.client, n_bytes, &options, &held.lease);

		check_alloced(&held, r, 0, 1);
		if (r < 0) {
			count(KINDS_REFUSED, 1);
			return;
		}
		look_first(&held);
		look(&held);
		r = hp_free(held.lease);
		raw_check(r == 0, "free: %d: %s", r, hp_error());
		count(KINDS_HOT, 2);
	}
}

/* ---- what others have named ---- */

static bool may_open(const struct held *held)
{
	char who = kinds_name_who(held->name);

	return held->maker == self.uid || who == 'w' || (who == 'r' && held->flags & HP_READ_ONLY);
}

struct held choose_opened(void)
{
	static const unsigned ways[] = {HP_GUARD, HP_POPULATE, HP_LOCK};
	char who = "prrww"[below(5)];
	bool is_mortal = who != 'p' || one_in(2), reads = one_in(2);
	struct held held = {
		.pool = &self.kinds->pools[0],
		.maker = self.kinds->uids[below(KINDS_SEATS)],
		.is_opened = true,
		.is_mortal = is_mortal,
		.flags = reads ? HP_READ_ONLY : 0,
		.look = reads ? KINDS_OPENED : KINDS_MARK,
		.n_losses = event_n_losses(),
	};

	if (one_in(6))
		held.flags |= ways[below(sizeof(ways) / sizeof(ways[0]))];
	kinds_name(held.name, held.maker, who, is_mortal);
	return held;
}

bool has_opened(struct held *held, int r)
{
	bool is_allowed = may_open(held);

	raw_check(is_allowed || r < 0, "\"%s\" was opened by %u", held->name, self.uid);
	raw_check(r == 0 || r == -ENOENT || (r == -EPERM && !is_allowed) ||
			  (r == -ENOMEM && held->flags & HP_LOCK),
		  "open of \"%s\" by %u: %d: %s", held->name, self.uid, r, hp_error());
	if (was_revoked(r) || r == -ENOMEM)
		event_expect_unseen(1);
	if (r < 0)
		return false;
	held->id = hp_lease_id(held->lease);
	if (held->is_mortal)
		event_expect(held->id);
	look(held);
	keep(held);
	return true;
}

void do_open(void)
{
	struct held held = choose_opened();
	int r = hp_lease_open(self.client, held.name, held.flags, &held.lease);

	count(has_opened(&held, r) ? KINDS_OPEN : KINDS_REFUSED, 1);
}

/* ---- what we hold ---- */

void do_resize(void)
{
	struct held held = choose_held();
	uint64_t old_bytes, new_bytes = choose_bytes(held.pool);
	int r;

	keep(&held);
	if (!held.lease)
		return;
	old_bytes = hp_lease_bytes(held.lease);
	r = hp_lease_resize(held.lease, new_bytes, one_in(2) ? HP_MAY_MOVE : 0);
	count(r == 0 ? KINDS_RESIZE : KINDS_REFUSED, 1);
	raw_check(r == 0 || r == -ENOSPC || r == -EDQUOT || r == -EBUSY || r == -ESHUTDOWN ||
			  (held.is_mortal && r == -ENOENT) || (r == -ENOMEM && held.flags & HP_LOCK),
		  "resize of lease %" PRIu64 " \"%s\": %d: %s", held.id, held.name, r, hp_error());
	if (r == 0 && !held.is_opened)
		new_bytes = (new_bytes + held.pool->page_bytes - 1) / held.pool->page_bytes *
			    held.pool->page_bytes;
	else
		new_bytes = old_bytes;
	raw_check(hp_lease_bytes(held.lease) == new_bytes, "resized to %" PRIu64 ", not %" PRIu64,
		  hp_lease_bytes(held.lease), new_bytes);
	if (new_bytes > old_bytes)
		look_from(&held, old_bytes, held.flags & HP_READ_ONLY ? KINDS_BLANK : KINDS_TAKE);
	look(&held);
}

/* As another process would that was handed the descriptor. */
static void look_at_run(const struct held *held, int fd, uint64_t offset, uint64_t bytes)
{
	void *data = mmap(NULL, bytes, PROT_READ, MAP_SHARED | MAP_NORESERVE, fd, (off_t)offset);
	const struct kinds_memory memory = memory_of(held, data, bytes);
	enum kinds_look what = held->look == KINDS_MARK ? KINDS_OPENED : held->look;

	raw_check(data != MAP_FAILED, "map of lease %" PRIu64 ": %s", held->id, strerror(errno));
	/* What was written into a private mapping is not in the file. */
	(void)kinds_look(&memory, held->flags & HP_PRIVATE ? KINDS_BLANK : what);
	munmap(data, bytes);
}

void do_dup(void)
{
	const struct held held = self.held[below(self.n_held)];
	uint64_t sum = 0, offset, bytes;
	int fd;

	if (!held.lease)
		return;
	for (unsigned run = 0; (fd = hp_lease_dup_fd(held.lease, run, &offset, &bytes)) >= 0; run++) {
		sum += bytes;
		look_at_run(&held, fd, offset, bytes);
		close(fd);
	}
	raw_check(fd == -ENOENT && sum == hp_lease_bytes(held.lease),
		  "lease %" PRIu64 ": %d: %s, after %" PRIu64 " bytes", held.id, fd, hp_error(), sum);
	count(KINDS_DUP, 1);
}

/* kinds_operator.c - an operator who takes memory back while the clients of kinds_client.h run: revokes,
 * evicts, isolates and restores, drains and restores. What it does is over, or undone, when it returns. */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/lib/client.h"
#include "tests/stress/kinds_client.h"
#include "tests/support/dut.h"
#include "tests/support/random.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"

#define FIRST_FD   3
#define DO_NOTHING 4 /* so many looks to one act */

static struct {
	struct kinds *kinds;
	hp_client *client;
	uint64_t random;
} self;

static unsigned below(unsigned bound)
{
	return (unsigned)(random_next(&self.random) % bound);
}

static void count(enum kinds_count what)
{
	atomic_fetch_add(&self.kinds->n_of[what], 1);
}

/* Send it; `refusal` is the only errno that it may have. */
static bool order(Hugepool__Request *request, int refusal, const char *what)
{
	Hugepool__Reply *reply;
	int r = client_call(self.client, request, &reply);

	raw_check(r == 0 || r == refusal, "%s: %d: %s", what, r, hp_error());
	if (r == 0)
		hugepool__reply__free_unpacked(reply, NULL);
	return r == 0;
}

static Hugepool__Reply *ask(Hugepool__Request *request)
{
	Hugepool__Reply *reply;
	int r = client_call(self.client, request, &reply);

	raw_check(r == 0, "a list: %d: %s", r, hp_error());
	return reply;
}

static const struct kinds_pool *choose_pool(void)
{
	return &self.kinds->pools[below(self.kinds->n_pools)];
}

/* One that can be. */
static void revoke_one(void)
{
	Hugepool__Leases list = HUGEPOOL__LEASES__INIT;
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT, order_request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Revoke method = HUGEPOOL__REVOKE__INIT;
	Hugepool__Reply *reply;

	request.method_case = HUGEPOOL__REQUEST__METHOD_LEASES;
	request.leases = &list;
	reply = ask(&request);
	for (size_t i = 0; i < reply->leases->n_leases && method.lease == 0; i++)
		if (reply->leases->leases[i]->revocable && below(2) == 0)
			method.lease = reply->leases->leases[i]->lease;
	hugepool__reply__free_unpacked(reply, NULL);
	if (method.lease == 0)
		return;
	order_request.method_case = HUGEPOOL__REQUEST__METHOD_REVOKE;
	order_request.revoke = &method;
	if (order(&order_request, 0, "revoke"))
		count(KINDS_REVOKED);
}

/* An arena of the pool, 0 if it has none. */
static uint64_t choose_arena(const struct kinds_pool *pool)
{
	Hugepool__BuddyInfo method = HUGEPOOL__BUDDY_INFO__INIT;
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Reply *reply;
	uint64_t arena = 0;

	method.pool = (char *)pool->name;
	request.method_case = HUGEPOOL__REQUEST__METHOD_BUDDYINFO;
	request.buddyinfo = &method;
	reply = ask(&request);
	if (reply->buddyinfo->n_arenas > 0)
		arena = reply->buddyinfo->arenas[below((unsigned)reply->buddyinfo->n_arenas)]->arena;
	hugepool__reply__free_unpacked(reply, NULL);
	return arena;
}

/* It may have gone since we saw it. */
static void evict(void)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Evict method = HUGEPOOL__EVICT__INIT;
	const struct kinds_pool *pool = choose_pool();

	method.arena = pool->is_evicted ? choose_arena(pool) : 0;
	if (method.arena == 0)
		return;
	request.method_case = HUGEPOOL__REQUEST__METHOD_EVICT;
	request.evict = &method;
	if (order(&request, -EPROTO, "evict"))
		count(KINDS_EVICTED);
}

static bool isolate(uint64_t arena)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Isolate method = HUGEPOOL__ISOLATE__INIT;

	method.arena = arena;
	request.method_case = HUGEPOOL__REQUEST__METHOD_ISOLATE;
	request.isolate = &method;
	return order(&request, -EPROTO, "isolate");
}

static void restore(uint64_t arena, const struct kinds_pool *pool)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Restore method = HUGEPOOL__RESTORE__INIT;

	method.arena = arena;
	if (arena == 0)
		method.pool = (char *)pool->name;
	request.method_case = HUGEPOOL__REQUEST__METHOD_RESTORE;
	request.restore = &method;
	order(&request, arena ? -EPROTO : 0, "restore");
}

static void isolate_and_restore(void)
{
	uint64_t arena = choose_arena(choose_pool());

	if (arena == 0 || !isolate(arena))
		return;
	wait_pause();
	restore(arena, NULL);
	count(KINDS_ISOLATED);
}

static void drain_and_restore(void)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Drain method = HUGEPOOL__DRAIN__INIT;
	const struct kinds_pool *pool = choose_pool();

	method.pool = (char *)pool->name;
	request.method_case = HUGEPOOL__REQUEST__METHOD_DRAIN;
	request.drain = &method;
	order(&request, 0, "drain");
	wait_pause();
	restore(0, pool);
	count(KINDS_DRAINED);
}

void kinds_operator_run(void *arg)
{
	static void (*const acts[])(void) = {
		revoke_one, revoke_one,          revoke_one,          evict,
		evict,      isolate_and_restore, isolate_and_restore, drain_and_restore};
	int r;

	raw_check(syscall(SYS_close_range, FIRST_FD, ~0u, 0) == 0, "close_range: %s", strerror(errno));
	self.kinds = arg;
	self.random = ~self.kinds->seed;
	r = hp_open(self.kinds->socket, &self.client);
	raw_check(r == 0, "open: %d: %s", r, hp_error());
	while (!atomic_load(&self.kinds->is_over)) {
		wait_pause();
		if (below(DO_NOTHING) == 0)
			acts[below(sizeof(acts) / sizeof(acts[0]))]();
	}
	self.client = hp_close(self.client);
}

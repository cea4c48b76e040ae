/* house.c - see house.h. */
#include <config.h>

#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/lease/audit.h"
#include "tests/support/house.h"

void house_init(struct house *house, uint64_t max_pages, uint64_t arena_pages, uint64_t reserve_pages,
		uint64_t quota_pages)
{
	house_init_sized(house, 4096, max_pages, arena_pages, reserve_pages, quota_pages);
}

void house_init_sized(struct house *house, uint64_t page_bytes, uint64_t max_pages, uint64_t arena_pages,
		      uint64_t reserve_pages, uint64_t quota_pages)
{
	struct account_limits limits;
	char *error;

	memset(house, 0, sizeof(*house));
	house->config = (struct pool_config){
		.name = "house",
		.page_bytes = page_bytes,
		.max_pages = max_pages,
		.reserve_pages = reserve_pages,
		.arena_pages = arena_pages,
		.quota_pages = quota_pages,
		.everybody = true,
		.decay_ms = 0,
		.node = -1,
	};
	hp_assert(stocker_init(&house->stocker, house->pools) == 0);
	hp_assert(mailbox_init(&house->scrubber) == 0 && mailbox_init(&house->janitor) == 0);
	for (unsigned i = 0; i < HOUSE_WORKERS; i++) {
		hp_assert(mailbox_init(&house->worker_boxes[i]) == 0);
		house->worker_ptrs[i] = &house->worker_boxes[i];
	}
	house->threads = (struct pool_threads){
		.stocker = &house->stocker.mailbox,
		.scrubber = &house->scrubber,
		.janitor = &house->janitor,
		.workers = house->worker_ptrs,
		.n_workers = HOUSE_WORKERS,
	};
	hp_assert(pool_new(&house->config, 0, &house->threads, NULL, &house->pools[0], &error) == 0);
	hp_assert(pool_fill_reserve(house->pools[0]) == 0);
	house->stocker.n_pools = 1;
	house->stocker.next_tick_ns = clock_now_ns() + 1000 * NS_PER_S; /* house_tick() makes the ticks */
	house->ledger = ledger_new(HOUSE_WORKERS, max_pages);
	house->seats = seats_new(1000, 0);
	limits = account_limits_for(0);
	house->accounts = accounts_new(&limits);
	for (unsigned i = 0; i < HOUSE_WORKERS; i++)
		house->shards[i] = (struct shard){
			.index = i,
			.ledger = house->ledger,
			.pools = house->pools,
			.n_pools = 1,
			.seats = house->seats,
			.accounts = house->accounts,
		};
}

static bool deliver(struct house *house)
{
	unsigned n = mailbox_deliver(&house->scrubber) + mailbox_deliver(&house->janitor);

	for (unsigned i = 0; i < HOUSE_WORKERS; i++)
		n += mailbox_deliver(&house->worker_boxes[i]);
	return n > 0;
}

void house_settle(struct house *house)
{
	unsigned n_quiet = 0, n_steps = 0;

	while (n_quiet < 3) {
		hp_assert(n_steps++ < 100000); /* something goes round and round */
		if (!house->stocker.cursor)    /* else it goes on by itself */
			mailbox_ring(&house->stocker.mailbox);
		stocker_step(&house->stocker);
		if (deliver(house) || house->stocker.is_making)
			n_quiet = 0;
		else if (!house->stocker.cursor)
			n_quiet++;
	}
}

void house_tick(struct house *house)
{
	house->stocker.next_tick_ns = 0;
	mailbox_ring(&house->stocker.mailbox);
	stocker_step(&house->stocker);
	house->stocker.next_tick_ns = clock_now_ns() + 1000 * NS_PER_S;
	house_settle(house);
}

static void empty_caches(void *arg, struct zone *zone)
{
	for (unsigned i = 0; i < zone->n_workers; i++)
		zone_drain_locked(zone, i);
}

void house_fini(struct house *house)
{
	for (unsigned i = 0; i < HOUSE_WORKERS; i++) {
		hp_assert(!house->shards[i].first);
		lease_end_detached(&house->shards[i]);
	}
	house_settle(house);
	hp_assert(audit_walk(house->pools, 1, house->ledger) == 0);
	pool_for_each_zone(house->pools[0], empty_caches, NULL);
	house_settle(house);
	pool_free(house->pools[0]);
	for (unsigned i = 0; i < HOUSE_WORKERS; i++) {
		mailbox_fini(&house->worker_boxes[i]);
		shard_fini(&house->shards[i]);
	}
	mailbox_fini(&house->janitor);
	mailbox_fini(&house->scrubber);
	stocker_fini(&house->stocker);
	ledger_free(house->ledger);
	seats_free(house->seats);
	accounts_free(house->accounts);
}

struct session *house_session(struct house *house, unsigned worker, uid_t uid)
{
	struct peer peer = {.pid = getpid(), .uid = uid, .gid = uid};
	int pid_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	struct session *session;

	hp_assert(pid_fd >= 0);
	hp_assert(seats_take(house->seats, uid, SEAT_SESSION) == 0);
	hp_assert(session_new(&house->shards[worker], &peer, pid_fd, "house", &session) == 0);
	session_set_connection(session, house, &session->holders[0]);
	return session;
}

void house_end_session(struct house *house, struct session *session)
{
	session_set_connection(session, NULL, NULL);
	while (!session_end(session, &(uint64_t){100}))
		house_settle(house);
	session_free(session);
}

struct waiting {
	struct lease_alloc alloc;
	enum lease_result result;
};

static void arrived(struct lease_alloc *alloc, enum lease_result result)
{
	((struct waiting *)alloc)->result = result;
}

static uint64_t next_request(void)
{
	static uint64_t last_request;

	return ++last_request;
}

enum lease_result house_alloc_like(struct house *house, struct session *session, uint64_t n_pages,
				   const struct lease_alloc *like, uint64_t *ret_id)
{
	struct waiting *waiting = calloc(1, sizeof(*waiting));
	enum lease_result result;

	hp_assert(waiting);
	waiting->alloc = *like;
	waiting->alloc.request.session = session;
	waiting->alloc.request.request_id = next_request();
	waiting->alloc.n_items = 1;
	waiting->alloc.items[0].n_pages = n_pages;
	waiting->alloc.done = arrived;
	session->shard->now_ns = clock_now_ns();
	waiting->result = lease_alloc_start(&waiting->alloc);
	if (waiting->result == LEASE_WAIT) {
		lease_alloc_wait(&waiting->alloc);
		while (waiting->result == LEASE_WAIT)
			house_settle(house);
	}
	result = waiting->result;
	if (result == LEASE_OK)
		*ret_id = waiting->alloc.items[0].record->id;
	free(waiting);
	return result;
}

enum lease_result house_alloc(struct house *house, struct session *session, uint64_t n_pages,
			      uint64_t *ret_id)
{
	static const struct lease_alloc plain = {.want = {.max_runs = 1, .node = -1}};

	return house_alloc_like(house, session, n_pages, &plain, ret_id);
}

struct resizing {
	struct lease_resize resize;
	enum lease_result result;
};

static void resized(struct lease_resize *resize, enum lease_result result)
{
	((struct resizing *)resize)->result = result;
}

enum lease_result house_resize(struct house *house, struct session *session, uint64_t id, uint64_t n_pages,
			       unsigned max_runs)
{
	struct resizing resizing = {
		.resize =
			{
				.request = {.session = session, .request_id = next_request()},
				.id = id,
				.n_pages = n_pages,
				.max_runs = max_runs,
				.done = resized,
			},
	};

	resizing.result = lease_resize_start(&resizing.resize);
	if (resizing.result == LEASE_WAIT) {
		lease_resize_wait(&resizing.resize);
		while (resizing.result == LEASE_WAIT)
			house_settle(house);
	}
	return resizing.result;
}

struct lease_record *house_record(struct house *house, uint64_t id)
{
	struct lease_record *record;

	return ledger_find(house->ledger, id, &record) == 0 ? record : NULL;
}

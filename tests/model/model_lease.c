/* model_lease.c - random leases of several tenants against a naive model, the checkers walking.
 *
 * Everything that the pool, ledger and lease rooms do, in one thread and in random order: allocs and frees,
 * holders that lose their connection, come back or die, detached leases, ticks, files that a client
 * truncates. The model keeps which lease has which page; every page is stamped by its holder and must be zero
 * when it is granted.
 *
 * model_lease [SEED [OPERATIONS]], or $HP_SEED and $HP_OPS.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/lease/audit.h"
#include "tests/model/model_random.h"
#include "tests/support/house.h"

#define MAX_PAGES   2048
#define ARENA_PAGES 256
#define N_SESSIONS  6
#define N_TENANTS   3
#define MAX_LEASES  MAX_PAGES
#define AUDIT_EVERY 200

static uint64_t n_operations;

struct holding {
	uint64_t id;
	struct session *session; /* NULL: detached, its holder is dead */
	uid_t uid;
	unsigned worker;
	bool detached, damaged;
	uint64_t arena;
};

static struct holding holdings[MAX_LEASES];
static unsigned n_holdings;
static struct session *sessions[N_SESSIONS];

static const struct arena *arena_of(struct house *house, const struct lease_record *record)
{
	return pool_arena(house->pools[0], (uint32_t)(record->address >> 32));
}

/* Every page must be zero; then it gets the lease's id at both ends. */
static void check_and_stamp(struct house *house, const struct lease_record *record)
{
	const struct arena *arena = arena_of(house, record);
	int fd = backing_file_fd(arena->file);
	uint64_t words[512], first = (uint32_t)record->address;

	for (uint64_t page = first; page < first + record->n_pages; page++) {
		assert_int_equal(pread(fd, words, 4096, (off_t)page * 4096), 4096);
		for (unsigned i = 0; i < 512; i++)
			assert_int_equal(words[i], 0);
		assert_int_equal(pwrite(fd, &record->id, 8, (off_t)page * 4096), 8);
		assert_int_equal(pwrite(fd, &record->id, 8, (off_t)page * 4096 + 4088), 8);
	}
}

static void check_stamp(struct house *house, const struct holding *holding)
{
	const struct lease_record *record = house_record(house, holding->id);
	const struct arena *arena;
	uint64_t stamp[2];

	assert_non_null(record);
	if (holding->damaged)
		return;
	arena = arena_of(house, record);
	for (uint64_t i = 0; i < record->n_pages; i++) {
		uint64_t offset = ((uint32_t)record->address + i) * 4096;

		assert_int_equal(pread(backing_file_fd(arena->file), &stamp[0], 8, (off_t)offset), 8);
		assert_int_equal(pread(backing_file_fd(arena->file), &stamp[1], 8, (off_t)offset + 4088), 8);
		assert_int_equal(stamp[0], holding->id);
		assert_int_equal(stamp[1], holding->id);
	}
}

static uint64_t random_pages(void)
{
	uint64_t roll = random_below(100);

	return roll < 60 ? 1 + random_below(4) : roll < 95 ? 1 + random_below(40) : 1 + random_below(400);
}

static void op_alloc(struct house *house, struct session *session)
{
	struct holding *holding = &holdings[n_holdings];
	struct lease_record *record;
	enum lease_result result;

	if (n_holdings == MAX_LEASES)
		return;
	result = house_alloc(house, session, random_pages(), &holding->id);
	if (result != LEASE_OK) {
		assert_true(result == LEASE_POOL_FULL || result == LEASE_OVER_QUOTA);
		return;
	}
	record = house_record(house, holding->id);
	record->detached = random_below(20) == 0;
	*holding = (struct holding){.id = record->id,
				    .session = session,
				    .uid = session->peer.uid,
				    .worker = session->shard->index,
				    .detached = record->detached,
				    .arena = record->arena};
	for (unsigned i = 0; i < n_holdings; i++)
		if (holdings[i].arena == holding->arena)
			assert_int_equal(holdings[i].uid, holding->uid);
	n_holdings++;
	check_and_stamp(house, record);
}

static void forget(unsigned i)
{
	holdings[i] = holdings[--n_holdings];
}

static void op_free(struct house *house)
{
	unsigned i = (unsigned)random_below(n_holdings + 1);
	struct holding *holding = &holdings[i];
	uint32_t pid;

	if (i == n_holdings)
		return;
	check_stamp(house, holding);
	if (holding->session) {
		assert_int_equal(lease_free(holding->session, holding->id, true), LEASE_OK);
		assert_int_equal(lease_free(holding->session, holding->id, true), LEASE_OK);
	} else {
		struct peer stranger = {.uid = holding->uid + 1}, owner = {.uid = holding->uid};
		struct shard *shard = &house->shards[holding->worker];

		assert_int_equal(lease_free_detached(shard, &stranger, false, holding->id, &pid),
				 LEASE_NOT_ALLOWED);
		assert_int_equal(lease_free_detached(shard, &owner, false, holding->id, &pid), LEASE_OK);
	}
	forget(i);
}

static void op_free_others(struct house *house, struct session *session)
{
	unsigned i = (unsigned)random_below(n_holdings + 1);

	if (i == n_holdings || holdings[i].session == session)
		return;
	assert_int_equal(lease_free(session, holdings[i].id, true), LEASE_NOT_HOLDER);
}

static void op_die(struct house *house, unsigned index)
{
	struct session *session = sessions[index];
	unsigned worker = session->shard->index;
	uid_t uid = session->peer.uid;

	house_end_session(house, session);
	for (unsigned i = n_holdings; i-- > 0;) {
		if (holdings[i].session != session)
			continue;
		if (holdings[i].detached)
			holdings[i].session = NULL;
		else
			forget(i);
	}
	sessions[index] = house_session(house, worker, uid);
}

/* A client destroys a file of its own tenant: its leases there are lost, and nobody else's. */
static void op_truncate(struct house *house)
{
	unsigned i = (unsigned)random_below(n_holdings + 1);
	uint64_t arena;

	if (i == n_holdings || random_below(20) != 0)
		return;
	arena = holdings[i].arena;
	assert_int_equal(
		ftruncate(backing_file_fd(arena_of(house, house_record(house, holdings[i].id))->file), 0), 0);
	/* Its pages are gone; who is at it frees them, so that no free page of it is granted before it is
	 * found out. */
	for (unsigned k = n_holdings; k-- > 0;) {
		holdings[k].damaged |= holdings[k].arena == arena;
		if (holdings[k].arena == arena && holdings[k].session) {
			assert_int_equal(lease_free(holdings[k].session, holdings[k].id, true), LEASE_OK);
			forget(k);
		}
	}
	for (unsigned worker = 0; worker < HOUSE_WORKERS; worker++)
		shard_flush_freed(&house->shards[worker]);
	house_settle(house);
}

static void operate(struct house *house)
{
	unsigned index = (unsigned)random_below(N_SESSIONS);
	struct session *session = sessions[index];
	uint64_t roll = random_below(1000);

	if (roll < 450)
		op_alloc(house, session);
	else if (roll < 900)
		op_free(house);
	else if (roll < 930)
		op_free_others(house, session);
	else if (roll < 950)
		session_set_connection(session, NULL, NULL);
	else if (roll < 980)
		session_set_connection(session, house, &session->holders[0]);
	else if (roll < 985)
		op_die(house, index);
	else if (roll < 990)
		house_tick(house);
	else if (roll < 992)
		op_truncate(house);
	else
		house_settle(house);
}

static void lease_random_operations_agree_with_model(void **state)
{
	static struct house house;
	uint64_t n_leased;

	house_init(&house, MAX_PAGES, ARENA_PAGES, 512, MAX_PAGES / 2);
	for (unsigned i = 0; i < N_SESSIONS; i++)
		sessions[i] = house_session(&house, i % HOUSE_WORKERS, 1000 + i % N_TENANTS);
	for (uint64_t i = 0; i < n_operations; i++) {
		operate(&house);
		if (i % AUDIT_EVERY == 0)
			audit_walk(house.pools, 1, house.ledger);
	}
	for (unsigned i = 0; i < n_holdings; i++)
		check_stamp(&house, &holdings[i]);
	for (unsigned i = 0; i < N_SESSIONS; i++)
		house_end_session(&house, sessions[i]);
	n_leased = audit_walk(house.pools, 1, house.ledger);
	for (unsigned i = 0; i < n_holdings; i++)
		if (holdings[i].detached)
			n_leased -= house_record(&house, holdings[i].id)->n_pages;
	assert_int_equal(n_leased, 0);
	house_fini(&house);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(lease_random_operations_agree_with_model)};

	n_operations = model_random_init(argc, argv, 100000);
	return cmocka_run_group_tests(tests, NULL, NULL);
}

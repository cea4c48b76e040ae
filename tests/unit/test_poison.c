/* test_poison.c - writes after free: the pattern, who is looked at and when, who is named; with the house's
 * pool and real files.
 */
#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/clock.h"
#include "daemon/lease/audit.h"
#include "daemon/pool/poison.h"
#include "tests/support/house.h"
#include "tests/support/wait.h"

#define MAX_PAGES   256
#define ARENA_PAGES 64
#define PAGE        UINT64_C(4096)
#define PATTERN     0x6b

static int poison_setup(void **state)
{
	static struct house house;

	house_init(&house, MAX_PAGES, ARENA_PAGES, 0, MAX_PAGES);
	house.pools[0]->config.poison = true; /* nothing is backed yet */
	*state = &house;
	return 0;
}

static int poison_teardown(void **state)
{
	house_fini(*state);
	return 0;
}

static struct arena *arena_at(struct house *house, uint64_t address)
{
	return pool_arena(house->pools[0], (uint32_t)(address >> 32));
}

/* A byte of a page, as a client that has the file writes it. */
static void write_byte(struct house *house, uint64_t address, uint64_t offset, uint8_t value)
{
	int fd = backing_file_fd(arena_at(house, address)->file);

	assert_int_equal(pwrite(fd, &value, 1, (off_t)((uint32_t)address * PAGE + offset)), 1);
}

static bool is_all(struct house *house, uint64_t address, uint64_t n_pages, uint8_t value)
{
	uint8_t bytes[PAGE];

	for (uint64_t page = (uint32_t)address; page < (uint32_t)address + n_pages; page++) {
		assert_int_equal(backing_file_read(arena_at(house, address)->file, page * PAGE, bytes, PAGE),
				 0);
		if (bytes[0] != value || memcmp(bytes, bytes + 1, PAGE - 1) != 0)
			return false;
	}
	return true;
}

static struct zone_figures figures_of(struct house *house)
{
	struct pool_figures figures;

	audit_walk(house->pools, 1, house->ledger);
	pool_get_figures(house->pools[0], &figures);
	return figures.zones;
}

static uint64_t writes_after_free(struct house *house)
{
	return atomic_load(&house->pools[0]->writes_after_free);
}

static uint64_t alloc(struct house *house, struct session *session, uint64_t n_pages, uint64_t *ret_address)
{
	uint64_t id;

	assert_int_equal(house_alloc(house, session, n_pages, &id), LEASE_OK);
	*ret_address = house_record(house, id)->address;
	assert_true(is_all(house, *ret_address, n_pages, 0));
	return id;
}

static void free_lease(struct house *house, struct session *session, uint64_t id)
{
	assert_int_equal(lease_free(session, id, true), LEASE_OK);
	shard_flush_freed(session->shard);
	house_settle(house);
}

/* Lease all that the pool has, so that every freed page is looked at, and let it go. */
static void lease_all(struct house *house, struct session *session)
{
	uint64_t ids[MAX_PAGES], address;

	for (unsigned i = 0; i < MAX_PAGES; i++)
		ids[i] = alloc(house, session, 1, &address);
	for (unsigned i = 0; i < MAX_PAGES; i++)
		assert_int_equal(lease_free(session, ids[i], true), LEASE_OK);
	shard_flush_freed(session->shard);
	house_settle(house);
}

/* What the log says while `run` does something. The caller's to free. */
static char *log_of(void (*run)(struct house *house, struct session *session), struct house *house,
		    struct session *session)
{
	int log_fd = memfd_create("log", MFD_CLOEXEC), old_fd = dup(STDERR_FILENO);
	off_t size;
	char *text;

	assert_true(log_fd >= 0 && old_fd >= 0);
	dup2(log_fd, STDERR_FILENO);
	run(house, session);
	dup2(old_fd, STDERR_FILENO);
	size = lseek(log_fd, 0, SEEK_END);
	text = calloc(1, (size_t)size + 1);
	assert_non_null(text);
	assert_int_equal(pread(log_fd, text, (size_t)size, 0), size);
	close(log_fd);
	close(old_fd);
	return text;
}

static void poison_fills_what_was_freed_and_keeps_it_dirty(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t kept, address, other, id = alloc(house, session, 10, &address);
	struct zone_figures figures;

	alloc(house, session, 1, &kept);
	write_byte(house, address, 8, 'x');
	free_lease(house, session, id);
	assert_true(is_all(house, address, 10, PATTERN));
	figures = figures_of(house);
	assert_int_equal(figures.dirty, 10);
	/* As long as there are clean pages, nobody touches these. */
	alloc(house, session, 10, &other);
	assert_int_not_equal(other, address);
	assert_true(is_all(house, address, 10, PATTERN));
	house_end_session(house, session);
}

static void poison_is_zeroed_when_nothing_else_is_left(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t address;

	for (unsigned i = 0; i < 3; i++)
		lease_all(house, session);
	assert_int_equal(writes_after_free(house), 0);
	alloc(house, session, MAX_PAGES / 4, &address);
	house_end_session(house, session);
}

static void poison_that_is_touched_names_lease_process_and_byte(void **state)
{
	static const uint64_t offsets[] = {0, 1, 100, PAGE - 1};
	struct house *house = *state;
	struct session *session = house_session(house, 1, 1000);

	for (unsigned i = 0; i < sizeof(offsets) / sizeof(offsets[0]); i++) {
		uint64_t address, id, kept, kept_id;
		char expected[256], *log;

		id = alloc(house, session, 3, &address);
		kept_id = alloc(house, session, 1, &kept);
		snprintf(expected, sizeof(expected),
			 "pool house: page %" PRIu64 " of arena %" PRIu64
			 " was written after it was freed, at byte %" PRIu64 ": lease %" PRIu64
			 " of process %d had it last\n",
			 (uint64_t)(uint32_t)address + 1, arena_at(house, address)->id, offsets[i], id,
			 (int)getpid());
		free_lease(house, session, id);
		write_byte(house, address + 1, offsets[i], 'x');
		write_byte(house, address + 1, PAGE - 1, 'y');
		assert_int_equal(writes_after_free(house), i);
		free_lease(house, session, kept_id);
		log = log_of(lease_all, house, session);
		assert_int_equal(writes_after_free(house), i + 1);
		/* One line a second at most: a test that is faster finds the others counted. */
		if (i == 0)
			assert_non_null(strstr(log, expected));
		free(log);
		log = log_of(lease_all, house, session);
		assert_string_equal(log, "");
		free(log);
	}
	house_end_session(house, session);
}

static void poison_names_the_last_holder_of_a_trimmed_tail(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t address, id = alloc(house, session, 4, &address);
	char expected[64], *log;

	snprintf(expected, sizeof(expected), ": lease %" PRIu64 " of process", id);
	assert_int_equal(lease_trim(session, house_record(house, id), 2), LEASE_OK);
	shard_flush_freed(session->shard);
	house_settle(house);
	assert_true(is_all(house, address + 2, 2, PATTERN));
	write_byte(house, address + 3, 7, 1);
	/* The lease's own pages are nobody's business. */
	write_byte(house, address, 7, 1);
	assert_int_equal(lease_free(session, id, true), LEASE_OK);
	log = log_of(lease_all, house, session);
	assert_non_null(strstr(log, expected));
	assert_int_equal(writes_after_free(house), 1);
	free(log);
	house_end_session(house, session);
}

static void poison_of_a_destroyed_file_condemns_it(void **state)
{
	struct house *house = *state;
	struct session *session = house_session(house, 0, 1000);
	uint64_t address, kept, id = alloc(house, session, 8, &address);
	struct arena *arena = arena_at(house, address);

	alloc(house, session, 1, &kept);
	atomic_store(&arena->exposed, true);
	free_lease(house, session, id);
	assert_int_equal(fallocate(backing_file_fd(arena->file), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)((uint32_t)address * PAGE), PAGE),
			 0);
	for (unsigned i = 0; i < MAX_PAGES / 4 * 3; i++)
		alloc(house, session, 1, &address);
	assert_int_not_equal(house_alloc(house, session, ARENA_PAGES, &id), LEASE_OK);
	assert_true(arena->condemned);
	house_end_session(house, session);
}

static void ignore(struct lease_alloc *alloc, enum lease_result result) {}

/* If the scrubber were woken for pages that it leaves alone, stocker and scrubber would ring each other for
 * as long as somebody waits, and house_settle() would not return. */
static void poison_of_others_lets_those_who_wait_rest(void **state)
{
	struct house *house = *state;
	struct session *alice = house_session(house, 0, 1000), *bob = house_session(house, 0, 1001);
	uint64_t ids[MAX_PAGES], address;
	struct lease_alloc *waiting = calloc(1, sizeof(*waiting));

	assert_non_null(waiting);
	for (unsigned i = 0; i < MAX_PAGES; i++)
		ids[i] = alloc(house, alice, 1, &address);
	for (unsigned i = 0; i < MAX_PAGES; i += 2)
		free_lease(house, alice, ids[i]);
	*waiting = (struct lease_alloc){
		.request = {.session = bob, .request_id = 1},
		.n_items = 1,
		.want = {.max_runs = 1, .node = -1},
		.items = {{.n_pages = 1}},
		.wait_ms = 60 * 1000,
		.done = ignore,
	};
	house->shards[0].now_ns = clock_now_ns();
	assert_int_equal(lease_alloc_start(waiting), LEASE_WAIT);
	lease_alloc_wait(waiting);
	alarm(WAIT_MAX_MS / 1000);
	house_settle(house);
	alarm(0);
	assert_int_equal(figures_of(house).dirty, MAX_PAGES / 2);
	house_end_session(house, bob);
	house_end_session(house, alice);
	free(waiting);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(poison_fills_what_was_freed_and_keeps_it_dirty, poison_setup,
						poison_teardown),
		cmocka_unit_test_setup_teardown(poison_is_zeroed_when_nothing_else_is_left, poison_setup,
						poison_teardown),
		cmocka_unit_test_setup_teardown(poison_that_is_touched_names_lease_process_and_byte,
						poison_setup, poison_teardown),
		cmocka_unit_test_setup_teardown(poison_names_the_last_holder_of_a_trimmed_tail, poison_setup,
						poison_teardown),
		cmocka_unit_test_setup_teardown(poison_of_a_destroyed_file_condemns_it, poison_setup,
						poison_teardown),
		cmocka_unit_test_setup_teardown(poison_of_others_lets_those_who_wait_rest, poison_setup,
						poison_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

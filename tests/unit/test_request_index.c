/* test_request_index.c - leases by the request that made them: what is found, and how many records are looked
 * at for it. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "daemon/lease/lease_state.h"
#include "daemon/lease/request_index.h"
#include "tests/support/random.h"

#define MAX_LEASES 200000

struct scene {
	struct ledger *ledger;
	struct request_index index;
};

static int setup(void **state)
{
	static struct scene scene;

	scene = (struct scene){.ledger = ledger_new(1, MAX_LEASES)};
	assert_non_null(scene.ledger);
	assert_int_equal(request_index_init(&scene.index), 0);
	*state = &scene;
	return 0;
}

static int teardown(void **state)
{
	struct scene *scene = *state;

	request_index_fini(&scene->index);
	ledger_free(scene->ledger);
	return 0;
}

static struct lease_record *grant(struct scene *scene, uint64_t session, uint64_t request_id, unsigned item)
{
	struct lease_record *record = ledger_take(scene->ledger, 0);

	assert_non_null(record);
	lease_move(record, LEASE_LEASED);
	record->session = session;
	record->request_id = request_id;
	record->request_item = (uint8_t)item;
	request_index_add(&scene->index, scene->ledger, record);
	return record;
}

static void end(struct scene *scene, struct lease_record *record)
{
	request_index_remove(&scene->index, scene->ledger, record);
	lease_move(record, LEASE_NONE);
	ledger_put(scene->ledger, 0, record);
}

static struct lease_record *find(struct scene *scene, uint64_t session, uint64_t request_id)
{
	return request_index_find(&scene->index, scene->ledger, session, request_id);
}

/* Its leases, each item once. */
static unsigned count(struct scene *scene, uint64_t session, uint64_t request_id)
{
	bool is_seen[256] = {false};
	unsigned n = 0;

	for (struct lease_record *record = find(scene, session, request_id); record;
	     record = request_index_next(&scene->index, scene->ledger, record), n++) {
		assert_true(record->session == session && record->request_id == request_id);
		assert_false(is_seen[record->request_item]);
		is_seen[record->request_item] = true;
	}
	return n;
}

static void request_index_finds_all_items_of_one_request(void **state)
{
	struct scene *scene = *state;
	struct lease_record *records[256];

	for (unsigned item = 256; item-- > 0;)
		records[item] = grant(scene, 1, 5, item);
	grant(scene, 2, 5, 0);
	grant(scene, 1, 6, 0);
	assert_int_equal(count(scene, 1, 5), 256);
	assert_int_equal(count(scene, 2, 5), 1);
	assert_int_equal(count(scene, 1, 6), 1);
	assert_int_equal(count(scene, 1, 7), 0);
	for (unsigned item = 0; item < 256; item += 2)
		end(scene, records[item]);
	assert_int_equal(count(scene, 1, 5), 128);
}

static void request_index_of_a_reused_id_finds_the_last_request(void **state)
{
	struct scene *scene = *state;
	struct lease_record *last = NULL;
	uint64_t before;

	for (unsigned i = 0; i < 10000; i++) {
		last = grant(scene, 1, 5, 0);
		grant(scene, 1, 6, 1);
		grant(scene, 1, 6, 0);
	}
	assert_int_equal(count(scene, 1, 5), 1);
	assert_int_equal(count(scene, 1, 6), 2);
	assert_ptr_equal(find(scene, 1, 5), last);
	end(scene, last);
	assert_int_equal(count(scene, 1, 5), 0);
	before = scene->index.n_visited;
	find(scene, 1, 5);
	assert_in_range(scene->index.n_visited - before, 0, 16);
}

/* However many there are, no request makes this look at more than a few, nor does a lease that is added. */
static void request_index_visits_few_among_many(void **state)
{
	struct scene *scene = *state;
	uint64_t most_added = 0, most_found = 0, before, sum = 0;

	for (uint64_t i = 0; i < 100000; i++) {
		before = scene->index.n_visited;
		grant(scene, 1, i, 0);
		if (scene->index.n_visited - before > most_added)
			most_added = scene->index.n_visited - before;
	}
	for (uint64_t i = 0; i < 200000; i++) {
		before = scene->index.n_visited;
		assert_int_equal(find(scene, 1, i) != NULL, i < 100000);
		sum += scene->index.n_visited - before;
		if (scene->index.n_visited - before > most_found)
			most_found = scene->index.n_visited - before;
	}
	assert_in_range(most_added, 0, 64);
	assert_in_range(most_found, 0, 64);
	assert_in_range(sum, 0, 2 * 200000);
}

#define N_KEYS 300

static void request_index_matches_a_plain_table(void **state)
{
	struct scene *scene = *state;
	struct lease_record *records[N_KEYS] = {NULL};
	const char *given = getenv("SEED");
	uint64_t random = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL);

	print_message("SEED=%llu\n", (unsigned long long)random);
	for (unsigned i = 0; i < 50000; i++) {
		const unsigned key = (unsigned)(random_next(&random) % N_KEYS);

		if (records[key]) {
			assert_ptr_equal(find(scene, key % 7, key), records[key]);
			end(scene, records[key]);
			records[key] = NULL;
		} else {
			records[key] = grant(scene, key % 7, key, 0);
		}
		assert_int_equal(count(scene, key % 7, key), records[key] != NULL);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(request_index_finds_all_items_of_one_request),
		TEST(request_index_of_a_reused_id_finds_the_last_request),
		TEST(request_index_visits_few_among_many),
		TEST(request_index_matches_a_plain_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

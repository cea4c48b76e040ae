/* system_edges.c - the edges of numbers that a daemon is asked for: each is served or refused with a
 * sentence, and the daemon lives, with its sums, as before.
 *
 * The daemon has as many pools as there can be: what is kept by pool has no bit and no place to spare then.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/pool/pool_set.h"
#include "tests/support/raw.h"

#define LAST_POOL  (POOLS_MAX - 1)
#define POOL_PAGES 16

static struct dut dut;

/* Pools p0 to p63, of 16 pages each; the last but one admits nobody but root. */
static void start_with_all_pools(struct dut *ret_dut)
{
	static char words[POOLS_MAX][64];
	const char *arguments[2 * POOLS_MAX + 5] = {"--workers", "2", "--log-level", "warning"};
	unsigned n = 4;

	for (unsigned i = 0; i < POOLS_MAX; i++) {
		snprintf(words[i], sizeof(words[i]), "p%u=4K:%uK%s", i, 4 * POOL_PAGES,
			 i == LAST_POOL - 1 ? "" : ",users=*");
		arguments[n++] = "--pool";
		arguments[n++] = words[i];
	}
	dut_start(ret_dut, arguments);
}

static uint64_t alloc_from(struct raw *raw, uint32_t pool, uint64_t n_pages)
{
	struct raw_request ask;
	Hugepool__Reply *reply;
	uint64_t lease;

	raw_ask_alloc(&ask, n_pages);
	ask.alloc.pool = pool;
	reply = raw_call(raw, &ask.request);
	raw_check(reply->alloc && reply->alloc->n_grants == 1, "pool %u: %s", pool,
		  reply->error ? reply->error->message : "no grant");
	lease = reply->alloc->grants[0]->lease;
	if (reply->alloc->n_new_arenas > 0)
		raw_say_received(raw);
	raw_drop(reply);
	return lease;
}

static void subscribe(struct raw *raw, uint32_t kinds)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Subscribe asked = HUGEPOOL__SUBSCRIBE__INIT;
	Hugepool__Reply *reply;

	asked.kinds = kinds;
	request.method_case = HUGEPOOL__REQUEST__METHOD_SUBSCRIBE;
	request.subscribe = &asked;
	reply = raw_call(raw, &request);
	raw_check(reply->subscribe, "Subscribe: %s", reply->error ? reply->error->message : "no result");
	raw_drop(reply);
}

/* Fails where pools are counted by shifting until nothing is left: the last one's bit is never shifted out.
 */
static void the_last_of_all_pools_tells_of_pressure(void **state)
{
	struct raw raw, witness;
	struct raw_request ask;
	Hugepool__Reply *reply;

	start_with_all_pools(&dut);
	raw_open(&witness, &dut);
	subscribe(&witness, 1u << HUGEPOOL__EVENT_KIND__PRESSURE);
	raw_open(&raw, &dut);
	alloc_from(&raw, LAST_POOL, POOL_PAGES);
	raw_ask_alloc(&ask, 1);
	ask.alloc.pool = LAST_POOL;
	raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__POOL_FULL, "pool p63 has no");
	reply = raw_receive(&witness, NULL);
	raw_check(reply && reply->n_events == 1, "no event");
	assert_int_equal(reply->events[0]->kind, HUGEPOOL__EVENT_KIND__PRESSURE);
	assert_string_equal(reply->events[0]->pool, "p63");
	raw_drop(reply);
	raw_close(&witness);
	raw_close(&raw);
	dut_stop(&dut);
}

/* Fails, and the daemon with it, where numa_enter() believes what it is given. */
static void nodes_that_the_host_lacks_are_refused(void **state)
{
	static const uint32_t nodes[] = {1023,          1024,      1025,     16383,         0x3fffffff,
					 INT32_MAX - 1, INT32_MAX, 1u << 31, UINT32_MAX - 1};
	struct raw_request ask;
	struct raw raw;

	start_with_all_pools(&dut);
	raw_open(&raw, &dut);
	for (unsigned i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		char words[64];

		raw_ask_alloc(&ask, 1);
		ask.alloc.node = nodes[i] + 1;
		snprintf(words, sizeof(words), "this host has no NUMA node %u, it has 0", nodes[i]);
		raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__BAD_REQUEST, words);
	}
	raw_ask_alloc(&ask, 1);
	ask.alloc.node = 1; /* the first, which every host has */
	raw_drop(raw_call(&raw, &ask.request));
	assert_int_equal(dut_pool(&dut, "p0", "pages_leased"), 1);
	raw_close(&raw);
	dut_stop(&dut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(the_last_of_all_pools_tells_of_pressure, dut_kill_all),
		cmocka_unit_test_teardown(nodes_that_the_host_lacks_are_refused, dut_kill_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_pool_limbo.c - whose the pages are that the kernel has not back: real hugepages, pinned by a real
 * client.
 *
 * One thread; the stocker is driven by house_settle().
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/hugetlb.h"
#include "tests/support/wait.h"
#include "tests/unit/pool_scene.h"

#define HUGE_BYTES (UINT64_C(2) << 20)

static int huge_teardown(void **state)
{
	hugetlb_unlock();
	return 0;
}

struct pinning {
	struct session *session;
	struct zone *zone;
	struct hugetlb_pinner pinner;
};

/* A lease of one page that has ended, and whose page a client still pins. */
static void pin_and_free(struct house *house, struct pinning *pinning, uid_t uid)
{
	const struct lease_alloc sole = {.want = {.max_runs = 1, .node = -1}, .revocable = true};
	struct arena *arena;
	uint64_t id;

	pinning->session = house_session(house, 0, uid);
	assert_int_equal(house_alloc_like(house, pinning->session, 1, &sole, &id), LEASE_OK);
	pinning->zone = pinning->session->zones[0].zone;
	arena = pool_arena(house->pools[0], (uint32_t)(house_record(house, id)->address >> 32));
	atomic_store(&arena->exposed, true);
	if (!hugetlb_pin(backing_file_fd(arena->file), HUGE_BYTES, &pinning->pinner))
		fail_msg("no io_uring buffers here");
	assert_int_equal(lease_free(pinning->session, id, true), LEASE_OK);
	house_settle(house);
	assert_int_equal(pinning->zone->pinned_pages, 1);
}

/* The kernel has the page, and the pool has asked it. */
static void unpin(struct house *house, struct pinning *pinning)
{
	const uint64_t n_free = hugetlb_counts(HUGE_BYTES).free;

	hugetlb_unpin(&pinning->pinner);
	assert_true(wait_for(hugetlb_counts(HUGE_BYTES).free == n_free + 1));
	pool_settle_limbo(house->pools[0]);
}

static enum lease_result lease_one(struct house *house, struct pinning *pinning)
{
	uint64_t id;
	enum lease_result result = house_alloc(house, pinning->session, 1, &id);

	if (result == LEASE_OK)
		assert_int_equal(lease_free(pinning->session, id, true), LEASE_OK);
	return result;
}

static void begin_limbo(struct house *house, struct pinning *one, struct pinning *two)
{
	hugetlb_need(HUGE_BYTES, 6);
	house_init_sized(house, HUGE_BYTES, 6, 1, 0, 1);
	pin_and_free(house, one, 1000);
	pin_and_free(house, two, 1001);
	assert_int_equal(figures_of(house).zones.limbo, 2);
	assert_int_equal(lease_one(house, one), LEASE_OVER_QUOTA);
	assert_int_equal(lease_one(house, two), LEASE_OVER_QUOTA);
}

/* One of two tenants lets go: the kernel does not say which. Neither is cleared by what may be the other's.
 */
static void limbo_is_not_cleared_by_what_another_lets_go(void **state)
{
	static struct house house;
	struct pinning one, two;

	begin_limbo(&house, &one, &two);
	unpin(&house, &two);
	assert_int_equal(figures_of(&house).zones.limbo, 1);
	assert_int_equal(one.zone->pinned_pages, 1);
	assert_int_equal(lease_one(&house, &one), LEASE_OVER_QUOTA);
	unpin(&house, &one);
	assert_int_equal(figures_of(&house).zones.limbo, 0);
	assert_int_equal(lease_one(&house, &one), LEASE_OK);
	assert_int_equal(lease_one(&house, &two), LEASE_OK);
	house_end_session(&house, one.session);
	house_end_session(&house, two.session);
	house_fini(&house);
}

/* All clients of the one are dead, and as many pages are back as they can have pinned: it is charged for
 * none, the other for what it pins. */
static void limbo_of_the_dead_is_not_what_the_living_pin(void **state)
{
	static struct house house;
	struct pinning one, two;

	begin_limbo(&house, &one, &two);
	house_end_session(&house, two.session);
	pool_settle_limbo(house.pools[0]);
	assert_int_equal(two.zone->pinned_pages, 1);
	unpin(&house, &two);
	assert_int_equal(two.zone->pinned_pages, 0);
	assert_int_equal(one.zone->pinned_pages, 1);
	two.session = house_session(&house, 1, 1001);
	assert_int_equal(lease_one(&house, &two), LEASE_OK);
	assert_int_equal(lease_one(&house, &one), LEASE_OVER_QUOTA);
	house_end_session(&house, two.session);
	unpin(&house, &one);
	assert_int_equal(figures_of(&house).zones.limbo, 0);
	house_end_session(&house, one.session);
	house_fini(&house);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(limbo_is_not_cleared_by_what_another_lets_go, huge_teardown),
		cmocka_unit_test_teardown(limbo_of_the_dead_is_not_what_the_living_pin, huge_teardown),
	};

	return cmocka_run_group_tests_name("pool_limbo", tests, NULL, NULL);
}

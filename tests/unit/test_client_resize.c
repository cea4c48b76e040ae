/* test_client_resize.c - leases that shrink and grow: in the arena's mapping or in their own, in place or
 * moved; in client_scene.h.
 */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "tests/unit/client_scene.h"

#define ROOM  (8 * PAGE)
#define TRIES 64

/* One with free addresses behind it, its guard included. The kernel puts a mapping below the one before,
 * unless it fits a hole: plugs and leases fill those, until a plug is right above a lease. */
static hp_lease *alloc_with_room(uint64_t n_pages, unsigned flags)
{
	hp_lease *leases[TRIES] = {NULL}, *lease;
	void *plugs[TRIES];
	uintptr_t end;
	unsigned n = 0;

	do {
		assert_true(n < TRIES);
		plugs[n] = mmap(NULL, ROOM, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_ptr_not_equal(plugs[n], MAP_FAILED);
		lease = leases[n] = scene_alloc_with(n_pages, flags);
		end = (uintptr_t)hp_lease_data(lease) + hp_lease_bytes(lease) + (flags & HP_GUARD ? PAGE : 0);
		n++;
	} while ((uintptr_t)plugs[n - 1] < end || (uintptr_t)plugs[n - 1] > end + 2 * PAGE);
	for (unsigned i = 0; i < n; i++) {
		munmap(plugs[i], ROOM);
		if (leases[i] != lease)
			assert_int_equal(hp_free(leases[i]), 0);
	}
	scene.n_frees = 0;
	return lease;
}

static void lease_in_the_arenas_mapping_shrinks_and_grows_in_place(void **state)
{
	hp_lease *lease;
	void *data;

	SCENE_PLAN({1, 2, 4});
	lease = scene_alloc(4, NULL);
	data = hp_lease_data(lease);
	SCENE_PLAN({1, 2, 1});
	assert_int_equal(hp_lease_resize(lease, 1, 0), 0);
	assert_int_equal(hp_lease_bytes(lease), PAGE);
	assert_int_equal(hp_lease_resize(lease, PAGE, 0), 0);
	assert_int_equal(scene.n_resizes, 1); /* it had that length */
	SCENE_PLAN({1, 2, 8});
	assert_int_equal(hp_lease_resize(lease, 8 * PAGE, 0), 0);
	assert_int_equal(scene.resize_max_runs, 1);
	assert_int_equal(scene.resized_to[1], 8);
	assert_ptr_equal(hp_lease_data(lease), data);
	assert_int_equal(hp_lease_bytes(lease), 8 * PAGE);
	memset(data, 1, 8 * PAGE);

	scene.error = HUGEPOOL__CODE__POOL_FULL;
	assert_int_equal(hp_lease_resize(lease, 9 * PAGE, 0), -ENOSPC);
	scene.error = HUGEPOOL__CODE__BUSY;
	assert_int_equal(hp_lease_resize(lease, PAGE, 0), -EBUSY);
	assert_int_equal(hp_lease_bytes(lease), 8 * PAGE);
	assert_int_equal(hp_lease_resize(lease, 0, 0), -EINVAL);
	assert_int_equal(hp_lease_resize(lease, UINT64_MAX, 0), -EINVAL);
	assert_int_equal(hp_lease_resize(lease, PAGE, HP_GUARD), -EINVAL);
	scene.error = HUGEPOOL__CODE__OK;
	assert_int_equal(hp_free(lease), 0);
}

static void lease_that_may_move_leaves_the_arenas_mapping(void **state)
{
	hp_lease *lease;
	uint8_t *data;

	SCENE_PLAN({1, 2, 2});
	lease = scene_alloc(2, NULL);
	data = hp_lease_data(lease);
	data[0] = 1;
	data[2 * PAGE - 1] = 2;
	SCENE_PLAN({1, 2, 2}, {2, 7, 3});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, HP_MAY_MOVE), 0);
	assert_true(scene.resize_max_runs > 1);
	data = hp_lease_data(lease);
	assert_int_equal(hp_lease_bytes(lease), 5 * PAGE);
	assert_int_equal(data[0], 1);
	assert_int_equal(data[2 * PAGE - 1], 2);
	data[2 * PAGE] = 3;
	assert_int_equal(scene_byte_of_file(2, 7 * PAGE), 3);
	assert_int_equal(hp_free(lease), 0);
}

static void lease_with_a_mapping_of_its_own_grows_behind_it(void **state)
{
	unsigned before = scene_n_mappings();
	hp_lease *lease;
	uint8_t *data;

	SCENE_PLAN({1, 2, 2}, {2, 0, 2});
	lease = alloc_with_room(4, HP_GUARD);
	data = hp_lease_data(lease);
	/* Fails where the end of it is computed before it is compared. */
	assert_int_equal(hp_lease_resize(lease, UINT64_MAX / PAGE * PAGE - PAGE, 0), -ENOSPC);
	assert_int_equal(hp_lease_resize(lease, UINT64_C(1) << 63, 0), -ENOSPC);
	assert_int_equal(hp_lease_bytes(lease), 4 * PAGE);
	data[4 * PAGE - 1] = 5;

	SCENE_PLAN({1, 2, 2}, {2, 0, 1});
	assert_int_equal(hp_lease_resize(lease, 3 * PAGE, 0), 0);
	assert_ptr_equal(hp_lease_data(lease), data);
	assert_true(scene_is_there(data + 3 * PAGE - 1));
	assert_false(scene_is_there(data + 3 * PAGE));

	/* What was cut off is free for it again; the last run grows, and another one comes. */
	SCENE_PLAN({1, 2, 2}, {2, 0, 2}, {3, 0, 1});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, 0), 0);
	assert_ptr_equal(hp_lease_data(lease), data);
	assert_int_equal(data[4 * PAGE - 1], 5); /* the file's, still */
	data[5 * PAGE - 1] = 6;
	assert_int_equal(scene_byte_of_file(3, PAGE - 1), 6);
	assert_false(scene_is_there(data + 5 * PAGE));
	assert_false(scene_is_there(data - 1));
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(scene_n_mappings(), before);
}

/* Something of ours right behind the lease, inaccessible pages between included. */
static void *take_addresses_behind(hp_lease *lease)
{
	uint8_t *behind = (uint8_t *)hp_lease_data(lease) + hp_lease_bytes(lease);
	void *taken = mmap(behind, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	/* Somebody else was faster: as good. */
	return taken == MAP_FAILED ? NULL : taken;
}

static void lease_that_may_not_move_does_not_ask_for_what_has_no_address(void **state)
{
	hp_lease *lease;
	uint8_t *data;
	void *taken;

	SCENE_PLAN({1, 2, 2}, {2, 0, 2});
	lease = scene_alloc(4, NULL);
	data = hp_lease_data(lease);
	data[3 * PAGE] = 4;
	taken = take_addresses_behind(lease);
	SCENE_PLAN({1, 2, 2}, {2, 0, 3});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, 0), -ENOSPC);
	assert_int_equal(scene.n_resizes, 0);
	assert_int_equal(hp_lease_bytes(lease), 4 * PAGE);

	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, HP_MAY_MOVE), 0);
	assert_ptr_not_equal(hp_lease_data(lease), data);
	assert_false(scene_is_there(data));
	data = hp_lease_data(lease);
	assert_int_equal(data[3 * PAGE], 4);
	data[4 * PAGE] = 1;
	assert_int_equal(scene_byte_of_file(2, 2 * PAGE), 1);
	assert_int_equal(hp_free(lease), 0);
	if (taken) {
		assert_true(scene_is_there(taken));
		munmap(taken, PAGE);
	}
}

static void lease_private_moves_with_what_was_written(void **state)
{
	unsigned before = scene_n_mappings();
	hp_lease *lease;
	uint8_t *data, *old;
	void *taken;

	SCENE_PLAN({1, 2, 2});
	lease = alloc_with_room(2, HP_PRIVATE);
	old = data = hp_lease_data(lease);
	data[PAGE] = 7;
	taken = take_addresses_behind(lease);
	SCENE_PLAN({1, 2, 3});
	assert_int_equal(hp_lease_resize(lease, 3 * PAGE, HP_MAY_MOVE), 0);
	data = hp_lease_data(lease);
	assert_ptr_not_equal(data, old);
	assert_int_equal(data[PAGE], 7);
	assert_int_equal(scene_byte_of_file(1, 3 * PAGE), 0);
	assert_int_equal(data[2 * PAGE], 0);
	assert_false(scene_is_there(old));

	/* Of several runs it stays where it is. */
	assert_int_equal(hp_free(lease), 0);
	SCENE_PLAN({1, 2, 3}, {2, 0, 1});
	lease = alloc_with_room(4, HP_PRIVATE);
	data = hp_lease_data(lease);
	data[PAGE] = 7;
	if (taken)
		munmap(taken, PAGE);
	taken = take_addresses_behind(lease);
	SCENE_PLAN({1, 2, 3}, {2, 0, 2});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, HP_MAY_MOVE), -ENOSPC);
	assert_int_equal(scene.resized_to[(scene.n_resizes - 1) % 4], 4);
	assert_ptr_equal(hp_lease_data(lease), data);
	assert_int_equal(data[PAGE], 7);
	assert_int_equal(hp_free(lease), 0);
	if (taken)
		munmap(taken, PAGE);
	assert_int_equal(scene_n_mappings(), before);
}

static void lease_that_cannot_be_mapped_longer_is_as_long_as_it_was(void **state)
{
	unsigned before = scene_n_mappings();
	hp_lease *lease;
	uint8_t *data;

	for (unsigned flags = 0; flags <= HP_MAY_MOVE; flags += HP_MAY_MOVE) {
		SCENE_PLAN({1, 2, 2}, {2, 0, 2});
		lease = alloc_with_room(4, HP_GUARD);
		data = hp_lease_data(lease);
		data[0] = data[4 * PAGE - 1] = 1;
		scene.n_resizes = 0;
		SCENE_PLAN({1, 2, 2}, {2, 0, 3}, {SCENE_SEALED, 0, 1});
		assert_true(hp_lease_resize(lease, 6 * PAGE, flags) < 0);
		assert_int_equal(scene.n_resizes, 2);
		assert_int_equal(scene.resized_to[0], 6);
		assert_int_equal(scene.resized_to[1], 4);
		assert_int_equal(scene.n_frees, 0);
		assert_ptr_equal(hp_lease_data(lease), data);
		assert_int_equal(hp_lease_bytes(lease), 4 * PAGE);
		assert_int_equal(data[0] + data[4 * PAGE - 1], 2);
		assert_false(scene_is_there(data + 4 * PAGE));
		assert_int_equal(hp_free(lease), 0);
	}
	assert_int_equal(scene_n_mappings(), before);
}

static void lease_that_comes_back_as_another_is_refused(void **state)
{
	hp_lease *lease;

	SCENE_PLAN({1, 2, 2}, {2, 0, 2});
	lease = scene_alloc(4, NULL);
	SCENE_PLAN({1, 2, 2}, {2, 1, 3});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, HP_MAY_MOVE), -EPROTO);
	SCENE_PLAN({1, 2, 3}, {2, 0, 2});
	assert_int_equal(hp_lease_resize(lease, 5 * PAGE, HP_MAY_MOVE), -EPROTO);
	SCENE_PLAN({3, 2, 1});
	assert_int_equal(hp_lease_resize(lease, PAGE, 0), -EPROTO);
	assert_int_equal(hp_lease_bytes(lease), 4 * PAGE);
	((uint8_t *)hp_lease_data(lease))[4 * PAGE - 1] = 1;
	assert_int_equal(hp_free(lease), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(lease_in_the_arenas_mapping_shrinks_and_grows_in_place),
		SCENE_TEST(lease_that_may_move_leaves_the_arenas_mapping),
		SCENE_TEST(lease_with_a_mapping_of_its_own_grows_behind_it),
		SCENE_TEST(lease_that_may_not_move_does_not_ask_for_what_has_no_address),
		SCENE_TEST(lease_private_moves_with_what_was_written),
		SCENE_TEST(lease_that_cannot_be_mapped_longer_is_as_long_as_it_was),
		SCENE_TEST(lease_that_comes_back_as_another_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

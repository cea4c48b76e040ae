/* test_client_view.c - leases whose mapping is their own: guarded, private, read-only, populated, locked; in
 * client_scene.h.
 */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/unit/client_scene.h"

static void lease_with_guards_has_nothing_around_it(void **state)
{
	unsigned before = scene_n_mappings();
	hp_lease *lease;
	uint8_t *data;

	SCENE_PLAN({1, 4, 2}, {2, 4, 2});
	lease = scene_alloc_with(4, HP_GUARD);
	data = hp_lease_data(lease);
	data[0] = data[4 * PAGE - 1] = 1;
	assert_false(scene_is_there(data - 1));
	assert_false(scene_is_there(data - PAGE));
	assert_false(scene_is_there(data + 4 * PAGE));
	assert_false(scene_is_there(data + 5 * PAGE - 1));
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(scene_n_mappings(), before);
}

static void lease_private_is_not_seen_by_others(void **state)
{
	hp_lease *shared, *private;
	uint8_t *mine, *theirs;

	SCENE_PLAN({1, 4, 2});
	shared = scene_alloc(2, NULL);
	private = scene_alloc_with(2, HP_PRIVATE);
	theirs = hp_lease_data(shared);
	mine = hp_lease_data(private);
	theirs[0] = 1;
	assert_int_equal(mine[0], 1);
	mine[0] = 2;
	assert_int_equal(theirs[0], 1);
	assert_int_equal(scene_byte_of_file(1, 4 * PAGE), 1);
	theirs[0] = 3;
	assert_int_equal(mine[0], 2);
	assert_int_equal(hp_free(private), 0);
	assert_int_equal(hp_free(shared), 0);
}

static void lease_read_only_cannot_be_written(void **state)
{
	hp_lease *lease;
	uint8_t *data;

	SCENE_PLAN({1, 4, 2});
	lease = scene_alloc_with(2, HP_READ_ONLY);
	data = hp_lease_data(lease);
	assert_int_equal(data[0], 0);
	/* A read into it is a write. */
	assert_int_equal(pread(scene.fds[1], data, 1, 0), -1);
	assert_int_equal(errno, EFAULT);
	assert_int_equal(hp_free(lease), 0);
}

static uint64_t kib_of(const char *path, const char *key, const void *address)
{
	FILE *file = fopen(path, "re");
	bool found = !address;
	uint64_t kib = UINT64_MAX;
	char line[512], start[32];

	assert_non_null(file);
	snprintf(start, sizeof(start), "%lx-", (unsigned long)(uintptr_t)address);
	while (kib == UINT64_MAX && fgets(line, sizeof(line), file)) {
		found |= address && strncmp(line, start, strlen(start)) == 0;
		if (found && strncmp(line, key, strlen(key)) == 0)
			kib = strtoull(line + strlen(key), NULL, 10);
	}
	fclose(file);
	return kib;
}

static void lease_populated_is_there_before_it_is_touched(void **state)
{
	hp_lease *lease;

	SCENE_PLAN({1, 0, 4});
	lease = scene_alloc_with(4, HP_GUARD);
	assert_int_equal(kib_of("/proc/self/smaps", "Rss:", hp_lease_data(lease)), 0);
	hp_free(lease);
	lease = scene_alloc_with(4, HP_POPULATE);
	assert_int_equal(kib_of("/proc/self/smaps", "Rss:", hp_lease_data(lease)), 16);
	hp_free(lease);
	lease = scene_alloc_with(4, HP_POPULATE | HP_READ_ONLY);
	assert_int_equal(kib_of("/proc/self/smaps", "Rss:", hp_lease_data(lease)), 16);
	hp_free(lease);
	lease = scene_alloc_with(4, HP_POPULATE | HP_PRIVATE);
	assert_int_equal(kib_of("/proc/self/smaps", "Anonymous:", hp_lease_data(lease)), 16);
	hp_free(lease);
}

static void lease_locked_is_locked_until_it_is_freed(void **state)
{
	uint64_t before = kib_of("/proc/self/status", "VmLck:", NULL);
	hp_lease *lease;

	SCENE_PLAN({1, 0, 4});
	lease = scene_alloc_with(4, HP_LOCK);
	assert_int_equal(kib_of("/proc/self/status", "VmLck:", NULL), before + (SCENE_IS_SANITIZED ? 0 : 16));
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(kib_of("/proc/self/status", "VmLck:", NULL), before);
}

static void lease_of_one_run_is_aligned_as_in_its_file(void **state)
{
	hp_lease *lease;

	SCENE_PLAN({1, 8, 2});
	lease = scene_alloc(2, &(struct hp_alloc_options){.flags = HP_GUARD, .align_bytes = 8 * PAGE});
	assert_int_equal((uintptr_t)hp_lease_data(lease) % (8 * PAGE), 0);
	assert_int_equal(hp_free(lease), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(lease_with_guards_has_nothing_around_it),
		SCENE_TEST(lease_private_is_not_seen_by_others),
		SCENE_TEST(lease_read_only_cannot_be_written),
		SCENE_TEST(lease_populated_is_there_before_it_is_touched),
		SCENE_TEST(lease_locked_is_locked_until_it_is_freed),
		SCENE_TEST(lease_of_one_run_is_aligned_as_in_its_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

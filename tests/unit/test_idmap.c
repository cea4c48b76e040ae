/* test_idmap.c - which maps of user namespaces leave nobody out. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "daemon/rpc/idmap.h"

static void idmap_is_whole_only_if_all_ids_are_mapped(void **state)
{
	static const char *const whole[] = {
		"         0          0 4294967295\n",
		"0 1 4294967294\n4294967294 0 1\n",
		"0 0 1000\n1000 1000 4294966295",
	};
	static const char *const partial[] = {
		"",
		"\n",
		"garbage",
		"0 1000 1\n",
		"0 0 65536\n",
		"0 0 4294967294\n",
		"0 0 1000\n1001 1001 4294966294\n",
		"0 1000 1\n1 100000 65536\n",
	};

	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
		if (!idmap_is_whole(whole[i]))
			fail_msg("not whole: %s", whole[i]);
	for (size_t i = 0; i < sizeof(partial) / sizeof(partial[0]); i++)
		if (idmap_is_whole(partial[i]))
			fail_msg("whole: %s", partial[i]);
}

static void idmap_of_many_lines_is_summed(void **state)
{
	static char text[16 * 1024];
	size_t n = 0;

	for (unsigned i = 0; i < 339; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%10u %10u %10u\n", i, i, 1u);
	assert_false(idmap_is_whole(text));
	snprintf(text + n, sizeof(text) - n, "%10u %10u %10u\n", 339u, 339u, UINT32_MAX - 339);
	assert_true(idmap_is_whole(text));
}

static void idmap_knows_overflow_ids_only_where_all_are_mapped(void **state)
{
	struct idmap idmap = {.overflow_uid = 65534, .overflow_gid = 60000};

	assert_true(idmap_knows_user(&idmap, 0));
	assert_false(idmap_knows_user(&idmap, 65534));
	assert_false(idmap_knows_group(&idmap, 60000));
	assert_true(idmap_knows_group(&idmap, 65534));
	idmap.has_all_users = true;
	assert_true(idmap_knows_user(&idmap, 65534));
	assert_false(idmap_knows_group(&idmap, 60000));
	idmap.has_all_groups = true;
	assert_true(idmap_knows_group(&idmap, 60000));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(idmap_is_whole_only_if_all_ids_are_mapped),
		cmocka_unit_test(idmap_of_many_lines_is_summed),
		cmocka_unit_test(idmap_knows_overflow_ids_only_where_all_are_mapped),
	};

	return cmocka_run_group_tests_name("idmap", tests, NULL, NULL);
}

/* test_name.c - what a lease can be called, and whose namespace that is in. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/name.h"

#define N(array) (sizeof(array) / sizeof((array)[0]))

static void name_is_plain_text_in_a_namespace(void **state)
{
	static const char *const good[] = {"pg-buffers", "a/b c",         "\xc3\xbc", "7x",
					   "x~",         "~/x",           "~/7",      "~0/x",
					   "~1001/x",    "~4294967294/x", "~/~/x"};
	static const char *const bad[] = {"",
					  "7",
					  "~",
					  "~/",
					  "~x",
					  "~x/y",
					  "~1001",
					  "~1001/",
					  "~-1/x",
					  "~ 1/x",
					  "~+1/x",
					  "~4294967295/x",
					  "~18446744073709551617/x",
					  "~00000000001/x",
					  "x\xff",
					  "x\x1b[m",
					  "x\xc2\x9bm",
					  "x\xe2\x80\xae",
					  "\xef\xbb\xbfx",
					  "~/x\n",
					  "~7/\xed\xa0\x80"};

	for (size_t i = 0; i < N(good); i++)
		if (name_fault(good[i]))
			fail_msg("\"%s\" %s", good[i], name_fault(good[i]));
	for (size_t i = 0; i < N(bad); i++)
		if (!name_fault(bad[i]))
			fail_msg("\"%s\" (%zu) is fine", bad[i], i);
}

static void name_of_255_bytes_is_the_longest(void **state)
{
	char name[NAME_FULL_MAX + 2], full[NAME_FULL_MAX + 1];

	memset(name, 'x', sizeof(name));
	name[255] = 0;
	assert_null(name_fault(name));
	name[255] = 'x';
	name[256] = 0;
	assert_non_null(name_fault(name));
	memcpy(name, "~4294967294/", 12);
	name[256] = 'x';
	name[12 + 255] = 0;
	assert_null(name_fault(name));
	assert_string_equal(name_resolve(name, 0, full), name);
	name[12 + 255] = 'x';
	name[12 + 256] = 0;
	assert_non_null(name_fault(name));
}

static void name_resolves_to_what_everybody_says(void **state)
{
	char full[NAME_FULL_MAX + 1];
	uint32_t uid = 7;

	assert_string_equal(name_resolve("x", 1001, full), "x");
	assert_false(name_user(full, &uid));
	assert_string_equal(name_resolve("~/x", 1001, full), "~1001/x");
	assert_true(name_user(full, &uid));
	assert_int_equal(uid, 1001);
	assert_string_equal(name_resolve("~/x", 4294967294, full), "~4294967294/x");
	assert_string_equal(name_resolve("~01002/x", 1001, full), "~1002/x");
	assert_true(name_user(full, &uid));
	assert_int_equal(uid, 1002);
	assert_string_equal(name_resolve("~0/x", 1001, full), "~0/x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(name_is_plain_text_in_a_namespace),
		cmocka_unit_test(name_of_255_bytes_is_the_longest),
		cmocka_unit_test(name_resolves_to_what_everybody_says),
	};

	return cmocka_run_group_tests_name("name", tests, NULL, NULL);
}

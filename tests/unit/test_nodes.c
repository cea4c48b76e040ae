/* test_nodes.c - which NUMA nodes there are, read from what the kernel writes. */
#include <config.h>

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/backing/nodes.h"

static void nodes_lists_are_read(void **state)
{
	static const struct {
		const char *text;
		unsigned has[4], lacks[4]; /* lists of numbers, the last one repeated */
		const char *said;
	} cases[] = {
		{"0\n", {0, 0, 0, 0}, {1, 2, 1023, UINT_MAX}, "0"},
		{"0-1\n", {0, 1, 1, 1}, {2, 3, 64, 1024}, "0-1"},
		{"1,3-5,63-64\n", {1, 3, 5, 64}, {0, 2, 6, 65}, "1,3-5,63-64"},
		{"0-1023", {0, 63, 64, 1023}, {1024, 1u << 30, INT_MAX, UINT_MAX}, "0-1023"},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct nodes nodes;

		assert_true(nodes_parse(&nodes, cases[i].text));
		for (unsigned k = 0; k < 4; k++) {
			assert_true(nodes_has(&nodes, cases[i].has[k]));
			assert_false(nodes_has(&nodes, cases[i].lacks[k]));
		}
		assert_string_equal(nodes.text, cases[i].said);
	}
}

/* A kernel without nodes has all its memory in one. */
static void nodes_that_nobody_tells_of_are_node_0(void **state)
{
	static const char *const texts[] = {
		"",    "\n",   "x",      "-1",  "0-",    "1-0",        "0,",
		"0 1", "1024", "0-1024", "0;1", "0-1-2", "4294967296", "99999999999999999999"};

	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		struct nodes nodes;

		assert_false(nodes_parse(&nodes, texts[i]));
		assert_true(nodes_has(&nodes, 0));
		assert_false(nodes_has(&nodes, 1));
		assert_string_equal(nodes.text, "0");
	}
}

static void nodes_text_that_is_long_is_cut_at_a_comma(void **state)
{
	char text[4000] = "0";
	struct nodes nodes;

	for (unsigned node = 2; node < NODES_MAX; node += 2)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), ",%u", node);
	assert_true(nodes_parse(&nodes, text));
	assert_true(nodes_has(&nodes, 1022));
	assert_false(nodes_has(&nodes, 1));
	assert_in_range(strlen(nodes.text), NODES_TEXT_MAX - 8, NODES_TEXT_MAX - 1);
	assert_non_null(strstr(nodes.text, ",..."));
	assert_memory_equal(nodes.text, text, strlen(nodes.text) - 3);
}

/* The host's own, seen in another way. */
static void nodes_of_this_host_are_those_with_a_directory(void **state)
{
	struct nodes nodes;

	nodes_read(&nodes);
	for (unsigned node = 1; node < NODES_MAX; node++) {
		char path[64];

		snprintf(path, sizeof(path), "/sys/devices/system/node/node%u", node);
		assert_int_equal(nodes_has(&nodes, node), access(path, F_OK) == 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nodes_lists_are_read),
		cmocka_unit_test(nodes_that_nobody_tells_of_are_node_0),
		cmocka_unit_test(nodes_text_that_is_long_is_cut_at_a_comma),
		cmocka_unit_test(nodes_of_this_host_are_those_with_a_directory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

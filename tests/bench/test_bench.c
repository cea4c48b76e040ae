/* test_bench.c - every benchmark works: it ends well and tells its figures. Not how fast anything is. One
 * that says that it is left out here is skipped, with what it says.
 */
#include <config.h>

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/support/dut.h"

#define PROGRAM        "tests/bench/hugepool-bench"
#define MAX_BENCHMARKS 32

/* One line of --json. */
static void expect_figure(const char *line)
{
	static const struct {
		const char *key;
		json_type type;
	} keys[] = {{"name", JSON_STRING},      {"ours", JSON_REAL},   {"peer", JSON_REAL},
		    {"peer_name", JSON_STRING}, {"unit", JSON_STRING}, {"ratio", JSON_REAL},
		    {"goal", JSON_STRING}};
	json_error_t error;
	json_t *object = json_loads(line, 0, &error);

	if (!object)
		fail_msg("not JSON: %s: %s", error.text, line);
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		const json_t *value = json_object_get(object, keys[i].key);

		if (!value || json_typeof(value) != keys[i].type)
			fail_msg("no %s in %s", keys[i].key, line);
	}
	assert_true(json_is_boolean(json_object_get(object, "met")));
	assert_true(json_real_value(json_object_get(object, "ours")) > 0);
	assert_true(json_real_value(json_object_get(object, "peer")) > 0);
	json_decref(object);
}

static unsigned expect_figures(char *lines)
{
	unsigned n = 0;
	char *save = NULL;

	for (char *line = strtok_r(lines, "\n", &save); line; line = strtok_r(NULL, "\n", &save), n++)
		expect_figure(line);
	return n;
}

static void bench_works(void **state)
{
	const char *name = *state;
	char *out, *error;
	int status = dut_run(PROGRAM, 0, DUT_WORDS("--json", "--short", name), &out, &error);
	unsigned n;

	if (status != 0)
		fail_msg("%s ended with %d: %s", name, status, error);
	n = expect_figures(out);
	if (strstr(error, ": skipped: ")) {
		print_message("%s", error);
		skip();
	}
	assert_true(n > 0);
	free(out);
	free(error);
}

static void bench_unknown_name_is_refused(void **state)
{
	dut_expect(PROGRAM, 0, 2, "no such benchmark: nonsense|ready-1g", DUT_WORDS("nonsense"));
	dut_expect(PROGRAM, 0, 2, "usage: ", DUT_WORDS("--nonsense"));
}

/* The first word of each line of the list. */
static size_t read_names(char *list, struct CMUnitTest *tests)
{
	size_t n = 0;
	char *save = NULL;

	for (char *line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		line[strcspn(line, " ")] = 0;
		assert_true(n < MAX_BENCHMARKS);
		tests[n++] = (struct CMUnitTest){.name = line,
						 .test_func = bench_works,
						 .teardown_func = dut_kill_all,
						 .initial_state = line};
	}
	return n;
}

int main(void)
{
	struct CMUnitTest tests[MAX_BENCHMARKS + 1] = {{0}};
	char *list;
	size_t n;
	int failed;

	assert_int_equal(dut_run(PROGRAM, 0, DUT_WORDS("--list"), &list, NULL), 0);
	n = read_names(list, tests);
	assert_true(n > 0);
	tests[n++] = (struct CMUnitTest)cmocka_unit_test(bench_unknown_name_is_refused);
	failed = _cmocka_run_group_tests("bench", tests, n, NULL, NULL);
	free(list);
	return failed;
}

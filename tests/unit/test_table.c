/* test_table.c - what hugepoolctl prints of texts that it did not choose: a daemon of another version, or
 * another user's, may say anything. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client/ctl/json.h"
#include "client/ctl/table.h"
#include "daemon/base/text.h"
#include "proto/hugepool.pb-c.h"

static const struct ctl_column columns[] = {
	{"ID", "lease", CTL_NUMBER},
	{"NAME", "name", CTL_TEXT},
	{"POOL", "pool", CTL_TEXT},
	{0},
};

/* The table of one lease that has this name. The caller's to free. */
static char *print_name(const char *name)
{
	Hugepool__LeasesReply reply = HUGEPOOL__LEASES_REPLY__INIT;
	Hugepool__LeaseInfo row = HUGEPOOL__LEASE_INFO__INIT, *rows = &row;
	json_t *result;
	size_t length;
	char *text;
	FILE *out = open_memstream(&text, &length);

	row.lease = 7;
	row.name = (char *)(uintptr_t)name;
	row.pool = (char *)(uintptr_t) "p";
	reply.leases = &rows;
	reply.n_leases = 1;
	result = ctl_json_from_message(&reply.base);
	assert_non_null(result);
	assert_int_equal(ctl_table_print(out, columns, json_object_get(result, "leases")), 0);
	json_decref(result);
	fclose(out);
	return text;
}

static void table_never_controls_the_terminal(void **state)
{
	static const char *const rows[][2] = {
		{"plain", "plain"},
		{"\x1b[31mred\a", "\\u{1b}[31mred\\u{7}"},
		{"c1 \xc2\x9b"
		 "2J",
		 "c1 \\u{9b}2J"},
		{"\xe2\x80\xaetxt.exe", "\\u{202e}txt.exe"},
		{"\xe2\x81\xa6", "\\u{2066}"},
		{"zero\xe2\x80\x8bwidth", "zero\\u{200b}width"},
		{"two\nlines\r", "two\\u{a}lines\\u{d}"},
		{"not \xff utf-8", "not ? utf-8"},
		{"cut \xe2\x82", "cut ??"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *text = print_name(rows[i][0]);

		assert_non_null(strstr(text, rows[i][1]));
		for (char *c = text; (c = strchr(c, '\n'));)
			*c = ' ';
		assert_true(text_is_plain(text));
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(table_never_controls_the_terminal),
	};

	return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}

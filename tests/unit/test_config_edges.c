/* test_config_edges.c - every key of the configuration at its edges: a row a key says what is taken and what
 * is not; and whatever else stands there, what comes out is within the bounds that the daemon relies on.
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

#include <cmocka.h>

#include "daemon/run/config_keys.h"

#define VALUES_MAX 12

/* Of a pool "a" of 2M pages and 8M, unless the key is one of these. */
static const struct row {
	bool is_top;
	const char *key;
	const char *taken[VALUES_MAX], *refused[VALUES_MAX];
} rows[] = {
	{true, "socket", {"\"/s\""}, {"\"\"", "1", "null", "[]"}},
	{true, "sockets", {"[]", "[\"/a\"]"}, {"[\"\"]", "\"/a\"", "[1]", "[\"/a\", \"/a\"]", "[[]]"}},
	{true, "state", {"\"/s\""}, {"\"\"", "0", "[]"}},
	{true,
	 "workers",
	 {"1", "64"},
	 {"0", "65", "-1", "4294967297", "9223372036854775807", "-9223372036854775808", "1.0", "\"1\"",
	  "true"}},
	{true, "log_level", {"\"error\"", "\"debug\""}, {"\"\"", "\"loud\"", "0", "null"}},
	{true,
	 "max_sessions",
	 {"0", "1", "1048576"},
	 {"-1", "1048577", "4294967296", "9223372036854775807", "0.5"}},
	{true,
	 "user_sessions",
	 {"0", "1", "1048576"},
	 {"-1", "1048577", "4294967296", "9223372036854775807", "\"\""}},
	{true,
	 "host_reserve",
	 {"0", "\"64M\"", "9223372036854775807", "\"8388607T\""},
	 {"-1", "\"8388608T\"", "\"9223372036854775808\"", "\"18446744073709551615\"",
	  "\"18446744073709551616\"", "\"16777216T\"", "1e3", "\"\"", "\"-1\"", "null"}},
	{true,
	 "admin_groups",
	 {"[]", "[0]", "[4294967294]"},
	 {"[-1]", "[4294967295]", "[4294967296]", "[9223372036854775807]", "0", "[\"\"]", "[null]",
	  "[\"*\"]"}},
	{true,
	 "admins",
	 {"[]", "[0]", "[4294967294]"},
	 {"[-1]", "[4294967295]", "[4294967296]", "[9223372036854775807]", "0", "[\"\"]", "[null]", "[0.5]"}},
	{true, "partial_users", {"true", "false"}, {"0", "1", "\"yes\"", "null"}},
	{true, "pools", {"[]"}, {"{}", "[1]", "[{}]", "\"a\"", "[null]"}},
	{false,
	 "name",
	 {"\"b\"", "\"0123456789012345678901234567890\""},
	 {"\"\"", "\"01234567890123456789012345678901\"", "\"a b\"", "\"a/b\"", "\"\\u00e4\"", "1", "null"}},
	{false,
	 "page_size",
	 {"\"2M\"", "2097152", "\"4K\""},
	 {"0", "1", "4095", "4097", "8192", "\"1T\"", "-4096", "9223372036854775807", "\"\""}},
	{false,
	 "max",
	 {"\"2M\"", "2097152", "\"8388606T\"", "9223372036852678656"},
	 {"0", "1", "2097151", "2097153", "-1", "9223372036854775807", "\"8388608T\"",
	  "\"18446744073709551615\"", "\"18446744073707454464\"", "\"16777216T\""}},
	{false, "backing", {"\"memfd\""}, {"\"\"", "\"hugetlbfs:\"", "\"hugetlbfs:x\"", "0", "null"}},
	{false,
	 "reserve",
	 {"0", "\"2M\"", "\"8M\""},
	 {"1", "\"10M\"", "-1", "\"8388608T\"", "\"18446744073709551615\""}},
	{false,
	 "stock",
	 {"0", "\"2M\"", "\"8M\""},
	 {"1", "\"10M\"", "-1", "\"8388608T\"", "\"18446744073709551615\""}},
	{false,
	 "arena",
	 {"\"2M\"", "\"8M\""},
	 {"0", "1", "\"10M\"", "-1", "\"8388608T\"", "\"18446744073709551615\""}},
	{false,
	 "isolation",
	 {"\"lease\"", "\"tenant\"", "\"pool\""},
	 {"\"\"", "\"Lease\"", "0", "3", "null"}},
	{false, "tenant", {"\"uid\"", "\"gid\"", "\"socket\""}, {"\"\"", "\"pid\"", "0", "null"}},
	{false,
	 "quota",
	 {"\"2M\"", "\"8M\""},
	 {"0", "1", "\"10M\"", "-1", "\"8388608T\"", "\"18446744073709551615\""}},
	{false,
	 "quota_leases",
	 {"0", "1", "4294967295"},
	 {"-1", "4294967296", "9223372036854775807", "1.5", "\"1\""}},
	{false,
	 "quota_names",
	 {"0", "1", "4294967295"},
	 {"-1", "4294967296", "9223372036854775807", "1.5", "\"1\""}},
	{false,
	 "users",
	 {"[]", "[\"*\"]", "[0, 4294967294]", "[\"4294967294\"]"},
	 {"[-1]", "[4294967295]", "[\"4294967295\"]", "[\"99999999999\"]", "[\"18446744073709551616\"]",
	  "\"*\"", "[\"\"]"}},
	{false,
	 "groups",
	 {"[]", "[0, 4294967294]"},
	 {"[-1]", "[4294967295]", "[\"*\"]", "[\"99999999999\"]", "[\"\"]", "0"}},
	{false,
	 "name_users",
	 {"[]", "[\"*\"]", "[0, 4294967294]"},
	 {"[-1]", "[4294967295]", "[\"99999999999\"]", "[\"\"]", "0"}},
	{false,
	 "decay",
	 {"0", "0.0004", "1e9", "1000000000", "\"1000000000\"", "\"0ms\"", "\"1000000000000ms\""},
	 {"-1", "-0.1", "1000000000.1", "1e308", "\"1000000001\"", "\"1000000000001ms\"", "\"\"", "\".\"",
	  "\"nan\"", "\"inf\"", "\"1e3\"", "null"}},
	{false,
	 "node",
	 {"-1", "0", "1023"},
	 {"-2", "1024", "2147483647", "2147483648", "4294967295", "9223372036854775807", "0.0", "\"0\""}},
	{false, "grow", {"true", "false"}, {"0", "1", "\"yes\"", "null"}},
	{false, "poison", {"true", "false"}, {"0", "1", "\"yes\"", "null"}},
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

/* Tried with every key; the outcome is the row's business where it has the value. */
static const char *const odd[] = {
	"null",
	"true",
	"false",
	"0",
	"1",
	"-1",
	"0.5",
	"-0.0",
	"1e308",
	"-1e308",
	"2147483647",
	"2147483648",
	"4294967295",
	"4294967296",
	"9223372036854775807",
	"-9223372036854775808",
	"\"\"",
	"\" \"",
	"\"-1\"",
	"\"0x10\"",
	"\"1e5\"",
	"\"nan\"",
	"\"99999999999999999999999\"",
	"\"18446744073709551615\"",
	"\"18446744073709551616\"",
	"\"4K\"",
	"\"1G\"",
	"\"8388607T\"",
	"\"8388608T\"",
	"[]",
	"{}",
	"[[]]",
	"[{}]",
	"[null]",
	"[0]",
	"[-1]",
	"[\"\"]",
	"[\"*\"]",
	"{\"a\": 1}",
	"\"\\u202e\"",
	"\"\\u0000\"",
};
#define N_ODD (sizeof(odd) / sizeof(odd[0]))

/* The file in which this key has this value. Returns its length. */
static int write_text(char *text, size_t room, const struct row *row, const char *value)
{
	const bool is_name = strcmp(row->key, "name") == 0, is_page = strcmp(row->key, "page_size") == 0,
		   is_max = strcmp(row->key, "max") == 0;

	if (row->is_top)
		return snprintf(text, room, "{\"%s\": %s}", row->key, value);
	return snprintf(text, room, "{\"pools\": [{%s%s%s\"%s\": %s}]}", is_name ? "" : "\"name\": \"a\", ",
			is_page ? "" : "\"page_size\": \"2M\", ", is_max ? "" : "\"max\": \"8M\", ", row->key,
			value);
}

/* What the daemon's sums, shifts and indexes rest on. */
static void expect_bounds(const struct config *config)
{
	assert_in_range(config->workers, 1, CONFIG_WORKERS_MAX);
	assert_in_range(config->n_pools, 1, CONFIG_POOLS_MAX);
	assert_true(config->n_more_sockets <= CONFIG_SOCKETS_MAX);
	assert_true(config->max_sessions <= 1u << 20 && config->user_sessions <= 1u << 20);
	assert_true(config->host_reserve_bytes <= INT64_MAX || config->host_reserve_bytes == UINT64_MAX);
	for (unsigned i = 0; i < config->n_pools; i++) {
		const struct pool_config *pool = &config->pools[i];

		assert_in_range(strlen(pool->name), 1, POOL_NAME_MAX - 1);
		assert_true(pool->page_bytes == 4096 || pool->page_bytes == 1u << 21 ||
			    pool->page_bytes == 1u << 30);
		assert_in_range(pool->max_pages, 1, INT64_MAX / pool->page_bytes);
		assert_in_range(pool->arena_pages, 1,
				pool->max_pages < RUN_ARENA_MAX ? pool->max_pages : RUN_ARENA_MAX);
		assert_in_range(pool->quota_pages, 1, pool->max_pages);
		assert_true(pool->reserve_pages <= pool->max_pages && pool->stock_pages <= pool->max_pages);
		assert_true(pool->quota_leases <= UINT32_MAX && pool->quota_names <= UINT32_MAX);
		assert_true(pool->decay_ms <= UINT64_C(1000000000000));
		assert_true(pool->node >= -1 && pool->node < 1024);
	}
}

/* Returns whether it is taken. Refused, there is a sentence that says what was expected. */
static bool takes(const struct row *row, const char *value)
{
	struct config config;
	char text[1000], *error = NULL;
	int length = write_text(text, sizeof(text), row, value), r;

	config_init(&config);
	r = config_read_text(&config, "t", text, (size_t)length, &error);
	if (r == 0)
		r = config_finish(&config, &error);
	if (r == 0) {
		expect_bounds(&config);
	} else {
		assert_int_equal(r, -EINVAL);
		assert_non_null(error);
		if (!strstr(error, "expected"))
			fail_msg("%s: %s", text, error);
		free(error);
	}
	config_fini(&config);
	return r == 0;
}

static void config_keys_take_what_their_rows_say(void **state)
{
	for (size_t i = 0; i < N_ROWS; i++) {
		for (unsigned k = 0; k < VALUES_MAX && rows[i].taken[k]; k++)
			if (!takes(&rows[i], rows[i].taken[k]))
				fail_msg("%s = %s is refused", rows[i].key, rows[i].taken[k]);
		for (unsigned k = 0; k < VALUES_MAX && rows[i].refused[k]; k++)
			if (takes(&rows[i], rows[i].refused[k]))
				fail_msg("%s = %s is taken", rows[i].key, rows[i].refused[k]);
	}
}

static void config_keys_stay_in_bounds_whatever_stands_there(void **state)
{
	for (size_t i = 0; i < N_ROWS; i++)
		for (size_t k = 0; k < N_ODD; k++)
			takes(&rows[i], odd[k]);
}

/* The same values behind flags, where everything is a word. */
static void config_words_stay_in_bounds(void **state)
{
	for (size_t i = 0; i < N_ROWS; i++)
		for (size_t k = 0; k < N_ODD; k++) {
			struct config config;
			char word[200], *error = NULL;
			int r;

			config_init(&config);
			if (rows[i].is_top && strcmp(rows[i].key, "pools") != 0) {
				r = config_set(&config, rows[i].key, odd[k], &error);
			} else {
				snprintf(word, sizeof(word), "a=2M:8M,%s=%s", rows[i].key, odd[k]);
				r = config_add_pool_word(&config, word, &error);
			}
			if (r == 0 && config_finish(&config, &error) == 0)
				expect_bounds(&config);
			else
				assert_non_null(error);
			free(error);
			config_fini(&config);
		}
}

static void expect_rows(const struct config_key *keys, bool is_top)
{
	for (const struct config_key *key = keys; key->name; key++) {
		bool has_row = false;

		for (size_t i = 0; i < N_ROWS; i++)
			has_row |= rows[i].is_top == is_top && strcmp(rows[i].key, key->name) == 0;
		if (!has_row)
			fail_msg("no row for the key %s", key->name);
	}
}

static void config_keys_have_a_row_each(void **state)
{
	expect_rows(config_top_keys, true);
	expect_rows(config_pool_keys, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_keys_have_a_row_each),
		cmocka_unit_test(config_keys_take_what_their_rows_say),
		cmocka_unit_test(config_keys_stay_in_bounds_whatever_stands_there),
		cmocka_unit_test(config_words_stay_in_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_config_refused.c - configuration: what is refused, and that a refusal names the exact place. */
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

#include "tests/unit/config_scene.h"

static void text_refused(const char *text, const char *sentence)
{
	struct config config;
	char *error = NULL;

	config_init(&config);
	assert_int_equal(config_read_text(&config, "t", text, strlen(text), &error), -EINVAL);
	assert_string_equal(error, sentence);
	free(error);
	config_fini(&config);
}

static void word_refused(const char *word, const char *sentence)
{
	struct config config;
	char *error = NULL;

	config_init(&config);
	assert_int_equal(config_add_pool_word(&config, word, &error), -EINVAL);
	assert_string_equal(error, sentence);
	free(error);
	config_fini(&config);
}

/* One pool "a" on line 1 with more keys; the place of what follows POOL_A is column 56. */
static void pool_refused(const char *more, const char *sentence)
{
	char text[1024];

	snprintf(text, sizeof(text), "{\"pools\": [" POOL_A "%s}]}", more);
	text_refused(text, sentence);
}

/* ---- refusals in a file ---- */

static void config_syntax_error_names_place(void **state)
{
	text_refused("{\"workers\": 1,\n \"state\": x}", "t:2:11: expected JSON: invalid token near 'x'");
	text_refused("{\"pools\": [\n", "t:2:1: expected JSON: ']' expected near end of file");
	text_refused("", "t:1:1: expected JSON: '[' or '{' expected near end of file");
	text_refused("{} {}", "t:1:4: expected JSON: end of file expected near '{'");
	text_refused("{\"socket\": \"\xff\"}", "t:1:12: expected JSON: unable to decode byte 0xff near '\"'");
}

static void config_duplicate_key_names_place(void **state)
{
	text_refused("{\"workers\": 1,\n \"workers\": 2}",
		     "t:2:10: expected every key once: duplicate object key near '\"workers\"'");
	pool_refused(", \"max\": \"4M\"",
		     "t:1:62: expected every key once: duplicate object key near '\"max\"'");
}

static void config_unknown_key_names_place_and_known_keys(void **state)
{
	text_refused("{\"workers\": 1,\n  \"worker\": 2}",
		     "t:2:3: key \"worker\": expected one of socket, sockets, state, workers, log_level, "
		     "max_sessions, user_sessions, host_reserve, admins, admin_groups, partial_users, pools");
	text_refused(
		"{\"pools\": [\n" POOL_A ",\n\t\"size\": 1}]}",
		"t:3:2: key \"size\": expected one of name, page_size, max, backing, reserve, stock, arena, "
		"isolation, tenant, quota, quota_leases, quota_names, users, groups, name_users, decay, "
		"node, "
		"grow, poison");
}

static void config_wrong_type_names_place(void **state)
{
	text_refused("[]", "t:1:1: expected an object, not a list");
	text_refused("\n  []", "t:2:3: expected an object, not a list");
	text_refused("{\"pools\":\n {}}", "t:2:2: key \"pools\": expected a list of pools, not an object");
	text_refused("{\"pools\": [" POOL_A "},\n  7]}", "t:2:3: key \"pools\": expected an object, not 7");
	text_refused("{\"workers\": \"4\"}",
		     "t:1:13: key \"workers\": expected a number from 1 to 64, not \"4\"");
	text_refused("{\"socket\": 4}", "t:1:12: key \"socket\": expected a path of 1 to 107 bytes, not 4");
	text_refused("{\"state\": null}",
		     "t:1:11: key \"state\": expected the path of a directory, not null");
	text_refused("{\"max_sessions\": 1.5}",
		     "t:1:18: key \"max_sessions\": expected a number from 0 (no limit of "
		     "its own) to 1048576, not 1.5");
	pool_refused(", \"grow\": \"yes\"", "t:1:66: key \"grow\": expected true or false, not \"yes\"");
	pool_refused(", \"users\": \"root\"", "t:1:67: key \"users\": expected a list of users such as "
					      "[\"alice\", 1001], or [\"*\"], not \"root\"");
	pool_refused(", \"groups\": true", "t:1:68: key \"groups\": expected a list of groups such as "
					   "[\"staff\", 1001], not true");
	pool_refused(", \"node\": \"0\"",
		     "t:1:66: key \"node\": expected the number of a NUMA node, or -1 for any, "
		     "not \"0\"");
}

static void config_bad_top_value_names_place(void **state)
{
	text_refused("{\"workers\": 0}", "t:1:13: key \"workers\": expected a number from 1 to 64, not 0");
	text_refused("{\"workers\": 65}", "t:1:13: key \"workers\": expected a number from 1 to 64, not 65");
	text_refused(
		"{\"log_level\": \"loud\"}",
		"t:1:15: key \"log_level\": expected error, warning, notice, info or debug, not \"loud\"");
	text_refused("{\"socket\": \"\"}",
		     "t:1:12: key \"socket\": expected a path of 1 to 107 bytes, not \"\"");
	text_refused("{\"admins\": \"*\"}", "t:1:12: key \"admins\": expected a list of users such as "
					    "[\"alice\", 1001], not \"*\"");
	text_refused("{\"admins\": [\"*\"]}", "t:1:13: key \"admins\": expected the name or number of a "
					      "user that this host knows, not \"*\"");
	text_refused("{\"admin_groups\": [\"*\"]}", "t:1:19: key \"admin_groups\": expected the name or "
						    "number of a group that this host knows, not "
						    "\"*\"");
}

static void config_bad_pool_value_names_place(void **state)
{
	text_refused("{\n \"pools\": [\n  " POOL_A
		     "},\n  {\"name\": \"b\", \"page_size\": \"2M\",\n   \"max\": "
		     "\"lots\"}\n]}",
		     "t:5:11: key \"max\": expected a size such as 512M, not \"lots\"");
	text_refused("{\"pools\": [{\"name\": \"a\", \"page_size\": \"8K\", \"max\": \"8M\"}]}",
		     "t:1:39: key \"page_size\": expected 4K, 2M or 1G, not \"8K\"");
	text_refused("{\"pools\": [{\"name\": \"a b\"}]}",
		     "t:1:21: key \"name\": expected 1 to 31 letters, digits, - and _, not \"a b\"");
	text_refused("{\"pools\": [{\"name\": \"a2345678901234567890123456789012\"}]}",
		     "t:1:21: key \"name\": expected 1 to 31 letters, digits, - and _, not "
		     "\"a2345678901234567890123456789012\"");
	pool_refused(", \"reserve\": -1", "t:1:69: key \"reserve\": expected a size such as 512M, not -1");
	pool_refused(", \"backing\": \"hugetlbfs:mnt\"",
		     "t:1:69: key \"backing\": expected memfd, hugetlbfs or hugetlbfs:/DIRECTORY, not "
		     "\"hugetlbfs:mnt\"");
	pool_refused(", \"isolation\": \"none\"",
		     "t:1:71: key \"isolation\": expected lease, tenant or pool, not \"none\"");
	pool_refused(", \"tenant\": \"pid\"",
		     "t:1:68: key \"tenant\": expected uid, gid or socket, not \"pid\"");
	pool_refused(", \"quota_leases\": -1",
		     "t:1:74: key \"quota_leases\": expected a number from 0 (no limit of its own) to "
		     "4294967295, not -1");
	pool_refused(", \"quota_names\": 4294967296",
		     "t:1:73: key \"quota_names\": expected a number from 0 (no limit of its own) to "
		     "4294967295, not 4294967296");
	pool_refused(", \"poison\": 1", "t:1:68: key \"poison\": expected true or false, not 1");
	pool_refused(", \"node\": -2",
		     "t:1:66: key \"node\": expected the number of a NUMA node, or -1 for any, not -2");
	pool_refused(", \"users\": [4294967295]", "t:1:68: key \"users\": expected the name or number of a "
						  "user that this host knows, or \"*\", not "
						  "4294967295");
}

static void config_bad_decay_names_place(void **state)
{
	static const char *const values[] = {"\"fast\"", "\"10m\"", "\"0x10s\"", "\"1e5s\"",
					     "\"-1\"",   "\"\"",    "true"};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		char more[64], sentence[128];

		snprintf(more, sizeof(more), ", \"decay\": %s", values[i]);
		snprintf(sentence, sizeof(sentence),
			 "t:1:67: key \"decay\": expected seconds as a number or a word such as 10s or "
			 "500ms, not %s",
			 values[i]);
		pool_refused(more, sentence);
	}
	pool_refused(", \"decay\": -1", "t:1:67: key \"decay\": expected 0 to 1000000000 seconds, not -1");
	pool_refused(", \"decay\": 1e10",
		     "t:1:67: key \"decay\": expected 0 to 1000000000 seconds, not 10000000000.0");
}

static void config_missing_key_names_its_pool(void **state)
{
	text_refused("{\"pools\": [\n " POOL_A "},\n {\"name\": \"b\", \"page_size\": \"2M\"}]}",
		     "t:3:2: key \"max\": expected in every pool");
	text_refused("{\"pools\": [ {}]}", "t:1:13: key \"name\": expected in every pool");
}

static void config_duplicate_pool_names_second(void **state)
{
	text_refused("{\"pools\": [" POOL_A "},\n" POOL_A "}]}",
		     "t:2:10: key \"name\": expected a name of its own, but there is a pool \"a\" already");
}

static void config_size_not_of_whole_pages_names_nearest(void **state)
{
	text_refused("{\"pools\": [{\"max\": \"3M\", \"name\": \"a\", \"page_size\": \"2M\"}]}",
		     "t:1:20: key \"max\": expected a multiple of the page size 2M; nearest to 3M is 4M");
	word_refused(
		"a=1G:1500M",
		"--pool a: key \"max\": expected a multiple of the page size 1G; nearest to 1500M is 1G");
	word_refused("a=2M:1",
		     "--pool a: key \"max\": expected a multiple of the page size 2M; nearest to 1 is 2M");
	word_refused("a=4K:9223372036854775807",
		     "--pool a: key \"max\": expected a multiple of the page size 4K; "
		     "nearest to 9223372036854775807 is 8388608T");
	pool_refused(", \"arena\": \"5M\"",
		     "t:1:67: key \"arena\": expected a multiple of the page size 2M; nearest to 5M is 6M");
}

static void config_sizes_out_of_bounds_are_refused(void **state)
{
	word_refused("a=2M:0", "--pool a: key \"max\": expected at least one page (2M), not 0");
	pool_refused(", \"reserve\": \"10M\"",
		     "t:1:69: key \"reserve\": expected at most \"max\" (8M), not 10M");
	pool_refused(", \"arena\": \"10M\"", "t:1:67: key \"arena\": expected at most \"max\" (8M), not 10M");
	pool_refused(", \"arena\": 0", "t:1:67: key \"arena\": expected at least one page (2M), not 0");
	pool_refused(", \"quota\": 16777216",
		     "t:1:67: key \"quota\": expected at most \"max\" (8M), not 16M");
	word_refused("a=4K:32T,arena=17179873280K",
		     "--pool a: key \"arena\": expected at most 4294967295 pages, not 4294968320");
}

static void config_hugetlbfs_for_strangers_is_refused(void **state)
{
#define WHY                                                                                                  \
	"key \"backing\": expected hugetlbfs in pool \"a\" only with \"isolation\" pool, or with at most "   \
	"one "                                                                                               \
	"user in \"users\" and no \"groups\": a client that holds a hugetlbfs descriptor can take pages up " \
	"to "                                                                                                \
	"the mount's size"
	pool_refused(", \"users\": [\"*\"], \"backing\": \"hugetlbfs\"", "t:1:85: " WHY);
	pool_refused(", \"users\": [1, 2], \"backing\": \"hugetlbfs\"", "t:1:86: " WHY);
	word_refused("a=2M:8M,groups=root,backing=hugetlbfs:/mnt", "--pool a: " WHY);
	word_refused("a=2M:8M,users=1+2,isolation=lease,backing=hugetlbfs", "--pool a: " WHY);
	word_refused("a=2M:8M,groups=7,tenant=gid,backing=hugetlbfs", "--pool a: " WHY);
	word_refused("a=2M:8M,users=*,tenant=socket,backing=hugetlbfs", "--pool a: " WHY);
#undef WHY
}

static void config_hugetlbfs_with_small_pages_is_refused(void **state)
{
	word_refused("a=4K:8M,backing=hugetlbfs",
		     "--pool a: key \"backing\": expected memfd in pool \"a\", whose "
		     "\"page_size\" is 4K: hugetlbfs has huge pages only");
}

static void config_poison_of_leases_is_refused(void **state)
{
#define WHY                                                                                                  \
	"key \"poison\": expected false in pool \"a\", whose \"isolation\" is lease: no page that was "      \
	"freed is "                                                                                          \
	"granted again"
	pool_refused(", \"isolation\": \"lease\",\n\"poison\": true", "t:2:11: " WHY);
	word_refused("a=4K:1M,poison=yes,isolation=lease", "--pool a: " WHY);
#undef WHY
}

static void config_bad_sockets_name_their_place(void **state)
{
	struct config config;
	char text[512], *error = NULL;
	int length = snprintf(text, sizeof(text), "{\"sockets\": [\"/0\"");

	text_refused("{\"sockets\": \"/a\"}",
		     "t:1:13: key \"sockets\": expected a list of paths, not \"/a\"");
	text_refused("{\"sockets\": [\"/a\",\n 7]}",
		     "t:2:2: key \"sockets\": expected a path of 1 to 107 bytes, not 7");
	text_refused("{\"sockets\": [\"/a\", \"/b\", \"/a\"]}",
		     "t:1:26: key \"sockets\": expected every socket once");
	for (int i = 1; i < CONFIG_SOCKETS_MAX; i++)
		length += snprintf(text + length, sizeof(text) - (size_t)length, ", \"/%d\"", i);
	strcpy(text + length, "]}");
	config = scene_read_accepted(text);
	assert_int_equal(config.n_more_sockets, 15);
	assert_int_equal(config_read_text(&config, "t", "{\"sockets\": [\"/x\"]}", 19, &error), -EINVAL);
	assert_string_equal(error, "t:1:14: key \"sockets\": expected at most 15 sockets");
	free(error);
	config_fini(&config);
}

static void config_columns_count_characters(void **state)
{
	text_refused("{\"socket\": \"\xc3\xa4\xe2\x82\xac\", \"workers\": 0}",
		     "t:1:29: key \"workers\": expected a number from 1 to 64, not 0");
}

static void config_place_survives_escapes_and_brackets_in_strings(void **state)
{
	text_refused("{\"state\": \"}]\\\"{\\\\\", \"work\\u0065rs\": 0}",
		     "t:1:38: key \"workers\": expected a number from 1 to 64, not 0");
}

static void config_long_value_is_shown_in_part(void **state)
{
	text_refused(
		"{\"log_level\": \"0123456789012345678901234567890123456789012345678901234567890123456789\"}",
		"t:1:15: key \"log_level\": expected error, warning, notice, info or debug, not "
		"\"01234567890123456789012345678901234567890123456789012345678");
}

static void config_file_errors_name_the_file(void **state)
{
	char path[] = "/tmp/test_config.XXXXXX";
	int fd = mkstemp(path);
	struct config config;
	char *error = NULL, *expected = NULL;

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "{\n\"workers\": 0}", 15), 15);
	close(fd);
	config_init(&config);
	assert_int_equal(config_read_file(&config, path, &error), -EINVAL);
	assert_true(asprintf(&expected, "%s:2:12: key \"workers\": expected a number from 1 to 64, not 0",
			     path) > 0);
	assert_string_equal(error, expected);
	free(expected);
	free(error);
	assert_int_equal(truncate(path, (1 << 20) + 1), 0);
	assert_int_equal(config_read_file(&config, path, &error), -EFBIG);
	free(error);
	unlink(path);
	assert_int_equal(config_read_file(&config, "/no/such/file", &error), -ENOENT);
	assert_string_equal(error, "/no/such/file: cannot read it: No such file or directory");
	free(error);
	assert_int_equal(config_read_file(&config, "/", &error), -EISDIR);
	free(error);
	config_fini(&config);
}

/* ---- refusals of flags ---- */

static void config_pool_word_of_another_form_is_refused(void **state)
{
	static const char *const words[] = {"big",           "big=",      "big=2M", "big=2M:4G,reserve",
					    "big=2M,max=4G", "big=2M:4G,"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		word_refused(words[i], "--pool big: expected NAME=PAGE:MAX[,KEY=VALUE...], such as "
				       "big=2M:4G,reserve=1G");
}

static void config_pool_word_refusals_name_flag_and_key(void **state)
{
	word_refused("big=2M:lots", "--pool big: key \"max\": expected a size such as 512M, not \"lots\"");
	word_refused("big=3M:4G", "--pool big: key \"page_size\": expected 4K, 2M or 1G, not \"3M\"");
	word_refused("=2M:4G", "--pool : key \"name\": expected 1 to 31 letters, digits, - and _, not \"\"");
	word_refused("big=2M:4G,grow=perhaps",
		     "--pool big: key \"grow\": expected true or false, not \"perhaps\"");
	word_refused(
		"big=2M:4G,node=one",
		"--pool big: key \"node\": expected the number of a NUMA node, or -1 for any, not \"one\"");
	word_refused("big=2M:4G,max=2G", "--pool big: key \"max\": expected once");
	word_refused("big=2M:4G,reserve=1G,reserve=1G", "--pool big: key \"reserve\": expected once");
	word_refused("big=2M:4G,backing=\xff", "--pool big: key \"backing\": expected text in UTF-8");
	word_refused("big=2M:4G,siz=1",
		     "--pool big: key \"siz\": expected one of name, page_size, max, backing, reserve, "
		     "stock, arena, "
		     "isolation, tenant, quota, quota_leases, quota_names, users, groups, name_users, decay, "
		     "node, grow, "
		     "poison");
}

static void config_pool_word_with_a_files_name_is_refused(void **state)
{
	struct config config = scene_read_accepted("{\"pools\": [" POOL_A "}]}");
	char *error = NULL;

	assert_int_equal(config_add_pool_word(&config, "a=4K:1M", &error), -EINVAL);
	assert_string_equal(error,
			    "--pool a: key \"name\": expected a name of its own, but there is a pool \"a\" "
			    "already");
	free(error);
	config_fini(&config);
}

static void config_flag_refusals_name_the_flag(void **state)
{
	struct config config;
	char *error = NULL;

	config_init(&config);
	assert_int_equal(config_set(&config, "workers", "many", &error), -EINVAL);
	assert_string_equal(error, "--workers: expected a number from 1 to 64, not \"many\"");
	free(error);
	assert_int_equal(config_set(&config, "log_level", "7", &error), -EINVAL);
	assert_string_equal(error, "--log-level: expected error, warning, notice, info or debug, not \"7\"");
	free(error);
	config_fini(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_syntax_error_names_place),
		cmocka_unit_test(config_duplicate_key_names_place),
		cmocka_unit_test(config_unknown_key_names_place_and_known_keys),
		cmocka_unit_test(config_wrong_type_names_place),
		cmocka_unit_test(config_bad_top_value_names_place),
		cmocka_unit_test(config_bad_pool_value_names_place),
		cmocka_unit_test(config_bad_decay_names_place),
		cmocka_unit_test(config_missing_key_names_its_pool),
		cmocka_unit_test(config_duplicate_pool_names_second),
		cmocka_unit_test(config_size_not_of_whole_pages_names_nearest),
		cmocka_unit_test(config_sizes_out_of_bounds_are_refused),
		cmocka_unit_test(config_hugetlbfs_for_strangers_is_refused),
		cmocka_unit_test(config_hugetlbfs_with_small_pages_is_refused),
		cmocka_unit_test(config_poison_of_leases_is_refused),
		cmocka_unit_test(config_bad_sockets_name_their_place),
		cmocka_unit_test(config_columns_count_characters),
		cmocka_unit_test(config_place_survives_escapes_and_brackets_in_strings),
		cmocka_unit_test(config_long_value_is_shown_in_part),
		cmocka_unit_test(config_file_errors_name_the_file),
		cmocka_unit_test(config_pool_word_of_another_form_is_refused),
		cmocka_unit_test(config_pool_word_refusals_name_flag_and_key),
		cmocka_unit_test(config_pool_word_with_a_files_name_is_refused),
		cmocka_unit_test(config_flag_refusals_name_the_flag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

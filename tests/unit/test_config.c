/* test_config.c - configuration: what is understood, what is refused, and that a refusal names the exact
 * place. */
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

#include "daemon/run/config.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

#define POOL_A "{\"name\": \"a\", \"page_size\": \"2M\", \"max\": \"8M\""

static struct config read_accepted(const char *text)
{
	struct config config;
	char *error = NULL;

	config_init(&config);
	if (config_read_text(&config, "t", text, strlen(text), &error) < 0 ||
	    config_finish(&config, &error) < 0)
		fail_msg("%s", error);
	return config;
}

static struct config word_accepted(const char *word)
{
	struct config config;
	char *error = NULL;

	config_init(&config);
	if (config_add_pool_word(&config, word, &error) < 0 || config_finish(&config, &error) < 0)
		fail_msg("%s", error);
	return config;
}

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

/* ---- what is understood ---- */

static void config_empty_object_gives_defaults(void **state)
{
	struct config config = read_accepted("{}");

	assert_null(config.socket_path);
	assert_null(config.state_dir);
	assert_in_range(config.workers, 1, 8);
	assert_int_equal(config.log_level, LOG_LEVEL_INFO);
	assert_int_equal(config.max_sessions, 0);
	assert_int_equal(config.user_sessions, 0);
	assert_int_equal(config.n_more_sockets, 0);
	assert_int_equal(config.n_admin_gids, 0);
	assert_int_equal(config.n_pools, 1);
	assert_string_equal(config.pools[0].name, "default");
	assert_int_equal(config.pools[0].page_bytes, 4096);
	assert_int_equal(config.pools[0].max_pages, 256 * MIB / 4096);
	assert_int_equal(config.pools[0].backing, POOL_BACKING_MEMFD);
	assert_int_equal(config.pools[0].isolation, POOL_ISOLATION_TENANT);
	assert_int_equal(config.pools[0].tenant, POOL_TENANT_UID);
	assert_int_equal(config.pools[0].quota_leases, 0);
	assert_int_equal(config.pools[0].quota_names, 0);
	assert_false(config.pools[0].poison);
	assert_int_equal(config.pools[0].reserve_pages, 0);
	assert_int_equal(config.pools[0].quota_pages, config.pools[0].max_pages);
	assert_int_equal(config.pools[0].arena_pages, 64 * MIB / 4096);
	assert_int_equal(config.pools[0].decay_ms, 10000);
	assert_int_equal(config.pools[0].node, -1);
	assert_false(config.pools[0].grow);
	assert_false(config.pools[0].everybody);
	config_fini(&config);
}

static void config_every_top_key_is_read(void **state)
{
	struct config config = read_accepted("{\"socket\": \"/s\", \"state\": \"/d\", \"workers\": 3, "
					     "\"log_level\": \"debug\", \"max_sessions\": 9, "
					     "\"sockets\": [\"/s1\", \"/s2\"], \"user_sessions\": 4, "
					     "\"admin_groups\": [\"root\", 7]}");

	assert_string_equal(config.socket_path, "/s");
	assert_string_equal(config.state_dir, "/d");
	assert_int_equal(config.workers, 3);
	assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(config.max_sessions, 9);
	assert_int_equal(config.user_sessions, 4);
	assert_int_equal(config.n_more_sockets, 2);
	assert_string_equal(config.more_sockets[0], "/s1");
	assert_string_equal(config.more_sockets[1], "/s2");
	assert_int_equal(config.n_admin_gids, 2);
	assert_int_equal(config.admin_gids[0], 0);
	assert_int_equal(config.admin_gids[1], 7);
	config_fini(&config);
}

/* The only pool of `config` is this one. */
static void expect_pool(const struct config *config, const struct pool_config *expected)
{
	const struct pool_config *pool = &config->pools[0];

	assert_int_equal(config->n_pools, 1);
	assert_string_equal(pool->name, expected->name);
	assert_int_equal(pool->page_bytes, expected->page_bytes);
	assert_int_equal(pool->backing, expected->backing);
	assert_string_equal(pool->directory, expected->directory);
	assert_int_equal(pool->max_pages, expected->max_pages);
	assert_int_equal(pool->reserve_pages, expected->reserve_pages);
	assert_int_equal(pool->stock_pages, expected->stock_pages);
	assert_int_equal(pool->arena_pages, expected->arena_pages);
	assert_int_equal(pool->isolation, expected->isolation);
	assert_int_equal(pool->tenant, expected->tenant);
	assert_int_equal(pool->quota_pages, expected->quota_pages);
	assert_int_equal(pool->quota_leases, expected->quota_leases);
	assert_int_equal(pool->quota_names, expected->quota_names);
	assert_int_equal(pool->n_uids, expected->n_uids);
	assert_memory_equal(pool->uids, expected->uids, expected->n_uids * sizeof(*expected->uids));
	assert_int_equal(pool->n_gids, expected->n_gids);
	assert_memory_equal(pool->gids, expected->gids, expected->n_gids * sizeof(*expected->gids));
	assert_int_equal(pool->everybody, expected->everybody);
	assert_int_equal(pool->decay_ms, expected->decay_ms);
	assert_int_equal(pool->node, expected->node);
	assert_int_equal(pool->grow, expected->grow);
	assert_int_equal(pool->poison, expected->poison);
}

static void config_every_pool_key_is_read(void **state)
{
	struct config config = read_accepted(
		"{\"pools\": [{\"max\": \"8G\", \"page_size\": \"2M\", \"name\": \"db-1_X\", "
		"\"backing\": \"hugetlbfs:/mnt/huge\", \"reserve\": \"4G\", \"stock\": \"1G\", \"arena\": "
		"\"512M\", "
		"\"isolation\": \"pool\", \"tenant\": \"gid\", \"quota\": 1073741824, "
		"\"quota_leases\": 7, \"quota_names\": 4294967295, \"poison\": true, "
		"\"users\": [\"root\", 1001, \"1002\"], \"groups\": [\"root\"], \"decay\": \"500ms\", "
		"\"node\": 1, \"grow\": true}]}");
	uid_t uids[] = {0, 1001, 1002};
	gid_t gids[] = {0};
	const struct pool_config expected = {
		.name = "db-1_X",
		.page_bytes = 2 * MIB,
		.backing = POOL_BACKING_HUGETLBFS,
		.directory = (char *)"/mnt/huge",
		.max_pages = 4096,
		.reserve_pages = 2048,
		.stock_pages = 512,
		.arena_pages = 256,
		.isolation = POOL_ISOLATION_POOL,
		.tenant = POOL_TENANT_GID,
		.quota_pages = 512,
		.quota_leases = 7,
		.quota_names = UINT32_MAX,
		.uids = uids,
		.n_uids = 3,
		.gids = gids,
		.n_gids = 1,
		.decay_ms = 500,
		.node = 1,
		.grow = true,
		.poison = true,
	};

	expect_pool(&config, &expected);
	config_fini(&config);
}

static void config_pool_word_reads_every_key(void **state)
{
	struct config config = word_accepted(
		"big=1G:4G,backing=hugetlbfs:/mnt,reserve=1G,stock=2G,arena=2G,isolation=pool,tenant=socket,"
		"quota=3G,quota_leases=5,quota_names=2,poison=on,users=root+1001+*,groups=root+7,decay=1.5,"
		"node=-1,grow=Yes");
	uid_t uids[] = {0, 1001};
	gid_t gids[] = {0, 7};
	const struct pool_config expected = {
		.name = "big",
		.page_bytes = GIB,
		.backing = POOL_BACKING_HUGETLBFS,
		.directory = (char *)"/mnt",
		.max_pages = 4,
		.reserve_pages = 1,
		.stock_pages = 2,
		.arena_pages = 2,
		.isolation = POOL_ISOLATION_POOL,
		.tenant = POOL_TENANT_SOCKET,
		.quota_pages = 3,
		.quota_leases = 5,
		.quota_names = 2,
		.uids = uids,
		.n_uids = 2,
		.gids = gids,
		.n_gids = 2,
		.everybody = true,
		.decay_ms = 1500,
		.node = -1,
		.grow = true,
		.poison = true,
	};

	expect_pool(&config, &expected);
	config_fini(&config);
}

static void config_switch_words_are_understood(void **state)
{
	static const char *const on[] = {"yes", "true", "on", "1"}, *const off[] = {"no", "false", "off",
										    "0"};

	for (size_t i = 0; i < 8; i++) {
		char word[64];
		struct config config;

		snprintf(word, sizeof(word), "a=4K:1M,grow=%s", i < 4 ? on[i] : off[i - 4]);
		config = word_accepted(word);
		assert_int_equal(config.pools[0].grow, i < 4);
		config_fini(&config);
	}
}

static void config_isolation_and_tenant_words_are_understood(void **state)
{
	for (unsigned i = POOL_ISOLATION_TENANT; i <= POOL_ISOLATION_LEASE; i++)
		for (unsigned k = POOL_TENANT_UID; k <= POOL_TENANT_SOCKET; k++) {
			char word[64];
			struct config config;

			snprintf(word, sizeof(word), "a=4K:1M,isolation=%s,tenant=%s", pool_isolation_name(i),
				 pool_tenant_word(k));
			config = word_accepted(word);
			assert_int_equal(config.pools[0].isolation, i);
			assert_int_equal(config.pools[0].tenant, k);
			config_fini(&config);
		}
}

static void config_decay_forms_are_milliseconds(void **state)
{
	static const struct {
		const char *value;
		uint64_t ms;
	} cases[] = {{"10", 10000},      {"0", 0},         {"0.25", 250},
		     {"\"10s\"", 10000}, {"\"7\"", 7000},  {"\"500ms\"", 500},
		     {"\"1.5s\"", 1500}, {"\"0.4ms\"", 0}, {"1e9", 1000000000000}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		char text[256];
		struct config config;

		snprintf(text, sizeof(text), "{\"pools\": [" POOL_A ", \"decay\": %s}]}", cases[i].value);
		config = read_accepted(text);
		assert_int_equal(config.pools[0].decay_ms, cases[i].ms);
		config_fini(&config);
	}
}

static void config_user_listed_twice_counts_once(void **state)
{
	struct config config = word_accepted("a=2M:8M,backing=hugetlbfs,users=root+0");

	assert_int_equal(config.pools[0].n_uids, 1);
	config_fini(&config);
}

static void config_empty_list_word_admits_nobody(void **state)
{
	struct config config = word_accepted("a=4K:1M,users=");

	assert_int_equal(config.pools[0].n_uids, 0);
	assert_false(config.pools[0].everybody);
	config_fini(&config);
}

static void config_default_arena_follows_pool_size(void **state)
{
	static const struct {
		const char *word;
		uint64_t arena_bytes;
	} cases[] = {
		{"a=4K:4G", GIB},          {"a=2M:4G", GIB},        {"a=2M:1T", GIB},
		{"a=4K:4K", 4096},         {"a=4K:20K", 8192},      {"a=4K:256M", 64 * MIB},
		{"a=2M:2G", 512 * MIB},    {"a=2M:128M", 64 * MIB}, {"a=2M:32M", 32 * MIB},
		{"a=1G:1G", GIB},          {"a=1G:3G", GIB},        {"a=1G:16G", GIB},
		{"a=2M:1022M", 256 * MIB},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct config config = word_accepted(cases[i].word);

		assert_int_equal(config.pools[0].arena_pages * config.pools[0].page_bytes,
				 cases[i].arena_bytes);
		config_fini(&config);
	}
}

static void config_given_arena_and_quota_stay(void **state)
{
	struct config config = word_accepted("a=2M:4G,arena=4G,quota=2M");

	assert_int_equal(config.pools[0].arena_pages, 2048);
	assert_int_equal(config.pools[0].quota_pages, 1);
	config_fini(&config);
}

static void config_hugetlbfs_for_one_tenant_is_accepted(void **state)
{
	static const char *const words[] = {"a=2M:8M,backing=hugetlbfs",
					    "a=2M:8M,backing=hugetlbfs,users=1001",
					    "a=2M:8M,backing=hugetlbfs,users=1001,isolation=lease",
					    "a=2M:8M,backing=hugetlbfs,users=*,groups=root,isolation=pool"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		struct config config = word_accepted(words[i]);

		assert_int_equal(config.pools[0].backing, POOL_BACKING_HUGETLBFS);
		assert_null(config.pools[0].directory);
		config_fini(&config);
	}
}

static void config_flag_after_file_replaces_its_value(void **state)
{
	struct config config =
		read_accepted("{\"socket\": \"/file\", \"workers\": 2, \"admin_groups\": [1]}");
	char *error = NULL;

	assert_int_equal(config_set(&config, "socket", "/flag", &error), 0);
	assert_int_equal(config_set(&config, "workers", "64", &error), 0);
	assert_int_equal(config_set(&config, "state", "/state", &error), 0);
	assert_int_equal(config_set(&config, "log_level", "error", &error), 0);
	assert_int_equal(config_set(&config, "admin_groups", "2+3", &error), 0);
	assert_string_equal(config.socket_path, "/flag");
	assert_string_equal(config.state_dir, "/state");
	assert_int_equal(config.workers, 64);
	assert_int_equal(config.log_level, LOG_LEVEL_ERROR);
	assert_int_equal(config.n_admin_gids, 2);
	config_fini(&config);
}

static void config_64_pools_are_accepted_and_65_refused(void **state)
{
	struct config config;
	char *error = NULL;

	config_init(&config);
	for (unsigned i = 0; i < CONFIG_POOLS_MAX; i++) {
		char word[32];

		snprintf(word, sizeof(word), "p%u=4K:1M", i);
		assert_int_equal(config_add_pool_word(&config, word, &error), 0);
	}
	assert_int_equal(config_add_pool_word(&config, "more=4K:1M", &error), -EINVAL);
	assert_string_equal(error, "--pool more: expected at most 64 pools");
	free(error);
	config_fini(&config);
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
		     "max_sessions, user_sessions, admin_groups, pools");
	text_refused(
		"{\"pools\": [\n" POOL_A ",\n\t\"size\": 1}]}",
		"t:3:2: key \"size\": expected one of name, page_size, max, backing, reserve, stock, arena, "
		"isolation, tenant, quota, quota_leases, quota_names, users, groups, decay, node, "
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
	text_refused("{\"admin_groups\": [\"root\",\n  \"no-such-group\"]}",
		     "t:2:3: key \"admin_groups\": expected the name or number of a group that this host "
		     "knows, not "
		     "\"no-such-group\"");
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
	pool_refused(", \"users\": [0, \"no-such-user\"]",
		     "t:1:71: key \"users\": expected the name or number of a user that this host knows, or "
		     "\"*\", not "
		     "\"no-such-user\"");
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
	word_refused("a=4K:18446744073709551615",
		     "--pool a: key \"max\": expected a multiple of the page size 4K; "
		     "nearest to 18446744073709551615 is 18014398509481980K");
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
		     "--pool a: key \"arena\": expected at most 4294967296 pages, not 4294968320");
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
	config = read_accepted(text);
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
	word_refused("big=2M:4G,users=root+no-such-user", "--pool big: key \"users\": expected the name or "
							  "number of a user that this host knows, or \"*\", "
							  "not \"no-such-user\"");
	word_refused("big=2M:4G,backing=\xff", "--pool big: key \"backing\": expected text in UTF-8");
	word_refused("big=2M:4G,siz=1",
		     "--pool big: key \"siz\": expected one of name, page_size, max, backing, reserve, "
		     "stock, arena, "
		     "isolation, tenant, quota, quota_leases, quota_names, users, groups, decay, node, grow, "
		     "poison");
}

static void config_pool_word_with_a_files_name_is_refused(void **state)
{
	struct config config = read_accepted("{\"pools\": [" POOL_A "}]}");
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

/* ---- help ---- */

static void config_help_fits_a_terminal(void **state)
{
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	assert_non_null(out);
	config_print_top_keys(out);
	config_print_pool_keys(out);
	fclose(out);
	assert_non_null(strstr(text, "  page_size     4K, 2M or 1G\n"));
	for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
		assert_true(strlen(line) <= 90);
	free(text);
}

static void config_policy_words_are_those_of_the_keys(void **state)
{
	assert_string_equal(pool_backing_name(POOL_BACKING_MEMFD), "memfd");
	assert_string_equal(pool_backing_name(POOL_BACKING_HUGETLBFS), "hugetlbfs");
	assert_string_equal(pool_isolation_name(POOL_ISOLATION_LEASE), "lease");
	assert_string_equal(pool_isolation_name(POOL_ISOLATION_TENANT), "tenant");
	assert_string_equal(pool_isolation_name(POOL_ISOLATION_POOL), "pool");
	assert_string_equal(pool_tenant_word(POOL_TENANT_UID), "uid");
	assert_string_equal(pool_tenant_word(POOL_TENANT_GID), "gid");
	assert_string_equal(pool_tenant_word(POOL_TENANT_SOCKET), "socket");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_empty_object_gives_defaults),
		cmocka_unit_test(config_every_top_key_is_read),
		cmocka_unit_test(config_every_pool_key_is_read),
		cmocka_unit_test(config_pool_word_reads_every_key),
		cmocka_unit_test(config_switch_words_are_understood),
		cmocka_unit_test(config_isolation_and_tenant_words_are_understood),
		cmocka_unit_test(config_decay_forms_are_milliseconds),
		cmocka_unit_test(config_user_listed_twice_counts_once),
		cmocka_unit_test(config_empty_list_word_admits_nobody),
		cmocka_unit_test(config_default_arena_follows_pool_size),
		cmocka_unit_test(config_given_arena_and_quota_stay),
		cmocka_unit_test(config_hugetlbfs_for_one_tenant_is_accepted),
		cmocka_unit_test(config_flag_after_file_replaces_its_value),
		cmocka_unit_test(config_64_pools_are_accepted_and_65_refused),
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
		cmocka_unit_test(config_help_fits_a_terminal),
		cmocka_unit_test(config_policy_words_are_those_of_the_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

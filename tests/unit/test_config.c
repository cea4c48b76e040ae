/* test_config.c - configuration: what is understood, and what people are told of it. */
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

#include "tests/unit/config_scene.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

static struct config word_accepted(const char *word)
{
	struct config config;
	char *error = NULL;

	config_init(&config);
	if (config_add_pool_word(&config, word, &error) < 0 || config_finish(&config, &error) < 0)
		fail_msg("%s", error);
	return config;
}

/* ---- what is understood ---- */

static void config_empty_object_gives_defaults(void **state)
{
	struct config config = scene_read_accepted("{}");

	assert_null(config.socket_path);
	assert_null(config.state_dir);
	assert_in_range(config.workers, 1, 8);
	assert_int_equal(config.log_level, LOG_LEVEL_INFO);
	assert_int_equal(config.max_sessions, 0);
	assert_int_equal(config.user_sessions, 0);
	assert_true(config.host_reserve_bytes == UINT64_MAX);
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
	struct config config = scene_read_accepted("{\"socket\": \"/s\", \"state\": \"/d\", \"workers\": 3, "
						   "\"log_level\": \"debug\", \"max_sessions\": 9, "
						   "\"sockets\": [\"/s1\", \"/s2\"], \"user_sessions\": 4, "
						   "\"host_reserve\": \"3G\", "
						   "\"admin_groups\": [\"root\", 7]}");

	assert_string_equal(config.socket_path, "/s");
	assert_string_equal(config.state_dir, "/d");
	assert_int_equal(config.workers, 3);
	assert_int_equal(config.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(config.max_sessions, 9);
	assert_int_equal(config.user_sessions, 4);
	assert_int_equal(config.host_reserve_bytes, 3072 * MIB);
	assert_int_equal(config.n_more_sockets, 2);
	assert_string_equal(config.more_sockets[0], "/s1");
	assert_string_equal(config.more_sockets[1], "/s2");
	assert_int_equal(config.n_admin_gids, 2);
	assert_int_equal(config.admin_gids[0], 0);
	assert_int_equal(config.admin_gids[1], 7);
	assert_false(config.has_admins);
	assert_false(config.partial_users);
	config_fini(&config);
}

static void config_says_who_administers_and_names(void **state)
{
	struct config config = scene_read_accepted(
		"{\"admins\": [\"root\", 1001, \"0\"], \"partial_users\": true, \"pools\": ["
		"{\"name\": \"a\", \"page_size\": \"4K\", \"max\": \"1M\"},"
		"{\"name\": \"b\", \"page_size\": \"4K\", \"max\": \"1M\", \"name_users\": [\"root\", 7]},"
		"{\"name\": \"c\", \"page_size\": \"4K\", \"max\": \"1M\", \"name_users\": [\"*\"]},"
		"{\"name\": \"d\", \"page_size\": \"4K\", \"max\": \"1M\", \"name_users\": []}]}");

	assert_true(config.has_admins);
	assert_int_equal(config.n_admin_uids, 2);
	assert_int_equal(config.admin_uids[0], 0);
	assert_int_equal(config.admin_uids[1], 1001);
	assert_true(config.partial_users);
	assert_false(config.pools[0].names_reserved);
	assert_true(config.pools[1].names_reserved);
	assert_int_equal(config.pools[1].n_name_uids, 2);
	assert_int_equal(config.pools[1].name_uids[1], 7);
	assert_false(config.pools[2].names_reserved);
	assert_true(config.pools[3].names_reserved);
	assert_int_equal(config.pools[3].n_name_uids, 0);
	config_fini(&config);

	config = scene_read_accepted("{\"admins\": []}");
	assert_true(config.has_admins);
	assert_int_equal(config.n_admin_uids, 0);
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
	struct config config = scene_read_accepted(
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
		config = scene_read_accepted(text);
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
		scene_read_accepted("{\"socket\": \"/file\", \"workers\": 2, \"admin_groups\": [1]}");
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

/* Each costs its own admission, and nobody else's; "*" and what is no name at all stay errors. */
static void config_unknown_names_are_left_out_with_a_warning(void **state)
{
	struct config config = scene_read_accepted(
		"{\"admins\": [\"ghost-a\"], \"admin_groups\": [\"ghost-b\"],\n \"pools\": [\n"
		"  {\"users\": [\"ghost-c\", 7], \"groups\": [8,\n    \"ghost-d\"], \"name_users\": "
		"[\"ghost-\\u202e\"],\n"
		"   \"name\": \"a\", \"page_size\": \"4K\", \"max\": \"8M\"}]}");
	static const char *const warnings[] = {
		"t:1:13: key \"admins\": this host knows no user \"ghost-a\": left out",
		"t:1:42: key \"admin_groups\": this host knows no group \"ghost-b\": left out",
		"t:3:14: key \"users\": pool a: this host knows no user \"ghost-c\": left out",
		"t:4:5: key \"groups\": pool a: this host knows no group \"ghost-d\": left out",
		"key \"name_users\": pool a: this host knows no user \"ghost-?\": left out",
	};

	(void)state;
	assert_true(config.has_admins);
	assert_int_equal(config.n_admin_uids, 0);
	assert_int_equal(config.n_admin_gids, 0);
	assert_int_equal(config.pools[0].n_uids, 1);
	assert_int_equal(config.pools[0].uids[0], 7);
	assert_int_equal(config.pools[0].n_gids, 1);
	assert_true(config.pools[0].names_reserved);
	assert_int_equal(config.pools[0].n_name_uids, 0);
	assert_false(config.pools[0].everybody);
	assert_int_equal(config.n_warnings, 5);
	for (unsigned i = 0; i < 5; i++)
		if (!strstr(config.warnings[i], warnings[i]))
			fail_msg("\"%s\" is not in \"%s\"", warnings[i], config.warnings[i]);
	config_fini(&config);

	config = word_accepted("b=4K:8M,users=ghost-e");
	assert_int_equal(config.n_warnings, 1);
	assert_non_null(
		strstr(config.warnings[0], "--pool b: key \"users\": pool b: this host knows no user"));
	assert_int_equal(config.pools[0].n_uids, 0);
	config_fini(&config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(config_empty_object_gives_defaults),
		cmocka_unit_test(config_every_top_key_is_read),
		cmocka_unit_test(config_says_who_administers_and_names),
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
		cmocka_unit_test(config_unknown_names_are_left_out_with_a_warning),
		cmocka_unit_test(config_64_pools_are_accepted_and_65_refused),
		cmocka_unit_test(config_help_fits_a_terminal),
		cmocka_unit_test(config_policy_words_are_those_of_the_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

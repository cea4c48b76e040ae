/* system_ctl_show.c - what hugepoolctl prints, for scripts and for people.
 *
 * The keys are those that scripts may rely on: there can be more of them, not fewer.
 */
#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"

#define PAGE    UINT64_C(4096)
#define MIB     (UINT64_C(1) << 20)
#define NOBODY  65534
#define SOMEUID 12345

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* Two pools for everybody. */
#define POOLS                                                                                                \
	DUT_WORDS("--pool", "p=4K:16M,arena=4M,users=*", "--pool", "q=4K:4M,arena=4M,reserve=4M,users=*")

/* ---- helpers ---- */

struct key {
	const char *name;
	json_type type; /* JSON_TRUE: true or false */
};

static void expect_keys(const json_t *object, const struct key *keys)
{
	assert_true(json_is_object(object));
	for (; keys->name; keys++) {
		const json_t *value = json_object_get(object, keys->name);

		if (!value ||
		    (keys->type == JSON_TRUE ? !json_is_boolean(value) : json_typeof(value) != keys->type))
			fail_msg("\"%s\" is not there, or of another type", keys->name);
	}
}

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	assert_non_null(text);
	return text;
}

static int64_t number_of(const json_t *object, const char *key)
{
	assert_true(json_is_integer(json_object_get(object, key)));
	return json_integer_value(json_object_get(object, key));
}

/* A list's row whose `key` is that number; NULL if there is none. */
static json_t *row_with(const json_t *result, const char *list, const char *key, uint64_t number)
{
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(result, list), i, row)
		if (number_of(row, key) == (int64_t)number)
			return row;
	return NULL;
}

/* Run it as `uid`: it must end with 0 and print one JSON object on one line. */
static json_t *ctl_json(const struct dut *dut, uid_t uid, const char *const *arguments)
{
	json_t *object;
	char *out, *error;

	if (dut_ctl(dut, uid, arguments, &out, &error) != 0)
		fail_msg("hugepoolctl %s: %s", arguments[0], error);
	assert_string_equal(error, "");
	assert_ptr_equal(strchr(out, '\n'), out + strlen(out) - 1);
	object = json_loads(out, JSON_REJECT_DUPLICATES, NULL);
	assert_non_null(object);
	free(out);
	free(error);
	return object;
}

/* The same, and what it prints is a table: this header, and a line with each of `cells` (parted by |). */
static void expect_table(const struct dut *dut, const char *command, const char *header, const char *cells)
{
	char *out, *copy = strdup(cells), *save = NULL;

	assert_int_equal(dut_ctl(dut, 0, DUT_WORDS(command), &out, NULL), 0);
	if (!strstr(out, header))
		fail_msg("hugepoolctl %s: no header \"%s\" in:\n%s", command, header, out);
	for (char *cell = strtok_r(copy, "|", &save); cell; cell = strtok_r(NULL, "|", &save))
		if (!strstr(out, cell))
			fail_msg("hugepoolctl %s: no \"%s\" in:\n%s", command, cell, out);
	free(copy);
	free(out);
}

static unsigned n_lines(const char *text)
{
	unsigned n = 0;

	for (; *text; text++)
		n += *text == '\n';
	return n;
}

static void end_holder(pid_t pid, int signal_number)
{
	int status;

	assert_int_equal(kill(pid, signal_number), 0);
	status = dut_wait_child(pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

/* ---- what scripts rely on ---- */

static const struct key pool_keys[] = {
	{"name", JSON_STRING},
	{"page_bytes", JSON_INTEGER},
	{"backing", JSON_STRING},
	{"isolation", JSON_STRING},
	{"pages_max", JSON_INTEGER},
	{"pages_reserve", JSON_INTEGER},
	{"pages_backed", JSON_INTEGER},
	{"pages_leased", JSON_INTEGER},
	{"pages_clean", JSON_INTEGER},
	{"pages_dirty", JSON_INTEGER},
	{"pages_cached", JSON_INTEGER},
	{"pages_stock", JSON_INTEGER},
	{"pages_orphaned", JSON_INTEGER},
	{"pages_limbo", JSON_INTEGER},
	{"pages_missing", JSON_INTEGER},
	{"pages_foreign", JSON_INTEGER},
	{"pages_lost", JSON_INTEGER},
	{"pages_left", JSON_INTEGER},
	{"arenas", JSON_INTEGER},
	{"tenants", JSON_INTEGER},
	{"leases", JSON_INTEGER},
	{0},
};

static void ctl_status_json_has_its_keys(void **state)
{
	static const struct key keys[] = {
		{"version", JSON_STRING},   {"pid", JSON_INTEGER},
		{"uptime_s", JSON_INTEGER}, {"workers", JSON_INTEGER},
		{"sessions", JSON_INTEGER}, {"leases", JSON_INTEGER},
		{"pools", JSON_ARRAY},      {0},
	};
	json_t *status, *pools, *pool;
	struct dut dut;
	uint64_t lease;
	pid_t holder;

	dut_start(&dut, POOLS);
	holder = dut_hold(&dut, 0, DUT_WORDS("1M"), &lease);
	status = ctl_json(&dut, 0, DUT_WORDS("status", "--json"));
	expect_keys(status, keys);
	assert_string_equal(text_of(status, "version"), PACKAGE_VERSION);
	assert_int_equal(number_of(status, "pid"), dut.pid);
	assert_int_equal(number_of(status, "sessions"), 2); /* the holder's, and who asks */
	assert_int_equal(number_of(status, "leases"), 1);
	pools = json_object_get(status, "pools");
	assert_int_equal(json_array_size(pools), 2);
	for (size_t i = 0; i < 2; i++)
		expect_keys(json_array_get(pools, i), pool_keys);
	pool = json_array_get(pools, 0);
	assert_string_equal(text_of(pool, "name"), "p");
	assert_int_equal(number_of(pool, "page_bytes"), PAGE);
	assert_int_equal(number_of(pool, "pages_max"), 4096);
	assert_int_equal(number_of(pool, "pages_leased"), MIB / PAGE);
	assert_int_equal(number_of(pool, "tenants"), 1);
	pool = json_array_get(pools, 1);
	assert_int_equal(number_of(pool, "pages_reserve"), 1024);
	assert_int_equal(number_of(pool, "pages_stock"), 1024);
	json_decref(status);

	status = ctl_json(&dut, 0, DUT_WORDS("pools", "--json"));
	pools = json_object_get(status, "pools");
	assert_int_equal(json_array_size(pools), 2);
	expect_keys(json_array_get(pools, 0), pool_keys);
	json_decref(status);
	end_holder(holder, SIGTERM);
	dut_stop(&dut);
}

static void ctl_leases_json_has_its_keys(void **state)
{
	static const struct key keys[] = {
		{"lease", JSON_INTEGER}, {"name", JSON_STRING},   {"pool", JSON_STRING},
		{"bytes", JSON_INTEGER}, {"uid", JSON_INTEGER},   {"pid", JSON_INTEGER},
		{"state", JSON_STRING},  {"detached", JSON_TRUE}, {0},
	};
	uint64_t plain, named;
	json_t *leases, *row;
	struct dut dut;
	pid_t holders[2];

	dut_need_root();
	dut_start(&dut, POOLS);
	leases = ctl_json(&dut, 0, DUT_WORDS("--json", "leases"));
	assert_int_equal(json_array_size(json_object_get(leases, "leases")), 0);
	json_decref(leases);
	holders[0] = dut_hold(&dut, NOBODY, DUT_WORDS("--pool", "q", "4097"), &plain);
	holders[1] = dut_hold(&dut, 0, DUT_WORDS("--name", "fr\xc3\xa4mes", "1M"), &named);
	leases = ctl_json(&dut, 0, DUT_WORDS("--json", "leases"));
	assert_int_equal(json_array_size(json_object_get(leases, "leases")), 2);
	row = row_with(leases, "leases", "lease", plain);
	expect_keys(row, keys);
	assert_string_equal(text_of(row, "name"), "");
	assert_string_equal(text_of(row, "pool"), "q");
	assert_int_equal(number_of(row, "bytes"), 2 * PAGE);
	assert_int_equal(number_of(row, "uid"), NOBODY);
	assert_int_equal(number_of(row, "pid"), holders[0]);
	assert_string_equal(text_of(row, "state"), "leased");
	assert_true(json_is_false(json_object_get(row, "detached")));
	row = row_with(leases, "leases", "lease", named);
	assert_string_equal(text_of(row, "name"), "fr\xc3\xa4mes");
	assert_int_equal(number_of(row, "pid"), holders[1]);
	json_decref(leases);
	end_holder(holders[0], SIGTERM);
	end_holder(holders[1], SIGTERM);
	dut_stop(&dut);
}

/* Everybody is shown their own. */
static void ctl_leases_of_others_are_for_admins(void **state)
{
	json_t *leases;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOLS);
	json_decref(ctl_json(&dut, SOMEUID, DUT_WORDS("alloc", "--json", "--detach", "4K")));
	json_decref(ctl_json(&dut, NOBODY, DUT_WORDS("alloc", "--json", "--detach", "8K")));
	leases = ctl_json(&dut, SOMEUID, DUT_WORDS("--json", "leases"));
	assert_int_equal(json_array_size(json_object_get(leases, "leases")), 1);
	json_decref(leases);
	leases = ctl_json(&dut, 0, DUT_WORDS("--json", "leases"));
	assert_int_equal(json_array_size(json_object_get(leases, "leases")), 2);
	json_decref(leases);
	dut_stop(&dut);
}

static void ctl_alloc_json_has_its_keys(void **state)
{
	static const struct key keys[] = {{"lease", JSON_INTEGER}, {"name", JSON_STRING},
					  {"pool", JSON_STRING},   {"bytes", JSON_INTEGER},
					  {"runs", JSON_ARRAY},    {0}};
	static const struct key run_keys[] = {
		{"arena", JSON_INTEGER}, {"first_page", JSON_INTEGER}, {"n_pages", JSON_INTEGER}, {0}};
	json_t *lease, *run;
	struct dut dut;

	dut_start(&dut, POOLS);
	lease = ctl_json(&dut, 0,
			 DUT_WORDS("alloc", "--json", "--detach", "--pool", "q", "--name", "kept", "5000"));
	expect_keys(lease, keys);
	assert_string_equal(text_of(lease, "name"), "kept");
	assert_string_equal(text_of(lease, "pool"), "q");
	assert_int_equal(number_of(lease, "bytes"), 2 * PAGE);
	assert_int_equal(json_array_size(json_object_get(lease, "runs")), 1);
	run = json_array_get(json_object_get(lease, "runs"), 0);
	expect_keys(run, run_keys);
	assert_int_equal(number_of(run, "n_pages"), 2);
	json_decref(lease);
	lease = ctl_json(&dut, 0, DUT_WORDS("--json", "alloc", "--detach", "4K"));
	assert_string_equal(text_of(lease, "name"), "");
	assert_string_equal(text_of(lease, "pool"), "p"); /* the first */
	json_decref(lease);
	dut_stop(&dut);
}

static void ctl_sessions_and_buddyinfo_json_fit_the_rest(void **state)
{
	static const struct key session_keys[] = {
		{"session", JSON_INTEGER},
		{"client", JSON_STRING},
		{"uid", JSON_INTEGER},
		{"gid", JSON_INTEGER},
		{"pid", JSON_INTEGER},
		{"state", JSON_STRING},
		{"leases", JSON_INTEGER},
		{"pages", JSON_INTEGER},
		{"requests", JSON_INTEGER},
		{"age_s", JSON_INTEGER},
		{0},
	};
	static const struct key arena_keys[] = {
		{"pool", JSON_STRING},     {"tenant", JSON_STRING},      {"arena", JSON_INTEGER},
		{"n_pages", JSON_INTEGER}, {"pages_free", JSON_INTEGER}, {"pages_dirty", JSON_INTEGER},
		{"isolated", JSON_TRUE},   {"free_blocks", JSON_ARRAY},  {0},
	};
	json_t *result, *row;
	int64_t n_free = 0;
	struct dut dut;
	uint64_t lease;
	pid_t holder;

	dut_start(&dut, POOLS);
	holder = dut_hold(&dut, 0, DUT_WORDS("1M"), &lease);
	result = ctl_json(&dut, 0, DUT_WORDS("--json", "sessions"));
	row = row_with(result, "sessions", "pid", (uint64_t)holder);
	expect_keys(row, session_keys);
	assert_int_equal(number_of(row, "uid"), geteuid());
	assert_int_equal(number_of(row, "leases"), 1);
	assert_int_equal(number_of(row, "pages"), MIB / PAGE);
	assert_string_equal(text_of(row, "client"), "hugepoolctl");
	assert_string_equal(text_of(row, "state"), "connected");
	json_decref(result);

	result = ctl_json(&dut, 0, DUT_WORDS("--json", "buddyinfo", "p"));
	assert_true(json_is_false(json_object_get(result, "truncated")));
	assert_int_equal(json_array_size(json_object_get(result, "arenas")), 1);
	row = json_array_get(json_object_get(result, "arenas"), 0);
	expect_keys(row, arena_keys);
	assert_string_equal(text_of(row, "pool"), "p");
	for (size_t order = 0; order < json_array_size(json_object_get(row, "free_blocks")); order++)
		n_free += json_integer_value(json_array_get(json_object_get(row, "free_blocks"), order))
			  << order;
	assert_int_equal(n_free, number_of(row, "pages_free"));
	assert_true(number_of(row, "n_pages") >= n_free + (int64_t)(MIB / PAGE));
	json_decref(result);
	end_holder(holder, SIGTERM);
	dut_stop(&dut);
}

/* More than one reply holds: every lease is there once, in JSON and in the table. */
static void ctl_leases_lists_any_number(void **state)
{
	enum { N_BATCHES = 5 };
	uint64_t ids[N_BATCHES * ACTOR_MAX_BATCH];
	hp_lease *leases[ACTOR_MAX_BATCH];
	uint64_t bytes[ACTOR_MAX_BATCH];
	hp_client *client;
	struct dut dut;
	json_t *result;
	char *out;

	dut_start(&dut, POOLS);
	assert_int_equal(hp_open(dut.socket, &client), 0);
	for (unsigned i = 0; i < ACTOR_MAX_BATCH; i++)
		bytes[i] = PAGE;
	for (unsigned b = 0; b < N_BATCHES; b++) {
		assert_int_equal(hp_alloc_batch(client, bytes, ACTOR_MAX_BATCH, NULL, leases), 0);
		for (unsigned i = 0; i < ACTOR_MAX_BATCH; i++)
			ids[b * ACTOR_MAX_BATCH + i] = hp_lease_id(leases[i]);
	}
	result = ctl_json(&dut, 0, DUT_WORDS("--json", "leases"));
	assert_int_equal(json_array_size(json_object_get(result, "leases")), LENGTH(ids));
	for (unsigned i = 0; i < LENGTH(ids); i += 97)
		assert_non_null(row_with(result, "leases", "lease", ids[i]));
	json_decref(result);
	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("leases"), &out, NULL), 0);
	assert_int_equal(n_lines(out), 1 + LENGTH(ids));
	free(out);
	hp_close(client);
	dut_stop(&dut);
}

/* ---- what people see ---- */

static void ctl_tables_show_sizes_as_words(void **state)
{
	char line[160];
	uint64_t lease;
	struct dut dut;
	pid_t holder;

	dut_start(&dut, POOLS);
	holder = dut_hold(&dut, 0, DUT_WORDS("--name", "frames", "1M"), &lease);
	snprintf(line, sizeof(line), "hugepoold " PACKAGE_VERSION ", pid %d, up |, 2 sessions, 1 leases\n",
		 (int)dut.pid);
	expect_table(&dut, "status", "POOL  PAGE  MAX  BACKED  LEASED  ORPHANED  MISSING  DRAINED  LEASES\n",
		     line);
	expect_table(&dut, "status", "\n\nPOOL ",
		     "\np       4K  16M |      1M         0        0                1\n");
	expect_table(&dut, "pools",
		     "POOL  PAGE  BACKING  ISOLATION  MAX  RESERVE  BACKED  LEASED  ORPHANED  ",
		     "\nq       4K  memfd    tenant      4M       4M      4M       0 ");
	expect_table(&dut, "leases", "LEASE  POOL  SIZE", "p       1M |  leased  |  frames\n");
	expect_table(&dut, "sessions", "SESSION  ", "hugepoolctl\n|connected");
	expect_table(&dut, "buddyinfo",
		     "POOL  TENANT  ARENA  PAGES  FREE  DIRTY  SOLE  ISOLATED  FREE BLOCKS BY ORDER\n",
		     "\np     uid ");
	end_holder(holder, SIGTERM);
	dut_stop(&dut);
}

/* A name is its owner's choice, as long as it does not control the terminal. */
static void ctl_shows_any_name(void **state)
{
	static const char *const names[] = {
		"gr\xc3\xbc\xc3\x9f gott", "\xd7\xa9\xd7\x9c", "\xe6\x97\xa5", "\\x1b[31m", "\"", " "};
	struct dut dut;
	char *out;

	dut_start(&dut, POOLS);
	for (size_t i = 0; i < LENGTH(names); i++) {
		json_t *result =
			ctl_json(&dut, 0, DUT_WORDS("--json", "alloc", "--detach", "--name", names[i], "4K"));

		assert_string_equal(text_of(result, "name"), names[i]);
		json_decref(result);
	}
	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("leases"), &out, NULL), 0);
	assert_int_equal(n_lines(out), 1 + LENGTH(names));
	for (size_t i = 0; i < LENGTH(names); i++)
		assert_non_null(strstr(out, names[i]));
	free(out);
	for (size_t i = 0; i < LENGTH(names); i++) {
		json_t *result = ctl_json(&dut, 0, DUT_WORDS("--json", "free", names[i]));

		assert_int_equal(json_array_size(json_object_get(result, "freed")), 1);
		json_decref(result);
	}
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	dut_stop(&dut);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(ctl_status_json_has_its_keys),
		TEST(ctl_leases_json_has_its_keys),
		TEST(ctl_leases_of_others_are_for_admins),
		TEST(ctl_alloc_json_has_its_keys),
		TEST(ctl_sessions_and_buddyinfo_json_fit_the_rest),
		TEST(ctl_leases_lists_any_number),
		TEST(ctl_tables_show_sizes_as_words),
		TEST(ctl_shows_any_name),
	};

	return cmocka_run_group_tests_name("system_ctl_show", tests, NULL, NULL);
}

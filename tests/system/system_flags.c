/* system_flags.c - what hugepoold understands on its command line and in its configuration, and what it says
 * of the rest.
 *
 * Every single key and sentence is tests/unit/test_config.c's; here the program is told, and must say where.
 */
#include <config.h>

#include <fcntl.h>
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

#include "tests/support/dut.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* ---- helpers ---- */

/* The configuration file of the test: in its own directory. */
struct file {
	struct dut dut;
	char path[128];
};

static void file_write(struct file *file, const char *text)
{
	FILE *out = fopen(file->path, "we");

	assert_non_null(out);
	assert_true(fputs(text, out) >= 0);
	assert_int_equal(fclose(out), 0);
}

static void file_init(struct file *file)
{
	dut_prepare(&file->dut, 0);
	snprintf(file->path, sizeof(file->path), "%s/hugepool.conf", file->dut.directory);
}

/* Asserts that nothing else is there: checking starts nothing. */
static void file_fini(struct file *file)
{
	assert_int_equal(unlink(file->path), 0);
	dut_discard(&file->dut);
}

/* ---- --check-config ---- */

static void flags_check_names_file_line_column_and_what_was_expected(void **state)
{
	static const struct {
		const char *text, *sentence;
	} cases[] = {
		{"{\"pools\": [", ":1:11: expected JSON"},
		{"{\n  \"sockt\": \"x\"\n}", ":2:3: key \"sockt\": expected one of socket, sockets, state, workers"},
		{"{\"workers\": 1,\n \"workers\": 2}", ":2:10: expected every key once"},
		{"{\n\t\"workers\": \"many\"}", ":2:13: key \"workers\": expected a number from 1 to 64"},
		{"{\"pools\": [{\"name\": \"a\", \"page_size\": \"4K\"}]}",
		 ":1:12: key \"max\": expected in every pool"},
		{"{\"pools\": [\n{\"name\": \"a\", \"page_size\": \"2M\", \"max\": \"3M\"}]}",
		 ":2:41: key \"max\": expected a multiple of the page size 2M"},
		{"{\"pools\": [{\"name\": \"a\", \"page_size\": \"4K\", \"max\": \"1M\",\n \"reserve\": "
		 "\"2M\"}]}",
		 ":2:13: key \"reserve\": expected at most \"max\" (1M), not 2M"},
		{"{\"pools\": [{\"name\": \"a\", \"page_size\": \"4K\", \"max\": \"1M\"},\n"
		 " {\"name\": \"a\", \"page_size\": \"4K\", \"max\": \"1M\"}]}",
		 ":2:11: key \"name\": expected a name of its own"},
		{"{\"pools\": [{\"name\": \"a\", \"page_size\": \"4K\", \"max\": \"1M\",\n \"backing\": "
		 "\"hugetlbfs\"}]}",
		 ":2:13: key \"backing\": expected memfd"},
		{"{\"pools\": [{\"name\": \"a\", \"page_size\": \"2M\", \"max\": \"8M\",\n"
		 " \"backing\": \"hugetlbfs\", \"users\": [\"*\"]}]}",
		 ":2:13: key \"backing\": expected hugetlbfs"},
	};
	struct file file;

	file_init(&file);
	for (size_t i = 0; i < LENGTH(cases); i++) {
		char sentence[256];

		file_write(&file, cases[i].text);
		snprintf(sentence, sizeof(sentence), "hugepoold: %s%s", file.path, cases[i].sentence);
		dut_expect("hugepoold", 0, 1, sentence, DUT_WORDS("--config", file.path, "--check-config"));
		/* Nor does it start with that. */
		dut_expect("hugepoold", 0, 1, sentence,
			   DUT_WORDS("--socket", file.dut.socket, "--config", file.path));
	}
	file_fini(&file);
}

static void flags_check_of_what_is_good_says_so_and_starts_nothing(void **state)
{
	struct file file;

	file_init(&file);
	file_write(&file, "{\"pools\": [{\"name\": \"a\", \"page_size\": \"2M\", \"max\": \"1T\", "
			  "\"reserve\": \"1T\"}]}");
	dut_expect("hugepoold", 0, 0, "fine",
		   DUT_WORDS("--socket", file.dut.socket, "--check-config", "--config", file.path));
	dut_expect("hugepoold", 0, 0, "fine", DUT_WORDS("--check-config"));
	dut_expect("hugepoold", 0, 2, "--pool a: key \"name\": expected a name of its own",
		   DUT_WORDS("--check-config", "--pool", "a=4K:1M", "--config", file.path));
	file_fini(&file);
}

/* The first socket comes from the file, an option or the environment: a further one is never the same. */
static void flags_socket_that_is_first_and_further_is_refused(void **state)
{
	struct file file;
	char text[512], sentence[256];

	file_init(&file);
	snprintf(sentence, sizeof(sentence), "%s is the first socket, and one of \"sockets\" as well",
		 file.dut.socket);
	snprintf(text, sizeof(text), "{\"sockets\": [\"%s\"]}", file.dut.socket);
	file_write(&file, text);
	dut_expect("hugepoold", 0, 1, sentence,
		   DUT_WORDS("--socket", file.dut.socket, "--check-config", "--config", file.path));
	dut_expect("hugepoold", 0, 1, sentence,
		   DUT_WORDS("--socket", file.dut.socket, "--config", file.path));
	file_fini(&file);
}

static void flags_config_that_cannot_be_read_is_an_error(void **state)
{
	dut_expect("hugepoold", 0, 1, "/nowhere/hugepool.conf: cannot read it: No such file",
		   DUT_WORDS("--config", "/nowhere/hugepool.conf"));
	dut_expect("hugepoold", 0, 1, "/: cannot read it: Is a directory", DUT_WORDS("--config", "/"));
	dut_expect("hugepoold", 0, 1, "/dev/zero: cannot read it: File too large",
		   DUT_WORDS("--config", "/dev/zero"));
}

/* ---- usage ---- */

static void flags_that_make_no_sense_are_wrong_usage(void **state)
{
	static const struct {
		const char *words[5], *sentence;
	} cases[] = {
		{{"--no-such-flag"}, "--no-such-flag"},
		{{"-x"}, "-x"},
		{{"--socket"}, "--socket"},
		{{"start"}, "unexpected argument: start"},
		{{"--workers", "0"}, "--workers: expected a number from 1 to 64"},
		{{"--workers", "65"}, "expected a number from 1 to 64"},
		{{"--workers", "two"}, "expected a number from 1 to 64"},
		{{"--log-level", "loud"}, "--log-level: "},
		{{"--state", ""}, "--state: "},
		{{"--pool", "p"}, "expected NAME=PAGE:MAX"},
		{{"--pool", "p=4K"}, "expected NAME=PAGE:MAX"},
		{{"--pool", "p=3K:1M"}, "--pool p: key \"page_size\": expected 4K, 2M or 1G"},
		{{"--pool", "p=4K:0"}, "key \"max\": expected at least one page"},
		{{"--pool", "p=2M:3M"}, "key \"max\": expected a multiple"},
		{{"--pool", "p=4K:1M,max=2M"}, "key \"max\": expected once"},
		{{"--pool", "p=4K:1M,color=red"}, "key \"color\": expected one of name, page_size, max"},
		{{"--pool", "p=4K:1M,quota=2M"}, "key \"quota\": expected at most \"max\""},
		{{"--pool", "p=4K:1M,users=4294967295"}, "key \"users\": expected the name or number"},
		{{"--pool", "p=4K:1M", "--pool", "p=4K:1M"}, "key \"name\": expected a name of its own"},
	};

	for (size_t i = 0; i < LENGTH(cases); i++) {
		char words[160];

		snprintf(words, sizeof(words), "hugepoold: |%s|Try 'hugepoold --help'.", cases[i].sentence);
		dut_expect("hugepoold", 0, 2, words, cases[i].words);
	}
}

static void flags_help_lists_every_flag_and_key(void **state)
{
	dut_expect(
		"hugepoold", 0, 0,
		"--config|--check-config|--socket|--state|--workers|--pool|--log-level|--version|--help|"
		"  log_level |  max_sessions |  admin_groups |  pools |"
		"  name |  page_size |  backing |  max |  reserve |  arena |  isolation |  tenant |  quota |"
		"  users |  groups |  decay |  node |  grow ",
		DUT_WORDS("--help"));
	dut_expect("hugepoold", 0, 0, "hugepoold " PACKAGE_VERSION "\n", DUT_WORDS("--version"));
}

static void flags_answer_that_nobody_can_read_is_a_failure(void **state)
{
	static const char *const answers[] = {"--help", "--version", "--check-config"};
	int full_fd = open("/dev/full", O_WRONLY | O_CLOEXEC);

	assert_true(full_fd >= 0);
	for (size_t i = 0; i < LENGTH(answers); i++) {
		struct dut_program program = {
			.name = "hugepoold", .arguments = DUT_WORDS(answers[i]), .out_fd = full_fd};
		int status = dut_wait_child(dut_spawn(&program));

		if (!WIFEXITED(status) || WEXITSTATUS(status) != 1)
			fail_msg("%s into a full device: wait status %#x", answers[i], (unsigned)status);
	}
	close(full_fd);
}

/* ---- what they do ---- */

static void flags_left_out_mean_one_small_pool(void **state)
{
	json_t *status, *pool;
	struct dut dut;

	dut_start(&dut, DUT_NO_WORDS);
	assert_int_equal(dut_pool(&dut, "default", "page_bytes"), 4096);
	assert_int_equal(dut_pool(&dut, "default", "pages_max"), 65536);
	assert_int_equal(dut_pool(&dut, "default", "pages_reserve"), 0);
	status = dut_json(&dut, "status");
	assert_int_equal(json_array_size(json_object_get(status, "pools")), 1);
	pool = json_array_get(json_object_get(status, "pools"), 0);
	assert_string_equal(json_string_value(json_object_get(pool, "backing")), "memfd");
	assert_string_equal(json_string_value(json_object_get(pool, "isolation")), "tenant");
	json_decref(status);
	dut_stop(&dut);
}

static void flags_win_over_the_file_and_pools_add_up(void **state)
{
	struct file file;
	json_t *status;
	struct dut dut;

	file_init(&file);
	file_write(&file,
		   "{\"socket\": \"/nowhere/socket\", \"workers\": 3, \"pools\": [\n"
		   "{\"name\": \"a\", \"page_size\": \"4K\", \"max\": \"1M\", \"reserve\": \"64K\"}]}");
	dut_start(&dut, DUT_WORDS("--workers", "2", "--pool", "b=4K:2M", "--config", file.path));
	assert_int_equal(dut_pool(&dut, "a", "pages_max"), 256);
	assert_int_equal(dut_pool(&dut, "a", "pages_reserve"), 16);
	assert_int_equal(dut_pool(&dut, "b", "pages_max"), 512);
	status = dut_json(&dut, "status");
	assert_int_equal(json_integer_value(json_object_get(status, "workers")), 2);
	json_decref(status);
	dut_stop(&dut);

	dut_start(&dut, DUT_WORDS("--config", file.path));
	status = dut_json(&dut, "status");
	assert_int_equal(json_integer_value(json_object_get(status, "workers")), 3);
	json_decref(status);
	dut_stop(&dut);
	file_fini(&file);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(flags_check_names_file_line_column_and_what_was_expected),
		TEST(flags_check_of_what_is_good_says_so_and_starts_nothing),
		TEST(flags_socket_that_is_first_and_further_is_refused),
		TEST(flags_config_that_cannot_be_read_is_an_error),
		TEST(flags_that_make_no_sense_are_wrong_usage),
		TEST(flags_help_lists_every_flag_and_key),
		TEST(flags_answer_that_nobody_can_read_is_a_failure),
		TEST(flags_left_out_mean_one_small_pool),
		TEST(flags_win_over_the_file_and_pools_add_up),
	};

	return cmocka_run_group_tests_name("system_flags", tests, NULL, NULL);
}

/* system_admin_log.c - what is done to others' memory and to pools stands in the daemon's log: by which
 * process and user, to what, and whose it was.
 */
#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/operator.h"

#define USER 4321

/* A line of the log that has the words, in the order in which they are, after a process and its user. */
static bool is_logged(const struct dut *dut, uid_t uid, const char *words)
{
	FILE *log = fopen(dut->log, "re");
	char line[1024], who[32];
	bool found = false;

	assert_non_null(log);
	snprintf(who, sizeof(who), "(uid %u) ", uid);
	while (!found && fgets(line, sizeof(line), log)) {
		const char *process = strstr(line, "process "), *user = process ? strstr(process, who) : NULL;

		found = user && atoi(process + strlen("process ")) > 1 &&
			strncmp(user + strlen(who), words, strlen(words)) == 0;
	}
	fclose(log);
	return found;
}

static void expect_logged(const struct dut *dut, uid_t uid, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static void expect_logged(const struct dut *dut, uid_t uid, const char *format, ...)
{
	char words[256];
	va_list args;

	va_start(args, format);
	vsnprintf(words, sizeof(words), format, args);
	va_end(args);
	if (!is_logged(dut, uid, words)) {
		dut_show_log(dut);
		fail_msg("it is not logged that uid %u %s", uid, words);
	}
}

static const char *number(uint64_t value)
{
	static char words[24];

	snprintf(words, sizeof(words), "%" PRIu64, value);
	return words;
}

static uint64_t only_arena(const struct dut *dut)
{
	json_t *answer = dut_json(dut, "buddyinfo");
	const json_t *arenas = json_object_get(answer, "arenas");
	uint64_t id;

	assert_int_equal(json_array_size(arenas), 1);
	id = (uint64_t)json_integer_value(json_object_get(json_array_get(arenas, 0), "arena"));
	json_decref(answer);
	return id;
}

static void admin_log_has_what_is_done_to_leases(void **state)
{
	uint64_t revoked, freed, own;
	struct dut dut;

	(void)state;
	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", "p=4K:8M,users=*"));
	revoked = operator_leave(&dut, USER, DUT_WORDS("--revocable", "4K"));
	freed = operator_leave(&dut, USER, DUT_WORDS("4K"));
	own = operator_leave(&dut, USER, DUT_WORDS("4K"));
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("revoke", number(revoked)));
	expect_logged(&dut, 0, "revokes lease %" PRIu64 " of uid %u in pool p", revoked, USER);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("free", number(freed)));
	expect_logged(&dut, 0, "frees detached lease %" PRIu64 " of uid %u in pool p", freed, USER);
	operator_expect(&dut, USER, DONE, "", DUT_WORDS("free", number(own)));
	expect_logged(&dut, USER, "frees detached lease %" PRIu64 " of its own in pool p", own);
	dut_stop(&dut);
}

static void admin_log_has_what_is_done_to_arenas_and_pools(void **state)
{
	struct dut dut;
	uint64_t arena;

	(void)state;
	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", "p=4K:8M,users=*"));
	(void)operator_leave(&dut, USER, DUT_WORDS("4K"));
	arena = only_arena(&dut);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("isolate", number(arena)));
	expect_logged(&dut, 0, "isolates arena %" PRIu64 " of uid %u in pool p", arena, USER);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("restore", number(arena)));
	expect_logged(&dut, 0, "restores arena %" PRIu64 " of uid %u in pool p", arena, USER);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("evict", number(arena)));
	expect_logged(&dut, 0, "evicts arena %" PRIu64 " of uid %u in pool p", arena, USER);
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("drain", "p"));
	expect_logged(&dut, 0, "drains pool p");
	operator_expect(&dut, 0, DONE, "", DUT_WORDS("restore", "p"));
	expect_logged(&dut, 0, "restores pool p");
	/* What was refused was not done. */
	operator_expect(&dut, USER, FAILED, "only who administers", DUT_WORDS("drain", "p"));
	assert_false(is_logged(&dut, USER, "drains"));
	dut_stop(&dut);
}

#define TEST(test) cmocka_unit_test_teardown(test, dut_kill_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(admin_log_has_what_is_done_to_leases),
		TEST(admin_log_has_what_is_done_to_arenas_and_pools),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

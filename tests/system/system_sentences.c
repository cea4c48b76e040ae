/* system_sentences.c - every refusal of a daemon that can be had here, a row a cause: words that its sentence
 * must have, and words that would mislead whoever reads it.
 *
 * Each row has a daemon of its own. Where hugepages or a memory cgroup are wanted and are not there, the
 * row's test is skipped out loud.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/hugetlb.h"
#include "tests/support/memcg.h"
#include "tests/support/operator.h"
#include "tests/system/system_sentences_words.h"

#define MIB      UINT64_C(1048576)
#define USER     4321
#define OTHER    4322
#define MAX_ARGS 10

enum world {
	PLAIN,  /* the daemon runs as we do */
	MEMCG,  /* in a memory cgroup of 64M */
	AS_USER /* as USER */
};

struct row {
	const char *cause;
	const char *pool; /* --pool; "%" stands for more hugepages than the kernel has, in MiB */
	enum world world;
	const char *before[3][MAX_ARGS]; /* commands of hugepoolctl that must succeed, as `uid` */
	uid_t before_uid;                /* of them; 0: we */
	uid_t uid;
	const char *command[MAX_ARGS];
	const char *says;  /* all of them, parted by | */
	const char *never; /* none of them */
};

#define FULL "p=4K:1M,users=*"

static const struct row rows[] = {
	{.cause = "the pool is full",
	 .pool = FULL,
	 .before = {{"alloc", "--detach", "1M"}},
	 .command = {"alloc", "64K"},
	 .says = "pool p has no 16 pages (64K) left|0 of its 256 are not leased|free some|raise its max",
	 .never = "quota|nr_hugepages|kernel|memory"},
	{.cause = "the pool is full, and somebody waits",
	 .pool = FULL,
	 .before = {{"alloc", "--detach", "1M"}},
	 .command = {"alloc", "--wait", "0.3", "64K"},
	 .says = "pool p had no 16 pages (64K) free for you in the time|free some",
	 .never = "quota|nr_hugepages|kernel"},
	{.cause = "more than the pool can ever have",
	 .pool = FULL,
	 .command = {"alloc", "2M"},
	 .says = "512 pages (2M)|from 1 to 256 pages (1M)",
	 .never = "free some|wait|kernel"},
	{.cause = "the quota is used up",
	 .pool = "p=4K:8M,quota=1M,users=*",
	 .before = {{"alloc", "--detach", "1M"}},
	 .before_uid = USER,
	 .uid = USER,
	 .command = {"alloc", "64K"},
	 .says = "16 pages (64K) more would pass your quota of 256 pages (1M) in pool p: free some",
	 .never = "raise its max|kernel|not leased"},
	{.cause = "the quota is used up, and somebody waits",
	 .pool = "p=4K:8M,quota=1M,users=*",
	 .before = {{"alloc", "--detach", "1M"}},
	 .before_uid = USER,
	 .uid = USER,
	 .command = {"alloc", "--wait", "0.3", "64K"},
	 .says = "your quota of 256 pages (1M) in pool p had no 16 pages (64K) left in the time|: free some",
	 .never = "raise its max|kernel|not leased"},
	{.cause = "more than the whole quota",
	 .pool = "p=4K:8M,quota=1M,users=*",
	 .uid = USER,
	 .command = {"alloc", "2M"},
	 .says = "more than your whole quota of 256 pages (1M)|ask for less",
	 .never = "free some|kernel"},
	{.cause = "the quota of leases",
	 .pool = "p=4K:8M,quota_leases=1,users=*",
	 .before = {{"alloc", "--detach", "4K"}},
	 .before_uid = USER,
	 .uid = USER,
	 .command = {"alloc", "4K"},
	 .says = "pool p allows you 1 leases: free some",
	 .never = "kernel|max"},
	{.cause = "the pool is being drained",
	 .pool = FULL,
	 .before = {{"drain", "p"}},
	 .command = {"alloc", "4K"},
	 .says = "pool p is being drained|restores it",
	 .never = "free some|kernel|quota"},
	{.cause = "the pool does not admit the user",
	 .pool = "p=4K:1M",
	 .uid = USER,
	 .command = {"alloc", "4K"},
	 .says = "pool p does not admit you|uid 4321|operator",
	 .never = "free some|kernel|quota"},
	{.cause = "there is no such pool",
	 .pool = FULL,
	 .command = {"alloc", "--pool", "q", "4K"},
	 .says = "no pool q|hugepoolctl pools",
	 .never = "admit"},
	{.cause = "the name is taken",
	 .pool = FULL,
	 .before = {{"alloc", "--detach", "--name", "n", "4K"}},
	 .command = {"alloc", "--name", "n", "4K"},
	 .says = "a lease named \"n\" exists|another name",
	 .never = "free some|quota"},
	{.cause = "nothing has that name",
	 .pool = FULL,
	 .command = {"open", "n"},
	 .says = "there is no lease named \"n\"",
	 .never = "allowed|not open"},
	{.cause = "the named lease is not open to the user",
	 .pool = FULL,
	 .before = {{"alloc", "--detach", "--name", "n", "4K"}},
	 .before_uid = OTHER,
	 .uid = USER,
	 .command = {"open", "n"},
	 .says = "the lease named \"n\" is not open to uid 4321",
	 .never = "there is no lease|4322"},
	{.cause = "the lease is another user's",
	 .pool = FULL,
	 .before = {{"alloc", "--detach", "4K"}},
	 .before_uid = OTHER,
	 .uid = USER,
	 .command = {"free", "LEASE"},
	 .says = "is another user's|an admin",
	 .never = "never was|held by"},
	{.cause = "there never was such a lease",
	 .pool = FULL,
	 .command = {"free", "987654321"},
	 .says = "there never was a lease 987654321",
	 .never = "another user"},
	{.cause = "the lease was not made revocable",
	 .pool = FULL,
	 .before = {{"alloc", "--detach", "4K"}},
	 .command = {"revoke", "LEASE"},
	 .says = "was not made revocable|evict the arena",
	 .never = "never was|another user's, or"},
	{.cause = "there is no such arena",
	 .pool = FULL,
	 .command = {"evict", "4711"},
	 .says = "no tenant has an arena 4711: buddyinfo lists them",
	 .never = "pool \""},
	{.cause = "the user does not administer",
	 .pool = FULL,
	 .uid = USER,
	 .command = {"drain", "p"},
	 .says = "only who administers hugepoold may ask for this (Drain)|admins",
	 .never = "no pool"},
	{.cause = "base pages in a memory cgroup",
	 .pool = "p=4K:256M,users=*",
	 .world = MEMCG,
	 .command = {"alloc", "128M"},
	 .says = "the kernel has no|memory cgroup|allows 64M|raise its limit",
	 .never = "nr_hugepages|quota|Cannot allocate"},
	{.cause = "base pages in a memory cgroup, and somebody waits",
	 .pool = "p=4K:256M,users=*",
	 .world = MEMCG,
	 .command = {"alloc", "--wait", "0.3", "128M"},
	 .says = "the kernel had no|in the time that you would wait: |memory cgroup|allows 64M|raise its "
		 "limit",
	 .never = "nr_hugepages|quota|are not leased"},
	{.cause = "no hugepages, and the pool may not have them made",
	 .pool = "p=2M:%M,users=*",
	 .command = {"alloc", "%M"},
	 .says = "the kernel has no|free pages of 2M: raise nr_hugepages, or set grow",
	 .never = "free memory|may not write|quota"},
	{.cause = "no hugepages, and somebody waits",
	 .pool = "p=2M:%M,users=*",
	 .command = {"alloc", "--wait", "0.3", "%M"},
	 .says = "the kernel had no|in the time that you would wait: |raise nr_hugepages, or set grow",
	 .never = "free memory|quota|are not leased"},
	{.cause = "no hugepages, and the daemon may not have them made",
	 .pool = "p=2M:%M,users=*,grow=yes",
	 .world = AS_USER,
	 .command = {"alloc", "%M"},
	 .says = "may not write nr_hugepages: raise nr_hugepages, or start the daemon as root",
	 .never = "set grow|free memory"},
};

/* The words with MiB of hugepages that the kernel has not. */
static const char *fill_in(const char *word, uint64_t lease)
{
	static char words[4][96];
	static unsigned next;
	const char *percent = strchr(word, '%');
	char *filled = words[next++ % 4];

	if (strcmp(word, "LEASE") == 0)
		snprintf(filled, sizeof(words[0]), "%" PRIu64, lease);
	else if (percent)
		snprintf(filled, sizeof(words[0]), "%.*s%" PRIu64 "%s", (int)(percent - word), word,
			 2 * (hugetlb_counts(2 * MIB).free + 8), percent + 1);
	else
		return word;
	return filled;
}

static void check_words(const struct row *row, const char *sentence)
{
	words_check(row->cause, sentence, row->says, row->never);
}

static void start(const struct row *row, struct dut *dut)
{
	const char *const *arguments = DUT_WORDS("--pool", fill_in(row->pool, 0));
	struct memcg memcg;

	if (row->world == AS_USER) {
		dut_start_as(dut, USER, arguments);
		return;
	}
	if (row->world == MEMCG) {
		memcg_make(&memcg, NULL, 64 * MIB);
		memcg_enter(&memcg);
	}
	dut_start(dut, arguments);
	memcg_leave();
}

/* Returns the last lease that was made. */
static uint64_t prepare(const struct row *row, const struct dut *dut)
{
	uint64_t lease = 0;

	for (unsigned i = 0; i < 3 && row->before[i][0]; i++)
		if (strcmp(row->before[i][0], "alloc") == 0)
			lease = operator_leave(dut, row->before_uid, row->before[i] + 2);
		else
			operator_expect(dut, row->before_uid, DONE, "", row->before[i]);
	return lease;
}

static void run_row(void **state)
{
	const struct row *row = *state;
	const char *command[MAX_ARGS] = {NULL};
	struct dut dut;
	char *error;
	uint64_t lease;

	dut_need_root();
	if (row->world == MEMCG)
		memcg_need();
	if (strchr(row->pool, '%'))
		hugetlb_need(2 * MIB, 1);
	start(row, &dut);
	lease = prepare(row, &dut);
	for (unsigned i = 0; row->command[i]; i++)
		command[i] = fill_in(row->command[i], lease);
	assert_int_equal(dut_ctl(&dut, row->uid, command, NULL, &error), FAILED);
	check_words(row, error);
	free(error);
	dut_stop(&dut);
}

/* A pool that may raise nr_hugepages, on a host that keeps its memory: neither that number nor `grow` is what
 * it lacks, and nothing was raised in vain. */
static void sentences_of_a_pool_that_grows_on_a_full_host(void **state)
{
	const struct row row = {
		.cause = "the host is full",
		.says = "the kernel has no|the host has|and keeps 1024T|free memory, or ask for less",
		.never = "nr_hugepages|grow|quota"};
	const char text[] = "{\"host_reserve\": \"1024T\"}";
	struct hugetlb_counts before, after;
	char path[64], *error;
	struct dut dut;
	int fd;

	(void)state;
	dut_need_root();
	hugetlb_need(2 * MIB, 1);
	fd = memfd_create("configuration", MFD_CLOEXEC);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)getpid(), fd);
	dut_start(&dut, DUT_WORDS("--config", path, "--pool", fill_in("p=2M:%M,users=*,grow=yes", 0)));
	close(fd);
	before = hugetlb_counts(2 * MIB);
	assert_int_equal(dut_ctl(&dut, USER, DUT_WORDS("alloc", fill_in("%M", 0)), NULL, &error), FAILED);
	after = hugetlb_counts(2 * MIB);
	check_words(&row, error);
	assert_int_equal(before.total, after.total);
	free(error);
	dut_stop(&dut);
}

/* Held by whom, and whether that can still free it. */
static void sentences_of_a_lease_that_is_held(void **state)
{
	struct row row = {
		.cause = "held", .says = "is held by process|frees it or exits", .never = "gone|connected"};
	char id[24], *error;
	struct actor actor;
	struct dut dut;
	uint64_t lease;

	(void)state;
	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", FULL));
	actor_start(&actor, USER, &dut);
	assert_int_equal(actor_alloc(&actor, 4096, NULL, &lease), 0);
	snprintf(id, sizeof(id), "%" PRIu64, lease);
	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("free", id), NULL, &error), FAILED);
	check_words(&row, error);
	free(error);
	actor_break(&actor);
	dut_wait_pool(&dut, "p", "pages_orphaned", 1);
	row.says = "is held by process|which lives, but is not connected: it ends when that exits";
	row.never = "gone|frees it or";
	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("free", id), NULL, &error), FAILED);
	check_words(&row, error);
	free(error);
	actor_kill(&actor);
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_stop(&dut);
}

static void read_log(const struct dut *dut, char *text, size_t size)
{
	FILE *log = fopen(dut->log, "re");

	assert_non_null(log);
	text[fread(text, 1, size - 1, log)] = 0;
	fclose(log);
}

/* What the kernel has not now is missing to nobody whom it was not promised. */
static void sentences_without_a_reserve_say_nothing_of_missing_pages(void **state)
{
	char log[4096];
	struct dut dut;

	(void)state;
	dut_need_root();
	hugetlb_need(2 * MIB, 1);
	dut_start(&dut, DUT_WORDS("--pool", fill_in("p=2M:%M,users=*", 0)));
	read_log(&dut, log, sizeof(log));
	assert_null(strstr(log, "lacks"));
	assert_int_equal(dut_pool(&dut, "p", "pages_missing"), 0);
	dut_stop(&dut);
}

static int tear_down(void **state)
{
	memcg_leave();
	hugetlb_unlock();
	(void)dut_kill_all(state);
	return memcg_remove_all(state);
}

#define N_ROWS     (sizeof(rows) / sizeof(rows[0]))
#define TEST(test) cmocka_unit_test_teardown(test, tear_down)

int main(void)
{
	const struct CMUnitTest others[] = {
		TEST(sentences_of_a_pool_that_grows_on_a_full_host),
		TEST(sentences_of_a_lease_that_is_held),
		TEST(sentences_without_a_reserve_say_nothing_of_missing_pages),
	};
	struct CMUnitTest of_rows[N_ROWS];
	int n_failed;

	for (size_t i = 0; i < N_ROWS; i++)
		of_rows[i] = (struct CMUnitTest){.name = rows[i].cause,
						 .test_func = run_row,
						 .teardown_func = tear_down,
						 .initial_state = (void *)&rows[i]};
	n_failed = cmocka_run_group_tests_name("sentences", of_rows, NULL, NULL);
	return n_failed + cmocka_run_group_tests(others, NULL, NULL);
}

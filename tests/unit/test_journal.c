/* test_journal.c - what outlives the process: the journal's table and its file; and which directories and
 * files are what they seem, on which it stands.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/directory.h"
#include "daemon/base/inode_id.h"
#include "daemon/base/journal.h"
#include "tests/support/random.h"

#define NAME   "journal"
#define NOBODY 65534

/* Printed, and taken from $SEED. */
static uint64_t random_seed(void)
{
	const char *word = getenv("SEED");
	uint64_t seed = word ? strtoull(word, NULL, 0) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 32;

	printf("seed %" PRIu64 "\n", seed);
	return seed;
}

static char scratch[] = "/tmp/hugepool-test-XXXXXX";
static int scratch_fd = -1;

static int make_scratch(void **state)
{
	if (!mkdtemp(scratch))
		return -1;
	scratch_fd = open(scratch, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return scratch_fd < 0 ? -1 : 0;
}

static int remove_scratch(void **state)
{
	close(scratch_fd);
	return rmdir(scratch);
}

static int remove_file(void **state)
{
	(void)unlinkat(scratch_fd, NAME, 0);
	return 0;
}

static struct journal *open_journal(void)
{
	struct journal *journal;
	char *error;

	if (journal_open(scratch_fd, NAME, &journal, &error) < 0)
		fail_msg("%s", error);
	assert_null(error);
	return journal;
}

static bool is_there(void)
{
	return faccessat(scratch_fd, NAME, F_OK, 0) == 0;
}

/* ---- the table ---- */

static void journal_has_what_was_put_when_it_is_opened_again(void **state)
{
	struct journal *journal = open_journal();

	assert_false(is_there());
	assert_int_equal(journal_put(journal, "b", "%d %s", 2, "two"), 0);
	assert_int_equal(journal_put(journal, "a", "1"), 0);
	assert_int_equal(journal_put(journal, "a", "one"), 0);
	assert_int_equal(journal_put(journal, "c", "3"), 0);
	assert_int_equal(journal_drop(journal, "c"), 0);
	assert_int_equal(journal_drop(journal, "none"), 0);
	journal_free(journal);

	journal = open_journal();
	assert_false(journal_is_of_another_boot(journal));
	assert_string_equal(journal_get(journal, "a"), "one");
	assert_string_equal(journal_get(journal, "b"), "2 two");
	assert_null(journal_get(journal, "c"));
	assert_string_equal(journal_next(journal, "", NULL), "a");
	assert_string_equal(journal_next(journal, "", "a"), "b");
	assert_null(journal_next(journal, "", "b"));
	assert_null(journal_next(journal, "c", NULL));
	assert_int_equal(journal_drop(journal, "a"), 0);
	assert_true(is_there());
	assert_int_equal(journal_drop(journal, "b"), 0);
	assert_false(is_there());
	journal_free(journal);
}

/* Whatever is done, what is read anew is what the model has. */
static void journal_random_changes_are_all_in_the_file(void **state)
{
	enum { N_KEYS = 40, N_STEPS = 600 };
	int values[N_KEYS] = {0};
	struct journal *journal = open_journal();
	uint64_t seed = random_seed();

	for (unsigned step = 1; step <= N_STEPS; step++) {
		unsigned key = (unsigned)(random_next(&seed) % N_KEYS);
		char word[16], value[16];

		snprintf(word, sizeof(word), "key:%u", key);
		values[key] = random_next(&seed) % 3 == 0 ? 0 : (int)step;
		if (values[key] == 0)
			assert_int_equal(journal_drop(journal, word), 0);
		else
			assert_int_equal(journal_put(journal, word, "%u", step), 0);
		if (step % 20 != 0)
			continue;
		journal_free(journal);
		journal = open_journal();
		for (unsigned i = 0; i < N_KEYS; i++) {
			snprintf(word, sizeof(word), "key:%u", i);
			snprintf(value, sizeof(value), "%d", values[i]);
			if (values[i] == 0)
				assert_null(journal_get(journal, word));
			else
				assert_string_equal(journal_get(journal, word), value);
		}
	}
	journal_free(journal);
}

/* Where the file cannot be written the change is refused, and file and table are what they were. */
static void journal_that_cannot_be_written_is_as_it_was(void **state)
{
	const struct rlimit none = {.rlim_cur = 4, .rlim_max = RLIM_INFINITY};
	struct journal *journal = open_journal();
	struct rlimit old;

	assert_int_equal(journal_put(journal, "a", "1"), 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
	assert_true(journal_put(journal, "a", "2") < 0);
	assert_true(journal_put(journal, "b", "2") < 0);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_string_equal(journal_get(journal, "a"), "1");
	assert_null(journal_get(journal, "b"));
	journal_free(journal);
	journal = open_journal();
	assert_string_equal(journal_get(journal, "a"), "1");
	assert_null(journal_get(journal, "b"));
	journal_free(journal);
}

static void journal_words_come_back_as_they_were(void **state)
{
	char text[256], *word, *again;

	for (unsigned i = 1; i < 256; i++)
		text[i - 1] = (char)i;
	text[255] = 0;
	word = journal_escape(text);
	for (const char *byte = word; *byte; byte++)
		assert_true(*byte > ' ' && *byte <= '~');
	again = journal_unescape(word);
	assert_string_equal(again, text);
	free(word);
	free(again);
	assert_null(journal_unescape("%"));
	assert_null(journal_unescape("%4"));
	assert_null(journal_unescape("%4g"));
	assert_null(journal_unescape("%00"));
	assert_null(journal_unescape("%aa"));
}

/* ---- hostile files ---- */

static void write_file(const char *text, size_t length, mode_t mode)
{
	int fd = openat(scratch_fd, NAME, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, length), length);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void expect_refused(void)
{
	struct journal *journal;
	char *error = NULL;

	assert_true(journal_open(scratch_fd, NAME, &journal, &error) < 0);
	assert_non_null(error);
	assert_non_null(strstr(error, NAME));
	free(error);
	assert_int_equal(unlinkat(scratch_fd, NAME, 0), 0);
}

#define HEAD "hugepoold-journal 1 x\n"

static void journal_of_another_form_is_refused(void **state)
{
	static const char *const texts[] = {
		"",
		"\n",
		"x",
		"hugepoold-journal 1 x",
		"hugepoold-journal 9 x\n",
		HEAD "a",
		HEAD "a\n",
		HEAD "a \n",
		HEAD " 1\n",
		HEAD "\n",
		HEAD "a 1",
		HEAD "a\t1\n",
		HEAD "a 1\r\n",
		HEAD "a \x7f\n",
		HEAD "a 1\na 2\n",
	};

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		write_file(texts[i], strlen(texts[i]), 0600);
		expect_refused();
	}
	write_file(HEAD "a 1\0b\n", sizeof(HEAD "a 1\0b\n") - 1, 0600);
	expect_refused();
	write_file(HEAD "a 1\n", strlen(HEAD "a 1\n"), 0666);
	expect_refused();
	write_file("x", 1, 0600);
	assert_int_equal(linkat(scratch_fd, NAME, scratch_fd, "other", 0), 0);
	expect_refused();
	assert_int_equal(unlinkat(scratch_fd, "other", 0), 0);
	assert_int_equal(symlinkat("/dev/null", scratch_fd, NAME), 0);
	expect_refused();
	assert_int_equal(mkfifoat(scratch_fd, NAME, 0600), 0);
	expect_refused();
}

static void journal_of_any_bytes_is_read_or_refused(void **state)
{
	uint64_t seed = random_seed();

	for (unsigned round = 0; round < 2000; round++) {
		char text[128] = HEAD "a 1\nb 2 3\n";
		size_t length = strlen(text);
		struct journal *journal;
		char *error;

		for (unsigned i = 0; i < 3; i++)
			text[random_next(&seed) % length] = (char)random_next(&seed);
		write_file(text, length, 0600);
		if (journal_open(scratch_fd, NAME, &journal, &error) == 0) {
			assert_true(journal_is_of_another_boot(journal));
			journal_free(journal);
		} else {
			free(error);
		}
	}
}

/* ---- directories ---- */

static void directory_symlink_is_followed_if_it_is_roots_or_ours(void **state)
{
	int fd;

	if (geteuid() != 0) {
		fprintf(stderr, "SKIPPED: only root can make another user's symlink\n");
		skip();
	}
	assert_int_equal(mkdirat(scratch_fd, "real", 0755), 0);
	assert_int_equal(symlinkat("real/../real", scratch_fd, "link"), 0);
	assert_int_equal(symlinkat("loop", scratch_fd, "loop"), 0);
	assert_int_equal(fchdir(scratch_fd), 0);
	assert_int_equal(directory_open("link/.", &fd), 0);
	close(fd);
	assert_int_equal(directory_open("loop", &fd), -ELOOP);
	assert_int_equal(fchownat(scratch_fd, "link", NOBODY, NOBODY, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(directory_open("link", &fd), -ELOOP);
	assert_int_equal(directory_open("link/../real", &fd), -ELOOP);
	assert_int_equal(directory_open("real//../real/", &fd), 0);
	close(fd);
	assert_int_equal(directory_open("none", &fd), -ENOENT);
	assert_int_equal(directory_open("", &fd), -ENOENT);
	assert_int_equal(directory_open("/dev/null/x", &fd), -ENOTDIR);
	assert_int_equal(directory_open("/", &fd), 0);
	close(fd);
	assert_int_equal(chdir("/"), 0);
	assert_int_equal(unlinkat(scratch_fd, "link", 0), 0);
	assert_int_equal(unlinkat(scratch_fd, "loop", 0), 0);
	assert_int_equal(unlinkat(scratch_fd, "real", AT_REMOVEDIR), 0);
}

static void directory_rights_say_who_can_change_it(void **state)
{
	static const struct {
		mode_t mode;
		int rights;
	} cases[] = {
		{0700, DIRECTORY_PRIVATE}, {0755, DIRECTORY_PRIVATE}, {0775, DIRECTORY_SHARED},
		{0757, DIRECTORY_SHARED},  {01777, DIRECTORY_STICKY}, {01770, DIRECTORY_STICKY},
	};
	int fd;

	assert_int_equal(mkdirat(scratch_fd, "real", 0700), 0);
	fd = openat(scratch_fd, "real", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(fchmod(fd, cases[i].mode), 0);
		assert_int_equal(directory_rights(fd), cases[i].rights);
	}
	if (geteuid() == 0) {
		assert_int_equal(fchmod(fd, 01777), 0);
		assert_int_equal(fchown(fd, NOBODY, NOBODY), 0);
		assert_int_equal(directory_rights(fd), DIRECTORY_SHARED);
	}
	close(fd);
	assert_int_equal(unlinkat(scratch_fd, "real", AT_REMOVEDIR), 0);
}

/* ---- identities ---- */

static void inode_id_is_of_one_file_only(void **state)
{
	struct inode_id first, second, parsed;
	struct timespec now;
	char words[INODE_ID_WORDS_MAX], longer[INODE_ID_WORDS_MAX + 8];
	uint32_t mode;

	write_file("", 0, 0600);
	assert_int_equal(inode_id_read(scratch_fd, NAME, &first, &mode), 0);
	assert_true(S_ISREG(mode));
	assert_int_equal(inode_id_read(scratch_fd, NAME, &second, &mode), 0);
	assert_true(inode_id_equal(&first, &second));
	inode_id_format(&first, words);
	assert_int_equal(inode_id_parse(words, &parsed), strlen(words));
	assert_true(inode_id_equal(&first, &parsed));
	snprintf(longer, sizeof(longer), "%s rest", words);
	assert_int_equal(inode_id_parse(longer, &parsed), strlen(words));
	assert_int_equal(unlinkat(scratch_fd, NAME, 0), 0);
	/* Often with the same inode number; times of birth tell them apart from one tick of the clock to the
	 * next. */
	do
		assert_int_equal(clock_gettime(CLOCK_REALTIME_COARSE, &now), 0);
	while ((uint64_t)now.tv_sec == first.born_s && (uint64_t)now.tv_nsec <= first.born_ns);
	write_file("", 0, 0600);
	assert_int_equal(inode_id_read(scratch_fd, NAME, &second, &mode), 0);
	assert_true(first.born_s == 0 || !inode_id_equal(&first, &second));

	assert_int_equal(inode_id_parse("1 2 3", &parsed), 0);
	assert_int_equal(inode_id_parse("1 2  3 4", &parsed), 0);
	assert_int_equal(inode_id_parse("01 2 3 4", &parsed), 0);
	assert_int_equal(inode_id_parse("-1 2 3 4", &parsed), 0);
	assert_int_equal(inode_id_parse("99999999999999999999 2 3 4", &parsed), 0);
	assert_int_equal(inode_id_parse("x", &parsed), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, remove_file)
	const struct CMUnitTest tests[] = {
		TEST(journal_has_what_was_put_when_it_is_opened_again),
		TEST(journal_random_changes_are_all_in_the_file),
		TEST(journal_that_cannot_be_written_is_as_it_was),
		TEST(journal_words_come_back_as_they_were),
		TEST(journal_of_another_form_is_refused),
		TEST(journal_of_any_bytes_is_read_or_refused),
		TEST(directory_symlink_is_followed_if_it_is_roots_or_ours),
		TEST(directory_rights_say_who_can_change_it),
		TEST(inode_id_is_of_one_file_only),
	};

	return cmocka_run_group_tests_name("test_journal", tests, make_scratch, remove_scratch);
}

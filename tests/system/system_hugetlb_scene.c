/* system_hugetlb_scene.c - see the header. */
#include <config.h>

#include <inttypes.h>
#include <mntent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/wait.h"
#include "tests/system/system_hugetlb_scene.h"

#define N_WORDS    8
#define WORD_BYTES 256
#define LOG_BYTES  65536

struct hugetlb_counts scene_start;
static uint64_t scene_page_bytes;
static char mounted_at[64]; /* by scene_mount(); empty: nowhere */

void scene_begin(uint64_t page_bytes, uint64_t n_pages)
{
	dut_need_root();
	hugetlb_need(page_bytes, n_pages);
	scene_page_bytes = page_bytes;
	scene_start = hugetlb_counts(page_bytes);
}

int scene_end(void **state)
{
	dut_kill_all(state);
	if (mounted_at[0]) {
		umount2(mounted_at, MNT_DETACH);
		rmdir(mounted_at);
		mounted_at[0] = 0;
	}
	hugetlb_unlock();
	return 0;
}

const char *scene_words(const char *format, ...)
{
	static char words[N_WORDS][WORD_BYTES];
	static unsigned next;
	char *word = words[next++ % N_WORDS];
	va_list args;

	va_start(args, format);
	assert_in_range(vsnprintf(word, WORD_BYTES, format, args), 1, WORD_BYTES - 1);
	va_end(args);
	return word;
}

/* ---- the counters ---- */

uint64_t scene_available(void)
{
	struct hugetlb_counts counts = hugetlb_counts(scene_page_bytes);

	return counts.free - counts.reserved;
}

uint64_t scene_taken(void)
{
	return scene_start.free - hugetlb_counts(scene_page_bytes).free;
}

static bool is_all_back(const struct hugetlb_counts *now)
{
	return memcmp(now, &scene_start, sizeof(*now)) == 0;
}

static void fail_with_counts(const char *what, const struct hugetlb_counts *now)
{
	fail_msg("%s: total %" PRIu64 " free %" PRIu64 " reserved %" PRIu64 " surplus %" PRIu64
		 ", at the start %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64,
		 what, now->total, now->free, now->reserved, now->surplus, scene_start.total,
		 scene_start.free, scene_start.reserved, scene_start.surplus);
}

void scene_assert_taken(const struct dut *dut, uint64_t n_pages)
{
	struct hugetlb_counts now = hugetlb_counts(scene_page_bytes);

	if (now.total == scene_start.total && now.free + n_pages == scene_start.free)
		return;
	fail_with_counts(scene_words("%" PRIu64 " pages are not what is taken, but %" PRId64 " are backed",
				     n_pages, dut_pool(dut, "p", "pages_backed")),
			 &now);
}

void scene_assert_all_back(void)
{
	struct hugetlb_counts now = hugetlb_counts(scene_page_bytes);

	if (!is_all_back(&now))
		fail_with_counts("the kernel has not everything back", &now);
}

void scene_wait_taken(uint64_t n_pages)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;

	while (scene_taken() != n_pages && wait_now_ms() < deadline)
		wait_pause();
	assert_int_equal(scene_taken(), n_pages);
}

void scene_wait_all_back(void)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	struct hugetlb_counts now;

	while (now = hugetlb_counts(scene_page_bytes), !is_all_back(&now) && wait_now_ms() < deadline)
		wait_pause();
	scene_assert_all_back();
}

/* ---- sentences ---- */

static void assert_has(const char *text, const char *format, va_list args)
{
	char words[WORD_BYTES];

	assert_in_range(vsnprintf(words, sizeof(words), format, args), 1, sizeof(words) - 1);
	if (!strstr(text, words))
		fail_msg("\"%s\" is not said in: %s", words, text);
}

void scene_assert_says(const char *text, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	assert_has(text, format, args);
	va_end(args);
}

void scene_assert_log_says(const struct dut *dut, const char *format, ...)
{
	static char text[LOG_BYTES];
	FILE *log = fopen(dut->log, "re");
	va_list args;

	assert_non_null(log);
	text[fread(text, 1, sizeof(text) - 1, log)] = 0;
	fclose(log);
	va_start(args, format);
	assert_has(text, format, args);
	va_end(args);
}

void scene_assert_reserve_refused(const char *options)
{
	const uint64_t reserve = scene_available() + 16;
	const char *pool =
		scene_words("p=2M:%" PRIu64 "M,reserve=%" PRIu64 "M%s", 2 * reserve, 2 * reserve, options);
	char *error;

	assert_int_equal(dut_start_refused(DUT_WORDS("--pool", pool), &error), 1);
	scene_assert_says(error, "pool p: its reserve of %" PRIu64 " pages of 2M cannot be met", reserve);
	scene_assert_says(error, "the kernel lacks 16 of them: raise nr_hugepages by as many, set grow");
	free(error);
}

/* ---- mounts ---- */

const char *scene_mount(void)
{
	strcpy(mounted_at, "/tmp/hugepool-mount-XXXXXX");
	assert_non_null(mkdtemp(mounted_at));
	assert_int_equal(mount("hugetlbfs", mounted_at, "hugetlbfs", 0, "pagesize=2M"), 0);
	return mounted_at;
}

void scene_unmount(void)
{
	assert_int_equal(umount(mounted_at), 0);
	assert_int_equal(rmdir(mounted_at), 0);
	mounted_at[0] = 0;
}

unsigned scene_n_mounts(const char *path, char *ret_options, size_t size)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	struct mntent *entry;
	unsigned n = 0;

	assert_non_null(mounts);
	while ((entry = getmntent(mounts))) {
		if (strcmp(entry->mnt_dir, path) != 0)
			continue;
		snprintf(ret_options, size, "%s,%s", entry->mnt_type, entry->mnt_opts);
		n++;
	}
	endmntent(mounts);
	return n;
}

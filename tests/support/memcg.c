/* memcg.c - see memcg.h. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/memcg.h"
#include "tests/support/wait.h"

#define V1_TOP   "/sys/fs/cgroup/memory"
#define V2_TOP   "/sys/fs/cgroup"
#define MAX_MADE 8

static char made[MAX_MADE][256];
static unsigned n_made;
static char home[256]; /* the cgroup.procs that we come from; "": we are there */

static bool is_v1(void)
{
	return access(V1_TOP "/memory.limit_in_bytes", F_OK) == 0;
}

static const char *top(void)
{
	return is_v1() ? V1_TOP : V2_TOP;
}

static int write_text(const char *directory, const char *name, const char *text)
{
	char path[512];
	FILE *file;
	int r;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "we");
	if (!file)
		return -errno;
	r = fputs(text, file) >= 0 ? 0 : -errno;
	return fclose(file) == 0 ? r : -errno;
}

static uint64_t read_number(const char *directory, const char *name, const char *key)
{
	char path[512], word[64];
	uint64_t number = 0;
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", directory, name);
	file = fopen(path, "re");
	assert_non_null(file);
	if (!key)
		assert_int_equal(fscanf(file, "%" SCNu64, &number), 1);
	while (key && fscanf(file, "%63s %" SCNu64, word, &number) == 2 && strcmp(word, key) != 0)
		number = 0;
	fclose(file);
	return number;
}

void memcg_need(void)
{
	if (geteuid() != 0) {
		print_message("absent: only root makes memory cgroups\n");
		skip();
	}
	if (!is_v1() && write_text(V2_TOP, "cgroup.subtree_control", "+memory") < 0) {
		print_message("absent: no memory controller of cgroups at " V1_TOP " or " V2_TOP "\n");
		skip();
	}
}

void memcg_make(struct memcg *memcg, const struct memcg *parent, uint64_t limit_bytes)
{
	assert_true(n_made < MAX_MADE);
	snprintf(memcg->name, sizeof(memcg->name), "%.80s/hugepool-test-%d-%u", parent ? parent->name : "",
		 (int)getpid(), n_made);
	snprintf(memcg->path, sizeof(memcg->path), "%s%s", top(), memcg->name);
	if (parent && !is_v1())
		assert_int_equal(write_text(parent->path, "cgroup.subtree_control", "+memory"), 0);
	assert_int_equal(mkdir(memcg->path, 0755), 0);
	snprintf(made[n_made++], sizeof(made[0]), "%s", memcg->path);
	memcg_set_limit(memcg, limit_bytes);
}

void memcg_set_limit(const struct memcg *memcg, uint64_t limit_bytes)
{
	char digits[24];

	snprintf(digits, sizeof(digits), "%" PRIu64, limit_bytes);
	assert_int_equal(write_text(memcg->path, is_v1() ? "memory.limit_in_bytes" : "memory.max", digits),
			 0);
}

/* Where we are now. */
static void find_home(void)
{
	char line[512], *path;
	FILE *file = fopen("/proc/self/cgroup", "re");

	assert_non_null(file);
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		path = strstr(line, is_v1() ? ":memory:" : "0::");
		if (path)
			snprintf(home, sizeof(home), "%s%.200s", top(), strrchr(path, ':') + 1);
	}
	fclose(file);
	assert_string_not_equal(home, "");
}

void memcg_enter(const struct memcg *memcg)
{
	if (!home[0])
		find_home();
	assert_int_equal(write_text(memcg->path, "cgroup.procs", "0"), 0);
}

void memcg_leave(void)
{
	if (home[0])
		assert_int_equal(write_text(home, "cgroup.procs", "0"), 0);
	home[0] = '\0';
}

uint64_t memcg_usage(const struct memcg *memcg)
{
	return read_number(memcg->path, is_v1() ? "memory.usage_in_bytes" : "memory.current", NULL);
}

uint64_t memcg_oom_kills(const struct memcg *memcg)
{
	return read_number(memcg->path, is_v1() ? "memory.oom_control" : "memory.events", "oom_kill");
}

int memcg_remove_all(void **state)
{
	(void)state;
	memcg_leave();
	while (n_made > 0) {
		const char *path = made[--n_made];

		assert_true(wait_for(rmdir(path) == 0 || errno != EBUSY));
		assert_true(access(path, F_OK) < 0);
	}
	return 0;
}

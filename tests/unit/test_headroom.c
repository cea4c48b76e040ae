/* test_headroom.c - what limits memory, in made-up trees of /proc, /sys and cgroups; the sentences about it;
 * and that a node is a wish.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/backing/headroom.h"
#include "daemon/backing/hugefolio.h"
#include "daemon/backing/numa.h"
#include "daemon/backing/readfile.h"
#include "tests/unit/backing_scene.h"

#define MIB UINT64_C(1048576)

static char root[128]; /* of the made-up tree */

static int set_up(void **state)
{
	(void)state;
	snprintf(root, sizeof(root), "%s/tree", scene_scratch);
	return mkdir(root, 0755);
}

static int tear_down(void **state)
{
	char command[256];

	(void)state;
	headroom_set_host_reserve(UINT64_MAX);
	snprintf(command, sizeof(command), "rm -rf '%s'", root);
	return system(command);
}

/* A file in the tree, with the directories that lead to it. */
static void put(const char *path, const char *text)
{
	char whole[512];
	FILE *file;

	snprintf(whole, sizeof(whole), "%s%s", root, path);
	for (char *slash = whole + strlen(root) + 1; (slash = strchr(slash, '/')); slash++) {
		*slash = '\0';
		assert_true(mkdir(whole, 0755) == 0 || errno == EEXIST);
		*slash = '/';
	}
	file = fopen(whole, "we");
	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void put_meminfo(uint64_t total_mib, uint64_t available_mib)
{
	char text[256];

	snprintf(text, sizeof(text),
		 "MemTotal:       %llu kB\nMemFree:        4 kB\nMemAvailable:   %llu kB\n"
		 "CommitLimit:    204800 kB\nCommitted_AS:   102400 kB\n",
		 (unsigned long long)total_mib * 1024, (unsigned long long)available_mib * 1024);
	put("/proc/meminfo", text);
}

static uint64_t look(enum headroom_use use, int node, struct backing_shortage *ret)
{
	const struct headroom_request request = {.use = use, .node = node, .page_bytes = MIB2, .root = root};
	uint64_t bytes;

	assert_int_equal(headroom_look(&request, &bytes, ret), 0);
	return bytes;
}

static void expect_words(const struct backing_shortage *shortage, const char *words)
{
	char sentence[SHORTAGE_WORDS_MAX];

	shortage_format(shortage, MIB2, sentence, sizeof(sentence));
	if (!strstr(sentence, words))
		fail_msg("\"%s\" is not in \"%s\"", words, sentence);
}

/* ---- the host ---- */

static void headroom_without_proc_has_no_limit(void **state)
{
	struct backing_shortage shortage;

	(void)state;
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), UINT64_MAX);
}

static void headroom_of_the_host_keeps_a_reserve(void **state)
{
	struct backing_shortage shortage;

	(void)state;
	put_meminfo(20000, 1200);
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 200 * MIB);
	assert_int_equal(shortage.limit, BACKING_LIMIT_HOST);
	expect_words(&shortage, "the host has 1200M available and keeps 1000M: free memory");
	assert_int_equal(look(HEADROOM_RAISE, -1, &shortage), 200 * MIB);
	/* Hugepages that there are have left the host's memory long since. */
	assert_int_equal(look(HEADROOM_HUGEPAGES, -1, &shortage), UINT64_MAX);
	put_meminfo(20000, 900);
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 0);
	/* Of a small one. */
	put_meminfo(512, 100);
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 36 * MIB);
	headroom_set_host_reserve(10 * MIB);
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 90 * MIB);
}

static void put_node(unsigned node, uint64_t total_mib, uint64_t free_mib)
{
	char path[128], text[256];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", node);
	snprintf(text, sizeof(text),
		 "Node %u MemTotal:       %llu kB\nNode %u MemFree:        %llu kB\n"
		 "Node %u Active(file):   1024 kB\nNode %u Inactive(file): 1024 kB\n",
		 node, (unsigned long long)total_mib * 1024, node, (unsigned long long)free_mib * 1024, node,
		 node);
	put(path, text);
}

static void headroom_of_a_node_is_asked_where_all_must_come_from_it(void **state)
{
	struct backing_shortage shortage;

	(void)state;
	put_meminfo(20000, 5000);
	put_node(0, 10000, 4000);
	put_node(1, 10000, 600);
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 4000 * MIB);
	assert_int_equal(look(HEADROOM_BASE_PAGES, 1, &shortage), 102 * MIB);
	assert_int_equal(shortage.limit, BACKING_LIMIT_NODE);
	expect_words(&shortage, "NUMA node 1 has 602M available and keeps 500M");
	assert_int_equal(look(HEADROOM_BASE_PAGES, 0, &shortage), 3502 * MIB);
}

static void headroom_of_a_cpuset_is_that_of_its_nodes(void **state)
{
	struct backing_shortage shortage;

	(void)state;
	put_meminfo(20000, 5000);
	put_node(0, 10000, 4000);
	put_node(1, 10000, 600);
	put("/sys/devices/system/node/has_memory", "0-1\n");
	put("/proc/self/status", "Name:\tx\nMems_allowed_list:\t1\n");
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 102 * MIB);
	assert_int_equal(shortage.limit, BACKING_LIMIT_CPUSET);
	put("/proc/self/status", "Name:\tx\nMems_allowed_list:\t0-1\n");
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 4000 * MIB);
}

static void headroom_under_strict_overcommit_is_what_may_be_committed(void **state)
{
	struct backing_shortage shortage;

	(void)state;
	put_meminfo(20000, 5000);
	put("/proc/sys/vm/overcommit_memory", "1\n");
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 4000 * MIB);
	put("/proc/sys/vm/overcommit_memory", "2\n");
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 100 * MIB);
	expect_words(&shortage, "vm.overcommit_memory is 2, and 100M of the 200M that may be committed");
}

/* ---- cgroups ---- */

#define V1 "/sys/fs/cgroup/memory"

static void put_v1(const char *cgroup, const char *limit, const char *usage, const char *stat)
{
	const char *const files[][2] = {
		{"memory.limit_in_bytes", limit}, {"memory.usage_in_bytes", usage}, {"memory.stat", stat}};
	char path[256];

	for (unsigned i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), V1 "%s/%s", cgroup, files[i][0]);
		put(path, files[i][1]);
	}
}

static void put_v1_mount(const char *from)
{
	char line[256];

	snprintf(line, sizeof(line),
		 "30 23 0:27 / /proc rw - proc proc rw\n"
		 "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime shared:5 - cgroup cgroup rw,cpu\n"
		 "35 31 0:32 %s /sys/fs/cgroup/memory rw,relatime shared:7 master:2 - cgroup cgroup "
		 "rw,memory\n",
		 from);
	put("/proc/self/mountinfo", line);
}

#define NO_LIMIT_V1 "9223372036854771712\n"

static void headroom_v1_is_the_least_up_the_tree(void **state)
{
	struct backing_shortage shortage;

	(void)state;
	put("/proc/self/cgroup", "9:name=systemd:/x\n4:memory,foo:/a/b/c\n3:cpuset:/\n");
	put_v1_mount("/");
	put_v1("/a/b/c", "1073741824\n", "104857600\n", "cache 0\ntotal_inactive_file 0\n");
	put_v1("/a/b", "134217728\n", "125829120\n", "inactive_file 7\ntotal_inactive_file 20971520\n");
	put_v1("/a", NO_LIMIT_V1, "999999999\n", "total_inactive_file 0\n");
	put_v1("", NO_LIMIT_V1, "999999999\n", "total_inactive_file 0\n");
	/* 128M less 120M, of which 20M are easily had, less 8M that it keeps. */
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 20 * MIB);
	assert_int_equal(shortage.limit, BACKING_LIMIT_CGROUP);
	expect_words(&shortage, "the memory cgroup /a/b allows 128M, has 28M left and keeps 8M: raise its");
	/* The kernel's own raising is charged to nobody. */
	assert_int_equal(look(HEADROOM_RAISE, -1, &shortage), UINT64_MAX);
	put_v1("/a/b/c", "33554432\n", "16777216\n", "");
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 12 * MIB);
	expect_words(&shortage, "cgroup /a/b/c allows 32M");
	/* Swap is counted by a limit of its own. */
	put(V1 "/a/memory.memsw.limit_in_bytes", "67108864\n");
	put(V1 "/a/memory.memsw.usage_in_bytes", "67108864\n");
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 0);
	expect_words(&shortage, "cgroup /a allows 64M");
}

/* A container sees its own cgroup at the mount's top, and the host's path in /proc. */
static void headroom_v1_mounted_from_a_cgroup_is_found(void **state)
{
	struct backing_shortage shortage;

	(void)state;
	put("/proc/self/cgroup", "4:memory:/docker/abc/inner\n");
	put_v1_mount("/docker/abc");
	put_v1("", "67108864\n", "33554432\n", "");
	put_v1("/inner", NO_LIMIT_V1, "1\n", "");
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 28 * MIB);
	/* In a cgroup namespace both are told from its root on. */
	put("/proc/self/cgroup", "4:memory:/\n");
	put_v1_mount("/");
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 28 * MIB);
	/* Names that only begin alike are others. */
	put("/proc/self/cgroup", "4:memory:/docker/abcdef\n");
	put_v1_mount("/docker/abc");
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), UINT64_MAX);
}

static void put_v2(const char *cgroup, const char *name, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), "/mnt/c g%s/%s", cgroup, name);
	put(path, text);
}

static void put_v2_tree(const char *options)
{
	char line[256];

	put("/proc/self/cgroup", "0::/system.slice/hp.service\n");
	snprintf(line, sizeof(line), "35 31 0:32 / /mnt/c\\040g rw,relatime shared:7 - cgroup2 cgroup2 %s\n",
		 options);
	put("/proc/self/mountinfo", line);
}

static void headroom_v2_knows_max_and_high(void **state)
{
	struct backing_shortage shortage;

	(void)state;
	put_v2_tree("rw,nsdelegate");
	put_v2("/system.slice/hp.service", "memory.max", "max\n");
	put_v2("/system.slice/hp.service", "memory.high", "134217728\n");
	put_v2("/system.slice/hp.service", "memory.current", "52428800\n");
	put_v2("/system.slice/hp.service", "memory.stat", "anon 5\nfile 3\ninactive_file 4194304\n");
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), (128 - 50 + 4 - 8) * MIB);
	expect_words(&shortage, "the memory cgroup /system.slice/hp.service allows 128M");
	put_v2("/system.slice", "memory.max", "67108864\n");
	put_v2("/system.slice", "memory.current", "62914560\n");
	assert_int_equal(look(HEADROOM_BASE_PAGES, -1, &shortage), 0);
	expect_words(&shortage, "the memory cgroup /system.slice allows 64M, has 4M left");
}

static void headroom_of_hugepages_is_their_cgroups(void **state)
{
	struct backing_shortage shortage;

	(void)state;
	put_v2_tree("rw");
	put_v2("/system.slice", "hugetlb.2MB.max", "16777216\n");
	put_v2("/system.slice", "hugetlb.2MB.current", "6291456\n");
	put_v2("/system.slice", "hugetlb.1GB.max", "0\n");
	put_v2("/system.slice", "hugetlb.1GB.current", "0\n");
	put_v2("/system.slice", "memory.max", "1048576\n");
	put_v2("/system.slice", "memory.current", "1048576\n");
	assert_int_equal(look(HEADROOM_HUGEPAGES, -1, &shortage), 10 * MIB);
	assert_int_equal(shortage.limit, BACKING_LIMIT_HUGETLB_CGROUP);
	expect_words(&shortage,
		     "the hugetlb cgroup /system.slice allows 16M of pages of 2M and has 10M left");
	/* Where the kernel charges hugepages as memory, too. */
	put_v2_tree("rw,memory_hugetlb_accounting");
	assert_int_equal(look(HEADROOM_HUGEPAGES, -1, &shortage), 0);
	assert_int_equal(shortage.limit, BACKING_LIMIT_CGROUP);
	put("/proc/self/cgroup", "8:hugetlb:/h\n");
	put("/proc/self/mountinfo", "1 2 0:3 / /hugetlb rw - cgroup cgroup rw,hugetlb\n");
	put("/hugetlb/h/hugetlb.2MB.limit_in_bytes", "4194304\n");
	put("/hugetlb/h/hugetlb.2MB.usage_in_bytes", "0\n");
	put("/hugetlb/h/hugetlb.2MB.rsvd.limit_in_bytes", NO_LIMIT_V1);
	put("/hugetlb/h/hugetlb.2MB.rsvd.usage_in_bytes", "0\n");
	assert_int_equal(look(HEADROOM_HUGEPAGES, -1, &shortage), 4 * MIB);
}

/* ---- broken texts ---- */

static void headroom_of_nonsense_has_no_limit(void **state)
{
	static const char *const texts[] = {"", "\n", "::::", "4:memory", "4:memory:", "0::", "\xff\xfe\n\n"};
	struct backing_shortage shortage;

	(void)state;
	for (unsigned i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		put("/proc/self/cgroup", texts[i]);
		put("/proc/self/mountinfo",
		    "1 2 0:3 / /nowhere rw - cgroup cgroup rw,memory\n - \n1 2 - x\n");
		put("/proc/self/status", texts[i]);
		put("/proc/meminfo", texts[i]);
		assert_int_equal(look(HEADROOM_BASE_PAGES, 0, &shortage), UINT64_MAX);
	}
}

/* Without a descriptor to look with nothing is taken. */
static void headroom_without_descriptors_is_an_error(void **state)
{
	const struct headroom_request request = {.use = HEADROOM_BASE_PAGES, .node = -1, .root = ""};
	struct rlimit all, none;
	struct backing_shortage shortage;
	uint64_t bytes;
	int r;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	none = all;
	none.rlim_cur = 0;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	r = headroom_look(&request, &bytes, &shortage);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_int_equal(r, -EMFILE);
}

/* ---- sentences ---- */

/* Of every limit: no placeholder is left, and there is something to do. */
static void shortage_of_every_limit_says_what_to_do(void **state)
{
	(void)state;
	for (int limit = 0; limit < BACKING_N_LIMITS; limit++) {
		struct backing_shortage shortage = {.limit = (enum backing_limit)limit,
						    .node = 3,
						    .allowed_bytes = 12345678,
						    .left_bytes = MIB2 * 7,
						    .kept_bytes = 1};
		char sentence[SHORTAGE_WORDS_MAX], cut[20];

		shortage_set_path(&shortage, "/some/where");
		shortage_format(&shortage, MIB2, sentence, sizeof(sentence));
		assert_null(strchr(sentence, '%'));
		assert_non_null(strstr(sentence, ": "));
		assert_true(strlen(sentence) < sizeof(sentence) - 1);
		shortage_format(&shortage, MIB2, cut, sizeof(cut));
		assert_memory_equal(cut, sentence, sizeof(cut) - 1);
	}
}

static void shortage_keeps_the_end_of_a_long_path(void **state)
{
	struct backing_shortage shortage = {.limit = BACKING_LIMIT_CGROUP};
	char path[300];

	(void)state;
	memset(path, 'x', sizeof(path));
	strcpy(path + sizeof(path) - sizeof("/theend"), "/theend");
	shortage_set_path(&shortage, path);
	expect_words(&shortage, "xxx/theend allows");
	expect_words(&shortage, "cgroup ...xxx");
}

/* ---- huge folios ---- */

#define THP "/sys/kernel/mm/transparent_hugepage/"

static void hugefolio_follows_every_size(void **state)
{
	(void)state;
	assert_false(hugefolio_possible(root));
	put(THP "shmem_enabled", "always within_size advise [never] deny force\n");
	assert_false(hugefolio_possible(root));
	put(THP "hugepages-64kB/shmem_enabled", "always inherit within_size advise [never]\n");
	put(THP "hugepages-2048kB/shmem_enabled", "always [inherit] within_size advise never\n");
	assert_false(hugefolio_possible(root));
	put(THP "hugepages-64kB/shmem_enabled", "[always] inherit within_size advise never\n");
	assert_true(hugefolio_possible(root));
	put(THP "shmem_enabled", "always within_size advise never [deny] force\n");
	assert_false(hugefolio_possible(root));
	put(THP "hugepages-64kB/shmem_enabled", "always inherit within_size advise [never]\n");
	put(THP "shmem_enabled", "always within_size [advise] never deny force\n");
	assert_false(hugefolio_possible(root));
	put(THP "shmem_enabled", "always [within_size] advise never deny force\n");
	assert_true(hugefolio_possible(root));
	put(THP "shmem_enabled", "[always] within_size advise never deny force\n");
	assert_true(hugefolio_possible(root));
}

/* ---- nodes ---- */

/* A node that is bound and full is the OOM killer's. */
static void numa_node_is_preferred_and_not_bound(void **state)
{
	int mode = -1;

	(void)state;
	if (numa_check_node(0) < 0)
		scene_skip("absent: a kernel without NUMA nodes");
	assert_int_equal(numa_enter(0), 0);
	assert_int_equal(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0), 0);
	assert_int_equal(mode, MPOL_PREFERRED);
	numa_leave(0);
	assert_int_equal(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0), 0);
	assert_int_equal(mode, MPOL_DEFAULT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(headroom_without_proc_has_no_limit),
		TEST(headroom_of_the_host_keeps_a_reserve),
		TEST(headroom_of_a_node_is_asked_where_all_must_come_from_it),
		TEST(headroom_of_a_cpuset_is_that_of_its_nodes),
		TEST(headroom_under_strict_overcommit_is_what_may_be_committed),
		TEST(headroom_v1_is_the_least_up_the_tree),
		TEST(headroom_v1_mounted_from_a_cgroup_is_found),
		TEST(headroom_v2_knows_max_and_high),
		TEST(headroom_of_hugepages_is_their_cgroups),
		TEST(headroom_of_nonsense_has_no_limit),
		TEST(headroom_without_descriptors_is_an_error),
		TEST(shortage_of_every_limit_says_what_to_do),
		TEST(shortage_keeps_the_end_of_a_long_path),
		TEST(hugefolio_follows_every_size),
		TEST(numa_node_is_preferred_and_not_bound),
	};

	return cmocka_run_group_tests_name("headroom", tests, scene_make_scratch, scene_remove_scratch);
}

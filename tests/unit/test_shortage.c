/* test_shortage.c - what is said of every limit of memory: the fact with its numbers, and advice that helps
 * against that limit, not against another.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/backing/shortage.h"

#define MIB UINT64_C(1048576)

static const struct {
	const char *fact, *advice;
	const char *never[2]; /* what helps against others only */
} rows[BACKING_N_LIMITS] = {
	[BACKING_LIMIT_UNKNOWN] = {"not that much memory", "free memory", {"hugepages"}},
	[BACKING_LIMIT_HOST] = {"the host has 12M available and keeps 5M", "free memory", {"hugepages"}},
	[BACKING_LIMIT_NODE] = {"NUMA node 3 has 12M available", "free memory there", {"hugepages"}},
	[BACKING_LIMIT_CPUSET] = {"NUMA nodes that the daemon may use have 12M", "more nodes", {"hugepages"}},
	[BACKING_LIMIT_COMMIT] = {"vm.overcommit_memory is 2, and 12M of the 128M",
				  "vm.overcommit_ratio",
				  {"hugepages"}},
	[BACKING_LIMIT_CGROUP] = {"memory cgroup /a/b allows 128M, has 12M left and keeps 5M",
				  "raise its limit",
				  {"hugepages"}},
	[BACKING_LIMIT_ADDRESSES] = {"RLIMIT_AS) is 128M", "LimitAS=", {"hugepages", "free memory"}},
	[BACKING_LIMIT_MAPPINGS] = {"map no more", "vm.max_map_count", {"hugepages", "free memory"}},
	[BACKING_LIMIT_FILE_SIZE] = {"RLIMIT_FSIZE) is 128M", "LimitFSIZE=", {"hugepages", "free memory"}},
	[BACKING_LIMIT_HUGETLB_CGROUP] = {"hugetlb cgroup /a/b allows 128M of pages of 2M and has 12M left",
					  "raise its limit",
					  {"nr_hugepages", "free memory"}},
	[BACKING_LIMIT_HUGEPAGES] = {"6 free pages of 2M",
				     "raise nr_hugepages, or set grow",
				     {"free memory"}},
	[BACKING_LIMIT_NODE_HUGEPAGES] = {"NUMA node 3 has 6 free pages of 2M",
					  "raise its nr_hugepages",
					  {"free memory", "set grow"}},
	[BACKING_LIMIT_RAISE_RIGHT] = {"6 free pages of 2M, and the daemon may not write nr_hugepages",
				       "start the daemon as root",
				       {"free memory", "set grow"}},
	[BACKING_LIMIT_FRAGMENTED] = {"found no more of them in one piece", "at boot", {"set grow"}},
	[BACKING_LIMIT_RAISED] = {"may have it raised by 128M (its max)",
				  "end what else takes hugepages",
				  {"free memory", "set grow"}},
	[BACKING_LIMIT_MOUNT] = {"the pool's mount has 6 free pages of 2M",
				 "raise its size=",
				 {"nr_hugepages", "free memory"}},
	[BACKING_LIMIT_SHARED_MOUNT] =
		{"the pool's mount has 6 free pages of 2M, and 2 pages of it are in files of other",
		 "delete files of other programs there",
		 {"nr_hugepages", "free memory"}},
};

static void shortage_of_every_limit_says_what_helps(void **state)
{
	(void)state;
	for (unsigned i = 0; i < BACKING_N_LIMITS; i++) {
		struct backing_shortage shortage = {.limit = (enum backing_limit)i,
						    .node = 3,
						    .missing_pages = 1,
						    .allowed_bytes = 128 * MIB,
						    .left_bytes = 12 * MIB,
						    .kept_bytes = 5 * MIB,
						    .foreign_bytes = 4 * MIB,
						    .path = "/a/b"};
		char words[SHORTAGE_WORDS_MAX];
		const char *fact, *advice;

		assert_non_null(rows[i].fact); /* a row a limit */
		fact = strstr(shortage_format(&shortage, 2 * MIB, words, sizeof(words)), rows[i].fact);
		advice = fact ? strstr(fact, ": ") : NULL;
		if (!advice || !strstr(advice, rows[i].advice))
			fail_msg("limit %u: \"%s: %s\" is not in \"%s\"", i, rows[i].fact, rows[i].advice,
				 words);
		assert_null(strchr(words, '%'));
		for (unsigned k = 0; k < 2 && rows[i].never[k]; k++)
			if (strstr(advice, rows[i].never[k]))
				fail_msg("limit %u: \"%s\" misleads in \"%s\"", i, rows[i].never[k], words);
	}
}

/* The longest of paths and numbers: whole clauses, advice included. */
static void shortage_of_long_paths_keeps_its_advice(void **state)
{
	char path[2 * BACKING_SHORTAGE_PATH_MAX], words[SHORTAGE_WORDS_MAX];

	(void)state;
	memset(path, 'x', sizeof(path));
	path[sizeof(path) - 1] = 0;
	for (unsigned i = 0; i < BACKING_N_LIMITS; i++) {
		struct backing_shortage shortage = {.limit = (enum backing_limit)i,
						    .node = 1023,
						    .allowed_bytes = INT64_MAX,
						    .left_bytes = INT64_MAX,
						    .kept_bytes = INT64_MAX,
						    .foreign_bytes = INT64_MAX};

		shortage_set_path(&shortage, path);
		assert_non_null(
			strstr(shortage_format(&shortage, 4096, words, sizeof(words)), rows[i].advice));
		assert_true(strlen(words) < sizeof(words) - 1);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shortage_of_every_limit_says_what_helps),
		cmocka_unit_test(shortage_of_long_paths_keeps_its_advice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* shortage.c - see shortage.h. A limit's two clauses, what is so and what to do, stand in one table. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/backing/shortage.h"
#include "daemon/base/size.h"

#define KIB (UINT64_C(1) << 10)

/* In a fact, %P is the cgroup's path, %N the node, %A what is allowed, %L what is left, %K what is kept, and
 * %S the size of a page. %F is how many pages are left, %O how many other programs have. */
static const struct {
	const char *fact, *advice;
} limits[BACKING_N_LIMITS] = {
	[BACKING_LIMIT_UNKNOWN] = {"the kernel has not that much memory", "free memory, or ask for less"},
	[BACKING_LIMIT_HOST] = {"the host has %L available and keeps %K", "free memory, or ask for less"},
	[BACKING_LIMIT_NODE] = {"NUMA node %N has %L available and keeps %K",
				"free memory there, or ask for less"},
	[BACKING_LIMIT_CPUSET] = {"the NUMA nodes that the daemon may use have %L available and keep %K",
				  "free memory there, or allow the daemon more nodes"},
	[BACKING_LIMIT_COMMIT] =
		{"vm.overcommit_memory is 2, and %L of the %A that may be committed are left",
		 "raise vm.overcommit_ratio, or free memory"},
	[BACKING_LIMIT_CGROUP] = {"the memory cgroup %P allows %A, has %L left and keeps %K",
				  "raise its limit, or free memory in it"},
	[BACKING_LIMIT_ADDRESSES] = {"the daemon's limit of addresses (RLIMIT_AS) is %A",
				     "start it with a higher one (ulimit -v, LimitAS=), or ask for less"},
	[BACKING_LIMIT_MAPPINGS] = {"the kernel lets the daemon map no more",
				    "raise vm.max_map_count, or free some"},
	[BACKING_LIMIT_FILE_SIZE] = {"the daemon's limit of a file's size (RLIMIT_FSIZE) is %A",
				     "start it with a higher one (ulimit -f, LimitFSIZE=)"},
	[BACKING_LIMIT_HUGETLB_CGROUP] = {"the hugetlb cgroup %P allows %A of pages of %S and has %L left",
					  "raise its limit, or ask for less"},
	[BACKING_LIMIT_HUGEPAGES] = {"the kernel has %F free pages of %S",
				     "raise nr_hugepages, or set grow for the pool"},
	[BACKING_LIMIT_NODE_HUGEPAGES] = {"NUMA node %N has %F free pages of %S",
					  "raise its nr_hugepages, or ask for less"},
	[BACKING_LIMIT_RAISE_RIGHT] = {"the kernel has %F free pages of %S, and the daemon may not write "
				       "nr_hugepages",
				       "raise nr_hugepages, or start the daemon as root"},
	[BACKING_LIMIT_FRAGMENTED] = {"the kernel has %F free pages of %S, and found no more of them in one "
				      "piece",
				      "free memory, ask for less, or raise nr_hugepages at boot"},
	[BACKING_LIMIT_RAISED] = {"the kernel has %F free pages of %S, and the pool may have it raised by %A "
				  "(its max), which others have taken",
				  "end what else takes hugepages, or raise nr_hugepages"},
	[BACKING_LIMIT_MOUNT] = {"the pool's mount has %F free pages of %S",
				 "free some there, or raise its size= (of its own: the pool's max)"},
	[BACKING_LIMIT_SHARED_MOUNT] =
		{"the pool's mount has %F free pages of %S, and %O pages of it are in files of other "
		 "programs, or were added to the pool's files by clients",
		 "delete files of other programs there, or raise the pool's max"},
};

void shortage_set_path(struct backing_shortage *shortage, const char *path)
{
	size_t length = strlen(path);

	if (length < sizeof(shortage->path))
		snprintf(shortage->path, sizeof(shortage->path), "%s", path);
	else
		snprintf(shortage->path, sizeof(shortage->path), "...%s",
			 path + length - (sizeof(shortage->path) - sizeof("...")));
}

/* A size that people can read: rounded down to the largest unit of which it has ten. */
static char *about(uint64_t bytes, char word[SIZE_WORD_MAX])
{
	uint64_t unit = 1;

	while (bytes / unit >= 10 * KIB)
		unit *= KIB;
	return size_format(bytes / unit * unit, word);
}

/* What stands for %`letter`. */
static const char *value_of(const struct backing_shortage *shortage, char letter, uint64_t page_bytes,
			    char word[SIZE_WORD_MAX])
{
	switch (letter) {
	case 'P':
		return shortage->path;
	case 'N':
		snprintf(word, SIZE_WORD_MAX, "%d", shortage->node);
		return word;
	case 'A':
		return about(shortage->allowed_bytes, word);
	case 'L':
		return about(shortage->left_bytes, word);
	case 'K':
		return about(shortage->kept_bytes, word);
	case 'F':
		snprintf(word, SIZE_WORD_MAX, "%" PRIu64, shortage->left_bytes / page_bytes);
		return word;
	case 'O':
		snprintf(word, SIZE_WORD_MAX, "%" PRIu64, shortage->foreign_bytes / page_bytes);
		return word;
	default:
		return size_format(page_bytes, word);
	}
}

char *shortage_format(const struct backing_shortage *shortage, uint64_t page_bytes, char *words, size_t size)
{
	const char *from = limits[shortage->limit].fact;
	size_t used = 0;

	while (*from && used < size) {
		size_t plain = strcspn(from, "%");
		char word[SIZE_WORD_MAX];

		used += (size_t)snprintf(words + used, size - used, "%.*s", (int)plain, from);
		from += plain;
		if (*from != '%' || used >= size)
			continue;
		used += (size_t)snprintf(words + used, size - used, "%s",
					 value_of(shortage, from[1], page_bytes, word));
		from += 2;
	}
	if (used < size)
		snprintf(words + used, size - used, ": %s", limits[shortage->limit].advice);
	return words;
}

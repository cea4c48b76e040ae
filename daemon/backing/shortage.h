/* shortage.h - what limits the memory that can be taken, with the numbers, and the sentence about it.
 *
 * Whoever finds a limit fills one in; the layers above carry it to whoever asked, untouched. A plain value:
 * no pointers, no system calls.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum backing_limit {
	BACKING_LIMIT_UNKNOWN,
	BACKING_LIMIT_HOST,           /* memory of the host that can be had without swapping */
	BACKING_LIMIT_NODE,           /* the same of one NUMA node */
	BACKING_LIMIT_CPUSET,         /* the same of the nodes that this process may use */
	BACKING_LIMIT_COMMIT,         /* vm.overcommit_memory is 2 */
	BACKING_LIMIT_CGROUP,         /* a memory cgroup that this process is in */
	BACKING_LIMIT_ADDRESSES,      /* RLIMIT_AS */
	BACKING_LIMIT_MAPPINGS,       /* vm.max_map_count */
	BACKING_LIMIT_FILE_SIZE,      /* RLIMIT_FSIZE */
	BACKING_LIMIT_HUGETLB_CGROUP, /* a hugetlb cgroup that this process is in */
	BACKING_LIMIT_HUGEPAGES, /* free pages of that size, and the pool may not have the kernel make more */
	BACKING_LIMIT_NODE_HUGEPAGES, /* the same of the pool's NUMA node */
	BACKING_LIMIT_RAISE_RIGHT,    /* this process may not write nr_hugepages */
	BACKING_LIMIT_FRAGMENTED,     /* the kernel was asked for more hugepages, and found too few */
	BACKING_LIMIT_RAISED,         /* the pool has raised nr_hugepages by its max already */
	BACKING_LIMIT_MOUNT,          /* size= of the pool's mount */
	BACKING_LIMIT_SHARED_MOUNT,   /* the same, and other programs have taken some of it */
	BACKING_N_LIMITS
};

#define BACKING_SHORTAGE_PATH_MAX 96

struct backing_shortage {
	enum backing_limit limit;
	int node;                             /* of the two limits of a node */
	uint64_t missing_pages;               /* of what was asked for; at least 1 */
	uint64_t allowed_bytes;               /* by the limit */
	uint64_t left_bytes;                  /* of that, before what is kept */
	uint64_t kept_bytes;                  /* of that, for everybody else */
	uint64_t foreign_bytes;               /* of a shared mount: what other programs have taken */
	char path[BACKING_SHORTAGE_PATH_MAX]; /* of the two cgroups; its end where it is longer */
};

/* "the memory cgroup /x allows 128M and has 12M left: raise its limit, or free memory in it", in a clause
 * that can follow a colon. Cut to `size`. Returns `words`. */
char *shortage_format(const struct backing_shortage *shortage, uint64_t page_bytes, char *words, size_t size);
#define SHORTAGE_WORDS_MAX 288

/* Keep the end of `path`, which tells more than its start. */
void shortage_set_path(struct backing_shortage *shortage, const char *path);

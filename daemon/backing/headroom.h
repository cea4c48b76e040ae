/* headroom.h - how much memory this process may still take before the host, a node or a cgroup is short.
 *
 * The kernel does not refuse memory that it has not got: it kills, often somebody else, since what is taken
 * for a file is in nobody's RSS. So whoever is about to take memory looks here first, again for every slice,
 * and leaves a reserve. Between the look and the taking others may take too: the reserve is for that as well.
 *
 * Looked at: MemAvailable; the NUMA node, if all is to come from one; the nodes of the cpuset; what may be
 * committed, under vm.overcommit_memory=2; and each memory cgroup up the tree, of version 1 (the limits of
 * memory, and of memory and swap) and 2 (max and high), with inactive file pages counted as free. Hugepages
 * are taken out of the host's memory when nr_hugepages is raised (HEADROOM_RAISE), not when they are put into
 * a file (HEADROOM_HUGEPAGES): that only hugetlb cgroups limit, and memory cgroups where cgroup2 is mounted
 * with memory_hugetlb_accounting. What is put into a file will be mapped: RLIMIT_AS counts, too.
 *
 * Thread-safe; no state but the host's reserve. Takes a tenth of a millisecond.
 */
#pragma once

#include <stdint.h>

#include "daemon/backing/shortage.h"

enum headroom_use {
	HEADROOM_BASE_PAGES, /* pages of the base size, into a file */
	HEADROOM_RAISE,      /* memory that the kernel shall make hugepages of */
	HEADROOM_HUGEPAGES,  /* hugepages that there are, into a file */
};

struct headroom_request {
	enum headroom_use use;
	int node;                /* that all must come from; -1: any */
	uint64_t page_bytes;     /* of hugepages */
	uint64_t unmapped_bytes; /* taken before, and not mapped yet */
	const char *root;        /* stands before all paths: "" but in tests */
};

/* How many bytes may be taken, and which limit is the nearest (*ret_shortage, without missing_pages). Returns
 * 0, with UINT64_MAX where nothing limits; or negative errno: for want of descriptors or memory nobody could
 * look. */
int headroom_look(const struct headroom_request *request, uint64_t *ret_bytes,
		  struct backing_shortage *ret_shortage);

/* What the host keeps: UINT64_MAX, which it is at first, for a twentieth of its memory, 64 MiB at least. A
 * node keeps its part of that. */
void headroom_set_host_reserve(uint64_t bytes);

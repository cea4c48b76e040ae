/* cgroup.h - the directories of the cgroups that this process is in, of versions 1 and 2.
 *
 * A process that is moved is in other ones, so nothing is kept: each walk reads /proc anew. No state.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

struct cgroup_hierarchy {
	const char *controller; /* "memory", "hugetlb"; "": version 2, which has one hierarchy for all */
	const char *option;     /* NULL, or a mount option that the hierarchy must have */
};

/* Call `visit` for the cgroup of this process in that hierarchy and for each one above it that can be seen:
 * `directory` is where it is mounted, `name` what the cgroup is called there ("/" at the top). It stops when
 * `visit` returns another value than 0, and returns that. 0: all were visited, or the hierarchy is not
 * mounted; or negative errno: /proc could not be read, for want of descriptors or memory. `root` stands
 * before every path: "" but in tests. */
int cgroup_walk(const char *root, const struct cgroup_hierarchy *hierarchy,
		int (*visit)(void *arg, const char *directory, const char *name), void *arg);

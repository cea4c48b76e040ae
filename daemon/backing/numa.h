/* numa.h - pages from one NUMA node: the calling thread's memory policy while it fills a file. */
#pragma once

#define NUMA_ANY_NODE (-1)

/* Is there such a node, and a kernel that can bind to it? 0, -ENODEV: no such node, or -ENOSYS. */
int numa_check_node(int node);

/* What this thread allocates comes from `node` as long as it has memory, until numa_leave(). NUMA_ANY_NODE:
 * nothing changes. A negative errno: nothing has changed. */
int numa_enter(int node);
void numa_leave(int node);

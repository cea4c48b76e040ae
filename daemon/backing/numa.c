/* numa.c - see numa.h. fallocate takes pages by the policy of the thread that calls it, for hugetlb and shmem
 * alike. A node that is bound and full is the OOM killer's business, with memory left on others; one that is
 * preferred is not. */
#include <config.h>

#include <errno.h>
#include <linux/mempolicy.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/backing/nodes.h"
#include "daemon/backing/numa.h"
#include "daemon/base/assert.h"

#define WORD_BITS (8 * sizeof(unsigned long))

static int set_policy(int mode, const unsigned long *nodes)
{
	return syscall(SYS_set_mempolicy, mode, nodes, nodes ? NODES_MAX + 1 : 0) == 0 ? 0 : -errno;
}

int numa_check_node(int node)
{
	char path[64];
	int r;

	if (node < 0 || node >= NODES_MAX)
		return -ENODEV;
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%d", node);
	if (access(path, F_OK) != 0)
		return -ENODEV;
	r = numa_enter(node);
	if (r == 0)
		numa_leave(node);
	return r;
}

int numa_enter(int node)
{
	unsigned long nodes[NODES_MAX / WORD_BITS];

	if (node == NUMA_ANY_NODE)
		return 0;
	hp_assert(node >= 0 && node < NODES_MAX);
	memset(nodes, 0, sizeof(nodes));
	nodes[(unsigned)node / WORD_BITS] |= 1ul << (unsigned)node % WORD_BITS;
	return set_policy(MPOL_PREFERRED, nodes);
}

void numa_leave(int node)
{
	if (node != NUMA_ANY_NODE)
		set_policy(MPOL_DEFAULT, NULL);
}

/* headroom.c - see headroom.h. Every limit that is looked at is one call of consider(). */
#include <config.h>

#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/backing/cgroup.h"
#include "daemon/backing/headroom.h"
#include "daemon/backing/readfile.h"
#include "daemon/base/size.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)

#define HOST_SHARE       20 /* the host keeps this part of its memory */
#define HOST_LEAST       (64 * MIB)
#define CGROUP_SHARE     16 /* a cgroup this part of its limit, for page tables and the daemon's own */
#define CGROUP_LEAST     (4 * MIB)
#define CGROUP_MOST      (64 * MIB)
#define ADDRESSES_LEAST  (8 * MIB) /* for the daemon's own */
#define CGROUP_MOST_PART 4         /* but no more than this part */

static _Atomic uint64_t host_reserve_bytes = UINT64_MAX;

void headroom_set_host_reserve(uint64_t bytes)
{
	atomic_store(&host_reserve_bytes, bytes);
}

/* A look under way: the nearest limit so far. */
struct look {
	const struct headroom_request *request;
	uint64_t usable_bytes;
	struct backing_shortage nearest;
};

static uint64_t minus_or_zero(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* A limit of which `left` bytes are left, and `kept` shall be. `path`: a cgroup's, or NULL. */
static void consider(struct look *look, enum backing_limit limit, uint64_t allowed, uint64_t left,
		     uint64_t kept, const char *path)
{
	const uint64_t usable = minus_or_zero(left, kept);

	if (usable >= look->usable_bytes)
		return;
	look->usable_bytes = usable;
	look->nearest = (struct backing_shortage){.limit = limit,
						  .node = look->request->node,
						  .allowed_bytes = allowed,
						  .left_bytes = left,
						  .kept_bytes = kept};
	if (path)
		shortage_set_path(&look->nearest, path);
}

/* ---- the host and its nodes ---- */

static uint64_t host_reserve(uint64_t total)
{
	const uint64_t set = atomic_load(&host_reserve_bytes);

	if (set != UINT64_MAX)
		return set;
	return total / HOST_SHARE > HOST_LEAST ? total / HOST_SHARE : HOST_LEAST;
}

/* What `part` of the host's memory keeps. */
static uint64_t part_of_reserve(uint64_t part, uint64_t total)
{
	return (uint64_t)((double)host_reserve(total) * (double)part / (double)total);
}

static uint64_t find_kib(const char *text, const char *key)
{
	uint64_t kib = 0;

	return readfile_find(text, key, &kib) ? kib * KIB : 0;
}

static int read_below(const struct look *look, const char *path, char text[READFILE_MAX])
{
	char whole[PATH_MAX];

	snprintf(whole, sizeof(whole), "%s%s", look->request->root, path);
	return readfile_text(whole, text);
}

/* A node's memory, and what of it can be had: free, or easily freed. Added to both sums. */
static int add_node(const struct look *look, unsigned node, uint64_t *total, uint64_t *left)
{
	char path[64], text[READFILE_MAX];
	int r;

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/meminfo", node);
	r = read_below(look, path, text);
	if (r > 0) {
		*total += find_kib(text, "MemTotal");
		*left += find_kib(text, "MemFree") + find_kib(text, "Active(file)") +
			 find_kib(text, "Inactive(file)") + find_kib(text, "SReclaimable") / 2;
	}
	return r;
}

/* A list such as "0-3,7": all its nodes. */
static int add_nodes(const struct look *look, const char *list, uint64_t *total, uint64_t *left)
{
	int r = 1;

	while (*list >= '0' && *list <= '9' && r >= 0) {
		char *end;
		unsigned long first = strtoul(list, &end, 10), last = first;

		if (*end == '-')
			last = strtoul(end + 1, &end, 10);
		for (unsigned long node = first; node <= last && r >= 0; node++)
			r = add_node(look, (unsigned)node, total, left);
		list = *end == ',' ? end + 1 : end;
	}
	return r;
}

/* The nodes that this process may use, if these are not all. */
static int look_at_cpuset(struct look *look, uint64_t host_total)
{
	char status[READFILE_MAX], online[READFILE_MAX], *allowed;
	uint64_t total = 0, left = 0;
	int r = read_below(look, "/proc/self/status", status);

	if (r > 0)
		r = read_below(look, "/sys/devices/system/node/has_memory", online);
	if (r <= 0)
		return r;
	allowed = strstr(status, "\nMems_allowed_list:");
	if (!allowed)
		return 0;
	allowed += strcspn(allowed, "\t ");
	allowed += strspn(allowed, "\t ");
	allowed[strcspn(allowed, "\n")] = '\0';
	online[strcspn(online, "\n")] = '\0';
	if (strcmp(allowed, online) == 0)
		return 0;
	r = add_nodes(look, allowed, &total, &left);
	if (r >= 0 && total > 0 && total < host_total)
		consider(look, BACKING_LIMIT_CPUSET, total, left, part_of_reserve(total, host_total), NULL);
	return r;
}

static int look_at_commit(struct look *look, const char *meminfo)
{
	char text[READFILE_MAX];
	const uint64_t limit = find_kib(meminfo, "CommitLimit");
	int r = read_below(look, "/proc/sys/vm/overcommit_memory", text);

	if (r > 0 && text[0] == '2' && look->request->use == HEADROOM_BASE_PAGES)
		consider(look, BACKING_LIMIT_COMMIT, limit,
			 minus_or_zero(limit, find_kib(meminfo, "Committed_AS")), 0, NULL);
	return r;
}

static int look_at_host(struct look *look)
{
	char meminfo[READFILE_MAX];
	uint64_t total, node_total = 0, node_left = 0;
	int r = read_below(look, "/proc/meminfo", meminfo);

	if (r <= 0)
		return r;
	total = find_kib(meminfo, "MemTotal");
	if (total > 0)
		consider(look, BACKING_LIMIT_HOST, total, find_kib(meminfo, "MemAvailable"),
			 host_reserve(total), NULL);
	if (look->request->node >= 0)
		r = add_node(look, (unsigned)look->request->node, &node_total, &node_left);
	if (node_total > 0 && total > 0)
		consider(look, BACKING_LIMIT_NODE, node_total, node_left, part_of_reserve(node_total, total),
			 NULL);
	if (r >= 0)
		r = look_at_cpuset(look, total);
	return r < 0 ? r : look_at_commit(look, meminfo);
}

/* ---- cgroups ---- */

/* A pair of files in a cgroup's directory. %s: the size of hugepages, "2MB". */
struct cgroup_limit {
	const char *limit, *usage;
	const char *reclaimable; /* in memory.stat: counts as free; NULL: nothing does */
};

static const struct cgroup_limit memory_v1[] = {
	{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"},
	{"memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes", "total_inactive_file"},
	{NULL, NULL, NULL},
};
static const struct cgroup_limit memory_v2[] = {
	{"memory.max", "memory.current", "inactive_file"},
	{"memory.high", "memory.current", "inactive_file"},
	{NULL, NULL, NULL},
};
static const struct cgroup_limit hugetlb_v1[] = {
	{"hugetlb.%s.limit_in_bytes", "hugetlb.%s.usage_in_bytes", NULL},
	{"hugetlb.%s.rsvd.limit_in_bytes", "hugetlb.%s.rsvd.usage_in_bytes", NULL},
	{NULL, NULL, NULL},
};
static const struct cgroup_limit hugetlb_v2[] = {
	{"hugetlb.%s.max", "hugetlb.%s.current", NULL},
	{"hugetlb.%s.rsvd.max", "hugetlb.%s.rsvd.current", NULL},
	{NULL, NULL, NULL},
};

/* Where to look, and for what. */
static const struct cgroup_kind {
	struct cgroup_hierarchy hierarchy;
	const struct cgroup_limit *limits;
	enum backing_limit limit;
	enum headroom_use use;
} kinds[] = {
	{{"memory", NULL}, memory_v1, BACKING_LIMIT_CGROUP, HEADROOM_BASE_PAGES},
	{{"", NULL}, memory_v2, BACKING_LIMIT_CGROUP, HEADROOM_BASE_PAGES},
	{{"hugetlb", NULL}, hugetlb_v1, BACKING_LIMIT_HUGETLB_CGROUP, HEADROOM_HUGEPAGES},
	{{"", NULL}, hugetlb_v2, BACKING_LIMIT_HUGETLB_CGROUP, HEADROOM_HUGEPAGES},
	{{"", "memory_hugetlb_accounting"}, memory_v2, BACKING_LIMIT_CGROUP, HEADROOM_HUGEPAGES},
};

struct cgroup_look {
	struct look *look;
	const struct cgroup_kind *kind;
};

static uint64_t cgroup_reserve(uint64_t limit)
{
	uint64_t share = limit / CGROUP_SHARE;

	share = share < CGROUP_LEAST ? CGROUP_LEAST : share > CGROUP_MOST ? CGROUP_MOST : share;
	return share < limit / CGROUP_MOST_PART ? share : limit / CGROUP_MOST_PART;
}

/* The kernel's word for a size of hugepages in these names: "64KB", "2MB", "1GB". */
static const char *hugetlb_word(uint64_t page_bytes, char word[SIZE_WORD_MAX + 1])
{
	size_format(page_bytes, word);
	return strcat(word, "B");
}

/* 1 and the number; 0: there is no such file; or negative errno. */
static int read_cgroup(const struct cgroup_look *at, const char *directory, const char *name, uint64_t *ret)
{
	char file[128], path[PATH_MAX + sizeof(file)], word[SIZE_WORD_MAX + 1];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(file, sizeof(file), name, hugetlb_word(at->look->request->page_bytes, word));
#pragma GCC diagnostic pop
	snprintf(path, sizeof(path), "%s/%s", directory, file);
	return readfile_number(path, ret);
}

static int read_reclaimable(const char *directory, const char *key, uint64_t *ret)
{
	char path[PATH_MAX + 16], text[READFILE_MAX];
	int r;

	*ret = 0;
	snprintf(path, sizeof(path), "%s/memory.stat", directory);
	r = readfile_text(path, text);
	if (r > 0)
		(void)readfile_find(text, key, ret);
	return r;
}

static int look_at_limit(const struct cgroup_look *at, const char *directory, const char *name,
			 const struct cgroup_limit *files)
{
	const bool is_memory = at->kind->limit == BACKING_LIMIT_CGROUP;
	uint64_t limit, usage, reclaimable = 0;
	int r = read_cgroup(at, directory, files->limit, &limit);

	if (r <= 0 || limit == UINT64_MAX)
		return r;
	r = read_cgroup(at, directory, files->usage, &usage);
	if (r > 0 && files->reclaimable)
		r = read_reclaimable(directory, files->reclaimable, &reclaimable);
	if (r < 0)
		return r;
	consider(at->look, at->kind->limit, limit, minus_or_zero(limit, minus_or_zero(usage, reclaimable)),
		 is_memory ? cgroup_reserve(limit) : 0, name);
	return 0;
}

static int look_at_cgroup(void *arg, const char *directory, const char *name)
{
	const struct cgroup_look *at = arg;
	int r = 0;

	for (const struct cgroup_limit *files = at->kind->limits; files->limit && r >= 0; files++)
		r = look_at_limit(at, directory, name, files);
	return r < 0 ? r : 0;
}

/* What this process may still map; for all but the kernel's own raising. */
static int look_at_addresses(struct look *look)
{
	struct rlimit limit;
	char text[READFILE_MAX];
	uint64_t used;
	int r;

	if (look->request->use == HEADROOM_RAISE || getrlimit(RLIMIT_AS, &limit) != 0 ||
	    limit.rlim_cur == RLIM_INFINITY)
		return 0;
	r = readfile_text("/proc/self/statm", text);
	if (r <= 0)
		return r;
	used = strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) + look->request->unmapped_bytes;
	consider(look, BACKING_LIMIT_ADDRESSES, limit.rlim_cur, minus_or_zero(limit.rlim_cur, used),
		 ADDRESSES_LEAST, NULL);
	return 0;
}

int headroom_look(const struct headroom_request *request, uint64_t *ret_bytes,
		  struct backing_shortage *ret_shortage)
{
	struct look look = {.request = request, .usable_bytes = UINT64_MAX};
	int r = request->use == HEADROOM_HUGEPAGES ? 0 : look_at_host(&look);

	if (r >= 0)
		r = look_at_addresses(&look);
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(kinds[0]) && r >= 0; i++) {
		struct cgroup_look at = {.look = &look, .kind = &kinds[i]};

		if (kinds[i].use == request->use)
			r = cgroup_walk(request->root, &kinds[i].hierarchy, look_at_cgroup, &at);
	}
	if (r < 0)
		return r;
	*ret_bytes = look.usable_bytes;
	*ret_shortage = look.nearest;
	return 0;
}

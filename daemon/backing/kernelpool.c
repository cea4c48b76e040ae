/* kernelpool.c - see the header.
 *
 * What an operator sets is the number of persistent pages: nr_hugepages when it is written. When it is read
 * the surplus is in it. So raised pages are counted in persistent ones, and what the kernel got in all of its
 * pages.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/backing/headroom.h"
#include "daemon/backing/kernelpool.h"
#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/size.h"

#define HUGEPAGES_DIRECTORY "/sys/kernel/mm/hugepages"
#define MAX_PAGE_SIZES      16 /* arm64 has four, no architecture more than eight */
#define READ_ATTEMPTS       8

static struct kernelpool pools[MAX_PAGE_SIZES]; /* constant after list_once, what is in them apart */
static size_t n_pools;
static pthread_once_t list_once = PTHREAD_ONCE_INIT;

static int compare_page_bytes(const void *a, const void *b)
{
	const struct kernelpool *left = a, *right = b;

	return (left->page_bytes > right->page_bytes) - (left->page_bytes < right->page_bytes);
}

static void list_pools(void)
{
	struct dirent *entry;
	DIR *directory;

	directory = opendir(HUGEPAGES_DIRECTORY);
	if (!directory)
		return;
	while (n_pools < MAX_PAGE_SIZES && (entry = readdir(directory))) {
		uint64_t kib;

		if (sscanf(entry->d_name, "hugepages-%" SCNu64 "kB", &kib) == 1)
			pools[n_pools++].page_bytes = kib * 1024;
	}
	closedir(directory);

	qsort(pools, n_pools, sizeof(pools[0]), compare_page_bytes);
	for (size_t i = 0; i < n_pools; i++)
		lock_init(&pools[i].lock, LOCK_KERNEL);
}

struct kernelpool *kernelpool_find(uint64_t page_bytes)
{
	hp_assert(pthread_once(&list_once, list_pools) == 0);
	for (size_t i = 0; i < n_pools; i++)
		if (pools[i].page_bytes == page_bytes)
			return &pools[i];
	return NULL;
}

char *kernelpool_size_words(char *words, size_t size)
{
	char word[SIZE_WORD_MAX];
	size_t used;

	hp_assert(pthread_once(&list_once, list_pools) == 0);
	used = (size_t)snprintf(words, size, "%s", size_format((uint64_t)sysconf(_SC_PAGESIZE), word));
	for (size_t i = 0; i < n_pools && used < size; i++)
		used += (size_t)snprintf(words + used, size - used, ", %s",
					 size_format(pools[i].page_bytes, word));
	return words;
}

static int open_counter(const struct kernelpool *pool, const char *name, int flags)
{
	char path[128];
	int fd;

	snprintf(path, sizeof(path), HUGEPAGES_DIRECTORY "/hugepages-%" PRIu64 "kB/%s",
		 pool->page_bytes / 1024, name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int read_counter(const struct kernelpool *pool, const char *name, uint64_t *ret)
{
	_cleanup_close_ int fd = open_counter(pool, name, O_RDONLY);
	char digits[32];
	ssize_t n;

	if (fd < 0)
		return fd;
	n = read(fd, digits, sizeof(digits) - 1);
	if (n < 0)
		return -errno;
	digits[n] = '\0';
	*ret = strtoull(digits, NULL, 10);
	return 0;
}

static int write_nr_hugepages(const struct kernelpool *pool, uint64_t n_pages)
{
	_cleanup_close_ int fd = open_counter(pool, "nr_hugepages", O_WRONLY);

	if (fd < 0)
		return fd;
	return dprintf(fd, "%" PRIu64, n_pages) < 0 ? -errno : 0;
}

int kernelpool_read(struct kernelpool *pool, struct backing_kernel_counts *ret)
{
	struct backing_kernel_counts counts = {.raised_pages = pool->raised_pages};
	uint64_t total_again;

	lock_assert_held(&pool->lock);
	/* Each counter is a file of its own: read until the total stood still around the others. */
	for (int attempt = 0; attempt < READ_ATTEMPTS; attempt++) {
		int r;

		if ((r = read_counter(pool, "nr_hugepages", &counts.total_pages)) < 0 ||
		    (r = read_counter(pool, "free_hugepages", &counts.free_pages)) < 0 ||
		    (r = read_counter(pool, "resv_hugepages", &counts.reserved_pages)) < 0 ||
		    (r = read_counter(pool, "surplus_hugepages", &counts.surplus_pages)) < 0 ||
		    (r = read_counter(pool, "nr_hugepages", &total_again)) < 0)
			return r;
		if (total_again == counts.total_pages && counts.free_pages <= counts.total_pages &&
		    counts.surplus_pages <= counts.total_pages) {
			*ret = counts;
			return 0;
		}
	}
	return -EAGAIN;
}

int kernelpool_used(struct kernelpool *pool, uint64_t *ret_used_pages)
{
	struct backing_kernel_counts counts;
	int r;

	r = kernelpool_read(pool, &counts);
	if (r < 0)
		return r;
	*ret_used_pages = counts.total_pages - counts.free_pages;
	return 0;
}

static uint64_t persistent_pages(const struct backing_kernel_counts *counts)
{
	return counts->total_pages - counts->surplus_pages;
}

/* Pages that are free and promised to nobody, in bytes. */
static uint64_t free_bytes(const struct kernelpool *pool, const struct backing_kernel_counts *counts)
{
	return counts->free_pages > counts->reserved_pages
		       ? (counts->free_pages - counts->reserved_pages) * pool->page_bytes
		       : 0;
}

/* Asked for more than there is, the kernel takes all there is from everybody before it gives up. */
static int look(const struct kernelpool *pool, uint64_t n_pages, struct backing_shortage *ret_shortage)
{
	const struct headroom_request request = {
		.use = HEADROOM_RAISE, .node = -1, .page_bytes = pool->page_bytes, .root = ""};
	struct backing_shortage shortage;
	uint64_t usable;
	int r = headroom_look(&request, &usable, &shortage);

	if (r < 0 || usable / pool->page_bytes >= n_pages)
		return r;
	*ret_shortage = shortage;
	return BACKING_SHORT;
}

int kernelpool_raise(struct kernelpool *pool, uint64_t n_pages, uint64_t *ret_raised_pages,
		     struct backing_shortage *ret_shortage)
{
	struct backing_kernel_counts before, after;
	uint64_t raised = 0;

	*ret_shortage = (struct backing_shortage){.limit = BACKING_LIMIT_UNKNOWN};
	if (look(pool, n_pages, ret_shortage) != 0 || kernelpool_read(pool, &before) < 0)
		return BACKING_SHORT;
	ret_shortage->left_bytes = free_bytes(pool, &before);
	if (write_nr_hugepages(pool, before.total_pages + n_pages) < 0) {
		ret_shortage->limit = BACKING_LIMIT_RAISE_RIGHT;
		return BACKING_SHORT;
	}
	after = before;
	after.total_pages += n_pages;
	(void)kernelpool_read(pool, &after); /* else we take its word for it */

	if (persistent_pages(&after) > persistent_pages(&before))
		raised = persistent_pages(&after) - persistent_pages(&before);
	pool->raised_pages += raised;
	if (after.total_pages < before.total_pages + n_pages) {
		kernelpool_lower(pool, raised);
		ret_shortage->limit = BACKING_LIMIT_FRAGMENTED;
		return BACKING_SHORT;
	}
	*ret_raised_pages = raised;
	return 0;
}

uint64_t kernelpool_lower(struct kernelpool *pool, uint64_t raised_pages)
{
	struct backing_kernel_counts before, after;
	uint64_t persistent, target;

	hp_assert(raised_pages <= pool->raised_pages);
	if (raised_pages == 0 || kernelpool_read(pool, &before) < 0)
		return 0;
	persistent = persistent_pages(&before);
	target = persistent > raised_pages ? persistent - raised_pages : 0;
	if (write_nr_hugepages(pool, target) < 0)
		return 0;
	pool->raised_pages -= raised_pages;
	if (kernelpool_read(pool, &after) < 0 || after.total_pages >= before.total_pages)
		return 0;
	return before.total_pages - after.total_pages;
}

uint64_t kernelpool_lower_all(void)
{
	uint64_t not_left = 0;

	hp_assert(pthread_once(&list_once, list_pools) == 0);
	for (size_t i = 0; i < n_pools; i++) {
		struct kernelpool *pool = &pools[i];
		uint64_t raised, left;

		lock_take(&pool->lock);
		raised = pool->raised_pages;
		left = kernelpool_lower(pool, raised);
		not_left += raised > left ? raised - left : 0;
		lock_drop(&pool->lock);
	}
	return not_left;
}

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
	struct backing_kernel_counts counts = {.raised_pages = pool->raised.pages};
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

/* ---- what is raised ---- */

/* From before the counters are read until after they are changed: no other daemon changes them in between. */
struct change {
	int fd;
	struct backing_kernel_counts before;
};

/* Whoever but a daemon has lowered nr_hugepages has set it to what it is to be: what we had raised is not
 * there any more, and not ours to give back. */
static void settle_with_operator(struct kernelpool *pool, uint64_t persistent)
{
	struct fellows *fellows = &pool->fellows;

	if (fellows->raised_pages > 0 && persistent < fellows->left_pages) {
		fellows->era = fellows_draw_era();
		fellows->raised_pages = 0;
	}
	if (pool->raised.pages > 0 && pool->raised.era != fellows->era)
		raised_forget(&pool->raised);
	pool->raised.era = fellows->era;
}

static int begin_change(struct kernelpool *pool, struct change *change)
{
	int r;

	if (pool->fellows.era == 0)
		pool->fellows.era = pool->raised.pages > 0 ? pool->raised.era : fellows_draw_era();
	change->fd = fellows_begin(pool->page_bytes, &pool->fellows);
	r = kernelpool_read(pool, &change->before);
	if (r < 0) {
		fellows_end(change->fd, pool->page_bytes, &pool->fellows);
		return r;
	}
	settle_with_operator(pool, persistent_pages(&change->before));
	return 0;
}

static void end_change(struct kernelpool *pool, struct change *change, uint64_t left_pages)
{
	pool->fellows.left_pages = left_pages;
	fellows_end(change->fd, pool->page_bytes, &pool->fellows);
}

static void count_change(struct fellows *fellows, int64_t change)
{
	if (change < 0 && fellows->raised_pages < (uint64_t)-change)
		fellows->raised_pages = 0;
	else
		fellows->raised_pages += (uint64_t)change;
}

/* nr_hugepages from what it is to what it is to be, the account along with it. Returns 0 and the counts after
 * that, or negative errno: nothing has changed. */
static int set_persistent(struct kernelpool *pool, struct raised_account *account, uint64_t new_persistent,
			  const struct backing_kernel_counts *before, struct backing_kernel_counts *ret_after)
{
	const uint64_t from = persistent_pages(before), old_pages = account->pages;
	int64_t change = (int64_t)new_persistent - (int64_t)from, done;
	int r;

	r = raised_begin(&pool->raised, account, old_pages + (uint64_t)change, from, new_persistent);
	if (r == 0)
		r = write_nr_hugepages(pool, new_persistent);
	if (r < 0) {
		raised_end(&pool->raised, account, old_pages);
		return r;
	}
	*ret_after = *before;
	ret_after->total_pages = new_persistent;
	ret_after->surplus_pages = 0;
	(void)kernelpool_read(pool, ret_after); /* else we take its word for it */
	done = (int64_t)persistent_pages(ret_after) - (int64_t)from;
	/* What is more than was asked for is of somebody else. */
	done = change >= 0 ? (done < 0        ? 0
			      : done < change ? done
					      : change)
			   : (done > 0        ? 0
			      : done > change ? done
					      : change);
	raised_end(&pool->raised, account, old_pages + (uint64_t)done);
	count_change(&pool->fellows, done);
	return 0;
}

static uint64_t lower_in_change(struct kernelpool *pool, struct raised_account *account, uint64_t n_pages,
				const struct backing_kernel_counts *before,
				struct backing_kernel_counts *ret_after)
{
	const uint64_t persistent = persistent_pages(before);

	*ret_after = *before;
	if (n_pages > account->pages)
		n_pages = account->pages;
	if (n_pages > persistent)
		n_pages = persistent;
	if (n_pages == 0 || set_persistent(pool, account, persistent - n_pages, before, ret_after) < 0)
		return 0;
	return n_pages;
}

/* The kernel adopts the surplus first: that counts as raised, too. */
static uint64_t count_left(const struct raised_account *account, uint64_t limit_pages,
			   const struct backing_kernel_counts *counts)
{
	const uint64_t used = account->pages + counts->surplus_pages;

	return limit_pages == 0 ? UINT64_MAX : limit_pages > used ? limit_pages - used : 0;
}

uint64_t kernelpool_may_raise(struct kernelpool *pool, const char *name, uint64_t limit_pages,
			      const struct backing_kernel_counts *counts)
{
	const struct raised_account *account = raised_find(&pool->raised, name);

	lock_assert_held(&pool->lock);
	/* What an operator has taken away meanwhile is only seen when the next page is raised. */
	if (pool->fellows.raised_pages > 0 && persistent_pages(counts) < pool->fellows.left_pages)
		return limit_pages > 0 ? limit_pages : UINT64_MAX;
	return account ? count_left(account, limit_pages, counts) : 0;
}

static int raise_in_change(struct kernelpool *pool, struct raised_account *account, uint64_t limit_pages,
			   uint64_t n_pages, const struct backing_kernel_counts *before,
			   struct backing_kernel_counts *ret_after, uint64_t *ret_raised_pages,
			   struct backing_shortage *ret_shortage)
{
	const uint64_t old_pages = account->pages;

	*ret_after = *before;
	if (n_pages > count_left(account, limit_pages, before)) {
		ret_shortage->limit = BACKING_LIMIT_RAISED;
		ret_shortage->allowed_bytes = limit_pages * pool->page_bytes;
		return BACKING_SHORT;
	}
	if (set_persistent(pool, account, before->total_pages + n_pages, before, ret_after) < 0) {
		ret_shortage->limit = BACKING_LIMIT_RAISE_RIGHT;
		return BACKING_SHORT;
	}
	if (ret_after->total_pages < before->total_pages + n_pages) {
		struct backing_kernel_counts found = *ret_after;

		lower_in_change(pool, account, account->pages - old_pages, &found, ret_after);
		ret_shortage->limit = BACKING_LIMIT_FRAGMENTED;
		return BACKING_SHORT;
	}
	*ret_raised_pages = account->pages - old_pages;
	return 0;
}

int kernelpool_raise(struct kernelpool *pool, const char *name, uint64_t limit_pages, uint64_t n_pages,
		     uint64_t *ret_raised_pages, struct backing_shortage *ret_shortage)
{
	struct raised_account *account = raised_find(&pool->raised, name);
	struct backing_kernel_counts after;
	struct change change;
	int r;

	lock_assert_held(&pool->lock);
	*ret_shortage = (struct backing_shortage){.limit = BACKING_LIMIT_UNKNOWN};
	if (!account || look(pool, n_pages, ret_shortage) != 0 || begin_change(pool, &change) < 0)
		return BACKING_SHORT;
	ret_shortage->left_bytes = free_bytes(pool, &change.before);
	r = raise_in_change(pool, account, limit_pages, n_pages, &change.before, &after, ret_raised_pages,
			    ret_shortage);
	end_change(pool, &change, persistent_pages(&after));
	return r;
}

/* Returns how many of the pages that were given back are in use, and leave when they are freed. */
static uint64_t lower_account(struct kernelpool *pool, struct raised_account *account, uint64_t n_pages)
{
	struct backing_kernel_counts after;
	struct change change;

	if (n_pages == 0 || account->pages == 0 || begin_change(pool, &change) < 0)
		return 0;
	lower_in_change(pool, account, n_pages, &change.before, &after);
	end_change(pool, &change, persistent_pages(&after));
	return after.surplus_pages > change.before.surplus_pages
		       ? after.surplus_pages - change.before.surplus_pages
		       : 0;
}

void kernelpool_lower(struct kernelpool *pool, const char *name, uint64_t raised_pages)
{
	struct raised_account *account = raised_find(&pool->raised, name);

	lock_assert_held(&pool->lock);
	if (account)
		lower_account(pool, account, raised_pages);
}

void kernelpool_want(struct kernelpool *pool, const char *name)
{
	struct raised_account *account;

	lock_take(&pool->lock);
	account = raised_find(&pool->raised, name);
	if (account)
		account->is_wanted = true;
	lock_drop(&pool->lock);
}

/* A change by `done` was killed before it could be told to the others. */
static void take_over_fellows(struct kernelpool *pool, int64_t done, uint64_t persistent)
{
	if (pool->fellows.era == 0) {
		pool->fellows = (struct fellows){.raised_pages = pool->raised.pages,
						 .left_pages = persistent,
						 .era = pool->raised.era};
		return;
	}
	count_change(&pool->fellows, done);
	pool->fellows.left_pages += (uint64_t)done;
}

void kernelpool_take_over(const struct backing_host *host)
{
	hp_assert(pthread_once(&list_once, list_pools) == 0);
	for (size_t i = 0; i < n_pools; i++) {
		struct kernelpool *pool = &pools[i];
		struct backing_kernel_counts counts;
		int64_t done;
		int fd;

		lock_take(&pool->lock);
		pool->raised.page_bytes = pool->page_bytes;
		fd = fellows_begin(pool->page_bytes, &pool->fellows);
		if (kernelpool_read(pool, &counts) == 0) {
			done = raised_take_over(&pool->raised, host, persistent_pages(&counts));
			take_over_fellows(pool, done, persistent_pages(&counts));
		}
		fellows_end(fd, pool->page_bytes, &pool->fellows);
		lock_drop(&pool->lock);
	}
}

uint64_t kernelpool_lower_all(bool only_unwanted)
{
	uint64_t in_use = 0;

	hp_assert(pthread_once(&list_once, list_pools) == 0);
	for (size_t i = 0; i < n_pools; i++) {
		struct kernelpool *pool = &pools[i];

		lock_take(&pool->lock);
		for (struct raised_account *account = pool->raised.accounts; account; account = account->next)
			if (!only_unwanted || !account->is_wanted)
				in_use += lower_account(pool, account, account->pages);
		lock_drop(&pool->lock);
	}
	return in_use;
}

/* backing.c - what both kinds of backing have in common: filling, mapping, checking and truncating files.
 *
 * Not what makes them differ: that is behind the table in kinds.h. A file is filled and truncated under its
 * page size's lock, so a janitor waits while the stocker has a file zeroed by the kernel (46 ms for 1 GiB);
 * everything else runs unlocked. Base pages have no counters, so no lock: their limbo cannot be seen.
 *
 * Invariant: a file's n_pages are allocated, and charged to the balances (live_pages), until it is truncated.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/backing/assistant.h"
#include "daemon/backing/backing.h"
#include "daemon/backing/fill.h"
#include "daemon/backing/guard.h"
#include "daemon/backing/kinds.h"
#include "daemon/backing/leftover.h"
#include "daemon/backing/mapping.h"
#include "daemon/backing/numa.h"
#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/size.h"

#define BACKING_MAGIC      0xbac4196u
#define COUNTED_ALWAYS     64   /* pages: 3 us */
#define COUNTED_MOST       8192 /* 0.4 ms, and only where somebody plays with the file */
#define BACKING_FILE_MAGIC 0xbacf11eu

int backing_refuse(char **ret_error, int error, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(ret_error, format, arguments) < 0)
		*ret_error = NULL;
	va_end(arguments);
	return error;
}

static uint64_t base_page_bytes(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

static void lock_counters(struct backing *backing)
{
	if (backing->kernelpool)
		lock_take(&backing->kernelpool->lock);
}

static void unlock_counters(struct backing *backing)
{
	if (backing->kernelpool)
		lock_drop(&backing->kernelpool->lock);
}

static int setup(struct backing *backing, const struct backing_config *config, char **ret_error)
{
	char word[SIZE_WORD_MAX], words[256];
	int r;

	if (!backing->name)
		return -ENOMEM;
	backing->kernelpool = kernelpool_find(config->page_bytes);
	if (!backing->kernelpool && config->page_bytes != base_page_bytes())
		return backing_refuse(ret_error, -EINVAL, "pool %s: the kernel has no pages of %s; it has %s",
				      backing->name, size_format(config->page_bytes, word),
				      kernelpool_size_words(words, sizeof(words)));
	r = config->node == NUMA_ANY_NODE ? 0 : numa_check_node(config->node);
	if (r < 0)
		return backing_refuse(ret_error, r, "pool %s: cannot take pages from NUMA node %d: %s",
				      backing->name, config->node,
				      r == -ENODEV ? "there is no such node" : strerror(-r));
	backing->balance = backing->kernelpool ? &backing->kernelpool->balance : NULL;
	if (backing->kernelpool && config->grow)
		kernelpool_want(backing->kernelpool, backing->name);

	r = backing->ops->setup ? backing->ops->setup(backing, config, ret_error) : 0;
	if (r < 0) {
		backing->balance = NULL;
		return r;
	}
	if (backing->balance) {
		lock_counters(backing);
		balance_add(backing->balance, &backing->limbo);
		unlock_counters(backing);
	}
	return 0;
}

int backing_new(const struct backing_config *config, struct backing **ret, char **ret_error)
{
	struct backing *backing;
	int r;

	*ret_error = NULL;
	guard_install();
	backing = calloc(1, sizeof(*backing));
	if (!backing)
		return -ENOMEM;
	backing->magic = BACKING_MAGIC;
	backing->ops = config->kind == BACKING_HUGETLBFS ? &hugetlbfs_ops : &memfd_ops;
	backing->name = strdup(config->name);
	backing->page_bytes = config->page_bytes;
	backing->grow = config->grow;
	backing->max_pages = config->max_pages;
	backing->node = config->node;
	backing->owner_uid = config->owner_uid;
	backing->leftover = config->host ? config->host->leftover : NULL;
	backing->place.directory_fd = -1;

	r = setup(backing, config, ret_error);
	if (r < 0) {
		backing_free(backing);
		return r;
	}
	*ret = backing;
	return 0;
}

struct backing *backing_free(struct backing *backing)
{
	if (!backing)
		return NULL;
	hp_assert_alive(backing, BACKING_MAGIC);
	hp_assert(backing->n_files == 0);

	if (backing->balance) {
		lock_counters(backing);
		balance_remove(backing->balance, &backing->limbo);
		unlock_counters(backing);
	}
	if (backing->ops->teardown)
		backing->ops->teardown(backing);
	free(backing->name);
	backing->magic = 0;
	free(backing);
	return NULL;
}

static uint64_t file_bytes(const struct backing_file *file)
{
	return file->n_pages * file->backing->page_bytes;
}

/* A mount of our own has a balance besides that of the page size, which has to know of all our files. */
static bool has_second_balance(const struct backing *backing)
{
	return backing->balance && backing->balance != &backing->kernelpool->balance;
}

int backing_file_extend(struct backing_file *file, uint64_t n_pages, int node,
			struct backing_shortage *ret_shortage)
{
	struct backing *backing = file->backing;
	int r;

	hp_assert_alive(file, BACKING_FILE_MAGIC);
	hp_assert(n_pages > 0 && !file->memory);
	if (n_pages > INT64_MAX / backing->page_bytes - file->n_pages)
		return -EOVERFLOW;
	lock_counters(backing);
	r = numa_enter(backing->node);
	/* What a client wishes is no condition. */
	if (backing->node == NUMA_ANY_NODE && numa_enter(node) < 0)
		node = NUMA_ANY_NODE;
	if (r == 0) {
		r = fill_extend(file, n_pages, ret_shortage);
		numa_leave(backing->node == NUMA_ANY_NODE ? node : backing->node);
	}
	if (r == 0) {
		file->n_pages += n_pages;
		if (backing->balance)
			balance_gain(backing->balance, n_pages);
		if (has_second_balance(backing))
			balance_gain(&backing->kernelpool->balance, n_pages);
	}
	unlock_counters(backing);
	return r;
}

/* Truncate to `keep_pages`, and see what comes back. Returns how many pages did not. What a client has
 * punched out of the file before came back then. */
static uint64_t file_truncate(struct backing_file *file, uint64_t keep_pages, bool watch)
{
	struct backing *backing = file->backing;
	uint64_t n_pages = file->n_pages - keep_pages, n_there = 0, n_watched;
	uint64_t used_before, used_after, missing = 0;

	lock_counters(backing);
	/* The file after the counter: a page that is punched in between must not look like one in limbo. */
	watch = watch && backing->balance && backing->ops->used_pages(backing, &used_before) == 0;
	if (watch)
		n_there = fill_count_present(file);
	/* Cannot fail: no seal of ours is against it and nobody else could add one. */
	(void)!ftruncate(file->fd, (off_t)(keep_pages * backing->page_bytes));
	if (watch)
		n_there -= fill_count_present(file);
	watch = watch && backing->ops->used_pages(backing, &used_after) == 0;

	/* A file on a mount may have been made longer by its client: that was never a page of ours. */
	n_watched = !watch ? 0 : n_there < n_pages ? n_there : n_pages;
	if (backing->balance)
		balance_lose(backing->balance, n_pages - n_watched);
	if (watch)
		missing = balance_lose_watched(backing->balance, &backing->limbo, n_watched, used_before,
					       used_after);
	if (has_second_balance(backing))
		balance_lose(&backing->kernelpool->balance, n_pages);
	unlock_counters(backing);
	return missing;
}

/* All that is left of a file without pages, or half made. */
static void file_discard(struct backing_file *file)
{
	if (file->fd >= 0) {
		mapping_free(file->memory, file->mapped_bytes);
		close(file->fd);
	}
	if (file->reader_fd >= 0)
		close(file->reader_fd);
	atomic_fetch_sub(&file->backing->n_files, 1);
	file->magic = 0;
	free(file);
}

static void file_unlink(struct backing_file *file)
{
	if (file->backing->ops->file_unlink)
		file->backing->ops->file_unlink(file);
}

/* Map and seal a full file. */
static int map_and_seal(struct backing_file *file)
{
	struct stat status;
	int r;

	r = mapping_new(file->fd, file_bytes(file), &file->memory);
	if (r < 0)
		return r;
	file->mapped_bytes = file_bytes(file);
	if (file->backing->kernelpool)
		mapping_populate(file->memory, file_bytes(file), file->backing->page_bytes);
	r = file->backing->ops->file_seal ? file->backing->ops->file_seal(file) : 0;
	if (r < 0)
		return r;
	if (fstat(file->fd, &status) < 0)
		return -errno;
	file->n_blocks = fill_blocks(file, status.st_blocks);
	return 0;
}

uint64_t backing_file_most_pages(const struct backing *backing, uint64_t n_pages,
				 struct backing_shortage *ret_shortage)
{
	struct rlimit limit;
	uint64_t most_pages;

	if (getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY)
		return UINT64_MAX;
	most_pages = limit.rlim_cur / backing->page_bytes;
	*ret_shortage =
		(struct backing_shortage){.limit = BACKING_LIMIT_FILE_SIZE,
					  .allowed_bytes = limit.rlim_cur,
					  .left_bytes = limit.rlim_cur,
					  .missing_pages = n_pages > most_pages ? n_pages - most_pages : 1};
	return most_pages;
}

int backing_file_begin(struct backing *backing, struct backing_file **ret)
{
	struct backing_file *file;
	int r;

	hp_assert_alive(backing, BACKING_MAGIC);
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->magic = BACKING_FILE_MAGIC;
	file->backing = backing;
	file->fd = file->reader_fd = -1;
	atomic_fetch_add(&backing->n_files, 1);
	r = backing->ops->file_open(file);
	if (r < 0) {
		file_unlink(file);
		file_discard(file);
		return r;
	}
	*ret = file;
	return 0;
}

int backing_file_finish(struct backing_file *consume_file, struct backing_shortage *ret_shortage)
{
	const uint64_t n_pages = consume_file->n_pages;
	int r;

	hp_assert_alive(consume_file, BACKING_FILE_MAGIC);
	hp_assert(n_pages > 0);
	r = map_and_seal(consume_file);
	if (r == 0)
		return 0;
	backing_file_release(consume_file, false, &(uint64_t){0});
	if (r != -ENOMEM)
		return r;
	*ret_shortage = (struct backing_shortage){.limit = BACKING_LIMIT_MAPPINGS, .missing_pages = n_pages};
	return BACKING_SHORT;
}

int backing_file_new(struct backing *backing, uint64_t n_pages, int node, struct backing_file **ret,
		     struct backing_shortage *ret_shortage)
{
	struct backing_file *file;
	int r;

	hp_assert(n_pages > 0);
	r = backing_file_begin(backing, &file);
	if (r < 0)
		return r;
	r = backing_file_extend(file, n_pages, node, ret_shortage);
	if (r != 0) {
		backing_file_release(file, false, &(uint64_t){0});
		return r;
	}
	r = backing_file_finish(file, ret_shortage);
	if (r == 0)
		*ret = file;
	return r;
}

uint64_t backing_available_pages(struct backing *backing, uint64_t promised_pages,
				 struct backing_shortage *ret_shortage)
{
	uint64_t n_pages;

	hp_assert_alive(backing, BACKING_MAGIC);
	lock_counters(backing);
	n_pages = fill_available(backing, promised_pages, ret_shortage);
	unlock_counters(backing);
	return n_pages;
}

int backing_file_fd(const struct backing_file *file)
{
	hp_assert_alive(file, BACKING_FILE_MAGIC);
	return file->fd;
}

int backing_file_open_reader(struct backing_file *file)
{
	char path[sizeof("/proc/self/fd/") + 3 * sizeof(int)];

	hp_assert_alive(file, BACKING_FILE_MAGIC);
	if (file->reader_fd >= 0)
		return 0;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file->fd);
	file->reader_fd = open(path, O_RDONLY | O_CLOEXEC);
	return file->reader_fd < 0 ? -errno : 0;
}

int backing_file_reader_fd(const struct backing_file *file)
{
	hp_assert_alive(file, BACKING_FILE_MAGIC);
	return file->reader_fd;
}

uint64_t backing_file_pages(const struct backing_file *file)
{
	hp_assert_alive(file, BACKING_FILE_MAGIC);
	return file->n_pages;
}

static void *page_address(const struct backing_file *file, uint64_t first, uint64_t n_pages)
{
	hp_assert_alive(file, BACKING_FILE_MAGIC);
	hp_assert(first <= file->n_pages && n_pages <= file->n_pages - first);
	return (char *)file->memory + first * file->backing->page_bytes;
}

int backing_file_zero_runs(struct backing_file *file, const struct backing_run *runs, unsigned n_runs,
			   struct mailbox *assistant)
{
	struct iovec pieces[BACKING_ZERO_MAX];

	hp_assert(n_runs > 0 && n_runs <= BACKING_ZERO_MAX);
	for (unsigned i = 0; i < n_runs; i++)
		pieces[i] = (struct iovec){page_address(file, runs[i].first, runs[i].n_pages),
					   runs[i].n_pages * file->backing->page_bytes};
	return assistant_clear(assistant, pieces, n_runs) ? 0 : BACKING_DAMAGED;
}

int backing_file_zero(struct backing_file *file, uint64_t first, uint64_t n_pages)
{
	return backing_file_zero_runs(file, &(struct backing_run){first, n_pages}, 1, NULL);
}

int backing_file_fill(struct backing_file *file, uint64_t first, uint64_t n_pages, uint8_t value)
{
	void *memory = page_address(file, first, n_pages);

	return guard_fill(memory, value, n_pages * file->backing->page_bytes) ? 0 : BACKING_DAMAGED;
}

int backing_file_read(struct backing_file *file, uint64_t offset, void *buffer, size_t bytes)
{
	hp_assert_alive(file, BACKING_FILE_MAGIC);
	hp_assert(offset <= file_bytes(file) && bytes <= file_bytes(file) - offset);
	return guard_read(buffer, (const char *)file->memory + offset, bytes) ? 0 : BACKING_DAMAGED;
}

int backing_file_verify(const struct backing_file *file, uint64_t first, uint64_t n_pages)
{
	struct stat status;

	hp_assert_alive(file, BACKING_FILE_MAGIC);
	hp_assert(first <= file->n_pages && n_pages <= file->n_pages - first);
	if (fstat(file->fd, &status) < 0 || (uint64_t)status.st_size != file_bytes(file))
		return BACKING_DAMAGED;
	if (file->backing->kernelpool)
		return status.st_blocks == file->n_blocks ? 0 : BACKING_DAMAGED;
	/* Fewer blocks are a hole somewhere. More of them say nothing: a client's fault can make a huge folio
	 * that reaches past the file's end, until reclaim cuts it. */
	if (status.st_blocks < file->n_blocks)
		return BACKING_DAMAGED;
	if (status.st_blocks == file->n_blocks && n_pages > COUNTED_ALWAYS)
		return 0;
	return n_pages <= COUNTED_MOST && fill_has_pages(file, first, n_pages) ? 0 : BACKING_DAMAGED;
}

bool backing_file_take_memory_error(const struct backing_file *file, uint64_t *ret_page)
{
	size_t offset;

	hp_assert_alive(file, BACKING_FILE_MAGIC);
	if (!guard_take_memory_error(file->memory, file_bytes(file), &offset))
		return false;
	*ret_page = offset / file->backing->page_bytes;
	return true;
}

bool backing_take_any_memory_error(uintptr_t *ret_address)
{
	return guard_take_any_memory_error(ret_address);
}

bool backing_file_has_address(const struct backing_file *file, uint64_t n_pages, uintptr_t address,
			      uint64_t *ret_page)
{
	const uintptr_t offset = address - (uintptr_t)file->memory;

	hp_assert_alive(file, BACKING_FILE_MAGIC);
	*ret_page = offset / file->backing->page_bytes;
	return *ret_page < n_pages;
}

void backing_file_release(struct backing_file *consume_file, bool exposed, uint64_t *ret_limbo_pages)
{
	hp_assert_alive(consume_file, BACKING_FILE_MAGIC);
	file_unlink(consume_file);
	*ret_limbo_pages = file_truncate(consume_file, 0, exposed);
	file_discard(consume_file);
}

void backing_file_trim(struct backing_file *file, uint64_t n_pages, bool exposed, uint64_t *ret_limbo_pages)
{
	struct stat status;

	hp_assert_alive(file, BACKING_FILE_MAGIC);
	hp_assert(n_pages > 0 && n_pages <= file->n_pages);
	*ret_limbo_pages = file_truncate(file, n_pages, exposed);
	file->n_pages = n_pages;
	file->mapped_bytes = mapping_trim(file->memory, file->mapped_bytes, file_bytes(file));
	if (fstat(file->fd, &status) == 0)
		file->n_blocks = fill_blocks(file, status.st_blocks);
}

uint64_t backing_limbo_returned(struct backing *backing)
{
	uint64_t used, returned;

	hp_assert_alive(backing, BACKING_MAGIC);
	if (!backing->balance)
		return 0;
	lock_counters(backing);
	if (backing->ops->used_pages(backing, &used) == 0)
		balance_settle(backing->balance, used);
	returned = backing->limbo.returned_pages;
	backing->limbo.returned_pages = 0;
	unlock_counters(backing);
	return returned;
}

uint64_t backing_foreign_pages(struct backing *backing)
{
	uint64_t n_pages;

	hp_assert_alive(backing, BACKING_MAGIC);
	if (!has_second_balance(backing))
		return 0;
	lock_counters(backing);
	n_pages = fill_foreign_pages(backing);
	unlock_counters(backing);
	return n_pages;
}

uint64_t backing_left_pages(struct backing *backing, pid_t *ret_pid)
{
	uint64_t n_bytes;

	hp_assert_alive(backing, BACKING_MAGIC);
	n_bytes = leftover_bytes(backing->leftover, backing->name, ret_pid);
	return (n_bytes + backing->page_bytes - 1) / backing->page_bytes;
}

uint64_t backing_page_bytes(const struct backing *backing)
{
	hp_assert_alive(backing, BACKING_MAGIC);
	return backing->page_bytes;
}

char *backing_explain_reserve(const char *pool, uint64_t page_bytes, uint64_t reserve_pages,
			      const struct backing_shortage *shortage)
{
	char word[SIZE_WORD_MAX], why[SHORTAGE_WORDS_MAX], *sentence;

	if (shortage->limit == BACKING_LIMIT_HUGEPAGES)
		snprintf(why, sizeof(why), "raise nr_hugepages by as many, set grow");
	else
		shortage_format(shortage, page_bytes, why, sizeof(why));
	if (asprintf(&sentence,
		     "pool %s: its reserve of %" PRIu64
		     " pages of %s cannot be met, the kernel lacks %" PRIu64
		     " of them: %s, or lower the reserve",
		     pool, reserve_pages, size_format(page_bytes, word), shortage->missing_pages, why) < 0)
		return NULL;
	return sentence;
}

int backing_kernel_counts(uint64_t page_bytes, struct backing_kernel_counts *ret)
{
	struct kernelpool *kernelpool = kernelpool_find(page_bytes);
	int r;

	if (!kernelpool) {
		*ret = (struct backing_kernel_counts){0};
		return page_bytes == base_page_bytes() ? 0 : -EINVAL;
	}
	lock_take(&kernelpool->lock);
	r = kernelpool_read(kernelpool, ret);
	lock_drop(&kernelpool->lock);
	return r;
}

uint64_t backing_give_back_raised(void)
{
	return kernelpool_lower_all(false);
}

void backing_take_over(const struct backing_host *host)
{
	ownmount_take_over(host);
	sharedplace_take_over(host);
	kernelpool_take_over(host);
	leftover_look(host->leftover);
}

void backing_give_back_unwanted(void)
{
	(void)kernelpool_lower_all(true);
}

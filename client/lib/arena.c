/* arena.c - see arena.h.
 *
 * A mapping begins at an address aligned to 1 GiB: where daemon and client do that alike, and with the same
 * MADV_DONTFORK and MADV_DONTDUMP, the kernel shares the page tables of hugepages between them, and the first
 * touch of a gigabyte maps all of it. That, and that a warm arena is mapped once in a session's life, is why
 * nothing is populated here: the pages are in the file already, and a client may use few of them.
 *
 * Invariant: the table is sorted by id, and no arena in it is gone.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/lib/arena.h"
#include "client/lib/range.h"

#define ARENA_ALIGN_BYTES    (UINT64_C(1) << 30)
#define ARENA_MAX_BYTES      (UINT64_C(1) << 46)
#define ARENA_MIN_PAGE_BYTES 4096
#define TABLE_FIRST_SIZE     8

static uint64_t arena_bytes(const struct arena *arena)
{
	return arena->n_pages * arena->page_bytes;
}

static void arena_free(struct arena *arena, bool mapped)
{
	if (arena->data && mapped)
		munmap(arena->data, arena_bytes(arena));
	close(arena->fd);
	free(arena);
}

/* Where `id` is in the table, or would be. */
static size_t table_position(const struct arena_table *table, uint64_t id)
{
	size_t low = 0, high = table->n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (table->arenas[middle]->id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct arena *arena_table_find(const struct arena_table *table, uint64_t id)
{
	size_t position = table_position(table, id);

	return position < table->n && table->arenas[position]->id == id ? table->arenas[position] : NULL;
}

/* Make room for one more. */
static int table_grow(struct arena_table *table)
{
	size_t size = table->size ? 2 * table->size : TABLE_FIRST_SIZE;
	struct arena **arenas;

	if (table->n < table->size)
		return 0;
	arenas = reallocarray(table->arenas, size, sizeof(struct arena *));
	if (!arenas)
		return -ENOMEM;
	table->arenas = arenas;
	table->size = size;
	return 0;
}

/* Another descriptor for an arena that is listed: the better one stays, under the same number. */
static int consume_other_fd(struct arena *arena, bool read_only, int fd)
{
	int r = 0;

	if (arena->read_only && !read_only) {
		if (dup3(fd, arena->fd, O_CLOEXEC) < 0)
			r = -errno;
		else
			arena->read_only = false;
	}
	close(fd);
	return r;
}

int arena_table_consume_fd(struct arena_table *table, const struct arena_info *info, int fd)
{
	size_t position = table_position(table, info->id);
	struct arena *arena;

	if (position < table->n && table->arenas[position]->id == info->id)
		return consume_other_fd(table->arenas[position], info->read_only, fd);
	arena = malloc(sizeof(*arena));
	if (!arena || table_grow(table) < 0) {
		free(arena);
		close(fd);
		return -ENOMEM;
	}
	*arena = (struct arena){.id = info->id,
				.n_pages = info->n_pages,
				.page_bytes = info->page_bytes,
				.read_only = info->read_only,
				.fd = fd};
	memmove(table->arenas + position + 1, table->arenas + position,
		(table->n - position) * sizeof(table->arenas[0]));
	table->arenas[position] = arena;
	table->n++;
	return 0;
}

void arena_table_gone(struct arena_table *table, uint64_t id)
{
	size_t position = table_position(table, id);
	struct arena *arena;

	if (position == table->n || table->arenas[position]->id != id)
		return;
	arena = table->arenas[position];
	table->n--;
	memmove(table->arenas + position, table->arenas + position + 1,
		(table->n - position) * sizeof(table->arenas[0]));
	arena->gone = true;
	if (arena->n_shares == 0)
		arena_free(arena, true);
}

void arena_table_fini(struct arena_table *table, bool mapped)
{
	for (size_t i = 0; i < table->n; i++)
		arena_free(table->arenas[i], mapped);
	free(table->arenas);
	*table = (struct arena_table){0};
}

bool arena_is_truncated(const struct arena *arena)
{
	struct stat st;

	return fstat(arena->fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0;
}

/* The file is one, and as large as the daemon says; or shorter by whole pages, as a lease's own file is that
 * was trimmed since we were shown it: then so is the arena. -ENOENT: nothing is left of it. */
static int arena_check(struct arena *arena)
{
	uint64_t page_bytes = arena->page_bytes;
	struct stat st;

	if (page_bytes < ARENA_MIN_PAGE_BYTES || (page_bytes & (page_bytes - 1)) != 0 ||
	    arena->n_pages == 0 || arena->n_pages > ARENA_MAX_BYTES / page_bytes)
		return -EPROTO;
	if (fstat(arena->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size % page_bytes != 0)
		return -EPROTO;
	if ((uint64_t)st.st_size < arena_bytes(arena))
		arena->n_pages = (uint64_t)st.st_size / page_bytes;
	return arena->n_pages > 0 ? 0 : -ENOENT;
}

/* Map the first `file_bytes` of the arena over its reserved range, which is given back when that fails. */
static int map_over(const struct arena *arena, uint8_t *data, uint64_t file_bytes)
{
	const uint64_t bytes = arena_bytes(arena);
	struct range_hole hole = {0};
	int r = 0;

	if (file_bytes > 0)
		r = range_map(data, file_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, arena->fd, 0, &hole);
	if (r == 0 && (madvise(data, bytes, MADV_DONTFORK) < 0 || madvise(data, bytes, MADV_DONTDUMP) < 0))
		r = -errno;
	if (r < 0)
		range_release(data, bytes, &hole);
	return r;
}

/* -EEXIST: somebody was faster, try again. */
static int try_map(const struct arena *arena, uint8_t **ret_data)
{
	int r = range_reserve(arena_bytes(arena), 0, ARENA_ALIGN_BYTES, 0, ret_data);

	/* A process may have addresses for it, and not for a gigabyte more. */
	if (r == -ENOMEM)
		r = range_reserve(arena_bytes(arena), 0, arena->page_bytes, 0, ret_data);
	return r < 0 ? r : map_over(arena, *ret_data, arena_bytes(arena));
}

static int arena_map(struct arena *arena)
{
	uint8_t *data = NULL;
	int r = -EEXIST;

	for (unsigned i = 0; i < RANGE_MAX_TRIES && r == -EEXIST; i++)
		r = try_map(arena, &data);
	if (r == 0)
		arena->data = data;
	return r == -EEXIST ? -ENOMEM : r;
}

/* What was cut off the file meanwhile stays inaccessible. */
static int map_again(const struct arena *arena)
{
	uint64_t bytes = arena_bytes(arena);
	struct stat st;
	int r;

	if (fstat(arena->fd, &st) < 0)
		return -errno;
	r = range_reserve_at(arena->data, bytes);
	if (r < 0)
		return r;
	if ((uint64_t)st.st_size < bytes)
		bytes = (uint64_t)st.st_size / arena->page_bytes * arena->page_bytes;
	return map_over(arena, arena->data, bytes);
}

static void unmap(struct arena *const *arenas, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (arenas[i]->data)
			munmap(arenas[i]->data, arena_bytes(arenas[i]));
}

int arena_table_map_again(struct arena_table *table)
{
	for (size_t i = 0; i < table->n; i++) {
		int r = table->arenas[i]->data ? map_again(table->arenas[i]) : 0;

		if (r < 0) {
			unmap(table->arenas, i);
			return r;
		}
	}
	return 0;
}

void arena_table_unmap(const struct arena_table *table)
{
	unmap(table->arenas, table->n);
}

static bool holds(const struct arena *arena, uint64_t first, uint64_t n_pages)
{
	return n_pages <= arena->n_pages && first <= arena->n_pages - n_pages;
}

int arena_take(struct arena *arena, uint64_t first, uint64_t n_pages, bool mapped)
{
	int r = holds(arena, first, n_pages) ? 0 : -EPROTO;

	if (r == 0 && arena->n_shares == 0 && !arena->data)
		r = arena_check(arena);
	if (r == 0 && !holds(arena, first, n_pages))
		r = -EPROTO;
	if (r == 0 && mapped && !arena->data)
		r = arena_map(arena);
	if (r == 0)
		arena->n_shares++;
	return r;
}

void arena_put(struct arena *arena, bool mapped)
{
	arena->n_shares--;
	if (arena->gone && arena->n_shares == 0)
		arena_free(arena, mapped);
}

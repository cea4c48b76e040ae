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
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "client/lib/arena.h"

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

int arena_table_consume_fd(struct arena_table *table, uint64_t id, uint64_t n_pages, uint64_t page_bytes,
			   int fd)
{
	size_t position = table_position(table, id);
	struct arena *arena;

	if (position < table->n && table->arenas[position]->id == id) {
		close(fd);
		return 0;
	}
	arena = malloc(sizeof(*arena));
	if (!arena || table_grow(table) < 0) {
		free(arena);
		close(fd);
		return -ENOMEM;
	}
	*arena = (struct arena){.id = id, .n_pages = n_pages, .page_bytes = page_bytes, .fd = fd};
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
	if (arena->n_leases == 0)
		arena_free(arena, true);
}

void arena_table_fini(struct arena_table *table, bool mapped)
{
	for (size_t i = 0; i < table->n; i++)
		arena_free(table->arenas[i], mapped);
	free(table->arenas);
	*table = (struct arena_table){0};
}

/* Map the file at an aligned address: reserve enough to have one in it, map over that, give back what is
 * left. */
static void *map_aligned(int fd, uint64_t bytes)
{
	uint64_t reserved_bytes = bytes + ARENA_ALIGN_BYTES;
	uint8_t *reserved, *data;
	uint64_t lead_bytes;

	reserved = mmap(NULL, reserved_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (reserved == MAP_FAILED)
		return MAP_FAILED;
	lead_bytes = -(uintptr_t)reserved & (ARENA_ALIGN_BYTES - 1);
	data = mmap(reserved + lead_bytes, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (data == MAP_FAILED) {
		int saved_errno = errno;

		munmap(reserved, reserved_bytes);
		errno = saved_errno;
		return MAP_FAILED;
	}
	if (lead_bytes > 0)
		munmap(reserved, lead_bytes);
	munmap(data + bytes, reserved_bytes - lead_bytes - bytes);
	return data;
}

static int arena_map(struct arena *arena)
{
	uint64_t page_bytes = arena->page_bytes;
	struct stat st;
	uint8_t *data;
	int r;

	if (page_bytes < ARENA_MIN_PAGE_BYTES || (page_bytes & (page_bytes - 1)) != 0 ||
	    arena->n_pages == 0 || arena->n_pages > ARENA_MAX_BYTES / page_bytes)
		return -EPROTO;
	if (fstat(arena->fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < arena_bytes(arena))
		return -EPROTO;

	data = map_aligned(arena->fd, arena_bytes(arena));
	if (data == MAP_FAILED)
		return -errno;
	if (madvise(data, arena_bytes(arena), MADV_DONTFORK) < 0 ||
	    madvise(data, arena_bytes(arena), MADV_DONTDUMP) < 0) {
		r = -errno;
		munmap(data, arena_bytes(arena));
		return r;
	}
	arena->data = data;
	return 0;
}

int arena_take(struct arena *arena)
{
	int r = arena->data ? 0 : arena_map(arena);

	if (r == 0)
		arena->n_leases++;
	return r;
}

void arena_put(struct arena *arena, bool mapped)
{
	arena->n_leases--;
	if (arena->gone && arena->n_leases == 0)
		arena_free(arena, mapped);
}

/* arena.h - the arenas that a session was shown: their descriptors and, once a lease needs them, their
 * mappings.
 *
 * An arena is listed from the reply that brought its descriptor to the reply that says it is gone, or to the
 * end of the client. Leases hold shares in it: an arena that is gone keeps descriptor and mapping while
 * somebody holds one, so that a stray access meets SIGBUS and not whatever was mapped there next. An arena
 * whose descriptor is read-only has no mapping of its own; a better one may come.
 *
 * The owner of the table serialises everything; who holds a share may use the descriptor without that.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena {
	/* Constant; as the daemon says. */
	uint64_t id, n_pages, page_bytes;
	int fd; /* the number; a better descriptor takes it over */

	bool read_only;    /* the descriptor is */
	uint8_t *data;     /* NULL: not mapped yet */
	unsigned n_shares; /* taken by leases */
	bool gone;         /* not listed any more; freed with the last share */
};

/* A run of a lease's pages in its arena. */
struct arena_run {
	struct arena *arena; /* a share in it is held; NULL: not found yet */
	uint64_t arena_id;
	uint64_t offset_bytes, bytes;
};

struct arena_table {
	struct arena **arenas; /* by id */
	size_t n, size;
};

/* What the daemon says of an arena beside its descriptor. */
struct arena_info {
	uint64_t id, n_pages, page_bytes;
	bool read_only;
};

/* List an arena. Consumes the descriptor in any case. One that is listed already stays as it is, a daemon
 * that was started again does not know what it has shown; but a descriptor that can be written takes the
 * place of one that cannot. -ENOMEM, or what dup says; or 0. */
int arena_table_consume_fd(struct arena_table *table, const struct arena_info *info, int fd);
/* NULL: not listed. */
struct arena *arena_table_find(const struct arena_table *table, uint64_t id);
/* The daemon has truncated it. An id that is not listed is fine. */
void arena_table_gone(struct arena_table *table, uint64_t id);
/* Frees all; nobody may hold a share. `mapped`: false in a forked child, which has the descriptors but not
 * the mappings. */
void arena_table_fini(struct arena_table *table, bool mapped);

/* In a forked child, which has the descriptors but not the mappings: make them, at the same addresses. 0, or
 * what mmap says (-EEXIST: something else is there) and none is made. */
int arena_table_map_again(struct arena_table *table);
/* The mappings go, and are where they were in a forked child's parent. */
void arena_table_unmap(const struct arena_table *table);

/* Its memory was taken back, whoever maps it. */
bool arena_is_truncated(const struct arena *arena);

/* Take the share of a lease of these pages. 0, -ENOENT if the file was truncated meanwhile, or -EPROTO if the
 * daemon's words and its file do not agree. With `mapped` the arena, which must not be read-only, is mapped
 * then; or what mmap says. Nothing is taken on failure. */
int arena_take(struct arena *arena, uint64_t first, uint64_t n_pages, bool mapped);
void arena_put(struct arena *arena, bool mapped);

/* arena.h - the arenas that a session was shown: their descriptors and, once a lease needs them, their
 * mappings.
 *
 * An arena is listed from the reply that brought its descriptor to the reply that says it is gone, or to the
 * end of the client. Leases hold shares in it: an arena that is gone keeps its mapping while somebody holds
 * one, so that a stray access meets SIGBUS and not whatever was mapped there next.
 *
 * The owner of the table serialises everything.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct arena {
	uint64_t id, n_pages, page_bytes; /* as the daemon says */
	int fd;
	uint8_t *data;     /* NULL: not mapped yet */
	unsigned n_leases; /* shares taken */
	bool gone;         /* not listed any more; freed with the last share */
};

struct arena_table {
	struct arena **arenas; /* by id */
	size_t n, size;
};

/* List an arena. Consumes the descriptor in any case. One that is listed already stays as it is: a daemon
 * that was started again does not know what it has shown. -ENOMEM, or 0. */
int arena_table_consume_fd(struct arena_table *table, uint64_t id, uint64_t n_pages, uint64_t page_bytes,
			   int fd);
/* NULL: not listed. */
struct arena *arena_table_find(const struct arena_table *table, uint64_t id);
/* The daemon has truncated it. An id that is not listed is fine. */
void arena_table_gone(struct arena_table *table, uint64_t id);
/* Frees all; nobody may hold a share. `mapped`: false in a forked child, which has the descriptors but not
 * the mappings. */
void arena_table_fini(struct arena_table *table, bool mapped);

/* Take a lease's share, with the arena mapped. 0, -EPROTO if the daemon's words and its file do not agree, or
 * what mmap says; nothing is taken on failure. */
int arena_take(struct arena *arena);
void arena_put(struct arena *arena, bool mapped);

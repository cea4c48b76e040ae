/* kinds.h - private to the room: what a backing and a file are made of, and what the two kinds do
 * differently.
 *
 * backing.c does everything that is the same for both; memfd.c and hugetlbfs.c are the two tables.
 */
#pragma once

#include <limits.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "daemon/backing/backing.h"
#include "daemon/backing/balance.h"
#include "daemon/backing/kernelpool.h"
#include "daemon/backing/ownmount.h"
#include "daemon/backing/sharedplace.h"

/* Where a hugetlbfs backing has its files. */
struct hugetlbfs_place {
	int directory_fd;          /* -1: none */
	struct ownmount own;       /* zero: a given directory */
	struct sharedplace shared; /* zero: our own mount */
	struct balance balance;    /* of our own mount; guarded by kernelpool->lock */
};

struct backing {
	unsigned magic;

	/* Constant after backing_new(). */
	const struct backing_kind_ops *ops;
	char *name;
	uint64_t page_bytes;
	bool grow;
	uint64_t max_pages; /* that it may raise nr_hugepages by; 0: no limit */
	int node;
	uid_t owner_uid;
	struct kernelpool *kernelpool; /* NULL: the base page size, nothing is counted */
	struct balance *balance;       /* which counter tells our limbo; NULL as above */
	struct hugetlbfs_place place;  /* hugetlbfs only */
	struct leftover *leftover;     /* of the host; NULL: what is left is not counted */

	struct limbo limbo; /* guarded by kernelpool->lock */

	_Atomic uint64_t n_files;
	_Atomic uint64_t last_number; /* of the names of files */
};

struct backing_file {
	unsigned magic;

	/* Constant after backing_file_finish(). */
	struct backing *backing;
	int fd;
	char name[NAME_MAX + 1]; /* "": none */
	void *memory;            /* NULL: not finished */

	/* Constant after the last backing_file_trim(), or backing_file_open_reader(). */
	uint64_t n_pages;
	size_t mapped_bytes; /* as many, or more where the kernel could not cut the mapping */
	blkcnt_t n_blocks;   /* when it was full, as fstat says it */
	int reader_fd;       /* -1: none */
};

struct backing_kind_ops {
	/* The place where files are made: backing->place, and backing->balance if it has a counter of its
	 * own. Negative errno and a sentence; the caller then calls teardown. NULL: nothing to do. */
	int (*setup)(struct backing *backing, const struct backing_config *config, char **ret_error);
	/* Undoes whatever setup did, all or half. NULL: nothing to do. */
	void (*teardown)(struct backing *backing);

	/* Make an empty file of mode 0600: file->fd, and what else the kind needs. Negative errno. */
	int (*file_open)(struct backing_file *file);
	/* The last step, when it is full. Negative errno. NULL: nothing to do. */
	int (*file_seal)(struct backing_file *file);
	/* Nobody can open it by name any more. Half-made files as well. NULL: nothing to do. */
	void (*file_unlink)(struct backing_file *file);

	/* Pages in use by the counter that backing->balance watches; with kernelpool->lock held. */
	int (*used_pages)(struct backing *backing, uint64_t *ret_used_pages);
};

extern const struct backing_kind_ops memfd_ops;
extern const struct backing_kind_ops hugetlbfs_ops;

/* Compose *ret_error (NULL when there is no memory even for that). Returns `error`. */
int backing_refuse(char **ret_error, int error, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* hugemount.h - hugetlbfs mounts: making one, taking it down by its descriptor, looking at somebody else's.
 *
 * Knows nothing of files, pools and who may be where: see ownmount.h.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct hugemount_config {
	uint64_t page_bytes;
	uint64_t size_bytes;     /* the kernel lets no more be taken */
	uint64_t min_size_bytes; /* the kernel reserves at once */
};

/* Make a mount that is nowhere yet: closing its descriptor, that of its root, ends it. The root belongs to
 * us, mode 0711. Returns 0; -ENOMEM: the kernel has not enough free pages for min_size; or another negative
 * errno. */
int hugemount_new(const struct hugemount_config *config, int *ret_mount_fd);

/* Mount it over the directory `name` in that one, a symlink there not followed. Negative errno. */
int hugemount_attach(int mount_fd, int parent_fd, const char *name);

/* Detach the mount whose root this is, wherever it is. Files on it that somebody still holds live until they
 * are let go. Negative errno. */
int hugemount_detach(int mount_fd);

/* Is the descriptor the root of some mount? */
bool hugemount_is_root(int fd);

/* Is the directory on a hugetlbfs? If so *ret_page_bytes says of which pages. Negative errno if it cannot be
 * seen. */
int hugemount_page_bytes(int directory_fd, bool *ret_is_hugetlbfs, uint64_t *ret_page_bytes);

/* How many of the pages of size_bytes are taken: in files, in clients' private copies of them, or in files
 * that are gone but whose pages the kernel has not back. */
int hugemount_used(int directory_fd, uint64_t *ret_used_pages);
/* How many are not taken. -ENODATA: it has no size=. */
int hugemount_room(int directory_fd, uint64_t *ret_free_pages);

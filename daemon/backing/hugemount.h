/* hugemount.h - hugetlbfs mounts: making one of our own, taking it down, looking at somebody else's.
 *
 * Knows nothing of files and pools. Whoever calls makes sure that no two daemons use one path.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct hugemount_config {
	const char *path; /* made, mode 0711, if need be */
	uint64_t page_bytes;
	uint64_t size_bytes;     /* the kernel lets no more be taken */
	uint64_t min_size_bytes; /* the kernel reserves at once */
};

/* Mount over whatever is at the path; the mount's root belongs to us, mode 0711. Returns 0 and sets
 * *ret_directory_fd; -ENOMEM: the kernel has not enough free pages for min_size; or another negative errno,
 * with nothing left behind but the directory. */
int hugemount_new(const struct hugemount_config *config, int *ret_directory_fd);

/* Detach the mount and remove the directory, as far as they are there. Files on it that somebody still holds
 * live until they are let go. */
void hugemount_free(const char *path);

/* Detach what a daemon that was killed has left mounted at the path, however often. Its files are unlinked
 * first but not truncated: clients that outlived it keep what they hold, and each file's pages return with
 * its last holder. Otherwise one such client would keep the mount, and with it all the pages. */
void hugemount_clear_stale(const char *path);

/* Is the directory on a hugetlbfs? If so *ret_page_bytes says of which pages. Negative errno if it cannot be
 * seen. */
int hugemount_page_bytes(int directory_fd, bool *ret_is_hugetlbfs, uint64_t *ret_page_bytes);

/* How many of the pages of size_bytes are taken: in files, in clients' private copies of them, or in files
 * that are gone but whose pages the kernel has not back. */
int hugemount_used(int directory_fd, uint64_t *ret_used_pages);
/* How many are not taken. -ENODATA: it has no size=. */
int hugemount_room(int directory_fd, uint64_t *ret_free_pages);

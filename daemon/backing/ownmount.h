/* ownmount.h - private to the room: the hugetlbfs mount of a pool's own, NAME in the state directory.
 *
 * It is in the journal, with what tells it from any other mount, before it is there, and is taken down by its
 * descriptor. What somebody else has at its place is left alone, and so is what somebody has mounted over it.
 */
#pragma once

#include "daemon/backing/backing.h"
#include "daemon/base/inode_id.h"

struct ownmount {
	const struct backing_host *host;
	char *key;                    /* in the journal; NULL: not there */
	const char *name;             /* the caller's; must outlive this */
	bool is_made;                 /* the directory that it is mounted over */
	struct inode_id directory_id; /* of that; of no meaning unless is_made */
	int fd;                       /* its root, which stays the caller's */
};

/* Is there place for it: nothing, or an empty directory of root's or our own? Returns 0, or -EEXIST or
 * another negative errno with a sentence for that pool. */
int ownmount_check_place(const struct backing_host *host, const char *name, char **ret_error);

/* Put a mount that is nowhere (hugemount_new()) at its place. Returns 0, or negative errno: nothing is left.
 */
int ownmount_attach(struct ownmount *mount, const struct backing_host *host, const char *name, int mount_fd);

/* Take it down, and the directory if that was made for it. Without ownmount_attach() before, zeroed, fine. */
void ownmount_detach(struct ownmount *mount);

/* Take down what the journal has of a daemon that was killed. Files on it are unlinked first but not
 * truncated: clients that outlived it keep what they hold, and each file's pages return with its last holder.
 * Otherwise one such client would keep the mount, and with it all the pages. */
void ownmount_take_over(const struct backing_host *host);

/* sharedplace.h - private to the room: a directory on a hugetlbfs that somebody gives us, and that others use
 * too.
 *
 * Our files there have a prefix that is drawn anew each time and is in the journal, with the directory's
 * identity, before the first file is made. So the next daemon knows which files are those of one that was
 * killed, whatever else is there, whoever else it belongs to.
 */
#pragma once

#include <limits.h>

#include "daemon/backing/backing.h"

#define SHAREDPLACE_PREFIX_MAX 40

struct sharedplace {
	const struct backing_host *host;
	char *key; /* in the journal; NULL: not there */
	char prefix[SHAREDPLACE_PREFIX_MAX];
};

/* Write the directory down for that pool. `owner_uid`: whom its files will belong to. Negative errno. */
int sharedplace_begin(struct sharedplace *place, const struct backing_host *host, const char *pool,
		      int directory_fd, uid_t owner_uid);
/* All files are gone. Zeroed: fine. */
void sharedplace_end(struct sharedplace *place);

/* Unlink and truncate, whoever still has them, the files of a daemon that was killed, by the journal. */
void sharedplace_take_over(const struct backing_host *host);

/* directory.h - directories by a path that nobody else can bend.
 *
 * A path goes through directories that other users can write to, such as /tmp, and a symlink that one of them
 * has made there leads where that user likes. So a path is walked name by name, and a symlink on the way is
 * followed only if it is root's or our own.
 */
#pragma once

#include <stdbool.h>

/* Open the directory, for *at() calls only (O_PATH). Returns 0, or negative errno: -ELOOP for a symlink of
 * another user's. */
int directory_open(const char *path, int *ret_fd);
/* What such an error means. */
const char *directory_strerror(int error);

/* Can nobody but root and ourselves make, remove or rename anything in it? Negative errno; 0: others can; 1:
 * only we can; 2: others can make names, and only their own they can remove (a sticky directory). */
enum { DIRECTORY_SHARED = 0, DIRECTORY_PRIVATE = 1, DIRECTORY_STICKY = 2 };
int directory_rights(int fd);

/* The absolute path of a directory that is open; NULL: no memory, or it has none any more. To be freed. */
char *directory_path(int fd);

/* Split a path into its directory ("." without a slash, "/" for a name in the root) and the name after the
 * last slash, which points into `path`. Returns the directory, to be freed; NULL: no memory. */
char *directory_split(const char *path, const char **ret_name);

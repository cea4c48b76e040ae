/* idmap.h - can this daemon tell all users of the host apart?
 *
 * In a user namespace the kernel shows every user and group that the namespace does not map as one, the
 * overflow id (65534): different users would be one tenant. So a daemon starts in a namespace that maps all,
 * or is told to go without those who are not mapped; whoever has an overflow id there is nobody it can know.
 * Constant once read: a map is written once.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

struct idmap {
	bool has_all_users, has_all_groups;
	uid_t overflow_uid; /* which is an ordinary user's where all are mapped */
	gid_t overflow_gid;
};

/* Does the text of /proc/self/uid_map or gid_map name every id? */
bool idmap_is_whole(const char *text);

/* Read the maps of this process. `may_be_partial`: some users and groups may be missing. Returns 0; or
 * negative errno with a sentence that says what to do in *ret_error, the caller's to free (NULL: no memory).
 */
int idmap_read(bool may_be_partial, struct idmap *ret, char **ret_error);

/* Is this the id of exactly one user, or group, of the host? */
bool idmap_knows_user(const struct idmap *idmap, uid_t uid);
bool idmap_knows_group(const struct idmap *idmap, gid_t gid);

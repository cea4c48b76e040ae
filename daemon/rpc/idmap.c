/* idmap.c - see idmap.h. user_namespaces(7) has the files. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "daemon/rpc/idmap.h"

#define ALL_IDS     UINT32_MAX  /* (uid_t)-1 is nobody's */
#define MAP_BYTES   (16 * 1024) /* 340 lines of 34 bytes, the kernel's limit, are less */
#define OVERFLOW_ID 65534       /* the kernel's default */

/* The ranges of a map do not overlap, and all of them are mapped in the namespace above, and so on up to the
 * host's: their sizes add up to all ids only if none is missing anywhere. */
bool idmap_is_whole(const char *text)
{
	uint64_t first, above, n, sum = 0;
	int length;

	while (sscanf(text, " %" SCNu64 " %" SCNu64 " %" SCNu64 "%n", &first, &above, &n, &length) == 3) {
		sum += n;
		text += length;
	}
	return sum >= ALL_IDS;
}

/* Returns 0 or negative errno. */
static int read_text(const char *path, char *text, size_t room)
{
	FILE *file = fopen(path, "re");
	size_t n;
	int r;

	if (!file)
		return -errno;
	errno = 0;
	n = fread(text, 1, room - 1, file);
	r = ferror(file) ? -(errno ? errno : EIO) : 0;
	text[n] = 0;
	fclose(file);
	return r;
}

/* A kernel without user namespaces has no map, and maps all; without /proc nobody knows. */
static int read_map(const char *path, bool *ret_is_whole)
{
	char text[MAP_BYTES];
	int r = read_text(path, text, sizeof(text));

	if (r == -ENOENT && read_text("/proc/self/comm", text, sizeof(text)) == 0) {
		*ret_is_whole = true;
		return 0;
	}
	*ret_is_whole = r == 0 && idmap_is_whole(text);
	return r;
}

static unsigned read_overflow_id(const char *path)
{
	unsigned id = OVERFLOW_ID;
	char text[32];

	if (read_text(path, text, sizeof(text)) == 0)
		(void)sscanf(text, "%u", &id);
	return id;
}

static int refuse(const char *missing, int r, char **ret_error)
{
	int length;

	if (r < 0)
		length = asprintf(
			ret_error,
			"cannot read /proc/self/%s (%s), which tells whether all %ss can be told apart: "
			"mount /proc, or set partial_users",
			*missing == 'u' ? "uid_map" : "gid_map", strerror(-r), missing);
	else
		length = asprintf(ret_error,
				  "this user namespace does not map every %s (/proc/self/%s): those that are "
				  "missing would all look like one. Start hugepoold outside of it (systemd: "
				  "PrivateUsers=no), or set partial_users, and they are refused",
				  missing, *missing == 'u' ? "uid_map" : "gid_map");
	if (length < 0)
		*ret_error = NULL;
	return r < 0 ? r : -EPERM;
}

int idmap_read(bool may_be_partial, struct idmap *ret, char **ret_error)
{
	int users = read_map("/proc/self/uid_map", &ret->has_all_users);
	int groups = read_map("/proc/self/gid_map", &ret->has_all_groups);

	ret->overflow_uid = read_overflow_id("/proc/sys/kernel/overflowuid");
	ret->overflow_gid = read_overflow_id("/proc/sys/kernel/overflowgid");
	if (may_be_partial || (ret->has_all_users && ret->has_all_groups))
		return 0;
	return ret->has_all_users ? refuse("group", groups, ret_error) : refuse("user", users, ret_error);
}

bool idmap_knows_user(const struct idmap *idmap, uid_t uid)
{
	return idmap->has_all_users || uid != idmap->overflow_uid;
}

bool idmap_knows_group(const struct idmap *idmap, gid_t gid)
{
	return idmap->has_all_groups || gid != idmap->overflow_gid;
}

/* lease_name.c - see lease_name.h. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/error.h"
#include "client/lib/lease_name.h"
#include "daemon/base/text.h"

#define USER_MAX_BYTES  255
#define ENTRY_MIN_BYTES 1024
#define ENTRY_MAX_BYTES (1 << 20)

/* Returns 0 and the number, -ENOENT, or another negative errno. */
static int find_user(const char *user, uint32_t *ret_uid)
{
	struct passwd entry, *found = NULL;
	int r = ERANGE;

	for (size_t room = ENTRY_MIN_BYTES; r == ERANGE && room <= ENTRY_MAX_BYTES; room *= 4) {
		char *text = malloc(room);

		if (!text)
			return -ENOMEM;
		r = getpwnam_r(user, &entry, text, room, &found);
		if (r == 0 && found)
			*ret_uid = entry.pw_uid;
		free(text);
	}
	return r != 0 ? -r : found ? 0 : -ENOENT;
}

/* Is it ~USER/NAME? Then *ret_user is the user and *ret_rest begins with the slash. */
static bool has_user(const char *name, char ret_user[USER_MAX_BYTES + 1], const char **ret_rest)
{
	const char *slash = name[0] == '~' ? strchr(name, '/') : NULL;
	size_t length = slash ? (size_t)(slash - name) - 1 : 0;

	if (length == 0 || length > USER_MAX_BYTES || strspn(name + 1, "0123456789") == length)
		return false;
	memcpy(ret_user, name + 1, length);
	ret_user[length] = 0;
	*ret_rest = slash;
	return text_is_plain(ret_user);
}

int lease_name_find(const char *name, char found[NAME_FULL_MAX + 1])
{
	char user[USER_MAX_BYTES + 1], shown[TEXT_SHOWN_MAX];
	const char *rest = "", *fault;
	uint32_t uid = 0;

	if (has_user(name, user, &rest)) {
		int r = find_user(user, &uid);

		if (r < 0)
			return error_set(r, "The name \"%s\" is of a user whom this host does not know%s%s.",
					 text_show(name, shown), r == -ENOENT ? "" : ": ",
					 r == -ENOENT ? "" : strerror(-r));
		if (strlen(rest) > 1 + NAME_MAX_BYTES)
			rest = "/"; /* its fault is told below */
		snprintf(found, NAME_FULL_MAX + 1, "~%" PRIu32 "%s", uid, rest);
		fault = rest[1] ? name_fault(found) : "has at least one byte, and at most 255 bytes";
	} else {
		fault = name_fault(name);
		if (!fault)
			strcpy(found, name);
	}
	if (!fault)
		return 0;
	return error_set(-EINVAL, "A lease's name %s: \"%s\".", fault, text_show(name, shown));
}

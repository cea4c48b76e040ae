/* name.c - see name.h. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/name.h"
#include "daemon/base/text.h"

#define DIGITS     "0123456789"
#define UID_DIGITS 10
#define UID_LAST   (UINT32_MAX - 1) /* the one behind it is (uid_t)-1: nobody at all */

enum scope {
	SCOPE_ALL,  /* NAME */
	SCOPE_OWN,  /* ~/NAME */
	SCOPE_USER, /* ~UID/NAME */
	SCOPE_NONE, /* something else that begins with ~ */
};

/* Where NAME begins, and the user. */
static enum scope split(const char *name, const char **ret_rest, uint32_t *ret_uid)
{
	uint64_t uid = 0;
	size_t n_digits;

	*ret_rest = name;
	if (name[0] != '~')
		return SCOPE_ALL;
	n_digits = strspn(name + 1, DIGITS);
	if (name[1 + n_digits] != '/' || n_digits > UID_DIGITS)
		return SCOPE_NONE;
	*ret_rest = name + 1 + n_digits + 1;
	for (size_t i = 1; i <= n_digits; i++)
		uid = 10 * uid + (uint64_t)(name[i] - '0');
	if (uid > UID_LAST)
		return SCOPE_NONE;
	*ret_uid = (uint32_t)uid;
	return n_digits > 0 ? SCOPE_USER : SCOPE_OWN;
}

const char *name_fault(const char *name)
{
	const char *rest;
	uint32_t uid;
	enum scope scope = split(name, &rest, &uid);

	if (scope == SCOPE_NONE)
		return "that begins with ~ is ~/NAME or ~UID/NAME";
	if (!rest[0] || strlen(rest) > NAME_MAX_BYTES)
		return "has at least one byte, and at most 255 bytes";
	if (!text_is_plain(rest))
		return "is UTF-8 without control, direction and invisible characters";
	if (scope == SCOPE_ALL && !rest[strspn(rest, DIGITS)])
		return "has something else than digits in it: those alone are an id";
	return NULL;
}

_Static_assert(NAME_MAX_BYTES == 255, "the sentence says this number");

char *name_resolve(const char *name, uint32_t uid, char full[NAME_FULL_MAX + 1])
{
	const char *rest;
	uint32_t user = 0;
	enum scope scope = split(name, &rest, &user);

	if (scope == SCOPE_ALL)
		return strcpy(full, rest);
	snprintf(full, NAME_FULL_MAX + 1, "~%" PRIu32 "/%s", scope == SCOPE_OWN ? uid : user, rest);
	return full;
}

bool name_user(const char *full, uint32_t *ret_uid)
{
	const char *rest;

	return split(full, &rest, ret_uid) == SCOPE_USER;
}

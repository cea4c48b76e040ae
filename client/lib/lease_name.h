/* lease_name.h - a lease's name as the daemon takes it: it knows users by number only. */
#pragma once

#include "daemon/base/name.h"

/* Check the name, and put the user's number into ~USER/NAME. May ask the host's user database. Returns 0, or
 * -EINVAL, -ENOENT or another negative errno, with hp_error(). */
int lease_name_find(const char *name, char found[NAME_FULL_MAX + 1]);

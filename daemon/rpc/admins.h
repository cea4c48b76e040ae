/* admins.h - who administers the daemon, and who passes every check of users. Constant.
 *
 * Two ranks. An admin sees everybody's leases and sessions and may end them: evict, drain, free. Who is
 * privileged is an admin too, and beyond that admitted to every pool, and may open every named lease. By
 * default root and the daemon's own user are privileged; where the configuration lists the admins, only those
 * two that it lists are, and others that it lists, or whose groups it lists, are admins.
 */
#pragma once

#include "daemon/pool/pool.h"

struct admins {
	bool are_listed; /* else root and the daemon's user */
	const uid_t *uids;
	unsigned n_uids;
	const gid_t *gids;
	unsigned n_gids;
};

bool admins_privileges(const struct admins *admins, uid_t uid);
bool admins_has(const struct admins *admins, const struct peer *peer);

/* admins.c - see admins.h. */
#include <config.h>

#include <unistd.h>

#include "daemon/rpc/admins.h"

static bool is_listed(const struct admins *admins, uid_t uid)
{
	for (unsigned i = 0; i < admins->n_uids; i++)
		if (admins->uids[i] == uid)
			return true;
	return false;
}

bool admins_privileges(const struct admins *admins, uid_t uid)
{
	return (uid == 0 || uid == geteuid()) && (!admins->are_listed || is_listed(admins, uid));
}

bool admins_has(const struct admins *admins, const struct peer *peer)
{
	return peer->is_privileged || is_listed(admins, peer->uid) ||
	       peer_has_group(peer, admins->gids, admins->n_gids);
}

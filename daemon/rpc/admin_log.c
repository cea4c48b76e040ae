/* admin_log.c - see admin_log.h. */
#include <config.h>

#include <inttypes.h>
#include <stdarg.h>

#include "daemon/base/log.h"
#include "daemon/base/text.h"
#include "daemon/rpc/admin_log.h"

#define ACTION_MAX 256

void log_admin_action(const struct peer *peer, const char *format, ...)
{
	char action[ACTION_MAX], name[PEER_PROCESS_MAX];
	va_list args;

	va_start(args, format);
	text_vformat(action, sizeof(action), format, args);
	va_end(args);
	log_info("%s (uid %u) %s", peer_process_name((uint32_t)peer->pid, name), peer->uid, action);
}

void log_lease_action(const struct peer *peer, const char *words, uint64_t lease, uint32_t owner_uid,
		      const char *pool)
{
	char name[PEER_PROCESS_MAX];

	if (peer->uid == owner_uid)
		log_limited(LOG_LEVEL_INFO, "%s (uid %u) %s %" PRIu64 " of its own in pool %s",
			    peer_process_name((uint32_t)peer->pid, name), peer->uid, words, lease, pool);
	else
		log_admin_action(peer, "%s %" PRIu64 " of uid %u in pool %s", words, lease, owner_uid, pool);
}

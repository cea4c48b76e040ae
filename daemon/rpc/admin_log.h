/* admin_log.h - what is done to memory of others, and to pools, is logged: by whom, and to what of whose.
 *
 * One line an action that was taken, at the level "info". Any thread.
 */
#pragma once

#include <stdint.h>

#include "daemon/rpc/peer.h"

/* "process 12 (uid 0) evicts arena 7 ...": the format is what follows the name, a verb first. */
void log_admin_action(const struct peer *peer, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same of a lease of `owner_uid` in that pool, what is done and to what in two words: "revokes lease".
 * Who does it to a lease of its own can do it all day: of these at most one line a second. */
void log_lease_action(const struct peer *peer, const char *words, uint64_t lease, uint32_t owner_uid,
		      const char *pool);

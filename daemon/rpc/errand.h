/* errand.h - a request that has to visit other workers: it travels from one to the next by their mailboxes,
 * does there what only that worker may do, and comes home to be answered. No locks, no waiting.
 */
#pragma once

#include "daemon/rpc/connection.h"

#define ERRAND_HOME (-1)

/* Embedded at the head of whatever is carried along; that is malloc'ed, and `answer` frees it. */
struct errand {
	struct letter letter;
	const struct service *service;
	unsigned home, at;            /* workers */
	uint64_t session, request_id; /* of whom to answer */

	/* On each visited worker's thread. Returns the next worker's index, or ERRAND_HOME. */
	int (*visit)(struct errand *errand, struct server *here);
	/* On the home worker's thread. `connection` is NULL when the client has gone meanwhile. */
	void (*answer)(struct errand *errand, struct connection *connection);
};

/* Send it off from this server to `first`. `connection`, if any, waits for it. */
void errand_send(struct errand *errand, struct server *server, struct connection *connection,
		 uint64_t request_id, unsigned first);

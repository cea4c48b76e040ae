/* errand.h - a request that has to visit other workers: it travels from one to the next by their mailboxes,
 * does there what only that worker may do, and comes home to be answered. No locks, no waiting.
 *
 * A visit is a slice of work, a tenth of a millisecond at most. All errands together have the turns of one
 * user (run_queue.h), one visit a turn, those of admins first: however many there are, who asks for memory
 * waits for one. A session has one at a time, and what its errand carries is charged
 * to its user.
 */
#pragma once

#include "daemon/rpc/connection.h"

#define ERRAND_HOME (-1)
#define ERRAND_AWAY (-2) /* somebody else has it now, who calls errand_resume() */

/* Embedded at the head of whatever is carried along; that is made by errand_new(), and `answer` frees it. */
struct errand {
	struct letter letter;
	struct account *account; /* who is charged for it, a reference; NULL: nobody */
	size_t n_bytes;
	const struct service *service;
	unsigned home, at;            /* workers */
	uint64_t session, request_id; /* of whom to answer; 0: of nobody */
	bool is_admins;

	/* On each visited worker's thread. Returns the next worker's index (this one's: once more, after
	 * others), ERRAND_HOME or ERRAND_AWAY. */
	int (*visit)(struct errand *errand, struct server *here);
	/* On the home worker's thread. `connection` is NULL when the client has gone meanwhile. */
	void (*answer)(struct errand *errand, struct connection *connection);
};

/* An errand of `n_bytes`, all zero, for this request of the connection's session; NULL `connection`: for
 * nobody. NULL: there is no room for it, and the request was answered so. */
void *errand_new(size_t n_bytes, struct connection *connection, uint64_t request_id);
void errand_free(struct errand *errand);

/* Send it off from this server to `first`. `connection`, if any, waits for it. */
void errand_send(struct errand *errand, struct server *server, struct connection *connection,
		 uint64_t request_id, unsigned first);

/* The same for a session, which may have no connection just now. From any thread, if it is NULL. */
void errand_send_for(struct errand *errand, struct server *server, struct session *session,
		     uint64_t request_id, unsigned first);

/* From any thread: it has been away, and goes on to this worker, or home. */
void errand_resume(struct errand *errand, int to);
/* In a visit, which then returns ERRAND_AWAY: until errand_unpark_all(), then it visits this server again. */
void errand_park(struct errand *errand, struct server *here);
/* For server.c: what they wait for may have happened. */
void errand_unpark_all(struct server *here);

/* For server.c: make the next visit that is due here. Returns whether there are more. */
bool errand_visit_next(struct server *server);

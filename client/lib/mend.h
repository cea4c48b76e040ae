/* mend.h - finding the daemon: the first time, and again whenever the connection broke.
 *
 * One attempt follows the other with growing pauses, until somebody answers Hello or the limit has passed.
 * The client's lock guards it; the steps never block, so that whoever has the time takes them: a thread that
 * waits (client->driven) or hp_dispatch().
 */
#pragma once

#include <stdint.h>

#include "client/include/hugepool.h"
#include "client/lib/connection.h"
#include "client/lib/error.h"

#define MEND_WAIT                                                                                            \
	1 /* nothing to do before mend_next_ns(), or before the connection it greets says something */

struct mend {
	struct connection *greeting; /* Hello was said on it */
	uint64_t hello_id;
	uint64_t give_up_ns; /* 0: nobody is at it */
	uint64_t try_ns, pause_ns;
	struct error error; /* of the last attempt; when it was given up, why */
};

/* Go on. 0: client->connection is there, and the session; MEND_WAIT; or a negative errno with mend.error:
 * given up, the next step begins anew. -ESTALE: the session has ended, and client->ended is set; -ECONNRESET
 * (the first time: -ETIMEDOUT) when the limit has passed; other refusals of the daemon's. */
int mend_step(hp_client *client);
/* When the next step is due whatever happens. */
uint64_t mend_next_ns(const hp_client *client);
/* Step until it has worked or is given up, waiting in between without the lock. -ETIMEDOUT after the
 * deadline, -EINTR after a signal handler (interrupt.h): it is not given up then. Calls that wait are not
 * told. */
int mend_run(hp_client *client, uint64_t deadline_ns);
/* The same for one who does not wait for a daemon to come: -ETIMEDOUT also when nobody is at the socket just
 * now. */
int mend_run_briefly(hp_client *client, uint64_t deadline_ns);

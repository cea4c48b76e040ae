/* reap.h - before a request is refused, the sessions of processes that are dead end.
 *
 * Whoever has waited for a process expects all of it to be gone: its names, its pages, its quota, its place.
 * The worker that has its session may know of the death only later, or not be done. So a request that has met
 * something of somebody's visits every worker (a worker call, errand.h), waits there until each session that
 * was dead when it came has ended, and is tried once more.
 *
 * Nothing is done for it that would not be done anyhow. Where nobody is dead, it costs one poll(2).
 */
#pragma once

#include "daemon/lease/lease.h"
#include "daemon/rpc/errand.h"

/* Before a request looks at anything: what ends from now on, it may have met. Any thread. */
uint64_t reap_mark(void);
/* A session has ended, or a connection has left its seat. */
void reap_note_gone(void);
/* Is there a dead process, or a session that has not ended yet, or one that has since the mark? Any thread.
 */
bool reap_is_due(const struct service *service, uint64_t mark);
/* The same, and the result is one that this may change. */
bool reap_may_help(const struct service *service, uint64_t mark, enum lease_result result);

enum reap_extent {
	REAP_LEASES, /* until the dead hold nothing */
	REAP_SEATS,  /* and have no connection and no session: for what belongs to no session itself */
};

/* Embedded in whatever waits; malloc'ed. */
struct reap {
	struct errand errand; /* first */
	enum reap_extent extent;
	bool is_here;    /* it has seen who is dead on the worker that it visits */
	uint64_t number; /* of the last of those */
	/* On the home worker's thread, which owns it again. `session` is that of the request; NULL: it has
	 * ended meanwhile, or the request has none. */
	void (*again)(struct reap *reap, struct session *session);
};

/* From any thread, if there is no session. `again` is set. */
void reap_start(struct reap *reap, struct server *home, struct session *session, enum reap_extent extent);

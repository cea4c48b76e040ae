/* event.h - what the daemon has told and the program has not been told yet.
 *
 * The client's lock guards it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "client/include/hugepool.h"
#include "proto/hugepool.pb-c.h"

#define EVENT_QUEUE_MAX 64
#define EVENT_POOL_MAX  64 /* bytes of a pool's name */

struct event {
	unsigned kind; /* one HP_EVENT_... */
	char pool[EVENT_POOL_MAX];
	uint64_t lease, arena;
	bool missed;
};

/* Invariant: at most one of the kind HP_EVENT_PRESSURE a pool waits. */
struct event_queue {
	struct event *events; /* a ring of EVENT_QUEUE_MAX; NULL: nobody has ever subscribed */
	unsigned first, n;
	unsigned kinds;  /* that the program is told of */
	unsigned asked;  /* that it asked for last */
	unsigned inside; /* that the library asks for besides */
	hp_event_handler *handler;
	void *arg;
};

/* A ring to put them in. -ENOMEM, or 0; fine when there is one. */
int event_queue_init(struct event_queue *queue);
void event_queue_fini(struct event_queue *queue);
/* Add what the daemon told. When there is no room the oldest goes, and the next one knows. */
void event_queue_add(struct event_queue *queue, const Hugepool__Event *told);
/* Be told of these kinds, too, whatever the program subscribes to; the client's lock is held, and given up
 * meanwhile. 0, or what call_run() says. */
int event_subscribe_inside(hp_client *client, unsigned kinds);
/* Take the oldest. False: there is none. */
bool event_queue_take(struct event_queue *queue, struct event *ret);

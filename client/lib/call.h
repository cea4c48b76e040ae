/* call.h - requests under way: each is sent, sent again on the next connection if need be, and answered.
 *
 * A call has an owner, who keeps it and its request until it is done. Either a thread waits for it
 * (call_run()), or nobody does (call_start()): then it is kept in the client's `finished` for hp_dispatch().
 *
 * The client's lock guards calls and is held by whoever calls a function of this file.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "client/include/hugepool.h"
#include "client/lib/error.h"
#include "proto/frame.h"
#include "proto/hugepool.pb-c.h"

#define NO_DEADLINE UINT64_MAX

/* A reply, only there while it is looked at. */
struct answer {
	const Hugepool__Reply *reply; /* its result is the method's, or it has an error */
	const struct frame *frame;
};

struct call;

/* The call is answered; with an error, call->error has it already. Returns true when that is all; false when
 * call->request is another one now, to be sent and answered in the same way. On any thread. */
typedef bool call_take(hp_client *client, struct call *call, const struct answer *answer);
/* What is to be done with a call that nobody waits for, when it is done; without the lock. Frees it, unless
 * it starts it once more. Returns how many callbacks it called. */
typedef unsigned call_finish(hp_client *client, struct call *call);

enum call_state {
	CALL_NEW,
	CALL_WAITING, /* to be sent */
	CALL_SENT,    /* on the connection that there is now */
	CALL_DONE,
};

TAILQ_HEAD(call_queue, call);

struct call {
	/* The owner's. */
	Hugepool__Request *request; /* its id and `again` are filled in when it is sent */
	call_take *take;            /* NULL: nothing but the error matters */
	call_finish *finish;        /* NULL: a thread waits */
	bool asks;                  /* for memory: the daemon may let it wait */

	/* call.c's. */
	TAILQ_ENTRY(call) link; /* in one of the client's queues, unless it is new, or done and waited for */
	enum call_state state;
	unsigned n_sends;
	pthread_cond_t wake;

	/* When it is done; code 0: without failure. */
	struct error error;
};

void call_init(struct call *call, Hugepool__Request *request, call_take *take);

/* Send the request and wait until the call is done; the lock is given up meanwhile. Returns 0 or a negative
 * errno with hp_error(): the daemon's; -ESTALE, -ECONNRESET, -EPROTO, -EMSGSIZE and the like; -ETIMEDOUT
 * after the deadline, which holds where nobody else calls. */
int call_run(hp_client *client, struct call *call, uint64_t deadline_ns);
/* Only begin: call->finish is set. */
void call_start(hp_client *client, struct call *call);

/* ---- for the files that receive and connect ---- */

/* Bring a reply to the call that it belongs to, if that is still there. */
void call_answer(hp_client *client, const struct answer *answer);
/* Every call that is not done fails. */
void call_fail_all(hp_client *client, const struct error *error);
/* Calls of hp_close() fail where they are: all that wait for their turn to ask, or all. -ECANCELED. */
void call_cancel_asks(hp_client *client);
/* Send what waits, as much as daemon and socket take. */
void call_send(hp_client *client);
/* Receive and send what can be without waiting. A thread that drives is not disturbed. */
void call_poll(hp_client *client);
/* If calls are waited for and nobody drives, one who waits has to. */
void call_hand_over(hp_client *client);

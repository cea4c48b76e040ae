/* call.h - requests under way: each is sent, sent again on the next connection if need be, and answered.
 *
 * A call has an owner, who keeps it and its request until it is done. Either a thread waits for it
 * (call_run()), or nobody does (call_start()): then it is kept in the client's `finished` for hp_dispatch(),
 * or nobody wants to hear of it, and it frees itself.
 *
 * A thread can go without its answer: after its deadline, or when a signal handler has interrupted it. A call
 * that can free itself then goes on alone; any other is withdrawn.
 *
 * The client's lock guards calls and is held by whoever calls a function of this file.
 */
#pragma once

#include <stdatomic.h>
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

/* Nobody hears of the call: it is done, and frees itself. The lock is held. */
typedef void call_discard(struct call *call);
/* The thread will not wait for the answer of a call that has been sent or will not be: start what undoes it.
 * -ENOMEM: it cannot be undone, so wait. The lock is held. */
typedef int call_withdraw(hp_client *client, struct call *call);

/* What a thread does for its call. */
enum call_patience {
	CALL_PATIENT,  /* finds the daemon again; a signal handler ends it */
	CALL_STUBBORN, /* the same, but for the handler: half of it would be worse than all */
	CALL_BRIEF, /* waits only while the daemon is there, a second at most, and not at all when it owes us
		       an answer from before; no handler ends it */
};

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
	call_finish *finish;        /* when nobody waits: one of these */
	call_discard *discard;      /* in call_run(), too: it may go on alone */
	call_withdraw *withdraw;    /* NULL: there is nothing to undo */
	enum call_patience patience;
	bool asks; /* for memory: the daemon may let it wait */

	/* call.c's. */
	TAILQ_ENTRY(call) link; /* in one of the client's queues, unless it is new, or done and waited for */
	enum call_state state;
	unsigned n_sends;
	bool is_waited, is_asleep; /* a thread waits for it; and sleeps on: */
	bool is_left;              /* a thread has waited in vain: counted in n_left */
	_Atomic uint32_t wake;     /* changes to wake that thread */

	/* When it is done; code 0: without failure. */
	struct error error;
};

void call_init(struct call *call, Hugepool__Request *request, call_take *take);

/* Send the request and wait until the call is done; the lock is given up meanwhile. Returns 0 or a negative
 * errno with hp_error(): the daemon's; -ESTALE, -ECONNRESET, -EPROTO, -EMSGSIZE and the like; -ETIMEDOUT
 * after the deadline, -EINTR after a signal handler (interrupt.h): then it was withdrawn. One that goes on
 * alone is no failure: 0, and it is not the caller's any more. */
int call_run(hp_client *client, struct call *call, uint64_t deadline_ns);
/* Only begin: call->finish is set, or call->discard, and then it may be gone when this returns. */
void call_start(hp_client *client, struct call *call);

/* ---- for the files that receive and connect ---- */

/* Bring a reply to the call that it belongs to, if that is still there. */
void call_answer(hp_client *client, const struct answer *answer);
/* Every call that is not done fails. */
void call_fail_all(hp_client *client, const struct error *error);
/* Calls of hp_close() fail where they are: all that wait for their turn to ask, or all. -ECANCELED. */
void call_cancel_asks(hp_client *client);
/* Have a request sent: a new one, under a new id. */
void call_enqueue(hp_client *client, struct call *call);
/* It is not answered, and will not be. */
void call_fail(hp_client *client, struct call *call, int error);
/* It is done for its thread, and answered by nobody. */
void call_drop(hp_client *client, struct call *call, int error);
/* The connection is of no use any more: what was under way is to be sent again on the next one. */
void call_break_connection(hp_client *client);
/* Take every frame that has been read, and send what is to be sent then. */
void call_take_frames(hp_client *client);
/* Wake the thread that waits for it, if one does. */
void call_wake(struct call *call);

/* Send what waits, as much as daemon and socket take. */
void call_send(hp_client *client);
/* Receive and send what can be without waiting. A thread that drives is not disturbed. */
void call_poll(hp_client *client);
/* If calls are waited for and nobody drives, one who waits has to. */
void call_hand_over(hp_client *client);

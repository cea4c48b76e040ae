/* mailbox.h - how one thread asks another: a queue of letters with an eventfd that becomes readable.
 *
 * A letter is embedded in whatever it is about and belongs to the mailbox from mailbox_post() until its
 * deliver() is called on the receiving thread; deliver() owns it again and may free it or post it on.
 * Letters of one sender arrive in order. Posting takes no memory and cannot fail.
 */
#pragma once

#include <stdbool.h>

#include "daemon/base/lock.h"

struct letter {
	struct letter *next;
	void (*deliver)(struct letter *letter);
};

struct mailbox {
	struct lock lock;
	struct letter *head, **tail; /* guarded by lock */
	int event_fd;                /* constant; readable while there may be letters */
};

#define MAILBOX_NONE ((struct mailbox){.event_fd = -1})

/* Returns 0, or negative errno: then it is MAILBOX_NONE. */
int mailbox_init(struct mailbox *box);
/* The mailbox must be empty. MAILBOX_NONE is fine. */
void mailbox_fini(struct mailbox *box);

/* From any thread. */
void mailbox_post(struct mailbox *box, struct letter *letter);

/* From any thread: wake the owner without a letter, to look at what it shares. */
void mailbox_ring(struct mailbox *box);

/* On the owner's thread: deliver what is there now (not what arrives meanwhile). Returns how many; of
 * MAILBOX_NONE none. */
unsigned mailbox_deliver(struct mailbox *box);
/* `max` of them at most: the others wait in the box, which stays readable. */
unsigned mailbox_deliver_some(struct mailbox *box, unsigned max);

/* On the owner's thread, without an event loop: sleep until there is a letter or `timeout_ms` has passed
 * (-1: no limit), then deliver. */
unsigned mailbox_wait(struct mailbox *box, int timeout_ms);

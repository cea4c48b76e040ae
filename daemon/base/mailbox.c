/* mailbox.c - the eventfd is written once per batch: only the letter that finds the queue empty rings. */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/base/mailbox.h"

int mailbox_init(struct mailbox *box)
{
	box->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (box->event_fd < 0)
		return -errno;
	lock_init(&box->lock, LOCK_MAILBOX);
	box->head = NULL;
	box->tail = &box->head;
	return 0;
}

void mailbox_fini(struct mailbox *box)
{
	hp_assert(box->head == NULL);
	close(box->event_fd);
	lock_fini(&box->lock);
}

void mailbox_ring(struct mailbox *box)
{
	uint64_t one = 1;

	/* Fails only when the counter is full, and then it is readable already. */
	(void)!write(box->event_fd, &one, sizeof(one));
}

void mailbox_post(struct mailbox *box, struct letter *letter)
{
	bool was_empty;

	letter->next = NULL;
	lock_take(&box->lock);
	was_empty = box->head == NULL;
	*box->tail = letter;
	box->tail = &letter->next;
	lock_drop(&box->lock);

	if (was_empty)
		mailbox_ring(box);
}

unsigned mailbox_deliver(struct mailbox *box)
{
	struct letter *letter;
	uint64_t rings;
	unsigned n = 0;

	/* Before the queue is emptied: a ring after this read is for a letter we may miss now. */
	(void)!read(box->event_fd, &rings, sizeof(rings));

	lock_take(&box->lock);
	letter = box->head;
	box->head = NULL;
	box->tail = &box->head;
	lock_drop(&box->lock);

	while (letter) {
		struct letter *next = letter->next;

		letter->deliver(letter);
		letter = next;
		n++;
	}
	return n;
}

unsigned mailbox_wait(struct mailbox *box, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = box->event_fd, .events = POLLIN};

	(void)poll(&poll_fd, 1, timeout_ms);
	return mailbox_deliver(box);
}

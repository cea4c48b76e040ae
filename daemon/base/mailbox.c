/* mailbox.c - the eventfd is written once per batch: only the letter that finds the queue empty rings. */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/base/mailbox.h"

int mailbox_init(struct mailbox *box)
{
	*box = MAILBOX_NONE;
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
	if (box->event_fd < 0)
		return;
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

/* Take the first letters out; the last of them has no next. */
static struct letter *take(struct mailbox *box, unsigned max, bool *ret_more)
{
	struct letter *first, **end;

	lock_take(&box->lock);
	first = box->head;
	end = &box->head;
	for (unsigned n = 0; *end && n < max; n++)
		end = &(*end)->next;
	box->head = *end;
	if (!box->head)
		box->tail = &box->head;
	*ret_more = box->head != NULL;
	if (first)
		*end = NULL;
	lock_drop(&box->lock);
	return first;
}

unsigned mailbox_deliver_some(struct mailbox *box, unsigned max)
{
	struct letter *letter;
	unsigned n = 0;
	uint64_t rings;
	bool more;

	if (box->event_fd < 0)
		return 0;
	/* Before the queue is emptied: a ring after this read is for a letter we may miss now. */
	(void)!read(box->event_fd, &rings, sizeof(rings));
	for (letter = take(box, max, &more); letter; n++) {
		struct letter *next = letter->next;

		letter->deliver(letter);
		letter = next;
	}
	if (more)
		mailbox_ring(box);
	return n;
}

unsigned mailbox_deliver(struct mailbox *box)
{
	return mailbox_deliver_some(box, UINT_MAX);
}

unsigned mailbox_wait(struct mailbox *box, int timeout_ms)
{
	struct pollfd poll_fd = {.fd = box->event_fd, .events = POLLIN};

	(void)poll(&poll_fd, 1, timeout_ms);
	return mailbox_deliver(box);
}

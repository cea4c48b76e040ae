/* assistant.c - see assistant.h. */
#include <config.h>

#include "daemon/backing/assistant.h"

#include <errno.h>
#include <semaphore.h>
#include <stddef.h>

#include "daemon/backing/backing.h"
#include "daemon/backing/guard.h"
#include "daemon/base/assert.h"

/* Waking a thread costs as much as zeroing a MiB or two. */
#define WORTH_BYTES (4ull << 20)
#define CUT_BYTES   4096 /* halves are multiples of it */

struct half {
	struct letter letter;
	struct iovec pieces[BACKING_ZERO_MAX];
	unsigned n_pieces;
	bool is_cleared;
	sem_t is_done;
};

static size_t sum(const struct iovec *pieces, unsigned n_pieces)
{
	size_t n_bytes = 0;

	for (unsigned i = 0; i < n_pieces; i++)
		n_bytes += pieces[i].iov_len;
	return n_bytes;
}

static void add(struct half *half, void *memory, size_t n_bytes)
{
	if (n_bytes > 0)
		half->pieces[half->n_pieces++] = (struct iovec){memory, n_bytes};
}

/* The first `n_bytes` become mine, the others theirs. */
static void cut(const struct iovec *pieces, unsigned n_pieces, size_t n_bytes, struct half *mine,
		struct half *theirs)
{
	mine->n_pieces = theirs->n_pieces = 0;
	for (unsigned i = 0; i < n_pieces; i++) {
		size_t n_mine = pieces[i].iov_len < n_bytes ? pieces[i].iov_len : n_bytes;

		add(mine, pieces[i].iov_base, n_mine);
		add(theirs, (char *)pieces[i].iov_base + n_mine, pieces[i].iov_len - n_mine);
		n_bytes -= n_mine;
	}
}

static void clear_half(struct letter *letter)
{
	struct half *half = (struct half *)((char *)letter - offsetof(struct half, letter));

	half->is_cleared = guard_clear(half->pieces, half->n_pieces);
	sem_post(&half->is_done); /* it is the other thread's from here */
}

bool assistant_clear(struct mailbox *assistant, const struct iovec *pieces, unsigned n_pieces)
{
	const size_t n_bytes = sum(pieces, n_pieces);
	struct half mine, theirs;
	bool is_cleared;

	hp_assert(n_pieces <= BACKING_ZERO_MAX);
	if (!assistant || n_bytes < WORTH_BYTES)
		return guard_clear(pieces, n_pieces);
	cut(pieces, n_pieces, n_bytes / 2 / CUT_BYTES * CUT_BYTES, &mine, &theirs);
	theirs.letter.deliver = clear_half;
	sem_init(&theirs.is_done, 0, 0);
	mailbox_post(assistant, &theirs.letter);
	is_cleared = guard_clear(mine.pieces, mine.n_pieces);
	while (sem_wait(&theirs.is_done) < 0 && errno == EINTR)
		;
	sem_destroy(&theirs.is_done);
	return is_cleared && theirs.is_cleared;
}

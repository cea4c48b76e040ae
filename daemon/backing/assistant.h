/* assistant.h - zeroing with two threads: what is large is cut in two, and the assistant does one half.
 *
 * The assistant is any thread that delivers its mail; it is asked by one thread at a time. Nothing is shared
 * but the memory, which nobody else touches meanwhile.
 */
#pragma once

#include <stdbool.h>
#include <sys/uio.h>

#include "daemon/base/mailbox.h"

/* guard_clear() of at most BACKING_ZERO_MAX pieces, by two threads if that is worth it. NULL: there is no
 * assistant. Returns when both are done. */
bool assistant_clear(struct mailbox *assistant, const struct iovec *pieces, unsigned n_pieces);

/* state.h - the state directory: one daemon's, locked as long as that lives, with the record of what it has
 * changed on the host.
 *
 * The lock is a file in it that only we can open, so that nobody else can hold it; it has the owner's pid.
 * The record is daemon/base/journal.h. Both go when the daemon has given everything back; a directory that
 * was made beside the socket goes with them. A daemon that was killed leaves them to the next one.
 */
#pragma once

#include <stdbool.h>

#include "daemon/base/journal.h"

struct state {
	char *path;       /* absolute, as the kernel has it */
	int directory_fd; /* O_PATH */
	int lock_fd;
	bool is_locked;
	int parent_fd; /* of one that was made beside the socket, and its name there; else -1 and NULL */
	char *name;
	struct journal *journal;
};

/* Have the directory `path`, made if it is not there, for ourselves. NULL: the socket's directory if nobody
 * but root and we can change anything in it, else SOCKET.state, made beside the socket. Waits a while for a
 * daemon that is stopping, and for a moment for one that may be about to, until a signal says stop. Returns
 * 0; -ECANCELED: a signal said stop; or negative errno with a sentence in *ret_error, the caller's: -EBUSY:
 * another daemon has it. Nothing is held then. */
int state_open(struct state *state, const char *path, const char *socket_path, char **ret_error);

/* Who waits for the directory may wait for us from now on. */
void state_mark_stopping(struct state *state);

/* Last of all: remove what is ours in the directory, and unlock it. */
void state_close(struct state *state);

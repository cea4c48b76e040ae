/* stop.h - the signals that end the daemon: SIGTERM, SIGINT, SIGHUP.
 *
 * From stop_init() on they are noted, whatever the main thread does, and interrupt its system calls: whoever
 * waits there waits for stop_fd() too, and whoever works long looks at stop_wanted() in between. One object
 * for the process, as signals are.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

/* Returns 0 or negative errno: then the signals still end the process at once. */
int stop_init(void);

/* Has one come? Any thread; never taken back. */
bool stop_wanted(void);
/* The same for layers that know nothing of signals. */
const atomic_bool *stop_flag(void);

/* Readable from when one has come. */
int stop_fd(void);
/* Which one; 0: none. */
int stop_signal(void);

/* requests_daemon.h - a whole daemon in this process, for fuzz_requests.c: its threads run as always, and now
 * and then all of them are held still while the checkers walk.
 */
#pragma once

#include "daemon/run/daemon.h"

#define FUZZ_WORKERS 3

/* One for the process: pools of every kind whose limits are soon reached, and as many as there can be. */
void fuzz_daemon_start(void);
/* Ends all that is left; no descriptor may be. */
void fuzz_daemon_stop(void);
struct daemon *fuzz_daemon(void);

/* Nothing is asked for and nothing waits: hold all threads, and audit_walk(). Fails (asserts) when the daemon
 * does not come to rest in a minute. Returns how many pages are leased. */
uint64_t fuzz_daemon_audit(void);

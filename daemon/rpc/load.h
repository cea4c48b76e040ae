/* load.h - how much of a worker each user has had of late, and so whose turn comes first.
 *
 * A user with hundreds of connections, each of which always asks for something, would otherwise have hundreds
 * of turns between two of another's. By level, events get libevent's priorities: those of users who ask for
 * little are served before those of users who ask for much, and who got little because of that comes first
 * again soon.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#define LOAD_LEVELS 4 /* 0: next to nothing; the last: half of the worker, or more */

struct load;

/* The load of this user on the worker whose tree this is (NULL at first), with a reference. NULL: no memory.
 * One thread. */
struct load *load_get(void **users, uid_t uid);
struct load *load_ref(struct load *load);
/* Returns NULL. NULL is fine. */
struct load *load_put(void **users, struct load *load);

/* It has had the worker from then until then (CLOCK_MONOTONIC, ns). */
void load_add(struct load *load, uint64_t begin_ns, uint64_t end_ns);
unsigned load_level(const struct load *load, uint64_t now_ns);

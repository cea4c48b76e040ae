/* seats.h - how many clients may be here at once: in all, and of one user.
 *
 * A connection takes a seat when it is accepted; its session keeps the seat until it ends. Descriptors are
 * what is scarce: a seat stands for a socket, a pidfd and one descriptor in flight. Any thread.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct seats;

/* NULL: no memory. */
struct seats *seats_new(unsigned max);
struct seats *seats_free(struct seats *seats);

enum {
	SEATS_FULL = 1,      /* nobody can come in */
	SEATS_USER_FULL = 2, /* this user has half of the seats (root may have all) */
};
/* Returns 0, one of the above, or -ENOMEM. */
int seats_take(struct seats *seats, uid_t uid);
void seats_leave(struct seats *seats, uid_t uid);
unsigned seats_taken(struct seats *seats);

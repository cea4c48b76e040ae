/* seats.h - how many clients may be here at once: in all, and of one user.
 *
 * A connection takes a seat from when it is accepted until it is closed, a session until it ends. Descriptors
 * are what is scarce: a seat stands for two of them. Any thread.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

struct seats;

enum seat { SEAT_CONNECTION, SEAT_SESSION, N_SEAT_KINDS };

/* `max`: of all users and both kinds; a few of them (a sixteenth, 16 at most) are root's, who can so come in
 * and see who has the others. `user_sessions`: sessions of one user but root; 0: half of all seats.
 * NULL: no memory. */
struct seats *seats_new(unsigned max, unsigned user_sessions);
/* Root is a user like any other: it is bound by the limits, and no seats are kept for it. Before any is
 * taken. */
void seats_bind_root(struct seats *seats);
struct seats *seats_free(struct seats *seats);

enum {
	SEATS_FULL = 1,      /* nobody can come in, or only root */
	SEATS_USER_FULL = 2, /* this user has as many as one may (root may have all) */
};
/* Returns 0, one of the above, or -ENOMEM. */
int seats_take(struct seats *seats, uid_t uid, enum seat kind);
void seats_leave(struct seats *seats, uid_t uid, enum seat kind);
unsigned seats_taken(struct seats *seats);

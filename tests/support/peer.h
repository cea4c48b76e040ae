/* peer.h - the daemon's end of a client library's connection, played by the test: says what it wants, when
 * it wants, also what hugepoold would not say.
 *
 * A thread listens in a directory of its own, answers Hello, and gives every other request to the test's
 * function, on the thread. The test's thread has things done there by peer_do(). What is not as it should be
 * aborts.
 */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/frame.h"
#include "proto/hugepool.pb-c.h"

#define PEER_POOL        "p" /* its number is PEER_POOL_NUMBER */
#define PEER_POOL_NUMBER 7
#define PEER_PAGE        4096u
#define PEER_ARENA       "hugepool-test-arena" /* what /proc/self/maps calls its files */

struct peer;
typedef void peer_answer(struct peer *peer, const Hugepool__Request *request);
typedef void peer_errand(struct peer *peer, void *arg);

struct peer {
	/* constant */
	char directory[32], socket[64];
	peer_answer *answer;
	pthread_t thread;
	int errand_fds[2]; /* a pipe of errands, */
	int done_fds[2];   /* and one that says that they are done */

	/* the thread's; others look at them in an errand */
	int listen_fd, fd; /* fd -1: nobody is connected */
	struct frame_reader *reader;
	struct frame_writer *writer;
	bool forgetful;    /* does not know the session that a client continues */
	bool deaf;         /* takes no connections */
	unsigned n_hellos; /* answered */
};

void peer_start(struct peer *peer, peer_answer *answer);
void peer_stop(struct peer *peer);
/* A new arena's file, which can be sealed; it is the caller's. */
int peer_arena_fd(uint64_t n_pages);
/* Have it done on the peer's thread; returns when it is. */
void peer_do(struct peer *peer, peer_errand *errand, void *arg);

/* ---- on the thread ---- */

/* Send a reply, with descriptors that stay the caller's, at once. */
void peer_reply(struct peer *peer, const Hugepool__Reply *reply, const int *fds, unsigned n_fds);
void peer_reply_error(struct peer *peer, uint64_t id, Hugepool__Code code);
/* A Free without failures, a Subscribe. */
void peer_reply_free(struct peer *peer, uint64_t id);
void peer_reply_subscribe(struct peer *peer, uint64_t id);
/* End the connection. */
void peer_hang_up(struct peer *peer);
/* An errand: the same, and the client's session is forgotten. */
void peer_forget(struct peer *peer, void *arg);

/* watch.h - the one descriptor that a program with an event loop polls: an epoll of the socket of the moment,
 * of a bell that threads ring, and of a timer.
 *
 * Does nothing, and costs a comparison, until it is opened. The client's lock guards it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct watch {
	int epoll_fd; /* -1: not opened */
	int bell_fd, timer_fd;
	int socket_fd; /* in the epoll; -1: none */
	bool for_output, rung, timed;
};

#define WATCH_CLOSED ((struct watch){.epoll_fd = -1, .bell_fd = -1, .timer_fd = -1, .socket_fd = -1})

/* 0 or a negative errno; it stays closed then. Fine when it is open. */
int watch_open(struct watch *watch);
void watch_fini(struct watch *watch);
/* In a forked child, whose descriptors are the parent's as well: have others, under the same number, which
 * watch nothing yet. 0, or a negative errno and it is what it was. Fine when it is not open. */
int watch_renew(struct watch *watch);

/* Watch this socket (-1: none) for input, and for room if need be. It has to be taken out before it is
 * closed. */
void watch_socket(struct watch *watch, int socket_fd, bool for_output);
/* The descriptor is readable from now on, until watch_quiet(). */
void watch_ring(struct watch *watch);
void watch_quiet(struct watch *watch);
/* The descriptor is readable from then on; 0: not by the timer. */
void watch_time(struct watch *watch, uint64_t at_ns);

/* raw.h - a client without manners: frames and bytes of the test's choice, from any process and any uid.
 *
 * What is not as it should be fails the test; in a child made by raw_fork() it is printed and the child exits
 * with 1, which raw_join() then fails on. Every wait has a deadline. One thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "proto/frame.h"
#include "proto/hugepool.pb-c.h"
#include "tests/support/dut.h"

#define RAW_WAIT_MS WAIT_MAX_MS

struct raw {
	int fd; /* blocking; -1: closed */
	struct frame_reader *reader;
	uint64_t last_id; /* of the requests sent */
	uint64_t session; /* after raw_open() */
	uint8_t token[16];
};

/* ---- checks that know where they are ---- */

__attribute__((noreturn, format(printf, 3, 4))) void raw_fail(const char *file, int line, const char *format,
							      ...);
#define raw_check(condition, ...)                                                                            \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			raw_fail(__FILE__, __LINE__, __VA_ARGS__);                                           \
	} while (0)

/* ---- other processes ---- */

/* Run `run` in a child, as `uid` (0: ourselves); it dies with us. raw_join() waits for it to succeed. */
pid_t raw_fork(uid_t uid, void (*run)(void *arg), void *arg);
void raw_join(pid_t pid);
/* End it, and wait until it is gone. */
void raw_kill(pid_t pid);

/* ---- the connection ---- */

void raw_connect(struct raw *raw, const struct dut *dut);
/* Say Hello; the session's id and token are in *raw then. */
void raw_hello(struct raw *raw);
/* Both. */
void raw_open(struct raw *raw, const struct dut *dut);
/* Takes a closed one, too. */
void raw_close(struct raw *raw);

/* ---- out ---- */

/* Returns how many bytes went: all, or fewer when the daemon takes no more for `patience_ms`, or has closed.
 */
size_t raw_send_bytes(struct raw *raw, const void *bytes, size_t n_bytes, unsigned patience_ms);
/* Append a frame to `buffer` of `room` bytes; returns its end. For sending many at once. */
size_t raw_pack(const Hugepool__Request *request, uint8_t *buffer, size_t used, size_t room);
/* Send a request whole; its id is filled in unless it has one. */
void raw_send(struct raw *raw, Hugepool__Request *request);
/* A frame with this header and these bytes; what it means is the daemon's trouble. */
void raw_send_frame(struct raw *raw, const uint8_t header[FRAME_HEADER_BYTES], const void *bytes,
		    size_t n_bytes);

/* ---- in ---- */

/* The next reply, whatever its id; its descriptors are closed and counted, and nobody says Received. The
 * caller frees it by raw_drop(). NULL: the daemon has closed. */
Hugepool__Reply *raw_receive(struct raw *raw, unsigned *ret_n_fds);
void raw_drop(Hugepool__Reply *reply);
/* Nothing is there to be read: true unless something comes within that time. */
bool raw_is_silent(struct raw *raw, unsigned for_ms);
/* Read until the daemon closes; fails if it does not. Replies that still come are dropped. */
void raw_expect_closed(struct raw *raw);

/* ---- whole exchanges ---- */

/* Send, and take the reply with that id (others are dropped). */
Hugepool__Reply *raw_call(struct raw *raw, Hugepool__Request *request);
/* The same for one that must fail with this code, and a sentence that has these words in it. */
void raw_expect_error(struct raw *raw, Hugepool__Request *request, Hugepool__Code code, const char *words);
/* Take the next reply: it must be this error. */
void raw_receive_error(struct raw *raw, Hugepool__Code code, const char *words);

/* One lease, all its descriptors acknowledged. Returns its id. */
uint64_t raw_alloc(struct raw *raw, uint64_t n_pages);
/* Free one lease: OK, or the code with which it failed. */
Hugepool__Code raw_free(struct raw *raw, uint64_t lease);
void raw_say_received(struct raw *raw);

/* ---- requests in few words ---- */

/* A Request that lives in its own frame of the stack: struct raw_request r; raw_ask_alloc(&r, ...)... */
struct raw_request {
	Hugepool__Request request;
	union {
		Hugepool__Hello hello;
		Hugepool__Alloc alloc;
		Hugepool__Free free;
		Hugepool__Arena arena;
		Hugepool__Received received;
		Hugepool__Bye bye;
		Hugepool__Status status;
		Hugepool__Leases leases;
	};
	uint64_t one; /* what a list of one item points to */
};

Hugepool__Request *raw_ask_hello(struct raw_request *ask);
Hugepool__Request *raw_ask_alloc(struct raw_request *ask, uint64_t n_pages);
Hugepool__Request *raw_ask_free(struct raw_request *ask, uint64_t lease);
Hugepool__Request *raw_ask_arena(struct raw_request *ask, uint64_t arena);
Hugepool__Request *raw_ask_bye(struct raw_request *ask);
Hugepool__Request *raw_ask_status(struct raw_request *ask);
Hugepool__Request *raw_ask_leases(struct raw_request *ask);
Hugepool__Request *raw_ask_received(struct raw_request *ask);

/* requests_message.h - well-formed requests whose numbers and names are hostile, for fuzz_requests.c.
 *
 * Made from the descriptors of hugepool.proto: every method and every field is among them, also those that
 * are added later. What a field should look like to get far is a table of rules; without one it is zero or an
 * edge.
 */
#pragma once

#include "proto/frame.h"
#include "proto/hugepool.pb-c.h"
#include "tests/fuzz/requests_input.h"

/* What the daemon has told of late, to be named again; by anybody. */
#define FUZZ_KNOWN 64
struct fuzz_ring {
	uint64_t values[FUZZ_KNOWN];
	unsigned n;
};
struct fuzz_known {
	struct fuzz_ring leases, arenas, sessions, cursors;
	struct fuzz_ring own_leases, own_arenas; /* of who asks */
	uint64_t last_id;                        /* and its last request */
};
void fuzz_ring_add(struct fuzz_ring *ring, uint64_t value);

struct fuzz_message {
	Hugepool__Request__MethodCase method;
	bool waits;     /* for memory, longer than a moment */
	bool has_reply; /* and to an id that no other has */
	uint64_t id;
	size_t n_bytes;
	uint8_t bytes[FRAME_HEADER_BYTES + FRAME_MAX_BYTES]; /* a frame */
};

/* A request with this id, or sometimes another one. */
void fuzz_message_make(struct fuzz_message *message, struct fuzz_input *input, const struct fuzz_known *known,
		       uint64_t id);
/* A Hello that starts a session (0), or continues one. */
void fuzz_message_hello(struct fuzz_message *message, uint64_t id, uint64_t session, const uint8_t *token,
			size_t token_bytes);
/* This one, as sent again. */
void fuzz_message_again(struct fuzz_message *message);

/* bump.h - a bump allocator for unpacking one message, with a cap.
 *
 * 64 KiB of protobuf can unfold to megabytes; unpacking fails (returns NULL) when the cap is reached. Nothing
 * is freed but all at once, by bump_reset(). Not thread-safe: one per thread that unpacks.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

struct bump {
	ProtobufCAllocator allocator; /* hand &bump->allocator to protobuf_c_message_unpack() */
	uint8_t *memory;
	size_t cap, used; /* bytes, multiples of 16 */
};

/* The cap is rounded down to a multiple of 16. The struct must stay where it is: its allocator points to it.
 * -ENOMEM, or 0. */
int bump_init(struct bump *bump, size_t cap_bytes);
void bump_fini(struct bump *bump);

/* Forget everything unpacked since the last reset. */
static inline void bump_reset(struct bump *bump)
{
	bump->used = 0;
}

/* For what a handler needs beside the message: aligned to 16, zeroed; NULL past the cap. */
void *bump_alloc(struct bump *bump, size_t bytes);

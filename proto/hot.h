/* hot.h - the messages of a warm lease, packed and unpacked by hand: an Alloc of one lease and its grant of
 * one run, a Free of one and its answer. protobuf-c takes several times as long for them.
 *
 * What has any other shape is left to protobuf-c: the functions say so and nothing has happened. Where they
 * do not, the bytes, or the message, are those of protobuf-c.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/bump.h"
#include "proto/hugepool.pb-c.h"

#define HOT_MAX_BYTES 128 /* that a message is packed into */

/* Returns the length; 0: it has another shape. `bytes` has room for HOT_MAX_BYTES. */
size_t hot_pack_request(const Hugepool__Request *request, uint8_t *bytes);
size_t hot_pack_reply(const Hugepool__Reply *reply, uint8_t *bytes);

/* Returns what lies in the bump allocator until its next reset; NULL: it has another shape, or there is no
 * room.
 */
Hugepool__Request *hot_unpack_request(struct bump *bump, size_t length, const uint8_t *bytes);
Hugepool__Reply *hot_unpack_reply(struct bump *bump, size_t length, const uint8_t *bytes);

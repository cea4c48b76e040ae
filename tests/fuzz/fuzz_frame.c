/* fuzz_frame.c - bytes from a client, as the daemon takes them in: read, cut into frames, unpacked under a
 * cap. */
#include <config.h>

#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "proto/bump.h"
#include "proto/frame.h"
#include "proto/hot.h"

#define BUMP_CAP_BYTES (256u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* As the daemon does; what is understood by hand, protobuf-c understands alike. */
static void unpack(struct bump *bump, const struct frame *frame)
{
	static uint8_t by_hand[FRAME_MAX_BYTES], by_rote[FRAME_MAX_BYTES];
	const Hugepool__Request *hot = hot_unpack_request(bump, frame->length, frame->message), *full;
	size_t length;

	full = hugepool__request__unpack(&bump->allocator, frame->length, frame->message);
	if (!hot)
		return;
	hp_assert(full);
	length = hugepool__request__pack(full, by_rote);
	hp_assert(hugepool__request__pack(hot, by_hand) == length && memcmp(by_hand, by_rote, length) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame_reader *reader = NULL;
	struct bump bump = {0};
	struct frame frame;
	int fds[2];

	hp_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
	hp_assert(frame_reader_new(false, &reader) == 0 && bump_init(&bump, BUMP_CAP_BYTES) == 0);
	(void)!send(fds[0], data, size, MSG_NOSIGNAL);
	close(fds[0]);
	while (frame_reader_fill(reader, fds[1]) == 0)
		while (frame_reader_next(reader, &frame) == 0) {
			bump_reset(&bump);
			unpack(&bump, &frame);
			hp_assert(bump.used <= bump.cap);
		}
	bump_fini(&bump);
	frame_reader_free(reader);
	close(fds[1]);
	return 0;
}

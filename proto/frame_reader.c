/* frame_reader.c - receives frames and gives each the descriptors that are its own.
 *
 * Whole frames are handed out in place; bytes move only when the tail of the buffer is reached, and then they
 * are no more than the frame that is not complete yet. The buffer doubles while reads fill it, up to the
 * largest frame.
 *
 * Which frame do descriptors belong to? What Linux does on a stream socket: the descriptors of a sendmsg are
 * handed out with its first byte, a read ends where the bytes of a sendmsg with descriptors end, and if some
 * cannot be handed out (MSG_CTRUNC, out of descriptors) it is the last ones. As a frame with descriptors
 * begins its sendmsg, one read sees the first byte of at most one such frame, and what it brings, all, some
 * or nothing, is that frame's: a loss never shifts the descriptors of another frame. While a read's
 * descriptors wait for their frame to become complete, no more is read than that frame, so one set is all
 * there can be.
 *
 * Invariant: descriptors held belong to a frame that begins in [fds_begin, fds_end) of the stream.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/frame.h"

#define READER_FIRST_BYTES 512 /* most connections are idle, and keep this */
#define READER_MAX_BYTES   (FRAME_HEADER_BYTES + FRAME_MAX_BYTES)
#define KERNEL_MAX_FDS     253 /* SCM_MAX_FD: in one sendmsg */

struct frame_reader {
	bool accept_fds; /* constant */
	bool keep_size;  /* the buffer grows only for a frame that does not fit in */
	uint8_t *bytes;  /* bytes[begin, end) are received and not taken */
	size_t size, begin, end;
	uint64_t position; /* of bytes[begin] in the stream */

	uint64_t fds_begin, fds_end; /* of the read that brought the descriptors */
	unsigned n_fds;              /* 0: none held */
	int fds[KERNEL_MAX_FDS];
};

int frame_header_get(const uint8_t bytes[FRAME_HEADER_BYTES], struct frame_header *ret_header)
{
	uint32_t length =
		bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;

	if (length > FRAME_MAX_BYTES || bytes[4] > FRAME_MAX_FDS || bytes[5] != 0 || bytes[6] != 0 ||
	    bytes[7] != 0)
		return -EPROTO;
	*ret_header = (struct frame_header){.length = length, .n_fds = bytes[4]};
	return 0;
}

int frame_reader_new(bool accept_fds, struct frame_reader **ret)
{
	struct frame_reader *reader = calloc(1, sizeof(*reader));

	if (!reader)
		return -ENOMEM;
	reader->accept_fds = accept_fds;
	reader->size = READER_FIRST_BYTES;
	reader->bytes = malloc(reader->size);
	if (!reader->bytes) {
		frame_reader_free(reader);
		return -ENOMEM;
	}
	*ret = reader;
	return 0;
}

struct frame_reader *frame_reader_free(struct frame_reader *reader)
{
	if (!reader)
		return NULL;
	for (unsigned i = 0; i < reader->n_fds; i++)
		close(reader->fds[i]);
	free(reader->bytes);
	free(reader);
	return NULL;
}

size_t frame_reader_pending(const struct frame_reader *reader)
{
	return reader->end - reader->begin;
}

/* Length of the first frame with its header, as far as it is known: at least a header. */
static size_t first_frame_bytes(const struct frame_reader *reader)
{
	struct frame_header header;

	if (frame_reader_pending(reader) < FRAME_HEADER_BYTES ||
	    frame_header_get(reader->bytes + reader->begin, &header) < 0)
		return FRAME_HEADER_BYTES;
	return FRAME_HEADER_BYTES + header.length;
}

/* Move what is pending to the front of a buffer of `size` bytes, the same one or a larger one. */
static int move_to_front(struct frame_reader *reader, size_t size)
{
	size_t pending = frame_reader_pending(reader);

	if (size > reader->size) {
		uint8_t *bytes = malloc(size);

		if (!bytes)
			return -ENOMEM;
		memcpy(bytes, reader->bytes + reader->begin, pending);
		free(reader->bytes);
		reader->bytes = bytes;
		reader->size = size;
	} else {
		memmove(reader->bytes, reader->bytes + reader->begin, pending);
	}
	reader->begin = 0;
	reader->end = pending;
	return 0;
}

/* Doubled from `size` until `wanted` bytes have room. */
static size_t grown(size_t size, size_t wanted)
{
	while (size < wanted)
		size *= 2;
	return size < READER_MAX_BYTES ? size : READER_MAX_BYTES;
}

size_t frame_reader_size(const struct frame_reader *reader)
{
	return reader->size;
}

size_t frame_reader_size_needed(const struct frame_reader *reader)
{
	return grown(reader->size, first_frame_bytes(reader));
}

size_t frame_reader_size_next(const struct frame_reader *reader)
{
	const size_t needed = frame_reader_size_needed(reader);

	/* A read that has filled it could have been longer. */
	return reader->end < reader->size || reader->keep_size ? needed : grown(needed, reader->size + 1);
}

void frame_reader_keep_size(struct frame_reader *reader, bool keep)
{
	reader->keep_size = keep;
}

void frame_reader_shrink(struct frame_reader *reader)
{
	uint8_t *bytes;

	if (reader->size == READER_FIRST_BYTES || frame_reader_pending(reader) > 0)
		return;
	bytes = malloc(READER_FIRST_BYTES);
	if (!bytes)
		return;
	free(reader->bytes);
	reader->bytes = bytes;
	reader->size = READER_FIRST_BYTES;
	reader->begin = reader->end = 0;
}

/* Make room behind what is pending, and say how much of it a read may fill. */
static int make_room(struct frame_reader *reader, size_t *ret_room)
{
	const size_t pending = frame_reader_pending(reader), wanted = first_frame_bytes(reader),
		     size = frame_reader_size_next(reader);
	size_t room;
	int r;

	if (pending == 0)
		reader->begin = reader->end = 0;
	if (size > reader->size || (reader->begin > 0 && reader->size - reader->end < reader->size / 4) ||
	    reader->begin + wanted > reader->size) {
		r = move_to_front(reader, size);
		if (r < 0)
			return r;
	}

	room = reader->size - reader->end;
	if (reader->n_fds > 0 && room > wanted - pending)
		room = wanted > pending ? wanted - pending : 0;
	*ret_room = room;
	return room > 0 ? 0 : -ENOBUFS;
}

/* Keep the descriptors that a read of [begin, end) of the stream brought. */
static void keep_fds(struct frame_reader *reader, struct msghdr *message, uint64_t begin, uint64_t end)
{
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control;
	     control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		reader->n_fds = (unsigned)((control->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		memcpy(reader->fds, CMSG_DATA(control), reader->n_fds * sizeof(int));
		reader->fds_begin = begin;
		reader->fds_end = end;
	}
}

static int fill(struct frame_reader *reader, int socket_fd, int flags, bool retry)
{
	/* Who accepts none takes as many as can come: those without room the kernel would close here and now.
	 */
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(KERNEL_MAX_FDS * sizeof(int))];
	unsigned max_fds = reader->accept_fds ? FRAME_MAX_FDS : KERNEL_MAX_FDS;
	struct iovec iov;
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	uint64_t begin;
	ssize_t n;
	int r;

	if (reader->n_fds > 0 && (!reader->accept_fds || reader->position >= reader->fds_end))
		return -EPROTO;
	r = make_room(reader, &iov.iov_len);
	if (r < 0)
		return r;
	iov.iov_base = reader->bytes + reader->end;

	do {
		message.msg_control = control;
		message.msg_controllen = CMSG_LEN(max_fds * sizeof(int));
		n = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC | flags);
	} while (n < 0 && errno == EINTR && retry);
	if (n < 0)
		return errno == EAGAIN ? FRAME_AGAIN : -errno;
	if (n == 0)
		return FRAME_END;

	begin = reader->position + frame_reader_pending(reader);
	reader->end += (size_t)n;
	if (message.msg_controllen > 0)
		keep_fds(reader, &message, begin, begin + (uint64_t)n);
	return reader->n_fds > 0 && !reader->accept_fds ? -EPROTO : 0;
}

int frame_reader_fill(struct frame_reader *reader, int socket_fd)
{
	return fill(reader, socket_fd, 0, true);
}

int frame_reader_wait(struct frame_reader *reader, int socket_fd)
{
	return fill(reader, socket_fd, 0, false);
}

int frame_reader_fill_now(struct frame_reader *reader, int socket_fd)
{
	return fill(reader, socket_fd, MSG_DONTWAIT, true);
}

/* Give the frame that begins at reader->position what came for it. -EPROTO when that is more than its header
 * says, or came for a frame before it that did not want it. */
static int take_fds(struct frame_reader *reader, struct frame *frame)
{
	unsigned n_arrived = 0;

	if (reader->n_fds > 0) {
		if (reader->position >= reader->fds_end)
			return -EPROTO;
		if (reader->position >= reader->fds_begin && frame->n_fds > 0)
			n_arrived = reader->n_fds;
	}
	if (n_arrived > frame->n_fds)
		return -EPROTO;

	for (unsigned i = 0; i < frame->n_fds; i++)
		frame->fds[i] = i < n_arrived ? reader->fds[i] : -1;
	frame->n_fds_lost = (uint8_t)(frame->n_fds - n_arrived);
	if (n_arrived > 0)
		reader->n_fds = 0;
	return 0;
}

int frame_reader_next(struct frame_reader *reader, struct frame *ret_frame)
{
	const uint8_t *bytes = reader->bytes + reader->begin;
	size_t pending = frame_reader_pending(reader), frame_bytes;
	struct frame_header header;
	int r;

	if (pending < FRAME_HEADER_BYTES)
		return FRAME_AGAIN;
	r = frame_header_get(bytes, &header);
	if (r < 0)
		return r;
	if (header.n_fds > 0 && !reader->accept_fds)
		return -EPROTO;
	frame_bytes = FRAME_HEADER_BYTES + header.length;
	if (pending < frame_bytes)
		return FRAME_AGAIN;

	ret_frame->message = bytes + FRAME_HEADER_BYTES;
	ret_frame->length = header.length;
	ret_frame->n_fds = header.n_fds;
	r = take_fds(reader, ret_frame);
	if (r < 0)
		return r;
	reader->begin += frame_bytes;
	reader->position += frame_bytes;
	return 0;
}

void frame_close_fds(struct frame *frame)
{
	for (unsigned i = 0; i < frame->n_fds; i++)
		if (frame->fds[i] >= 0) {
			close(frame->fds[i]);
			frame->fds[i] = -1;
		}
}

bool frame_reader_has_stray_fd(const struct frame_reader *reader)
{
	return !reader->accept_fds && reader->n_fds > 0;
}

int frame_reader_take_stray_fd(struct frame_reader *reader)
{
	if (!frame_reader_has_stray_fd(reader))
		return -1;
	return reader->fds[--reader->n_fds];
}

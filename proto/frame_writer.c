/* frame_writer.c - queues frames and sends them with as few calls as their descriptors allow.
 *
 * Messages are packed straight into the queue. Bytes move only when the tail is reached and at least half of
 * the buffer is free; a buffer that a burst made large is given back when it has been sent.
 *
 * A frame with descriptors begins a sendmsg of its own, which takes all frames behind it along up to the next
 * one with descriptors: frame_reader.c tells descriptors apart by that.
 *
 * Invariant: fd_frames are in the order of the stream, none before `position`, and the first lies at
 * `position` only if its first byte has not been sent.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proto/frame.h"

#define WRITER_FIRST_BYTES 512          /* most connections are idle, and keep this */
#define WRITER_KEEP_BYTES  (128u << 10) /* a larger buffer does not outlive its burst */

/* The descriptors of one queued frame. */
struct fd_frame {
	struct fd_frame *next;
	uint64_t position; /* of the frame's first byte in the stream */
	unsigned n_fds;
	int fds[FRAME_MAX_FDS];
};

struct frame_writer {
	uint8_t *bytes; /* bytes[begin, end) are queued */
	size_t size, begin, end;
	uint64_t position; /* of bytes[begin] in the stream */

	struct fd_frame *fd_frames, **fd_frames_tail;
	unsigned n_fds; /* in all of fd_frames */
	bool unacknowledged;
};

void frame_header_put(uint8_t bytes[FRAME_HEADER_BYTES], const struct frame_header *header)
{
	bytes[0] = (uint8_t)header->length;
	bytes[1] = (uint8_t)(header->length >> 8);
	bytes[2] = (uint8_t)(header->length >> 16);
	bytes[3] = (uint8_t)(header->length >> 24);
	bytes[4] = header->n_fds;
	bytes[5] = header->flags;
	bytes[6] = bytes[7] = 0;
}

int frame_writer_new(struct frame_writer **ret)
{
	struct frame_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return -ENOMEM;
	writer->fd_frames_tail = &writer->fd_frames;
	*ret = writer;
	return 0;
}

static void fd_frame_free(struct fd_frame *fd_frame)
{
	for (unsigned i = 0; i < fd_frame->n_fds; i++)
		close(fd_frame->fds[i]);
	free(fd_frame);
}

/* Takes the first of fd_frames out of the queue and closes what it holds. */
static void drop_first_fd_frame(struct frame_writer *writer)
{
	struct fd_frame *first = writer->fd_frames;

	writer->n_fds -= first->n_fds;
	writer->fd_frames = first->next;
	if (!writer->fd_frames)
		writer->fd_frames_tail = &writer->fd_frames;
	fd_frame_free(first);
}

struct frame_writer *frame_writer_free(struct frame_writer *writer)
{
	if (!writer)
		return NULL;
	while (writer->fd_frames)
		drop_first_fd_frame(writer);
	free(writer->bytes);
	free(writer);
	return NULL;
}

size_t frame_writer_pending(const struct frame_writer *writer)
{
	return writer->end - writer->begin;
}

bool frame_writer_unacknowledged(const struct frame_writer *writer)
{
	return writer->unacknowledged;
}

bool frame_writer_may_pass_fds(const struct frame_writer *writer)
{
	return !writer->unacknowledged && !writer->fd_frames;
}

void frame_writer_acknowledge(struct frame_writer *writer)
{
	writer->unacknowledged = false;
}

/* Make room for `wanted` bytes behind what is pending. False: no memory. */
static bool make_room(struct frame_writer *writer, size_t wanted)
{
	size_t pending = frame_writer_pending(writer), size = WRITER_FIRST_BYTES;
	uint8_t *bytes;

	while (size < 2 * (pending + wanted))
		size *= 2;
	if (size <= writer->size) {
		memmove(writer->bytes, writer->bytes + writer->begin, pending);
	} else {
		bytes = malloc(size);
		if (!bytes)
			return false;
		if (pending > 0)
			memcpy(bytes, writer->bytes + writer->begin, pending);
		free(writer->bytes);
		writer->bytes = bytes;
		writer->size = size;
	}
	writer->begin = 0;
	writer->end = pending;
	return true;
}

uint8_t *frame_writer_reserve(struct frame_writer *writer, size_t length)
{
	const size_t wanted = FRAME_HEADER_BYTES + length;

	if (length > FRAME_MAX_BYTES || frame_writer_pending(writer) + wanted > FRAME_WRITER_MAX_BYTES)
		return NULL;
	if (writer->size - writer->end < wanted && !make_room(writer, wanted))
		return NULL;
	return writer->bytes + writer->end + FRAME_HEADER_BYTES;
}

/* Queue duplicates of `fds` for the frame that begins at the end of the queue. */
static int queue_fds(struct frame_writer *writer, const int *fds, uint8_t n_fds)
{
	struct fd_frame *fd_frame;

	if (n_fds > FRAME_MAX_FDS)
		return -EINVAL;
	if (writer->n_fds + n_fds > FRAME_WRITER_MAX_FDS)
		return -ENOBUFS;
	fd_frame = calloc(1, sizeof(*fd_frame));
	if (!fd_frame)
		return -ENOMEM;
	fd_frame->position = writer->position + frame_writer_pending(writer);
	for (; fd_frame->n_fds < n_fds; fd_frame->n_fds++) {
		int fd = fcntl(fds[fd_frame->n_fds], F_DUPFD_CLOEXEC, 0);

		if (fd < 0) {
			int r = -errno;

			fd_frame_free(fd_frame);
			return r;
		}
		fd_frame->fds[fd_frame->n_fds] = fd;
	}
	*writer->fd_frames_tail = fd_frame;
	writer->fd_frames_tail = &fd_frame->next;
	writer->n_fds += n_fds;
	return 0;
}

int frame_writer_commit(struct frame_writer *writer, size_t length, const int *fds, uint8_t n_fds)
{
	struct frame_header header = {.length = (uint32_t)length, .n_fds = n_fds};

	if (n_fds > 0) {
		int r = queue_fds(writer, fds, n_fds);

		if (r < 0)
			return r;
	}
	frame_header_put(writer->bytes + writer->end, &header);
	writer->end += FRAME_HEADER_BYTES + length;
	return 0;
}

/* Send the first n_bytes of the queue with the descriptors. Returns how many bytes went, or -1 and errno. */
static ssize_t send_with_fds(const struct frame_writer *writer, int socket_fd, size_t n_bytes,
			     const struct fd_frame *fd_frame)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(FRAME_MAX_FDS * sizeof(int))];
	struct iovec iov = {.iov_base = writer->bytes + writer->begin, .iov_len = n_bytes};
	struct cmsghdr *header = (struct cmsghdr *)control;
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control};

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(fd_frame->n_fds * sizeof(int));
	memcpy(CMSG_DATA(header), fd_frame->fds, fd_frame->n_fds * sizeof(int));
	message.msg_controllen = header->cmsg_len;
	return sendmsg(socket_fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Send the first n_bytes of the queue, with `fd_frame`'s descriptors unless it is NULL. Returns how many
 * bytes went, or a negative errno. */
static ssize_t send_bytes(const struct frame_writer *writer, int socket_fd, size_t n_bytes,
			  const struct fd_frame *fd_frame)
{
	ssize_t n;

	do {
		if (fd_frame)
			n = send_with_fds(writer, socket_fd, n_bytes, fd_frame);
		else /* cheaper than sendmsg */
			n = send(socket_fd, writer->bytes + writer->begin, n_bytes,
				 MSG_NOSIGNAL | MSG_DONTWAIT);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

/* The first n_bytes of the queue are gone. */
static void advance(struct frame_writer *writer, size_t n_bytes)
{
	writer->begin += n_bytes;
	writer->position += n_bytes;
	if (writer->begin < writer->end)
		return;
	writer->begin = writer->end = 0;
	if (writer->size > WRITER_KEEP_BYTES) {
		free(writer->bytes);
		writer->bytes = NULL;
		writer->size = 0;
	}
}

int frame_writer_flush(struct frame_writer *writer, int socket_fd)
{
	for (;;) {
		struct fd_frame *first = writer->fd_frames, *next;
		size_t n_bytes = frame_writer_pending(writer);
		ssize_t n;

		if (first && first->position > writer->position) {
			next = first;
			first = NULL;
		} else {
			next = first ? first->next : NULL;
		}
		if (n_bytes == 0 || (first && writer->unacknowledged))
			return 0;
		if (next)
			n_bytes = (size_t)(next->position - writer->position);

		n = send_bytes(writer, socket_fd, n_bytes, first);
		if (n < 0)
			return n == -EAGAIN ? FRAME_AGAIN : (int)n;
		if (first) {
			drop_first_fd_frame(writer);
			writer->unacknowledged = true;
		}
		advance(writer, (size_t)n);
	}
}

/* frame.h - frames on a stream socket: a header, one protobuf message, descriptors.
 *
 * Header, 8 bytes, little endian: u32 length of the message, u8 number of descriptors, u8 flags (0), u16
 * zero. The descriptors of a frame travel in one sendmsg whose first byte is the first of that frame. The
 * kernel can hand them out together with bytes sent earlier; frame_reader.c says how each frame gets its own
 * all the same, and what happens when some are lost on the way.
 *
 * Knows sockets and bytes, neither messages nor daemon nor client. Not thread-safe: the owner serialises each
 * reader and each writer; a reader and a writer of one socket know nothing of each other.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FRAME_HEADER_BYTES 8
#define FRAME_MAX_BYTES    65536 /* of the message */
#define FRAME_MAX_FDS      16    /* in one frame */

/* Beside 0 and negative errnos: what the owner has to expect. */
enum {
	FRAME_AGAIN = 1, /* nothing more for now */
	FRAME_END = 2,   /* the peer has closed */
};

struct frame_header {
	uint32_t length;
	uint8_t n_fds;
	uint8_t flags;
};

void frame_header_put(uint8_t bytes[FRAME_HEADER_BYTES], const struct frame_header *header);
/* -EPROTO: longer than FRAME_MAX_BYTES, too many descriptors, unknown flags, or not zero where it must be. */
int frame_header_get(const uint8_t bytes[FRAME_HEADER_BYTES], struct frame_header *ret_header);

/* ---- receiving: frame_reader.c ---- */

struct frame_reader;

/* accept_fds: false for the daemon's side, where a descriptor that arrives is a protocol error. Its closing
 * can block, so the reader leaves it to frame_reader_take_stray_fd() and whoever may block. -ENOMEM, or 0. */
int frame_reader_new(bool accept_fds, struct frame_reader **ret);
/* Closes descriptors that nobody took: take the strays first where that must not block. NULL is fine.
 * Returns NULL. */
struct frame_reader *frame_reader_free(struct frame_reader *reader);

/* One recvmsg of as much as there is room for; call it when frame_reader_next() has returned FRAME_AGAIN.
 * Returns 0 when something was read, FRAME_AGAIN, FRAME_END, or a negative errno: -ECONNRESET and the like;
 * -EPROTO when descriptors came that no frame claims; -ENOBUFS when there is no room because whole frames
 * wait to be taken; -ENOMEM. Never blocks on a non-blocking socket; retries EINTR. */
int frame_reader_fill(struct frame_reader *reader, int socket_fd);
/* The same on a blocking socket: -EINTR when a signal handler has interrupted it that does not restart calls.
 */
int frame_reader_wait(struct frame_reader *reader, int socket_fd);
/* The same, and on a blocking socket it does not block either. */
int frame_reader_fill_now(struct frame_reader *reader, int socket_fd);

struct frame {
	const uint8_t *message; /* inside the reader: valid until the next frame_reader_fill() */
	uint32_t length;
	uint8_t n_fds;          /* as the header says */
	uint8_t n_fds_lost;     /* of those, the last ones: did not arrive and must be asked for again */
	int fds[FRAME_MAX_FDS]; /* the first n_fds are set: the receiver's from now on; -1 where lost */
};

/* Take the next whole frame. Returns 0, FRAME_AGAIN when there is none yet, or -EPROTO (the stream is
 * broken). */
int frame_reader_next(struct frame_reader *reader, struct frame *ret_frame);
/* Close the descriptors of a frame that are not -1: who keeps one has set it to -1. */
void frame_close_fds(struct frame *frame);
/* Bytes that are buffered and not yet taken: whole frames, or part of one. */
size_t frame_reader_pending(const struct frame_reader *reader);
/* Bytes of the buffer: now; after the next fill, at least, as the frame does not fit in else; after the next
 * fill. It starts small, and doubles up to the largest frame. */
size_t frame_reader_size(const struct frame_reader *reader);
size_t frame_reader_size_needed(const struct frame_reader *reader);
size_t frame_reader_size_next(const struct frame_reader *reader);
/* Grow it for nothing else than what is needed. */
void frame_reader_keep_size(struct frame_reader *reader, bool keep);
/* As small as at first, if nothing is pending. */
void frame_reader_shrink(struct frame_reader *reader);
/* A descriptor that should not have come: returns it (the caller's now) or -1. There are some only after
 * frame_reader_fill() returned -EPROTO, and only where descriptors are not accepted. */
int frame_reader_take_stray_fd(struct frame_reader *reader);
bool frame_reader_has_stray_fd(const struct frame_reader *reader);

/* ---- sending: frame_writer.c ---- */

struct frame_writer;

/* What a writer holds at most: no peer can make it grow past these. An owner that answers requests stops
 * taking them while much is pending, but not while the writer waits for an acknowledgement: that is one of
 * them. */
#define FRAME_WRITER_MAX_BYTES (1u << 20)
#define FRAME_WRITER_MAX_FDS   256

int frame_writer_new(struct frame_writer **ret);
struct frame_writer *frame_writer_free(struct frame_writer *writer);

/* Room for a message of up to `length` bytes at the end of the queue; write it there, then commit the length
 * it really has. NULL: no memory, the queue is full, or longer than FRAME_MAX_BYTES. Whatever else is called
 * between takes the room back. */
uint8_t *frame_writer_reserve(struct frame_writer *writer, size_t length);
/* Queue the frame that was reserved. `fds` are duplicated and stay the caller's: the frame may leave long
 * after they were closed. Returns 0; with descriptors also -EMFILE, -ENOMEM and the like, or -ENOBUFS when
 * too many are queued already, and then nothing is queued. */
int frame_writer_commit(struct frame_writer *writer, size_t length, const int *fds, uint8_t n_fds);

/* Send as much as the socket takes: one call for all frames up to the next one that has descriptors. Never
 * blocks, not even on a blocking socket; no SIGPIPE.
 * A frame with descriptors, and all behind it, waits until frame_writer_acknowledge() was called for the one
 * before it: at most one unacknowledged descriptor frame on a connection. Returns 0 when everything that may
 * go is gone, FRAME_AGAIN when the socket is full, or a negative errno (-EPIPE, -ECONNRESET; -ETOOMANYREFS:
 * too many descriptors in flight, nothing is lost, try again later). */
int frame_writer_flush(struct frame_writer *writer, int socket_fd);
void frame_writer_acknowledge(struct frame_writer *writer);
/* A descriptor frame has been sent and not acknowledged. */
bool frame_writer_unacknowledged(const struct frame_writer *writer);
/* A frame with descriptors would not wait for another one's acknowledgement, and keep all behind it waiting.
 */
bool frame_writer_may_pass_fds(const struct frame_writer *writer);
/* Bytes queued and not yet sent. */
size_t frame_writer_pending(const struct frame_writer *writer);

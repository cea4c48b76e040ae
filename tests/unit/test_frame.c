/* test_frame.c - frames over real socket pairs: order, size, descriptors and the loss of them. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/frame.h"

/* A writer, a reader, and the socket between them. */
struct pair {
	int sender_fd, receiver_fd;
	struct frame_writer *writer;
	struct frame_reader *reader;
};

static struct pair pair_new(bool accept_fds)
{
	struct pair pair;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds), 0);
	pair.sender_fd = fds[0];
	pair.receiver_fd = fds[1];
	assert_int_equal(frame_writer_new(&pair.writer), 0);
	assert_int_equal(frame_reader_new(accept_fds, &pair.reader), 0);
	return pair;
}

static void pair_free(struct pair *pair)
{
	close(pair->sender_fd);
	close(pair->receiver_fd);
	frame_writer_free(pair->writer);
	frame_reader_free(pair->reader);
}

/* A file that is told from others by its size. */
static int file_new(off_t bytes)
{
	int fd = memfd_create("frame", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, bytes), 0);
	return fd;
}

/* The size of the file, which is closed. */
static off_t file_take(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	return st.st_size;
}

/* Queue a frame of `length` bytes, all `fill`, with files of the sizes first_size, first_size + 1, ... */
static int queue(struct pair *pair, size_t length, uint8_t fill, uint8_t n_fds, off_t first_size)
{
	uint8_t *message = frame_writer_reserve(pair->writer, length);
	int fds[FRAME_MAX_FDS], r;

	assert_non_null(message);
	memset(message, fill, length);
	for (uint8_t i = 0; i < n_fds; i++)
		fds[i] = file_new(first_size + i);
	r = frame_writer_commit(pair->writer, length, fds, n_fds);
	for (uint8_t i = 0; i < n_fds; i++)
		close(fds[i]);
	return r;
}

static void send_all(struct pair *pair)
{
	assert_int_equal(frame_writer_flush(pair->writer, pair->sender_fd), 0);
}

/* Send bytes as they are, with `n_fds` descriptors of standard input, past the writer. */
static void send_raw(struct pair *pair, const void *bytes, size_t n_bytes, unsigned n_fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(253 * sizeof(int))] = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n_bytes};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n_fds > 0) {
		struct cmsghdr *header = (struct cmsghdr *)control;

		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memset(CMSG_DATA(header), 0, n_fds * sizeof(int));
		message.msg_control = control;
		message.msg_controllen = header->cmsg_len;
	}
	assert_int_equal(sendmsg(pair->sender_fd, &message, 0), n_bytes);
}

static void assert_filled(const struct frame *frame, size_t length, uint8_t fill)
{
	assert_int_equal(frame->length, length);
	for (size_t i = 0; i < length; i++)
		assert_int_equal(frame->message[i], fill);
}

/* Let this process open only `n` more descriptors; its open ones have no gaps. Returns the old limit. */
static struct rlimit fds_limit(unsigned n)
{
	struct rlimit old, limit;
	int lowest = dup(STDIN_FILENO);

	assert_true(lowest >= 0);
	close(lowest);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
	limit = old;
	limit.rlim_cur = (rlim_t)lowest + n;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	return old;
}

static int fill_with_fds_limit(struct pair *pair, unsigned n)
{
	struct rlimit old = fds_limit(n);
	int r = frame_reader_fill(pair->reader, pair->receiver_fd);

	assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
	return r;
}

/* ---- headers ---- */

static void frame_header_put_and_get_agree(void **state)
{
	struct frame_header header = {.length = FRAME_MAX_BYTES, .n_fds = FRAME_MAX_FDS}, got;
	uint8_t bytes[FRAME_HEADER_BYTES];

	frame_header_put(bytes, &header);
	assert_memory_equal(bytes, "\0\0\1\0\20\0\0\0", sizeof(bytes));
	assert_int_equal(frame_header_get(bytes, &got), 0);
	assert_int_equal(got.length, FRAME_MAX_BYTES);
	assert_int_equal(got.n_fds, FRAME_MAX_FDS);
}

static void frame_header_that_makes_no_sense_is_refused(void **state)
{
	static const char *const headers[] = {
		"\1\0\1\0\0\0\0\0", "\0\0\0\x80\0\0\0\0", "\0\0\0\0\21\0\0\0",
		"\0\0\0\0\0\1\0\0", "\0\0\0\0\0\0\1\0",   "\0\0\0\0\0\0\0\1",
	};
	struct frame_header header;

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		struct pair pair = pair_new(true);
		struct frame frame;

		assert_int_equal(frame_header_get((const uint8_t *)headers[i], &header), -EPROTO);
		send_raw(&pair, headers[i], FRAME_HEADER_BYTES, 0);
		assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
		assert_int_equal(frame_reader_next(pair.reader, &frame), -EPROTO);
		pair_free(&pair);
	}
}

/* ---- bytes ---- */

static void frame_many_in_one_write_come_in_order(void **state)
{
	struct pair pair = pair_new(true);
	struct frame frame;

	for (uint8_t i = 0; i < 100; i++)
		assert_int_equal(queue(&pair, i, i, 0, 0), 0);
	send_all(&pair);
	assert_int_equal(frame_writer_pending(pair.writer), 0);

	for (uint8_t i = 0; i < 100; i++) {
		int r;

		while ((r = frame_reader_next(pair.reader, &frame)) == FRAME_AGAIN)
			assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
		assert_int_equal(r, 0);
		assert_filled(&frame, i, i);
	}
	assert_int_equal(frame_reader_next(pair.reader, &frame), FRAME_AGAIN);
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), FRAME_AGAIN);
	pair_free(&pair);
}

static void frame_byte_by_byte_is_whole_at_the_last(void **state)
{
	static const char bytes[] = "\3\0\0\0\0\0\0\0abc";
	struct pair pair = pair_new(true);
	struct frame frame;

	for (size_t i = 0; i < sizeof(bytes) - 1; i++) {
		assert_int_equal(frame_reader_next(pair.reader, &frame), FRAME_AGAIN);
		send_raw(&pair, bytes + i, 1, 0);
		assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
		assert_int_equal(frame_reader_pending(pair.reader), i + 1);
	}
	assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
	assert_int_equal(frame.length, 3);
	assert_memory_equal(frame.message, "abc", 3);
	assert_int_equal(frame_reader_pending(pair.reader), 0);
	pair_free(&pair);
}

static void frame_largest_passes_and_a_larger_is_refused(void **state)
{
	struct pair pair = pair_new(true);
	struct frame frame;

	assert_null(frame_writer_reserve(pair.writer, FRAME_MAX_BYTES + 1));
	assert_int_equal(queue(&pair, 5, 1, 0, 0), 0);
	assert_int_equal(queue(&pair, FRAME_MAX_BYTES, 2, 0, 0), 0);
	send_all(&pair);
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
	while (frame_reader_next(pair.reader, &frame) == FRAME_AGAIN)
		assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	assert_filled(&frame, FRAME_MAX_BYTES, 2);
	pair_free(&pair);
}

static void frame_not_taken_stops_the_reader(void **state)
{
	struct pair pair = pair_new(true);
	struct frame frame;
	unsigned n_frames = 0;
	int r;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(queue(&pair, 50000, 3, 0, 0), 0);
	send_all(&pair);
	while ((r = frame_reader_fill(pair.reader, pair.receiver_fd)) == 0)
		;
	assert_int_equal(r, -ENOBUFS);
	while (n_frames < 3)
		if (frame_reader_next(pair.reader, &frame) == 0)
			n_frames++;
		else
			assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	pair_free(&pair);
}

/* What a reader may not grow to it reads in pieces, but for a frame that is larger; and it can be small
 * again. */
static void frame_buffer_grows_as_it_may_and_shrinks(void **state)
{
	struct pair pair = pair_new(true);
	const size_t first_bytes = frame_reader_size(pair.reader);
	struct frame frame;
	unsigned n_frames = 0;

	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(queue(&pair, 50, 1, 0, 0), 0);
	assert_int_equal(queue(&pair, 2000, 2, 0, 0), 0);
	send_all(&pair);
	frame_reader_keep_size(pair.reader, true);
	while (n_frames < 100) {
		while (frame_reader_next(pair.reader, &frame) == 0)
			n_frames++;
		if (n_frames == 100)
			break;
		assert_int_equal(frame_reader_size_next(pair.reader), first_bytes);
		assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	}
	while (frame_reader_next(pair.reader, &frame) == FRAME_AGAIN) {
		assert_true(frame_reader_size_needed(pair.reader) >= frame_reader_size(pair.reader));
		frame_reader_shrink(pair.reader); /* not while there is something in it */
		assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	}
	assert_filled(&frame, 2000, 2);
	assert_in_range(frame_reader_size(pair.reader), 2000, 4096);
	frame_reader_shrink(pair.reader);
	assert_int_equal(frame_reader_size(pair.reader), first_bytes);
	frame_reader_keep_size(pair.reader, false);
	assert_int_equal(queue(&pair, FRAME_MAX_BYTES, 3, 0, 0), 0);
	send_all(&pair);
	while (frame_reader_next(pair.reader, &frame) == FRAME_AGAIN)
		assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	assert_filled(&frame, FRAME_MAX_BYTES, 3);
	pair_free(&pair);
}

static void frame_end_of_file_is_told_apart_from_silence(void **state)
{
	struct pair pair = pair_new(true);

	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), FRAME_AGAIN);
	assert_int_equal(shutdown(pair.sender_fd, SHUT_WR), 0);
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), FRAME_END);
	pair_free(&pair);
}

static void frame_writer_with_a_full_socket_says_again(void **state)
{
	struct pair pair = pair_new(true);
	struct frame frame;
	unsigned n_queued = 0, n_taken = 0;
	int r;

	while (frame_writer_reserve(pair.writer, 1000)) {
		assert_int_equal(queue(&pair, 1000, (uint8_t)n_queued, 0, 0), 0);
		n_queued++;
	}
	assert_true(frame_writer_pending(pair.writer) <= FRAME_WRITER_MAX_BYTES);
	assert_int_equal(n_queued, FRAME_WRITER_MAX_BYTES / (1000 + FRAME_HEADER_BYTES));

	assert_int_equal(frame_writer_flush(pair.writer, pair.sender_fd), FRAME_AGAIN);
	while (n_taken < n_queued) {
		r = frame_reader_next(pair.reader, &frame);
		if (r == 0) {
			assert_filled(&frame, 1000, (uint8_t)n_taken);
			n_taken++;
			continue;
		}
		if (frame_reader_fill(pair.reader, pair.receiver_fd) == FRAME_AGAIN)
			assert_true(frame_writer_flush(pair.writer, pair.sender_fd) >= 0);
	}
	assert_int_equal(frame_writer_pending(pair.writer), 0);
	pair_free(&pair);
}

static void frame_writer_without_a_peer_fails_without_a_signal(void **state)
{
	struct pair pair = pair_new(true);

	assert_ptr_equal(signal(SIGPIPE, SIG_DFL), SIG_DFL);
	assert_int_equal(shutdown(pair.receiver_fd, SHUT_RDWR), 0);
	assert_int_equal(queue(&pair, 10, 0, 0, 0), 0);
	assert_int_equal(frame_writer_flush(pair.writer, pair.sender_fd), -EPIPE);
	pair_free(&pair);
}

/* ---- descriptors ---- */

static void frame_fds_come_with_their_frame_among_others(void **state)
{
	struct pair pair = pair_new(true);
	struct frame frame;

	/* The kernel hands out the first frame's bytes together with the second one's descriptors. */
	assert_int_equal(queue(&pair, 10, 1, 0, 0), 0);
	assert_int_equal(queue(&pair, 20, 2, 2, 100), 0);
	assert_int_equal(queue(&pair, 30, 3, 0, 0), 0);
	send_all(&pair);
	assert_true(frame_writer_unacknowledged(pair.writer));
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);

	assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
	assert_filled(&frame, 10, 1);
	assert_int_equal(frame.n_fds, 0);
	assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
	assert_filled(&frame, 20, 2);
	assert_int_equal(frame.n_fds, 2);
	assert_int_equal(frame.n_fds_lost, 0);
	assert_int_equal(file_take(frame.fds[0]), 100);
	assert_int_equal(file_take(frame.fds[1]), 101);
	assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
	assert_filled(&frame, 30, 3);
	assert_int_equal(frame.n_fds, 0);
	pair_free(&pair);
}

static void frame_fds_wait_for_a_frame_of_many_reads(void **state)
{
	struct pair pair = pair_new(true);
	struct frame frame;
	unsigned n_reads = 0;

	assert_int_equal(queue(&pair, FRAME_MAX_BYTES, 1, FRAME_MAX_FDS, 100), 0);
	send_all(&pair);
	frame_writer_acknowledge(pair.writer);
	assert_int_equal(queue(&pair, 10, 2, 1, 200), 0);
	send_all(&pair);
	while (frame_reader_next(pair.reader, &frame) == FRAME_AGAIN) {
		assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
		n_reads++;
	}
	assert_true(n_reads > 1);
	assert_filled(&frame, FRAME_MAX_BYTES, 1);
	assert_int_equal(frame.n_fds_lost, 0);
	for (unsigned i = 0; i < FRAME_MAX_FDS; i++)
		assert_int_equal(file_take(frame.fds[i]), 100 + i);

	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
	assert_int_equal(file_take(frame.fds[0]), 200);
	pair_free(&pair);
}

static void frame_second_with_fds_waits_for_the_acknowledgement(void **state)
{
	struct pair pair = pair_new(true);
	struct frame frame;

	assert_int_equal(queue(&pair, 10, 1, 1, 100), 0);
	assert_int_equal(queue(&pair, 10, 2, 1, 200), 0);
	assert_int_equal(queue(&pair, 10, 3, 0, 0), 0);
	send_all(&pair);
	assert_int_equal(frame_writer_pending(pair.writer), 2 * (FRAME_HEADER_BYTES + 10));
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
	assert_int_equal(file_take(frame.fds[0]), 100);
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), FRAME_AGAIN);

	frame_writer_acknowledge(pair.writer);
	send_all(&pair);
	assert_int_equal(frame_writer_pending(pair.writer), 0);
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
	assert_int_equal(file_take(frame.fds[0]), 200);
	assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
	assert_filled(&frame, 10, 3);
	pair_free(&pair);
}

static void frame_fds_lost_are_counted_and_the_next_are_right(void **state)
{
	for (unsigned n_left = 0; n_left < 3; n_left++) {
		struct pair pair = pair_new(true);
		struct frame frame;

		/* Worse than writers do: both are on the way at once. */
		assert_int_equal(queue(&pair, 5, 0, 0, 0), 0);
		assert_int_equal(queue(&pair, 10, 1, 3, 100), 0);
		assert_int_equal(queue(&pair, 20, 2, 2, 200), 0);
		send_all(&pair);
		frame_writer_acknowledge(pair.writer);
		send_all(&pair);

		assert_int_equal(fill_with_fds_limit(&pair, n_left), 0);
		assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
		assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
		assert_filled(&frame, 10, 1);
		assert_int_equal(frame.n_fds, 3);
		assert_int_equal(frame.n_fds_lost, 3 - n_left);
		for (unsigned i = 0; i < 3; i++)
			if (i < n_left)
				assert_int_equal(file_take(frame.fds[i]), 100 + i);
			else
				assert_int_equal(frame.fds[i], -1);

		assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
		assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
		assert_filled(&frame, 20, 2);
		assert_int_equal(frame.n_fds_lost, 0);
		assert_int_equal(file_take(frame.fds[0]), 200);
		assert_int_equal(file_take(frame.fds[1]), 201);
		pair_free(&pair);
	}
}

static void frame_fds_that_none_claims_break_the_stream(void **state)
{
	struct pair pair = pair_new(true);
	struct frame frame;

	/* A frame that wants none; one that wants fewer. */
	send_raw(&pair, "\0\0\0\0\0\0\0\0", FRAME_HEADER_BYTES, 1);
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	assert_int_equal(frame_reader_next(pair.reader, &frame), 0);
	assert_int_equal(frame.n_fds, 0);
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), -EPROTO);
	pair_free(&pair);

	pair = pair_new(true);
	send_raw(&pair, "\0\0\0\0\1\0\0\0", FRAME_HEADER_BYTES, 2);
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	assert_int_equal(frame_reader_next(pair.reader, &frame), -EPROTO);
	pair_free(&pair);
}

static void frame_fds_for_who_accepts_none_are_strays(void **state)
{
	struct pair pair = pair_new(false);
	struct frame frame;
	unsigned n_strays = 0;
	int fd;

	send_raw(&pair, "\0\0\0\0\0\0\0\0", FRAME_HEADER_BYTES, 253);
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), -EPROTO);
	while ((fd = frame_reader_take_stray_fd(pair.reader)) >= 0) {
		close(fd);
		n_strays++;
	}
	assert_int_equal(n_strays, 253);
	pair_free(&pair);

	/* Saying that there are some is as wrong. */
	pair = pair_new(false);
	send_raw(&pair, "\0\0\0\0\1\0\0\0", FRAME_HEADER_BYTES, 0);
	assert_int_equal(frame_reader_fill(pair.reader, pair.receiver_fd), 0);
	assert_int_equal(frame_reader_next(pair.reader, &frame), -EPROTO);
	pair_free(&pair);
}

static void frame_commit_with_too_many_fds_queues_nothing(void **state)
{
	struct pair pair = pair_new(true);
	size_t pending;
	int closed_fd = -1;

	for (unsigned n_fds = 0; n_fds < FRAME_WRITER_MAX_FDS; n_fds += FRAME_MAX_FDS)
		assert_int_equal(queue(&pair, 10, 1, FRAME_MAX_FDS, 1), 0);
	pending = frame_writer_pending(pair.writer);
	assert_int_equal(queue(&pair, 10, 1, 1, 1), -ENOBUFS);
	assert_int_equal(frame_writer_pending(pair.writer), pending);
	pair_free(&pair);

	pair = pair_new(true);
	assert_non_null(frame_writer_reserve(pair.writer, 10));
	assert_int_equal(frame_writer_commit(pair.writer, 10, &closed_fd, 1), -EBADF);
	assert_int_equal(frame_writer_pending(pair.writer), 0);
	pair_free(&pair);
}

/* ---- at random ---- */

#define N_RANDOM_FRAMES 20000

/* What the random test does at step `i`, the same for sender and receiver. */
struct step {
	size_t length;
	uint8_t n_fds;
};

static struct step step_of(uint64_t seed, unsigned i)
{
	uint64_t x = (seed + i) * UINT64_C(0x9e3779b97f4a7c15);
	struct step step = {.length = x >> 40 & 127};

	x ^= x >> 29;
	if ((x & 63) == 0)
		step.length = x >> 16 & 0xffff;
	if ((x >> 6 & 15) == 0)
		step.n_fds = (uint8_t)(1 + (x >> 10 & 3));
	return step;
}

/* Take all frames there are; some reads have no descriptors left to open. */
static void receive_random(struct pair *pair, uint64_t seed, unsigned *n_taken, unsigned *n_lost)
{
	struct frame frame;
	int r;

	do {
		r = fill_with_fds_limit(pair, rand() % 4 == 0 ? 1 : 10);
		assert_true(r == 0 || r == FRAME_AGAIN);
		while (frame_reader_next(pair->reader, &frame) == 0) {
			struct step step = step_of(seed, *n_taken);

			assert_int_equal(frame.length, step.length);
			assert_true(step.length == 0 || frame.message[step.length - 1] == (uint8_t)*n_taken);
			assert_int_equal(frame.n_fds, step.n_fds);
			for (unsigned i = 0; i < frame.n_fds; i++)
				if (i + frame.n_fds_lost < frame.n_fds)
					assert_int_equal(file_take(frame.fds[i]), 4 * *n_taken + i);
				else
					assert_int_equal(frame.fds[i], -1);
			*n_lost += frame.n_fds_lost;
			++*n_taken;
		}
	} while (r == 0);
}

static void frame_random_lengths_and_fds_arrive_as_sent(void **state)
{
	const char *given = getenv("SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)getpid();
	struct pair pair = pair_new(true);
	unsigned n_queued = 0, n_taken = 0, n_lost = 0;

	print_message("SEED=%llu\n", (unsigned long long)seed);
	srand((unsigned)seed);
	while (n_taken < N_RANDOM_FRAMES) {
		for (int i = rand() % 30; i > 0 && n_queued < N_RANDOM_FRAMES; i--) {
			struct step step = step_of(seed, n_queued);

			assert_int_equal(
				queue(&pair, step.length, (uint8_t)n_queued, step.n_fds, 4 * n_queued), 0);
			n_queued++;
		}
		assert_true(frame_writer_flush(pair.writer, pair.sender_fd) >= 0);
		if (rand() % 2)
			frame_writer_acknowledge(pair.writer);
		if (rand() % 2 || frame_writer_pending(pair.writer) > 200000) {
			receive_random(&pair, seed, &n_taken, &n_lost);
			frame_writer_acknowledge(pair.writer);
		}
	}
	assert_int_equal(n_taken, n_queued);
	assert_true(n_lost > 0);
	pair_free(&pair);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_header_put_and_get_agree),
		cmocka_unit_test(frame_header_that_makes_no_sense_is_refused),
		cmocka_unit_test(frame_many_in_one_write_come_in_order),
		cmocka_unit_test(frame_byte_by_byte_is_whole_at_the_last),
		cmocka_unit_test(frame_largest_passes_and_a_larger_is_refused),
		cmocka_unit_test(frame_not_taken_stops_the_reader),
		cmocka_unit_test(frame_buffer_grows_as_it_may_and_shrinks),
		cmocka_unit_test(frame_end_of_file_is_told_apart_from_silence),
		cmocka_unit_test(frame_writer_with_a_full_socket_says_again),
		cmocka_unit_test(frame_writer_without_a_peer_fails_without_a_signal),
		cmocka_unit_test(frame_fds_come_with_their_frame_among_others),
		cmocka_unit_test(frame_fds_wait_for_a_frame_of_many_reads),
		cmocka_unit_test(frame_second_with_fds_waits_for_the_acknowledgement),
		cmocka_unit_test(frame_fds_lost_are_counted_and_the_next_are_right),
		cmocka_unit_test(frame_fds_that_none_claims_break_the_stream),
		cmocka_unit_test(frame_fds_for_who_accepts_none_are_strays),
		cmocka_unit_test(frame_commit_with_too_many_fds_queues_nothing),
		cmocka_unit_test(frame_random_lengths_and_fds_arrive_as_sent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

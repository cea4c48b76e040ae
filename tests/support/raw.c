/* raw.c - see raw.h. */
#include <config.h>

#include <errno.h>
#include <grp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/text.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"

static bool in_child;

void raw_fail(const char *file, int line, const char *format, ...)
{
	char message[512];
	va_list args;

	va_start(args, format);
	vsnprintf(message, sizeof(message), format, args);
	va_end(args);
	if (in_child) {
		fprintf(stderr, "%s:%d: process %d, uid %u: %s\n", file, line, (int)getpid(), getuid(),
			message);
		_exit(1);
	}
	print_error("%s\n", message);
	_fail(file, line);
	abort(); /* not reached: _fail() jumps */
}

/* ---- other processes ---- */

pid_t raw_fork(uid_t uid, void (*run)(void *arg), void *arg)
{
	pid_t parent = getpid(), pid;

	fflush(NULL);
	pid = fork();
	if (pid != 0) {
		if (!in_child)
			dut_adopt(pid);
		raw_check(pid > 0, "fork: %s", strerror(errno));
		return pid;
	}
	in_child = true;
	if (uid != 0 &&
	    (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
		raw_fail(__FILE__, __LINE__, "cannot become uid %u: %s", uid, strerror(errno));
	/* After the change of uid, which clears it. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	run(arg);
	_exit(0);
}

/* The harness' own wait fails the cmocka way, which is not for children. */
static int wait_child(pid_t pid)
{
	int pid_fd, status = -1;
	struct pollfd poll_fd;

	if (!in_child)
		return dut_wait_child(pid);
	pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	poll_fd = (struct pollfd){.fd = pid_fd, .events = POLLIN};
	raw_check(poll(&poll_fd, 1, WAIT_MAX_MS) == 1, "process %d does not end", (int)pid);
	close(pid_fd);
	waitpid(pid, &status, 0);
	return status;
}

void raw_join(pid_t pid)
{
	int status = wait_child(pid);

	raw_check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "process %d ended with wait status %#x",
		  (int)pid, (unsigned)status);
}

void raw_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	wait_child(pid);
}

/* ---- the connection ---- */

void raw_connect(struct raw *raw, const struct dut *dut)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	*raw = (struct raw){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)};
	raw_check(raw->fd >= 0, "socket: %s", strerror(errno));
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", dut->socket);
	raw_check(connect(raw->fd, (const struct sockaddr *)&address, sizeof(address)) == 0, "connect: %s",
		  strerror(errno));
	raw_check(frame_reader_new(true, &raw->reader) == 0, "no memory");
}

void raw_hello(struct raw *raw)
{
	struct raw_request ask;
	Hugepool__Reply *reply = raw_call(raw, raw_ask_hello(&ask));

	raw_check(reply->hello && reply->hello->token.len == sizeof(raw->token), "Hello: %s",
		  reply->error ? reply->error->message : "no session");
	raw->session = reply->hello->session;
	memcpy(raw->token, reply->hello->token.data, sizeof(raw->token));
	raw_drop(reply);
}

void raw_open(struct raw *raw, const struct dut *dut)
{
	raw_connect(raw, dut);
	raw_hello(raw);
}

void raw_close(struct raw *raw)
{
	if (raw->fd >= 0)
		close(raw->fd);
	raw->reader = frame_reader_free(raw->reader);
	raw->fd = -1;
}

/* ---- out ---- */

size_t raw_send_bytes(struct raw *raw, const void *bytes, size_t n_bytes, unsigned patience_ms)
{
	size_t n_sent = 0;

	while (n_sent < n_bytes) {
		struct pollfd poll_fd = {.fd = raw->fd, .events = POLLOUT};
		ssize_t n = send(raw->fd, (const uint8_t *)bytes + n_sent, n_bytes - n_sent,
				 MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n > 0)
			n_sent += (size_t)n;
		else if (errno != EAGAIN || poll(&poll_fd, 1, (int)patience_ms) == 0)
			break;
	}
	return n_sent;
}

size_t raw_pack(const Hugepool__Request *request, uint8_t *buffer, size_t used, size_t room)
{
	size_t length = hugepool__request__get_packed_size(request);
	struct frame_header header = {.length = (uint32_t)length};

	raw_check(length <= FRAME_MAX_BYTES && used + FRAME_HEADER_BYTES + length <= room,
		  "a request of %zu bytes does not fit", length);
	frame_header_put(buffer + used, &header);
	hugepool__request__pack(request, buffer + used + FRAME_HEADER_BYTES);
	return used + FRAME_HEADER_BYTES + length;
}

void raw_send(struct raw *raw, Hugepool__Request *request)
{
	static uint8_t buffer[FRAME_HEADER_BYTES + FRAME_MAX_BYTES];
	size_t n_bytes;

	if (request->id == 0)
		request->id = ++raw->last_id;
	n_bytes = raw_pack(request, buffer, 0, sizeof(buffer));
	raw_check(raw_send_bytes(raw, buffer, n_bytes, WAIT_MAX_MS) == n_bytes, "cannot send: %s",
		  strerror(errno));
}

void raw_send_frame(struct raw *raw, const uint8_t header[FRAME_HEADER_BYTES], const void *bytes,
		    size_t n_bytes)
{
	raw_check(raw_send_bytes(raw, header, FRAME_HEADER_BYTES, WAIT_MAX_MS) == FRAME_HEADER_BYTES,
		  "cannot send a header: %s", strerror(errno));
	/* It may have had enough after the header. */
	raw_send_bytes(raw, bytes, n_bytes, WAIT_MAX_MS);
}

/* ---- in ---- */

/* Whatever anybody is called: all that the daemon says is UTF-8, of characters that are plain (text.h). */
static void check_texts(const ProtobufCMessage *message)
{
	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];
		const char *at = (const char *)message + field->offset;
		const char *of = (const char *)message + field->quantifier_offset;
		const void *const *values = (const void *const *)(const void *)at;
		size_t n = 1;

		if (field->type != PROTOBUF_C_TYPE_STRING && field->type != PROTOBUF_C_TYPE_MESSAGE)
			continue;
		if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
		    *(const uint32_t *)(const void *)of != field->id)
			continue;
		if (field->label == PROTOBUF_C_LABEL_REPEATED) {
			n = *(const size_t *)(const void *)of;
			values = (const void *const *)*values;
		}
		for (size_t k = 0; k < n; k++)
			if (values[k] && field->type == PROTOBUF_C_TYPE_MESSAGE)
				check_texts(values[k]);
			else if (values[k])
				raw_check(text_is_plain(values[k]), "%s is not plain text: \"%s\"",
					  field->name, (const char *)values[k]);
	}
}

Hugepool__Reply *raw_receive(struct raw *raw, unsigned *ret_n_fds)
{
	Hugepool__Reply *reply;
	struct frame frame;
	int r;

	while ((r = frame_reader_next(raw->reader, &frame)) == FRAME_AGAIN) {
		struct pollfd poll_fd = {.fd = raw->fd, .events = POLLIN};

		raw_check(poll(&poll_fd, 1, WAIT_MAX_MS) == 1, "no reply for %d ms", WAIT_MAX_MS);
		r = frame_reader_fill(raw->reader, raw->fd);
		/* What it had not read when it closed is a reset to us. */
		if (r == FRAME_END || r == -ECONNRESET)
			return NULL;
		raw_check(r == 0, "cannot receive: %s", strerror(-r));
	}
	raw_check(r == 0, "the daemon's frames are broken");
	if (ret_n_fds)
		*ret_n_fds = frame.n_fds;
	frame_close_fds(&frame);
	reply = hugepool__reply__unpack(NULL, frame.length, frame.message);
	raw_check(reply, "the daemon's reply of %u bytes is no Reply", frame.length);
	check_texts(&reply->base);
	return reply;
}

void raw_drop(Hugepool__Reply *reply)
{
	hugepool__reply__free_unpacked(reply, NULL);
}

bool raw_is_silent(struct raw *raw, unsigned for_ms)
{
	struct pollfd poll_fd = {.fd = raw->fd, .events = POLLIN};

	return frame_reader_pending(raw->reader) == 0 && poll(&poll_fd, 1, (int)for_ms) == 0;
}

void raw_expect_closed(struct raw *raw)
{
	Hugepool__Reply *reply;

	while ((reply = raw_receive(raw, NULL)))
		raw_drop(reply);
}

/* ---- whole exchanges ---- */

Hugepool__Reply *raw_call(struct raw *raw, Hugepool__Request *request)
{
	Hugepool__Reply *reply;

	raw_send(raw, request);
	while ((reply = raw_receive(raw, NULL)) && reply->id != request->id)
		raw_drop(reply);
	raw_check(reply, "the daemon has closed instead of answering");
	return reply;
}

static void check_error(Hugepool__Reply *reply, Hugepool__Code code, const char *words)
{
	raw_check(reply, "the daemon has closed instead of an error about \"%s\"", words);
	raw_check(reply->error, "no error about \"%s\", but result %d", words, reply->result_case);
	raw_check(reply->error->code == code && strstr(reply->error->message, words),
		  "expected error %d about \"%s\", got %d: %s", code, words, reply->error->code,
		  reply->error->message);
	raw_drop(reply);
}

void raw_expect_error(struct raw *raw, Hugepool__Request *request, Hugepool__Code code, const char *words)
{
	check_error(raw_call(raw, request), code, words);
}

void raw_receive_error(struct raw *raw, Hugepool__Code code, const char *words)
{
	check_error(raw_receive(raw, NULL), code, words);
}

void raw_say_received(struct raw *raw)
{
	struct raw_request ask;

	raw_send(raw, raw_ask_received(&ask));
}

uint64_t raw_alloc(struct raw *raw, uint64_t n_pages)
{
	struct raw_request ask;
	Hugepool__Reply *reply = raw_call(raw, raw_ask_alloc(&ask, n_pages));
	uint64_t lease;

	raw_check(reply->alloc && reply->alloc->n_grants == 1, "Alloc of %llu pages: %s",
		  (unsigned long long)n_pages, reply->error ? reply->error->message : "no grant");
	lease = reply->alloc->grants[0]->lease;
	if (reply->alloc->n_new_arenas > 0)
		raw_say_received(raw);
	raw_drop(reply);
	return lease;
}

Hugepool__Code raw_free(struct raw *raw, uint64_t lease)
{
	struct raw_request ask;
	Hugepool__Reply *reply = raw_call(raw, raw_ask_free(&ask, lease));
	Hugepool__Code code = HUGEPOOL__CODE__OK;

	raw_check(reply->free && reply->free->n_failures <= 1, "Free: %s",
		  reply->error ? reply->error->message : "no result");
	if (reply->free->n_failures == 1)
		code = reply->free->failures[0]->error->code;
	raw_drop(reply);
	return code;
}

/* ---- requests in few words ---- */

#define ASK(ask, KIND, field, kind)                                                                          \
	do {                                                                                                 \
		(ask)->request = (Hugepool__Request)HUGEPOOL__REQUEST__INIT;                                 \
		(ask)->field = (Hugepool__##kind)HUGEPOOL__##KIND##__INIT;                                   \
		(ask)->request.method_case = HUGEPOOL__REQUEST__METHOD_##KIND;                               \
		(ask)->request.field = &(ask)->field;                                                        \
	} while (0)

Hugepool__Request *raw_ask_hello(struct raw_request *ask)
{
	ASK(ask, HELLO, hello, Hello);
	ask->hello.version = 1;
	ask->hello.client = (char *)"raw";
	return &ask->request;
}

Hugepool__Request *raw_ask_alloc(struct raw_request *ask, uint64_t n_pages)
{
	ASK(ask, ALLOC, alloc, Alloc);
	ask->one = n_pages;
	ask->alloc.n_n_pages = 1;
	ask->alloc.n_pages = &ask->one;
	return &ask->request;
}

Hugepool__Request *raw_ask_free(struct raw_request *ask, uint64_t lease)
{
	ASK(ask, FREE, free, Free);
	ask->one = lease;
	ask->free.n_leases = 1;
	ask->free.leases = &ask->one;
	return &ask->request;
}

Hugepool__Request *raw_ask_arena(struct raw_request *ask, uint64_t arena)
{
	ASK(ask, ARENA, arena, Arena);
	ask->arena.arena = arena;
	return &ask->request;
}

Hugepool__Request *raw_ask_bye(struct raw_request *ask)
{
	ASK(ask, BYE, bye, Bye);
	return &ask->request;
}

Hugepool__Request *raw_ask_status(struct raw_request *ask)
{
	ASK(ask, STATUS, status, Status);
	return &ask->request;
}

Hugepool__Request *raw_ask_leases(struct raw_request *ask)
{
	ASK(ask, LEASES, leases, Leases);
	return &ask->request;
}

Hugepool__Request *raw_ask_received(struct raw_request *ask)
{
	ASK(ask, RECEIVED, received, Received);
	return &ask->request;
}

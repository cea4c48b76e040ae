/* fuzz_reply.c - bytes and descriptors from a daemon that means no good, as the client library takes them in.
 *
 * The input is all that the daemon ever says, a Hello's reply first; the library's calls send what they like.
 * The connection is made here, by a socketpair: there is no daemon to come back to, so a call whose
 * connection ends fails at once. What is granted is touched, and no descriptor may be left.
 */
#include <config.h>

#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/lib/session.h"
#include "daemon/base/assert.h"
#include "daemon/base/clock.h"

#define NOWHERE     "/dev/null/socket" /* ENOTDIR: the library does not wait for it */
#define FILE_BYTES  (4u * 4096)
#define N_LEASES    2
#define LOSES_EVERY 4

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The lowest number that is free. */
static int next_fd(void)
{
	int fd = dup(STDERR_FILENO);

	close(fd);
	return fd;
}

/* One sendmsg, as the daemon's writer does it. False: the socket is full. */
static bool send_piece(int socket_fd, const uint8_t *bytes, size_t n_bytes, int file_fd, unsigned n_fds)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(FRAME_MAX_FDS * sizeof(int))];
	} control = {0};
	struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n_bytes};
	struct msghdr message = {.msg_iov = &iov, .msg_iovlen = 1};
	int fds[FRAME_MAX_FDS];

	if (n_fds > 0) {
		for (unsigned i = 0; i < n_fds; i++)
			fds[i] = file_fd;
		message.msg_control = control.bytes;
		message.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		control.align = (struct cmsghdr){.cmsg_len = CMSG_LEN(n_fds * sizeof(int)),
						 .cmsg_level = SOL_SOCKET,
						 .cmsg_type = SCM_RIGHTS};
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
	}
	return sendmsg(socket_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)n_bytes;
}

/* Frame by frame, each with as many descriptors as its header says, or for some inputs one too few; what is
 * no frame goes as it is. */
static void send_all(int socket_fd, const uint8_t *data, size_t size, int file_fd)
{
	bool loses = size % LOSES_EVERY == 0, goes_on = true;

	for (size_t n; size > 0 && goes_on; data += n, size -= n) {
		struct frame_header header = {.n_fds = 0};

		n = size;
		if (size >= FRAME_HEADER_BYTES && frame_header_get(data, &header) == 0 &&
		    header.length <= size - FRAME_HEADER_BYTES)
			n = FRAME_HEADER_BYTES + header.length;
		else
			header.n_fds = 0;
		goes_on = send_piece(socket_fd, data, n, file_fd, header.n_fds - (loses && header.n_fds > 0));
	}
	shutdown(socket_fd, SHUT_WR);
}

static struct connection *connection_on(int socket_fd)
{
	struct connection *connection = calloc(1, sizeof(*connection));

	hp_assert(connection);
	connection->n_refs = 1;
	connection->socket_fd = socket_fd;
	hp_assert(frame_reader_new(true, &connection->reader) == 0 &&
		  frame_writer_new(&connection->writer) == 0);
	return connection;
}

/* hp_open() on that socket; hp_close() takes it. False: the daemon's Hello was no good. */
static bool client_on(int socket_fd, hp_client **ret_client)
{
	hp_client *client = session_new();

	hp_assert(client);
	strcpy(client->socket_path, NOWHERE);
	client->mend.greeting = connection_on(socket_fd);
	client->mend.hello_id = client->last_request_id = 1;
	client->mend.give_up_ns = NO_DEADLINE;
	*ret_client = client;
	return mend_run(client, NO_DEADLINE) == 0;
}

/* It is as long as it was asked for, and really there. */
static void touch(const hp_lease *lease, uint64_t bytes)
{
	volatile uint8_t *memory = hp_lease_data(lease);

	hp_assert(hp_lease_bytes(lease) >= bytes && hp_lease_bytes(lease) <= FILE_BYTES);
	memory[0] = 1;
	memory[hp_lease_bytes(lease) - 1] = 1;
}

static void lease_some(hp_client *client)
{
	uint64_t bytes[N_LEASES] = {1, 5000};
	hp_lease *leases[N_LEASES] = {NULL};
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Status method = HUGEPOOL__STATUS__INIT;
	Hugepool__Reply *reply = NULL;
	int r = hp_alloc_batch(client, bytes, N_LEASES, NULL, leases);

	request.method_case = HUGEPOOL__REQUEST__METHOD_STATUS;
	request.status = &method;
	if (client_call(client, &request, &reply) == 0)
		hugepool__reply__free_unpacked(reply, NULL);
	for (unsigned i = 0; i < N_LEASES; i++) {
		hp_assert((r == 0) == (leases[i] != NULL));
		if (leases[i])
			touch(leases[i], bytes[i]);
	}
	(void)hp_free_batch(leases, N_LEASES, 0);
	(void)hp_free_name(client, "name");
}

/* SOCK_STREAM: the library finds everything there at once, also what nobody has asked for yet.
 * SOCK_SEQPACKET: it reads a frame a time, so that the replies meet the calls that they are for. */
static void live(int socket_type, const uint8_t *data, size_t size)
{
	int first_fd = next_fd(), file_fd = memfd_create("arena", MFD_CLOEXEC), fds[2];
	hp_client *client;

	hp_assert(file_fd >= 0 && ftruncate(file_fd, FILE_BYTES) == 0);
	hp_assert(socketpair(AF_UNIX, socket_type, 0, fds) == 0);
	send_all(fds[0], data, size, file_fd);
	if (client_on(fds[1], &client))
		lease_some(client);
	hp_close(client);
	close(fds[0]);
	close(file_fd);
	hp_assert(next_fd() == first_fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	live(SOCK_STREAM, data, size);
	live(SOCK_SEQPACKET, data, size);
	return 0;
}

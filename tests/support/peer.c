/* peer.c - see the header. */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "tests/support/peer.h"

#define must(condition)                                                                                      \
	do {                                                                                                 \
		if (!(condition)) {                                                                          \
			fprintf(stderr, "%s:%d: peer: %s: %s\n", __FILE__, __LINE__, #condition,             \
				strerror(errno));                                                            \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

struct errand {
	peer_errand *run; /* NULL: the last */
	void *arg;
};

void peer_reply(struct peer *peer, const Hugepool__Reply *reply, const int *fds, unsigned n_fds)
{
	size_t length = hugepool__reply__get_packed_size(reply);
	uint8_t *room;

	if (peer->fd < 0)
		return;
	frame_writer_acknowledge(peer->writer);
	room = frame_writer_reserve(peer->writer, length);
	must(room);
	hugepool__reply__pack(reply, room);
	must(frame_writer_commit(peer->writer, length, fds, (uint8_t)n_fds) == 0);
	while (frame_writer_flush(peer->writer, peer->fd) == FRAME_AGAIN)
		must(poll(&(struct pollfd){.fd = peer->fd, .events = POLLOUT}, 1, 20000) == 1);
}

void peer_reply_error(struct peer *peer, uint64_t id, Hugepool__Code code)
{
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__Error error = HUGEPOOL__ERROR__INIT;

	error.code = code;
	reply.id = id;
	reply.error = &error;
	peer_reply(peer, &reply, NULL, 0);
}

void peer_reply_free(struct peer *peer, uint64_t id)
{
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__FreeReply freed = HUGEPOOL__FREE_REPLY__INIT;

	reply.id = id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_FREE;
	reply.free = &freed;
	peer_reply(peer, &reply, NULL, 0);
}

void peer_reply_subscribe(struct peer *peer, uint64_t id)
{
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__SubscribeReply subscribed = HUGEPOOL__SUBSCRIBE_REPLY__INIT;

	reply.id = id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_SUBSCRIBE;
	reply.subscribe = &subscribed;
	peer_reply(peer, &reply, NULL, 0);
}

void peer_hang_up(struct peer *peer)
{
	if (peer->fd < 0)
		return;
	close(peer->fd);
	peer->fd = -1;
	peer->reader = frame_reader_free(peer->reader);
	peer->writer = frame_writer_free(peer->writer);
}

void peer_forget(struct peer *peer, void *arg)
{
	peer->forgetful = true;
	peer_hang_up(peer);
}

static void welcome(struct peer *peer, const Hugepool__Request *request)
{
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__HelloReply hello = HUGEPOOL__HELLO_REPLY__INIT;
	Hugepool__PoolInfo pool = HUGEPOOL__POOL_INFO__INIT, *pool_ptr = &pool;
	uint8_t token[16] = {1, 2, 3};

	if (request->hello->session && peer->forgetful) {
		peer_reply_error(peer, request->id, HUGEPOOL__CODE__NO_SESSION);
		return;
	}
	pool.pool = PEER_POOL_NUMBER;
	pool.name = (char *)PEER_POOL;
	pool.page_bytes = PEER_PAGE;
	pool.pages_max = 1 << 20;
	hello.version = 1;
	hello.daemon_version = (char *)"peer";
	hello.session = 42;
	hello.continued = request->hello->session == 42;
	hello.token = (ProtobufCBinaryData){.data = token, .len = sizeof(token)};
	hello.n_pools = 1;
	hello.pools = &pool_ptr;
	hello.max_batch = 64;
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_HELLO;
	reply.hello = &hello;
	peer->n_hellos++;
	peer_reply(peer, &reply, NULL, 0);
}

static void take(struct peer *peer, const Hugepool__Request *request)
{
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__ByeReply bye = HUGEPOOL__BYE_REPLY__INIT;

	if (request->method_case == HUGEPOOL__REQUEST__METHOD_HELLO) {
		welcome(peer, request);
	} else if (request->method_case == HUGEPOOL__REQUEST__METHOD_BYE) {
		reply.id = request->id;
		reply.result_case = HUGEPOOL__REPLY__RESULT_BYE;
		reply.bye = &bye;
		peer_reply(peer, &reply, NULL, 0);
	} else {
		peer->answer(peer, request);
	}
}

static void receive(struct peer *peer)
{
	struct frame frame;

	if (frame_reader_fill(peer->reader, peer->fd) != 0) {
		peer_hang_up(peer);
		return;
	}
	while (peer->fd >= 0 && frame_reader_next(peer->reader, &frame) == 0) {
		Hugepool__Request *request = hugepool__request__unpack(NULL, frame.length, frame.message);

		must(request);
		take(peer, request);
		hugepool__request__free_unpacked(request, NULL);
	}
}

static void accept_one(struct peer *peer)
{
	int fd = accept4(peer->listen_fd, NULL, NULL, SOCK_CLOEXEC);

	must(fd >= 0);
	peer_hang_up(peer);
	peer->fd = fd;
	must(frame_reader_new(false, &peer->reader) == 0 && frame_writer_new(&peer->writer) == 0);
}

static void *play(void *arg)
{
	struct peer *peer = arg;

	for (;;) {
		struct pollfd fds[] = {{.fd = peer->errand_fds[0], .events = POLLIN},
				       {.fd = peer->fd, .events = POLLIN},
				       {.fd = peer->deaf ? -1 : peer->listen_fd, .events = POLLIN}};
		struct errand errand;

		must(poll(fds, 3, -1) > 0);
		if (fds[1].revents)
			receive(peer);
		if (fds[2].revents)
			accept_one(peer);
		if (!fds[0].revents)
			continue;
		must(read(peer->errand_fds[0], &errand, sizeof(errand)) == (ssize_t)sizeof(errand));
		if (!errand.run)
			return NULL;
		errand.run(peer, errand.arg);
		must(write(peer->done_fds[1], "", 1) == 1);
	}
}

void peer_start(struct peer *peer, peer_answer *answer)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	*peer = (struct peer){.answer = answer, .fd = -1, .directory = "/tmp/hugepool-peer-XXXXXX"};
	must(mkdtemp(peer->directory));
	snprintf(peer->socket, sizeof(peer->socket), "%s/s", peer->directory);
	strcpy(address.sun_path, peer->socket);
	peer->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	must(bind(peer->listen_fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	must(listen(peer->listen_fd, 8) == 0);
	must(pipe(peer->errand_fds) == 0 && pipe(peer->done_fds) == 0);
	must(pthread_create(&peer->thread, NULL, play, peer) == 0);
}

int peer_arena_fd(uint64_t n_pages)
{
	int fd = memfd_create(PEER_ARENA, MFD_CLOEXEC | MFD_ALLOW_SEALING);

	must(fd >= 0 && ftruncate(fd, (off_t)(n_pages * PEER_PAGE)) == 0);
	return fd;
}

void peer_do(struct peer *peer, peer_errand *errand, void *arg)
{
	const struct errand sent = {.run = errand, .arg = arg};
	char byte;

	must(write(peer->errand_fds[1], &sent, sizeof(sent)) == (ssize_t)sizeof(sent));
	must(read(peer->done_fds[0], &byte, 1) == 1);
}

void peer_stop(struct peer *peer)
{
	const struct errand last = {.run = NULL};

	must(write(peer->errand_fds[1], &last, sizeof(last)) == (ssize_t)sizeof(last));
	must(pthread_join(peer->thread, NULL) == 0);
	peer_hang_up(peer);
	close(peer->listen_fd);
	for (unsigned i = 0; i < 2; i++) {
		close(peer->errand_fds[i]);
		close(peer->done_fds[i]);
	}
	unlink(peer->socket);
	rmdir(peer->directory);
}

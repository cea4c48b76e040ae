/* actor.c - see the header. The strings are a socket of whole messages: an order, and its answer. */
#include <config.h>

#include <dirent.h>
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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/wait.h"

#define STRINGS_FD 3 /* in the actor */
#define MAX_HELD   8192
#define ANSWER_S   (WAIT_MAX_MS / 1000)

enum verb {
	OPEN,
	CLOSE,
	QUIT,
	ALLOC,
	OPEN_LEASE,
	FREE,
	FREE_ID,
	FREE_NAME,
	FILL,
	COUNT_OTHER,
	DUP_FD,
	COUNT_FDS,
	BREAK,
	FORK,
	ACT,
	RESIZE,
	FREE_COLD,
	TOUCH,
	SUBSCRIBE,
	AWAIT,
};

struct order {
	enum verb verb;
	unsigned n, flags;
	uint8_t value;
	bool has_pool, has_name;
	uint64_t lease, bytes;
	int64_t offset;
	struct hp_alloc_options options; /* what they point to is here: */
	struct hp_access access[ACTOR_MAX_ACCESS];
	char pool[32], name[256];
	char socket[108];
	int64_t (*act)(int fd); /* the actor is a fork: the same function is there */
};

struct answer {
	int64_t result;
	uint64_t offset;
	uint64_t leases[ACTOR_MAX_BATCH];
};

/* ---- the actor's side: cmocka is not to be used here ---- */

static struct {
	hp_client *client;
	hp_lease *held[MAX_HELD];
	unsigned n_held;
	unsigned awaited; /* a kind of event; 0: it has come */
	struct hp_event event;
} self;

static sigjmp_buf rescue;

static unsigned find_held(uint64_t id)
{
	unsigned i = 0;

	while (i < self.n_held && hp_lease_id(self.held[i]) != id)
		i++;
	return i;
}

static int do_alloc(const struct order *order, struct answer *answer)
{
	struct hp_alloc_options options = order->options;
	hp_lease *leases[ACTOR_MAX_BATCH] = {NULL};
	uint64_t bytes[ACTOR_MAX_BATCH];
	int r;

	options.pool = order->has_pool ? order->pool : NULL;
	options.name = order->has_name ? order->name : NULL;
	options.access = order->access;
	for (unsigned i = 0; i < order->n; i++)
		bytes[i] = order->bytes;
	if (self.n_held + order->n > MAX_HELD)
		return -EOVERFLOW;
	r = order->n == 1 ? hp_alloc(self.client, bytes[0], &options, leases)
			  : hp_alloc_batch(self.client, bytes, order->n, &options, leases);
	for (unsigned i = 0; r == 0 && i < order->n; i++) {
		self.held[self.n_held++] = leases[i];
		answer->leases[i] = hp_lease_id(leases[i]);
	}
	return r;
}

static int do_open_lease(const struct order *order, struct answer *answer)
{
	hp_lease *lease;
	int r;

	if (self.n_held == MAX_HELD)
		return -EOVERFLOW;
	r = hp_lease_open(self.client, order->name, order->flags, &lease);
	if (r == 0) {
		self.held[self.n_held++] = lease;
		answer->leases[0] = hp_lease_id(lease);
	}
	return r;
}

static int do_free(uint64_t id, bool cold)
{
	unsigned i = find_held(id);
	hp_lease *lease = i < self.n_held ? self.held[i] : NULL;

	if (!lease)
		return -EBADF;
	self.held[i] = self.held[--self.n_held];
	return cold ? hp_free_batch(&lease, 1, HP_COLD) : hp_free(lease);
}

static void on_fault(int signal_number)
{
	siglongjmp(rescue, signal_number);
}

/* Returns what is read, or 0 when it was written; or the signal that it raised, negative. */
static int touch(const struct order *order, hp_lease *lease)
{
	const struct sigaction action = {.sa_handler = on_fault};
	volatile uint8_t *byte = (volatile uint8_t *)hp_lease_data(lease) + order->offset;
	volatile int result = 0;
	int signal_number;

	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	signal_number = sigsetjmp(rescue, 1);
	if (signal_number != 0)
		result = -signal_number;
	else if (order->flags)
		*byte = order->value;
	else
		result = *byte;
	signal(SIGBUS, SIG_DFL);
	signal(SIGSEGV, SIG_DFL);
	return result;
}

static void on_event(void *arg, const struct hp_event *event)
{
	if (event->kind != self.awaited)
		return;
	self.event = *event;
	self.awaited = 0;
}

static int await_event(unsigned kind, struct answer *answer)
{
	struct pollfd poll_fd = {.fd = hp_fd(self.client), .events = POLLIN};
	int r = 0;

	self.awaited = kind;
	while (self.awaited && r >= 0) {
		if (poll(&poll_fd, 1, WAIT_MAX_MS) != 1)
			return -ETIME;
		r = hp_dispatch(self.client);
	}
	answer->leases[0] = self.event.lease_id;
	answer->leases[1] = self.event.arena;
	return r < 0 ? r : 0;
}

static int64_t count_other(const hp_lease *lease, uint8_t value)
{
	const uint8_t *data = hp_lease_data(lease);
	uint64_t bytes = hp_lease_bytes(lease), n = 0;

	for (uint64_t i = 0; i < bytes; i += 4096) {
		if (data[i] == value && memcmp(data + i, data + i + 1, 4095) == 0)
			continue;
		for (unsigned k = 0; k < 4096; k++)
			n += data[i + k] != value;
	}
	return (int64_t)n;
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = -1; /* the directory's own */

	for (struct dirent *entry; dir && (entry = readdir(dir));)
		n += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

static void shut_sockets(void)
{
	for (int fd = STRINGS_FD + 1; fd < 1024; fd++) {
		struct stat status;

		if (fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode))
			shutdown(fd, SHUT_RDWR);
	}
}

static int64_t do_with_lease(const struct order *order, struct answer *answer, int *ret_fd)
{
	unsigned i = find_held(order->lease);
	hp_lease *lease = i < self.n_held ? self.held[i] : NULL;
	int64_t result;
	int fd = -1;

	if (order->verb == ACT) {
		fd = lease ? hp_lease_dup_fd(lease, 0, &answer->offset, NULL) : -1;
		result = order->act(fd);
		if (fd >= 0)
			close(fd);
		return result;
	}
	if (!lease)
		return -EBADF;
	switch (order->verb) {
	case RESIZE:
		return hp_lease_resize(lease, order->bytes, order->flags);
	case TOUCH:
		return touch(order, lease);
	case FILL:
		memset(hp_lease_data(lease), order->value, hp_lease_bytes(lease));
		return 0;
	case COUNT_OTHER:
		return count_other(lease, order->value);
	default:
		*ret_fd = hp_lease_dup_fd(lease, 0, &answer->offset, NULL);
		return *ret_fd < 0 ? *ret_fd : 0;
	}
}

static int64_t obey(const struct order *order, struct answer *answer, int *ret_fd)
{
	char byte;

	switch (order->verb) {
	case OPEN:
		return hp_open(order->socket, &self.client);
	case CLOSE:
	case QUIT:
		self.client = hp_close(self.client);
		self.n_held = 0;
		return 0;
	case ALLOC:
		return do_alloc(order, answer);
	case OPEN_LEASE:
		return do_open_lease(order, answer);
	case FREE:
	case FREE_COLD:
		return do_free(order->lease, order->verb == FREE_COLD);
	case SUBSCRIBE:
		return hp_subscribe(self.client, order->flags, on_event, NULL);
	case AWAIT:
		return await_event(order->flags, answer);
	case FREE_ID:
		return hp_free_id(self.client, order->lease);
	case FREE_NAME:
		return hp_free_name(self.client, order->name);
	case COUNT_FDS:
		return count_fds();
	case BREAK:
		shut_sockets();
		return 0;
	case FORK:
		if (fork() == 0) {
			/* Orders are for the parent, and for nobody when that is dead: only their end counts.
			 */
			while (recv(STRINGS_FD, &byte, 1, MSG_PEEK) > 0)
				wait_pause();
			_exit(0);
		}
		return 0;
	default:
		return do_with_lease(order, answer, ret_fd);
	}
}

static bool send_answer(const struct answer *answer, int fd)
{
	struct iovec part = {.iov_base = (void *)(uintptr_t)answer, .iov_len = sizeof(*answer)};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd >= 0) {
		message.msg_control = control.bytes;
		message.msg_controllen = sizeof(control.bytes);
		CMSG_FIRSTHDR(&message)->cmsg_level = SOL_SOCKET;
		CMSG_FIRSTHDR(&message)->cmsg_type = SCM_RIGHTS;
		CMSG_FIRSTHDR(&message)->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &fd, sizeof(int));
	}
	return sendmsg(STRINGS_FD, &message, MSG_NOSIGNAL) == (ssize_t)sizeof(*answer);
}

static void play(void)
{
	struct order order;

	while (recv(STRINGS_FD, &order, sizeof(order), 0) == (ssize_t)sizeof(order)) {
		struct answer answer = {0};
		int fd = -1;
		bool sent;

		answer.result = obey(&order, &answer, &fd);
		sent = send_answer(&answer, fd);
		if (fd >= 0)
			close(fd);
		if (order.verb == QUIT)
			_exit(sent ? 0 : 1);
	}
	_exit(1);
}

/* Nothing of the test's but the strings: other actors' would keep them from seeing their end. */
static void become(uid_t uid, int fd)
{
	if (dup2(fd, STRINGS_FD) < 0 || syscall(SYS_close_range, STRINGS_FD + 1, ~0u, 0) < 0)
		_exit(2);
	if (uid != 0 &&
	    (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
		_exit(2);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	/* A change of uid takes this away, and with it /proc/self/fd. */
	prctl(PR_SET_DUMPABLE, 1);
}

/* ---- the test's side ---- */

void actor_start_idle(struct actor *actor, uid_t uid)
{
	const struct timeval limit = {.tv_sec = ANSWER_S};
	int strings[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, strings), 0);
	assert_int_equal(setsockopt(strings[0], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)), 0);
	fflush(NULL);
	actor->pid = fork();
	if (actor->pid == 0) {
		become(uid, strings[1]);
		play();
	}
	dut_adopt(actor->pid);
	close(strings[1]);
	actor->fd = strings[0];
}

/* Receives the answer's descriptor, or -1. */
static int receive(const struct actor *actor, struct answer *ret)
{
	struct iovec part = {.iov_base = ret, .iov_len = sizeof(*ret)};
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr message = {.msg_iov = &part,
				 .msg_iovlen = 1,
				 .msg_control = control.bytes,
				 .msg_controllen = sizeof(control.bytes)};
	int fd = -1;

	if (recvmsg(actor->fd, &message, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*ret))
		fail_msg("actor %d has died, or does not answer", (int)actor->pid);
	if (CMSG_FIRSTHDR(&message))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

static int64_t ask(struct actor *actor, const struct order *order)
{
	struct answer answer;

	assert_int_equal(send(actor->fd, order, sizeof(*order), MSG_NOSIGNAL), sizeof(*order));
	receive(actor, &answer);
	return answer.result;
}

int actor_open(struct actor *actor, const struct dut *dut)
{
	struct order order = {.verb = OPEN};

	strcpy(order.socket, dut->socket);
	return (int)ask(actor, &order);
}

void actor_start(struct actor *actor, uid_t uid, const struct dut *dut)
{
	actor_start_idle(actor, uid);
	assert_int_equal(actor_open(actor, dut), 0);
}

void actor_close(struct actor *actor)
{
	assert_int_equal(ask(actor, &(struct order){.verb = CLOSE}), 0);
}

void actor_quit(struct actor *actor)
{
	assert_int_equal(ask(actor, &(struct order){.verb = QUIT}), 0);
	assert_int_equal(dut_wait_child(actor->pid), 0);
	close(actor->fd);
}

void actor_kill(struct actor *actor)
{
	assert_int_equal(kill(actor->pid, SIGKILL), 0);
	dut_wait_child(actor->pid);
	close(actor->fd);
}

static void send_order(struct actor *actor, const struct order *order)
{
	assert_int_equal(send(actor->fd, order, sizeof(*order), MSG_NOSIGNAL), sizeof(*order));
}

static void begin_alloc(struct actor *actor, unsigned n, uint64_t bytes,
			const struct hp_alloc_options *options)
{
	struct order order = {.verb = ALLOC, .n = n, .bytes = bytes};

	assert_in_range(n, 1, ACTOR_MAX_BATCH);
	if (options) {
		order.options = *options;
		order.has_pool = options->pool;
		order.has_name = options->name;
		snprintf(order.pool, sizeof(order.pool), "%s", options->pool ? options->pool : "");
		snprintf(order.name, sizeof(order.name), "%s", options->name ? options->name : "");
		assert_true(options->n_access <= ACTOR_MAX_ACCESS);
		for (unsigned i = 0; i < options->n_access; i++)
			order.access[i] = options->access[i];
	}
	send_order(actor, &order);
}

static int end_alloc(struct actor *actor, unsigned n, uint64_t *ret_leases)
{
	struct answer answer;

	receive(actor, &answer);
	memcpy(ret_leases, answer.leases, n * sizeof(*ret_leases));
	return (int)answer.result;
}

int actor_alloc_batch(struct actor *actor, unsigned n, uint64_t bytes, const struct hp_alloc_options *options,
		      uint64_t *ret_leases)
{
	begin_alloc(actor, n, bytes, options);
	return end_alloc(actor, n, ret_leases);
}

void actor_alloc_begin(struct actor *actor, uint64_t bytes, const struct hp_alloc_options *options)
{
	begin_alloc(actor, 1, bytes, options);
}

bool actor_is_busy(const struct actor *actor)
{
	struct pollfd poll_fd = {.fd = actor->fd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) == 0;
}

int actor_alloc_end(struct actor *actor, uint64_t *ret_lease)
{
	return end_alloc(actor, 1, ret_lease);
}

int actor_alloc(struct actor *actor, uint64_t bytes, const struct hp_alloc_options *options,
		uint64_t *ret_lease)
{
	return actor_alloc_batch(actor, 1, bytes, options, ret_lease);
}

int actor_open_lease(struct actor *actor, const char *name, unsigned flags, uint64_t *ret_lease)
{
	struct order order = {.verb = OPEN_LEASE, .flags = flags};
	struct answer answer;

	snprintf(order.name, sizeof(order.name), "%s", name);
	assert_int_equal(send(actor->fd, &order, sizeof(order), MSG_NOSIGNAL), sizeof(order));
	receive(actor, &answer);
	*ret_lease = answer.leases[0];
	return (int)answer.result;
}

int actor_free(struct actor *actor, uint64_t lease)
{
	return (int)ask(actor, &(struct order){.verb = FREE, .lease = lease});
}

int actor_free_id(struct actor *actor, uint64_t lease)
{
	return (int)ask(actor, &(struct order){.verb = FREE_ID, .lease = lease});
}

int actor_free_name(struct actor *actor, const char *name)
{
	struct order order = {.verb = FREE_NAME};

	snprintf(order.name, sizeof(order.name), "%s", name);
	return (int)ask(actor, &order);
}

void actor_fill(struct actor *actor, uint64_t lease, uint8_t value)
{
	assert_int_equal(ask(actor, &(struct order){.verb = FILL, .lease = lease, .value = value}), 0);
}

uint64_t actor_count_other(struct actor *actor, uint64_t lease, uint8_t value)
{
	int64_t n = ask(actor, &(struct order){.verb = COUNT_OTHER, .lease = lease, .value = value});

	assert_true(n >= 0);
	return (uint64_t)n;
}

int actor_dup_fd(struct actor *actor, uint64_t lease, uint64_t *ret_offset)
{
	const struct order order = {.verb = DUP_FD, .lease = lease};
	struct answer answer;
	int fd;

	assert_int_equal(send(actor->fd, &order, sizeof(order), MSG_NOSIGNAL), sizeof(order));
	fd = receive(actor, &answer);
	assert_true(fd >= 0);
	if (ret_offset)
		*ret_offset = answer.offset;
	return fd;
}

unsigned actor_n_fds(struct actor *actor)
{
	return (unsigned)ask(actor, &(struct order){.verb = COUNT_FDS});
}

void actor_break(struct actor *actor)
{
	assert_int_equal(ask(actor, &(struct order){.verb = BREAK}), 0);
}

void actor_fork(struct actor *actor)
{
	assert_int_equal(ask(actor, &(struct order){.verb = FORK}), 0);
}

int64_t actor_act(struct actor *actor, uint64_t lease, int64_t (*act)(int fd))
{
	return ask(actor, &(struct order){.verb = ACT, .lease = lease, .act = act});
}

int actor_resize(struct actor *actor, uint64_t lease, uint64_t bytes, unsigned flags)
{
	return (int)ask(actor,
			&(struct order){.verb = RESIZE, .lease = lease, .bytes = bytes, .flags = flags});
}

int actor_free_cold(struct actor *actor, uint64_t lease)
{
	return (int)ask(actor, &(struct order){.verb = FREE_COLD, .lease = lease});
}

int actor_peek(struct actor *actor, uint64_t lease, int64_t offset)
{
	return (int)ask(actor, &(struct order){.verb = TOUCH, .lease = lease, .offset = offset});
}

int actor_poke(struct actor *actor, uint64_t lease, int64_t offset, uint8_t value)
{
	const struct order order = {
		.verb = TOUCH, .flags = 1, .lease = lease, .offset = offset, .value = value};

	return (int)ask(actor, &order);
}

void actor_subscribe(struct actor *actor, unsigned kinds)
{
	assert_int_equal(ask(actor, &(struct order){.verb = SUBSCRIBE, .flags = kinds}), 0);
}

void actor_wait_event(struct actor *actor, unsigned kind, uint64_t *ret_lease, uint64_t *ret_arena)
{
	struct answer answer;

	send_order(actor, &(struct order){.verb = AWAIT, .flags = kind});
	receive(actor, &answer);
	assert_int_equal(answer.result, 0);
	*ret_lease = answer.leases[0];
	*ret_arena = answer.leases[1];
}

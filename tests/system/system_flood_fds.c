/* system_flood_fds.c - descriptors: the daemon's that run out, those on their way to a client that does not
 * take them, those that a client sends, and the client's own that run out. Who was served before still is,
 * who comes anew waits or is told why not, and all is as before when there are some again.
 */
#include <config.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/wait.h"
#include "tests/system/system_hostile_scene.h"

#ifndef SO_PASSRIGHTS
#define SO_PASSRIGHTS 83
#endif

#define PAGE       4096
#define SILENCE_MS 300 /* nothing is said for so long by who waits */
#define MAX_FD     1024
#define N_LOOKS    8

/* ---- taking descriptors away ---- */

/* Which descriptors the process has at this moment. */
static void look_at_descriptors(pid_t pid, bool taken[MAX_FD])
{
	struct dirent *entry;
	char path[64];
	DIR *dir;

	memset(taken, 0, MAX_FD * sizeof(taken[0]));
	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	raw_check(dir, "%s: %s", path, strerror(errno));
	while ((entry = readdir(dir))) {
		unsigned long fd = strtoul(entry->d_name, NULL, 10);

		/* Of ourselves, not the directory's own. */
		if (entry->d_name[0] != '.' && !(pid == getpid() && fd == (unsigned long)dirfd(dir))) {
			raw_check(fd < MAX_FD, "descriptor %lu", fd);
			taken[fd] = true;
		}
	}
	closedir(dir);
}

/* The limit under which the process can have `n_free` descriptors more than it keeps: what a thread of its
 * has for a moment, to read a file, is not there at every look. */
static rlim_t limit_for(pid_t pid, unsigned n_free)
{
	bool taken[MAX_FD], now[MAX_FD];
	rlim_t limit = 0;

	look_at_descriptors(pid, taken);
	for (unsigned i = 0; i < N_LOOKS; i++) {
		wait_pause();
		look_at_descriptors(pid, now);
		for (unsigned fd = 0; fd < MAX_FD; fd++)
			taken[fd] &= now[fd];
	}
	for (unsigned n = 0; limit < MAX_FD && (taken[limit] || n < n_free); limit++)
		n += !taken[limit];
	return limit;
}

/* Returns the limit before, for put_limit(). */
static rlim_t take_limit(pid_t pid, unsigned n_free)
{
	struct rlimit before, after;

	raw_check(prlimit(pid, RLIMIT_NOFILE, NULL, &before) == 0, "prlimit: %s", strerror(errno));
	after = before;
	after.rlim_cur = limit_for(pid, n_free);
	raw_check(prlimit(pid, RLIMIT_NOFILE, &after, NULL) == 0, "prlimit: %s", strerror(errno));
	return before.rlim_cur;
}

static void put_limit(pid_t pid, rlim_t limit)
{
	struct rlimit now;

	prlimit(pid, RLIMIT_NOFILE, NULL, &now);
	now.rlim_cur = limit;
	raw_check(prlimit(pid, RLIMIT_NOFILE, &now, NULL) == 0, "prlimit: %s", strerror(errno));
}

/* ---- the daemon has none left ---- */

#define NONE_LEFT "the daemon has no descriptors left: try again later"

static Hugepool__Reply *alloc_small(struct raw *raw)
{
	struct raw_request ask;

	raw_ask_alloc(&ask, 1);
	ask.alloc.pool = SCENE_SMALL;
	return raw_call(raw, &ask.request);
}

/* Waits for pages as long as the limit is low, and for nothing else. */
static void be_served_before_and_after(void *arg)
{
	struct scene *scene = arg;
	struct raw_request ask;
	Hugepool__Reply *reply;
	uint64_t arena;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	reply = raw_call(&raw, raw_ask_alloc(&ask, 1));
	raw_check(reply->alloc && reply->alloc->n_new_arenas == 1, "no lease with a new arena");
	arena = reply->alloc->new_arenas[0]->arena;
	raw_drop(reply);
	raw_say_received(&raw);
	scene_set_step(scene, 1);

	scene_wait_step(scene, 2);
	reply = alloc_small(&raw);
	raw_check(reply->error && reply->error->code == HUGEPOOL__CODE__NO_MEMORY &&
			  strstr(reply->error->message, "no memory or descriptors left"),
		  "a new arena without descriptors: %s", reply->error ? reply->error->message : "granted");
	raw_drop(reply);
	raw_expect_error(&raw, raw_ask_arena(&ask, arena), HUGEPOOL__CODE__NO_MEMORY, NONE_LEFT);
	raw_free(&raw, raw_alloc(&raw, 1));
	scene_set_step(scene, 3);

	scene_wait_step(scene, 4);
	reply = alloc_small(&raw);
	raw_check(reply->alloc && reply->alloc->n_new_arenas == 1, "no new arena: %s",
		  reply->error ? reply->error->message : "its descriptor is missing");
	raw_drop(reply);
	raw_say_received(&raw);
	reply = raw_call(&raw, raw_ask_arena(&ask, arena));
	raw_check(reply->arena, "no arena again");
	raw_drop(reply);
	raw_close(&raw);
}

/* There is one: enough for a socket, not for looking at who is there. */
static void be_refused(void *arg)
{
	struct scene *scene = arg;
	hp_client *client;
	struct raw raw;
	int r;

	for (unsigned i = 0; i < 20; i++) {
		raw_connect(&raw, &scene->dut);
		raw_receive_error(&raw, HUGEPOOL__CODE__NO_MEMORY, NONE_LEFT);
		raw_expect_closed(&raw);
		raw_close(&raw);
	}
	r = hp_open(scene->dut.socket, &client);
	raw_check(r == -ENOMEM && strstr(hp_error(), NONE_LEFT), "the library says %d: %s", r, hp_error());
}

static void wait_to_come_in(void *arg)
{
	struct scene *scene = arg;
	struct raw_request ask;
	Hugepool__Reply *reply;
	struct raw raw;

	raw_connect(&raw, &scene->dut);
	raw_send(&raw, raw_ask_hello(&ask));
	raw_check(raw_is_silent(&raw, SILENCE_MS), "something is said without a descriptor to say it on");
	scene->shared->n_in++;
	reply = raw_receive(&raw, NULL);
	raw_check(reply && reply->hello, "not let in afterwards");
	raw_drop(reply);
	raw_close(&raw);
}

static void daemon_without_descriptors_serves_those_it_has(struct scene *scene)
{
	pid_t old = raw_fork(scene_uid(UID_HOSTILE), be_served_before_and_after, scene), waiting;
	rlim_t limit;

	scene_wait_step(scene, 1);
	limit = take_limit(scene->dut.pid, 1);
	raw_join(raw_fork(scene_uid(UID_HOSTILE), be_refused, scene));
	scene_expect_service(scene, false);

	take_limit(scene->dut.pid, 0);
	waiting = raw_fork(scene_uid(UID_HOSTILE), wait_to_come_in, scene);
	scene_set_step(scene, 2);
	scene_wait_step(scene, 3);
	scene_expect_service(scene, false);
	while (scene->shared->n_in == 0)
		wait_pause();

	put_limit(scene->dut.pid, limit);
	raw_join(waiting);
	scene_set_step(scene, 4);
	raw_join(old);
	scene_expect_service(scene, true);
}

#define FEW_DESCRIPTORS 72

/* A daemon that cannot raise its limit serves others while a client, at its step 1, has played this. */
static void with_few_descriptors(void (*play)(void *arg))
{
	struct scene scene;
	pid_t child;

	dut_need_root();
	dut_limit_fds(FEW_DESCRIPTORS);
	scene_begin(&scene, UID_DAEMON, DUT_WORDS("--pool", "default=4K:64M,users=*,decay=100ms"));
	dut_limit_fds(0);
	child = raw_fork(UID_HOSTILE, play, &scene);
	scene_wait_step(&scene, 1);
	scene_expect_service(&scene, true);
	scene_set_step(&scene, 2);
	raw_join(child);
	scene_end(&scene);
}

static void connect_too_often(void *arg)
{
	struct scene *scene = arg;
	struct raw raw[FEW_DESCRIPTORS];

	for (unsigned i = 0; i < FEW_DESCRIPTORS; i++)
		raw_connect(&raw[i], &scene->dut);
	raw_receive_error(&raw[FEW_DESCRIPTORS - 1], HUGEPOOL__CODE__TOO_MANY,
			  "as many connections as it may");
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
}

/* One user takes half of what there is for clients, not everybody's.
 * Fails without is_full_for() in take_locked() of lease/seats.c. */
static void daemon_with_few_descriptors_keeps_some_for_others(void **state)
{
	with_few_descriptors(connect_too_often);
}

/* ---- descriptors that are not taken ---- */

#define N_SILENT 50

/* Read, but never acknowledged. */
static void never_say_received(void *arg)
{
	struct scene *scene = arg;
	struct raw_request ask;
	Hugepool__Reply *reply;
	uint64_t arena;
	unsigned n_fds;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	raw_send(&raw, raw_ask_alloc(&ask, 1));
	reply = raw_receive(&raw, &n_fds);
	raw_check(reply && reply->alloc && n_fds == 1, "no descriptor with the first lease");
	raw_drop(reply);
	raw_ask_alloc(&ask, 1)->id = ++raw.last_id;
	ask.alloc.pool = SCENE_SMALL;
	raw_send(&raw, &ask.request);
	reply = raw_receive(&raw, &n_fds);
	raw_check(reply && reply->alloc && n_fds == 0, "a second descriptor before the first was received");
	arena = reply->alloc->grants[0]->runs[0]->arena;
	raw_drop(reply);
	raw_expect_error(&raw, raw_ask_arena(&ask, arena), HUGEPOOL__CODE__TOO_MANY, "say Received");
	raw_free(&raw, raw_alloc(&raw, 1));
	scene->shared->n_in++;
	scene_wait_step(scene, 1);
	raw_say_received(&raw);
	reply = raw_call(&raw, raw_ask_arena(&ask, arena));
	raw_check(reply->arena, "no arena after Received: %s", reply->error ? reply->error->message : "");
	raw_drop(reply);
	raw_close(&raw);
}

/* Fails if frame_writer_may_pass_fds() and frame_writer_flush() of proto/frame_writer.c do not look at
 * `unacknowledged`. */
static void descriptors_unacknowledged_hold_up_nobody(struct scene *scene)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	pid_t children[N_SILENT];

	for (unsigned i = 0; i < N_SILENT; i++)
		children[i] = raw_fork(scene_uid(UID_HOSTILE), never_say_received, scene);
	while (scene->shared->n_in < N_SILENT) {
		raw_check(wait_now_ms() < deadline, "only %d were served", scene->shared->n_in);
		scene_expect_service(scene, true);
	}
	scene_set_step(scene, 1);
	for (unsigned i = 0; i < N_SILENT; i++)
		raw_join(children[i]);
}

/* With a descriptor in the socket, unread; some close it themselves. */
static void die_with_one_in_flight(void *arg)
{
	struct scene *scene = arg;
	struct raw_request ask;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	raw_send(&raw, raw_ask_alloc(&ask, 1));
	raw_check(!raw_is_silent(&raw, WAIT_MAX_MS), "no reply");
	if (scene->shared->n_in++ % 3 == 0)
		raw_close(&raw);
	raise(SIGKILL);
}

/* Fails without close() in fd_frame_free() of proto/frame_writer.c. */
static void descriptors_in_flight_die_with_their_client(struct scene *scene)
{
	unsigned n_before = dut_n_fds(&scene->dut);
	uint64_t deadline;

	for (unsigned i = 0; i < dut_ops(300); i++)
		dut_wait_child(raw_fork(scene_uid(UID_HOSTILE), die_with_one_in_flight, scene));
	scene_expect_service(scene, true);
	scene_wait_sessions(scene, 2);
	deadline = wait_now_ms() + WAIT_MAX_MS;
	while (dut_n_fds(&scene->dut) > n_before) {
		raw_check(wait_now_ms() < deadline, "the daemon has %u descriptors, before it had %u",
			  dut_n_fds(&scene->dut), n_before);
		wait_pause();
	}
}

#define N_LEFT (3 * FEW_DESCRIPTORS)

/* A lease's descriptor and a Bye, both unread: the connection has ended, and what was sent lies in it for as
 * long as our end is open. The daemon's user may have FEW_DESCRIPTORS on their way. */
static void leave_in_flight(void *arg)
{
	struct scene *scene = arg;
	struct raw left[N_LEFT], anchor;
	struct raw_request ask;
	uint8_t bytes[256];
	size_t n_bytes;

	raw_open(&anchor, &scene->dut);
	raw_alloc(&anchor, 1); /* then there are pages without waiting */
	n_bytes = raw_pack(raw_ask_hello(&ask), bytes, 0, sizeof(bytes));
	n_bytes = raw_pack(raw_ask_alloc(&ask, 1), bytes, n_bytes, sizeof(bytes));
	n_bytes = raw_pack(raw_ask_bye(&ask), bytes, n_bytes, sizeof(bytes));
	for (unsigned i = 0; i < N_LEFT; i++) {
		raw_connect(&left[i], &scene->dut);
		raw_send_bytes(&left[i], bytes, n_bytes, WAIT_MAX_MS);
		/* Its first reply: it has been let in, or not. */
		raw_check(!raw_is_silent(&left[i], WAIT_MAX_MS), "no reply");
	}
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
}

/* Fails if arrive() of rpc/linger.c lets no connection linger, and without is_full_for() in take_locked() of
 * lease/seats.c. */
static void descriptors_left_in_flight_keep_their_seats(void **state)
{
	with_few_descriptors(leave_in_flight);
}

/* ---- the client has none left ---- */

static void alloc_without_descriptors(void *arg)
{
	struct scene *scene = arg;
	hp_client *client;
	hp_lease *lease;
	rlim_t limit;
	int r;

	limit = take_limit(getpid(), 0);
	r = hp_open(scene->dut.socket, &client);
	raw_check(r == -EMFILE, "hp_open() without a descriptor: %d, %s", r, hp_error());
	put_limit(getpid(), limit);
	raw_check(hp_open(scene->dut.socket, &client) == 0, "%s", hp_error());

	limit = take_limit(getpid(), 0);
	for (unsigned i = 0; i < 10; i++) {
		r = hp_alloc(client, PAGE, NULL, &lease);
		raw_check(r == -EMFILE && strstr(hp_error(), "raise the limit of open files"),
			  "hp_alloc() without a descriptor: %d, %s", r, hp_error());
	}
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
	put_limit(getpid(), limit);
	raw_check(hp_alloc(client, PAGE, NULL, &lease) == 0, "with descriptors again: %s", hp_error());
	memset(hp_lease_data(lease), 'h', hp_lease_bytes(lease));
	hp_close(client);
}

static unsigned count_leases_of(const struct dut *dut, pid_t pid)
{
	json_t *list = dut_json(dut, "leases");
	const json_t *lease;
	unsigned n = 0;
	size_t i;

	json_array_foreach (json_object_get(list, "leases"), i, lease)
		n += json_integer_value(json_object_get(lease, "pid")) == pid;
	json_decref(list);
	return n;
}

static void client_without_descriptors_gets_emfile(struct scene *scene)
{
	pid_t child = raw_fork(scene_uid(UID_HOSTILE), alloc_without_descriptors, scene);

	scene_wait_step(scene, 1);
	scene_expect_service(scene, true);
	/* What was granted and could not be used has been given back. */
	assert_int_equal(count_leases_of(&scene->dut, child), 0);
	scene_set_step(scene, 2);
	raw_join(child);
}

/* ---- descriptors that a client sends ---- */

#define LINGER_S      3600 /* longer than anybody waits: until the other end goes */
#define MAX_SESSIONS  16
#define UNREAD_ROUNDS 1000

/* Send `bytes` with a descriptor. Returns 0 or an errno. */
static int send_with_fd(const struct raw *raw, const void *bytes, size_t n_bytes, int fd)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = n_bytes};
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};

	CMSG_FIRSTHDR(&message)->cmsg_level = SOL_SOCKET;
	CMSG_FIRSTHDR(&message)->cmsg_type = SCM_RIGHTS;
	CMSG_FIRSTHDR(&message)->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &fd, sizeof(int));
	return sendmsg(raw->fd, &message, MSG_NOSIGNAL) == (ssize_t)n_bytes ? 0 : errno;
}

/* A TCP socket whose last close takes LINGER_S: what it has sent nobody reads. Its other end stays open. */
static int make_lingering(void)
{
	const struct linger linger = {.l_onoff = 1, .l_linger = LINGER_S};
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t length = sizeof(address);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	static const char bytes[65536];

	raw_check(bind(listener, (struct sockaddr *)&address, length) == 0 && listen(listener, 1) == 0 &&
			  getsockname(listener, (struct sockaddr *)&address, &length) == 0 &&
			  connect(fd, (struct sockaddr *)&address, length) == 0 &&
			  accept4(listener, NULL, NULL, SOCK_CLOEXEC) >= 0 &&
			  setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)) == 0,
		  "no loopback: %s", strerror(errno));
	close(listener);
	for (unsigned i = 0; i < UNREAD_ROUNDS && send(fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0; i++)
		;
	return fd;
}

static void send_lingering(const struct raw *raw, const void *bytes, size_t n_bytes)
{
	int fd = make_lingering(), r;

	r = send_with_fd(raw, bytes, n_bytes, fd);
	raw_check(r == 0, "a descriptor cannot be sent: %s", strerror(r));
	close(fd);
}

/* To workers, before and after Hello; and, in a socket that is turned away before anybody looks at it, to the
 * listener: the test stops the daemon so that it is full when it comes. */
static void send_descriptors(void *arg)
{
	struct scene *scene = arg;
	struct raw known, strange, refused, seated[MAX_SESSIONS - 3];
	uint8_t bytes[64];
	struct raw_request ask;
	size_t n_bytes = raw_pack(raw_ask_hello(&ask), bytes, 0, sizeof(bytes));

	raw_open(&known, &scene->dut);
	raw_connect(&strange, &scene->dut);
	for (unsigned i = 0; i < MAX_SESSIONS - 3; i++)
		raw_connect(&seated[i], &scene->dut);
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
	raw_connect(&refused, &scene->dut);
	send_lingering(&refused, bytes, n_bytes);
	send_lingering(&known, bytes, n_bytes);
	send_lingering(&strange, bytes, n_bytes / 2);
	scene_set_step(scene, 3);
	raw_receive_error(&refused, HUGEPOOL__CODE__TOO_MANY, "as many connections as it may");
	raw_expect_closed(&refused);
	for (unsigned i = 0; i < MAX_SESSIONS - 3; i++)
		raw_close(&seated[i]);
	raw_expect_closed(&known);
	raw_expect_closed(&strange);
	scene_set_step(scene, 4);
	/* The other ends of what was sent stay until then. */
	scene_wait_step(scene, 5);
}

/* A thread of the daemon has called close() and has not come back. */
static bool is_closing(const struct dut *dut)
{
	char path[64 + NAME_MAX], text[32];
	struct dirent *entry;
	bool is_one = false;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)dut->pid);
	dir = opendir(path);
	raw_check(dir, "%s: %s", path, strerror(errno));
	while (!is_one && (entry = readdir(dir))) {
		int fd;
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/%d/task/%s/syscall", (int)dut->pid, entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		n = fd >= 0 ? read(fd, text, sizeof(text) - 1) : 0;
		text[n > 0 ? n : 0] = 0;
		is_one = n > 0 && text[0] != 'r' && strtol(text, NULL, 10) == SYS_close; /* or "running" */
		if (fd >= 0)
			close(fd);
	}
	closedir(dir);
	return is_one;
}

static void play_lingering(struct scene *scene)
{
	unsigned n_fds = dut_n_fds(&scene->dut);
	pid_t child = raw_fork(UID_HOSTILE, send_descriptors, scene);

	scene_wait_step(scene, 1);
	scene_expect_service(scene, true);
	raw_check(kill(scene->dut.pid, SIGSTOP) == 0, "kill: %s", strerror(errno));
	scene_set_step(scene, 2);
	scene_wait_step(scene, 3);
	raw_check(kill(scene->dut.pid, SIGCONT) == 0, "kill: %s", strerror(errno));
	scene_wait_step(scene, 4);
	raw_check(wait_for(is_closing(&scene->dut)), "nobody is blocked by what clients sent");
	scene_expect_service(scene, true);
	raw_check(is_closing(&scene->dut), "it blocks only for a while");
	scene_set_step(scene, 5);
	raw_join(child);
	raw_check(wait_for(dut_n_fds(&scene->dut) <= n_fds), "what clients sent is never closed");
}

static bool kernel_has_passrights(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool has = setsockopt(fd, SOL_SOCKET, SO_PASSRIGHTS, &(int){0}, sizeof(int)) == 0;

	close(fd);
	return has;
}

static void try_to_send_descriptors(void *arg)
{
	struct scene *scene = arg;
	struct raw raw;

	raw_connect(&raw, &scene->dut);
	raw_check(send_with_fd(&raw, "x", 1, STDERR_FILENO) == EPERM, "a descriptor could be sent at once");
	raw_close(&raw);
	raw_open(&raw, &scene->dut);
	raw_check(send_with_fd(&raw, "x", 1, STDERR_FILENO) == EPERM, "a descriptor could be sent");
	raw_free(&raw, raw_alloc(&raw, 1));
	raw_close(&raw);
}

/* Fails without SO_PASSRIGHTS in run/listener.c. */
static void descriptors_sent_are_refused_by_the_kernel(struct scene *scene)
{
	if (!kernel_has_passrights()) {
		fprintf(stderr, "SKIPPED: this kernel has no SO_PASSRIGHTS\n");
		scene_end(scene);
		skip();
	}
	raw_join(raw_fork(scene_uid(UID_HOSTILE), try_to_send_descriptors, scene));
}

/* From now on, for us and the daemons we start, this kernel is one from before 6.16. */
static void hide_passrights(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_setsockopt, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SO_PASSRIGHTS, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOPROTOOPT),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	const struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

	assert_int_equal(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	assert_int_equal(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
	assert_false(kernel_has_passrights());
}

/* The last test: its filter stays. Fails if the janitor closes what has unread input or stray descriptors, in
 * finish() of rpc/linger.c, and if linger_close_socket() closes it on the listener's thread. */
static void descriptors_that_block_their_closer_block_nobody_else(void **state)
{
	static const char text[] = "{\"max_sessions\": 16}";
	struct scene scene;
	char path[64];
	int fd;

	dut_need_root();
	hide_passrights();
	fd = memfd_create("configuration", 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	scene_begin(&scene, 0, DUT_WORDS("--config", path, "--pool", "default=4K:64M,users=*,decay=100ms"));
	close(fd);
	play_lingering(&scene);
	scene_end(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(daemon_without_descriptors_serves_those_it_has),
		cmocka_unit_test_teardown(daemon_with_few_descriptors_keeps_some_for_others, dut_kill_all),
		SCENE_TEST(descriptors_unacknowledged_hold_up_nobody),
		SCENE_TEST(descriptors_in_flight_die_with_their_client),
		cmocka_unit_test_teardown(descriptors_left_in_flight_keep_their_seats, dut_kill_all),
		SCENE_TEST(client_without_descriptors_gets_emfile),
		SCENE_TEST(descriptors_sent_are_refused_by_the_kernel),
		cmocka_unit_test_teardown(descriptors_that_block_their_closer_block_nobody_else,
					  dut_kill_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

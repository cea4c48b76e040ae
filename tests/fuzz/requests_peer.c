/* requests_peer.c - see requests_peer.h. */
#include <config.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/rpc/connection.h"
#include "tests/fuzz/requests_daemon.h"
#include "tests/fuzz/requests_peer.h"

static const struct {
	uint32_t socket;
	uid_t uid;
	gid_t gid, groups[2];
	unsigned n_groups;
} users[] = {
	{0, 1001, 100, {0}, 0},   {1, 1001, 101, {7, 8}, 2}, {0, 1002, 100, {0}, 0},
	{2, 1003, 103, {100}, 1}, {0, 0, 0, {0}, 0},
};
#define N_USERS (sizeof(users) / sizeof(users[0]))

/* A child that does nothing but live. */
struct process {
	pid_t pid;
	int pid_fd;
};

static struct process processes[FUZZ_PEERS];
static int maker_fd = -1; /* of the process that makes processes */
static unsigned n_accepted;

/* In a process of its own, before there were threads: a byte asks for a child, its pid is the answer. */
static void make_processes(int fd)
{
	char byte;

	signal(SIGCHLD, SIG_IGN);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	while (read(fd, &byte, 1) == 1) {
		pid_t pid = fork();

		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		if (write(fd, &pid, sizeof(pid)) != sizeof(pid))
			break;
	}
	_exit(0);
}

void fuzz_peers_prepare(void)
{
	int fds[2];
	pid_t pid;

	hp_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0);
	pid = fork();
	hp_assert(pid >= 0);
	if (pid == 0) {
		close(fds[0]);
		make_processes(fds[1]);
	}
	close(fds[1]);
	maker_fd = fds[0];
}

static void process_start(struct process *process)
{
	hp_assert(write(maker_fd, "", 1) == 1 &&
		  read(maker_fd, &process->pid, sizeof(process->pid)) == sizeof(process->pid));
	hp_assert(process->pid > 0);
	process->pid_fd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	hp_assert(process->pid_fd >= 0);
}

static void process_end(struct process *process)
{
	kill(process->pid, SIGKILL);
	close(process->pid_fd);
}

void fuzz_peers_start(void)
{
	for (unsigned i = 0; i < FUZZ_PEERS; i++)
		process_start(&processes[i]);
}

void fuzz_peers_stop(void)
{
	for (unsigned i = 0; i < FUZZ_PEERS; i++)
		process_end(&processes[i]);
}

void fuzz_peer_kill(unsigned index)
{
	process_end(&processes[index]);
	process_start(&processes[index]);
}

/* As the listener does it. */
int fuzz_peer_connect(unsigned index)
{
	const struct process *process = &processes[index];
	struct daemon *daemon = fuzz_daemon();
	struct peer peer = {.socket = users[index % N_USERS].socket,
			    .pid = process->pid,
			    .uid = users[index % N_USERS].uid,
			    .gid = users[index % N_USERS].gid,
			    .n_groups = users[index % N_USERS].n_groups,
			    .is_privileged =
				    admins_privileges(&daemon->service.admins, users[index % N_USERS].uid)};
	int fds[2], pid_fd;

	if (seats_take(daemon->seats, peer.uid, SEAT_CONNECTION) != 0)
		return -1;
	hp_assert(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
	pid_fd = fcntl(process->pid_fd, F_DUPFD_CLOEXEC, 0);
	hp_assert(pid_fd >= 0);
	if (peer.n_groups > 0) {
		gid_t *groups = malloc(sizeof(users[0].groups));

		hp_assert(groups);
		peer.groups = memcpy(groups, users[index % N_USERS].groups, sizeof(users[0].groups));
	}
	hp_assert(connection_accept(fds[1], &peer, pid_fd,
				    daemon->servers[n_accepted++ % daemon->n_workers]) == 0);
	return fds[0];
}

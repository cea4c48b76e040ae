/* peer.c - SO_PEERCRED, SO_PEERGROUPS, and a pidfd: SO_PEERPIDFD (Linux 6.5), else pidfd_open.
 *
 * A pid can be another process's by the time it is opened. Without SO_PEERPIDFD the process behind the pidfd
 * must have started before we looked at the socket's end and found it open: a reused pid would mean that the
 * peer died, and then only a forked child that kept the socket can make the two look alike; its session dies
 * with the wrong process.
 *
 * A process of another pid namespace has no pid here (0), but a pidfd all the same. What it is known by is
 * then the inode of its pidfd, which no two processes ever share (pidfs, Linux 6.9).
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/rpc/peer.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif
#define PIDFS_MAGIC 0x50494446

/* Groups that are not mapped are left out: they could be any, and prove nothing. */
static int get_groups(int socket_fd, const struct idmap *idmap, struct peer *peer)
{
	socklen_t bytes = 0;
	gid_t *groups;

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &bytes) == 0 || errno != ERANGE) {
		peer->groups = NULL;
		peer->n_groups = 0;
		return bytes == 0 ? 0 : -errno;
	}
	groups = malloc(bytes);
	if (!groups)
		return -ENOMEM;
	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERGROUPS, groups, &bytes) != 0) {
		free(groups);
		return -errno;
	}
	peer->groups = groups;
	for (unsigned i = 0; i < bytes / sizeof(gid_t); i++)
		if (idmap_knows_group(idmap, groups[i]))
			groups[peer->n_groups++] = groups[i];
	return 0;
}

/* Returns 0 and the descriptor, PEER_GONE, PEER_NAMESPACE, or negative errno. */
static int get_pid_fd(int socket_fd, pid_t pid, int *ret_pid_fd)
{
	struct pollfd poll_fd = {.fd = socket_fd};
	_cleanup_close_ int pid_fd = -1;
	socklen_t bytes = sizeof(pid_fd);

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERPIDFD, &pid_fd, &bytes) == 0) {
		*ret_pid_fd = take_fd(&pid_fd);
		return 0;
	}
	if (errno != ENOPROTOOPT)
		return errno == EINVAL || errno == ENODATA || errno == ESRCH ? PEER_GONE : -errno;
	if (pid <= 0)
		return PEER_NAMESPACE;
	pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid_fd < 0)
		return errno == ESRCH ? PEER_GONE : -errno;
	if (poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & POLLHUP)
		return PEER_GONE;
	*ret_pid_fd = take_fd(&pid_fd);
	return 0;
}

/* 0: this kernel's pidfds do not tell processes apart. */
static uint64_t get_process(int pid_fd)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(pid_fd, &fs) != 0 || (unsigned long)fs.f_type != PIDFS_MAGIC || fstat(pid_fd, &st) != 0)
		return 0;
	return st.st_ino;
}

int peer_of_socket(int socket_fd, const struct idmap *idmap, struct peer *ret_peer, int *ret_pid_fd)
{
	struct ucred cred;
	socklen_t bytes = sizeof(cred);
	struct peer peer;
	int pid_fd = -1, r;

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) != 0)
		return -errno;
	if (!idmap_knows_user(idmap, cred.uid) || !idmap_knows_group(idmap, cred.gid))
		return PEER_UNKNOWN;
	peer = (struct peer){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
	r = get_pid_fd(socket_fd, cred.pid, &pid_fd);
	if (r != 0)
		return r;
	peer.process = get_process(pid_fd);
	r = get_groups(socket_fd, idmap, &peer);
	if (r < 0) {
		close(pid_fd);
		return r;
	}
	*ret_peer = peer;
	*ret_pid_fd = pid_fd;
	return 0;
}

const char *peer_refusal(enum peer_result result)
{
	switch (result) {
	case PEER_UNKNOWN:
		return "your user or group is not mapped in hugepoold's user namespace, where all such users "
		       "look alike: run hugepoold outside of it, or map them";
	case PEER_NAMESPACE:
		return "your process is of another pid namespace, and this kernel cannot prove its death to "
		       "hugepoold: run it in hugepoold's, or have Linux 6.5";
	default:
		return "the client's process is gone";
	}
}

const char *peer_process_name(uint32_t pid, char name[PEER_PROCESS_MAX])
{
	if (pid == 0)
		snprintf(name, PEER_PROCESS_MAX, "a process of another pid namespace");
	else
		snprintf(name, PEER_PROCESS_MAX, "process %" PRIu32, pid);
	return name;
}

/* peer.c - SO_PEERCRED, SO_PEERGROUPS, and a pidfd: SO_PEERPIDFD (Linux 6.5), else pidfd_open.
 *
 * A pid can be another process's by the time it is opened. Without SO_PEERPIDFD the process behind the pidfd
 * must have started before we looked at the socket's end and found it open: a reused pid would mean that the
 * peer died, and then only a forked child that kept the socket can make the two look alike; its session dies
 * with the wrong process.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/rpc/peer.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

static int get_groups(int socket_fd, struct peer *peer)
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
	peer->n_groups = bytes / sizeof(gid_t);
	return 0;
}

static int get_pid_fd(int socket_fd, pid_t pid)
{
	struct pollfd poll_fd = {.fd = socket_fd};
	_cleanup_close_ int pid_fd = -1;
	socklen_t bytes = sizeof(pid_fd);

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERPIDFD, &pid_fd, &bytes) == 0)
		return take_fd(&pid_fd);
	if (errno != ENOPROTOOPT)
		return errno == EINVAL || errno == ENODATA ? -ESRCH : -errno;
	pid_fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pid_fd < 0)
		return -errno;
	if (poll(&poll_fd, 1, 0) > 0 && poll_fd.revents & POLLHUP)
		return -ESRCH;
	return take_fd(&pid_fd);
}

int peer_of_socket(int socket_fd, struct peer *ret_peer, int *ret_pid_fd)
{
	struct ucred cred;
	socklen_t bytes = sizeof(cred);
	struct peer peer;
	int pid_fd, r;

	if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) != 0)
		return -errno;
	if (cred.pid <= 0)
		return -ESRCH; /* of another pid namespace: its death could not be proven */
	peer = (struct peer){.pid = cred.pid, .uid = cred.uid, .gid = cred.gid};
	pid_fd = get_pid_fd(socket_fd, cred.pid);
	if (pid_fd < 0)
		return pid_fd;
	r = get_groups(socket_fd, &peer);
	if (r < 0) {
		close(pid_fd);
		return r;
	}
	*ret_peer = peer;
	*ret_pid_fd = pid_fd;
	return 0;
}

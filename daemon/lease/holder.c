/* holder.c - see holder.h. */
#include <config.h>

#include <poll.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/lease/session.h"

struct holder *holder_add(struct session *session, const struct peer *peer, int consume_pid_fd)
{
	for (unsigned i = 0; i < SESSION_HOLDERS_MAX; i++) {
		struct holder *holder = &session->holders[i];

		if (holder->session)
			continue;
		*holder = (struct holder){.session = session,
					  .pid = peer->pid,
					  .process = peer->process,
					  .pid_fd = consume_pid_fd};
		session->n_holders++;
		return holder;
	}
	return NULL;
}

/* Operators are shown the process of one that holds it. */
static void name_another(struct session *session)
{
	for (unsigned i = 0; i < SESSION_HOLDERS_MAX; i++) {
		const struct holder *holder = &session->holders[i];

		if (!holder->session)
			continue;
		session->peer.pid = holder->pid;
		session->peer.process = holder->process;
		return;
	}
}

void holder_remove(struct holder *holder)
{
	struct session *session = holder->session;

	hp_assert(session && !holder->is_watched && session->n_holders > 0);
	close(holder->pid_fd);
	*holder = (struct holder){.pid_fd = -1};
	if (session->speaker == holder)
		session->speaker = NULL;
	session->n_holders--;
	name_another(session);
}

/* Where there is nothing better, by the pid: while the holder's pidfd says alive, it is still this process's.
 */
static bool is_process(const struct holder *holder, const struct peer *peer)
{
	if (holder->process && peer->process)
		return holder->process == peer->process;
	return holder->pid > 0 && holder->pid == peer->pid;
}

bool holder_is_dead(const struct holder *holder)
{
	struct pollfd poll_fd = {.fd = holder->pid_fd, .events = POLLIN};

	return poll(&poll_fd, 1, 0) != 0;
}

struct holder *holder_find(struct session *session, const struct peer *peer)
{
	for (unsigned i = 0; i < SESSION_HOLDERS_MAX; i++) {
		struct holder *holder = &session->holders[i];

		if (holder->session && is_process(holder, peer) && !holder_is_dead(holder))
			return holder;
	}
	return NULL;
}

/* listener.h - the socket where clients come in, and who gets them. On the main thread. */
#pragma once

#include <event2/event.h>

#include "daemon/base/inode_id.h"
#include "daemon/base/journal.h"
#include "daemon/rpc/server.h"

struct listener {
	int fd;
	char *path;
	int directory_fd; /* where the socket is */
	const char *name; /* there; in `path` */
	struct journal *journal;
	char *journal_key;
	struct inode_id id; /* of the socket */
	bool is_bound;
	uint32_t index; /* what a peer who comes in here has as its `socket` */
	struct event *event, *resume_event;
	const struct service *service;
	unsigned next_server;
};

/* Remove the sockets of a daemon that was killed, by the journal that it left. What is at their paths by now
 * and is not what that daemon made is somebody else's. */
void listener_take_over(struct journal *journal);

/* Bind the path, where nothing may be. The socket is in the journal before it is there, and open to all users
 * whatever the umask: who is admitted is the pools' decision, by credentials. Who connects now waits until
 * listener_start(). Returns 0, or negative errno with a sentence in *ret_error, the caller's; listener_fini()
 * is for both. */
int listener_init(struct listener *listener, const char *path, uint32_t index, struct journal *journal,
		  char **ret_error);
/* Why another daemon cannot listen there, if somebody does: "a daemon is listening there (pid 1)"; to be
 * freed. NULL: nobody does. */
char *listener_describe_owner(const char *path);
/* Accept from now on. */
int listener_start(struct listener *listener, struct event_base *base, const struct service *service);
/* Stop accepting: who connects is refused from now on. */
void listener_stop(struct listener *listener);
/* The same, and remove the socket, if it is still the one that was made. */
void listener_fini(struct listener *listener);

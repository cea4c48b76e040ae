/* listener.h - the socket where clients come in, and who gets them. On the main thread. */
#pragma once

#include <event2/event.h>

#include "daemon/rpc/server.h"

struct listener {
	int fd;
	char *path;
	uint32_t index; /* what a peer who comes in here has as its `socket` */
	struct event *event, *resume_event;
	const struct service *service;
	unsigned next_server;
};

/* Bind the path: a socket that nobody listens on is replaced, a living daemon's is not. Returns 0, or
 * negative errno with a sentence in *ret_error, the caller's; listener_fini() is for both. */
int listener_init(struct listener *listener, const char *path, uint32_t index, char **ret_error);
/* Accept from now on. */
int listener_start(struct listener *listener, struct event_base *base, const struct service *service);
/* Stop accepting, remove the socket. */
void listener_fini(struct listener *listener);

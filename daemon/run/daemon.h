/* daemon.h - all rooms wired together: pools, ledger, servers, and the threads that run them. */
#pragma once

#include <pthread.h>

#include "daemon/pool/stocker.h"
#include "daemon/rpc/server.h"
#include "daemon/run/config.h"

/* A thread that does nothing but deliver its mail. */
struct helper {
	struct mailbox mailbox;
	pthread_t thread;
	bool is_running;
	bool stopping; /* its own thread */
	struct letter stop_letter;
	void (*between)(void *arg); /* now and then, or NULL */
	void *between_arg;
	int niceness; /* on top of the daemon's own */
};

struct worker {
	struct server server;
	pthread_t thread;
	bool is_running;
} __attribute__((aligned(64)));

struct daemon {
	const struct config *config;
	struct worker *workers;
	unsigned n_workers;
	struct server **servers;
	struct mailbox **worker_mailboxes;
	struct pool **pools;
	unsigned n_pools;
	struct ledger *ledger;
	struct seats *seats;
	struct accounts *accounts;
	struct stocker stocker;
	pthread_t stocker_thread;
	bool stocker_running, stocker_stopping;
	struct letter stocker_stop_letter;
	struct helper scrubber, assistant, janitor, closer;
	_Atomic unsigned arenas_left; /* that there are descriptors for */
	struct pool_threads pool_threads;
	struct service service;
};

/* Make everything, threads running, reserves filled. Returns 0, or negative errno with a sentence in
 * *ret_error. What was made until a failure is undone by daemon_fini(). `host`: see backing.h, NULL: no pool
 * may mount; must outlive the daemon. */
int daemon_init(struct daemon *daemon, const struct config *config, const struct backing_host *host,
		char **ret_error);
/* End all sessions and leases, stop the threads, give everything back to the kernel. */
void daemon_fini(struct daemon *daemon);

/* daemon.c - see daemon.h. Made in the order of the layers, undone the other way round. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/backing/headroom.h"
#include "daemon/backing/leftover.h"
#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/size.h"
#include "daemon/lease/lease.h"
#include "daemon/rpc/event.h"
#include "daemon/rpc/linger.h"
#include "daemon/run/daemon.h"
#include "daemon/run/limits.h"
#include "daemon/run/stop.h"

#define SCRUBBER_NICENESS  5 /* gives way to workers and clients where CPUs are short */
#define THREAD_STACK_BYTES (2u << 20)
#define DESCRIPTORS_USUAL  1024
#define DESCRIPTORS_MOST   (1u << 20)
#define DESCRIPTORS_OURS   256 /* at least, for event bases, mailboxes and arenas */
#define DESCRIPTORS_ARENAS 8   /* at least of these for arenas */
#define OUR_SHARE          4   /* or this part of all */
#define SOLE_SHARE         4   /* arenas of single leases that one tenant may have: this part of all */
#define OPENED_LEASES      (1u << 20)
#define BETWEEN_MS         250

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* ---- threads ---- */

static int start_thread(pthread_t *thread, const char *name, void *(*run)(void *), void *arg)
{
	pthread_attr_t attributes;
	sigset_t all, old;
	int r;

	r = pthread_attr_init(&attributes);
	if (r != 0)
		return -r;
	/* Whatever RLIMIT_STACK says, which is the usual size. */
	(void)pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
	/* Signals are the main thread's. SIGBUS is not blocked: it is a fault of the thread it comes to. */
	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	r = pthread_create(thread, &attributes, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attributes);
	if (r == 0)
		pthread_setname_np(*thread, name);
	return -r;
}

static void *run_worker(void *arg)
{
	struct worker *worker = arg;

	server_run(&worker->server);
	return NULL;
}

static void *run_helper(void *arg)
{
	struct helper *helper = arg;

	(void)!nice(helper->niceness); /* Linux: of this thread */
	while (!helper->stopping) {
		mailbox_wait(&helper->mailbox, helper->between ? BETWEEN_MS : -1);
		if (helper->between)
			helper->between(helper->between_arg);
	}
	return NULL;
}

static void stop_helper(struct letter *letter)
{
	container_of(letter, struct helper, stop_letter)->stopping = true;
}

static void helper_join(struct helper *helper)
{
	if (!helper->is_running)
		return;
	helper->stop_letter.deliver = stop_helper;
	mailbox_post(&helper->mailbox, &helper->stop_letter);
	pthread_join(helper->thread, NULL);
	helper->is_running = false;
}

static int helper_start(struct helper *helper, const char *name)
{
	int r = start_thread(&helper->thread, name, run_helper, helper);

	helper->is_running = r == 0;
	return r;
}

static void *run_stocker(void *arg)
{
	struct daemon *daemon = arg;

	while (!daemon->stocker_stopping)
		stocker_step(&daemon->stocker);
	return NULL;
}

static void stop_stocker(struct letter *letter)
{
	container_of(letter, struct daemon, stocker_stop_letter)->stocker_stopping = true;
}

/* ---- what there is room for ---- */

/* As many as we may have open. */
static unsigned descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
		return DESCRIPTORS_USUAL;
	return limit.rlim_cur < DESCRIPTORS_MOST ? (unsigned)limit.rlim_cur : DESCRIPTORS_MOST;
}

/* A quarter of the descriptors is ours and the arenas'; where there are few, half of them. */
static unsigned n_our_descriptors(const struct config *config, unsigned n_descriptors)
{
	const unsigned least = limits_our_descriptors(config) + DESCRIPTORS_ARENAS;
	unsigned share = n_descriptors / OUR_SHARE;

	if (share < DESCRIPTORS_OURS)
		share = n_descriptors > 2 * DESCRIPTORS_OURS ? DESCRIPTORS_OURS : n_descriptors / 2;
	if (share < least)
		share = least < n_descriptors ? least : n_descriptors;
	return share;
}

/* A connection and a session each take a seat, and at most two descriptors. */
static unsigned n_seats(const struct config *config, unsigned n_descriptors)
{
	unsigned n = (n_descriptors - n_our_descriptors(config, n_descriptors)) / 2;

	return config->max_sessions && 2 * config->max_sessions < n ? 2 * config->max_sessions : n;
}

/* An arena takes at most two; the rest of what is ours is for event bases and mailboxes. */
static unsigned n_arenas(const struct config *config, unsigned n_descriptors)
{
	const unsigned n = n_our_descriptors(config, n_descriptors), n_fixed = limits_our_descriptors(config);
	const unsigned share = n / 4 * 3, rest = n > n_fixed ? n - n_fixed : 0;

	return (share < rest ? share : rest) / 2;
}

/* Each has a page at least, but for those that are opened. */
static uint64_t max_leases(const struct config *config)
{
	uint64_t n = OPENED_LEASES;

	for (unsigned i = 0; i < config->n_pools; i++)
		n += config->pools[i].max_pages;
	return n;
}

/* What the daemon keeps for its clients' requests, next to what it serves them with. */
static struct accounts *new_accounts(const struct config *config)
{
	struct account_limits limits;
	uint64_t served_bytes = 0;

	for (unsigned i = 0; i < config->n_pools; i++)
		served_bytes += config->pools[i].max_pages * config->pools[i].page_bytes;
	limits = account_limits_for(served_bytes);
	return accounts_new(&limits);
}

/* ---- pools ---- */

/* Missing is what the reserve has not got, whatever the last slice lacked. */
static char *explain_reserve(const struct pool *pool)
{
	const struct pool_config *config = &pool->config;
	struct backing_shortage shortage = pool->shortage;

	shortage.missing_pages = config->reserve_pages - pool->backed_pages;
	return backing_explain_reserve(config->name, config->page_bytes, config->reserve_pages, &shortage);
}

/* What is not to be had until other processes end. */
static void warn_left(const struct pool *pool)
{
	const uint64_t left = atomic_load(&pool->left_pages);

	if (left > 0)
		log_warning("pool %s: %" PRIu64 " of its %" PRIu64
			    " pages are still held by clients of a daemon before this one, which was killed "
			    "(pid %d): end or restart them",
			    pool->config.name, left, pool->config.max_pages,
			    (int)atomic_load(&pool->left_pid));
}

static int fill_reserve(struct pool *pool, char **ret_error)
{
	const struct pool_config *config = &pool->config;
	int r = pool_fill_reserve(pool);

	pool_refresh_missing(pool);
	if (r == 0)
		return 0;
	if (r == BACKING_SHORT)
		*ret_error = explain_reserve(pool);
	else if (asprintf(ret_error, "pool %s: %s", config->name, strerror(-r)) < 0)
		*ret_error = NULL;
	return -ENOMEM;
}

static int make_pools(struct daemon *daemon, const struct backing_host *host, char **ret_error)
{
	const struct config *config = daemon->config;

	daemon->pools = calloc(config->n_pools, sizeof(daemon->pools[0]));
	if (!daemon->pools)
		return -ENOMEM;
	daemon->stocker.pools = daemon->pools;
	for (unsigned i = 0; i < config->n_pools; i++) {
		int r = pool_new(&config->pools[i], i, &daemon->pool_threads, host, &daemon->pools[i],
				 ret_error);

		if (r < 0)
			return r;
		daemon->stocker.n_pools = daemon->n_pools = i + 1;
		pool_refresh_left(daemon->pools[i]);
		warn_left(daemon->pools[i]);
		r = fill_reserve(daemon->pools[i], ret_error);
		if (r < 0)
			return r;
	}
	backing_give_back_unwanted();
	return 0;
}

static int make_servers(struct daemon *daemon)
{
	for (unsigned i = 0; i < daemon->config->workers; i++) {
		int r = server_init(&daemon->workers[i].server, &daemon->service, i);

		if (r < 0) {
			server_fini(&daemon->workers[i].server);
			return r;
		}
		daemon->n_workers = i + 1;
		daemon->servers[i] = &daemon->workers[i].server;
		daemon->worker_mailboxes[i] = &daemon->workers[i].server.mailbox;
	}
	return 0;
}

static int start_threads(struct daemon *daemon)
{
	int r = start_thread(&daemon->stocker_thread, "stocker", run_stocker, daemon);

	daemon->stocker_running = r == 0;
	if (r == 0)
		r = helper_start(&daemon->scrubber, "scrubber");
	if (r == 0 && daemon->pool_threads.assistant)
		r = helper_start(&daemon->assistant, "assistant");
	if (r == 0)
		r = helper_start(&daemon->janitor, "janitor");
	if (r == 0)
		r = helper_start(&daemon->closer, "closer");
	for (unsigned i = 0; r == 0 && i < daemon->n_workers; i++) {
		struct worker *worker = &daemon->workers[i];
		char name[24];

		snprintf(name, sizeof(name), "worker-%u", i);
		r = start_thread(&worker->thread, name, run_worker, worker);
		worker->is_running = r == 0;
	}
	return r;
}

static void check_lingering(void *unused)
{
	linger_check(false);
}

/* On the thread that may be blocked by what clients do. */
static void look_for_left(void *leftover)
{
	leftover_step(leftover);
}

static int explain(char **ret_error, const char *what, int error)
{
	if (error < 0 && !*ret_error)
		*ret_error = limits_explain(what, -error);
	return error;
}

static int init_mailboxes(struct daemon *daemon)
{
	struct mailbox *const boxes[] = {&daemon->scrubber.mailbox, &daemon->assistant.mailbox,
					 &daemon->janitor.mailbox, &daemon->closer.mailbox};
	const unsigned n = sizeof(boxes) / sizeof(boxes[0]);
	int r;

	for (unsigned i = 0; i < n; i++)
		*boxes[i] = MAILBOX_NONE;
	r = stocker_init(&daemon->stocker, NULL);
	for (unsigned i = 0; i < n && r == 0; i++)
		r = mailbox_init(boxes[i]);
	return r;
}

int daemon_init(struct daemon *daemon, const struct config *config, const struct backing_host *host,
		char **ret_error)
{
	const unsigned n = config->workers, n_descriptors = descriptor_limit();
	struct idmap idmap;
	void *workers;
	int r;

	*ret_error = NULL;
	headroom_set_host_reserve(config->host_reserve_bytes);
	*daemon = (struct daemon){.config = config};
	daemon->janitor.between = check_lingering;
	daemon->scrubber.niceness = daemon->assistant.niceness = SCRUBBER_NICENESS;
	r = init_mailboxes(daemon);
	if (r < 0)
		return explain(ret_error, "cannot make an eventfd", r);
	r = idmap_read(config->partial_users, &idmap, ret_error);
	if (r < 0)
		return r;
	daemon->servers = calloc(n, sizeof(daemon->servers[0]));
	daemon->worker_mailboxes = calloc(n, sizeof(daemon->worker_mailboxes[0]));
	daemon->seats = seats_new(n_seats(config, n_descriptors), config->user_sessions);
	daemon->accounts = new_accounts(config);
	daemon->arenas_left = n_arenas(config, n_descriptors);
	daemon->ledger = ledger_new(n, max_leases(config));
	if (!daemon->servers || !daemon->worker_mailboxes || !daemon->seats || !daemon->accounts ||
	    !daemon->ledger || posix_memalign(&workers, 64, n * sizeof(daemon->workers[0])) != 0)
		return explain(ret_error, "cannot make the tables", -ENOMEM);
	daemon->workers = memset(workers, 0, n * sizeof(daemon->workers[0]));
	daemon->pool_threads = (struct pool_threads){
		.stocker = &daemon->stocker.mailbox,
		.scrubber = &daemon->scrubber.mailbox,
		.assistant = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? &daemon->assistant.mailbox : NULL,
		.janitor = &daemon->janitor.mailbox,
		.workers = daemon->worker_mailboxes,
		.n_workers = n,
		.arenas_left = &daemon->arenas_left,
		.cancelled = stop_flag(),
		.max_arenas = n_arenas(config, n_descriptors),
		.max_sole = n_arenas(config, n_descriptors) / SOLE_SHARE,
		.signal = event_broadcast,
		.signal_arg = &daemon->service,
	};
	if (host)
		backing_take_over(host);
	if (host && host->leftover) {
		daemon->closer.between = look_for_left;
		daemon->closer.between_arg = host->leftover;
	}
	r = make_pools(daemon, host, ret_error);
	if (r < 0)
		return explain(ret_error, "cannot make the pools", r);
	daemon->service = (struct service){
		.servers = daemon->servers,
		.n_servers = n,
		.pools = daemon->pools,
		.n_pools = daemon->n_pools,
		.ledger = daemon->ledger,
		.seats = daemon->seats,
		.accounts = daemon->accounts,
		.janitor = &daemon->janitor.mailbox,
		.closer = &daemon->closer.mailbox,
		.idmap = idmap,
		.admins = {config->has_admins, config->admin_uids, config->n_admin_uids, config->admin_gids,
			   config->n_admin_gids},
		.started_ns = clock_now_ns(),
	};
	nodes_read(&daemon->service.nodes);
	if (!admins_privileges(&daemon->service.admins, 0))
		seats_bind_root(daemon->seats);
	r = explain(ret_error, "cannot make the workers", make_servers(daemon));
	return r < 0 ? r : explain(ret_error, "cannot start a thread", start_threads(daemon));
}

/* With all threads gone, this one delivers what they sent each other last, until nothing moves. */
static void deliver_rest(struct daemon *daemon)
{
	unsigned n;

	do {
		n = mailbox_deliver(&daemon->stocker.mailbox) + mailbox_deliver(&daemon->scrubber.mailbox) +
		    mailbox_deliver(&daemon->janitor.mailbox) + mailbox_deliver(&daemon->closer.mailbox);
		for (unsigned i = 0; i < daemon->n_workers; i++)
			n += mailbox_deliver(daemon->worker_mailboxes[i]);
	} while (n > 0);
}

static void stop_threads(struct daemon *daemon)
{
	for (unsigned i = 0; i < daemon->n_workers; i++)
		if (daemon->workers[i].is_running)
			server_stop(&daemon->workers[i].server);
	for (unsigned i = 0; i < daemon->n_workers; i++)
		if (daemon->workers[i].is_running)
			pthread_join(daemon->workers[i].thread, NULL);
	atomic_store(&daemon->pool_threads.stopping, true);
	if (daemon->stocker_running) {
		daemon->stocker_stop_letter.deliver = stop_stocker;
		mailbox_post(&daemon->stocker.mailbox, &daemon->stocker_stop_letter);
		pthread_join(daemon->stocker_thread, NULL);
	}
	helper_join(&daemon->scrubber);
	helper_join(&daemon->assistant);
	helper_join(&daemon->janitor);
	helper_join(&daemon->closer);
}

static void empty_caches(void *arg, struct zone *zone)
{
	for (unsigned i = 0; i < zone->n_workers; i++)
		zone_drain_locked(zone, i);
}

void daemon_fini(struct daemon *daemon)
{
	uint64_t n_kept;

	stop_threads(daemon);
	deliver_rest(daemon);
	linger_check(true);
	for (unsigned i = 0; i < daemon->n_workers; i++)
		lease_end_detached(&daemon->workers[i].server.shard);
	for (unsigned i = 0; i < daemon->n_pools; i++)
		pool_for_each_zone(daemon->pools[i], empty_caches, NULL);
	/* Somebody may wait for the end of one. */
	for (unsigned i = 0; i < daemon->n_pools; i++)
		pool_release_all(daemon->pools[i]);
	deliver_rest(daemon);
	for (unsigned i = 0; i < daemon->n_pools; i++) {
		pool_check(daemon->pools[i]);
		pool_free(daemon->pools[i]);
	}
	for (unsigned i = 0; i < daemon->n_workers; i++)
		server_fini(&daemon->workers[i].server);
	stocker_fini(&daemon->stocker);
	mailbox_fini(&daemon->scrubber.mailbox);
	mailbox_fini(&daemon->assistant.mailbox);
	mailbox_fini(&daemon->janitor.mailbox);
	mailbox_fini(&daemon->closer.mailbox);
	ledger_free(daemon->ledger);
	seats_free(daemon->seats);
	accounts_free(daemon->accounts);
	free(daemon->workers);
	free(daemon->servers);
	free(daemon->worker_mailboxes);
	free(daemon->pools);
	n_kept = backing_give_back_raised();
	if (n_kept > 0)
		log_warning("%" PRIu64 " hugepages that were raised could not be given back: they are in "
			    "use, and go when they are freed",
			    n_kept);
}

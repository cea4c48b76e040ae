/* requests_daemon.c - see requests_daemon.h. */
#include <config.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/lease/audit.h"
#include "daemon/pool/pool_set.h"
#include "tests/fuzz/requests_daemon.h"
#include "tests/support/wait.h"

#define REST_NS (60 * NS_PER_S)

/* The others, up to POOLS_MAX, are like the last. The users are those of requests_client.c. */
static const char *const pool_words[] = {
	"4K:1200K,arena=256K,users=*,quota=800K,quota_leases=60,quota_names=6,decay=20ms",
	"4K:640K,arena=64K,users=*,isolation=lease,quota=320K,decay=0",
	"4K:256K,arena=64K,users=*,isolation=pool,reserve=64K,decay=10ms",
	"4K:1M,arena=192K,users=*,tenant=gid,quota=512K,quota_leases=40,decay=10ms",
	"4K:512K,arena=128K,users=*,tenant=socket,poison=yes,decay=10ms",
	"4K:256K,arena=64K",
	"4K:4K,users=*,decay=0",
	"4K:1M,arena=128K,users=*,stock=256K,quota_names=3,decay=10ms",
	"4K:32K,users=*,decay=10ms",
};
#define N_POOL_WORDS (sizeof(pool_words) / sizeof(pool_words[0]))

static struct {
	struct config config;
	struct daemon daemon;
	unsigned n_fds; /* before it was there */
} fuzz;

struct daemon *fuzz_daemon(void)
{
	return &fuzz.daemon;
}

static unsigned n_open_fds(void)
{
	DIR *directory = opendir("/proc/self/fd");
	unsigned n = 0;

	hp_assert(directory);
	while (readdir(directory))
		n++;
	closedir(directory);
	return n;
}

static void add_pools(struct config *config)
{
	char *error;

	for (unsigned i = 0; i < POOLS_MAX; i++) {
		char word[200];

		snprintf(word, sizeof(word), "p%u=%s", i,
			 pool_words[i < N_POOL_WORDS ? i : N_POOL_WORDS - 1]);
		hp_assert(config_add_pool_word(config, word, &error) == 0);
	}
}

void fuzz_daemon_start(void)
{
	char *error;

	fuzz.n_fds = n_open_fds();
	config_init(&fuzz.config);
	fuzz.config.workers = FUZZ_WORKERS;
	fuzz.config.user_sessions = 40;
	add_pools(&fuzz.config);
	hp_assert(config_finish(&fuzz.config, &error) == 0);
	hp_assert(daemon_init(&fuzz.daemon, &fuzz.config, NULL, &error) == 0);
}

void fuzz_daemon_stop(void)
{
	daemon_fini(&fuzz.daemon);
	config_fini(&fuzz.config);
	hp_assert(n_open_fds() == fuzz.n_fds);
}

/* ---- at rest ---- */

/* Holds one thread where it delivers its mail. */
struct hold {
	struct letter letter; /* first */
	struct mailbox *box;
};

#define HOLDS_MAX (FUZZ_WORKERS + 5)

static struct {
	pthread_mutex_t mutex;
	pthread_cond_t changed;
	/* guarded by mutex */
	struct hold holds[HOLDS_MAX];
	unsigned n, n_held;
	bool holding, has_mail; /* there was more behind the letter */
} rest = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static void hold_still(struct letter *letter)
{
	pthread_mutex_lock(&rest.mutex);
	rest.has_mail |= letter->next != NULL;
	rest.n_held++;
	pthread_cond_broadcast(&rest.changed);
	while (rest.holding)
		pthread_cond_wait(&rest.changed, &rest.mutex);
	rest.n_held--;
	pthread_cond_broadcast(&rest.changed);
	pthread_mutex_unlock(&rest.mutex);
}

static void add_hold(struct mailbox *box)
{
	hp_assert(rest.n < HOLDS_MAX);
	rest.holds[rest.n] = (struct hold){.letter = {.deliver = hold_still}, .box = box};
	mailbox_post(box, &rest.holds[rest.n++].letter);
}

/* Wait for all to be held, or to have gone on. */
static void wait_held(unsigned n)
{
	while (rest.n_held != n)
		pthread_cond_wait(&rest.changed, &rest.mutex);
}

static void hold_all(void)
{
	struct daemon *daemon = &fuzz.daemon;

	pthread_mutex_lock(&rest.mutex);
	rest.holding = true;
	rest.has_mail = false;
	rest.n = 0;
	add_hold(&daemon->stocker.mailbox);
	add_hold(&daemon->scrubber.mailbox);
	if (daemon->pool_threads.assistant)
		add_hold(daemon->pool_threads.assistant);
	add_hold(&daemon->janitor.mailbox);
	add_hold(&daemon->closer.mailbox);
	for (unsigned i = 0; i < daemon->n_workers; i++)
		add_hold(daemon->worker_mailboxes[i]);
	wait_held(rest.n);
	pthread_mutex_unlock(&rest.mutex);
}

static void release_all(void)
{
	pthread_mutex_lock(&rest.mutex);
	rest.holding = false;
	pthread_cond_broadcast(&rest.changed);
	wait_held(0);
	pthread_mutex_unlock(&rest.mutex);
}

/* With all held: pages are on their way neither by mail nor with a request that waits for more. */
static bool is_at_rest(void)
{
	const struct daemon *daemon = &fuzz.daemon;

	if (rest.has_mail)
		return false;
	for (unsigned i = 0; i < rest.n; i++)
		if (rest.holds[i].box->head)
			return false;
	for (unsigned i = 0; i < daemon->n_pools; i++)
		if (atomic_load(&daemon->pools[i]->n_waiting) > 0)
			return false;
	for (unsigned i = 0; i < daemon->n_workers; i++) {
		const struct server *server = daemon->servers[i];

		if (server->errands[0].head || server->errands[1].head)
			return false;
		for (const struct session *session = server->shard.first; session; session = session->next)
			if (session->requests || session->n_errands > 0)
				return false;
	}
	return true;
}

uint64_t fuzz_daemon_audit(void)
{
	const uint64_t deadline_ns = clock_now_ns() + REST_NS;
	uint64_t n_leased;

	for (hold_all(); !is_at_rest(); hold_all()) {
		release_all();
		hp_assert(clock_now_ns() < deadline_ns);
		wait_pause();
	}
	n_leased = audit_walk(fuzz.daemon.pools, fuzz.daemon.n_pools, fuzz.daemon.ledger);
	release_all();
	return n_leased;
}

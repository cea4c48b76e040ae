/* limits.c - see limits.h. One table says what is done about each limit. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/descriptors.h"
#include "daemon/base/log.h"
#include "daemon/base/size.h"
#include "daemon/run/limits.h"

#define DESCRIPTORS_WANTED (1u << 20)
#define EXPLAIN_MAX        512
#define CPU_GRACE_S        10 /* between the signal, which stops the daemon, and the end */

/* Of the descriptors that a daemon has without clients. */
#define N_STREAMS     3
#define N_MAIN        8 /* event base, signals, state directory and its lock */
#define N_MAILBOXES   5 /* of the threads that are not workers */
#define N_PER_WORKER  5 /* event base with its signal pair, mailbox, deaths */
#define N_PER_POOL    1 /* a mount or a directory */
#define N_PER_SOCKET  1
#define N_PASSING     3  /* files that are read, an arena in the making */
#define N_FOR_CLIENTS 16 /* at least: four arenas, two clients */
#define OUR_DESCRIPTORS(n_workers, n_pools, n_sockets)                                                       \
	(N_STREAMS + N_MAIN + N_MAILBOXES + N_PER_WORKER * (n_workers) + N_PER_POOL * (n_pools) +            \
	 N_PER_SOCKET * (n_sockets) + N_PASSING)

enum what_to_do {
	KEEP,  /* nothing of ours is bound by it */
	RAISE, /* to the hard limit, and that to `wanted`, if we may */
};

static const struct limit {
	int resource;
	const char *name, *how; /* to raise it from outside */
	enum what_to_do what;
	rlim_t wanted;
	int errors[2];       /* what fails by it may fail with these; 0: nothing does */
	const char *warning; /* what a lower one means; NULL: not worth a line */
} limits[] = {
	{RLIMIT_AS,
	 "RLIMIT_AS",
	 "ulimit -v, LimitAS=",
	 RAISE,
	 RLIM_INFINITY,
	 {ENOMEM, EAGAIN},
	 "pools cannot map more than that"},
	{RLIMIT_CORE, "RLIMIT_CORE", "ulimit -c, LimitCORE=", KEEP, 0, {0}, NULL},
	{RLIMIT_CPU,
	 "RLIMIT_CPU",
	 "ulimit -t, LimitCPU=",
	 RAISE,
	 RLIM_INFINITY,
	 {0},
	 "the daemon stops when it has used that many seconds of CPU time"},
	{RLIMIT_DATA,
	 "RLIMIT_DATA",
	 "ulimit -d, LimitDATA=",
	 RAISE,
	 RLIM_INFINITY,
	 {ENOMEM, EAGAIN},
	 "its tables cannot grow beyond that"},
	{RLIMIT_FSIZE,
	 "RLIMIT_FSIZE",
	 "ulimit -f, LimitFSIZE=",
	 RAISE,
	 RLIM_INFINITY,
	 {EFBIG},
	 "no arena is larger than that, and no lease of one run"},
	{RLIMIT_LOCKS, "RLIMIT_LOCKS", "ulimit -x", KEEP, 0, {0}, NULL},
	{RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", "ulimit -l, LimitMEMLOCK=", RAISE, RLIM_INFINITY, {0}, NULL},
	{RLIMIT_MSGQUEUE, "RLIMIT_MSGQUEUE", "ulimit -q", KEEP, 0, {0}, NULL},
	{RLIMIT_NICE, "RLIMIT_NICE", "ulimit -e", KEEP, 0, {0}, NULL},
	{RLIMIT_NOFILE,
	 "RLIMIT_NOFILE",
	 "ulimit -n, LimitNOFILE=",
	 RAISE,
	 DESCRIPTORS_WANTED,
	 {EMFILE},
	 NULL},
	{RLIMIT_NPROC,
	 "RLIMIT_NPROC",
	 "ulimit -u, LimitNPROC=, TasksMax=",
	 RAISE,
	 RLIM_INFINITY,
	 {EAGAIN},
	 NULL},
	{RLIMIT_RSS, "RLIMIT_RSS", "ulimit -m", KEEP, 0, {0}, NULL},
	{RLIMIT_RTPRIO, "RLIMIT_RTPRIO", "ulimit -r", KEEP, 0, {0}, NULL},
	{RLIMIT_RTTIME, "RLIMIT_RTTIME", "ulimit -R", RAISE, RLIM_INFINITY, {0}, NULL},
	{RLIMIT_SIGPENDING, "RLIMIT_SIGPENDING", "ulimit -i", KEEP, 0, {0}, NULL},
	{RLIMIT_STACK, "RLIMIT_STACK", "ulimit -s, LimitSTACK=", RAISE, 8u << 20, {0}, NULL},
};

#define N_LIMITS (sizeof(limits) / sizeof(limits[0]))

bool limits_open_streams(void)
{
	for (int fd = 0; fd < N_STREAMS; fd++) {
		if (fcntl(fd, F_GETFD) >= 0)
			continue;
		/* The lowest number that is free is this one. */
		if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) != fd)
			return false;
	}
	return true;
}

static void raise_limit(const struct limit *limit)
{
	struct rlimit now, more = {.rlim_cur = limit->wanted, .rlim_max = limit->wanted};

	if (getrlimit((__rlimit_resource_t)limit->resource, &now) != 0)
		return;
	if (now.rlim_max > more.rlim_max)
		more.rlim_max = now.rlim_max;
	if (now.rlim_cur >= limit->wanted || setrlimit((__rlimit_resource_t)limit->resource, &more) == 0)
		return;
	now.rlim_cur = now.rlim_max < limit->wanted ? now.rlim_max : limit->wanted;
	/* At the hard one the kernel kills without a word. */
	if (limit->resource == RLIMIT_CPU && now.rlim_cur > 2 * CPU_GRACE_S)
		now.rlim_cur -= CPU_GRACE_S;
	(void)setrlimit((__rlimit_resource_t)limit->resource, &now);
}

void limits_raise(void)
{
	signal(SIGXFSZ, SIG_IGN); /* EFBIG tells as much */
	for (unsigned i = 0; i < N_LIMITS; i++)
		if (limits[i].what == RAISE)
			raise_limit(&limits[i]);
}

/* "8M", or the number of what is no bytes. */
static const char *value_format(const struct limit *limit, rlim_t value, char word[SIZE_WORD_MAX])
{
	if (limit->resource != RLIMIT_CPU && limit->resource != RLIMIT_NOFILE &&
	    limit->resource != RLIMIT_NPROC)
		return size_format(value, word);
	snprintf(word, SIZE_WORD_MAX, "%" PRIu64, (uint64_t)value);
	return word;
}

/* Is it lower than what we would have? */
static bool is_low(const struct limit *limit, rlim_t *ret_value)
{
	struct rlimit now;

	if (limit->what != RAISE || getrlimit((__rlimit_resource_t)limit->resource, &now) != 0)
		return false;
	*ret_value = now.rlim_cur;
	return now.rlim_cur < limit->wanted;
}

void limits_warn(void)
{
	char word[SIZE_WORD_MAX];
	rlim_t value;

	for (unsigned i = 0; i < N_LIMITS; i++)
		if (limits[i].warning && is_low(&limits[i], &value))
			log_warning("the limit %s is %s and cannot be raised (%s): %s", limits[i].name,
				    value_format(&limits[i], value, word), limits[i].how, limits[i].warning);
}

unsigned limits_our_descriptors(const struct config *config)
{
	return OUR_DESCRIPTORS(config->workers, config->n_pools, config->n_more_sockets + 1);
}

int limits_check_descriptors(const struct config *config, char **ret_error)
{
	/* The streams are there already. */
	const unsigned n_wanted = limits_our_descriptors(config) + N_FOR_CLIENTS - N_STREAMS;
	const unsigned n = descriptors_count_free(n_wanted);

	if (n >= n_wanted)
		return 0;
	if (asprintf(ret_error,
		     "with %u workers and %u pool%s the daemon needs %u descriptors more than it was started "
		     "with, and can have %u: raise the limit (ulimit -n, LimitNOFILE=), or set workers lower",
		     config->workers, config->n_pools, config->n_pools == 1 ? "" : "s", n_wanted, n) < 0)
		*ret_error = NULL;
	return -EMFILE;
}

char *limits_explain(const char *what, int error)
{
	char words[EXPLAIN_MAX];
	size_t used = (size_t)snprintf(words, sizeof(words), "%s: %s", what, strerror(error));
	const char *before = "; it may be for the limit ";
	char word[SIZE_WORD_MAX];
	rlim_t value;

	for (unsigned i = 0; i < N_LIMITS && used < sizeof(words); i++)
		if ((limits[i].errors[0] == error || limits[i].errors[1] == error) &&
		    is_low(&limits[i], &value)) {
			used += (size_t)snprintf(words + used, sizeof(words) - used, "%s%s of %s (%s)",
						 before, limits[i].name,
						 value_format(&limits[i], value, word), limits[i].how);
			before = ", or ";
		}
	return strdup(words);
}

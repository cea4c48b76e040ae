/* main.c - hugepoold: flags, signals, readiness. The main thread listens; all else happens elsewhere. */
#include <config.h>

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "daemon/backing/leftover.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/directory.h"
#include "daemon/base/log.h"
#include "daemon/run/config.h"
#include "daemon/run/daemon.h"
#include "daemon/run/limits.h"
#include "daemon/run/listener.h"
#include "daemon/run/state.h"
#include "daemon/run/stop.h"
#include "proto/socket_path.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

static void print_help(void)
{
	puts("Usage: hugepoold [OPTION]...\n"
	     "Keep pages zeroed and faulted in, and lease them to client processes.\n"
	     "\n"
	     "  --config FILE      read the configuration (JSON, see hugepool.conf(5))\n"
	     "  --check-config     read the configuration, say what is wrong with it, and exit\n"
	     "  --socket PATH      where clients connect\n"
	     "  --state DIR        what is mounted, and a record of it, is there [the socket's directory]\n"
	     "  --workers N        threads that serve clients\n"
	     "  --pool NAME=PAGE:MAX[,KEY=VALUE...]\n"
	     "                     add a pool; may be given several times [default=4K:256M]\n"
	     "  --log-level LEVEL  error, warning, notice, info or debug [info]\n"
	     "  --version          print the version and exit\n"
	     "  --help             print this and exit\n"
	     "\n"
	     "Keys of the configuration file:");
	config_print_top_keys(stdout);
	puts("\nKeys of a pool:");
	config_print_pool_keys(stdout);
}

/* Exit status of having printed what was asked for. */
static int finish_answer(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return EXIT_DONE;
	fputs("hugepoold: cannot write the answer to standard output\n", stderr);
	return EXIT_FAILED;
}

enum {
	OPTION_CONFIG = 256,
	OPTION_CHECK,
	OPTION_SOCKET,
	OPTION_STATE,
	OPTION_WORKERS,
	OPTION_POOL,
	OPTION_LOG,
	OPTION_VERSION,
	OPTION_HELP
};

static const struct option options[] = {
	{"config", required_argument, NULL, OPTION_CONFIG},
	{"check-config", no_argument, NULL, OPTION_CHECK},
	{"socket", required_argument, NULL, OPTION_SOCKET},
	{"state", required_argument, NULL, OPTION_STATE},
	{"workers", required_argument, NULL, OPTION_WORKERS},
	{"pool", required_argument, NULL, OPTION_POOL},
	{"log-level", required_argument, NULL, OPTION_LOG},
	{"version", no_argument, NULL, OPTION_VERSION},
	{"help", no_argument, NULL, OPTION_HELP},
	{NULL, 0, NULL, 0},
};

static int usage_error(const char *what, const char *value)
{
	fprintf(stderr, "hugepoold: %s%s%s\nTry 'hugepoold --help'.\n", what, value ? ": " : "",
		value ? value : "");
	return EXIT_USAGE;
}

/* Flags win over the file, so the file is read first, wherever --config stands. Returns -1 to go on, or the
 * exit status. */
static int read_flags(int argc, char **argv, struct config *config, bool *ret_check_only)
{
	_cleanup_free_ char *error = NULL;
	int option;

	*ret_check_only = false;
	opterr = 0;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case OPTION_HELP:
			print_help();
			return finish_answer();
		case OPTION_VERSION:
			puts("hugepoold " PACKAGE_VERSION);
			return finish_answer();
		case OPTION_CHECK:
			*ret_check_only = true;
			break;
		case OPTION_CONFIG:
			if (config_read_file(config, optarg, &error) < 0) {
				fprintf(stderr, "hugepoold: %s\n", error ? error : "out of memory");
				return EXIT_FAILED;
			}
			break;
		case '?':
			return usage_error("unknown option, or its argument is missing", argv[optind - 1]);
		default:
			break;
		}
	}
	if (optind < argc)
		return usage_error("unexpected argument", argv[optind]);

	optind = 1;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		int r = 0;

		switch (option) {
		case OPTION_SOCKET:
			r = config_set(config, "socket", optarg, &error);
			break;
		case OPTION_STATE:
			r = config_set(config, "state", optarg, &error);
			break;
		case OPTION_WORKERS:
			r = config_set(config, "workers", optarg, &error);
			break;
		case OPTION_LOG:
			r = config_set(config, "log_level", optarg, &error);
			break;
		case OPTION_POOL:
			r = config_add_pool_word(config, optarg, &error);
			break;
		default:
			break;
		}
		if (r < 0)
			return usage_error(error ? error : "out of memory", NULL);
	}
	if (config_finish(config, &error) < 0)
		return usage_error(error ? error : "out of memory", NULL);
	return -1;
}

/* The directory of the default socket is ours to make, open to all users whatever the umask; any other must
 * be there. */
static int make_default_directory(const char *socket_path)
{
	_cleanup_free_ char *path = NULL, *parent = NULL;
	_cleanup_close_ int parent_fd = -1;
	const char *name;
	int r = -ENOMEM;

	path = directory_split(socket_path, &name);
	parent = path ? directory_split(path, &name) : NULL;
	if (parent)
		r = directory_open(parent, &parent_fd);
	if (r == 0 && mkdirat(parent_fd, name, 0755) < 0) {
		if (errno != EEXIST)
			return -errno;
		return faccessat(parent_fd, name, W_OK, AT_EACCESS) < 0 ? -errno : 0;
	}
	return r;
}

/* The first socket may be said by an option, the file or the environment: only here it is seen whether a
 * further one is the same. */
static bool is_further_socket(const struct config *config, const char *path)
{
	for (unsigned i = 0; i < config->n_more_sockets; i++)
		if (strcmp(config->more_sockets[i], path) == 0)
			return true;
	return false;
}

#define FURTHER_SOCKET "%s is the first socket, and one of \"sockets\" as well: name it once"

static int find_socket(const struct config *config, char path[SOCKET_PATH_MAX])
{
	int r = socket_path_find(config->socket_path, path);

	if (r < 0) {
		log_error("the socket's path is longer than %d bytes", SOCKET_PATH_MAX - 1);
		return r;
	}
	if (is_further_socket(config, path)) {
		log_error(FURTHER_SOCKET, path);
		return -EINVAL;
	}
	if (config->socket_path || getenv("HUGEPOOL_SOCKET"))
		return 0;
	r = make_default_directory(path);
	if (r == -EACCES)
		log_error("cannot listen at %s: this user may not make files there; set XDG_RUNTIME_DIR or "
			  "HUGEPOOL_SOCKET, or say --socket",
			  path);
	else if (r < 0)
		log_error("cannot make the directory of %s: %s", path, strerror(-r));
	return r;
}

/* All the paths where clients come in. */
struct sockets {
	struct listener listeners[1 + CONFIG_SOCKETS_MAX];
	unsigned n;
};

static void sockets_stop(struct sockets *sockets)
{
	for (unsigned i = 0; i < sockets->n; i++)
		listener_stop(&sockets->listeners[i]);
}

static void sockets_fini(struct sockets *sockets)
{
	for (unsigned i = 0; i < sockets->n; i++)
		listener_fini(&sockets->listeners[i]);
}

/* All are bound, or none. */
static int sockets_init(struct sockets *sockets, const char *first_path, const struct config *config,
			struct journal *journal, char **ret_error)
{
	int r = listener_init(&sockets->listeners[0], first_path, 0, journal, ret_error);

	for (sockets->n = 1; sockets->n <= config->n_more_sockets && r == 0; sockets->n++)
		r = listener_init(&sockets->listeners[sockets->n], config->more_sockets[sockets->n - 1],
				  sockets->n, journal, ret_error);
	if (r < 0)
		sockets_fini(sockets);
	return r;
}

static int sockets_start(struct sockets *sockets, struct event_base *base, const struct service *service)
{
	int r = 0;

	for (unsigned i = 0; i < sockets->n && r == 0; i++)
		r = listener_start(&sockets->listeners[i], base, service);
	for (unsigned i = 1; i < sockets->n && r == 0; i++)
		log_info("socket %u: %s", i, sockets->listeners[i].path);
	return r;
}

static void on_stop(evutil_socket_t unused, short what, void *base)
{
	event_base_loopbreak(base);
}

/* Accept, tell systemd, and wait for a signal to stop. */
static int serve(struct daemon *daemon, struct sockets *sockets, struct event_base *base)
{
	const char *path = sockets->listeners[0].path;
	struct event *stop = event_new(base, stop_fd(), EV_READ | EV_PERSIST, on_stop, base);
	int r = stop && event_add(stop, NULL) == 0 ? sockets_start(sockets, base, &daemon->service) : -ENOMEM;

	if (r == 0) {
		log_info("ready: %s, %u pools, %u workers", path, daemon->n_pools, daemon->n_workers);
		sd_notifyf(0, "READY=1\nSTATUS=%u pools, socket %s\nMAINPID=%d", daemon->n_pools, path,
			   (int)getpid());
		event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY);
	}
	if (stop)
		event_free(stop);
	return r;
}

/* With the state directory ours. Clients are refused from when we stop; the sockets' paths go when everything
 * else is given back. */
static int run_in_state(struct state *state, struct event_base *base, const struct config *config,
			const char *path, char **ret_error)
{
	struct backing_host host = {
		.directory_fd = state->directory_fd, .path = state->path, .journal = state->journal};
	struct sockets sockets;
	struct daemon daemon;
	int r;

	r = leftover_new(state->journal, &host.leftover);
	if (r < 0)
		return r;
	listener_take_over(state->journal);
	r = sockets_init(&sockets, path, config, state->journal, ret_error);
	if (r < 0) {
		leftover_free(host.leftover);
		return r;
	}
	r = daemon_init(&daemon, config, &host, ret_error);
	if (r == 0)
		r = serve(&daemon, &sockets, base);
	if (stop_wanted()) {
		log_info("stopping: signal %s", strsignal(stop_signal()));
		sd_notify(0, "STOPPING=1");
		r = 0;
	}
	state_mark_stopping(state);
	sockets_stop(&sockets);
	daemon_fini(&daemon);
	sockets_fini(&sockets);
	leftover_free(host.leftover);
	return r;
}

/* Nobody gets the state directory while another daemon lives in it. If that is the one that listens where we
 * would, say that. */
static int open_state(struct state *state, const struct config *config, const char *path, char **ret_error)
{
	_cleanup_free_ char *error = NULL, *owner = NULL;
	int r = state_open(state, config->state_dir, path, &error);

	if (r != -EBUSY) {
		*ret_error = take_ptr(error);
		return r;
	}
	owner = listener_describe_owner(path);
	if (!owner || !error)
		*ret_error = take_ptr(error);
	else if (asprintf(ret_error, "socket %s: %s: stop it or use another path; %s", path, owner, error) <
		 0)
		*ret_error = NULL;
	return r;
}

static int run(const struct config *config)
{
	_cleanup_free_ char *error = NULL;
	char path[SOCKET_PATH_MAX];
	struct event_base *base;
	struct state state;
	int r;

	r = limits_check_descriptors(config, &error);
	if (r < 0) {
		log_error("%s", error ? error : strerror(-r));
		return EXIT_FAILED;
	}
	limits_warn();
	for (unsigned i = 0; i < config->n_warnings; i++)
		log_warning("%s", config->warnings[i]);
	/* First of all: what a signal comes upon is then undone, not left behind. */
	r = stop_init();
	if (r < 0) {
		log_error("cannot wait for signals: %s", strerror(-r));
		return EXIT_FAILED;
	}
	if (find_socket(config, path) < 0)
		return EXIT_FAILED;
	base = event_base_new();
	r = base ? open_state(&state, config, path, &error) : -ENOMEM;
	if (r == 0) {
		r = run_in_state(&state, base, config, path, &error);
		state_close(&state);
	}
	if (r == -ECANCELED) {
		log_info("stopping: signal %s", strsignal(stop_signal()));
		r = 0;
	}
	if (r < 0)
		log_error("%s", error ? error : strerror(-r));
	if (base)
		event_base_free(base);
	return r < 0 ? EXIT_FAILED : EXIT_DONE;
}

/* What the daemon does without is a fault to whoever only asks whether the configuration is right. */
static int check(const struct config *config)
{
	char path[SOCKET_PATH_MAX];

	if (socket_path_find(config->socket_path, path) == 0 && is_further_socket(config, path)) {
		fprintf(stderr, "hugepoold: " FURTHER_SOCKET "\n", path);
		return EXIT_FAILED;
	}
	for (unsigned i = 0; i < config->n_warnings; i++)
		fprintf(stderr, "hugepoold: %s\n", config->warnings[i]);
	if (config->n_warnings > 0)
		return EXIT_FAILED;
	puts("the configuration is fine");
	return finish_answer();
}

int main(int argc, char **argv)
{
	struct config config;
	bool check_only;
	int status;

	if (!limits_open_streams())
		return EXIT_FAILED;
	/* All that is made says its mode: whoever may reach it can from the first moment. */
	umask(0);
	limits_raise();
	config_init(&config);
	status = read_flags(argc, argv, &config, &check_only);
	if (status < 0) {
		log_init(config.log_level);
		signal(SIGPIPE, SIG_IGN);
		status = check_only ? check(&config) : run(&config);
	}
	config_fini(&config);
	return status;
}

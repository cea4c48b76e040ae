/* stop.c - see stop.h. The handler runs on the main thread: the others block all signals. */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "daemon/run/stop.h"

/* The last one comes some seconds before RLIMIT_CPU kills. */
static const int stop_signals[] = {SIGTERM, SIGINT, SIGHUP, SIGXCPU};
#define N_STOP_SIGNALS (sizeof(stop_signals) / sizeof(stop_signals[0]))

static atomic_bool wanted;
static atomic_int first_signal;
static int event_fd = -1;

static void on_signal(int number)
{
	int saved_errno = errno, none = 0;

	atomic_compare_exchange_strong(&first_signal, &none, number);
	atomic_store(&wanted, true);
	(void)!write(event_fd, &(uint64_t){1}, sizeof(uint64_t));
	errno = saved_errno;
}

int stop_init(void)
{
	struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: calls end with EINTR */
	sigset_t ours;

	event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (event_fd < 0)
		return -errno;
	sigemptyset(&ours);
	sigemptyset(&action.sa_mask);
	for (unsigned i = 0; i < N_STOP_SIGNALS; i++) {
		sigaddset(&ours, stop_signals[i]);
		if (sigaction(stop_signals[i], &action, NULL) < 0)
			return -errno;
	}
	/* Whoever started us may have blocked them. */
	return -pthread_sigmask(SIG_UNBLOCK, &ours, NULL);
}

bool stop_wanted(void)
{
	return atomic_load(&wanted);
}

const atomic_bool *stop_flag(void)
{
	return &wanted;
}

int stop_fd(void)
{
	return event_fd;
}

int stop_signal(void)
{
	return atomic_load(&first_signal);
}

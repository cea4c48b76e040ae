/* stay.c - stay connected until a signal comes: for the commands that hold a lease or listen. */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>

#include "client/ctl/ctl.h"

int ctl_catch_signals(void)
{
	sigset_t signals;
	int fd;

	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	fd = signalfd(-1, &signals, SFD_CLOEXEC);
	if (fd < 0)
		ctl_complain("Cannot wait for signals: %s", strerror(errno));
	return fd;
}

enum ctl_status ctl_stay(struct ctl *ctl, int signal_fd, const bool *is_over)
{
	struct pollfd fds[] = {{.fd = hp_fd(ctl->client), .events = POLLIN},
			       {.fd = signal_fd, .events = POLLIN}};

	while (fds[0].fd >= 0 && !*is_over) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR) {
			ctl_complain("Cannot wait for the daemon: %s", strerror(errno));
			return CTL_FAILED;
		}
		if (fds[1].revents)
			return CTL_DONE;
		if (hp_dispatch(ctl->client) < 0)
			break;
	}
	if (*is_over)
		return CTL_DONE;
	ctl_complain("%s", hp_error());
	return CTL_FAILED;
}

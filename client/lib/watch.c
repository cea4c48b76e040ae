/* watch.c - see watch.h. The calls on descriptors of our own fail when the kernel has no memory: then the
 * bell rings, and whoever comes tries again. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "client/lib/watch.h"
#include "daemon/base/clock.h"

static int add(const struct watch *watch, int fd, uint32_t events)
{
	struct epoll_event event = {.events = events};

	return epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

int watch_open(struct watch *watch)
{
	struct watch opened = WATCH_CLOSED;
	int r = 0;

	if (watch->epoll_fd >= 0)
		return 0;
	opened.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	opened.bell_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	opened.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (opened.epoll_fd < 0 || opened.bell_fd < 0 || opened.timer_fd < 0)
		r = -errno;
	if (r == 0)
		r = add(&opened, opened.bell_fd, EPOLLIN);
	if (r == 0)
		r = add(&opened, opened.timer_fd, EPOLLIN);
	if (r < 0) {
		watch_fini(&opened);
		return r;
	}
	*watch = opened;
	return 0;
}

void watch_fini(struct watch *watch)
{
	if (watch->bell_fd >= 0)
		close(watch->bell_fd);
	if (watch->timer_fd >= 0)
		close(watch->timer_fd);
	if (watch->epoll_fd >= 0)
		close(watch->epoll_fd);
	*watch = WATCH_CLOSED;
}

int watch_renew(struct watch *watch)
{
	struct watch renewed = WATCH_CLOSED;
	const int number = watch->epoll_fd;
	int r;

	if (number < 0)
		return 0;
	r = watch_open(&renewed);
	if (r == 0 && dup3(renewed.epoll_fd, number, O_CLOEXEC) < 0)
		r = -errno;
	if (r < 0) {
		watch_fini(&renewed);
		return r;
	}
	close(renewed.epoll_fd);
	renewed.epoll_fd = number;
	watch->epoll_fd = -1;
	watch_fini(watch);
	*watch = renewed;
	watch_ring(watch);
	return 0;
}

static void change_socket(struct watch *watch, int socket_fd, bool for_output)
{
	struct epoll_event event = {.events = EPOLLIN | (for_output ? EPOLLOUT : 0)};
	int r = 0;

	if (socket_fd != watch->socket_fd) {
		if (watch->socket_fd >= 0)
			epoll_ctl(watch->epoll_fd, EPOLL_CTL_DEL, watch->socket_fd, NULL);
		watch->socket_fd = -1;
		if (socket_fd >= 0)
			r = epoll_ctl(watch->epoll_fd, EPOLL_CTL_ADD, socket_fd, &event);
	} else {
		r = epoll_ctl(watch->epoll_fd, EPOLL_CTL_MOD, socket_fd, &event);
	}
	if (r < 0) {
		watch_ring(watch);
		return;
	}
	watch->socket_fd = socket_fd;
	watch->for_output = for_output;
}

void watch_socket(struct watch *watch, int socket_fd, bool for_output)
{
	if (watch->epoll_fd >= 0 && (socket_fd != watch->socket_fd || for_output != watch->for_output))
		change_socket(watch, socket_fd, for_output);
}

void watch_ring(struct watch *watch)
{
	if (watch->epoll_fd < 0 || watch->rung)
		return;
	(void)eventfd_write(watch->bell_fd, 1);
	watch->rung = true;
}

void watch_quiet(struct watch *watch)
{
	eventfd_t rings;

	if (!watch->rung)
		return;
	(void)eventfd_read(watch->bell_fd, &rings);
	watch->rung = false;
}

void watch_time(struct watch *watch, uint64_t at_ns)
{
	struct itimerspec at = {
		.it_value = {.tv_sec = (time_t)(at_ns / NS_PER_S), .tv_nsec = (long)(at_ns % NS_PER_S)}};

	if (watch->epoll_fd < 0 || (at_ns == 0 && !watch->timed))
		return;
	(void)timerfd_settime(watch->timer_fd, TFD_TIMER_ABSTIME, &at, NULL);
	watch->timed = at_ns != 0;
}

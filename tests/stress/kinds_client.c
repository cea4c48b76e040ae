/* kinds_client.c - see kinds_client.h: the connection, and which operation comes next. */
#include <config.h>

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#include "tests/stress/kinds_self.h"
#include "tests/support/raw.h"

#define FIRST_FD        3
#define MAX_FDS         256
#define DISPATCH_EVERY  64 /* operations at least */
#define BREAK_WITHIN_US 400

static void do_look(void)
{
	look(&self.held[below(self.n_held)]);
	count(KINDS_LOOK, 1);
}

static void do_dispatch(void)
{
	dispatch();
	count(KINDS_DISPATCH, 1);
}

/* ---- the connection ---- */

/* Also in a signal's handler: shutdown() fails for what is not a socket, and does nothing. */
static void shut_sockets(int unused)
{
	int saved_errno = errno;

	for (int fd = FIRST_FD; fd < MAX_FDS; fd++)
		shutdown(fd, SHUT_RDWR);
	errno = saved_errno;
}

void client_break(void)
{
	/* What one of them was granted may be revoked before it is asked again. */
	event_expect_unseen(self.n_pending);
	shut_sockets(0);
}

static void on_alarm(int unused)
{
	event_expect_cut();
	shut_sockets(0);
}

static void set_timer(unsigned in_us)
{
#if defined(__SANITIZE_THREAD__) /* it defers handlers, and calls have ended with -EINTR under it */
	(void)in_us;
#else
	const struct itimerval value = {.it_value.tv_usec = in_us};

	raw_check(setitimer(ITIMER_REAL, &value, NULL) == 0, "setitimer: %s", strerror(errno));
#endif
}

/* In the middle of one of the next operations. */
static void do_break_later(void)
{
	set_timer(1 + below(BREAK_WITHIN_US));
	count(KINDS_BREAK_LATER, 1);
}

static void do_break(void)
{
	client_break();
	count(KINDS_BREAK, 1);
}

static void open_client(void)
{
	int r = hp_open(self.kinds->socket, &self.client);

	raw_check(r == 0, "open: %d: %s", r, hp_error());
	event_subscribe();
}

/* Every lease ends, but for the detached ones, which live on by their names or until the test's end. */
static void close_client(void)
{
	for (unsigned i = 0; i < self.n_held; i++)
		look(&self.held[i]);
	leave_detached();
	self.n_held = 0;
	self.is_closing = true;
	self.client = hp_close(self.client);
	raw_check(self.n_pending == 0, "%u calls have not ended with their client", self.n_pending);
	self.is_closing = false;
}

static void do_reopen(void)
{
	close_client();
	/* A session that is broken before its token has arrived is nobody's, until this process ends. */
	set_timer(0);
	open_client();
	free_left();
	count(KINDS_REOPEN, 1);
}

/* ---- all together ---- */

enum need {
	NOTHING,
	ROOM, /* for a batch more */
	HELD, /* a lease at least */
};

static const struct act {
	void (*run)(void);
	unsigned weight;
	enum need need;
} acts[] = {
	{do_alloc, 220, ROOM},
	{do_alloc_batch, 55, ROOM},
	{do_hot, 18, ROOM},
	{do_open, 60, ROOM},
	{do_resize, 60, HELD},
	{do_dup, 30, HELD},
	{do_look, 60, HELD},
	{do_free, 160, HELD},
	{do_free_batch, 65, HELD},
	{do_free_id, 40, HELD},
	{do_free_twice, 15, NOTHING},
	{do_free_name, 25, NOTHING},
	{do_free_others, 20, NOTHING},
	{do_forget, 15, HELD},
	{do_start_alloc, 60, ROOM},
	{do_start_open, 25, ROOM},
	{do_start_free, 50, HELD},
	{do_dispatch, 30, NOTHING},
	{do_cut, 6, ROOM},
	{do_break, 3, NOTHING},
	{do_break_later, 8, NOTHING},
	{do_reopen, 4, NOTHING},
};
#define N_ACTS (sizeof(acts) / sizeof(acts[0]))

static const struct act *choose_act(void)
{
	unsigned sum = 0, roll;

	for (unsigned i = 0; i < N_ACTS; i++)
		sum += acts[i].weight;
	roll = below(sum);
	for (unsigned i = 0;; roll -= acts[i++].weight)
		if (roll < acts[i].weight)
			return &acts[i];
}

void kinds_client_run(void *arg)
{
	/* Calls go on: without SA_RESTART they would say -EINTR (system_absent). */
	const struct sigaction alarm_action = {.sa_handler = on_alarm, .sa_flags = SA_RESTART};
	const struct kinds_part *part = arg;
	unsigned n_acts = 0;

	/* The test's own descriptors, its lock among them. */
	raw_check(syscall(SYS_close_range, FIRST_FD, ~0u, 0) == 0, "close_range: %s", strerror(errno));
	raw_check(sigaction(SIGALRM, &alarm_action, NULL) == 0, "sigaction: %s", strerror(errno));
	kinds_stamp_init();
	self.kinds = part->kinds;
	self.seat = part->seat;
	self.uid = getuid();
	self.random =
		self.kinds->seed ^ ((uint64_t)self.seat << 32 | part->life) * UINT64_C(0xd1342543de82ef95);
	open_client();
	while (atomic_load(&self.kinds->n_operations[self.seat]) < part->n_until) {
		const struct act *act = choose_act();

		if ((act->need == HELD && self.n_held == 0) || (act->need == ROOM && !has_room()))
			continue;
		act->run();
		if (++n_acts % DISPATCH_EVERY == 0)
			dispatch();
	}
	close_client();
}

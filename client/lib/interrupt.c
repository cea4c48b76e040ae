/* interrupt.c - see interrupt.h. pthread_cond_wait() goes on after any handler; a futex without a time limit
 * is restarted, or not, as the handler's SA_RESTART says. */
#include <config.h>

#include "client/lib/interrupt.h"

#include <errno.h>
#include <linux/futex.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"

static bool is_fault(int signal)
{
	return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL ||
	       signal == SIGTRAP;
}

bool interrupt_is_meant(void)
{
	struct sigaction action;
	sigset_t blocked;

	if (pthread_sigmask(SIG_SETMASK, NULL, &blocked) != 0)
		return true;
	for (int signal = 1; signal <= SIGRTMAX; signal++) {
		if (is_fault(signal) || sigismember(&blocked, signal) == 1 ||
		    sigaction(signal, NULL, &action) != 0)
			continue;
		if (!(action.sa_flags & SA_SIGINFO) &&
		    (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN))
			continue;
		if (!(action.sa_flags & SA_RESTART))
			return true;
	}
	return false;
}

int interrupt_sleep(_Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns)
{
	const struct timespec end = {.tv_sec = (time_t)(deadline_ns / NS_PER_S),
				     .tv_nsec = (long)(deadline_ns % NS_PER_S)};
	const bool timed = deadline_ns != UINT64_MAX;

	if (syscall(SYS_futex, word, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, seen, timed ? &end : NULL, NULL,
		    FUTEX_BITSET_MATCH_ANY) == 0)
		return 0;
	switch (errno) {
	case ETIMEDOUT:
		return -ETIMEDOUT;
	case EINTR:
		return timed && !interrupt_is_meant() ? 0 : -EINTR;
	default: /* it has changed already */
		return 0;
	}
}

void interrupt_wake(_Atomic uint32_t *word)
{
	(void)syscall(SYS_futex, word, FUTEX_WAKE | FUTEX_PRIVATE_FLAG, 1, NULL, NULL, 0);
}

/* guard.c - a SIGBUS handler that jumps back to whoever expected it.
 *
 * Every thread has at most one guarded access at a time, in a thread-local variable that only it and the
 * handler on it touch; only installing is serialised. The handler jumps when the fault is at an address that
 * this thread guards right now, and in no other case.
 */
#include <config.h>

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>

#include "daemon/backing/clear.h"
#include "daemon/backing/guard.h"
#include "daemon/base/assert.h"

#define N_MEMORY_ERRORS 64

struct guard {
	sigjmp_buf escape;
	uintptr_t first, bytes; /* what is guarded */
	sigset_t mask;          /* the thread's own, to be restored */
};

/* Volatile: read by the handler between any two instructions of its own thread. */
static _Thread_local struct guard *volatile active_guard;

static pthread_mutex_t install_mutex = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous_action; /* written under install_mutex, while the handler is not in place */

/* The last addresses at which memory was broken; 0: none. Written by handlers, of any thread. */
static _Atomic uintptr_t memory_errors[N_MEMORY_ERRORS];
static _Atomic unsigned n_memory_errors;

/* Once, however often it was met. */
static void note_memory_error(uintptr_t address)
{
	for (unsigned i = 0; i < N_MEMORY_ERRORS; i++)
		if (atomic_load(&memory_errors[i]) == address)
			return;
	atomic_store(&memory_errors[atomic_fetch_add(&n_memory_errors, 1) % N_MEMORY_ERRORS], address);
}

bool guard_take_memory_error(const void *memory, size_t bytes, size_t *ret_offset)
{
	for (unsigned i = 0; i < N_MEMORY_ERRORS; i++) {
		uintptr_t address = atomic_load(&memory_errors[i]);

		if (address == 0 || address - (uintptr_t)memory >= bytes ||
		    !atomic_compare_exchange_strong(&memory_errors[i], &address, 0))
			continue;
		*ret_offset = address - (uintptr_t)memory;
		return true;
	}
	return false;
}

bool guard_take_any_memory_error(uintptr_t *ret_address)
{
	for (unsigned i = 0; i < N_MEMORY_ERRORS; i++) {
		*ret_address = atomic_exchange(&memory_errors[i], 0);
		if (*ret_address != 0)
			return true;
	}
	return false;
}

/* The memory itself is broken, and not the file cut short. */
static bool is_memory_error(const siginfo_t *info)
{
	return info->si_code == BUS_MCEERR_AR || info->si_code == BUS_MCEERR_AO;
}

/* Of broken memory the address is that of a block, as large as the kernel says. */
static bool is_guarded(const struct guard *guard, const siginfo_t *info)
{
	const uintptr_t address = (uintptr_t)info->si_addr;
	const uintptr_t bytes = is_memory_error(info) ? (uintptr_t)1 << info->si_addr_lsb : 1;

	return address < guard->first + guard->bytes && address + bytes > guard->first;
}

static void handle_sigbus(int signal_number, siginfo_t *info, void *context)
{
	struct guard *guard = active_guard;

	/* Nobody has touched it yet; whoever does has a fault of its own. */
	if (info->si_code == BUS_MCEERR_AO) {
		note_memory_error((uintptr_t)info->si_addr);
		return;
	}
	if (guard && info->si_code > 0 && is_guarded(guard, info)) {
		if (is_memory_error(info))
			note_memory_error((uintptr_t)info->si_addr);
		siglongjmp(guard->escape, 1);
	}

	/* Not ours. A faulting instruction is run again when we return and now meets the previous action; a
	 * signal that somebody sent has to be sent again. */
	sigaction(SIGBUS, &previous_action, NULL);
	if (info->si_code <= 0)
		raise(signal_number);
}

void guard_install(void)
{
	struct sigaction action = {.sa_sigaction = handle_sigbus, .sa_flags = SA_SIGINFO | SA_RESTART};
	struct sigaction current;

	sigemptyset(&action.sa_mask);
	pthread_mutex_lock(&install_mutex);
	hp_assert(sigaction(SIGBUS, NULL, &current) == 0);
	if (current.sa_sigaction != handle_sigbus) {
		previous_action = current;
		hp_assert(sigaction(SIGBUS, &action, NULL) == 0);
	}
	pthread_mutex_unlock(&install_mutex);
	/* Fails where the kernel knows no memory errors. */
	(void)prctl(PR_MCE_KILL, PR_MCE_KILL_SET, PR_MCE_KILL_EARLY, 0, 0);
}

/* Before sigsetjmp(): after it a guard does not change. The kernel kills a thread that faults with SIGBUS
 * blocked. */
static void guard_prepare(struct guard *guard, const void *memory, size_t bytes)
{
	sigset_t sigbus;

	sigemptyset(&sigbus);
	sigaddset(&sigbus, SIGBUS);
	pthread_sigmask(SIG_UNBLOCK, &sigbus, &guard->mask);
	guard->first = (uintptr_t)memory;
	guard->bytes = bytes;
}

/* The fences are for the compiler: no access leaves the guarded stretch. */
static void guard_enter(struct guard *guard)
{
	active_guard = guard;
	atomic_signal_fence(memory_order_seq_cst);
}

/* On both ways out. After a jump the handler's mask is still in force: the thread's own replaces it here. */
static void guard_leave(const struct guard *guard)
{
	atomic_signal_fence(memory_order_seq_cst);
	active_guard = NULL;
	pthread_sigmask(SIG_SETMASK, &guard->mask, NULL);
}

/* What is done to the guarded side. */
struct access {
	void *to;
	const void *from;
	size_t bytes;
	uint8_t value;
	const struct iovec *pieces; /* of what is guarded */
	unsigned n_pieces;
};

/* The frame that a jump comes back to. */
static bool run_guarded(const void *guarded, const struct access *access,
			void (*run)(const struct access *access))
{
	struct guard guard;

	guard_prepare(&guard, guarded, access->bytes);
	if (sigsetjmp(guard.escape, 0) != 0) {
		guard_leave(&guard);
		return false;
	}
	guard_enter(&guard);
	run(access);
	guard_leave(&guard);
	return true;
}

static void clear(const struct access *access)
{
	for (unsigned i = 0; i < access->n_pieces; i++)
		clear_pages(access->pieces[i].iov_base, access->pieces[i].iov_len);
}

static void fill(const struct access *access)
{
	memset(access->to, access->value, access->bytes);
}

static void copy(const struct access *access)
{
	memcpy(access->to, access->from, access->bytes);
}

bool guard_clear(const struct iovec *pieces, unsigned n_pieces)
{
	const char *first = pieces[0].iov_base;
	const struct iovec *last = &pieces[n_pieces - 1];
	const struct access access = {
		.bytes = (size_t)((const char *)last->iov_base - first) + last->iov_len,
		.pieces = pieces,
		.n_pieces = n_pieces,
	};

	return run_guarded(first, &access, clear);
}

bool guard_fill(void *memory, uint8_t value, size_t bytes)
{
	return run_guarded(memory, &(struct access){.to = memory, .bytes = bytes, .value = value}, fill);
}

bool guard_read(void *buffer, const void *memory, size_t bytes)
{
	return run_guarded(memory, &(struct access){.to = buffer, .from = memory, .bytes = bytes}, copy);
}

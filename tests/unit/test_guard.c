/* test_guard.c - memory that somebody cuts while it is zeroed, how pages are cleared, and whose SIGBUS kills.
 *
 * Needs neither root nor hugepages.
 */
#include <config.h>

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/backing/clear.h"
#include "daemon/backing/guard.h"
#include "tests/support/wait.h"
#include "tests/unit/backing_scene.h"

#define N_ZEROERS 4

struct zeroer {
	pthread_t thread;
	struct backing_file *file;
	uint64_t first;
	_Atomic unsigned n_zeroed;
};

/* Its half of the file, until that is cut; with every signal blocked, as the daemon's threads have it. */
static void *zero_until_damaged(void *argument)
{
	struct zeroer *zeroer = argument;
	sigset_t all, mask;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	while (backing_file_zero(zeroer->file, zeroer->first, 512) == 0)
		zeroer->n_zeroed++;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	return sigismember(&mask, SIGBUS) ? NULL : zeroer;
}

static void backing_truncated_under_many_zeroers_all_survive(void **state)
{
	struct backing *backing = scene_new_backing(scene_memfd_config(KIB4));
	struct zeroer zeroers[N_ZEROERS] = {0};
	void *complaint;

	/* Two threads to a file, and the cut is in the first one's half. */
	for (unsigned i = 0; i < N_ZEROERS; i++) {
		zeroers[i].file = i % 2 ? zeroers[i - 1].file : scene_new_file(backing, 1024);
		zeroers[i].first = i % 2 * 512;
		assert_int_equal(pthread_create(&zeroers[i].thread, NULL, zero_until_damaged, &zeroers[i]),
				 0);
	}
	for (unsigned i = 0; i < N_ZEROERS; i++)
		assert_true(wait_for(zeroers[i].n_zeroed >= 3));
	for (unsigned i = 0; i < N_ZEROERS; i += 2)
		assert_int_equal(ftruncate(backing_file_fd(zeroers[i].file), 256 * KIB4), 0);
	for (unsigned i = 0; i < N_ZEROERS; i++) {
		assert_int_equal(pthread_join(zeroers[i].thread, &complaint), 0);
		assert_null(complaint);
		assert_true(zeroers[i].n_zeroed >= 3);
	}
	for (unsigned i = 0; i < N_ZEROERS; i += 2)
		scene_release(zeroers[i].file);
	backing_free(backing);
}

/* By every way that this CPU has; what lies around is left alone. */
static void clear_pages_zeroes_exactly_these(void **state)
{
	enum { N_PAGES = 8, FIRST = 3, N_CLEARED = 2 };
	uint8_t *memory =
		mmap(NULL, N_PAGES * KIB4, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(memory != MAP_FAILED);
	assert_non_null(clear_ways()[0]);
	for (clear_way *const *way = clear_ways(); *way; way++) {
		memset(memory, 0xa5, N_PAGES * KIB4);
		(*way)(memory + FIRST * KIB4, N_CLEARED * KIB4);
		for (size_t at = 0; at < N_PAGES * KIB4; at++)
			assert_int_equal(memory[at],
					 at / KIB4 >= FIRST && at / KIB4 < FIRST + N_CLEARED ? 0 : 0xa5);
	}
	munmap(memory, N_PAGES * KIB4);
}

/* Instead of over cmocka's or a sanitizer's handler. */
static void install_over_default(void)
{
	signal(SIGBUS, SIG_DFL);
	guard_install();
}

static int fault_unguarded(void *argument)
{
	int fd = memfd_create("cut", MFD_CLOEXEC);
	volatile char *memory;

	install_over_default();
	STEP(1, fd >= 0);
	memory = mmap(NULL, KIB4, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	STEP(2, memory != MAP_FAILED);
	memory[0] = 'x';
	return 3;
}

static int send_sigbus(void *argument)
{
	install_over_default();
	kill(getpid(), SIGBUS);
	return 1;
}

static void guard_sigbus_of_others_kills(void **state)
{
	int status;

	status = scene_run_child(fault_unguarded, NULL);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = scene_run_child(send_sigbus, NULL);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backing_truncated_under_many_zeroers_all_survive),
		cmocka_unit_test(clear_pages_zeroes_exactly_these),
		cmocka_unit_test(guard_sigbus_of_others_kills),
	};

	return cmocka_run_group_tests_name("test_guard", tests, NULL, NULL);
}

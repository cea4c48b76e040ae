/* test_guard.c - memory that somebody cuts while it is zeroed, how pages are cleared, and whose SIGBUS kills.
 *
 * Needs neither root nor hugepages.
 */
#include <config.h>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/backing/clear.h"
#include "daemon/backing/guard.h"
#include "tests/support/wait.h"
#include "tests/unit/backing_scene.h"

#define N_ZEROERS 4
#define PAGE      4096

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

/* ---- broken memory ---- */

#if !defined(__SANITIZE_THREAD__) /* it runs no handler while an access waits */
static void *volatile broken;     /* what the next SIGUSR1 says is broken */

/* A kernel that finds memory broken sends such a signal; ours has no way to break any, and lets a thread send
 * it to nobody but itself. */
static void on_sigusr1(int number)
{
	siginfo_t info = {.si_signo = SIGBUS, .si_code = BUS_MCEERR_AR};

	(void)number;
	info.si_addr = broken;
	info.si_addr_lsb = 12; /* a page: the address is its start's */
	(void)syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), SIGBUS, &info);
}

struct reader {
	char *memory;
	bool was_read;
};

static void *read_guarded(void *arg)
{
	struct reader *reader = arg;
	char byte;

	reader->was_read = guard_read(&byte, reader->memory + PAGE + 7, 1);
	return NULL;
}

/* The reader's fault waits for userfaultfd, so that the signal comes in the middle of the guarded access. */
static void guard_tells_broken_memory_from_a_cut_file(void **state)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register range = {.mode = UFFDIO_REGISTER_MODE_MISSING};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	struct sigaction action = {.sa_handler = on_sigusr1};
	struct reader reader = {.was_read = true};
	struct uffd_msg message;
	pthread_t thread;
	size_t offset;

	(void)state;
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api) < 0) {
		print_message("absent: userfaultfd\n");
		skip();
	}
	guard_install();
	assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
	reader.memory = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(reader.memory != MAP_FAILED);
	range.range = (struct uffdio_range){.start = (uintptr_t)reader.memory, .len = 2 * PAGE};
	assert_int_equal(ioctl(fd, UFFDIO_REGISTER, &range), 0);
	assert_int_equal(pthread_create(&thread, NULL, read_guarded, &reader), 0);
	assert_int_equal(read(fd, &message, sizeof(message)), sizeof(message));
	broken = reader.memory + PAGE;
	assert_int_equal(pthread_kill(thread, SIGUSR1), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_false(reader.was_read);
	assert_false(guard_take_memory_error(reader.memory, PAGE, &offset));
	assert_true(guard_take_memory_error(reader.memory, 2 * PAGE, &offset));
	assert_int_equal(offset, PAGE);
	assert_false(guard_take_memory_error(reader.memory, 2 * PAGE, &offset));
	munmap(reader.memory, 2 * PAGE);
	close(fd);
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(backing_truncated_under_many_zeroers_all_survive),
		cmocka_unit_test(clear_pages_zeroes_exactly_these),
		cmocka_unit_test(guard_sigbus_of_others_kills),
#if !defined(__SANITIZE_THREAD__)
		cmocka_unit_test(guard_tells_broken_memory_from_a_cut_file),
#endif
	};

	return cmocka_run_group_tests_name("test_guard", tests, NULL, NULL);
}

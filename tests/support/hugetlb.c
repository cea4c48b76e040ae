/* hugetlb.c - see the header. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/io_uring.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/hugetlb.h"
#include "tests/support/wait.h"

#define LOCK_WAIT_S 900 /* tests/stress/kinds has the lock for long */
#define MIB         (UINT64_C(1) << 20)
#define GIB         (UINT64_C(1) << 30)
#define MAX_RAISED  4

#define KEEPER_LOCK_FD 3

static int lock_fd = -1;
static struct {
	uint64_t page_bytes, n_pages;
} raised[MAX_RAISED];
static unsigned n_raised;
static pid_t keeper; /* a child; 0: none */

static FILE *open_counter(uint64_t page_bytes, const char *name, const char *mode)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/kernel/mm/hugepages/hugepages-%" PRIu64 "kB/%s", page_bytes / 1024,
		 name);
	return fopen(path, mode);
}

static uint64_t read_counter(uint64_t page_bytes, const char *name)
{
	FILE *file = open_counter(page_bytes, name, "re");
	uint64_t value = 0;

	if (!file)
		return 0;
	if (fscanf(file, "%" SCNu64, &value) != 1)
		value = 0;
	fclose(file);
	return value;
}

static bool write_nr_hugepages(uint64_t page_bytes, uint64_t value)
{
	FILE *file = open_counter(page_bytes, "nr_hugepages", "we");

	if (!file)
		return false;
	fprintf(file, "%" PRIu64, value);
	return fclose(file) == 0;
}

struct hugetlb_counts hugetlb_counts(uint64_t page_bytes)
{
	return (struct hugetlb_counts){
		.total = read_counter(page_bytes, "nr_hugepages"),
		.free = read_counter(page_bytes, "free_hugepages"),
		.reserved = read_counter(page_bytes, "resv_hugepages"),
		.surplus = read_counter(page_bytes, "surplus_hugepages"),
	};
}

bool hugetlb_lock(void)
{
	time_t deadline = time(NULL) + LOCK_WAIT_S;

	/* Without O_CREAT first: in a sticky directory the kernel may refuse it for somebody else's file. */
	lock_fd = open(HUGETLB_LOCK_PATH, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (lock_fd < 0)
		lock_fd = open(HUGETLB_LOCK_PATH, O_RDONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (lock_fd < 0) {
		fprintf(stderr, "%s: %s\n", HUGETLB_LOCK_PATH, strerror(errno));
		return false;
	}
	while (flock(lock_fd, LOCK_EX | LOCK_NB) < 0) {
		if (time(NULL) > deadline) {
			fprintf(stderr, "%s: another test has held it for %d s\n", HUGETLB_LOCK_PATH,
				LOCK_WAIT_S);
			hugetlb_unlock();
			return false;
		}
		wait_pause();
	}
	return true;
}

/* What is set: nr_hugepages as it is read has the surplus in it. */
static uint64_t persistent_pages(uint64_t page_bytes)
{
	struct hugetlb_counts counts = hugetlb_counts(page_bytes);

	return counts.total > counts.surplus ? counts.total - counts.surplus : 0;
}

/* Pages that leaked are not hidden: they stay in the counters as surplus. */
static void lower(uint64_t page_bytes, uint64_t n_pages)
{
	uint64_t persistent = persistent_pages(page_bytes);

	write_nr_hugepages(page_bytes, persistent > n_pages ? persistent - n_pages : 0);
}

static void lower_all(void)
{
	while (n_raised > 0) {
		n_raised--;
		lower(raised[n_raised].page_bytes, raised[n_raised].n_pages);
	}
}

/* In the keeper. It has our turn too, so that nobody else's begins before; and nothing else of ours, or what
 * waits for the other end of a pipe would wait for it. */
static void keep_until_death_of(pid_t owner)
{
	struct pollfd poll_fd = {.fd = -1, .events = POLLIN};
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, NULL);
	setsid(); /* what is sent to the owner's process group is not for us */
	dup2(lock_fd, KEEPER_LOCK_FD);
	syscall(SYS_close_range, KEEPER_LOCK_FD + 1, ~0u, 0);
	poll_fd.fd = (int)syscall(SYS_pidfd_open, owner, 0);
	if (poll_fd.fd >= 0)
		poll(&poll_fd, 1, -1);
	lower_all();
	_exit(0);
}

static void dismiss_keeper(void)
{
	if (keeper <= 0)
		return;
	kill(keeper, SIGKILL);
	waitpid(keeper, NULL, 0);
	keeper = 0;
}

/* Whatever ends us, somebody gives back what is raised by now. */
static void appoint_keeper(void)
{
	const pid_t owner = getpid();

	dismiss_keeper();
	fflush(NULL);
	keeper = fork();
	if (keeper == 0)
		keep_until_death_of(owner);
}

#define SHMEM_ENABLED "/sys/kernel/mm/transparent_hugepage/shmem_enabled"

static char old_shmem[32]; /* "": as it was */

static bool write_shmem(const char *word)
{
	FILE *file = fopen(SHMEM_ENABLED, "we");
	bool written = file && fputs(word, file) >= 0;

	return file && fclose(file) == 0 && written;
}

static void restore_shmem(void)
{
	if (old_shmem[0] && !write_shmem(old_shmem))
		fprintf(stderr, "cannot set shmem_enabled to %s again\n", old_shmem);
	old_shmem[0] = '\0';
}

void hugetlb_set_shmem(const char *word)
{
	char text[128] = "", *chosen;
	FILE *file = fopen(SHMEM_ENABLED, "re");

	if (file) {
		if (!fgets(text, sizeof(text), file))
			text[0] = '\0';
		fclose(file);
	}
	chosen = strchr(text, '[');
	if (!chosen || !write_shmem(word)) {
		fprintf(stderr, "absent: %s cannot be set\n", SHMEM_ENABLED);
		skip();
	}
	snprintf(old_shmem, sizeof(old_shmem), "%.*s", (int)strcspn(chosen + 1, "]"), chosen + 1);
}

void hugetlb_unlock(void)
{
	restore_shmem();
	dismiss_keeper();
	lower_all();
	if (lock_fd >= 0)
		close(lock_fd);
	lock_fd = -1;
}

bool hugetlb_raise(uint64_t page_bytes, uint64_t n_pages)
{
	struct hugetlb_counts before = hugetlb_counts(page_bytes);
	uint64_t persistent_before = before.total - before.surplus;
	uint64_t n_added;

	if (n_raised == MAX_RAISED || !write_nr_hugepages(page_bytes, before.total + n_pages)) {
		fprintf(stderr,
			"cannot raise nr_hugepages of %" PRIu64 " KiB pages: no such pages, or not root\n",
			page_bytes / 1024);
		return false;
	}
	/* The kernel adopts the surplus first, such as pages that an earlier test let go of a moment ago. */
	n_added = persistent_pages(page_bytes) - persistent_before;
	if (hugetlb_counts(page_bytes).total < before.total + n_pages) {
		lower(page_bytes, n_added);
		fprintf(stderr, "the kernel has no memory for %" PRIu64 " pages of %" PRIu64 " KiB\n",
			n_pages, page_bytes / 1024);
		return false;
	}
	raised[n_raised].page_bytes = page_bytes;
	raised[n_raised++].n_pages = n_added;
	appoint_keeper();
	return true;
}

bool hugetlb_has(uint64_t page_bytes)
{
	FILE *file = open_counter(page_bytes, "nr_hugepages", "re");

	if (file)
		fclose(file);
	return file != NULL;
}

static void skip_for_want_of_pages(void)
{
	fprintf(stderr, "SKIPPED: no hugepages here\n");
	skip();
}

bool hugetlb_top_up(uint64_t page_bytes, uint64_t n_pages)
{
	struct hugetlb_counts counts = hugetlb_counts(page_bytes);
	uint64_t available = counts.free > counts.reserved ? counts.free - counts.reserved : 0;

	return n_pages <= available || hugetlb_raise(page_bytes, n_pages - available);
}

void hugetlb_need(uint64_t page_bytes, uint64_t n_pages)
{
	uint64_t unit_bytes = page_bytes % GIB == 0 ? GIB : MIB;

	if (!hugetlb_has(page_bytes)) {
		/* ./check knows this sentence. */
		fprintf(stderr, "absent: the kernel has no pages of %" PRIu64 " %s\n",
			page_bytes / unit_bytes, unit_bytes == GIB ? "GiB" : "MiB");
		skip();
	}
	if (!hugetlb_lock() || !hugetlb_top_up(page_bytes, n_pages))
		skip_for_want_of_pages();
}

/* In the child. Returns when the leash is let go. */
static void pin_and_wait(int fd, uint64_t page_bytes, int leash_fd)
{
	struct io_uring_params params = {0};
	struct iovec buffer = {.iov_len = 4096};
	char word = 'p';
	int ring_fd;

	buffer.iov_base = mmap(NULL, page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ring_fd = (int)syscall(SYS_io_uring_setup, 4, &params);
	if (buffer.iov_base == MAP_FAILED || ring_fd < 0 ||
	    syscall(SYS_io_uring_register, ring_fd, IORING_REGISTER_BUFFERS, &buffer, 1) < 0)
		return;
	munmap(buffer.iov_base, page_bytes);
	close(fd);
	if (write(leash_fd, &word, 1) == 1)
		(void)!read(leash_fd, &word, 1);
}

bool hugetlb_pin(int fd, uint64_t page_bytes, struct hugetlb_pinner *ret)
{
	int leash[2];
	char word;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, leash) < 0)
		return false;
	ret->pid = fork();
	if (ret->pid == 0) {
		close(leash[0]);
		pin_and_wait(fd, page_bytes, leash[1]);
		_exit(0);
	}
	close(leash[1]);
	ret->leash_fd = leash[0];
	if (ret->pid > 0 && read(leash[0], &word, 1) == 1)
		return true;
	hugetlb_unpin(ret);
	return false;
}

void hugetlb_unpin(struct hugetlb_pinner *pinner)
{
	close(pinner->leash_fd);
	if (pinner->pid > 0)
		waitpid(pinner->pid, NULL, 0);
}

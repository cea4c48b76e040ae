/* test_backing.c - backings on the real kernel, and the kernel facts that they stand on.
 *
 * The counters in /sys prove where pages are; tests that read them take turns with other test programs, and
 * raise nr_hugepages by what they need themselves. Clients are mappings of our own, or forked children that
 * _exit().
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/backing/backing.h"
#include "daemon/backing/balance.h"
#include "daemon/backing/clear.h"
#include "daemon/backing/guard.h"
#include "daemon/backing/mapping.h"
#include "daemon/base/clock.h"
#include "tests/support/hugetlb.h"

#define KIB4 UINT64_C(4096)
#define MIB2 (UINT64_C(2) << 20)
#define GIB1 (UINT64_C(1) << 30)

#define NOBODY      65534
#define DEADLINE_NS (10 * NS_PER_S)

static char scratch[] = "/tmp/hugepool-test-XXXXXX"; /* a private directory, for all tests */

/* What every test needs */

static void skip_because(const char *reason)
{
	fprintf(stderr, "SKIPPED: %s\n", reason);
	skip();
}

static void need_root(void)
{
	if (geteuid() != 0)
		skip_because("only root can mount and change its uid");
}

static int teardown(void **state)
{
	backing_give_back_raised();
	hugetlb_unlock();
	return 0;
}

static uint64_t free_pages(void)
{
	return hugetlb_counts(MIB2).free;
}

static struct backing_config memfd_config(uint64_t page_bytes)
{
	return (struct backing_config){
		.kind = BACKING_MEMFD, .node = -1, .name = "test", .page_bytes = page_bytes};
}

/* A mount of its own at SCRATCH/test. */
static struct backing_config mount_config(uint64_t max_pages)
{
	return (struct backing_config){.kind = BACKING_HUGETLBFS,
				       .node = -1,
				       .name = "test",
				       .page_bytes = MIB2,
				       .max_pages = max_pages,
				       .mount_parent = scratch};
}

static struct backing *new_backing(struct backing_config config)
{
	struct backing *backing;
	char *error;

	if (backing_new(&config, &backing, &error) < 0)
		fail_msg("%s", error);
	assert_null(error);
	return backing;
}

/* The sentence in which the configuration is refused. To be freed. */
static char *refusal(struct backing_config config, int expected)
{
	struct backing *backing;
	char *error;

	assert_int_equal(backing_new(&config, &backing, &error), expected);
	assert_non_null(error);
	return error;
}

static struct backing_file *new_file(struct backing *backing, uint64_t n_pages)
{
	struct backing_file *file;
	uint64_t missing = 0;
	int r;

	r = backing_file_new(backing, n_pages, -1, &file, &missing);
	if (r != 0)
		fail_msg("backing_file_new: %d, missing %" PRIu64, r, missing);
	return file;
}

static uint64_t release(struct backing_file *file)
{
	uint64_t limbo_pages;

	backing_file_release(file, true, &limbo_pages);
	return limbo_pages;
}

/* A client's mapping. */
static char *map(int fd, size_t bytes, int flags)
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

/* Run `play` in a child. Returns how it ended, as waitpid() has it. */
static int in_child(int (*play)(void *), void *argument)
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0)
		_exit(play(argument));
	assert_true(pid > 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void assert_played(int (*play)(void *), void *argument)
{
	int status = in_child(play, argument);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("the child failed at step %d", WEXITSTATUS(status));
}

/* In a child: leave with the number of the step that failed. */
#define STEP(number, condition)                                                                              \
	do {                                                                                                 \
		if (!(condition))                                                                            \
			return (number);                                                                     \
	} while (0)

static int become_nobody(void)
{
	/* /proc/self stays ours, so that a refusal is the file's and not /proc's. */
	return setresuid(NOBODY, NOBODY, NOBODY) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0;
}

/* Files */

static void backing_plain_file_is_zeroed_sealed_and_private(void **state)
{
	struct backing *backing = new_backing(memfd_config(KIB4));
	struct backing_file *file = new_file(backing, 16);
	int fd = backing_file_fd(file);
	struct stat status;
	char *client, seen[2 * KIB4];

	assert_int_equal(backing_page_bytes(backing), KIB4);
	assert_int_equal(backing_file_pages(file), 16);
	assert_int_equal(fstat(fd, &status), 0);
	assert_int_equal(status.st_size, 16 * KIB4);
	assert_int_equal(status.st_mode & 07777, 0600);
	assert_int_equal(fcntl(fd, F_GET_SEALS) & (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
			 F_SEAL_SEAL | F_SEAL_GROW);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);

	client = map(fd, 16 * KIB4, MAP_SHARED);
	for (size_t i = 0; i < 16 * KIB4; i++)
		assert_int_equal(client[i], 0);
	memset(client, 'x', 16 * KIB4);
	assert_int_equal(backing_file_zero(file, 1, 2), 0);
	assert_int_equal(backing_file_read(file, KIB4 / 2, seen, sizeof(seen)), 0);
	assert_int_equal(seen[KIB4 / 2 - 1], 'x');
	assert_int_equal(seen[KIB4 / 2], 0);
	assert_int_equal(seen[sizeof(seen) - 1], 0);
	assert_int_equal(client[3 * KIB4 - 1], 0);
	assert_int_equal(client[3 * KIB4], 'x');
	munmap(client, 16 * KIB4);

	assert_int_equal(backing_file_verify(file), 0);
	assert_int_equal(release(file), 0);
	assert_int_equal(backing_limbo_returned(backing), 0);
	assert_null(backing_free(backing));
}

static void backing_mapping_is_aligned_to_1g(void **state)
{
	struct backing *backing = new_backing(memfd_config(KIB4));
	struct backing_file *file = new_file(backing, 3);
	void *memory;

	assert_int_equal(mapping_new(backing_file_fd(file), 3 * KIB4, &memory), 0);
	assert_int_equal((uintptr_t)memory % GIB1, 0);
	mapping_free(memory, 3 * KIB4);
	release(file);
	backing_free(backing);
}

static void client_attacks_seals(uint64_t page_bytes)
{
	struct backing *backing = new_backing(memfd_config(page_bytes));
	struct backing_file *file = new_file(backing, 1);
	int fd = backing_file_fd(file);

	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 2 * (off_t)page_bytes), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)page_bytes, (off_t)page_bytes), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(backing_file_verify(file), 0);
	release(file);
	backing_free(backing);
}

static void backing_plain_memfd_client_cannot_grow_or_seal(void **state)
{
	client_attacks_seals(KIB4);
}

static void backing_huge_memfd_client_cannot_grow_or_seal(void **state)
{
	hugetlb_need(MIB2, 2);
	client_attacks_seals(MIB2);
}

static int reopen_as_nobody(void *argument)
{
	int ours = *(int *)argument;
	char path[64];
	int open_to_all;

	open_to_all = memfd_create("open-to-all", MFD_CLOEXEC);
	STEP(1, open_to_all >= 0 && fchmod(open_to_all, 0666) == 0 && become_nobody());
	snprintf(path, sizeof(path), "/proc/self/fd/%d", open_to_all);
	STEP(2, open(path, O_RDWR) >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", ours);
	STEP(3, open(path, O_RDWR) < 0 && errno == EACCES);
	STEP(4, open(path, O_RDONLY) < 0 && errno == EACCES);
	return 0;
}

static void backing_memfd_other_uid_cannot_reopen(void **state)
{
	struct backing *backing;
	struct backing_file *file;
	int fd;

	need_root();
	backing = new_backing(memfd_config(KIB4));
	file = new_file(backing, 1);
	fd = backing_file_fd(file);
	assert_played(reopen_as_nobody, &fd);
	release(file);
	backing_free(backing);
}

static void backing_own_mount_file_belongs_to_owner(void **state)
{
	struct backing_config config = mount_config(4);
	struct backing *backing;
	struct backing_file *file;
	struct stat status;
	char path[128];

	need_root();
	hugetlb_need(MIB2, 2);
	config.owner_uid = NOBODY;
	backing = new_backing(config);
	file = new_file(backing, 2);
	snprintf(path, sizeof(path), "%s/test/a1", scratch);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_uid, NOBODY);
	assert_int_equal(status.st_mode & 07777, 0600);
	snprintf(path, sizeof(path), "%s/test", scratch);
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 07777, 0711);
	assert_int_equal(release(file), 0);
	backing_free(backing);
	assert_int_equal(stat(path, &status), -1);
}

/* Whose pages are where */

static void pages_come_and_go(struct backing_config config, uint64_t n_pages)
{
	struct backing *backing = new_backing(config);
	struct hugetlb_counts before = hugetlb_counts(config.page_bytes);
	struct backing_file *file = new_file(backing, n_pages);

	assert_int_equal(hugetlb_counts(config.page_bytes).free, before.free - n_pages);
	assert_int_equal(backing_file_zero(file, 0, n_pages), 0);
	assert_int_equal(backing_file_verify(file), 0);
	assert_int_equal(hugetlb_counts(config.page_bytes).free, before.free - n_pages);
	assert_int_equal(release(file), 0);
	assert_int_equal(hugetlb_counts(config.page_bytes).free, before.free);
	backing_free(backing);
	assert_int_equal(hugetlb_counts(config.page_bytes).total, before.total);
}

static void backing_memfd_2m_pages_come_and_go(void **state)
{
	hugetlb_need(MIB2, 8);
	pages_come_and_go(memfd_config(MIB2), 8);
}

static void backing_memfd_1g_page_comes_and_goes(void **state)
{
	hugetlb_need(GIB1, 1);
	pages_come_and_go(memfd_config(GIB1), 1);
}

static void backing_own_mount_pages_come_and_go(void **state)
{
	need_root();
	hugetlb_need(MIB2, 8);
	pages_come_and_go(mount_config(8), 8);
}

static void backing_unlink_while_mapped_frees_nothing_truncate_does(void **state)
{
	struct backing *backing;
	struct backing_file *file;
	char path[128], *client;
	uint64_t before, taken;

	need_root();
	hugetlb_need(MIB2, 4);
	before = free_pages();
	backing = new_backing(mount_config(4));
	file = new_file(backing, 4);
	client = map(backing_file_fd(file), 4 * MIB2, MAP_SHARED);
	client[0] = 'x';
	taken = free_pages();
	assert_int_equal(taken, before - 4);

	snprintf(path, sizeof(path), "%s/test/a1", scratch);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(free_pages(), taken);

	assert_int_equal(release(file), 0);
	assert_int_equal(free_pages(), before);
	munmap(client, 4 * MIB2);
	backing_free(backing);
}

static void backing_private_copies_return_at_unmap(void **state)
{
	struct backing *backing;
	struct backing_file *file;
	uint64_t before;
	char *client;

	hugetlb_need(MIB2, 4);
	backing = new_backing(memfd_config(MIB2));
	file = new_file(backing, 2);
	before = free_pages();
	client = map(backing_file_fd(file), 2 * MIB2, MAP_PRIVATE);
	client[0] = client[MIB2] = 'x';
	assert_int_equal(free_pages(), before - 2);
	assert_int_equal(backing_file_verify(file), 0);
	munmap(client, 2 * MIB2);
	assert_int_equal(free_pages(), before);
	assert_int_equal(release(file), 0);
	assert_int_equal(free_pages(), before + 2);
	backing_free(backing);
}

/* Limbo */

static struct hugetlb_pinner pin(int fd)
{
	struct hugetlb_pinner pinner;

	if (!hugetlb_pin(fd, MIB2, &pinner))
		skip_because("no io_uring buffers here");
	return pinner;
}

/* The kernel takes a ring down some time after its process has ended. */
static uint64_t wait_for_return(struct backing *backing)
{
	uint64_t deadline = clock_now_ns() + DEADLINE_NS, returned;

	while ((returned = backing_limbo_returned(backing)) == 0 && clock_now_ns() < deadline)
		usleep(1000);
	return returned;
}

static void pin_and_release(struct backing_config config)
{
	uint64_t before = free_pages();
	struct backing *backing = new_backing(config);
	struct backing_file *file = new_file(backing, 4), *other = new_file(backing, 1);
	struct hugetlb_pinner pinner = pin(backing_file_fd(file));

	assert_int_equal(release(file), 1);
	assert_int_equal(free_pages(), before - 2);
	assert_int_equal(backing_limbo_returned(backing), 0);

	/* Pages of ours that come and go meanwhile are no return. */
	assert_int_equal(release(other), 0);
	assert_int_equal(release(new_file(backing, 2)), 0);
	assert_int_equal(backing_limbo_returned(backing), 0);

	hugetlb_unpin(&pinner);
	assert_int_equal(wait_for_return(backing), 1);
	assert_int_equal(backing_limbo_returned(backing), 0);
	assert_int_equal(free_pages(), before);
	backing_free(backing);
}

static void backing_memfd_pinned_page_is_in_limbo_until_it_goes(void **state)
{
	hugetlb_need(MIB2, 8);
	pin_and_release(memfd_config(MIB2));
}

static void backing_own_mount_pinned_page_is_in_limbo_until_it_goes(void **state)
{
	need_root();
	hugetlb_need(MIB2, 8);
	pin_and_release(mount_config(8));
}

static void backing_own_mount_limbo_ignores_other_programs(void **state)
{
	struct hugetlb_pinner pinner;
	struct backing_file *file;
	struct backing *backing;
	char *foreign;

	need_root();
	hugetlb_need(MIB2, 8);
	foreign = map(-1, 2 * MIB2, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE);
	backing = new_backing(mount_config(4));
	file = new_file(backing, 2);
	pinner = pin(backing_file_fd(file));
	assert_int_equal(release(file), 1);
	munmap(foreign, 2 * MIB2);
	assert_int_equal(backing_limbo_returned(backing), 0);
	hugetlb_unpin(&pinner);
	assert_int_equal(wait_for_return(backing), 1);
	backing_free(backing);
}

static void backing_unexposed_file_is_not_watched(void **state)
{
	uint64_t limbo_pages = 7, deadline = clock_now_ns() + DEADLINE_NS, before;
	struct hugetlb_pinner pinner;
	struct backing_file *file;
	struct backing *backing;

	hugetlb_need(MIB2, 2);
	before = free_pages();
	backing = new_backing(memfd_config(MIB2));
	file = new_file(backing, 2);
	pinner = pin(backing_file_fd(file));
	backing_file_release(file, false, &limbo_pages);
	assert_int_equal(limbo_pages, 0);
	hugetlb_unpin(&pinner);
	while (free_pages() < before && clock_now_ns() < deadline)
		usleep(1000);
	assert_int_equal(free_pages(), before);
	assert_int_equal(backing_limbo_returned(backing), 0);
	backing_free(backing);
}

static void balance_foreign_pages_come_and_go_nothing_returns(void **state)
{
	struct balance balance = {0};
	struct limbo limbo;

	balance_add(&balance, &limbo);
	balance_gain(&balance, 10);
	assert_int_equal(balance_lose_watched(&balance, &limbo, 10, 15, 8), 3); /* 5 foreign, 3 in limbo */
	balance_settle(&balance, 20);
	balance_settle(&balance, 8);
	assert_int_equal(limbo.returned_pages, 0);
	balance_settle(&balance, 6);
	assert_int_equal(limbo.returned_pages, 2);
	balance_settle(&balance, 9);
	balance_settle(&balance, 6);
	assert_int_equal(limbo.returned_pages, 2);
	balance_settle(&balance, 0);
	assert_int_equal(limbo.returned_pages, 3);
	assert_int_equal(balance.limbo_pages, 0);
}

static void balance_return_goes_to_oldest_first(void **state)
{
	struct balance balance = {0};
	struct limbo old, young;

	balance_add(&balance, &old);
	balance_add(&balance, &young);
	balance_gain(&balance, 4);
	assert_int_equal(balance_lose_watched(&balance, &young, 2, 4, 4), 2);
	assert_int_equal(balance_lose_watched(&balance, &old, 2, 4, 4), 2);
	balance_settle(&balance, 1);
	assert_int_equal(old.returned_pages, 2);
	assert_int_equal(young.returned_pages, 1);
	balance_remove(&balance, &young);
	assert_int_equal(balance.limbo_pages, 0);
}

static void balance_copies_dropped_by_truncation_are_no_return(void **state)
{
	struct balance balance = {0};
	struct limbo limbo;

	balance_add(&balance, &limbo);
	balance_gain(&balance, 4);
	assert_int_equal(balance_lose_watched(&balance, &limbo, 2, 4, 3), 1);
	assert_int_equal(balance_lose_watched(&balance, &limbo, 2, 6, 1), 0); /* 2 pages and 3 copies */
	balance_settle(&balance, 1);
	assert_int_equal(limbo.returned_pages, 0);
	balance_settle(&balance, 0);
	assert_int_equal(limbo.returned_pages, 1);
}

/* A client that unmapped a file while it was truncated lets go of its pages while the next one is. */
static void balance_return_during_a_truncation_is_a_return(void **state)
{
	struct balance balance = {0};
	struct limbo limbo;

	balance_add(&balance, &limbo);
	balance_gain(&balance, 7);
	assert_int_equal(balance_lose_watched(&balance, &limbo, 3, 12, 12), 3); /* 5 foreign */
	assert_int_equal(balance_lose_watched(&balance, &limbo, 4, 12, 5), 0);
	assert_int_equal(limbo.returned_pages, 3);
	assert_int_equal(balance.limbo_pages, 0);
}

/* When pages are short */

static void backing_kernel_short_takes_nothing(void **state)
{
	struct backing *backing;
	struct backing_file *file = NULL;
	struct hugetlb_counts before, after;
	uint64_t missing = 0;

	hugetlb_need(MIB2, 4);
	backing = new_backing(memfd_config(MIB2));
	before = hugetlb_counts(MIB2);
	assert_int_equal(backing_file_new(backing, before.free + 3, -1, &file, &missing), BACKING_SHORT);
	assert_int_equal(missing, 3 + before.reserved);
	after = hugetlb_counts(MIB2);
	assert_memory_equal(&before, &after, sizeof(before));
	backing_free(backing);
}

static void backing_grow_raises_and_gives_back(void **state)
{
	struct backing_config config = memfd_config(MIB2);
	struct backing_kernel_counts counts;
	struct hugetlb_counts before;
	struct backing *backing;
	struct backing_file *file;

	hugetlb_need(MIB2, 4);
	config.grow = true;
	backing = new_backing(config);
	before = hugetlb_counts(MIB2);
	file = new_file(backing, before.free + 2);
	assert_int_equal(hugetlb_counts(MIB2).total, before.total + 2 + before.reserved);
	assert_int_equal(backing_kernel_counts(MIB2, &counts), 0);
	assert_int_equal(counts.raised_pages, 2 + before.reserved);
	assert_int_equal(counts.total_pages, before.total + counts.raised_pages);
	assert_int_equal(counts.free_pages, hugetlb_counts(MIB2).free);
	assert_int_equal(release(file), 0);
	backing_free(backing);

	assert_int_equal(backing_give_back_raised(), 0);
	assert_int_equal(hugetlb_counts(MIB2).total, before.total);
	assert_int_equal(hugetlb_counts(MIB2).free, before.free);
	assert_int_equal(backing_kernel_counts(MIB2, &counts), 0);
	assert_int_equal(counts.raised_pages, 0);
}

static void backing_grow_beyond_memory_changes_nothing(void **state)
{
	struct backing_config config = memfd_config(MIB2);
	struct backing_file *file;
	struct hugetlb_counts before, after;
	struct backing *backing;
	uint64_t missing = 0;

	hugetlb_need(MIB2, 1);
	config.grow = true;
	backing = new_backing(config);
	before = hugetlb_counts(MIB2);
	assert_int_equal(backing_file_new(backing, UINT64_C(1) << 24, -1, &file, &missing), BACKING_SHORT);
	assert_true(missing > 0);
	after = hugetlb_counts(MIB2);
	assert_memory_equal(&before, &after, sizeof(before));
	backing_free(backing);
}

static void backing_grow_that_does_not_help_is_given_back(void **state)
{
	struct backing_config config = mount_config(4);
	struct backing_file *file;
	struct hugetlb_counts before, after;
	struct backing *backing;
	uint64_t missing = 0;

	need_root();
	hugetlb_need(MIB2, 4);
	config.grow = true;
	backing = new_backing(config);
	before = hugetlb_counts(MIB2);
	/* The mount's size= is what is short, and no nr_hugepages changes that. */
	assert_int_equal(backing_file_new(backing, 6, -1, &file, &missing), BACKING_SHORT);
	assert_int_equal(missing, 2);
	after = hugetlb_counts(MIB2);
	assert_memory_equal(&before, &after, sizeof(before));
	backing_free(backing);
}

static int grow_as_nobody(void *argument)
{
	struct backing_file *file;
	uint64_t missing = 0, wanted = free_pages() + 1;

	STEP(1, become_nobody());
	STEP(2, backing_file_new(argument, wanted, -1, &file, &missing) == BACKING_SHORT && missing >= 1);
	return 0;
}

static void backing_grow_without_privilege_is_short(void **state)
{
	struct backing_config config = memfd_config(MIB2);
	struct backing *backing;

	need_root();
	hugetlb_need(MIB2, 1);
	config.grow = true;
	backing = new_backing(config);
	assert_played(grow_as_nobody, backing);
	backing_free(backing);
}

static void set_nr_hugepages(uint64_t n_pages)
{
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "we");

	assert_non_null(file);
	fprintf(file, "%" PRIu64, n_pages);
	assert_int_equal(fclose(file), 0);
}

static void backing_give_back_is_relative_to_what_others_set(void **state)
{
	struct backing_config config = memfd_config(MIB2);
	struct hugetlb_counts before;
	struct backing *backing;

	hugetlb_need(MIB2, 2);
	config.grow = true;
	backing = new_backing(config);
	before = hugetlb_counts(MIB2);
	release(new_file(backing, before.free + 2));
	set_nr_hugepages(hugetlb_counts(MIB2).total + 3);
	assert_int_equal(backing_give_back_raised(), 0);
	assert_int_equal(hugetlb_counts(MIB2).total, before.total + 3);
	set_nr_hugepages(before.total);
	backing_free(backing);
}

static void backing_give_back_leaves_pages_in_use_as_surplus(void **state)
{
	struct backing_config config = memfd_config(MIB2);
	struct hugetlb_counts before;
	struct backing_file *file;
	struct backing *backing;

	hugetlb_need(MIB2, 2);
	config.grow = true;
	backing = new_backing(config);
	before = hugetlb_counts(MIB2);
	file = new_file(backing, before.free + 2);
	assert_int_equal(backing_give_back_raised(), 2 + before.reserved);
	assert_int_equal(hugetlb_counts(MIB2).surplus, before.surplus + 2);
	assert_int_equal(backing_file_verify(file), 0);
	assert_int_equal(release(file), 0); /* though the free counter does not show them come back */
	assert_int_equal(hugetlb_counts(MIB2).total, before.total);
	assert_int_equal(hugetlb_counts(MIB2).surplus, before.surplus);
	backing_free(backing);
}

static void backing_own_mount_reserve_is_kept_and_grown(void **state)
{
	struct backing_config config;
	struct hugetlb_counts before;
	struct backing *backing;
	char *error;

	need_root();
	hugetlb_need(MIB2, 2);
	before = hugetlb_counts(MIB2);
	config = mount_config(before.free + 4);
	config.reserve_pages = before.free - before.reserved + 2;

	error = refusal(config, -ENOMEM);
	assert_non_null(strstr(error, "lacks 2 of them: raise nr_hugepages by as many"));
	free(error);

	config.grow = true;
	backing = new_backing(config);
	assert_int_equal(hugetlb_counts(MIB2).total, before.total + 2);
	assert_int_equal(hugetlb_counts(MIB2).reserved, before.reserved + config.reserve_pages);
	assert_int_equal(release(new_file(backing, config.reserve_pages)), 0);
	backing_free(backing);
	assert_int_equal(hugetlb_counts(MIB2).reserved, before.reserved);
	assert_int_equal(backing_give_back_raised(), 0);
	assert_int_equal(hugetlb_counts(MIB2).total, before.total);
}

/* What is refused */

static void backing_page_size_unknown_to_kernel_is_refused_by_name(void **state)
{
	char *error = refusal(memfd_config(3 << 20), -EINVAL);
	struct backing_kernel_counts counts;

	assert_non_null(strstr(error, "3M"));
	assert_non_null(strstr(error, "4K"));
	free(error);
	assert_int_equal(backing_kernel_counts(3 << 20, &counts), -EINVAL);
	assert_int_equal(backing_kernel_counts(KIB4, &counts), 0);
	assert_int_equal(counts.total_pages, 0);
}

static int mount_as_nobody(void *argument)
{
	struct backing_config config = mount_config(4);
	struct backing *backing;
	char *error;

	STEP(1, become_nobody());
	STEP(2, backing_new(&config, &backing, &error) < 0);
	STEP(3, error && strstr(error, scratch) && strstr(error, "CAP_SYS_ADMIN"));
	free(error);
	return 0;
}

static void backing_own_mount_without_privilege_is_refused(void **state)
{
	need_root();
	hugetlb_need(MIB2, 0);
	assert_int_equal(chmod(scratch, 0777), 0);
	assert_played(mount_as_nobody, NULL);
	assert_int_equal(chmod(scratch, 0700), 0);
}

/* Directories and mounts of others */

static void mount_given(const char *path)
{
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(mount("hugetlbfs", path, "hugetlbfs", 0, "pagesize=2M"), 0);
}

static void unmount_given(const char *path)
{
	assert_int_equal(umount(path), 0); /* EBUSY if anything of ours were left there */
	assert_int_equal(rmdir(path), 0);
}

static struct backing_config given_config(const char *path)
{
	return (struct backing_config){
		.kind = BACKING_HUGETLBFS, .node = -1, .name = "test", .page_bytes = MIB2, .directory = path};
}

/* Dies like a daemon that is killed: with a file, and its backing, in place. */
static int leave_file_behind(void *argument)
{
	const struct backing_config *config = argument;
	struct backing_file *file;
	struct backing *backing;
	uint64_t missing;
	char *error;

	STEP(1, backing_new(config, &backing, &error) == 0);
	STEP(2, backing_file_new(backing, 2, -1, &file, &missing) == 0);
	return 0;
}

static void backing_given_directory_clears_dead_daemons_files_only(void **state)
{
	struct backing *living, *backing;
	struct backing_config config;
	struct backing_file *file;
	uint64_t before;
	char path[128], foreign[160];
	int fd;

	need_root();
	hugetlb_need(MIB2, 8);
	snprintf(path, sizeof(path), "%s/given", scratch);
	snprintf(foreign, sizeof(foreign), "%s/hugepool-1-1.not", path);
	mount_given(path);
	config = given_config(path);
	fd = open(foreign, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);

	before = free_pages();
	living = new_backing(config);
	file = new_file(living, 2);
	assert_int_equal(free_pages(), before - 2);
	assert_played(leave_file_behind, &config);
	assert_int_equal(free_pages(), before - 4);

	backing = new_backing(config);
	assert_int_equal(free_pages(), before - 2);
	assert_int_equal(backing_file_verify(file), 0);
	assert_int_equal(unlink(foreign), 0);
	backing_free(backing);
	assert_int_equal(release(file), 0);
	backing_free(living);
	assert_int_equal(free_pages(), before);
	unmount_given(path);
}

static void backing_given_directory_of_wrong_kind_is_refused_by_name(void **state)
{
	char *error;

	hugetlb_need(MIB2, 0);
	error = refusal(given_config(scratch), -EINVAL);
	assert_non_null(strstr(error, "not on a hugetlbfs"));
	free(error);
}

static void backing_given_directory_of_wrong_page_size_is_refused_by_name(void **state)
{
	struct backing_config config;
	char path[128], *error;

	need_root();
	hugetlb_need(GIB1, 0);
	snprintf(path, sizeof(path), "%s/given", scratch);
	mount_given(path);
	config = given_config(path);
	config.page_bytes = GIB1;
	error = refusal(config, -EINVAL);
	assert_non_null(strstr(error, "has pages of 2M and the pool wants pages of 1G"));
	free(error);
	unmount_given(path);
}

static void backing_stale_mount_is_detached_and_its_pages_return(void **state)
{
	struct backing_config config = mount_config(4);
	struct backing *backing;
	uint64_t before;
	char path[128];

	need_root();
	hugetlb_need(MIB2, 4);
	before = free_pages();
	assert_played(leave_file_behind, &config);
	assert_int_equal(free_pages(), before - 2);
	backing = new_backing(config);
	assert_int_equal(free_pages(), before);
	assert_int_equal(release(new_file(backing, 4)), 0);
	backing_free(backing);
	snprintf(path, sizeof(path), "%s/test", scratch);
	assert_int_equal(access(path, F_OK), -1);
}

static void backing_stale_mount_client_keeps_its_file_only(void **state)
{
	struct backing_config config = mount_config(8);
	struct backing *backing;
	char path[128], *client;
	uint64_t before;
	int fd;

	need_root();
	hugetlb_need(MIB2, 4);
	before = free_pages();
	assert_played(leave_file_behind, &config);
	snprintf(path, sizeof(path), "%s/test/a1", scratch);
	fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	client = map(fd, 2 * MIB2, MAP_SHARED);
	close(fd);
	snprintf(path, sizeof(path), "%s/test/a2", scratch);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(fallocate(fd, 0, 0, 2 * MIB2), 0);
	close(fd);
	assert_int_equal(free_pages(), before - 4);

	backing = new_backing(config);
	assert_int_equal(free_pages(), before - 2);
	client[0] = 'x';
	munmap(client, 2 * MIB2);
	assert_int_equal(free_pages(), before);
	backing_free(backing);
}

/* Damage */

static void punch(struct backing_file *file, uint64_t page, uint64_t page_bytes)
{
	assert_int_equal(fallocate(backing_file_fd(file), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)(page * page_bytes), (off_t)page_bytes),
			 0);
}

static void damage_is_detected(uint64_t page_bytes)
{
	struct backing *backing = new_backing(memfd_config(page_bytes));
	struct backing_file *file = new_file(backing, 2);
	int fd;
	char byte;

	punch(file, 0, page_bytes);
	assert_int_equal(backing_file_verify(file), BACKING_DAMAGED);
	assert_int_equal(release(file), 0);

	file = new_file(backing, 2);
	fd = backing_file_fd(file);
	assert_int_equal(ftruncate(fd, (off_t)page_bytes), 0);
	assert_int_equal(backing_file_verify(file), BACKING_DAMAGED);
	assert_int_equal(backing_file_zero(file, 0, 1), 0);
	assert_int_equal(backing_file_zero(file, 0, 2), BACKING_DAMAGED);
	assert_int_equal(backing_file_read(file, 0, &byte, 1), 0);
	assert_int_equal(backing_file_read(file, page_bytes, &byte, 1), BACKING_DAMAGED);
	assert_int_equal(release(file), 0);
	backing_free(backing);
}

static void backing_plain_file_damage_is_detected(void **state)
{
	damage_is_detected(KIB4);
}

static void backing_huge_file_damage_is_detected(void **state)
{
	hugetlb_need(MIB2, 4);
	damage_is_detected(MIB2);
}

/* Its page came back when it was punched, whatever else is in use: hidden if nothing else is. */
static void backing_punched_pages_are_not_in_limbo(void **state)
{
	struct backing *backing;
	struct backing_file *file;
	uint64_t limbo_pages;
	char *foreign;

	hugetlb_need(MIB2, 6);
	foreign = mmap(NULL, 2 * MIB2, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE, -1, 0);
	assert_true(foreign != MAP_FAILED);
	backing = new_backing(memfd_config(MIB2));
	file = new_file(backing, 4);
	punch(file, 0, MIB2);
	backing_file_trim(file, 3, true, &limbo_pages);
	assert_int_equal(limbo_pages, 0);
	punch(file, 1, MIB2);
	assert_int_equal(release(file), 0);
	assert_int_equal(backing_limbo_returned(backing), 0);
	backing_free(backing);
	munmap(foreign, 2 * MIB2);
}

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
	struct backing *backing = new_backing(memfd_config(KIB4));
	struct zeroer zeroers[N_ZEROERS] = {0};
	uint64_t deadline = clock_now_ns() + DEADLINE_NS;
	void *complaint;

	/* Two threads to a file, and the cut is in the first one's half. */
	for (unsigned i = 0; i < N_ZEROERS; i++) {
		zeroers[i].file = i % 2 ? zeroers[i - 1].file : new_file(backing, 1024);
		zeroers[i].first = i % 2 * 512;
		assert_int_equal(pthread_create(&zeroers[i].thread, NULL, zero_until_damaged, &zeroers[i]),
				 0);
	}
	for (unsigned i = 0; i < N_ZEROERS; i++)
		while (zeroers[i].n_zeroed < 3 && clock_now_ns() < deadline)
			usleep(100);
	for (unsigned i = 0; i < N_ZEROERS; i += 2)
		assert_int_equal(ftruncate(backing_file_fd(zeroers[i].file), 256 * KIB4), 0);
	for (unsigned i = 0; i < N_ZEROERS; i++) {
		assert_int_equal(pthread_join(zeroers[i].thread, &complaint), 0);
		assert_null(complaint);
		assert_true(zeroers[i].n_zeroed >= 3);
	}
	for (unsigned i = 0; i < N_ZEROERS; i += 2)
		release(zeroers[i].file);
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

	status = in_child(fault_unguarded, NULL);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
	status = in_child(send_sigbus, NULL);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
}

#define TEST(function) cmocka_unit_test_teardown(function, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(backing_plain_file_is_zeroed_sealed_and_private),
		TEST(backing_mapping_is_aligned_to_1g),
		TEST(backing_plain_memfd_client_cannot_grow_or_seal),
		TEST(backing_huge_memfd_client_cannot_grow_or_seal),
		TEST(backing_memfd_other_uid_cannot_reopen),
		TEST(backing_own_mount_file_belongs_to_owner),
		TEST(backing_memfd_2m_pages_come_and_go),
		TEST(backing_memfd_1g_page_comes_and_goes),
		TEST(backing_own_mount_pages_come_and_go),
		TEST(backing_unlink_while_mapped_frees_nothing_truncate_does),
		TEST(backing_private_copies_return_at_unmap),
		TEST(backing_memfd_pinned_page_is_in_limbo_until_it_goes),
		TEST(backing_own_mount_pinned_page_is_in_limbo_until_it_goes),
		TEST(backing_own_mount_limbo_ignores_other_programs),
		TEST(backing_unexposed_file_is_not_watched),
		TEST(balance_foreign_pages_come_and_go_nothing_returns),
		TEST(balance_return_goes_to_oldest_first),
		TEST(balance_copies_dropped_by_truncation_are_no_return),
		TEST(balance_return_during_a_truncation_is_a_return),
		TEST(backing_kernel_short_takes_nothing),
		TEST(backing_grow_raises_and_gives_back),
		TEST(backing_grow_beyond_memory_changes_nothing),
		TEST(backing_grow_that_does_not_help_is_given_back),
		TEST(backing_grow_without_privilege_is_short),
		TEST(backing_give_back_is_relative_to_what_others_set),
		TEST(backing_give_back_leaves_pages_in_use_as_surplus),
		TEST(backing_own_mount_reserve_is_kept_and_grown),
		TEST(backing_page_size_unknown_to_kernel_is_refused_by_name),
		TEST(backing_own_mount_without_privilege_is_refused),
		TEST(backing_given_directory_clears_dead_daemons_files_only),
		TEST(backing_given_directory_of_wrong_kind_is_refused_by_name),
		TEST(backing_given_directory_of_wrong_page_size_is_refused_by_name),
		TEST(backing_stale_mount_is_detached_and_its_pages_return),
		TEST(backing_stale_mount_client_keeps_its_file_only),
		TEST(backing_plain_file_damage_is_detected),
		TEST(backing_huge_file_damage_is_detected),
		TEST(backing_punched_pages_are_not_in_limbo),
		TEST(backing_truncated_under_many_zeroers_all_survive),
		TEST(clear_pages_zeroes_exactly_these),
		TEST(guard_sigbus_of_others_kills),
	};
	int n_failed;

	if (!mkdtemp(scratch)) {
		perror(scratch);
		return 1;
	}
	n_failed = cmocka_run_group_tests_name("backing", tests, NULL, NULL);
	rmdir(scratch);
	return n_failed;
}

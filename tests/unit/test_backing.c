/* test_backing.c - backings on the real kernel: their files, whose pages are where, limbo, damage.
 *
 * The counters in /sys prove where pages are. Clients are mappings of our own, or forked children that
 * _exit().
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/backing/mapping.h"
#include "tests/support/wait.h"
#include "tests/unit/backing_scene.h"

static void backing_plain_file_is_zeroed_sealed_and_private(void **state)
{
	struct backing *backing = scene_new_backing(scene_memfd_config(KIB4));
	struct backing_file *file = scene_new_file(backing, 16);
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

	client = scene_map(fd, 16 * KIB4, MAP_SHARED);
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

	assert_int_equal(backing_file_verify(file, 0, backing_file_pages(file)), 0);
	assert_int_equal(scene_release(file), 0);
	assert_int_equal(backing_limbo_returned(backing), 0);
	assert_null(backing_free(backing));
}

static void backing_mapping_is_aligned_to_1g(void **state)
{
	struct backing *backing = scene_new_backing(scene_memfd_config(KIB4));
	struct backing_file *file = scene_new_file(backing, 3);
	void *memory;

	assert_int_equal(mapping_new(backing_file_fd(file), 3 * KIB4, &memory), 0);
	assert_int_equal((uintptr_t)memory % GIB1, 0);
	mapping_free(memory, 3 * KIB4);
	scene_release(file);
	backing_free(backing);
}

/* Scattered runs by one call, and nothing between them; if the file was cut under one of them, it says so. */
static void backing_zero_runs_zeroes_exactly_these(void **state)
{
	static const struct backing_run runs[] = {{1, 2}, {4, 1}, {6, 3}};
	struct backing *backing = scene_new_backing(scene_memfd_config(KIB4));
	struct backing_file *file = scene_new_file(backing, 10);
	char *client = scene_map(backing_file_fd(file), 10 * KIB4, MAP_SHARED);

	memset(client, 'x', 10 * KIB4);
	assert_int_equal(backing_file_zero_runs(file, runs, 3, NULL), 0);
	for (uint64_t page = 0; page < 10; page++) {
		bool is_zeroed = page == 1 || page == 2 || page == 4 || page >= 6;

		for (uint64_t byte = 0; byte < KIB4 && page < 9; byte++)
			assert_int_equal(client[page * KIB4 + byte], is_zeroed ? 0 : 'x');
	}
	assert_int_equal(client[9 * KIB4], 'x');
	munmap(client, 10 * KIB4);
	assert_int_equal(ftruncate(backing_file_fd(file), 8 * KIB4), 0);
	assert_int_equal(backing_file_zero_runs(file, runs, 2, NULL), 0);
	assert_int_equal(backing_file_zero_runs(file, runs, 3, NULL), BACKING_DAMAGED);
	scene_release(file);
	backing_free(backing);
}

static void client_attacks_seals(uint64_t page_bytes)
{
	struct backing *backing = scene_new_backing(scene_memfd_config(page_bytes));
	struct backing_file *file = scene_new_file(backing, 1);
	int fd = backing_file_fd(file);

	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 2 * (off_t)page_bytes), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)page_bytes, (off_t)page_bytes), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(backing_file_verify(file, 0, backing_file_pages(file)), 0);
	scene_release(file);
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
	STEP(1, open_to_all >= 0 && fchmod(open_to_all, 0666) == 0 && scene_become_nobody());
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

	scene_need_root();
	backing = scene_new_backing(scene_memfd_config(KIB4));
	file = scene_new_file(backing, 1);
	fd = backing_file_fd(file);
	scene_assert_played(reopen_as_nobody, &fd);
	scene_release(file);
	backing_free(backing);
}

/* ---- whose pages are where ---- */

static void pages_come_and_go(struct backing_config config, uint64_t n_pages)
{
	struct backing *backing = scene_new_backing(config);
	struct hugetlb_counts before = hugetlb_counts(config.page_bytes);
	struct backing_file *file = scene_new_file(backing, n_pages);

	assert_int_equal(hugetlb_counts(config.page_bytes).free, before.free - n_pages);
	assert_int_equal(backing_file_zero(file, 0, n_pages), 0);
	assert_int_equal(backing_file_verify(file, 0, backing_file_pages(file)), 0);
	assert_int_equal(hugetlb_counts(config.page_bytes).free, before.free - n_pages);
	assert_int_equal(scene_release(file), 0);
	assert_int_equal(hugetlb_counts(config.page_bytes).free, before.free);
	backing_free(backing);
	assert_int_equal(hugetlb_counts(config.page_bytes).total, before.total);
}

static void backing_memfd_2m_pages_come_and_go(void **state)
{
	hugetlb_need(MIB2, 8);
	pages_come_and_go(scene_memfd_config(MIB2), 8);
}

static void backing_memfd_1g_page_comes_and_goes(void **state)
{
	hugetlb_need(GIB1, 1);
	pages_come_and_go(scene_memfd_config(GIB1), 1);
}

static void backing_own_mount_pages_come_and_go(void **state)
{
	scene_need_root();
	hugetlb_need(MIB2, 8);
	pages_come_and_go(scene_mount_config(8), 8);
}

static void backing_unlink_while_mapped_frees_nothing_truncate_does(void **state)
{
	struct backing *backing;
	struct backing_file *file;
	char path[128], *client;
	uint64_t before, taken;

	scene_need_root();
	hugetlb_need(MIB2, 4);
	before = scene_free_pages();
	backing = scene_new_backing(scene_mount_config(4));
	file = scene_new_file(backing, 4);
	client = scene_map(backing_file_fd(file), 4 * MIB2, MAP_SHARED);
	client[0] = 'x';
	taken = scene_free_pages();
	assert_int_equal(taken, before - 4);

	snprintf(path, sizeof(path), "%s/test/a1", scene_scratch);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(scene_free_pages(), taken);

	assert_int_equal(scene_release(file), 0);
	assert_int_equal(scene_free_pages(), before);
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
	backing = scene_new_backing(scene_memfd_config(MIB2));
	file = scene_new_file(backing, 2);
	before = scene_free_pages();
	client = scene_map(backing_file_fd(file), 2 * MIB2, MAP_PRIVATE);
	client[0] = client[MIB2] = 'x';
	assert_int_equal(scene_free_pages(), before - 2);
	assert_int_equal(backing_file_verify(file, 0, backing_file_pages(file)), 0);
	munmap(client, 2 * MIB2);
	assert_int_equal(scene_free_pages(), before);
	assert_int_equal(scene_release(file), 0);
	assert_int_equal(scene_free_pages(), before + 2);
	backing_free(backing);
}

/* ---- limbo ---- */

static struct hugetlb_pinner pin(int fd)
{
	struct hugetlb_pinner pinner;

	if (!hugetlb_pin(fd, MIB2, &pinner))
		scene_skip("no io_uring buffers here");
	return pinner;
}

/* The kernel takes a ring down some time after its process has ended. */
static uint64_t wait_for_return(struct backing *backing)
{
	uint64_t returned = 0;

	assert_true(wait_for((returned = backing_limbo_returned(backing)) > 0));
	return returned;
}

static void pin_and_release(struct backing_config config)
{
	uint64_t before = scene_free_pages();
	struct backing *backing = scene_new_backing(config);
	struct backing_file *file = scene_new_file(backing, 4), *other = scene_new_file(backing, 1);
	struct hugetlb_pinner pinner = pin(backing_file_fd(file));

	assert_int_equal(scene_release(file), 1);
	assert_int_equal(scene_free_pages(), before - 2);
	assert_int_equal(backing_limbo_returned(backing), 0);

	/* Pages of ours that come and go meanwhile are no return. */
	assert_int_equal(scene_release(other), 0);
	assert_int_equal(scene_release(scene_new_file(backing, 2)), 0);
	assert_int_equal(backing_limbo_returned(backing), 0);

	hugetlb_unpin(&pinner);
	assert_int_equal(wait_for_return(backing), 1);
	assert_int_equal(backing_limbo_returned(backing), 0);
	assert_int_equal(scene_free_pages(), before);
	backing_free(backing);
}

static void backing_memfd_pinned_page_is_in_limbo_until_it_goes(void **state)
{
	hugetlb_need(MIB2, 8);
	pin_and_release(scene_memfd_config(MIB2));
}

static void backing_own_mount_pinned_page_is_in_limbo_until_it_goes(void **state)
{
	scene_need_root();
	hugetlb_need(MIB2, 8);
	pin_and_release(scene_mount_config(8));
}

static void backing_own_mount_limbo_ignores_other_programs(void **state)
{
	struct hugetlb_pinner pinner;
	struct backing_file *file;
	struct backing *backing;
	char *foreign;

	scene_need_root();
	hugetlb_need(MIB2, 8);
	foreign = scene_map(-1, 2 * MIB2, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE);
	backing = scene_new_backing(scene_mount_config(4));
	file = scene_new_file(backing, 2);
	pinner = pin(backing_file_fd(file));
	assert_int_equal(scene_release(file), 1);
	munmap(foreign, 2 * MIB2);
	assert_int_equal(backing_limbo_returned(backing), 0);
	hugetlb_unpin(&pinner);
	assert_int_equal(wait_for_return(backing), 1);
	backing_free(backing);
}

static void backing_unexposed_file_is_not_watched(void **state)
{
	uint64_t limbo_pages = 7, before;
	struct hugetlb_pinner pinner;
	struct backing_file *file;
	struct backing *backing;

	hugetlb_need(MIB2, 2);
	before = scene_free_pages();
	backing = scene_new_backing(scene_memfd_config(MIB2));
	file = scene_new_file(backing, 2);
	pinner = pin(backing_file_fd(file));
	backing_file_release(file, false, &limbo_pages);
	assert_int_equal(limbo_pages, 0);
	hugetlb_unpin(&pinner);
	assert_true(wait_for(scene_free_pages() >= before));
	assert_int_equal(scene_free_pages(), before);
	assert_int_equal(backing_limbo_returned(backing), 0);
	backing_free(backing);
}

/* ---- damage ---- */

static void punch(struct backing_file *file, uint64_t page, uint64_t page_bytes)
{
	assert_int_equal(fallocate(backing_file_fd(file), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				   (off_t)(page * page_bytes), (off_t)page_bytes),
			 0);
}

static void damage_is_detected(uint64_t page_bytes)
{
	struct backing *backing = scene_new_backing(scene_memfd_config(page_bytes));
	struct backing_file *file = scene_new_file(backing, 2);
	int fd;
	char byte;

	punch(file, 0, page_bytes);
	assert_int_equal(backing_file_verify(file, 0, backing_file_pages(file)), BACKING_DAMAGED);
	assert_int_equal(scene_release(file), 0);

	file = scene_new_file(backing, 2);
	fd = backing_file_fd(file);
	assert_int_equal(ftruncate(fd, (off_t)page_bytes), 0);
	assert_int_equal(backing_file_verify(file, 0, backing_file_pages(file)), BACKING_DAMAGED);
	assert_int_equal(backing_file_zero(file, 0, 1), 0);
	assert_int_equal(backing_file_zero(file, 0, 2), BACKING_DAMAGED);
	assert_int_equal(backing_file_read(file, 0, &byte, 1), 0);
	assert_int_equal(backing_file_read(file, page_bytes, &byte, 1), BACKING_DAMAGED);
	assert_int_equal(scene_release(file), 0);
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
	foreign = scene_map(-1, 2 * MIB2, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE);
	backing = scene_new_backing(scene_memfd_config(MIB2));
	file = scene_new_file(backing, 4);
	punch(file, 0, MIB2);
	backing_file_trim(file, 3, true, &limbo_pages);
	assert_int_equal(limbo_pages, 0);
	punch(file, 1, MIB2);
	assert_int_equal(scene_release(file), 0);
	assert_int_equal(backing_limbo_returned(backing), 0);
	backing_free(backing);
	munmap(foreign, 2 * MIB2);
}

/* ---- huge folios ---- */

static uint64_t count_blocks(const struct backing_file *file)
{
	struct stat status;

	assert_int_equal(fstat(backing_file_fd(file), &status), 0);
	return (uint64_t)status.st_blocks;
}

/* The kernel would give a file of a page a folio of 2 MiB. A client's fault still can: that is no damage, and
 * does not hide any. */
static void backing_base_pages_are_small_folios(void **state)
{
	const uint64_t n_pages = MIB2 / KIB4 + 1;
	struct backing *backing;
	struct backing_file *file;
	char *memory;

	(void)state;
	scene_need_root();
	assert_true(hugetlb_lock());
	hugetlb_set_shmem("always");
	backing = scene_new_backing(scene_memfd_config(KIB4));
	file = scene_new_file(backing, 1);
	assert_int_equal(count_blocks(file), KIB4 / 512);
	assert_int_equal(backing_file_verify(file, 0, 1), 0);
	assert_int_equal(scene_release(file), 0);

	file = scene_new_file(backing, n_pages);
	assert_int_equal(count_blocks(file), n_pages * KIB4 / 512);
	/* At an aligned address, and past the end. */
	memory = mmap(NULL, 3 * MIB2, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(memory != MAP_FAILED);
	memory += -(uintptr_t)memory & (MIB2 - 1);
	assert_true(mmap(memory, 2 * MIB2, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			 backing_file_fd(file), 0) == memory);
	/* The last page is punched and comes back as a folio that reaches past the end. */
	punch(file, n_pages - 1, KIB4);
	assert_int_equal(backing_file_verify(file, n_pages - 1, 1), BACKING_DAMAGED);
	assert_int_equal(madvise(memory, 2 * MIB2, MADV_HUGEPAGE), 0);
	memory[(n_pages - 1) * KIB4] = 1;
	if (count_blocks(file) <= n_pages * KIB4 / 512)
		scene_skip("the kernel made no huge folio past the end");
	assert_int_equal(backing_file_verify(file, 0, n_pages), 0);
	assert_int_equal(backing_file_verify(file, n_pages - 1, 1), 0);
	/* More blocks than it was given, and a hole. */
	punch(file, 0, KIB4);
	assert_int_equal(backing_file_verify(file, 0, n_pages), BACKING_DAMAGED);
	assert_int_equal(backing_file_verify(file, 0, 1), BACKING_DAMAGED);
	assert_int_equal(backing_file_verify(file, 1, 1), 0);
	munmap(memory, 2 * MIB2);
	assert_int_equal(scene_release(file), 0);
	backing_free(backing);
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* they cannot do without munmap() */
/* A kernel that has no memory to cut a mapping, or as many mappings as it allows. */
static int refuse_munmap(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_munmap, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOMEM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(filter) / sizeof(filter[0]), .filter = filter};

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
			       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0
		       ? 0
		       : -1;
}

static int live_without_munmap(void *argument)
{
	struct backing *backing = argument;
	struct backing_shortage shortage;
	struct backing_file *file, *other;
	uint64_t limbo_pages;

	STEP(1, backing_file_new(backing, 8, -1, &file, &shortage) == 0);
	STEP(2, refuse_munmap() == 0);
	backing_file_trim(file, 4, false, &limbo_pages);
	STEP(3, backing_file_zero(file, 0, 4) == 0);
	STEP(4, backing_file_verify(file, 0, backing_file_pages(file)) == 0);
	STEP(5, backing_file_new(backing, 8, -1, &other, &shortage) == 0);
	backing_file_trim(file, 2, false, &limbo_pages);
	backing_file_release(file, true, &limbo_pages);
	backing_file_release(other, true, &limbo_pages);
	return 0;
}

static void backing_copes_when_nothing_can_be_unmapped(void **state)
{
	struct backing *backing = scene_new_backing(scene_memfd_config(KIB4));

	(void)state;
	scene_assert_played(live_without_munmap, backing);
	backing_free(backing);
}
#endif

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, scene_end)
	const struct CMUnitTest tests[] = {
		TEST(backing_plain_file_is_zeroed_sealed_and_private),
		TEST(backing_mapping_is_aligned_to_1g),
		TEST(backing_zero_runs_zeroes_exactly_these),
		TEST(backing_plain_memfd_client_cannot_grow_or_seal),
		TEST(backing_huge_memfd_client_cannot_grow_or_seal),
		TEST(backing_memfd_other_uid_cannot_reopen),
		TEST(backing_memfd_2m_pages_come_and_go),
		TEST(backing_memfd_1g_page_comes_and_goes),
		TEST(backing_own_mount_pages_come_and_go),
		TEST(backing_unlink_while_mapped_frees_nothing_truncate_does),
		TEST(backing_private_copies_return_at_unmap),
		TEST(backing_memfd_pinned_page_is_in_limbo_until_it_goes),
		TEST(backing_own_mount_pinned_page_is_in_limbo_until_it_goes),
		TEST(backing_own_mount_limbo_ignores_other_programs),
		TEST(backing_unexposed_file_is_not_watched),
		TEST(backing_plain_file_damage_is_detected),
		TEST(backing_huge_file_damage_is_detected),
		TEST(backing_punched_pages_are_not_in_limbo),
		TEST(backing_base_pages_are_small_folios),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
		TEST(backing_copes_when_nothing_can_be_unmapped),
#endif
	};

	return cmocka_run_group_tests_name("test_backing", tests, scene_make_scratch, scene_remove_scratch);
}

/* system_wall_rights.c - attacks on memory by what a holder is allowed to do with its descriptor, or is not:
 * reopening, sealing, growing, truncating, punching, private copies.
 *
 * The intruder is another user than the owner of what it reads, and than the victim, who leases all the time.
 * Acts that try return a bit for each attempt that went through. Lines of defence that were taken out to see
 * a test fail are named beside it.
 */
#include <config.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/actor.h"
#include "tests/support/intruder.h"
#include "tests/support/wait.h"
#include "tests/system/system_hugetlb_scene.h"

#define KIB4      UINT64_C(4096)
#define LEASE     16 /* pages */
#define ARENA     8  /* at least so many has an arena that is made while the victim leases */
#define NAME      "shown"
#define FOR_ALL   0604 /* to be read */
#define N_COPIES  3
#define N_SEALS   6
#define HOLE      (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE)
#define SEAL_EXEC 0x0020 /* Linux 6.3 */

static struct dut dut;
static struct actor intruder, victim;
static pid_t others[2]; /* processes whose descriptors are worth having; set before the intruder is forked */

/* A pool with room for a few arenas. */
static void begin(uint64_t page_bytes)
{
	bool huge = page_bytes == MIB2;

	if (huge)
		scene_begin(MIB2, 64);
	else
		dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", huge ? "p=2M:128M,arena=32M,decay=0,users=*"
						 : "p=4K:4M,arena=512K,decay=0,users=*"));
	others[0] = dut.pid;
	actor_start(&victim, OTHERUID, &dut);
	others[1] = victim.pid;
	actor_start(&intruder, SOMEUID, &dut);
}

static void end(void)
{
	actor_quit(&intruder);
	actor_quit(&victim);
	dut_wait_pool(&dut, "p", "pages_backed", 0);
	dut_stop(&dut);
}

static uint64_t lease(struct actor *actor, uint64_t bytes)
{
	uint64_t id;

	assert_int_equal(actor_alloc(actor, bytes, NULL, &id), 0);
	assert_int_equal(actor_count_other(actor, id, 0), 0);
	return id;
}

/* The daemon serves another tenant as ever. */
static void assert_victim_is_served(uint64_t bytes)
{
	uint64_t id = lease(&victim, bytes);

	actor_fill(&victim, id, VICTIM_BYTE);
	assert_int_equal(actor_count_other(&victim, id, VICTIM_BYTE), 0);
	assert_int_equal(actor_free(&victim, id), 0);
}

/* ---- more rights than were given ---- */

static bool can_reopen(int fd, int flags)
{
	char path[64];
	int again;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	again = open(path, flags | O_CLOEXEC);
	if (again >= 0)
		close(again);
	return again >= 0;
}

static bool can_map(int fd, int prot, int later_prot)
{
	void *memory = mmap(NULL, KIB4, prot, MAP_SHARED, fd, 0);
	bool can = memory != MAP_FAILED && (later_prot == 0 || mprotect(memory, KIB4, later_prot) == 0);

	if (memory != MAP_FAILED)
		munmap(memory, KIB4);
	return can;
}

/* As a debugger writes: past what the mapping allows. */
static bool can_write_by_proc_mem(int fd)
{
	uint8_t *memory = mmap(NULL, KIB4, PROT_READ, MAP_SHARED, fd, 0), byte = INTRUDER_BYTE;
	int mem_fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	bool can = memory != MAP_FAILED && mem_fd >= 0 &&
		   pwrite(mem_fd, &byte, 1, (off_t)(uintptr_t)memory) == 1 && *memory == INTRUDER_BYTE;

	if (memory != MAP_FAILED)
		munmap(memory, KIB4);
	if (mem_fd >= 0)
		close(mem_fd);
	return can;
}

static bool can_see_fds_of(pid_t pid)
{
	char path[64];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
	dir = opendir(path);
	if (dir)
		closedir(dir);
	return dir;
}

static bool can_remove(int fd)
{
	void *memory = mmap(NULL, KIB4, PROT_READ, MAP_SHARED, fd, 0);
	bool can = memory != MAP_FAILED && madvise(memory, KIB4, MADV_REMOVE) == 0;

	if (memory != MAP_FAILED)
		munmap(memory, KIB4);
	return can;
}

/* Of a descriptor that may be read: 4 KiB pages, so that lengths need no care. */
static int64_t try_to_write(int fd)
{
	const uint8_t byte = INTRUDER_BYTE;

	if (!can_map(fd, PROT_READ, 0))
		return -errno;
	return can_reopen(fd, O_RDWR) << 0 | can_reopen(fd, O_WRONLY) << 1 | can_reopen(fd, O_RDONLY) << 2 |
	       can_map(fd, PROT_READ | PROT_WRITE, 0) << 3 |
	       can_map(fd, PROT_READ, PROT_READ | PROT_WRITE) << 4 | can_write_by_proc_mem(fd) << 5 |
	       (pwrite(fd, &byte, 1, 0) == 1) << 6 | (ftruncate(fd, 0) == 0) << 7 |
	       (fallocate(fd, HOLE, 0, (off_t)KIB4) == 0) << 8 | can_remove(fd) << 9 |
	       (fchmod(fd, 0666) == 0) << 10 | (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0) << 11 |
	       can_see_fds_of(others[0]) << 12 | can_see_fds_of(others[1]) << 13;
}

/* Fails without fchmod() in memfd_open() of backing/memfd.c (bits 0, 1, 2), and if introduce() of
 * rpc/grants.c always sends backing_file_fd() (bits 3, 4, 6, 7, 8, 9). What the others try is the kernel's to
 * refuse. */
static void wall_what_is_shown_for_reading_cannot_be_written(void **state)
{
	const struct hp_alloc_options shown = {.name = NAME, .mode = FOR_ALL};
	uint64_t id, opened;

	begin(KIB4);
	assert_int_equal(actor_alloc(&victim, LEASE * KIB4, &shown, &id), 0);
	actor_fill(&victim, id, VICTIM_BYTE);
	assert_int_equal(actor_open_lease(&intruder, NAME, 0, &opened), -EPERM);
	assert_int_equal(actor_open_lease(&intruder, NAME, HP_READ_ONLY, &opened), 0);
	assert_int_equal(actor_count_other(&intruder, opened, VICTIM_BYTE), 0);
	assert_int_equal(actor_act(&intruder, opened, try_to_write), 0);
	assert_int_equal(actor_count_other(&victim, id, VICTIM_BYTE), 0);
	end();
}

/* ---- seals ---- */

static int64_t try_to_seal(int fd)
{
	/* The one that keeps off more comes last. */
	static const int seals[N_SEALS] = {F_SEAL_SHRINK,       F_SEAL_GROW, F_SEAL_WRITE,
					   F_SEAL_FUTURE_WRITE, SEAL_EXEC,   F_SEAL_SEAL};
	int64_t done = 0;

	for (unsigned i = 0; i < N_SEALS; i++)
		done |= (int64_t)(fcntl(fd, F_ADD_SEALS, seals[i]) == 0) << i;
	return done;
}

static void seal(uint64_t page_bytes)
{
	begin(page_bytes);
	assert_int_equal(actor_act(&intruder, lease(&intruder, LEASE * page_bytes), try_to_seal), 0);
	assert_victim_is_served(page_bytes);
	end();
}

/* Both fail without F_SEAL_SEAL in memfd_seal() of backing/memfd.c. */
static void wall_4k_seals_are_the_daemons(void **state)
{
	seal(KIB4);
}

static void wall_2m_seals_are_the_daemons(void **state)
{
	seal(MIB2);
}

/* ---- growing ---- */

static int64_t try_to_grow(int fd)
{
	const off_t more = (off_t)MIB2;
	struct stat before, after;
	int64_t done;

	if (fstat(fd, &before) < 0)
		return -errno;
	done = (ftruncate(fd, before.st_size + more) == 0) << 0 |
	       (fallocate(fd, 0, before.st_size, more) == 0) << 1 |
	       (fallocate(fd, FALLOC_FL_KEEP_SIZE, before.st_size, more) == 0) << 2 |
	       (pwrite(fd, "!", 1, before.st_size) == 1) << 3;
	if (fstat(fd, &after) < 0)
		return -errno;
	return done | (after.st_size != before.st_size) << 4 | (after.st_blocks != before.st_blocks) << 5;
}

static int64_t try_to_grow_again(int fd)
{
	struct stat before;

	if (fstat(fd, &before) < 0 || ftruncate(fd, 0) < 0)
		return -errno;
	return (ftruncate(fd, before.st_size) == 0) << 0 | (fallocate(fd, 0, 0, before.st_size) == 0) << 1 |
	       (fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, before.st_size) == 0) << 2 |
	       (pwrite(fd, "!", 1, 0) == 1) << 3;
}

static void grow(uint64_t page_bytes)
{
	uint64_t id;

	begin(page_bytes);
	id = lease(&intruder, LEASE * page_bytes);
	assert_int_equal(actor_act(&intruder, id, try_to_grow), 0);
	assert_int_equal(actor_count_other(&intruder, id, 0), 0);
	assert_int_equal(actor_act(&intruder, id, try_to_grow_again), 0);
	assert_victim_is_served(page_bytes);
	end();
}

/* Both fail without F_SEAL_GROW in memfd_seal(). */
static void wall_4k_files_do_not_grow(void **state)
{
	grow(KIB4);
}

static void wall_2m_files_do_not_grow(void **state)
{
	grow(MIB2);
	scene_wait_all_back();
}

/* ---- destroying one's own tenant's file ---- */

static int64_t truncate_all(int fd)
{
	return ftruncate(fd, 0) < 0 ? -errno : 0;
}

static int64_t punch_all(int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -errno;
	return fallocate(fd, HOLE, 0, status.st_size) < 0 ? -errno : 0;
}

/* No seal keeps a hugetlb file from being made longer by a writable mapping. */
static int64_t grow_by_mapping(int fd)
{
	struct stat status;
	uint8_t *memory;

	if (fstat(fd, &status) < 0)
		return -errno;
	memory = mmap(NULL, MIB2, PROT_READ | PROT_WRITE, MAP_SHARED, fd, status.st_size);
	if (memory == MAP_FAILED)
		return -errno;
	memory[0] = INTRUDER_BYTE;
	return munmap(memory, MIB2) < 0 ? -errno : 0;
}

static int64_t has_all_blocks(int fd)
{
	struct stat status;

	return fstat(fd, &status) == 0 && status.st_size > 0 && status.st_blocks * 512 >= status.st_size;
}

static int64_t number_of_file(int fd)
{
	struct stat status;

	return fstat(fd, &status) < 0 ? -errno : (int64_t)status.st_ino;
}

/* The lease after that is in another file, backed to the last page; the victim's is what it was. */
static void destroy(uint64_t page_bytes, int64_t (*act)(int fd))
{
	uint64_t of_victim, first, next;
	int64_t destroyed;

	begin(page_bytes);
	of_victim = lease(&victim, LEASE * page_bytes);
	actor_fill(&victim, of_victim, VICTIM_BYTE);
	first = lease(&intruder, 1 * page_bytes);
	actor_fill(&intruder, first, INTRUDER_BYTE);
	destroyed = actor_act(&intruder, first, number_of_file);
	assert_int_equal(actor_act(&intruder, first, act), 0);

	/* The first lease is not even free, and there is room behind it. */
	next = lease(&intruder, (ARENA - 1) * page_bytes);
	assert_int_not_equal(actor_act(&intruder, next, number_of_file), destroyed);
	assert_int_equal(actor_act(&intruder, next, has_all_blocks), 1);
	actor_fill(&intruder, next, INTRUDER_BYTE);
	assert_int_equal(actor_free(&intruder, first), 0);
	assert_int_equal(actor_free(&intruder, next), 0);
	next = lease(&intruder, ARENA * page_bytes);
	assert_int_equal(actor_act(&intruder, next, has_all_blocks), 1);

	assert_int_equal(actor_count_other(&victim, of_victim, VICTIM_BYTE), 0);
	assert_victim_is_served(page_bytes);
	end();
}

/* All fail without the comparison in arena_is_sound() of pool/zone.c. */
static void wall_4k_truncated_file_serves_nobody(void **state)
{
	destroy(KIB4, truncate_all);
}

static void wall_4k_punched_file_serves_nobody(void **state)
{
	destroy(KIB4, punch_all);
}

static void wall_2m_truncated_file_serves_nobody(void **state)
{
	destroy(MIB2, truncate_all);
	scene_wait_all_back();
}

static void wall_2m_punched_file_serves_nobody(void **state)
{
	destroy(MIB2, punch_all);
	scene_wait_all_back();
}

static void wall_2m_file_made_longer_serves_nobody(void **state)
{
	destroy(MIB2, grow_by_mapping);
	scene_wait_all_back();
}

/* The daemon is zeroing what was freed, which takes it milliseconds, when the file goes under its hands. Most
 * rounds meet it there.
 * Fails without guard_enter() in guard_fill() of backing/guard.c: the daemon dies of SIGBUS. */
static void wall_truncated_under_the_scrubber_stops_nobody(void **state)
{
	const uint64_t much = 8192 * KIB4;
	uint64_t bait, freed;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", "p=4K:256M,arena=64M,decay=0,users=*"));
	actor_start(&victim, OTHERUID, &dut);
	actor_start(&intruder, SOMEUID, &dut);
	for (unsigned round = 0; round < dut_ops(10); round++) {
		freed = lease(&intruder, much);
		bait = lease(&intruder, KIB4);
		assert_int_equal(actor_free(&intruder, freed), 0);
		assert_int_equal(actor_act(&intruder, bait, truncate_all), 0);
		assert_victim_is_served(LEASE * KIB4);
		assert_int_equal(actor_free(&intruder, bait), 0);
	}
	end();
}

/* ---- MADV_REMOVE without end ---- */

static _Atomic uint64_t *n_removed; /* shared with the intruder's child */
static pid_t remover;               /* in the intruder */

static void remove_for_ever(uint8_t *memory, size_t bytes)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		for (size_t at = 0; at < bytes; at += KIB4)
			*(volatile uint8_t *)(memory + at) = 0;
		if (madvise(memory, bytes, MADV_REMOVE) < 0)
			_exit(1);
		atomic_fetch_add(n_removed, 1);
	}
}

static int64_t start_removing(int fd)
{
	struct stat status;
	uint8_t *memory;

	if (fstat(fd, &status) < 0)
		return -errno;
	memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	remover = fork();
	if (remover == 0)
		remove_for_ever(memory, (size_t)status.st_size);
	munmap(memory, (size_t)status.st_size);
	return remover < 0 ? -errno : 0;
}

/* It has been at work until now: else it has died by a signal of its own. */
static int64_t stop_removing(int unused)
{
	int status;

	kill(remover, SIGKILL);
	return waitpid(remover, &status, 0) == remover && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void wait_removed(uint64_t n)
{
	uint64_t deadline = wait_now_ms() + 20000;

	while (atomic_load(n_removed) < n) {
		assert_true(wait_now_ms() < deadline);
		wait_pause();
	}
}

/* Round after round in the file that the intruder's user has then; a peer of that user leases beside it.
 * Fails if tenant_of() of pool/pool.c says the same of all. */
static void wall_removing_without_end_hurts_one_tenant_at_most(void **state)
{
	uint64_t of_victim, bait, of_peer;
	struct actor peer;

	n_removed = mmap(NULL, KIB4, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(n_removed != MAP_FAILED);
	begin(KIB4);
	actor_start(&peer, SOMEUID, &dut);
	of_victim = lease(&victim, LEASE * KIB4);
	actor_fill(&victim, of_victim, VICTIM_BYTE);
	for (unsigned round = 0; round < dut_ops(20); round++) {
		bait = lease(&intruder, KIB4);
		assert_int_equal(actor_act(&intruder, bait, start_removing), 0);
		wait_removed(atomic_load(n_removed) + 3);
		for (unsigned i = 0; i < 4; i++) {
			of_peer = lease(&peer, LEASE * KIB4);
			actor_fill(&peer, of_peer, INTRUDER_BYTE);
			assert_int_equal(actor_free(&peer, of_peer), 0);
			assert_victim_is_served(LEASE * KIB4);
		}
		assert_int_equal(actor_act(&intruder, 0, stop_removing), 1);
		assert_int_equal(actor_free(&intruder, bait), 0);
	}
	assert_int_equal(actor_count_other(&victim, of_victim, VICTIM_BYTE), 0);
	actor_quit(&peer);
	end();
	munmap((void *)n_removed, KIB4);
}

/* ---- private copies of what may only be read ---- */

/* Returns how many pages could be written. */
static int64_t copy_all(int fd)
{
	struct stat status;
	uint8_t *memory;
	int64_t n = 0;

	if (fstat(fd, &status) < 0)
		return -errno;
	for (unsigned copy = 0; copy < N_COPIES && status.st_size > 0; copy++) {
		memory = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
		if (memory == MAP_FAILED)
			return -errno;
		for (off_t at = 0; at < status.st_size; at += (off_t)MIB2, n++)
			memory[at] = INTRUDER_BYTE;
	}
	return n;
}

/* As many as there are mappings, taken from the host's free ones as anonymous mappings would; the end of the
 * lease takes them all back. What is mapped after it, which makes a hugetlb file longer, is new.
 * Fails without ftruncate() in file_truncate() of backing/backing.c. */
static void wall_private_copies_end_with_the_lease(void **state)
{
	const struct hp_alloc_options shown = {.name = NAME, .mode = FOR_ALL, .flags = HP_REVOCABLE};
	const uint64_t n_pages = 2;
	uint64_t id, opened;

	begin(MIB2);
	assert_int_equal(actor_alloc(&victim, n_pages * MIB2, &shown, &id), 0);
	actor_fill(&victim, id, VICTIM_BYTE);
	assert_int_equal(actor_open_lease(&intruder, NAME, HP_READ_ONLY, &opened), 0);
	assert_int_equal(actor_act(&intruder, opened, intruder_keep), 0);
	assert_int_equal(actor_act(&intruder, opened, copy_all), N_COPIES * n_pages);
	scene_assert_taken(&dut, n_pages + N_COPIES * n_pages);
	assert_int_equal(actor_count_other(&victim, id, VICTIM_BYTE), 0);

	assert_int_equal(dut_ctl(&dut, 0, DUT_WORDS("revoke", scene_words("%" PRIu64, id)), NULL, NULL), 0);
	dut_wait_pool(&dut, "p", "pages_backed", 0);
	scene_wait_taken(0);
	assert_int_equal(actor_act(&intruder, 0, intruder_is_gone), 1);
	assert_victim_is_served(n_pages * MIB2);
	actor_act(&intruder, 0, intruder_overwrite);
	assert_int_equal(actor_act(&intruder, 0, intruder_look), 0);
	end();
	scene_wait_all_back();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		/* Without the turn for hugepages. */
		cmocka_unit_test_teardown(wall_what_is_shown_for_reading_cannot_be_written, scene_end),
		cmocka_unit_test_teardown(wall_4k_seals_are_the_daemons, scene_end),
		cmocka_unit_test_teardown(wall_4k_files_do_not_grow, scene_end),
		cmocka_unit_test_teardown(wall_4k_truncated_file_serves_nobody, scene_end),
		cmocka_unit_test_teardown(wall_4k_punched_file_serves_nobody, scene_end),
		cmocka_unit_test_teardown(wall_truncated_under_the_scrubber_stops_nobody, scene_end),
		cmocka_unit_test_teardown(wall_removing_without_end_hurts_one_tenant_at_most, scene_end),
		cmocka_unit_test_teardown(wall_2m_seals_are_the_daemons, scene_end),
		cmocka_unit_test_teardown(wall_2m_files_do_not_grow, scene_end),
		cmocka_unit_test_teardown(wall_2m_truncated_file_serves_nobody, scene_end),
		cmocka_unit_test_teardown(wall_2m_punched_file_serves_nobody, scene_end),
		cmocka_unit_test_teardown(wall_2m_file_made_longer_serves_nobody, scene_end),
		cmocka_unit_test_teardown(wall_private_copies_end_with_the_lease, scene_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

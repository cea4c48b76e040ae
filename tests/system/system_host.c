/* system_host.c - what is mounted on the host: the daemon's own, and what belongs to somebody else at its
 * place.
 *
 * The built daemon, with real mounts in a mount namespace of the test's own, killed with SIGKILL and started
 * again.
 */
#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/system/system_hugetlb_scene.h"

#define N_RESTARTS 20
#define POOL       DUT_WORDS("--pool", "p=2M:16M,arena=4M,reserve=4M,backing=hugetlbfs,isolation=pool,users=*")
#define PLAIN      DUT_WORDS("--pool", "q=4K:1M")

static bool is_there(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

static unsigned n_mounts(const char *path)
{
	char options[256];

	return scene_n_mounts(path, options, sizeof(options));
}

static const char *place_of(const struct dut *dut)
{
	return scene_words("%s/p", dut->directory);
}

/* An operator's hugetlbfs, with a file of two pages in it. */
static void mount_operators(const char *path)
{
	int fd;

	if (!is_there(path))
		assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(mount("hugetlbfs", path, "hugetlbfs", 0, "pagesize=2M"), 0);
	fd = open(scene_words("%s/precious", path), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(fallocate(fd, 0, 0, 2 * MIB2), 0);
	close(fd);
}

static void assert_operators_is_whole(const char *path)
{
	struct stat st;

	assert_int_equal(stat(scene_words("%s/precious", path), &st), 0);
	assert_int_equal(st.st_size, 2 * MIB2);
	assert_int_equal(st.st_blocks * 512, 2 * MIB2);
}

static void unmount_operators(const char *path)
{
	assert_operators_is_whole(path);
	assert_int_equal(unlink(scene_words("%s/precious", path)), 0);
	assert_int_equal(umount(path), 0);
}

static void expect_place_refused(const struct dut *dut)
{
	const char *const *pool = POOL;

	dut_expect("hugepoold", 0, 1, scene_words("pool p|%s|--state", place_of(dut)),
		   DUT_WORDS("--socket", dut->socket, pool[0], pool[1]));
	assert_false(is_there(dut->socket));
}

/* Without a look at what is left in the directory, which stays for the next one. */
static void stop_in_place(struct dut *dut)
{
	assert_int_equal(kill(dut->pid, SIGTERM), 0);
	assert_int_equal(dut_wait_child(dut->pid), 0);
	dut->pid = 0;
}

/* ---- what is there before the daemon is ---- */

static void host_mount_of_an_operator_is_refused_and_left_alone(void **state)
{
	struct dut dut;

	scene_begin(MIB2, 8);
	dut_prepare(&dut, 0);
	mount_operators(place_of(&dut));
	expect_place_refused(&dut);
	expect_place_refused(&dut);
	assert_int_equal(n_mounts(place_of(&dut)), 1);
	unmount_operators(place_of(&dut));
	assert_int_equal(rmdir(place_of(&dut)), 0);
	dut_discard(&dut);
	scene_assert_all_back();
}

static void host_symlink_at_the_mounts_place_is_not_followed(void **state)
{
	const char *elsewhere;
	struct dut dut;

	scene_begin(MIB2, 8);
	dut_prepare(&dut, 0);
	elsewhere = scene_words("%s/elsewhere", dut.directory);
	mount_operators(elsewhere);
	assert_int_equal(symlink(elsewhere, place_of(&dut)), 0);
	expect_place_refused(&dut);
	assert_int_equal(n_mounts(elsewhere), 1);
	unmount_operators(elsewhere);
	assert_int_equal(rmdir(elsewhere), 0);
	assert_int_equal(unlink(place_of(&dut)), 0);
	dut_discard(&dut);
	scene_assert_all_back();
}

static void host_directory_of_somebody_else_is_refused_unless_it_is_empty(void **state)
{
	const char *file;
	struct dut dut;

	scene_begin(MIB2, 8);
	dut_prepare(&dut, 0);
	file = scene_words("%s/file", place_of(&dut));
	assert_int_equal(mkdir(place_of(&dut), 0755), 0);
	assert_int_equal(close(open(file, O_CREAT | O_CLOEXEC, 0600)), 0);
	expect_place_refused(&dut);
	assert_int_equal(unlink(file), 0);
	assert_int_equal(chown(place_of(&dut), SOMEUID, SOMEUID), 0);
	expect_place_refused(&dut);

	/* An empty one of the operator's is used, and is the operator's at the end as well. */
	assert_int_equal(chown(place_of(&dut), 0, 0), 0);
	dut_restart(&dut, POOL);
	assert_int_equal(n_mounts(place_of(&dut)), 1);
	stop_in_place(&dut);
	assert_int_equal(n_mounts(place_of(&dut)), 0);
	assert_int_equal(rmdir(place_of(&dut)), 0);
	dut_discard(&dut);
	scene_assert_all_back();
}

/* ---- what comes while it is there ---- */

static void host_mount_over_the_daemons_survives_its_stop(void **state)
{
	struct dut dut;

	scene_begin(MIB2, 12);
	dut_start(&dut, POOL);
	mount_operators(place_of(&dut));
	stop_in_place(&dut);
	assert_operators_is_whole(place_of(&dut));
	/* The next one does not take it for its own either; and once it is gone, takes down what lay beneath.
	 */
	expect_place_refused(&dut);
	unmount_operators(place_of(&dut));
	dut_restart(&dut, POOL);
	assert_int_equal(n_mounts(place_of(&dut)), 1);
	dut_stop(&dut);
	scene_assert_all_back();
}

static void host_second_daemon_leaves_the_firsts_mount(void **state)
{
	const char *const *pool = POOL;
	struct dut dut;
	uint64_t lease;
	pid_t holder;

	scene_begin(MIB2, 16);
	dut_start(&dut, POOL);
	holder = dut_hold(&dut, SOMEUID, DUT_WORDS("4M"), &lease);
	dut_expect("hugepoold", 0, 1, scene_words("%s|pid %d", dut.directory, (int)dut.pid),
		   DUT_WORDS("--socket", scene_words("%s/other", dut.directory), pool[0], pool[1]));
	assert_int_equal(n_mounts(place_of(&dut)), 1);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 2);
	assert_true(is_there(scene_words("%s/a1", place_of(&dut))));
	kill(holder, SIGKILL);
	dut_wait_child(holder);
	dut_stop(&dut);
	scene_wait_all_back();
}

static void host_quick_restart_keeps_the_new_ones_mount(void **state)
{
	struct dut dut;

	scene_begin(MIB2, 16);
	dut_start(&dut, POOL);
	for (unsigned i = 0; i < N_RESTARTS; i++) {
		pid_t old = dut.pid;

		assert_int_equal(kill(old, SIGTERM), 0);
		dut.pid = 0;
		dut_restart(&dut, POOL);
		assert_int_equal(dut_wait_child(old), 0);
		assert_int_equal(n_mounts(place_of(&dut)), 1);
		assert_int_equal(dut_ctl(&dut, SOMEUID, DUT_WORDS("alloc", "--detach", "4M"), NULL, NULL), 0);
	}
	dut_stop(&dut);
	assert_int_equal(n_mounts(place_of(&dut)), 0);
	scene_assert_all_back();
}

/* ---- what a killed one has left ---- */

/* Whatever pools the next one has. */
static void host_mount_of_a_killed_daemon_is_taken_down_by_any(void **state)
{
	struct dut dut;

	scene_begin(MIB2, 16);
	dut_start(&dut, POOL);
	dut_kill(&dut);
	assert_int_equal(n_mounts(place_of(&dut)), 1);
	dut_restart(&dut, PLAIN);
	assert_int_equal(n_mounts(place_of(&dut)), 0);
	assert_false(is_there(place_of(&dut)));
	scene_assert_all_back();
	dut_stop(&dut);
}

/* Also a mount by the same name, of the same kind, and often of the same device number. */
static void host_mount_in_the_place_of_a_killed_daemons_is_left_alone(void **state)
{
	struct dut dut;

	scene_begin(MIB2, 16);
	dut_start(&dut, POOL);
	dut_kill(&dut);
	assert_int_equal(umount2(place_of(&dut), MNT_DETACH), 0);
	mount_operators(place_of(&dut));
	expect_place_refused(&dut);
	unmount_operators(place_of(&dut));
	dut_restart(&dut, POOL);
	assert_int_equal(n_mounts(place_of(&dut)), 1);
	dut_stop(&dut);
	scene_wait_all_back();
}

static void host_state_directory_that_is_not_there_is_made_for_a_mount(void **state)
{
	const char *const *pool = POOL;
	const char *dir;
	struct dut dut;

	scene_begin(MIB2, 16);
	dut_prepare(&dut, 0);
	dir = scene_words("%s/state", dut.directory);
	dut_restart(&dut, DUT_WORDS("--state", dir, pool[0], pool[1]));
	assert_int_equal(n_mounts(scene_words("%s/p", dir)), 1);
	stop_in_place(&dut);
	assert_int_equal(rmdir(dir), 0);
	dut_discard(&dut);
	scene_assert_all_back();
}

/* ---- nr_hugepages ---- */

#define GROWING DUT_WORDS("--pool", "g=2M:16M,arena=4M,decay=0,grow=yes,users=*")
#define GROWN   8 /* pages of 2M */

static uint64_t total(void)
{
	return hugetlb_counts(MIB2).total;
}

static void set_nr_hugepages(uint64_t n_pages)
{
	FILE *file = fopen("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "we");

	assert_non_null(file);
	fprintf(file, "%" PRIu64, n_pages);
	assert_int_equal(fclose(file), 0);
}

/* A process of this user's that takes all hugepages which are free, until it is killed. Returns when it has
 * them. */
static pid_t take_all_free(void)
{
	const uint64_t n = hugetlb_counts(MIB2).free;
	int ready[2];
	char word;
	pid_t pid;

	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		char *pages = mmap(NULL, n * MIB2, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

		for (uint64_t i = 0; pages != MAP_FAILED && i < n; i++)
			pages[i * MIB2] = 1;
		if (pages != MAP_FAILED && write(ready[1], "x", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	dut_adopt(pid);
	close(ready[1]);
	assert_int_equal(read(ready[0], &word, 1), 1);
	close(ready[0]);
	return pid;
}

/* With nothing free, so that all that a pool gets was raised for it. */
static pid_t begin_raising(void)
{
	scene_begin(MIB2, 1);
	return take_all_free();
}

static void end_process(pid_t pid)
{
	kill(pid, SIGKILL);
	dut_wait_child(pid);
}

static void fill_pool(const struct dut *dut)
{
	assert_int_equal(dut_ctl(dut, SOMEUID, DUT_WORDS("alloc", "--detach", "16M"), NULL, NULL), 0);
}

static void host_raised_by_a_killed_daemon_is_given_back_by_the_next(void **state)
{
	pid_t taker = begin_raising();
	uint64_t base = total();
	struct dut dut;

	dut_start(&dut, GROWING);
	for (unsigned i = 0; i < 3; i++) {
		fill_pool(&dut);
		assert_int_equal(total(), base + GROWN);
		dut_kill(&dut);
		assert_int_equal(total(), base + GROWN);
		dut_restart(&dut, GROWING);
	}
	dut_stop(&dut);
	assert_int_equal(total(), base);

	/* The next one need not have the pool. */
	dut_start(&dut, GROWING);
	fill_pool(&dut);
	dut_kill(&dut);
	dut_restart(&dut, PLAIN);
	assert_int_equal(total(), base);
	dut_stop(&dut);
	end_process(taker);
	scene_wait_all_back();
}

static void assert_log_lacks(const struct dut *dut, const char *words)
{
	char text[8192];
	FILE *log = fopen(dut->log, "re");

	assert_non_null(log);
	text[fread(text, 1, sizeof(text) - 1, log)] = 0;
	fclose(log);
	if (strstr(text, words))
		fail_msg("\"%s\" is said in: %s", words, text);
}

static void host_raised_is_given_back_as_a_difference(void **state)
{
	static const int changes[] = {+5, 0, -3, -GROWN, -GROWN - 1};
	pid_t taker;

	scene_begin(MIB2, 4);
	taker = take_all_free();
	for (size_t i = 0; i < sizeof(changes) / sizeof(changes[0]); i++) {
		const uint64_t base = total();
		struct dut dut;

		dut_start(&dut, GROWING);
		fill_pool(&dut);
		assert_int_equal(total(), base + GROWN);
		if (changes[i] != 0)
			set_nr_hugepages(base + GROWN + (uint64_t)changes[i]);
		assert_log_lacks(&dut, "in use");
		assert_int_equal(kill(dut.pid, SIGTERM), 0);
		assert_int_equal(dut_wait_child(dut.pid), 0);
		assert_log_lacks(&dut, "in use");
		/* Pages in use are surplus where the operator has set less. */
		assert_int_equal(total() - hugetlb_counts(MIB2).surplus,
				 base + (uint64_t)(changes[i] < 0 ? GROWN + changes[i] : changes[i]));
		set_nr_hugepages(base);
		dut_discard(&dut);
	}
	end_process(taker);
	scene_wait_all_back();
}

/* What one takes back is not what an operator has lowered. */
static void host_raised_by_two_daemons_is_given_back_by_both(void **state)
{
	for (unsigned first = 0; first < 2; first++) {
		pid_t taker = begin_raising();
		uint64_t base = total();
		struct dut duts[2];

		for (unsigned i = 0; i < 2; i++) {
			dut_start(&duts[i], GROWING);
			fill_pool(&duts[i]);
			assert_int_equal(total(), base + (i + 1) * GROWN);
		}
		dut_stop(&duts[first]);
		assert_int_equal(total(), base + GROWN);
		dut_stop(&duts[1 - first]);
		assert_int_equal(total(), base);
		end_process(taker);
		scene_wait_all_back();
		hugetlb_unlock();
	}
}

/* A client leases, frees, and maps what came free; again and again. */
static void host_raised_is_bounded_by_max_whoever_has_it_now(void **state)
{
	pid_t takers[64];
	uint64_t base;
	unsigned n = 0;
	struct dut dut;
	char *error;

	takers[n++] = begin_raising();
	base = total();
	dut_start(&dut, GROWING);
	while (n < 64) {
		int status = dut_ctl(&dut, SOMEUID, DUT_WORDS("alloc", "--detach", "--name", "x", "4M"), NULL,
				     &error);

		if (status != 0)
			break;
		free(error);
		assert_true(total() <= base + GROWN);
		assert_int_equal(dut_ctl(&dut, SOMEUID, DUT_WORDS("free", "x"), NULL, NULL), 0);
		dut_wait_pool(&dut, "g", "pages_backed", 0);
		takers[n++] = take_all_free();
	}
	assert_true(n < 64);
	scene_assert_says(error, "its max");
	free(error);
	assert_int_equal(total(), base + GROWN);
	while (n > 0)
		end_process(takers[--n]);
	dut_stop(&dut);
	scene_wait_all_back();
}

/* Also when a test has failed. */
static int end_raising(void **state)
{
	dut_kill_all(state);
	if (geteuid() == 0 && hugetlb_has(MIB2) && total() > scene_start.total)
		set_nr_hugepages(scene_start.total - scene_start.surplus);
	return scene_end(state);
}

/* Mounts of these tests are nobody else's to see, and go with us. */
static int enter_own_namespace(void **state)
{
	if (geteuid() != 0)
		return 0; /* every test says so */
	if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return 0;
	perror("a mount namespace of our own");
	return -1;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, scene_end)
	const struct CMUnitTest tests[] = {
		TEST(host_mount_of_an_operator_is_refused_and_left_alone),
		TEST(host_symlink_at_the_mounts_place_is_not_followed),
		TEST(host_directory_of_somebody_else_is_refused_unless_it_is_empty),
		TEST(host_mount_over_the_daemons_survives_its_stop),
		TEST(host_second_daemon_leaves_the_firsts_mount),
		TEST(host_quick_restart_keeps_the_new_ones_mount),
		TEST(host_mount_of_a_killed_daemon_is_taken_down_by_any),
		TEST(host_mount_in_the_place_of_a_killed_daemons_is_left_alone),
		TEST(host_state_directory_that_is_not_there_is_made_for_a_mount),
		cmocka_unit_test_teardown(host_raised_by_a_killed_daemon_is_given_back_by_the_next,
					  end_raising),
		cmocka_unit_test_teardown(host_raised_is_given_back_as_a_difference, end_raising),
		cmocka_unit_test_teardown(host_raised_by_two_daemons_is_given_back_by_both, end_raising),
		cmocka_unit_test_teardown(host_raised_is_bounded_by_max_whoever_has_it_now, end_raising),
	};

	return cmocka_run_group_tests_name("system_host", tests, enter_own_namespace, NULL);
}

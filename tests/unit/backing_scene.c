/* backing_scene.c - see the header. */
#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/journal.h"
#include "tests/unit/backing_scene.h"

char scene_scratch[] = "/tmp/hugepool-test-XXXXXX";

int scene_make_scratch(void **state)
{
	if (mkdtemp(scene_scratch))
		return 0;
	perror(scene_scratch);
	return -1;
}

int scene_remove_scratch(void **state)
{
	char path[sizeof(scene_scratch) + 16];

	snprintf(path, sizeof(path), "%s/journal", scene_scratch);
	unlink(path); /* there is one if a test has failed */
	rmdir(scene_scratch);
	return 0;
}

int scene_end(void **state)
{
	backing_give_back_raised();
	hugetlb_unlock();
	return 0;
}

void scene_skip(const char *reason)
{
	fprintf(stderr, "SKIPPED: %s\n", reason);
	skip();
}

void scene_need_root(void)
{
	if (geteuid() != 0)
		scene_skip("only root can mount, change its uid and raise nr_hugepages");
}

uint64_t scene_free_pages(void)
{
	return hugetlb_counts(MIB2).free;
}

struct backing_config scene_memfd_config(uint64_t page_bytes)
{
	return (struct backing_config){
		.kind = BACKING_MEMFD, .node = -1, .name = "test", .page_bytes = page_bytes};
}

struct backing_config scene_mount_config(uint64_t max_pages)
{
	return (struct backing_config){.kind = BACKING_HUGETLBFS,
				       .node = -1,
				       .name = "test",
				       .page_bytes = MIB2,
				       .max_pages = max_pages,
				       .host = scene_host()};
}

/* ---- the state directory ---- */

static struct backing_host host = {.directory_fd = -1, .path = scene_scratch};

const struct backing_host *scene_host(void)
{
	if (host.directory_fd >= 0)
		return &host;
	return scene_next_host();
}

const struct backing_host *scene_next_host(void)
{
	char *error;

	if (host.directory_fd < 0)
		host.directory_fd = open(scene_scratch, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(host.directory_fd >= 0);
	journal_free(host.journal);
	if (journal_open(host.directory_fd, "journal", &host.journal, &error) < 0)
		fail_msg("%s", error);
	return &host;
}

struct backing *scene_new_backing(struct backing_config config)
{
	struct backing *backing;
	char *error;

	if (backing_new(&config, &backing, &error) < 0)
		fail_msg("%s", error);
	assert_null(error);
	return backing;
}

char *scene_refusal(struct backing_config config, int expected)
{
	struct backing *backing;
	char *error;

	assert_int_equal(backing_new(&config, &backing, &error), expected);
	assert_non_null(error);
	return error;
}

struct backing_file *scene_new_file(struct backing *backing, uint64_t n_pages)
{
	struct backing_file *file;
	struct backing_shortage shortage = {0};
	int r;

	r = backing_file_new(backing, n_pages, -1, &file, &shortage);
	if (r != 0)
		fail_msg("backing_file_new: %d, missing %" PRIu64, r, shortage.missing_pages);
	return file;
}

uint64_t scene_release(struct backing_file *file)
{
	uint64_t limbo_pages;

	backing_file_release(file, true, &limbo_pages);
	return limbo_pages;
}

char *scene_map(int fd, size_t bytes, int flags)
{
	char *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, fd, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

int scene_run_child(int (*play)(void *), void *argument)
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

void scene_assert_played(int (*play)(void *), void *argument)
{
	int status = scene_run_child(play, argument);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		fail_msg("the child failed at step %d", WEXITSTATUS(status));
}

bool scene_become_nobody(void)
{
	/* /proc/self stays ours, so that a refusal is the file's and not /proc's. */
	return setresuid(NOBODY, NOBODY, NOBODY) == 0 && prctl(PR_SET_DUMPABLE, 1) == 0;
}

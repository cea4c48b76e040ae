/* test_assistant.c - two threads zero exactly what one was asked to, and notice what either meets.
 *
 * Needs neither root nor hugepages.
 */
#include <config.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/backing/assistant.h"
#include "tests/unit/backing_scene.h"

#define N_PAGES UINT64_C(4096) /* 16 MiB */

struct assistant {
	struct mailbox mailbox;
	pthread_t thread;
	struct letter stop_letter;
	bool stopping;
	unsigned n_letters; /* the last one stops it */
};

static struct assistant assistant;

static void stop(struct letter *letter)
{
	assistant.stopping = true;
}

static void *assist(void *arg)
{
	while (!assistant.stopping)
		assistant.n_letters += mailbox_wait(&assistant.mailbox, -1);
	return NULL;
}

static void hire(void)
{
	assistant = (struct assistant){.stop_letter.deliver = stop};
	assert_int_equal(mailbox_init(&assistant.mailbox), 0);
	assert_int_equal(pthread_create(&assistant.thread, NULL, assist, NULL), 0);
}

/* Returns how often it was asked. */
static unsigned dismiss(void)
{
	mailbox_post(&assistant.mailbox, &assistant.stop_letter);
	assert_int_equal(pthread_join(assistant.thread, NULL), 0);
	mailbox_fini(&assistant.mailbox);
	return assistant.n_letters - 1;
}

struct scene {
	struct backing *backing;
	struct backing_file *file;
	char *client;
};

static struct scene open_scene(void)
{
	struct scene scene;

	scene.backing = scene_new_backing(scene_memfd_config(KIB4));
	scene.file = scene_new_file(scene.backing, N_PAGES);
	scene.client = scene_map(backing_file_fd(scene.file), N_PAGES * KIB4, MAP_SHARED);
	memset(scene.client, 'x', N_PAGES * KIB4);
	hire();
	return scene;
}

static void close_scene(const struct scene *scene)
{
	munmap(scene->client, N_PAGES * KIB4);
	scene_release(scene->file);
	backing_free(scene->backing);
}

static int zero(const struct scene *scene, const struct backing_run *runs, unsigned n_runs)
{
	return backing_file_zero_runs(scene->file, runs, n_runs, &assistant.mailbox);
}

static bool is_in(const struct backing_run *runs, unsigned n_runs, uint64_t page)
{
	for (unsigned i = 0; i < n_runs; i++)
		if (page >= runs[i].first && page - runs[i].first < runs[i].n_pages)
			return true;
	return false;
}

static void expect_zeroed(const struct scene *scene, const struct backing_run *runs, unsigned n_runs)
{
	static char zeroes[KIB4], marks[KIB4];

	memset(marks, 'x', sizeof(marks));
	for (uint64_t page = 0; page < N_PAGES; page++)
		assert_memory_equal(scene->client + page * KIB4, is_in(runs, n_runs, page) ? zeroes : marks,
				    KIB4);
}

/* The half falls into a run, of an odd number of pages. */
static void assistant_zeroes_half_of_one_run(void **state)
{
	static const struct backing_run run = {3, 2049};
	struct scene scene = open_scene();

	assert_int_equal(zero(&scene, &run, 1), 0);
	expect_zeroed(&scene, &run, 1);
	assert_int_equal(dismiss(), 1);
	close_scene(&scene);
}

static void assistant_zeroes_half_of_scattered_runs(void **state)
{
	struct backing_run runs[BACKING_ZERO_MAX];
	struct scene scene = open_scene();

	for (unsigned i = 0; i < BACKING_ZERO_MAX; i++)
		runs[i] = (struct backing_run){.first = (uint64_t)i * 64 + i % 3, .n_pages = 20 + i % 40};
	assert_int_equal(zero(&scene, runs, BACKING_ZERO_MAX), 0);
	expect_zeroed(&scene, runs, BACKING_ZERO_MAX);
	assert_int_equal(dismiss(), 1);
	close_scene(&scene);
}

static void assistant_is_not_woken_for_little(void **state)
{
	static const struct backing_run runs[] = {{0, 1}, {5, 100}};
	struct scene scene = open_scene();

	assert_int_equal(zero(&scene, runs, 2), 0);
	expect_zeroed(&scene, runs, 2);
	assert_int_equal(dismiss(), 0);
	close_scene(&scene);
}

/* The file is cut where the assistant works, then where its master does as well. */
static void assistant_tells_of_damage(void **state)
{
	static const struct backing_run run = {0, N_PAGES};
	struct scene scene = open_scene();

	assert_int_equal(ftruncate(backing_file_fd(scene.file), (off_t)(N_PAGES - 1) * KIB4), 0);
	assert_int_equal(zero(&scene, &run, 1), BACKING_DAMAGED);
	assert_int_equal(ftruncate(backing_file_fd(scene.file), KIB4), 0);
	assert_int_equal(zero(&scene, &run, 1), BACKING_DAMAGED);
	assert_int_equal(dismiss(), 2);
	close_scene(&scene);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(assistant_zeroes_half_of_one_run),
		cmocka_unit_test(assistant_zeroes_half_of_scattered_runs),
		cmocka_unit_test(assistant_is_not_woken_for_little),
		cmocka_unit_test(assistant_tells_of_damage),
	};

	return cmocka_run_group_tests_name("assistant", tests, NULL, NULL);
}

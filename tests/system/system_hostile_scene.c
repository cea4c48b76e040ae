/* system_hostile_scene.c - see system_hostile_scene.h. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/wait.h"
#include "tests/system/system_hostile_scene.h"

#define PAGE 4096

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define LARGER 8 /* shadows of what is allocated, and a quarantine of what is freed */
#else
#define LARGER 1
#endif

#define BYSTANDERS  2
#define MOST_OTHERS 5 /* with turns on one worker: three users in a test, hugepoolctl's, and the errands */

/* ---- the bystander ---- */

static void work_in(hp_lease *lease, uint64_t stamp)
{
	uint64_t *words = hp_lease_data(lease), n = hp_lease_bytes(lease) / sizeof(*words);

	for (uint64_t i = 0; i < n; i++)
		raw_check(words[i] == 0, "granted memory is not zero: word %" PRIu64 " is %#" PRIx64, i,
			  words[i]);
	for (uint64_t i = 0; i < n; i++)
		words[i] = stamp + i;
	for (uint64_t i = 0; i < n; i++)
		raw_check(words[i] == stamp + i,
			  "somebody wrote into our lease: word %" PRIu64 " is %#" PRIx64, i, words[i]);
}

static void bystander_round(hp_client *client, uint64_t round)
{
	static const uint64_t sizes[] = {1, 3, 16};
	hp_lease *lease;

	raw_check(hp_alloc(client, sizes[round % 3] * PAGE, NULL, &lease) == 0,
		  "the bystander gets nothing: %s", hp_error());
	work_in(lease, round << 32 | 1);
	raw_check(hp_free(lease) == 0, "the bystander cannot free: %s", hp_error());
}

/* Where seats are few it may have to wait until those that it left a moment ago are free. */
static hp_client *bystander_open(const struct scene *scene)
{
	const uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	hp_client *client;
	int r;

	while ((r = hp_open(scene->dut.socket, &client)) == -EOVERFLOW && wait_now_ms() < deadline)
		wait_pause();
	raw_check(r == 0, "the bystander cannot come in: %s", hp_error());
	return client;
}

static void bystander(void *arg)
{
	struct scene *scene = arg;
	struct scene_shared *shared = scene->shared;
	hp_client *clients[BYSTANDERS];
	hp_lease *anchors[BYSTANDERS];

	for (unsigned i = 0; i < BYSTANDERS; i++) {
		clients[i] = bystander_open(scene);
		/* Keeps its arena from going. */
		raw_check(hp_alloc(clients[i], PAGE, NULL, &anchors[i]) == 0, "no anchor: %s", hp_error());
	}
	for (uint64_t round = 0; !shared->stop; round++) {
		bystander_round(clients[round % BYSTANDERS], round);
		if (shared->newcomers && round % 8 == 0) {
			hp_client *newcomer = bystander_open(scene);

			bystander_round(newcomer, round);
			hp_close(newcomer);
		}
		shared->n_rounds++;
		wait_pause();
	}
	for (unsigned i = 0; i < BYSTANDERS; i++)
		hp_close(clients[i]);
}

void scene_expect_service(struct scene *scene, bool newcomers)
{
	struct scene_shared *shared = scene->shared;
	uint64_t before, deadline = wait_now_ms() + WAIT_MAX_MS;

	shared->newcomers = newcomers;
	/* One round of each kind that began after this call. */
	before = shared->n_rounds;
	while (shared->n_rounds < before + 18) {
		raw_check(wait_now_ms() < deadline, "the bystander is stuck in round %" PRIu64,
			  shared->n_rounds);
		wait_pause();
	}
	shared->newcomers = false;
}

void scene_expect_turns(struct scene *scene)
{
	json_t *list = dut_json(&scene->dut, "sessions");
	const json_t *session;
	size_t i;

	json_array_foreach (json_object_get(list, "sessions"), i, session) {
		int64_t n_waited = json_integer_value(json_object_get(session, "turns_waited"));

		raw_check(n_waited <= MOST_OTHERS,
			  "uid %" PRId64 " has waited for %" PRId64 " turns of others",
			  (int64_t)json_integer_value(json_object_get(session, "uid")), n_waited);
	}
	json_decref(list);
}

/* ---- the scene ---- */

uid_t scene_uid(uid_t uid)
{
	return geteuid() == 0 ? uid : 0;
}

void scene_begin(struct scene *scene, uid_t uid, const char *const *arguments)
{
	const char *all[32] = {"--workers", "2", "--log-level", "warning"};
	unsigned n = 4;

	while (*arguments && n < 31)
		all[n++] = *arguments++;
	*scene = (struct scene){0};
	scene->shared =
		mmap(NULL, sizeof(*scene->shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(scene->shared, MAP_FAILED);
	dut_start_as(&scene->dut, uid, all);
	scene->n_fds = dut_n_fds(&scene->dut);
	scene->rss_bytes = dut_rss_bytes(&scene->dut);
	scene->bystander = raw_fork(scene_uid(UID_BYSTANDER), bystander, scene);
	scene_expect_service(scene, false);
}

void scene_wait_sessions(struct scene *scene, int64_t n)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	int64_t got;

	for (;;) {
		json_t *status = dut_json(&scene->dut, "status");

		got = json_integer_value(json_object_get(status, "sessions")) - 1;
		json_decref(status);
		if (got == n)
			return;
		raw_check(wait_now_ms() < deadline, "%" PRId64 " sessions instead of %" PRId64, got, n);
		wait_pause();
	}
}

static void wait_fds(struct scene *scene)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;
	unsigned n;

	while ((n = dut_n_fds(&scene->dut)) > scene->n_fds) {
		raw_check(wait_now_ms() < deadline, "the daemon has %u descriptors, before it had %u", n,
			  scene->n_fds);
		wait_pause();
	}
}

static void stop_bystander(struct scene *scene)
{
	struct scene_shared *shared = scene->shared;

	if (scene->bystander == 0)
		return;
	scene_expect_service(scene, true);
	scene_expect_turns(scene);
	shared->stop = true;
	raw_join(scene->bystander);
}

void scene_end(struct scene *scene)
{
	json_t *status;
	const json_t *pool;
	size_t i;

	stop_bystander(scene);
	scene_wait_sessions(scene, 0);
	status = dut_json(&scene->dut, "status");
	json_array_foreach (json_object_get(status, "pools"), i, pool) {
		const char *name = json_string_value(json_object_get(pool, "name"));

		dut_wait_pool(&scene->dut, name, "pages_leased", 0);
		dut_wait_pool(&scene->dut, name, "pages_orphaned", 0);
		dut_wait_pool(&scene->dut, name, "leases", 0);
	}
	json_decref(status);
	wait_fds(scene);
	dut_stop(&scene->dut);
	munmap(scene->shared, sizeof(*scene->shared));
}

void scene_set_step(struct scene *scene, int step)
{
	scene->shared->step = step;
}

void scene_wait_step(struct scene *scene, int step)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;

	while (scene->shared->step < step) {
		raw_check(wait_now_ms() < deadline, "step %d is not reached, only %d", step,
			  scene->shared->step);
		wait_pause();
	}
}

uint64_t scene_grown_bytes(const struct scene *scene)
{
	uint64_t rss_bytes = dut_rss_bytes(&scene->dut);

	return rss_bytes > scene->rss_bytes ? (rss_bytes - scene->rss_bytes) / LARGER : 0;
}

void scene_run(void **test)
{
	static const char *const arguments[] = {
		"--pool", "default=4K:64M,users=*,decay=100ms", "--pool", "small=4K:1M,users=*,decay=100ms",
		"--pool", "closed=4K:1M,decay=100ms",           NULL,
	};
	void (*run)(struct scene * scene) = (void (*)(struct scene *)) * test;
	struct scene scene;

	scene_begin(&scene, 0, arguments);
	run(&scene);
	scene_end(&scene);
}

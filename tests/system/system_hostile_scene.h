/* system_hostile_scene.h - what every hostile test plays in: a daemon, and a bystander who must not notice.
 *
 * The bystander is a client of another user that leases, verifies and frees all the time, on two connections,
 * so that it meets both workers. Afterwards nobody may hold anything, the daemon's descriptors are as many as
 * before, and it exits with 0, its own walk through all pages passed. Sessions outlive their connections as
 * long as the process lives: what is hostile therefore happens in children (raw_fork()).
 */
#pragma once

#include "tests/support/raw.h"

#define UID_HOSTILE   12345
#define UID_BYSTANDER 12346
#define UID_DAEMON    65534 /* where the daemon is nobody in particular */

/* In memory that the children share. */
struct scene_shared {
	_Atomic int step; /* what children tell the test, and the test the children */
	uint64_t session, lease;
	uint8_t token[16];
	_Atomic int n_in, n_out;

	/* the bystander's */
	_Atomic bool stop, newcomers;
	_Atomic uint64_t n_rounds;
};

struct scene {
	struct dut dut;
	pid_t bystander;
	struct scene_shared *shared;
	unsigned n_fds; /* the daemon's, before anybody came */
	uint64_t rss_bytes;
};

/* Start the daemon with two workers and these arguments (a NULL at the end), as `uid` (0: ourselves). The
 * first pool is the bystander's; it must admit everybody. */
void scene_begin(struct scene *scene, uid_t uid, const char *const *arguments);
/* Everything as it was, or the test fails. */
void scene_end(struct scene *scene);

/* `uid`, or 0 where we cannot change it. */
uid_t scene_uid(uid_t uid);
/* Wait until a child, or the test, has come to this step; tell it. */
void scene_wait_step(struct scene *scene, int step);
void scene_set_step(struct scene *scene, int step);
/* The bystander has done something since this was called. With `newcomers`, also as a client who comes anew.
 */
void scene_expect_service(struct scene *scene, bool newcomers);
/* No session's user has waited for more turns of a worker than there can be others, counted by the daemon. */
void scene_expect_turns(struct scene *scene);
/* Sessions beside that of hugepoolctl, which asks. */
void scene_wait_sessions(struct scene *scene, int64_t n);
/* Anonymous memory that the daemon has taken since the beginning, without what a sanitizer adds. */
uint64_t scene_grown_bytes(const struct scene *scene);

/* For cmocka's tables: runs `test` between a begin and an end, in the scene of `scene_arguments`. */
#define SCENE_TEST(test)                                                                                     \
	{                                                                                                    \
#test, scene_run, NULL, dut_kill_all, (void *)test                                           \
	}
/* The default scene's pools: 0 default, 64 MiB; 1 small, 1 MiB; 2 closed, which admits nobody but root. */
#define SCENE_DEFAULT_PAGES 16384
#define SCENE_SMALL_PAGES   256
enum { SCENE_DEFAULT, SCENE_SMALL, SCENE_CLOSED };
void scene_run(void **test);

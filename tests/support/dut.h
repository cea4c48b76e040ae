/* dut.h - the daemon under test: the built hugepoold in a directory of its own, and hugepoolctl to ask it.
 *
 * Every function asserts by cmocka: a test that goes on has what it asked for. A failing test's daemon is
 * killed by dut_kill_all() in the teardown.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/support/wait.h"

/* The same by their old names. */
#define dut_now_ms wait_now_ms
#define dut_pause  wait_pause

struct dut {
	pid_t pid;          /* of hugepoold */
	char directory[64]; /* mkdtemp, mode 0755 so that other uids can reach the socket */
	char socket[108];
	char log[108]; /* its stderr */
	int notify_fd; /* where it tells us what it does; the test's end */
};

/* A number of operations: fewer under a sanitizer, and $HP_OPS at most. */
unsigned dut_ops(unsigned n);
/* A list of words for the functions below. */
#define DUT_WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define DUT_NO_WORDS   ((const char *const[]){NULL})

/* Start hugepoold (from $HP_BUILD) with `--socket` and these arguments (a NULL at the end), wait until it has
 * told NOTIFY_SOCKET that it is ready. */
void dut_start(struct dut *dut, const char *const *arguments);
/* The same as another user, to whom its directory then belongs. */
void dut_start_as(struct dut *dut, uid_t uid, const char *const *arguments);
/* Daemons started from now on can have so many descriptors at most, and cannot raise that without privilege.
 * 0: as many as we can, again. */
void dut_limit_fds(unsigned n);
/* Daemons started from now on call this in their process before they are executed, to enter a namespace, say.
 * NULL: no more. */
void dut_enter(void (*hook)(void));
/* Wait until it has said this to NOTIFY_SOCKET, such as "READY=1" (done by dut_start()) or "STOPPING=1". */
void dut_wait_notified(struct dut *dut, const char *word);
/* Start one that must refuse: returns its exit status, *ret_error is what it said (malloc'ed). */
int dut_start_refused(const char *const *arguments, char **ret_error);
/* SIGTERM; its exit status must be 0, its directory must be empty but for what we made; removes it. */
void dut_stop(struct dut *dut);
/* The same without the signal, for tests that have sent one. */
void dut_wait_stopped(struct dut *dut);
/* kill -9, wait. The directory stays for another dut_restart(). */
void dut_kill(struct dut *dut);
void dut_restart(struct dut *dut, const char *const *arguments);
void dut_restart_as(struct dut *dut, uid_t uid, const char *const *arguments);
/* A directory of its own and no daemon yet: dut_restart() starts one, dut_discard() removes what must then be
 * empty as after dut_stop(). */
void dut_prepare(struct dut *dut, uid_t uid);
void dut_discard(struct dut *dut);
/* The daemon's log goes to our stderr: what failed may be told there. */
void dut_show_log(const struct dut *dut);
/* In teardowns: kill what a failed test has left, remove directories. Returns 0. */
int dut_kill_all(void **state);

/* A program of the build, and in which world it runs. */
struct dut_program {
	const char *name; /* "hugepoold", "hugepoolctl" */
	uid_t uid;        /* 0: as we are */
	const char *const *arguments;
	const char *const *environment; /* NULL, or NAME=VALUE on top of ours less HUGEPOOL_SOCKET */
	int out_fd, error_fd;           /* its stdout and stderr; 0: ours, -1: closed */
};

/* Start it, and do not wait. Returns its pid; dut_wait_child() or dut_kill_all() ends that. */
pid_t dut_spawn(const struct dut_program *program);
/* Run any program of the build ("hugepoold", "hugepoolctl") to its end, as `uid`, HUGEPOOL_SOCKET unset. */
int dut_run(const char *program, uid_t uid, const char *const *arguments, char **ret_out, char **ret_error);
/* The same as one assertion: it ends with `status`, says all of `words` (parted by |) on stdout if that is 0,
 * else on stderr, and nothing on the other one. */
void dut_expect(const char *program, uid_t uid, int status, const char *words, const char *const *arguments);
/* Run hugepoolctl --socket ... with these arguments (NULL at the end), as `uid` (0: ourselves). Returns its
 * exit status; *ret_out and *ret_error (may be NULL) are what it printed, malloc'ed. */
int dut_ctl(const struct dut *dut, uid_t uid, const char *const *arguments, char **ret_out, char **ret_error);
/* `hugepoolctl --json COMMAND`, parsed; the caller's reference. Words of the command are parted by a space.
 */
json_t *dut_json(const struct dut *dut, const char *command);
/* A number of one pool in `status --json`. Also asserts that the pool's sums add up. */
int64_t dut_pool(const struct dut *dut, const char *pool, const char *key);
/* Wait (asserted) until it has that value. */
void dut_wait_pool(const struct dut *dut, const char *pool, const char *key, int64_t value);

/* Start `hugepoolctl --json alloc ARGUMENTS` that holds; waits until it has printed its lease. Returns its
 * pid and the lease id. */
pid_t dut_hold(const struct dut *dut, uid_t uid, const char *const *arguments, uint64_t *ret_lease);
/* The same with any command that holds: `alloc ...`, `open ...`. */
pid_t dut_hold_by(const struct dut *dut, uid_t uid, const char *const *arguments, uint64_t *ret_lease);
/* Wait for a child (asserted): its status as waitpid() gives it. */
int dut_wait_child(pid_t pid);
/* A child that a test has forked: dut_kill_all() ends it, if it still is one. */
void dut_adopt(pid_t pid);

/* Skip the calling test, loudly, unless root (or unless n hugepages of that size can be had; see hugetlb.h).
 */
void dut_need_root(void);

/* Open descriptors and the resident anonymous memory of the daemon (leased pages are not), to see that
 * nothing leaks. */
unsigned dut_n_fds(const struct dut *dut);
uint64_t dut_rss_bytes(const struct dut *dut);

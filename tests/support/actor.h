/* actor.h - a client process of any user, which does with libhugepool what the test says, step by step.
 *
 * The test holds its strings; leases are named by their ids. What a function is not said to return is
 * asserted, and so is that the actor lives. An actor ends with the test at the latest (dut_kill_all()).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "client/include/hugepool.h"
#include "tests/support/dut.h"

#define ACTOR_MAX_BATCH  256
#define ACTOR_MAX_ACCESS 4 /* that the options of an Alloc can have */

struct actor {
	pid_t pid;
	int fd; /* the strings */
};

/* Fork, become `uid`, open a client at the daemon. */
void actor_start(struct actor *actor, uid_t uid, const struct dut *dut);
/* The same without the client; then hp_open() as a step: returns what that says. */
void actor_start_idle(struct actor *actor, uid_t uid);
int actor_open(struct actor *actor, const struct dut *dut);
/* hp_close(); it lives on. */
void actor_close(struct actor *actor);
/* It closes its client and exits, with status 0. */
void actor_quit(struct actor *actor);
void actor_kill(struct actor *actor);

/* hp_alloc(), hp_alloc_batch() of `n` leases of `bytes` each, hp_lease_open(), and the ways to free: return
 * what those say. */
int actor_alloc(struct actor *actor, uint64_t bytes, const struct hp_alloc_options *options,
		uint64_t *ret_lease);
int actor_alloc_batch(struct actor *actor, unsigned n, uint64_t bytes, const struct hp_alloc_options *options,
		      uint64_t *ret_leases);
int actor_open_lease(struct actor *actor, const char *name, unsigned flags, uint64_t *ret_lease);
int actor_free(struct actor *actor, uint64_t lease);
int actor_free_id(struct actor *actor, uint64_t lease);
int actor_free_name(struct actor *actor, const char *name);

/* Set every byte of the lease's memory; count those that are not `value`. */
void actor_fill(struct actor *actor, uint64_t lease, uint8_t value);
uint64_t actor_count_other(struct actor *actor, uint64_t lease, uint8_t value);
/* A copy of the arena's descriptor, the caller's, as hp_lease_dup_fd() gives it. `ret_offset` may be NULL. */
int actor_dup_fd(struct actor *actor, uint64_t lease, uint64_t *ret_offset);

unsigned actor_n_fds(struct actor *actor);
/* End its connection under the library's feet. */
void actor_break(struct actor *actor);
/* Fork a child that keeps all descriptors, and lives until the test closes the strings. */
void actor_fork(struct actor *actor);
/* Run this in the actor, with the file of a lease (-1 if there is none of that id), and return what it
 * returns. */
int64_t actor_act(struct actor *actor, uint64_t lease, int64_t (*act)(int fd));

/* actor_alloc() in two steps, for one that waits; in between nothing else can be asked of it. */
void actor_alloc_begin(struct actor *actor, uint64_t bytes, const struct hp_alloc_options *options);
bool actor_is_busy(const struct actor *actor);
int actor_alloc_end(struct actor *actor, uint64_t *ret_lease);

/* hp_lease_resize(), hp_free_batch() of one with HP_COLD: return what those say. */
int actor_resize(struct actor *actor, uint64_t lease, uint64_t bytes, unsigned flags);
int actor_free_cold(struct actor *actor, uint64_t lease);

/* Read or write one byte, so far from the lease's first: returns what is read, or 0; or the signal that the
 * access has raised, negative. */
int actor_peek(struct actor *actor, uint64_t lease, int64_t offset);
int actor_poke(struct actor *actor, uint64_t lease, int64_t offset, uint8_t value);

/* hp_subscribe(), and hp_dispatch() until an event of that kind comes; others before it are dropped. */
void actor_subscribe(struct actor *actor, unsigned kinds);
void actor_wait_event(struct actor *actor, unsigned kind, uint64_t *ret_lease, uint64_t *ret_arena);

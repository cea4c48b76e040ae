/* leftover.h - memory of daemons before this one, which were killed, that their clients still have.
 *
 * A client keeps its mappings and descriptors when the daemon dies, and the kernel keeps their pages. Here
 * they are found again in /proc, and counted: each file once, with all pages that it has, for the pool that
 * it was made for. Memfds are known by their names, which have an id that only this state directory has and a
 * number for each life of a daemon; files of a mount of our own by the mount's device number. Who may not see
 * what the daemon's user cannot see finds less: processes whose /proc/PID/maps may not be read, descriptors
 * in a socket's queue and pages that are pinned without a mapping are not counted.
 *
 * The journal's entries: "memory" has the id; "left:DEVICE" the pool whose mount that was. They are kept as
 * long as there is something left, over the ends of any number of daemons.
 *
 * One thread at a time calls what looks, and may block in it on a process's memory lock: never a worker's.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct journal;
struct leftover;

/* Before anything of this daemon is made. `journal` must outlive it. Returns 0 or negative errno: the journal
 * cannot be written. */
int leftover_new(struct journal *journal, struct leftover **ret);
/* When all of this daemon's memory is given back: looks once more, and keeps what is left in the journal.
 * NULL is fine. Returns NULL. */
struct leftover *leftover_free(struct leftover *leftover);

/* The name of a memfd for that pool. `leftover` NULL: one that is not found again. */
void leftover_format_name(const struct leftover *leftover, const char *pool, char *name, size_t room);
/* A dead daemon had a mount with this device number for that pool, and it is detached now: before the first
 * look. NULL is fine. */
void leftover_add_mount(struct leftover *leftover, const char *pool, uint64_t device);
/* A mount of this daemon's has it: the old one is gone. Before the other threads are started. NULL is fine.
 */
void leftover_drop_mount(struct leftover *leftover, uint64_t device);

/* Look at all processes now: for the start. Nothing, if no daemon before this one can have left anything.
 * NULL is fine. */
void leftover_look(struct leftover *leftover);
/* The same a slice at a time, again and again until nothing is left: call it some times a second. */
void leftover_step(struct leftover *leftover);

/* What is left of that pool, as the last look has found it. *ret_pid: a process that has some, 0: none. NULL
 * is fine. Any thread. */
uint64_t leftover_bytes(struct leftover *leftover, const char *pool, pid_t *ret_pid);

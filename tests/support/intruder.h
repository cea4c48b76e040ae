/* intruder.h - a client that keeps what it should have let go of, and tries what it may not.
 *
 * Acts for actor_act(), which says where they run: on the file of a lease, or (lease 0) on what the actor has
 * kept of one. Everything kept is the whole file. A page that raises SIGBUS is counted and not died of.
 */
#pragma once

#include <stdint.h>

#define INTRUDER_BYTE 0xbd /* what the intruder writes wherever it can */
#define VICTIM_BYTE   0x5e /* what the victim fills its leases with; nobody else may see it */

/* Keep a copy of the descriptor and a mapping, both writable if the descriptor is, until the actor ends or
 * keeps another. 0 or a negative errno. */
int64_t intruder_keep(int fd);
/* By what was kept, read everything: through the mapping, the descriptor and a new mapping. Returns how many
 * bytes of the victim's were seen. */
int64_t intruder_look(int unused);
/* Write to every page in the same ways, to private copies if the descriptor is read-only. Returns how many
 * writes went through. */
int64_t intruder_overwrite(int unused);
/* 1: every page of the kept mapping raises SIGBUS. */
int64_t intruder_is_gone(int unused);

/* Pin the first bytes of the file by an io_uring buffer and by vmsplice, and keep nothing else: the caller's
 * actor_close() takes the library's descriptor, too; until the actor ends. 0 or a negative errno. */
int64_t intruder_pin(int fd);
/* Read the pinned bytes, out of the pipe (once) and by the ring. Returns how many are the victim's, or a
 * negative errno. */
int64_t intruder_look_pinned(int unused);
/* Write to them by the ring. Returns how many bytes were written, or a negative errno. */
int64_t intruder_overwrite_pinned(int unused);

/* The actor forks, and its child takes its place at the strings: with all it has kept, and a descriptor of
 * everything. The pid is then that of the parent, who does nothing more. */
int64_t intruder_leave_it_to_a_child(int unused);

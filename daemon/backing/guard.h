/* guard.h - touching memory that somebody else can truncate, without dying of it.
 *
 * A shared file can be cut short by whoever may write to it; an access of ours then raises SIGBUS. These
 * functions survive it and say so. Any number of threads at once, on the same memory too; no allocation, no
 * lock. The thread may have SIGBUS blocked. A SIGBUS that is none of ours gets the action that was there
 * before the guard.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* See to it that the handler is in place, and that the kernel tells this process of broken memory which it
 * maps before anybody touches it, for which this thread must live (or those that it starts from now on);
 * before the other functions are used: the first call installs it, later ones only if somebody (a test
 * framework, say) has put another one there. */
void guard_install(void);

/* Zero these pieces of one mapping, whole pages each, in ascending order. False: SIGBUS on the way, how much
 * was zeroed is undefined. */
bool guard_clear(const struct iovec *pieces, unsigned n_pieces);

/* Set `bytes` at `memory` to `value`. False: SIGBUS on the way, how much was set is undefined. */
bool guard_fill(void *memory, uint8_t value, size_t bytes);

/* Copy `bytes` from `memory`, the guarded side, into `buffer`, the caller's own. False: SIGBUS on the way,
 * the buffer's content is undefined. */
bool guard_read(void *buffer, const void *memory, size_t bytes);

/* Was the kernel's word that memory is broken (BUS_MCEERR) of this mapping? Then where; each is told once,
 * the last that came are kept. */
bool guard_take_memory_error(const void *memory, size_t bytes, size_t *ret_offset);

/* The same of any mapping: the first that nobody has asked for yet. */
bool guard_take_any_memory_error(uintptr_t *ret_address);

/* interrupt.h - waiting that a signal handler can end, as it ends read(2): one that was installed without
 * SA_RESTART. The program's handlers decide, the library installs none.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

/* A wait with a time limit has said EINTR, which it does for every handler: has this thread one that does not
 * restart calls, and may it have run just now? Those for faults of the program itself do not count. */
bool interrupt_is_meant(void);

/* Sleep while *word is `seen`, until interrupt_wake() or the deadline (monotonic; UINT64_MAX: none). Returns
 * 0 when it may have changed; -EINTR; -ETIMEDOUT. */
int interrupt_sleep(_Atomic uint32_t *word, uint32_t seen, uint64_t deadline_ns);
/* Wake who sleeps there; *word has been changed. */
void interrupt_wake(_Atomic uint32_t *word);

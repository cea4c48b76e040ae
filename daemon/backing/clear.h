/* clear.h - zeroing memory that nobody is going to read soon: by stores that go past the caches, where the
 * CPU has them, so that scrubbing neither reads what it overwrites nor drives out what others have cached.
 *
 * No state: any thread. It may fault in the middle, as any access of the caller's.
 */
#pragma once

#include <stddef.h>

/* Zero `bytes` at `memory`; both are multiples of 4096. All stores are done when it returns. */
void clear_pages(void *memory, size_t bytes);

/* Each way that this CPU has, NULL at the end, the best first; for tests. */
typedef void clear_way(void *memory, size_t bytes);
clear_way *const *clear_ways(void);

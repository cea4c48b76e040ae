/* limit.h - which of the process's own limits, those of setrlimit(2), has made a call of the kernel's fail.
 *
 * Only for sentences: nothing is decided by it. Any thread; no memory is allocated.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define LIMIT_WORDS_MAX 160

/* What a call needed that has failed. */
struct limit_need {
	uint64_t bytes; /* of addresses; 0: little */
	bool is_data;   /* private and writable */
	bool is_locked;
};

/* " (the limit ... is ...: raise it)", to be put behind the reason, when a call that needed this failed with
 * `error`, a negative errno, and a limit is what is in the way; else "". `need` may be NULL. Returns `words`.
 */
const char *limit_explain(int error, const struct limit_need *need, char words[LIMIT_WORDS_MAX]);

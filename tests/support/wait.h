/* wait.h - how a test waits: for a condition, with a deadline that only failures reach. How long something
 * takes is no test's business: on a busy machine it can be anything. Nothing else in the tests sleeps
 * (tools/check-waits).
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define WAIT_MAX_MS (2 * 60 * 1000)

static inline uint64_t wait_now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* Between two looks. */
static inline void wait_pause(void)
{
	const struct timespec pause = {.tv_nsec = 1000 * 1000};

	nanosleep(&pause, NULL);
}

/* Look until the condition is true. False: it never was. */
#define wait_for(condition)                                                                                  \
	({                                                                                                   \
		const uint64_t until_ms_ = wait_now_ms() + WAIT_MAX_MS;                                      \
		bool is_true_;                                                                               \
                                                                                                             \
		while (!(is_true_ = (condition)) && wait_now_ms() < until_ms_)                               \
			wait_pause();                                                                        \
		is_true_;                                                                                    \
	})

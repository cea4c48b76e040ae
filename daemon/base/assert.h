/* assert.h - asserts that stay on in production, and magic numbers of long-lived structs.
 *
 * hp_assert() is for what only a bug of ours can break; never for what came from outside.
 * hp_check() is the same for builds with --enable-checks only: walks that cost more than the code they guard.
 */
#pragma once

#include <stdio.h>
#include <stdlib.h>

#define hp_assert(expr)                                                                                      \
	do {                                                                                                 \
		if (__builtin_expect(!(expr), 0)) {                                                          \
			fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", __FILE__, __LINE__, __func__,   \
				#expr);                                                                      \
			abort();                                                                             \
		}                                                                                            \
	} while (0)

#ifdef HP_CHECKS
#define hp_check(expr) hp_assert(expr)
#else
#define hp_check(expr) ((void)0)
#endif

/* A struct that says what it is: set at birth, cleared at death, compared wherever it is handed in. */
#define hp_assert_alive(object, MAGIC) hp_assert((object) && (object)->magic == (MAGIC))

/* log.h - one line to stderr per event: with its time for people and files, with a <level> prefix for the
 * journal, which keeps the time itself.
 *
 * Whoever decides logs, once; libraries and lower layers return errors. Any thread; never blocks on a lock
 * that a client can hold. What a client can cause goes through log_limited().
 */
#pragma once

#include <stdarg.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_NOTICE, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* Level names, in the order of the enum: "error" ... "debug". Returns -EINVAL for any other word. */
int log_level_parse(const char *word, enum log_level *ret_level);
/* Before there are threads. Looks at $JOURNAL_STREAM to choose the prefix. */
void log_init(enum log_level level);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)  log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)   log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

/* At most one line a second from this place; says how many were left out. */
#define log_limited(level, ...)                                                                              \
	do {                                                                                                 \
		static struct log_limit limit_;                                                              \
		log_line_limited(&limit_, (level), __VA_ARGS__);                                             \
	} while (0)

struct log_limit {
	_Atomic unsigned long long last_ns;
	_Atomic unsigned n_left_out;
};
void log_line_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* log.c - formats into one buffer and writes it with one call, so that lines of threads do not mix. */
#include <config.h>

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/log.h"
#include "daemon/base/text.h"

static const char *const level_names[] = {"error", "warning", "notice", "info", "debug"};
static const int level_syslog[] = {3, 4, 5, 6, 7};

static enum log_level log_up_to = LOG_LEVEL_INFO;
static bool log_to_journal;

int log_level_parse(const char *word, enum log_level *ret_level)
{
	for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++)
		if (strcmp(word, level_names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	return -EINVAL;
}

/* $JOURNAL_STREAM is DEVICE:INODE of the journal's socket; it is inherited, so compare it with our stderr. */
static bool stderr_is_journal(void)
{
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat st;

	return stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(STDERR_FILENO, &st) == 0 && st.st_dev == device && st.st_ino == inode;
}

void log_init(enum log_level level)
{
	log_up_to = level;
	log_to_journal = stderr_is_journal();
}

/* What stands before the text: the journal adds the time and the program's name itself, elsewhere the time is
 * UTC. Returns its length. */
static int format_prefix(enum log_level level, char *line, size_t room)
{
	struct timespec now;
	struct tm utc;
	char second[32];

	if (log_to_journal)
		return snprintf(line, room, "<%d>", level_syslog[level]);
	clock_gettime(CLOCK_REALTIME, &now);
	strftime(second, sizeof(second), "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
	return snprintf(line, room, "%s.%03ldZ hugepoold: %s%s", second, now.tv_nsec / 1000000,
			level < LOG_LEVEL_NOTICE ? level_names[level] : "",
			level < LOG_LEVEL_NOTICE ? ": " : "");
}

static void log_vline(enum log_level level, const char *suffix, const char *format, va_list args)
{
	char line[1024];
	int len = format_prefix(level, line, sizeof(line));

	/* What the line says is cut where it is too long, between two characters. */
	text_vformat(line + len, sizeof(line) - (size_t)len - strlen(suffix) - 1, format, args);
	len += (int)strlen(line + len);
	len += snprintf(line + len, sizeof(line) - (size_t)len, "%s\n", suffix);
	(void)!write(STDERR_FILENO, line, (size_t)len);
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	if (level > log_up_to)
		return;
	va_start(args, format);
	log_vline(level, "", format, args);
	va_end(args);
}

void log_line_limited(struct log_limit *limit, enum log_level level, const char *format, ...)
{
	unsigned long long now_ns = clock_now_ns(), last_ns = atomic_load(&limit->last_ns);
	char suffix[48] = "";
	unsigned n_left_out;
	va_list args;

	if (level > log_up_to)
		return;
	if ((last_ns && now_ns - last_ns < NS_PER_S) ||
	    !atomic_compare_exchange_strong(&limit->last_ns, &last_ns, now_ns)) {
		atomic_fetch_add(&limit->n_left_out, 1);
		return;
	}
	n_left_out = atomic_exchange(&limit->n_left_out, 0);
	if (n_left_out)
		snprintf(suffix, sizeof(suffix), " (and %u more like it)", n_left_out);
	va_start(args, format);
	log_vline(level, suffix, format, args);
	va_end(args);
}

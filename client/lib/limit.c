/* limit.c - see limit.h. What is in use is compared with the limit, where the kernel can be asked; a process
 * that has no descriptor left to ask with is told of the limits that it has. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "client/lib/limit.h"

#define KIB          UINT64_C(1024)
#define STATUS_BYTES 4096         /* the sizes are in the first kilobyte of it */
#define SLACK_BYTES  (8192 * KIB) /* as much a client takes at once when it is opened, and more */

static const struct bound {
	__rlimit_resource_t resource;
	const char *name, *flag; /* of ulimit */
	const char *used;        /* in /proc/self/status; NULL: not there */
	bool of_data, of_locked; /* only what is private and writable, or locked, counts */
} bounds[] = {
	{RLIMIT_AS, "RLIMIT_AS", "-v", "VmSize:", false, false},
	{RLIMIT_DATA, "RLIMIT_DATA", "-d", "VmData:", true, false},
	{RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", "-l", "VmLck:", false, true},
};

/* Empty when it cannot be read. */
static void read_status(char status[STATUS_BYTES])
{
	int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, status, STATUS_BYTES - 1) : 0;

	status[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

/* 0: nobody knows. */
static uint64_t used_bytes(const char *status, const char *key)
{
	const char *found = strstr(status, key);

	return found ? strtoull(found + strlen(key), NULL, 10) * KIB : 0;
}

static bool is_in_the_way(const struct bound *bound, uint64_t limit_bytes, const struct limit_need *need,
			  const char *status)
{
	if (bound->of_locked)
		return need->is_locked && used_bytes(status, bound->used) + need->bytes > limit_bytes;
	if (bound->of_data && need->bytes > 0 && !need->is_data)
		return false;
	return !status[0] || used_bytes(status, bound->used) + need->bytes + SLACK_BYTES > limit_bytes;
}

static void explain_memory(const struct limit_need *need, char words[LIMIT_WORDS_MAX])
{
	char status[STATUS_BYTES];
	struct rlimit limit;

	read_status(status);
	for (size_t i = 0; i < sizeof(bounds) / sizeof(bounds[0]); i++) {
		const struct bound *bound = &bounds[i];

		if (getrlimit(bound->resource, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY ||
		    !is_in_the_way(bound, limit.rlim_cur, need, status))
			continue;
		snprintf(words, LIMIT_WORDS_MAX,
			 " (this process's limit %s is %" PRIu64 "K: raise it, ulimit %s, or ask for less)",
			 bound->name, (uint64_t)limit.rlim_cur / KIB, bound->flag);
		return;
	}
}

const char *limit_explain(int error, const struct limit_need *need, char words[LIMIT_WORDS_MAX])
{
	static const struct limit_need little;
	const int saved_errno = errno;
	struct rlimit limit;

	words[0] = '\0';
	if (error == -EMFILE && getrlimit(RLIMIT_NOFILE, &limit) == 0)
		snprintf(words, LIMIT_WORDS_MAX,
			 " (this process's limit RLIMIT_NOFILE is %" PRIu64
			 ": raise the limit of open files, ulimit -n)",
			 (uint64_t)limit.rlim_cur);
	else if (error == -ENOMEM || error == -EAGAIN)
		explain_memory(need ? need : &little, words);
	errno = saved_errno;
	return words;
}

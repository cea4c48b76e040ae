/* readfile.c - see readfile.h. */
#include <config.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "daemon/backing/readfile.h"
#include "daemon/base/cleanup.h"

#define ENDLESS (UINT64_C(1) << 62) /* cgroups of version 1 write their largest number for "no limit" */

/* Want of our own, not of the file. */
static bool is_ours(int error)
{
	return error == EMFILE || error == ENFILE || error == ENOMEM || error == EINTR;
}

int readfile_text(const char *path, char text[READFILE_MAX])
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t used = 0;
	ssize_t n;

	text[0] = '\0';
	if (fd < 0)
		return is_ours(errno) ? -errno : 0;
	while (used < READFILE_MAX - 1 && (n = read(fd, text + used, READFILE_MAX - 1 - used)) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return is_ours(errno) ? -errno : 0;
		used += (size_t)n;
	}
	text[used] = '\0';
	return 1;
}

int readfile_number(const char *path, uint64_t *ret)
{
	char text[READFILE_MAX];
	int r = readfile_text(path, text);

	if (r <= 0)
		return r;
	if (!isdigit((unsigned char)text[0])) {
		*ret = UINT64_MAX;
		return 1;
	}
	*ret = strtoull(text, NULL, 10);
	if (*ret >= ENDLESS)
		*ret = UINT64_MAX;
	return 1;
}

bool readfile_find(const char *text, const char *key, uint64_t *ret)
{
	const size_t length = strlen(key);

	for (const char *at = text; (at = strstr(at, key)); at += length) {
		bool starts = at == text || at[-1] == '\n' || at[-1] == ' ';
		const char *end = at + length;

		if (!starts || (*end != ' ' && *end != ':' && *end != '\t'))
			continue;
		while (*end == ' ' || *end == ':' || *end == '\t')
			end++;
		if (!isdigit((unsigned char)*end))
			continue;
		*ret = strtoull(end, NULL, 10);
		return true;
	}
	return false;
}

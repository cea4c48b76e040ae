/* directory.c - see directory.h. */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/base/cleanup.h"
#include "daemon/base/directory.h"

#define LINKS_MAX 40 /* as the kernel has it */

/* What is still to be walked from `fd`. */
struct walk {
	int fd;
	char rest[PATH_MAX];
	unsigned n_links;
};

/* Put the symlink's text in front of the rest. Takes the link. */
static int follow_link(struct walk *walk, int consume_link_fd, const char *after)
{
	_cleanup_close_ int link_fd = consume_link_fd;
	char text[PATH_MAX], rest[PATH_MAX];
	struct stat st;
	ssize_t n;

	if (fstat(link_fd, &st) < 0)
		return -errno;
	if ((st.st_uid != 0 && st.st_uid != geteuid()) || ++walk->n_links > LINKS_MAX)
		return -ELOOP;
	n = readlinkat(link_fd, "", text, sizeof(text) - 1);
	if (n < 0)
		return -errno;
	text[n] = '\0';
	if (snprintf(rest, sizeof(rest), "%s/%s", text, after) >= (int)sizeof(rest))
		return -ENAMETOOLONG;
	strcpy(walk->rest, rest);
	if (rest[0] == '/') {
		int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

		if (root_fd < 0)
			return -errno;
		close(walk->fd);
		walk->fd = root_fd;
	}
	return 0;
}

/* One name further. */
static int step(struct walk *walk)
{
	char name[NAME_MAX + 1], *start = walk->rest + strspn(walk->rest, "/");
	size_t length = strcspn(start, "/");
	struct stat st;
	int fd;

	if (length > NAME_MAX)
		return -ENAMETOOLONG;
	memcpy(name, start, length);
	name[length] = '\0';
	fd = openat(walk->fd, length > 0 ? name : ".", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISLNK(st.st_mode))
		return follow_link(walk, fd, start + length);
	close(walk->fd);
	walk->fd = fd;
	memmove(walk->rest, start + length, strlen(start + length) + 1);
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}

int directory_open(const char *path, int *ret_fd)
{
	struct walk walk = {.n_links = 0};
	int r = 0;

	if (strlen(path) >= sizeof(walk.rest))
		return -ENAMETOOLONG;
	if (path[0] == '\0')
		return -ENOENT;
	strcpy(walk.rest, path);
	walk.fd = open(path[0] == '/' ? "/" : ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (walk.fd < 0)
		return -errno;
	while (r == 0 && walk.rest[strspn(walk.rest, "/")] != '\0')
		r = step(&walk);
	if (r < 0) {
		close(walk.fd);
		return r;
	}
	*ret_fd = walk.fd;
	return 0;
}

const char *directory_strerror(int error)
{
	return error == -ELOOP ? "a symlink on the way is another user's, or leads in a circle"
			       : strerror(-error);
}

int directory_rights(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_uid != 0 && st.st_uid != geteuid())
		return DIRECTORY_SHARED;
	if ((st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
		return DIRECTORY_PRIVATE;
	return st.st_mode & S_ISVTX ? DIRECTORY_STICKY : DIRECTORY_SHARED;
}

char *directory_path(int fd)
{
	char link[sizeof("/proc/self/fd/") + 3 * sizeof(int)], path[PATH_MAX];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof(path) - 1);
	if (n <= 0 || path[0] != '/')
		return NULL;
	path[n] = '\0';
	return strdup(path);
}

char *directory_split(const char *path, const char **ret_name)
{
	const char *slash = strrchr(path, '/');

	*ret_name = slash ? slash + 1 : path;
	if (!slash)
		return strdup(".");
	return strndup(path, slash == path ? 1 : (size_t)(slash - path));
}

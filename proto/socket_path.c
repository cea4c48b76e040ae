/* socket_path.c - see socket_path.h. A setuid program does not listen to the environment. */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proto/socket_path.h"

static const char *environment(const char *name)
{
	const char *value = secure_getenv(name);

	return value && value[0] ? value : NULL;
}

static int copy(char path[SOCKET_PATH_MAX], const char *directory, const char *name)
{
	return snprintf(path, SOCKET_PATH_MAX, "%s%s", directory, name) < SOCKET_PATH_MAX ? 0 : -ENAMETOOLONG;
}

/* The user's own: NULL for root, and for whoever has no such directory. */
static const char *runtime_directory(void)
{
	return geteuid() == 0 ? NULL : environment("XDG_RUNTIME_DIR");
}

int socket_path_find(const char *given, char path[SOCKET_PATH_MAX])
{
	const char *name = given ? given : environment("HUGEPOOL_SOCKET"), *directory = runtime_directory();

	if (name)
		return copy(path, "", name);
	return directory ? copy(path, directory, "/hugepool/hugepoold.sock")
			 : copy(path, "", SOCKET_PATH_SYSTEM);
}

int socket_path_look(const char *given, char path[SOCKET_PATH_MAX])
{
	int r = socket_path_find(given, path);

	if (given || environment("HUGEPOOL_SOCKET") || !runtime_directory() ||
	    (r == 0 && access(path, F_OK) == 0))
		return r;
	return copy(path, "", SOCKET_PATH_SYSTEM);
}

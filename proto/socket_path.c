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

int socket_path_find(const char *given, char path[SOCKET_PATH_MAX])
{
	const char *directory = "", *name = given ? given : environment("HUGEPOOL_SOCKET");

	if (!name) {
		name = "/hugepool/hugepoold.sock";
		directory = geteuid() == 0 ? "/run" : environment("XDG_RUNTIME_DIR");
		if (!directory)
			return -ENOENT;
	}
	return snprintf(path, SOCKET_PATH_MAX, "%s%s", directory, name) < SOCKET_PATH_MAX ? 0 : -ENAMETOOLONG;
}

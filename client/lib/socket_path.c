/* socket_path.c - where the daemon listens, by argument or environment. Shared with hugepoolctl. */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/client.h"
#include "client/lib/error.h"

static int path_format(char path[CLIENT_PATH_MAX], const char *directory, const char *name)
{
	int n = snprintf(path, CLIENT_PATH_MAX, "%s%s", directory, name);

	if (n < CLIENT_PATH_MAX)
		return 0;
	return error_set(-ENAMETOOLONG, "The socket's path is longer than %d bytes: %s%s",
			 CLIENT_PATH_MAX - 1, directory, name);
}

/* NULL where it is not set or empty, or where a setuid program must not listen to it. */
static const char *environment(const char *name)
{
	const char *value = secure_getenv(name);

	return value && value[0] ? value : NULL;
}

int client_socket_path(const char *given, char path[CLIENT_PATH_MAX])
{
	const char *runtime_directory;

	if (!given)
		given = environment("HUGEPOOL_SOCKET");
	if (given)
		return path_format(path, given, "");
	if (geteuid() == 0)
		return path_format(path, "/run/hugepool", "/hugepoold.sock");
	runtime_directory = environment("XDG_RUNTIME_DIR");
	if (!runtime_directory)
		return error_set(
			-ENOENT,
			"Neither HUGEPOOL_SOCKET nor XDG_RUNTIME_DIR says where the daemon's socket is.");
	return path_format(path, runtime_directory, "/hugepool/hugepoold.sock");
}

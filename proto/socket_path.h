/* socket_path.h - where the daemon listens when nobody says otherwise: both sides must agree. */
#pragma once

#define SOCKET_PATH_MAX    108 /* of sun_path, with its zero byte */
#define SOCKET_PATH_SYSTEM "/run/hugepool/hugepoold.sock"

/* Where a daemon listens: `given`, else $HUGEPOOL_SOCKET, else for root SOCKET_PATH_SYSTEM, else
 * $XDG_RUNTIME_DIR/hugepool/hugepoold.sock if there is that variable, else SOCKET_PATH_SYSTEM.
 * Returns 0, or -ENAMETOOLONG. */
int socket_path_find(const char *given, char path[SOCKET_PATH_MAX]);

/* Where a client looks for one: the same, but that a user's own daemon counts only if its socket is there, so
 * that the system's is found. */
int socket_path_look(const char *given, char path[SOCKET_PATH_MAX]);

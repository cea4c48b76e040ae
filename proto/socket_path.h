/* socket_path.h - where the daemon listens when nobody says otherwise: both sides must agree. */
#pragma once

#define SOCKET_PATH_MAX 108 /* of sun_path, with its zero byte */

/* `given`, else $HUGEPOOL_SOCKET, else /run/hugepool/hugepoold.sock for root, else
 * $XDG_RUNTIME_DIR/hugepool/hugepoold.sock. -ENAMETOOLONG; -ENOENT: no $XDG_RUNTIME_DIR to look in. */
int socket_path_find(const char *given, char path[SOCKET_PATH_MAX]);

/* client.h - what hugepoolctl and the tests use beside the public header; not installed. */
#pragma once

#include "client/include/hugepool.h"
#include "proto/hugepool.pb-c.h"

#define CLIENT_PATH_MAX 108 /* sun_path's size */

/* Send one request (its id is filled in here) and wait for its reply. Returns 0 with a reply that is not an
 * error, which the caller frees by hugepool__reply__free_unpacked(reply, NULL); else a negative errno, with
 * hp_error(). */
int client_call(hp_client *client, Hugepool__Request *request, Hugepool__Reply **ret_reply);

/* Where the daemon listens: `given`, else by the environment as hp_open() says, written to `path`.
 * -ENAMETOOLONG, or -ENOENT when there is no XDG_RUNTIME_DIR to look in. */
int client_socket_path(const char *given, char path[CLIENT_PATH_MAX]);

/* What a lease is made of, in the order of its bytes: the run at `index`. -ENOENT past the last. */
int client_lease_run(const hp_lease *lease, unsigned index, Hugepool__Run *ret_run);
/* The name of the pool it is from; valid while the handle is. */
const char *client_lease_pool(const hp_lease *lease);

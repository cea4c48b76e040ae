/* client.h - what hugepoolctl and the tests use beside the public header; not installed. */
#pragma once

#include "client/include/hugepool.h"
#include "proto/hugepool.pb-c.h"

/* Send one request (its id is filled in here) and wait for its reply. Returns 0 with a reply that is not an
 * error, which the caller frees by hugepool__reply__free_unpacked(reply, NULL); else a negative errno, with
 * hp_error(). */
int client_call(hp_client *client, Hugepool__Request *request, Hugepool__Reply **ret_reply);

/* What a lease is made of, in the order of its bytes: the run at `index`. -ENOENT past the last. */
int client_lease_run(const hp_lease *lease, unsigned index, Hugepool__Run *ret_run);
/* The name of the pool it is from; valid while the client is. */
const char *client_lease_pool(const hp_lease *lease);

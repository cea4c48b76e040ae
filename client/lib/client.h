/* client.h - what hugepoolctl and the tests use beside the public header; not installed. */
#pragma once

#include "client/include/hugepool.h"
#include "proto/hugepool.pb-c.h"

/* Send one request (its id is filled in here) and wait for its reply. Returns 0 with a reply that is not an
 * error, which the caller frees by hugepool__reply__free_unpacked(reply, NULL); else a negative errno, with
 * hp_error(). */
int client_call(hp_client *client, Hugepool__Request *request, Hugepool__Reply **ret_reply);

/* dispatch.h - from a frame to the function that answers it: the table of methods. */
#pragma once

#include "daemon/rpc/connection.h"

enum dispatch_result {
	DISPATCH_DONE,  /* answered, or will be */
	DISPATCH_MOVED, /* the connection has gone to another worker: touch it no more */
};

enum dispatch_result dispatch_frame(struct connection *connection, const uint8_t *message, uint32_t length);
/* The Hello with which the connection came from another worker, or came back. */
enum dispatch_result dispatch_pending_hello(struct connection *connection);

/* ---- the methods, one file a group; each answers by connection_reply() or connection_error() ---- */

typedef enum dispatch_result method(struct connection *connection, const Hugepool__Request *request);

method hello_handle, received_handle, bye_handle;       /* hello.c */
method alloc_handle, resize_handle;                     /* alloc.c */
method open_handle;                                     /* open.c */
method cancel_handle;                                   /* cancel.c */
method arena_handle;                                    /* grants.c */
method free_handle;                                     /* free.c */
method subscribe_handle;                                /* event.c */
method revoke_handle, evict_handle;                     /* operate.c */
method isolate_handle, restore_handle, drain_handle;    /* operate.c */
method status_handle, buddyinfo_handle, tenants_handle; /* status.c */
method leases_handle, sessions_handle;                  /* list.c */

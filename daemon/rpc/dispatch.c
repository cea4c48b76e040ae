/* dispatch.c - see dispatch.h. Unpacking has a cap: what unfolds past it is refused, not served. */
#include <config.h>

#include "daemon/rpc/dispatch.h"

#include "proto/hot.h"
#include "proto/strings.h"

enum {
	NEEDS_SESSION = 1 << 0,
	NEEDS_ADMIN = 1 << 1,
};

static const struct {
	const char *name;
	method *handle;
	unsigned flags;
} methods[] = {
	[HUGEPOOL__REQUEST__METHOD_HELLO] = {"Hello", hello_handle, 0},
	[HUGEPOOL__REQUEST__METHOD_ALLOC] = {"Alloc", alloc_handle, NEEDS_SESSION},
	[HUGEPOOL__REQUEST__METHOD_FREE] = {"Free", free_handle, NEEDS_SESSION},
	[HUGEPOOL__REQUEST__METHOD_ARENA] = {"Arena", arena_handle, NEEDS_SESSION},
	[HUGEPOOL__REQUEST__METHOD_RECEIVED] = {"Received", received_handle, NEEDS_SESSION},
	[HUGEPOOL__REQUEST__METHOD_BYE] = {"Bye", bye_handle, NEEDS_SESSION},
	[HUGEPOOL__REQUEST__METHOD_CANCEL] = {"Cancel", cancel_handle, NEEDS_SESSION},
	[HUGEPOOL__REQUEST__METHOD_OPEN] = {"Open", open_handle, NEEDS_SESSION},
	[HUGEPOOL__REQUEST__METHOD_RESIZE] = {"Resize", resize_handle, NEEDS_SESSION},
	[HUGEPOOL__REQUEST__METHOD_SUBSCRIBE] = {"Subscribe", subscribe_handle, NEEDS_SESSION},
	[HUGEPOOL__REQUEST__METHOD_REVOKE] = {"Revoke", revoke_handle, NEEDS_SESSION}, /* or its owner */
	[HUGEPOOL__REQUEST__METHOD_STATUS] = {"Status", status_handle, NEEDS_SESSION | NEEDS_ADMIN},
	[HUGEPOOL__REQUEST__METHOD_LEASES] = {"Leases", leases_handle, NEEDS_SESSION}, /* others: one's own */
	[HUGEPOOL__REQUEST__METHOD_SESSIONS] = {"Sessions", sessions_handle, NEEDS_SESSION | NEEDS_ADMIN},
	[HUGEPOOL__REQUEST__METHOD_BUDDYINFO] = {"BuddyInfo", buddyinfo_handle, NEEDS_SESSION | NEEDS_ADMIN},
	[HUGEPOOL__REQUEST__METHOD_TENANTS] = {"Tenants", tenants_handle, NEEDS_SESSION | NEEDS_ADMIN},
	[HUGEPOOL__REQUEST__METHOD_EVICT] = {"Evict", evict_handle, NEEDS_SESSION | NEEDS_ADMIN},
	[HUGEPOOL__REQUEST__METHOD_ISOLATE] = {"Isolate", isolate_handle, NEEDS_SESSION | NEEDS_ADMIN},
	[HUGEPOOL__REQUEST__METHOD_RESTORE] = {"Restore", restore_handle, NEEDS_SESSION | NEEDS_ADMIN},
	[HUGEPOOL__REQUEST__METHOD_DRAIN] = {"Drain", drain_handle, NEEDS_SESSION | NEEDS_ADMIN},
};
#define N_METHODS (sizeof(methods) / sizeof(methods[0]))

static enum dispatch_result dispatch(struct connection *connection, const Hugepool__Request *request)
{
	unsigned index = (unsigned)request->method_case;

	if (index >= N_METHODS || !methods[index].handle) {
		connection_error(connection, request->id, HUGEPOOL__CODE__UNKNOWN_METHOD,
				 "this hugepoold (%s) does not know that method", PACKAGE_VERSION);
		return DISPATCH_DONE;
	}
	if (methods[index].flags & NEEDS_SESSION && !connection->session) {
		connection_error(connection, request->id, HUGEPOOL__CODE__NOT_HELLO, "%s: say Hello first",
				 methods[index].name);
		return DISPATCH_DONE;
	}
	if (methods[index].flags & NEEDS_SESSION && connection->session->ending) {
		connection_error(connection, request->id, HUGEPOOL__CODE__NO_SESSION, "Bye has been said");
		return DISPATCH_DONE;
	}
	if (methods[index].flags & NEEDS_ADMIN &&
	    !server_is_admin(connection->server, &connection->session->peer)) {
		connection_error(connection, request->id, HUGEPOOL__CODE__NOT_ALLOWED,
				 "only who administers hugepoold may ask for this (%s): the admins of its "
				 "configuration, by default root and the daemon's user, and its admin_groups",
				 methods[index].name);
		return DISPATCH_DONE;
	}
	if (connection->session)
		connection->session->n_requests++;
	return methods[index].handle(connection, request);
}

enum dispatch_result dispatch_frame(struct connection *connection, const uint8_t *message, uint32_t length)
{
	struct bump *bump = &connection->server->bump;
	Hugepool__Request *request;
	enum dispatch_result result = DISPATCH_DONE;
	bool is_whole = true;

	request = hot_unpack_request(bump, length, message); /* has no strings */
	if (!request) {
		request = hugepool__request__unpack(&bump->allocator, length, message);
		is_whole = strings_are_whole(&hugepool__request__descriptor, length, message);
	}
	if (request && !is_whole) {
		connection_error(connection, request->id, HUGEPOOL__CODE__BAD_REQUEST,
				 "a name or another text of the request has a NUL byte in it");
	} else if (request) {
		result = dispatch(connection, request);
	} else {
		connection_error(connection, 0, HUGEPOOL__CODE__BAD_REQUEST,
				 "this is not a hugepool.Request, or it unfolds to more than it may");
		connection->closing = true;
	}
	bump_reset(bump);
	return result;
}

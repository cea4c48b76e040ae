/* cancel.c - Cancel: what an earlier request asked for, or was given, is not wanted any more. */
#include <config.h>

#include "daemon/lease/request.h"
#include "daemon/rpc/dispatch.h"

enum dispatch_result cancel_handle(struct connection *connection, const Hugepool__Request *request)
{
	Hugepool__CancelReply cancel = HUGEPOOL__CANCEL_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	lease_request_cancel(connection->session, request->cancel->request);
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_CANCEL;
	reply.cancel = &cancel;
	connection_reply(connection, &reply, NULL, 0);
	return DISPATCH_DONE;
}

/* open.c - Open: hold what somebody else has named.
 *
 * What a dead process has made or holds is no more, so the dead go first.
 */
#include <config.h>

#include <stdlib.h>
#include <string.h>

#include "daemon/lease/lease.h"
#include "daemon/rpc/dispatch.h"
#include "daemon/rpc/grants.h"
#include "daemon/rpc/outcome.h"
#include "daemon/rpc/reap.h"

/* An Open as it was asked for. */
struct open_job {
	struct reap reap; /* first; for one that waits */
	uint64_t request_id;
	struct lease_opening opening; /* its name and maker are those behind it */
	uid_t maker;
	char name[NAME_FULL_MAX + 1];
};

static void read_open(struct open_job *job, const struct session *session, const Hugepool__Request *request)
{
	const Hugepool__Open *asked = request->open;

	job->request_id = request->id;
	job->maker = asked->uid;
	job->opening = (struct lease_opening){
		.name = name_resolve(asked->name, session->peer.uid, job->name),
		.write = asked->write,
		.maker = asked->owner_case == HUGEPOOL__OPEN__OWNER_UID ? &job->maker : NULL,
	};
}

static void open_lease(struct connection *connection, struct open_job *job)
{
	struct lease_record *record;
	enum lease_result result = lease_open(connection->session, job->request_id, &job->opening, &record);

	if (result == LEASE_OK)
		grants_reply(connection, job->request_id, HUGEPOOL__REPLY__RESULT_OPEN, &record, 1);
	else
		outcome_reply_open(connection, job->request_id, &job->opening, result);
}

static void open_again(struct reap *reap, struct session *session)
{
	struct open_job *job = (struct open_job *)reap;

	/* Without a connection it was not done, and is asked again. */
	if (session && session->connection) {
		open_lease(session->connection, job);
		connection_wake(session->connection);
	}
	errand_free(&job->reap.errand);
}

static bool let_open_wait(struct connection *connection, const Hugepool__Request *request)
{
	struct open_job *job;

	if (!reap_is_due(connection->server->service, reap_mark()))
		return false;
	job = errand_new(sizeof(*job), connection, request->id);
	if (!job)
		return true;
	read_open(job, connection->session, request);
	job->reap.again = open_again;
	reap_start(&job->reap, connection->server, connection->session, REAP_LEASES);
	return true;
}

enum dispatch_result open_handle(struct connection *connection, const Hugepool__Request *request)
{
	struct lease_record *record = NULL;
	struct open_job job;

	if (!outcome_check_name(connection, request->id, request->open->name))
		return DISPATCH_DONE;
	if (request->again)
		record = lease_find_request(connection->session, request->id);
	if (record) {
		grants_reply(connection, request->id, HUGEPOOL__REPLY__RESULT_OPEN, &record, 1);
	} else if (!let_open_wait(connection, request)) {
		read_open(&job, connection->session, request);
		open_lease(connection, &job);
	}
	return DISPATCH_DONE;
}

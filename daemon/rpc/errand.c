/* errand.c - see errand.h. */
#include <config.h>

#include "daemon/rpc/errand.h"

static void come_home(struct letter *letter)
{
	struct errand *errand = (struct errand *)letter;
	struct server *home = errand->service->servers[errand->home];
	struct session *session = session_find(&home->shard, errand->session);
	struct connection *connection = session ? session->connection : NULL;

	if (connection && connection->n_waiting > 0) {
		connection->n_waiting--;
		connection_done_waiting(connection);
	}
	errand->answer(errand, connection);
}

static void arrive(struct letter *letter);

static void travel(struct errand *errand, int to)
{
	bool goes_home = to == ERRAND_HOME;

	errand->at = goes_home ? errand->home : (unsigned)to;
	errand->letter.deliver = goes_home ? come_home : arrive;
	mailbox_post(&errand->service->servers[errand->at]->mailbox, &errand->letter);
}

static void arrive(struct letter *letter)
{
	struct errand *errand = (struct errand *)letter;

	travel(errand, errand->visit(errand, errand->service->servers[errand->at]));
}

void errand_send(struct errand *errand, struct server *server, struct connection *connection,
		 uint64_t request_id, unsigned first)
{
	errand->service = server->service;
	errand->home = server->shard.index;
	errand->session = connection ? connection->session->id : 0;
	errand->request_id = request_id;
	if (connection)
		connection->n_waiting++;
	travel(errand, (int)first);
}

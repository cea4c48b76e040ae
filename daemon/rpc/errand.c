/* errand.c - see errand.h. */
#include <config.h>

#include "daemon/rpc/errand.h"

#include <stdlib.h>

void *errand_new(size_t n_bytes, struct connection *connection, uint64_t request_id)
{
	struct account *account = connection ? connection->session->account : NULL;
	char message[ACCOUNT_MESSAGE_MAX];
	struct errand *errand;
	int r = account ? account_charge(account, ACCOUNT_BYTES, n_bytes) : 0;

	if (r != 0) {
		connection_error(connection, request_id, HUGEPOOL__CODE__TOO_MANY, "%s",
				 account_explain(account, ACCOUNT_BYTES, r, message));
		return NULL;
	}
	errand = calloc(1, n_bytes);
	if (!errand) {
		if (account)
			account_discharge(account, ACCOUNT_BYTES, n_bytes);
		if (connection)
			connection_error(connection, request_id, HUGEPOOL__CODE__NO_MEMORY,
					 "the daemon has no memory left: try again later");
		return NULL;
	}
	errand->account = account ? account_ref(account) : NULL;
	errand->n_bytes = n_bytes;
	return errand;
}

void errand_free(struct errand *errand)
{
	if (errand->account)
		account_discharge(errand->account, ACCOUNT_BYTES, errand->n_bytes);
	account_put(errand->account);
	free(errand);
}

static void come_home(struct letter *letter)
{
	struct errand *errand = (struct errand *)letter;
	struct server *home = errand->service->servers[errand->home];
	struct session *session = session_find(&home->shard, errand->session);
	struct connection *connection = session ? session->connection : NULL;

	if (session)
		session->n_errands--;
	if (connection)
		connection_wake(connection);
	errand->answer(errand, connection);
	if (session && session->ending)
		server_end_session(home, session);
}

static void travel(struct errand *errand, int to);

static void visit(struct errand *errand, struct server *here)
{
	int to;

	run_queue_count_turn(&here->run_queue);
	to = errand->visit(errand, here);
	if (to != ERRAND_AWAY)
		travel(errand, to);
}

static void arrive(struct letter *letter)
{
	struct errand *errand = (struct errand *)letter;
	struct server *here = errand->service->servers[errand->at];
	struct errand_queue *queue = &here->errands[!errand->is_admins];

	/* The loop is about to end, or has. */
	if (here->stopping) {
		visit(errand, here);
		return;
	}
	letter->next = NULL;
	*queue->tail = letter;
	queue->tail = &letter->next;
	server_queue(here, here->errands_user, &here->errands_run);
}

static void travel(struct errand *errand, int to)
{
	bool goes_home = to == ERRAND_HOME;

	errand->at = goes_home ? errand->home : (unsigned)to;
	errand->letter.deliver = goes_home ? come_home : arrive;
	mailbox_post(&errand->service->servers[errand->at]->mailbox, &errand->letter);
}

static struct errand *take_first(struct errand_queue *queue)
{
	struct letter *letter = queue->head;

	if (!letter)
		return NULL;
	queue->head = letter->next;
	if (!queue->head)
		queue->tail = &queue->head;
	return (struct errand *)letter;
}

bool errand_visit_next(struct server *server)
{
	struct errand *errand = take_first(&server->errands[0]);

	if (!errand)
		errand = take_first(&server->errands[1]);
	if (errand)
		visit(errand, server);
	return server->errands[0].head || server->errands[1].head;
}

void errand_send_for(struct errand *errand, struct server *server, struct session *session,
		     uint64_t request_id, unsigned first)
{
	errand->service = server->service;
	errand->home = server->shard.index;
	errand->session = session ? session->id : 0;
	errand->request_id = request_id;
	errand->is_admins = session && server_is_admin(server, &session->peer);
	if (session)
		session->n_errands++;
	travel(errand, (int)first);
}

void errand_send(struct errand *errand, struct server *server, struct connection *connection,
		 uint64_t request_id, unsigned first)
{
	errand_send_for(errand, server, connection ? connection->session : NULL, request_id, first);
}

/* ---- those that are away ---- */

void errand_resume(struct errand *errand, int to)
{
	travel(errand, to);
}

void errand_park(struct errand *errand, struct server *here)
{
	errand->letter.next = here->parked;
	here->parked = &errand->letter;
}

void errand_unpark_all(struct server *here)
{
	while (here->parked) {
		struct errand *errand = (struct errand *)here->parked;

		here->parked = here->parked->next;
		travel(errand, (int)here->shard.index);
	}
}

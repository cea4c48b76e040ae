/* reap.c - see reap.h. */
#include <config.h>

#include "daemon/rpc/reap.h"

#include "daemon/rpc/deaths.h"
#include "daemon/rpc/linger.h"

/* Sessions and connections that have gone, so far. */
static _Atomic uint64_t n_gone;

uint64_t reap_mark(void)
{
	return atomic_load(&n_gone);
}

void reap_note_gone(void)
{
	atomic_fetch_add(&n_gone, 1);
}

bool reap_is_due(const struct service *service, uint64_t mark)
{
	/* In the order in which it happens: whatever leaves one of these has been counted in the next. */
	if (connections_arriving() > 0 || deaths_are_pending(service) || linger_n_closing() > 0)
		return true;
	for (unsigned i = 0; i < service->n_servers; i++)
		if (atomic_load(&service->servers[i]->n_ending) > 0)
			return true;
	/* Last: what had been ending until we looked has been counted here before. */
	return atomic_load(&n_gone) != mark;
}

bool reap_may_help(const struct service *service, uint64_t mark, enum lease_result result)
{
	switch (result) {
	case LEASE_OVER_QUOTA:
	case LEASE_POOL_FULL:
	case LEASE_KERNEL_SHORT:
	case LEASE_NAME_TAKEN:
	case LEASE_NO_MEMORY:
	case LEASE_NOT_HOLDER:
	case LEASE_BUSY:
	case LEASE_TOO_MANY:
		return reap_is_due(service, mark);
	default:
		return false;
	}
}

/* ---- the closing of connections, behind those that the janitor has already ---- */

static void at_janitor(struct letter *letter)
{
	errand_resume((struct errand *)letter, ERRAND_HOME);
}

/* ---- on each worker ---- */

static int leave(struct reap *reap, const struct server *here)
{
	const struct service *service = here->service;
	const unsigned next = here->shard.index + 1;

	reap->is_here = false;
	if (next < service->n_servers)
		return (int)next;
	if (reap->extent == REAP_LEASES)
		return ERRAND_HOME;
	reap->errand.letter.deliver = at_janitor;
	mailbox_post(service->janitor, &reap->errand.letter);
	return ERRAND_AWAY;
}

static int visit(struct errand *errand, struct server *here)
{
	struct reap *reap = (struct reap *)errand;

	if (!reap->is_here && !here->stopping && deaths_collect(here))
		return (int)here->shard.index;
	if (!reap->is_here)
		reap->number = here->last_ending;
	reap->is_here = true;
	if (here->stopping || server_has_ended(here, reap->number, reap->extent == REAP_SEATS))
		return leave(reap, here);
	errand_park(errand, here);
	return ERRAND_AWAY;
}

static void answer(struct errand *errand, struct connection *connection)
{
	struct reap *reap = (struct reap *)errand;
	struct server *home = errand->service->servers[errand->home];
	struct session *session = session_find(&home->shard, errand->session);

	reap->again(reap, session && !session->ending ? session : NULL);
}

void reap_start(struct reap *reap, struct server *home, struct session *session, enum reap_extent extent)
{
	reap->errand.visit = visit;
	reap->errand.answer = answer;
	reap->extent = extent;
	reap->is_here = false;
	errand_send_for(&reap->errand, home, session, 0, 0);
}

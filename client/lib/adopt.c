/* adopt.c - hp_adopt(): a forked child becomes a holder of its parent's session.
 *
 * The child has copies of the handles and of the arenas' descriptors, but none of the mappings
 * (MADV_DONTFORK), so that a child that knows nothing of the session can write nowhere. Shared mappings are
 * the file's and nothing but that: made anew at the same addresses, they are what the parent has. Only then
 * does the child join the session, on a connection of its own.
 */
#include <config.h>

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#include "client/lib/error.h"
#include "client/lib/lease.h"

/* What is in the middle of something cannot be gone on with in two processes. */
static int check_idle(const hp_client *client)
{
	const hp_lease *lease;

	if (client->ended)
		return error_set(-ESTALE, "The session has ended: close the client.");
	if (client->driven || client->n_waiters > 0 || client->n_dispatchers > 0 || client->n_sent > 0 ||
	    !TAILQ_EMPTY(&client->asks) || !TAILQ_EMPTY(&client->tells) || !TAILQ_EMPTY(&client->finished))
		return error_set(-EBUSY, "The parent was asking the daemon for something as it forked: fork "
					 "when all of that is done.");
	if (!LIST_EMPTY(&client->caches))
		return error_set(-EBUSY, "The client has caches, whose threads are the parent's: free them "
					 "before the fork.");
	TAILQ_FOREACH (lease, &client->leases, link)
		if (lease->way.flags & HP_PRIVATE)
			return error_set(-EBUSY,
					 "Lease %llu is mapped HP_PRIVATE, and what was written there is the "
					 "parent's: free it before the fork.",
					 (unsigned long long)lease->id);
	return 0;
}

/* ---- mappings ---- */

/* Those of this lease and of the ones behind it stay as they are: not there. */
static void unmap_views(hp_client *client, const hp_lease *end)
{
	hp_lease *lease;

	for (lease = TAILQ_FIRST(&client->leases); lease && lease != end; lease = TAILQ_NEXT(lease, link))
		lease_unmap_again(lease);
}

static int map_views(hp_client *client)
{
	hp_lease *lease;

	TAILQ_FOREACH (lease, &client->leases, link) {
		int r = lease_map_again(lease);

		if (r < 0) {
			unmap_views(client, lease);
			return r;
		}
	}
	return 0;
}

static int map_all(hp_client *client)
{
	int r = arena_table_map_again(&client->arenas);

	if (r == 0) {
		r = map_views(client);
		if (r < 0)
			arena_table_unmap(&client->arenas);
	}
	if (r == -EEXIST)
		return error_set(r, "Something else is mapped where leases are in the parent: call "
				    "hp_adopt() first of all in the child.");
	return r < 0 ? error_set(r, "Cannot map the leases in this process: %s.", strerror(-r)) : 0;
}

static void unmap_all(hp_client *client)
{
	unmap_views(client, NULL);
	arena_table_unmap(&client->arenas);
}

/* ---- the session ---- */

/* The socket is the parent's; ids of requests that both make must differ. */
static int part_from_parent(hp_client *client)
{
	uint32_t above;
	int r = watch_renew(&client->watch);

	if (r == 0 && getrandom(&above, sizeof(above), 0) != sizeof(above))
		r = -EAGAIN;
	if (r < 0)
		return error_set(r, "Cannot begin a connection of the child's own: %s.", strerror(-r));
	client->last_request_id = (uint64_t)(above >> 1 | 1) << 32;
	client->connection = connection_unref(client->connection);
	client->mend.greeting = connection_unref(client->mend.greeting);
	client->mend.give_up_ns = 0;
	client->n_received_due = 0;
	client->n_left = 0;
	return 0;
}

static int join(hp_client *client)
{
	int r = part_from_parent(client);

	if (r < 0)
		return r;
	client->joins = true;
	r = mend_run(client, NO_DEADLINE);
	client->joins = false;
	if (r == -EINTR)
		return error_set(r, "A signal handler has interrupted the call.");
	return r < 0 ? error_raise(&client->mend.error) : 0;
}

int hp_adopt(hp_client *client)
{
	int r;

	if (!client)
		return error_set(-EINVAL, "There is no client: NULL was given.");
	if (!session_is_forked(client))
		return 0;
	if (pthread_mutex_trylock(&client->lock) != 0)
		return error_set(-EBUSY, "Another thread of the parent was using the client as it forked.");
	r = check_idle(client);
	if (r == 0)
		r = map_all(client);
	if (r == 0) {
		r = join(client);
		if (r < 0)
			unmap_all(client);
	}
	if (r == 0)
		session_own(client);
	pthread_mutex_unlock(&client->lock);
	return r;
}

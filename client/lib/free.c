/* free.c - ends leases, and frees their handles before the daemon knows: whatever it says, the memory is not
 * to be touched any more. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>

#include "client/lib/lease.h"
#include "client/lib/lease_name.h"

/* A Free and what it points to. */
struct free_call {
	struct call call; /* first */
	Hugepool__Request request;
	Hugepool__Free message;
	/* Where nobody waits: */
	hp_lease_done *done;
	void *arg;
	uint64_t ids[];
};

/* The first of what failed is the call's error. */
static bool take_freed(hp_client *client, struct call *call, const struct answer *answer)
{
	const Hugepool__FreeReply *freed = answer->reply->free;

	if (call->error.code < 0 || freed->n_failures == 0)
		return true;
	if (freed->failures[0]->error)
		error_keep_wire(&call->error, freed->failures[0]->error);
	else
		error_keep(&call->error, -EPROTO, "The daemon does not say what failed.");
	return true;
}

static void free_call_init(struct free_call *ending, uint64_t *ids, unsigned n_ids, unsigned flags)
{
	hugepool__request__init(&ending->request);
	hugepool__free__init(&ending->message);
	ending->message.leases = ids;
	ending->message.n_leases = n_ids;
	ending->message.cold = flags & HP_COLD;
	ending->request.method_case = HUGEPOOL__REQUEST__METHOD_FREE;
	ending->request.free = &ending->message;
	call_init(&ending->call, &ending->request, take_freed);
}

/* NULL: no memory. */
static struct free_call *free_call_new(unsigned n_ids)
{
	return malloc(sizeof(struct free_call) + n_ids * sizeof(uint64_t));
}

static void discard_free(struct call *call)
{
	free(call);
}

/* Have the daemon end these leases, and wait for what it says while it is there. The lock is held, and given
 * up meanwhile. */
static int run_free(hp_client *client, struct free_call *consume_ending, unsigned n_ids, unsigned flags)
{
	struct free_call *ending = consume_ending;
	int r;

	free_call_init(ending, ending->ids, n_ids, flags);
	ending->call.discard = discard_free;
	ending->call.patience = CALL_BRIEF;
	r = call_run(client, &ending->call, NO_DEADLINE);
	if (!ending->call.is_left)
		free(ending);
	return r;
}

static int check_flags(unsigned flags)
{
	if (flags & ~(unsigned)HP_COLD)
		return error_set(-EINVAL, "The flags 0x%x are not known.", flags);
	return 0;
}

/* Free the handles of as many leases from the front as one request may end, all of one client, and end them.
 * Returns 0 or a negative errno; *ret_n is how many were dealt with, none when it is -ECHILD. */
static int free_some(hp_lease *const *leases, unsigned n, unsigned flags, unsigned *ret_n)
{
	hp_client *client = leases[0]->client;
	struct free_call *ending;
	unsigned n_ids = 0;
	int r = session_check(client);

	if (r < 0)
		return r;
	while (n_ids < n && n_ids < SESSION_MAX_BATCH && leases[n_ids] && leases[n_ids]->client == client)
		n_ids++;
	ending = free_call_new(n_ids);
	for (unsigned i = 0; i < n_ids; i++)
		lease_unmap(leases[i]);
	pthread_mutex_lock(&client->lock);
	if (n_ids > client->max_batch)
		n_ids = client->max_batch;
	for (unsigned i = 0; i < n_ids; i++) {
		if (ending)
			ending->ids[i] = leases[i]->id;
		lease_free(leases[i], true);
	}
	*ret_n = n_ids;
	if (ending)
		r = run_free(client, ending, n_ids, flags);
	else
		r = error_no_memory("a request: the lease ends with the session");
	pthread_mutex_unlock(&client->lock);
	return r;
}

int hp_free_batch(hp_lease *const *leases, unsigned n, unsigned flags)
{
	int result = check_flags(flags);

	if (result < 0)
		return result;
	if (!leases && n > 0)
		return error_set(-EINVAL, "There are no leases: NULL was given.");
	for (unsigned i = 0, n_freed; i < n; i += n_freed) {
		int r = 0;

		n_freed = 1;
		if (leases[i])
			r = free_some(leases + i, n - i, flags, &n_freed);
		if (result == 0)
			result = r;
	}
	return result;
}

int hp_free(hp_lease *lease)
{
	return hp_free_batch(&lease, 1, 0);
}

void hp_lease_forget(hp_lease *lease)
{
	hp_client *client = lease ? lease->client : NULL;

	if (!client || session_check(client) < 0)
		return;
	lease_unmap(lease);
	pthread_mutex_lock(&client->lock);
	lease_free(lease, true);
	pthread_mutex_unlock(&client->lock);
}

/* End a lease that there is no handle of: by its id, or else its name. */
static int free_other(hp_client *client, uint64_t *id, char *name)
{
	struct free_call ending;
	int r;

	free_call_init(&ending, id, id ? 1 : 0, 0);
	if (name)
		ending.message.name = name;
	pthread_mutex_lock(&client->lock);
	r = call_run(client, &ending.call, NO_DEADLINE);
	pthread_mutex_unlock(&client->lock);
	return r;
}

int hp_free_id(hp_client *client, uint64_t lease_id)
{
	int r = session_check(client);

	return r < 0 ? r : free_other(client, &lease_id, NULL);
}

int hp_free_name(hp_client *client, const char *name)
{
	char found[NAME_FULL_MAX + 1];
	int r = session_check(client);

	if (r < 0)
		return r;
	if (!name)
		return error_set(-EINVAL, "There is no name to free a lease by.");
	r = lease_name_find(name, found);
	return r < 0 ? r : free_other(client, NULL, found);
}

/* ---- where nobody waits ---- */

static unsigned finish_free(hp_client *client, struct call *call)
{
	struct free_call *ending = (struct free_call *)call;
	hp_lease_done *done = ending->done;

	error_raise(&call->error);
	done(ending->arg, call->error.code, NULL);
	free(ending);
	return 1;
}

/* Begin to end leases of one client, and free their handles. -ENOMEM: nothing has begun. */
static int free_start(hp_lease *const *leases, unsigned n, unsigned flags, hp_lease_done *done, void *arg)
{
	struct free_call *ending = free_call_new(n);
	hp_client *client = leases[0]->client;

	if (!ending)
		return error_no_memory("a request");
	ending->done = done;
	ending->arg = arg;
	free_call_init(ending, ending->ids, n, flags);
	if (done)
		ending->call.finish = finish_free;
	else
		ending->call.discard = discard_free;
	for (unsigned i = 0; i < n; i++)
		lease_unmap(leases[i]);
	pthread_mutex_lock(&client->lock);
	for (unsigned i = 0; i < n; i++) {
		ending->ids[i] = leases[i]->id;
		lease_free(leases[i], true);
	}
	call_start(client, &ending->call);
	pthread_mutex_unlock(&client->lock);
	return 0;
}

int lease_end_start(hp_lease *const *leases, unsigned n)
{
	return free_start(leases, n, 0, NULL, NULL);
}

int hp_free_start(hp_lease *lease, unsigned flags, hp_lease_done *done, void *arg)
{
	int r;

	if (!lease)
		return error_set(-EINVAL, "There is no lease: NULL was given.");
	r = session_check(lease->client);
	if (r == 0)
		r = check_flags(flags);
	return r < 0 ? r : free_start(&lease, 1, flags, done, arg);
}

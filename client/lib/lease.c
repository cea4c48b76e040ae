/* lease.c - leases: asked for, found in their arena, ended.
 *
 * A lease's memory is a part of its arena's mapping, so a lease in an arena that we know costs one request
 * and nothing else. What the daemon says is checked before it becomes a pointer.
 *
 * Invariant: a handle is in its client's list and holds a share in its arena, from the end of hp_alloc()
 * until the handle is freed.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/error.h"
#include "client/lib/session.h"

#define LEASE_NAME_MAX 255

struct hp_lease {
	/* Constant after hp_alloc(). */
	hp_client *client;
	struct arena *arena;
	uint64_t id, offset_bytes, bytes;
	char pool[SESSION_POOL_NAME_MAX];

	/* Guarded by the client's lock. */
	struct hp_lease *previous, *next;
};

/* ---- handles ---- */

/* Put a handle into the client's list; the lock is held. */
static void link_lease(hp_lease *lease)
{
	hp_client *client = lease->client;

	lease->previous = NULL;
	lease->next = client->leases;
	if (lease->next)
		lease->next->previous = lease;
	client->leases = lease;
}

/* Free a handle with its share in the arena; the lock is held. */
static void forget_lease(hp_lease *lease, bool mapped)
{
	if (lease->next)
		lease->next->previous = lease->previous;
	if (lease->previous)
		lease->previous->next = lease->next;
	else
		lease->client->leases = lease->next;
	arena_put(lease->arena, mapped);
	free(lease);
}

void session_forget_leases(hp_client *client, bool mapped)
{
	while (client->leases)
		forget_lease(client->leases, mapped);
}

/* ---- requests ---- */

/* End leases by their ids, no more than the daemon takes at once, or one by its name. */
static int request_free(hp_client *client, uint64_t *ids, unsigned n_ids, const char *name)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Free message = HUGEPOOL__FREE__INIT;
	Hugepool__Reply *reply;
	int r;

	message.leases = ids;
	message.n_leases = n_ids;
	if (name)
		message.name = (char *)(uintptr_t)name;
	request.method_case = HUGEPOOL__REQUEST__METHOD_FREE;
	request.free = &message;
	r = session_call(client, &request, NO_DEADLINE, &reply);
	if (r < 0)
		return r;
	if (reply->free->n_failures > 0) {
		const Hugepool__Error *error = reply->free->failures[0]->error;

		r = error ? error_set_wire(error)
			  : error_set(-EPROTO, "The daemon does not say what failed.");
	}
	hugepool__reply__free_unpacked(reply, NULL);
	return r;
}

/* Ask for an arena that is not listed: its descriptor was lost, or it came in a reply that was. */
static int request_arena(hp_client *client, uint64_t id)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Arena message = HUGEPOOL__ARENA__INIT;
	Hugepool__Reply *reply;
	int r;

	message.arena = id;
	request.method_case = HUGEPOOL__REQUEST__METHOD_ARENA;
	request.arena = &message;
	r = session_call(client, &request, NO_DEADLINE, &reply);
	if (r == 0)
		hugepool__reply__free_unpacked(reply, NULL);
	return r;
}

/* Ask for `n` leases. Returns 0 with a reply of n grants. */
static int request_alloc(hp_client *client, const struct session_pool *pool, uint64_t *n_pages, unsigned n,
			 const struct hp_alloc_options *options, Hugepool__Reply **ret_reply)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Alloc message = HUGEPOOL__ALLOC__INIT;

	message.pool = pool->number;
	message.n_pages = n_pages;
	message.n_n_pages = n;
	message.align_pages = options->align_bytes / pool->page_bytes;
	message.detached = options->flags & HP_DETACHED;
	if (options->name)
		message.name = (char *)(uintptr_t)options->name;
	request.method_case = HUGEPOOL__REQUEST__METHOD_ALLOC;
	request.alloc = &message;
	return session_call(client, &request, NO_DEADLINE, ret_reply);
}

/* ---- alloc ---- */

static const struct hp_alloc_options no_options;

/* What needs no daemon to be wrong. */
static int check_alloc(hp_client *client, const uint64_t *bytes, unsigned n,
		       const struct hp_alloc_options *options, hp_lease **ret_leases)
{
	int r = session_check(client);

	if (r < 0)
		return r;
	if (!bytes || !ret_leases || n == 0)
		return error_set(-EINVAL, "Nothing is asked for, or there is nowhere to put it.");
	if (options->flags & ~(unsigned)HP_DETACHED)
		return error_set(-EINVAL, "The flags 0x%x are not known.", options->flags);
	if (options->align_bytes & (options->align_bytes - 1))
		return error_set(-EINVAL, "The alignment is not a power of two.");
	if (options->name && n > 1)
		return error_set(-EINVAL, "A name is for one lease, not for a batch.");
	if (options->name && (!options->name[0] || strlen(options->name) > LEASE_NAME_MAX))
		return error_set(-EINVAL, "A lease's name has 1 to %d bytes.", LEASE_NAME_MAX);
	return 0;
}

/* Find the pool, and how many of its pages each lease is. */
static int plan_alloc(hp_client *client, const uint64_t *bytes, unsigned n,
		      const struct hp_alloc_options *options, struct session_pool *ret_pool,
		      uint64_t *ret_n_pages)
{
	unsigned max_batch;
	int r;

	pthread_mutex_lock(&client->lock);
	r = session_find_pool(client, options->pool, ret_pool);
	max_batch = client->max_batch;
	pthread_mutex_unlock(&client->lock);
	if (r < 0)
		return r;
	if (n > max_batch)
		return error_set(-EOVERFLOW, "%u leases at once are too many, %u are allowed.", n, max_batch);
	for (unsigned i = 0; i < n; i++) {
		if (bytes[i] == 0)
			return error_set(-EINVAL, "A lease of no bytes makes no sense.");
		ret_n_pages[i] = (bytes[i] - 1) / ret_pool->page_bytes + 1;
	}
	return 0;
}

/* Make the handle what the run says; the lock is held. -EPROTO: the run is not what was asked for, or not in
 * the arena. */
static int place_lease(hp_lease *lease, struct arena *arena, const Hugepool__Run *run, uint64_t n_pages,
		       uint64_t page_bytes)
{
	int r;

	if (run->n_pages != n_pages || arena->page_bytes != page_bytes || run->first_page > arena->n_pages ||
	    n_pages > arena->n_pages - run->first_page)
		return -EPROTO;
	r = arena_take(arena);
	if (r < 0)
		return r;
	lease->arena = arena;
	lease->offset_bytes = run->first_page * page_bytes;
	lease->bytes = n_pages * page_bytes;
	link_lease(lease);
	return 0;
}

/* The same from a grant, asking for the arena if need be. -EMFILE: its descriptor gets lost every time. */
static int take_grant(hp_lease *lease, const Hugepool__Grant *grant, uint64_t n_pages,
		      const struct session_pool *pool)
{
	hp_client *client = lease->client;
	int r;

	if (grant->n_runs != 1)
		return -EPROTO;
	lease->id = grant->lease;
	strcpy(lease->pool, pool->name);
	for (bool asked = false;; asked = true) {
		struct arena *arena;

		pthread_mutex_lock(&client->lock);
		arena = arena_table_find(&client->arenas, grant->runs[0]->arena);
		r = arena ? place_lease(lease, arena, grant->runs[0], n_pages, pool->page_bytes) : -EMFILE;
		pthread_mutex_unlock(&client->lock);
		if (arena || asked)
			return r;
		r = request_arena(client, grant->runs[0]->arena);
		if (r < 0)
			return r;
	}
}

/* New handles for all that was granted. On failure some may be half made, and it has no sentence yet. */
static int take_grants(hp_client *client, const Hugepool__AllocReply *granted, const uint64_t *n_pages,
		       unsigned n, const struct session_pool *pool, hp_lease **leases)
{
	int r = granted->n_grants == n ? 0 : -EPROTO;

	for (unsigned i = 0; i < n && r == 0; i++)
		r = take_grant(leases[i], granted->grants[i], n_pages[i], pool);
	return r;
}

static void free_handles(hp_client *client, hp_lease **leases, unsigned n)
{
	pthread_mutex_lock(&client->lock);
	for (unsigned i = 0; i < n; i++) {
		if (leases[i] && leases[i]->arena)
			forget_lease(leases[i], true);
		else
			free(leases[i]);
		leases[i] = NULL;
	}
	pthread_mutex_unlock(&client->lock);
}

/* Give back what was granted and cannot be used, and say why. */
static int refuse_grants(hp_client *client, const Hugepool__AllocReply *granted, unsigned n, int error)
{
	uint64_t ids[SESSION_MAX_BATCH];
	unsigned n_ids = granted->n_grants < n ? (unsigned)granted->n_grants : n;

	for (unsigned i = 0; i < n_ids; i++)
		ids[i] = granted->grants[i]->lease;
	if (n_ids > 0)
		(void)request_free(client, ids, n_ids, NULL);
	switch (error) {
	case -EPROTO:
		return error_set(
			error, "The daemon granted what was not asked for, or lies elsewhere than it says.");
	case -EMFILE:
		return error_set(
			error, "The memory's descriptor cannot be received: raise the limit of open files.");
	default:
		return error_set(error, "Cannot map the memory that was leased: %s.", strerror(-error));
	}
}

int hp_alloc_batch(hp_client *client, const uint64_t *bytes, unsigned n,
		   const struct hp_alloc_options *options, hp_lease **ret_leases)
{
	uint64_t n_pages[SESSION_MAX_BATCH];
	struct session_pool pool;
	Hugepool__Reply *reply = NULL;
	int r;

	if (!options)
		options = &no_options;
	r = check_alloc(client, bytes, n, options, ret_leases);
	if (r == 0)
		r = plan_alloc(client, bytes, n, options, &pool, n_pages);
	if (r < 0)
		return r;

	for (unsigned i = 0; i < n; i++) {
		ret_leases[i] = calloc(1, sizeof(hp_lease));
		if (ret_leases[i])
			ret_leases[i]->client = client;
		else
			r = error_set(-ENOMEM, "No memory for a lease.");
	}
	if (r == 0)
		r = request_alloc(client, &pool, n_pages, n, options, &reply);
	if (r == 0) {
		r = take_grants(client, reply->alloc, n_pages, n, &pool, ret_leases);
		if (r < 0)
			r = refuse_grants(client, reply->alloc, n, r);
		hugepool__reply__free_unpacked(reply, NULL);
	}
	if (r < 0)
		free_handles(client, ret_leases, n);
	return r;
}

int hp_alloc(hp_client *client, uint64_t bytes, const struct hp_alloc_options *options, hp_lease **ret_lease)
{
	return hp_alloc_batch(client, &bytes, 1, options, ret_lease);
}

/* ---- free ---- */

/* Free the handles of as many leases from the front as one request may end, all of one client, and end them.
 * Returns 0 or a negative errno; *ret_n is how many were dealt with, none when it is -ECHILD. */
static int free_some(hp_lease *const *leases, unsigned n, unsigned *ret_n)
{
	uint64_t ids[SESSION_MAX_BATCH];
	hp_client *client = leases[0]->client;
	unsigned n_ids = 0;
	int r = session_check(client);

	if (r < 0)
		return r;
	pthread_mutex_lock(&client->lock);
	do {
		ids[n_ids] = leases[n_ids]->id;
		forget_lease(leases[n_ids], true);
		n_ids++;
	} while (n_ids < n && n_ids < client->max_batch && leases[n_ids] && leases[n_ids]->client == client);
	pthread_mutex_unlock(&client->lock);
	*ret_n = n_ids;
	return request_free(client, ids, n_ids, NULL);
}

int hp_free_batch(hp_lease *const *leases, unsigned n)
{
	int result = 0;

	if (!leases && n > 0)
		return error_set(-EINVAL, "There are no leases: NULL was given.");
	for (unsigned i = 0, n_freed; i < n; i += n_freed) {
		int r = 0;

		n_freed = 1;
		if (leases[i])
			r = free_some(leases + i, n - i, &n_freed);
		if (result == 0)
			result = r;
	}
	return result;
}

int hp_free(hp_lease *lease)
{
	return hp_free_batch(&lease, 1);
}

void hp_lease_forget(hp_lease *lease)
{
	hp_client *client = lease ? lease->client : NULL;

	if (!client || session_check(client) < 0)
		return;
	pthread_mutex_lock(&client->lock);
	forget_lease(lease, true);
	pthread_mutex_unlock(&client->lock);
}

int hp_free_id(hp_client *client, uint64_t lease_id)
{
	int r = session_check(client);

	return r < 0 ? r : request_free(client, &lease_id, 1, NULL);
}

int hp_free_name(hp_client *client, const char *name)
{
	int r = session_check(client);

	if (r < 0)
		return r;
	if (!name || !name[0])
		return error_set(-EINVAL, "There is no name to free a lease by.");
	return request_free(client, NULL, 0, name);
}

/* ---- what a lease is ---- */

void *hp_lease_data(const hp_lease *lease)
{
	return lease->arena->data + lease->offset_bytes;
}

uint64_t hp_lease_bytes(const hp_lease *lease)
{
	return lease->bytes;
}

uint64_t hp_lease_id(const hp_lease *lease)
{
	return lease->id;
}

int hp_lease_dup_fd(const hp_lease *lease, uint64_t *ret_offset)
{
	int r = session_check(lease->client), fd;

	if (r < 0)
		return r;
	fd = fcntl(lease->arena->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return error_set(-errno, "Cannot duplicate the lease's descriptor: %s.", strerror(errno));
	if (ret_offset)
		*ret_offset = lease->offset_bytes;
	return fd;
}

/* ---- for hugepoolctl ---- */

int client_lease_run(const hp_lease *lease, unsigned index, Hugepool__Run *ret_run)
{
	if (index > 0)
		return -ENOENT;
	hugepool__run__init(ret_run);
	ret_run->arena = lease->arena->id;
	ret_run->first_page = lease->offset_bytes / lease->arena->page_bytes;
	ret_run->n_pages = lease->bytes / lease->arena->page_bytes;
	return 0;
}

const char *client_lease_pool(const hp_lease *lease)
{
	return lease->pool;
}

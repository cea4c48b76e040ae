/* alloc.c - asks for leases: hp_alloc(), hp_lease_open() and those of them that only begin.
 *
 * A lease in an arena that we know costs one request, one allocation for the handle, and nothing else.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/claim.h"
#include "client/lib/lease_name.h"
#include "daemon/base/clock.h"

#define ACCESS_MAX  16
#define MODE_MAX    0777
#define ALLOC_FLAGS (HP_DETACHED | HP_CONTIGUOUS | HP_REVOCABLE | HP_NO_ZERO)

static const struct hp_alloc_options no_options;

/* ---- what needs no daemon to be wrong ---- */

static int check_map_flags(unsigned flags)
{
	if (flags & HP_READ_ONLY && flags & HP_PRIVATE)
		return error_set(-EINVAL, "A private mapping is for writing: HP_READ_ONLY makes no sense.");
	return 0;
}

/* Who may open it. */
static int check_access(const struct hp_alloc_options *options)
{
	if (!options->name && options->mode)
		return error_set(-EINVAL, "A mode is for a lease that has a name.");
	if (!options->name && options->n_access > 0)
		return error_set(-EINVAL, "Others can open a lease only by its name: it has none.");
	if (options->mode > MODE_MAX)
		return error_set(-EINVAL, "The mode 0%o is not one of a file.", options->mode);
	if (options->n_access > ACCESS_MAX || (options->n_access > 0 && !options->access))
		return error_set(-EINVAL, "At most %d users and groups can be named.", ACCESS_MAX);
	return 0;
}

/* A copy, with the name as the daemon takes it. */
struct checked_options {
	struct hp_alloc_options options;
	char name[NAME_FULL_MAX + 1];
};

static int check_options(const struct hp_alloc_options *options, unsigned n, struct checked_options *ret)
{
	int r;

	if (options->flags & ~(unsigned)(ALLOC_FLAGS | LEASE_MAP_FLAGS))
		return error_set(-EINVAL, "The flags 0x%x are not known.", options->flags);
	if (options->max_runs > LEASE_MAX_RUNS)
		return error_set(-EINVAL, "A lease has at most %d runs, not %u.", LEASE_MAX_RUNS,
				 options->max_runs);
	if (options->align_bytes & (options->align_bytes - 1))
		return error_set(-EINVAL, "The alignment is not a power of two.");
	if (options->name && n > 1)
		return error_set(-EINVAL, "A name is for one lease, not for a batch.");
	ret->options = *options;
	if (options->name) {
		r = lease_name_find(options->name, ret->name);
		if (r < 0)
			return r;
		ret->options.name = ret->name;
	}
	return check_access(options) < 0 ? -EINVAL : check_map_flags(options->flags);
}

/* ---- requests ---- */

/* An Alloc and all that it points to, but for the caller's strings and numbers. */
struct alloc_request {
	Hugepool__Request request;
	Hugepool__Alloc message;
	Hugepool__Access access[ACCESS_MAX], *access_ptrs[ACCESS_MAX];
};

static unsigned max_runs_of(const struct hp_alloc_options *options)
{
	if (options->flags & HP_CONTIGUOUS)
		return 1;
	return options->max_runs > 0 ? options->max_runs : LEASE_MAX_RUNS;
}

static void fill_access(struct alloc_request *ask, const struct hp_alloc_options *options)
{
	for (unsigned i = 0; i < options->n_access; i++) {
		hugepool__access__init(&ask->access[i]);
		ask->access[i].id = options->access[i].id;
		ask->access[i].is_group = options->access[i].is_group;
		ask->access[i].write = options->access[i].may_write;
		ask->access_ptrs[i] = &ask->access[i];
	}
	ask->message.n_access = options->n_access;
	ask->message.access = ask->access_ptrs;
}

static void fill_alloc(struct alloc_request *ask, const struct session_pool *pool, uint64_t *n_pages,
		       unsigned n, const struct hp_alloc_options *options)
{
	Hugepool__Alloc *message = &ask->message;

	hugepool__request__init(&ask->request);
	hugepool__alloc__init(message);
	message->pool = pool->number;
	message->n_pages = n_pages;
	message->n_n_pages = n;
	message->align_pages = options->align_bytes / pool->page_bytes;
	message->detached = options->flags & HP_DETACHED;
	message->revocable = options->flags & HP_REVOCABLE;
	message->no_zero = options->flags & HP_NO_ZERO;
	message->max_runs = max_runs_of(options);
	message->wait_ms = options->wait_ms;
	message->lifetime_ms = options->lifetime_ms;
	message->node = options->node;
	message->mode = options->mode;
	if (options->name)
		message->name = (char *)(uintptr_t)options->name;
	fill_access(ask, options);
	ask->request.method_case = HUGEPOOL__REQUEST__METHOD_ALLOC;
	ask->request.alloc = message;
}

/* What is to be opened, and by whom it must have been made. */
struct opening {
	const char *name;
	unsigned flags;
	const uint32_t *owner_uid; /* NULL: whoever */
};

struct open_request {
	Hugepool__Request request;
	Hugepool__Open message;
	char name[NAME_FULL_MAX + 1];
};

static void fill_open(struct open_request *ask, const struct opening *opening)
{
	hugepool__request__init(&ask->request);
	hugepool__open__init(&ask->message);
	ask->message.name = ask->name;
	ask->message.write = !(opening->flags & HP_READ_ONLY);
	if (opening->owner_uid) {
		ask->message.owner_case = HUGEPOOL__OPEN__OWNER_UID;
		ask->message.uid = *opening->owner_uid;
	}
	ask->request.method_case = HUGEPOOL__REQUEST__METHOD_OPEN;
	ask->request.open = &ask->message;
}

/* ---- handles ---- */

/* A handle for what is asked for. The lock is held. */
static int new_handle(hp_client *client, const struct session_pool *pool, uint64_t bytes,
		      const struct hp_alloc_options *options, uint64_t *ret_n_pages, hp_lease **ret_lease)
{
	int r = lease_round_up(&bytes, pool);

	if (r < 0)
		return r;
	*ret_n_pages = bytes / pool->page_bytes;
	*ret_lease = lease_new(client, pool, bytes, options->flags);
	if (!*ret_lease)
		return error_no_memory("a lease");
	(*ret_lease)->max_runs = max_runs_of(options);
	(*ret_lease)->way.align_bytes = options->align_bytes;
	return 0;
}

static void free_handles(hp_lease **leases, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		leases[i] = lease_free(leases[i], true);
}

/* Map those that are not a part of their arena's mapping; without the lock. */
static int map_views(hp_lease *const *leases, unsigned n)
{
	int r = 0;

	for (unsigned i = 0; i < n && r == 0; i++)
		if (lease_needs_view(leases[i]))
			r = lease_map(leases[i]);
	return r;
}

/* The daemon answers what waits when its time is over; one that does not in this time is not there. */
#define ANSWER_NS (2 * NS_PER_S)

static uint64_t deadline_of(const struct hp_alloc_options *options)
{
	const uint64_t wait_ms = options->wait_ms;

	if (wait_ms == 0 || wait_ms > (NO_DEADLINE >> 1) / NS_PER_MS)
		return NO_DEADLINE;
	return clock_now_ns() + wait_ms * NS_PER_MS + ANSWER_NS;
}

/* Run a claim to its end. The lock is held, and given up meanwhile. On failure the handles are freed. */
static int run_claim(hp_client *client, struct claim *claim, uint64_t deadline_ns)
{
	int r = call_run(client, &claim->call, deadline_ns);
	bool views = false;

	for (unsigned i = 0; i < claim->n_leases && r == 0; i++)
		views |= lease_needs_view(claim->leases[i]);
	if (views) {
		pthread_mutex_unlock(&client->lock);
		r = map_views(claim->leases, claim->n_leases);
		pthread_mutex_lock(&client->lock);
		if (r < 0) {
			claim_give_back(claim, r);
			r = call_run(client, &claim->call, deadline_ns);
		}
	}
	if (r < 0)
		free_handles(claim->leases, claim->n_leases);
	return r;
}

/* ---- the calls that wait ---- */

/* The rest of hp_alloc_batch(), with the lock. */
static int alloc_batch(hp_client *client, const uint64_t *bytes, unsigned n,
		       const struct hp_alloc_options *options, hp_lease **ret_leases)
{
	const struct session_pool *pool = session_find_pool(client, options->pool);
	uint64_t n_pages[SESSION_MAX_BATCH], ids[SESSION_MAX_BATCH];
	struct alloc_request ask;
	struct claim claim;
	int r = 0;

	if (!pool)
		return -ENOENT;
	if (n > client->max_batch)
		return error_set(-EOVERFLOW, "%u leases at once are too many, %u are allowed.", n,
				 client->max_batch);
	for (unsigned i = 0; i < n; i++)
		ret_leases[i] = NULL;
	for (unsigned i = 0; i < n && r == 0; i++)
		r = new_handle(client, pool, bytes[i], options, &n_pages[i], &ret_leases[i]);
	if (r < 0) {
		free_handles(ret_leases, n);
		return r;
	}
	fill_alloc(&ask, pool, n_pages, n, options);
	claim_init(&claim, &ask.request, ret_leases, n, ids);
	return run_claim(client, &claim, deadline_of(options));
}

int hp_alloc_batch(hp_client *client, const uint64_t *bytes, unsigned n,
		   const struct hp_alloc_options *options, hp_lease **ret_leases)
{
	struct checked_options checked;
	int r = session_check(client);

	if (r < 0)
		return r;
	if (!options)
		options = &no_options;
	if (!bytes || !ret_leases || n == 0)
		return error_set(-EINVAL, "Nothing is asked for, or there is nowhere to put it.");
	r = check_options(options, n, &checked);
	if (r < 0)
		return r;
	pthread_mutex_lock(&client->lock);
	r = alloc_batch(client, bytes, n, &checked.options, ret_leases);
	pthread_mutex_unlock(&client->lock);
	return r;
}

int hp_alloc(hp_client *client, uint64_t bytes, const struct hp_alloc_options *options, hp_lease **ret_lease)
{
	return hp_alloc_batch(client, &bytes, 1, options, ret_lease);
}

static int check_open(const hp_client *client, const struct opening *opening, struct open_request *ask)
{
	int r = session_check(client);

	if (r < 0)
		return r;
	if (!opening->name)
		return error_set(-EINVAL, "There is no name to open a lease by.");
	if (opening->flags & ~(unsigned)LEASE_MAP_FLAGS)
		return error_set(-EINVAL, "The flags 0x%x are not known, or not for opening.",
				 opening->flags);
	r = lease_name_find(opening->name, ask->name);
	return r < 0 ? r : check_map_flags(opening->flags);
}

static int open_lease(hp_client *client, const struct opening *opening, hp_lease **ret_lease)
{
	struct open_request ask;
	struct claim claim;
	hp_lease *lease;
	uint64_t id;
	int r = check_open(client, opening, &ask);

	if (r < 0)
		return r;
	if (!ret_lease)
		return error_set(-EINVAL, "There is nowhere to put the lease: NULL was given.");
	lease = lease_new(client, NULL, 0, opening->flags);
	if (!lease)
		return error_no_memory("a lease");
	fill_open(&ask, opening);
	claim_init(&claim, &ask.request, &lease, 1, &id);
	pthread_mutex_lock(&client->lock);
	r = run_claim(client, &claim, NO_DEADLINE);
	pthread_mutex_unlock(&client->lock);
	if (r == 0)
		*ret_lease = lease;
	return r;
}

int hp_lease_open(hp_client *client, const char *name, unsigned flags, hp_lease **ret_lease)
{
	return open_lease(client, &(struct opening){name, flags, NULL}, ret_lease);
}

int hp_lease_open_of(hp_client *client, const char *name, uint32_t owner_uid, unsigned flags,
		     hp_lease **ret_lease)
{
	return open_lease(client, &(struct opening){name, flags, &owner_uid}, ret_lease);
}

/* ---- the calls that only begin ---- */

struct started_claim {
	struct claim claim;         /* first */
	Hugepool__Request *request; /* a copy of what was asked */
	hp_lease *lease;
	uint64_t id;
	hp_lease_done *done;
	void *arg;
};

static void started_claim_free(struct started_claim *started)
{
	hugepool__request__free_unpacked(started->request, NULL);
	free(started);
}

/* Map what was granted, or give it back; tell the program. */
static unsigned finish_claim(hp_client *client, struct call *call)
{
	struct started_claim *started = (struct started_claim *)call;
	hp_lease *lease = started->lease;
	int r = call->error.code;

	if (r == 0)
		r = map_views(&lease, 1);
	if (r < 0) {
		pthread_mutex_lock(&client->lock);
		if (call->error.code == 0) {
			claim_give_back(&started->claim, r);
			call_start(client, call);
			pthread_mutex_unlock(&client->lock);
			return 0;
		}
		lease = lease_free(lease, true);
		pthread_mutex_unlock(&client->lock);
	}
	error_raise(&call->error);
	started->done(started->arg, r, lease);
	started_claim_free(started);
	return 1;
}

/* A copy that lives as long as need be. NULL: no memory. */
static Hugepool__Request *copy_request(const Hugepool__Request *request)
{
	size_t length = hugepool__request__get_packed_size(request);
	uint8_t *packed = malloc(length);
	Hugepool__Request *copy;

	if (!packed)
		return NULL;
	hugepool__request__pack(request, packed);
	copy = hugepool__request__unpack(NULL, length, packed);
	free(packed);
	return copy;
}

/* Start a claim for `lease`, a handle that is freed on failure. The lock is held. */
static int start_claim(hp_client *client, const Hugepool__Request *request, hp_lease *lease,
		       hp_lease_done *done, void *arg)
{
	struct started_claim *started = calloc(1, sizeof(*started));

	if (started)
		started->request = copy_request(request);
	if (!started || !started->request) {
		free(started);
		lease_free(lease, true);
		return error_no_memory("a request");
	}
	started->lease = lease;
	started->done = done;
	started->arg = arg;
	claim_init(&started->claim, started->request, &started->lease, 1, &started->id);
	started->claim.call.finish = finish_claim;
	call_start(client, &started->claim.call);
	return 0;
}

static int check_start(const hp_client *client, hp_lease_done *done)
{
	if (!done)
		return error_set(-EINVAL, "There is nobody to give the lease to: NULL was given.");
	if (client->ended)
		return error_set(-ESTALE, ERROR_SESSION_ENDED);
	return 0;
}

/* The rest of hp_alloc_start(), with the lock. */
static int alloc_start(hp_client *client, uint64_t bytes, const struct hp_alloc_options *options,
		       hp_lease_done *done, void *arg)
{
	const struct session_pool *pool = session_find_pool(client, options->pool);
	struct alloc_request ask;
	uint64_t n_pages;
	hp_lease *lease = NULL;
	int r = pool ? check_start(client, done) : -ENOENT;

	if (r == 0)
		r = new_handle(client, pool, bytes, options, &n_pages, &lease);
	if (r < 0)
		return r;
	fill_alloc(&ask, pool, &n_pages, 1, options);
	return start_claim(client, &ask.request, lease, done, arg);
}

int hp_alloc_start(hp_client *client, uint64_t bytes, const struct hp_alloc_options *options,
		   hp_lease_done *done, void *arg)
{
	struct checked_options checked;
	int r = session_check(client);

	if (r < 0)
		return r;
	if (!options)
		options = &no_options;
	r = check_options(options, 1, &checked);
	if (r < 0)
		return r;
	pthread_mutex_lock(&client->lock);
	r = alloc_start(client, bytes, &checked.options, done, arg);
	pthread_mutex_unlock(&client->lock);
	return r;
}

static int open_start(hp_client *client, const struct opening *opening, hp_lease_done *done, void *arg)
{
	struct open_request ask;
	hp_lease *lease;
	int r = check_open(client, opening, &ask);

	if (r < 0)
		return r;
	lease = lease_new(client, NULL, 0, opening->flags);
	if (!lease)
		return error_no_memory("a lease");
	fill_open(&ask, opening);
	pthread_mutex_lock(&client->lock);
	r = check_start(client, done);
	if (r == 0)
		r = start_claim(client, &ask.request, lease, done, arg);
	else
		lease_free(lease, true);
	pthread_mutex_unlock(&client->lock);
	return r;
}

int hp_lease_open_start(hp_client *client, const char *name, unsigned flags, hp_lease_done *done, void *arg)
{
	return open_start(client, &(struct opening){name, flags, NULL}, done, arg);
}

int hp_lease_open_of_start(hp_client *client, const char *name, uint32_t owner_uid, unsigned flags,
			   hp_lease_done *done, void *arg)
{
	return open_start(client, &(struct opening){name, flags, &owner_uid}, done, arg);
}

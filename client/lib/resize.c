/* resize.c - makes a lease shorter or longer: hp_lease_resize().
 *
 * The addresses come first, then the daemon, then the mapping: what cannot be mapped in the end is given back
 * to the daemon, and the lease is as long as it was. A second handle holds what the daemon says until it is
 * the lease's.
 */
#include <config.h>

#include <errno.h>

#include "client/lib/claim.h"

/* One of them is the other's beginning: what the lease has stays. */
static bool is_continued(const hp_lease *one, const hp_lease *other)
{
	const hp_lease *shorter = one->bytes < other->bytes ? one : other;
	const hp_lease *longer = shorter == one ? other : one;

	if (shorter->n_runs > longer->n_runs)
		return false;
	for (unsigned i = 0; i < shorter->n_runs; i++) {
		const struct arena_run *mine = &shorter->runs[i], *theirs = &longer->runs[i];
		bool is_last = i + 1 == shorter->n_runs;

		if (mine->arena_id != theirs->arena_id || mine->offset_bytes != theirs->offset_bytes ||
		    mine->bytes > theirs->bytes || (mine->bytes < theirs->bytes && !is_last))
			return false;
	}
	return true;
}

/* Out of the arena's mapping into a view. */
static int move_to_view(hp_lease *lease, hp_lease *next)
{
	int r = view_map(&next->view, &next->way, next->runs, next->n_runs);

	if (r < 0)
		return r;
	lease->view = next->view;
	next->view = (struct view){0};
	return 0;
}

/* Map the lease as it is now, which is `next`. Negative errno: nothing has changed. */
static int remap(hp_lease *lease, hp_lease *next, unsigned flags)
{
	struct view *view = &lease->view;
	int r;

	if (!is_continued(lease, next))
		return -EPROTO;
	if (next->bytes < lease->bytes) {
		if (view->range)
			view_trim(view, next->bytes);
		return 0;
	}
	if (!view->range && next->n_runs == 1)
		return 0;
	if (!view->range)
		return flags & HP_MAY_MOVE ? move_to_view(lease, next) : -EPROTO;
	r = view_reserve(view, &lease->way, next->bytes);
	if (r == 0)
		r = view_grow(view, &lease->way, next->runs, next->n_runs);
	if (r == -ENOSPC && flags & HP_MAY_MOVE)
		r = view_move(view, &lease->way, next->runs, next->n_runs);
	return r;
}

/* How many runs it may be made of: one is all that the arena's mapping can go on with. */
static unsigned max_runs_of(const hp_lease *lease, unsigned flags)
{
	return lease->view.range || flags & HP_MAY_MOVE ? lease->max_runs : 1;
}

/* The rest of hp_lease_resize(). `next` is the lease as it shall be. */
static int resize(hp_lease *lease, hp_lease *next, unsigned flags)
{
	hp_client *client = lease->client;
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Resize message = HUGEPOOL__RESIZE__INIT;
	struct claim claim;
	uint64_t id;
	int r;

	message.lease = lease->id;
	message.n_pages = next->bytes / next->way.page_bytes;
	message.max_runs = max_runs_of(lease, flags);
	request.method_case = HUGEPOOL__REQUEST__METHOD_RESIZE;
	request.resize = &message;
	claim_init(&claim, &request, &next, 1, &id);
	claim.back_to_pages = lease->bytes / lease->way.page_bytes;
	next->id = lease->id;
	if (next->bytes < lease->bytes) /* what was trimmed is gone */
		claim.call.patience = CALL_STUBBORN;

	pthread_mutex_lock(&client->lock);
	r = call_run(client, &claim.call, NO_DEADLINE);
	pthread_mutex_unlock(&client->lock);
	if (r < 0)
		return r;
	r = remap(lease, next, flags);
	if (r < 0) {
		claim_give_back(&claim, r);
		pthread_mutex_lock(&client->lock);
		r = call_run(client, &claim.call, NO_DEADLINE);
		pthread_mutex_unlock(&client->lock);
		return r;
	}
	if (lease->view.range)
		lease->data = lease->view.data;
	lease->bytes = next->bytes;
	lease_swap_runs(lease, next);
	return 0;
}

int hp_lease_resize(hp_lease *lease, uint64_t bytes, unsigned flags)
{
	hp_lease *next;
	int r;

	if (!lease)
		return error_set(-EINVAL, "There is no lease: NULL was given.");
	r = session_check(lease->client);
	if (r < 0)
		return r;
	if (flags & ~(unsigned)HP_MAY_MOVE)
		return error_set(-EINVAL, "The flags 0x%x are not known, or not for resizing.", flags);
	r = lease_round_up(&bytes, &lease->pool);
	if (r < 0 || bytes == lease->bytes)
		return r;
	if (bytes > lease->bytes && lease->view.range && !(flags & HP_MAY_MOVE) &&
	    view_reserve(&lease->view, &lease->way, bytes) < 0)
		return error_set(-ENOSPC, "The addresses behind the lease are taken: allow it to move.");
	next = lease_new(lease->client, &lease->pool, bytes, lease->way.flags);
	if (!next)
		return error_no_memory("a lease");
	next->way.align_bytes = lease->way.align_bytes;
	r = resize(lease, next, flags);
	pthread_mutex_lock(&lease->client->lock);
	lease_free(next, true);
	pthread_mutex_unlock(&lease->client->lock);
	return r;
}

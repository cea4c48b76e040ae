/* lease.c - handles: made, mapped, looked at, forgotten.
 *
 * Most leases are a part of their arena's mapping: that costs nothing. Others have a view of their own.
 *
 * Invariant: a handle that the program has is in its client's list and holds a share in the arena of each of
 * its runs, from the end of hp_alloc() until the handle is freed, whatever becomes of the lease meanwhile.
 */
#include <config.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/lease.h"
#include "client/lib/range.h"

int lease_round_up(uint64_t *bytes, const struct session_pool *pool)
{
	uint64_t n_pages = *bytes > 0 ? (*bytes - 1) / pool->page_bytes + 1 : 0;

	if (n_pages == 0)
		return error_set(-EINVAL, "A lease of no bytes makes no sense.");
	if (n_pages > UINT64_MAX / pool->page_bytes)
		return error_set(-EINVAL, "There is no memory of %llu bytes.", (unsigned long long)*bytes);
	*bytes = n_pages * pool->page_bytes;
	return 0;
}

hp_lease *lease_new(hp_client *client, const struct session_pool *pool, uint64_t bytes, unsigned flags)
{
	hp_lease *lease = calloc(1, sizeof(*lease));

	if (!lease)
		return NULL;
	lease->client = client;
	lease->bytes = bytes;
	lease->max_runs = LEASE_MAX_RUNS;
	lease->way.flags = flags & LEASE_MAP_FLAGS;
	lease->runs = &lease->one_run;
	if (pool) {
		lease->pool = *pool;
		lease->way.page_bytes = pool->page_bytes;
	}
	return lease;
}

hp_lease *lease_free(hp_lease *lease, bool mapped)
{
	if (!lease)
		return NULL;
	if (lease->linked)
		TAILQ_REMOVE(&lease->client->leases, lease, link);
	if (mapped)
		lease_unmap(lease);
	for (unsigned i = 0; i < lease->n_runs; i++)
		if (lease->runs[i].arena)
			arena_put(lease->runs[i].arena, mapped);
	if (lease->runs != &lease->one_run)
		free(lease->runs);
	free(lease);
	return NULL;
}

void session_forget_leases(hp_client *client, bool mapped)
{
	hp_lease *lease;

	while ((lease = TAILQ_FIRST(&client->leases)))
		lease_free(lease, mapped);
}

bool lease_needs_view(const hp_lease *lease)
{
	return lease->way.flags || lease->n_runs > 1 || lease->is_apart;
}

int lease_map(hp_lease *lease)
{
	int r;

	if (!lease_needs_view(lease)) {
		lease->data = lease->runs->arena->data + lease->runs->offset_bytes;
		return 0;
	}
	r = view_map(&lease->view, &lease->way, lease->runs, lease->n_runs);
	lease->data = lease->view.data;
	return r;
}

void lease_unmap(hp_lease *lease)
{
	view_unmap(&lease->view);
}

static bool is_whole(const hp_lease *lease)
{
	for (unsigned i = 0; i < lease->n_runs; i++)
		if (lease->runs[i].arena->gone || arena_is_truncated(lease->runs[i].arena))
			return false;
	return true;
}

int lease_map_again(hp_lease *lease)
{
	/* An arena that is gone is no table's: with its last share goes what is there in the parent only. */
	for (unsigned i = 0; i < lease->n_runs; i++)
		if (lease->runs[i].arena->gone)
			lease->runs[i].arena->data = NULL;
	if (!lease->view.range)
		return 0;
	return view_map_again(&lease->view, &lease->way, lease->runs, lease->n_runs, is_whole(lease));
}

void lease_unmap_again(const hp_lease *lease)
{
	if (lease->view.range)
		range_release(lease->view.range, lease->view.range_bytes, NULL);
}

void lease_link(hp_lease *lease)
{
	TAILQ_INSERT_HEAD(&lease->client->leases, lease, link);
	lease->linked = true;
}

void lease_swap_runs(hp_lease *one, hp_lease *other)
{
	struct arena_run one_run = one->one_run, *runs = one->runs;
	unsigned n_runs = one->n_runs;

	one->one_run = other->one_run;
	one->runs = other->runs == &other->one_run ? &one->one_run : other->runs;
	one->n_runs = other->n_runs;
	other->one_run = one_run;
	other->runs = runs == &one->one_run ? &other->one_run : runs;
	other->n_runs = n_runs;
}

/* ---- what a lease is ---- */

void *hp_lease_data(const hp_lease *lease)
{
	return lease->data;
}

uint64_t hp_lease_bytes(const hp_lease *lease)
{
	return lease->bytes;
}

uint64_t hp_lease_id(const hp_lease *lease)
{
	return lease->id;
}

int hp_lease_owner(const hp_lease *lease, uint32_t *ret_uid, uint32_t *ret_mode)
{
	if (lease->maker_mode == 0)
		return error_set(-ENODATA,
				 "The lease was not opened, or the daemon is too old to say by whom it "
				 "was made.");
	if (ret_uid)
		*ret_uid = lease->maker_uid;
	if (ret_mode)
		*ret_mode = lease->maker_mode;
	return 0;
}

int hp_lease_dup_fd(const hp_lease *lease, unsigned run, uint64_t *ret_offset, uint64_t *ret_bytes)
{
	int r = session_check(lease->client), fd;

	if (r < 0)
		return r;
	if (run >= lease->n_runs)
		return error_set(-ENOENT, "The lease has %u runs, and no number %u.", lease->n_runs, run);
	fd = fcntl(lease->runs[run].arena->fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return error_set(-errno, "Cannot duplicate the lease's descriptor: %s.", strerror(errno));
	if (ret_offset)
		*ret_offset = lease->runs[run].offset_bytes;
	if (ret_bytes)
		*ret_bytes = lease->runs[run].bytes;
	return fd;
}

/* ---- for hugepoolctl ---- */

int client_lease_run(const hp_lease *lease, unsigned index, Hugepool__Run *ret_run)
{
	if (index >= lease->n_runs)
		return -ENOENT;
	hugepool__run__init(ret_run);
	ret_run->arena = lease->runs[index].arena_id;
	ret_run->first_page = lease->runs[index].offset_bytes / lease->way.page_bytes;
	ret_run->n_pages = lease->runs[index].bytes / lease->way.page_bytes;
	return 0;
}

const char *client_lease_pool(const hp_lease *lease)
{
	return lease->pool.name;
}

/* lease.c - see lease.h. */
#include <config.h>

#include <stddef.h>
#include <string.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/lease/lease.h"
#include "daemon/lease/lease_state.h"

static struct run run_of(const struct lease_record *record)
{
	return (struct run){.address = record->address, .n_pages = record->n_pages};
}

/* ---- the session's list of records, newest first ---- */

static void link_record(struct session *session, struct lease_record *record)
{
	struct ledger *ledger = session->shard->ledger;
	uint32_t slot = ledger_slot(record->id);

	record->next = session->first_lease;
	if (record->next != LEDGER_NIL)
		ledger_at(ledger, record->next)->prev = slot;
	session->first_lease = slot;
	session->n_leases++;
	session->n_pages += record->n_pages;
	session->zones[record->pool].n_pages += record->n_pages;
}

static void unlink_record(struct session *session, struct lease_record *record)
{
	struct ledger *ledger = session->shard->ledger;

	if (record->prev != LEDGER_NIL)
		ledger_at(ledger, record->prev)->next = record->next;
	else
		session->first_lease = record->next;
	if (record->next != LEDGER_NIL)
		ledger_at(ledger, record->next)->prev = record->prev;
	record->prev = record->next = LEDGER_NIL;
	session->n_leases--;
	session->n_pages -= record->n_pages;
	session->zones[record->pool].n_pages -= record->n_pages;
	if (!session->connection)
		atomic_fetch_sub(
			&session->zones[record->pool].zone->workers[session->shard->index].orphaned_pages,
			record->n_pages);
}

/* ---- granting ---- */

static void strike_out(struct shard *shard, struct lease_record *record)
{
	if (record->named)
		ledger_name_drop(shard->ledger, record->id);
	lease_move(record, LEASE_NONE);
	ledger_put(shard->ledger, shard->index, record);
}

/* Enter the lease of an item, whose run was taken. */
static enum lease_result enter(struct lease_alloc *alloc, uint32_t item)
{
	struct session *session = alloc->session;
	struct shard *shard = session->shard;
	struct lease_record *record = ledger_take(shard->ledger, shard->index);
	struct run run = alloc->runs[item];

	if (!record)
		return LEASE_NO_MEMORY;
	record->session = session->id;
	record->address = run.address;
	record->n_pages = run.n_pages;
	record->arena = pool_arena(alloc->zone->zone->pool, run_slot(run))->id;
	record->request_id = alloc->request_id;
	record->request_item = (uint16_t)item;
	record->granted_ns = session->shard->now_ns;
	record->tenant = alloc->zone->zone->tenant;
	record->uid = session->peer.uid;
	record->pid = (uint32_t)session->peer.pid;
	record->pool = (uint16_t)alloc->pool;
	record->detached = alloc->detached;
	if (alloc->name[0]) {
		int r = ledger_name_take(shard->ledger, alloc->name, record->id);

		if (r != 0) {
			ledger_put(shard->ledger, shard->index, record);
			return r == LEDGER_NAME_TAKEN ? LEASE_NAME_TAKEN : LEASE_NO_MEMORY;
		}
		record->named = true;
	}
	lease_move(record, LEASE_LEASED);
	link_record(session, record);
	if (!session->connection)
		atomic_fetch_add(&alloc->zone->zone->workers[shard->index].orphaned_pages, record->n_pages);
	atomic_fetch_add_explicit(&alloc->zone->zone->workers[shard->index].n_leases, 1,
				  memory_order_relaxed);
	alloc->records[item] = record;
	return LEASE_OK;
}

/* Strike out the lease of an item that no client saw; its run stays taken. */
static void withdraw(struct lease_alloc *alloc, uint32_t item)
{
	struct shard *shard = alloc->session->shard;

	unlink_record(alloc->session, alloc->records[item]);
	atomic_fetch_sub_explicit(&alloc->zone->zone->workers[shard->index].n_leases, 1,
				  memory_order_relaxed);
	strike_out(shard, alloc->records[item]);
}

void lease_alloc_unwind(struct lease_alloc *alloc)
{
	while (alloc->n_runs > 0)
		zone_put_clean(alloc->zone->zone, alloc->session->shard->index, alloc->runs[--alloc->n_runs]);
}

/* Every item has its pages. */
static enum lease_result enter_all(struct lease_alloc *alloc)
{
	for (uint32_t item = 0; item < alloc->n_items; item++) {
		enum lease_result result = enter(alloc, item);

		if (result == LEASE_OK)
			continue;
		alloc->failed_pages = alloc->n_pages[item];
		while (item > 0)
			withdraw(alloc, --item);
		lease_alloc_unwind(alloc);
		return result;
	}
	return LEASE_OK;
}

/* Take pages item by item until one has to wait. */
static enum lease_result go_on(struct lease_alloc *alloc)
{
	struct zone *zone = alloc->zone->zone;
	unsigned worker = alloc->session->shard->index;

	for (; alloc->n_runs < alloc->n_items; alloc->n_runs++) {
		uint64_t n_pages = alloc->n_pages[alloc->n_runs];

		if (zone_take(zone, worker, n_pages, alloc->align_pages, &alloc->runs[alloc->n_runs]) != 0) {
			alloc->failed_pages = n_pages;
			return LEASE_WAIT;
		}
	}
	return enter_all(alloc);
}

enum lease_result lease_alloc_start(struct lease_alloc *alloc)
{
	struct session *session = alloc->session;
	enum lease_result result;
	uint64_t max_pages;

	alloc->n_runs = 0;
	alloc->failed_pages = alloc->n_pages[0];
	result = session_get_zone(session, alloc->pool, &alloc->zone);
	if (result != LEASE_OK)
		return result;
	max_pages = session->shard->pools[alloc->pool]->config.max_pages;
	if (alloc->align_pages == 0)
		alloc->align_pages = 1;
	if (alloc->align_pages & (alloc->align_pages - 1) || alloc->align_pages > max_pages)
		return LEASE_BAD_ALIGN;
	for (uint32_t i = 0; i < alloc->n_items; i++)
		if (alloc->n_pages[i] == 0 || alloc->n_pages[i] > max_pages) {
			alloc->failed_pages = alloc->n_pages[i];
			return LEASE_BAD_SIZE;
		}
	if (alloc->name[0] && ledger_name_find(session->shard->ledger, alloc->name) != 0)
		return LEASE_NAME_TAKEN;
	return go_on(alloc);
}

static void supplied(struct supply *supply);

static void wait_for_next(struct lease_alloc *alloc)
{
	alloc->supply = (struct supply){
		.zone = alloc->zone->zone,
		.worker = alloc->session->shard->index,
		.n_pages = alloc->n_pages[alloc->n_runs],
		.align_pages = alloc->align_pages,
		.done = supplied,
	};
	supply_post(&alloc->supply);
}

void lease_alloc_wait(struct lease_alloc *alloc)
{
	struct session *session = alloc->session;

	alloc->next = session->allocs;
	session->allocs = alloc;
	session->shard->n_allocs_waiting++;
	wait_for_next(alloc);
}

static enum lease_result result_of(enum supply_result result)
{
	static const enum lease_result results[] = {
		[SUPPLY_GRANTED] = LEASE_OK,          [SUPPLY_OVER_QUOTA] = LEASE_OVER_QUOTA,
		[SUPPLY_POOL_FULL] = LEASE_POOL_FULL, [SUPPLY_KERNEL_SHORT] = LEASE_KERNEL_SHORT,
		[SUPPLY_NO_MEMORY] = LEASE_NO_MEMORY,
	};

	return results[result];
}

/* The stocker's answer for one item, on the session's worker. */
static void supplied(struct supply *supply)
{
	struct lease_alloc *alloc =
		(struct lease_alloc *)((char *)supply - offsetof(struct lease_alloc, supply));
	struct session *session = alloc->session;
	enum lease_result result = result_of(supply->result);
	struct lease_alloc **link;

	if (result == LEASE_OK) {
		alloc->runs[alloc->n_runs++] = supply->run;
		if (session->ending)
			result = LEASE_SESSION_ENDED;
	}
	if (result == LEASE_OK) {
		result = go_on(alloc);
		if (result == LEASE_WAIT) {
			wait_for_next(alloc);
			return;
		}
	} else {
		lease_alloc_unwind(alloc);
	}
	for (link = &session->allocs; *link != alloc; link = &(*link)->next)
		;
	*link = alloc->next;
	session->shard->n_allocs_waiting--;
	alloc->done(alloc, result);
}

bool lease_alloc_find_again(struct lease_alloc *alloc)
{
	struct ledger *ledger = alloc->session->shard->ledger;
	uint32_t n_found = 0;

	for (uint32_t slot = alloc->session->first_lease; slot != LEDGER_NIL && n_found < alloc->n_items;) {
		struct lease_record *record = ledger_at(ledger, slot);

		if (record->request_id == alloc->request_id && record->request_item < alloc->n_items) {
			alloc->records[record->request_item] = record;
			n_found++;
		}
		slot = record->next;
	}
	return n_found == alloc->n_items;
}

bool lease_alloc_is_waiting(const struct session *session, uint64_t request_id)
{
	for (const struct lease_alloc *alloc = session->allocs; alloc; alloc = alloc->next)
		if (alloc->request_id == request_id)
			return true;
	return false;
}

/* ---- ending ---- */

/* The pages may be reused: freed by the holder, or the holder is dead. */
static void end(struct shard *shard, struct zone *zone, struct lease_record *record)
{
	struct run run = run_of(record);

	atomic_fetch_sub_explicit(&zone->workers[shard->index].n_leases, 1, memory_order_relaxed);
	strike_out(shard, record);
	zone_put(zone, shard->index, run, true);
	shard->has_freed = true;
}

enum lease_result lease_free(struct session *session, uint64_t id)
{
	struct shard *shard = session->shard;
	struct lease_record *record;
	unsigned worker;
	int r;

	if (ledger_owner(shard->ledger, id, &worker) != 0)
		return LEASE_NEVER;
	if (worker != shard->index)
		return LEASE_NOT_HOLDER;
	r = ledger_find(shard->ledger, id, &record);
	if (r != 0)
		return r == LEDGER_NEVER ? LEASE_NEVER : LEASE_OK;
	if (record->session != session->id)
		return LEASE_NOT_HOLDER;
	unlink_record(session, record);
	end(shard, session->zones[record->pool].zone, record);
	return LEASE_OK;
}

static void end_detached(struct shard *shard, struct lease_record *record)
{
	struct zone *zone = pool_zone_find(shard->pools[record->pool], record->tenant);

	end(shard, zone, record);
	pool_zone_unref(zone);
}

enum lease_result lease_free_detached(struct shard *shard, const struct peer *peer, bool is_admin,
				      uint64_t id, uint32_t *ret_pid)
{
	struct lease_record *record;
	int r = ledger_find(shard->ledger, id, &record);

	if (r != 0)
		return r == LEDGER_NEVER ? LEASE_NEVER : LEASE_OK;
	if (record->uid != peer->uid && !is_admin)
		return LEASE_NOT_ALLOWED;
	if (record->state != LEASE_DETACHED) {
		*ret_pid = record->pid;
		return LEASE_NOT_HOLDER;
	}
	end_detached(shard, record);
	return LEASE_OK;
}

void lease_end_detached(struct shard *shard)
{
	int owner;

	for (uint32_t chunk = 0; (owner = ledger_chunk_owner(shard->ledger, chunk)) >= 0; chunk++)
		for (uint32_t i = 0; owner == (int)shard->index && i < LEDGER_CHUNK_SLOTS; i++) {
			struct lease_record *record =
				ledger_at(shard->ledger, chunk * LEDGER_CHUNK_SLOTS + i);

			if (record->state == LEASE_DETACHED)
				end_detached(shard, record);
		}
}

void lease_holder_gone(struct session *session, struct lease_record *record)
{
	struct zone *zone = session->zones[record->pool].zone;

	unlink_record(session, record);
	if (!record->detached) {
		end(session->shard, zone, record);
		return;
	}
	lease_move(record, LEASE_DETACHED);
	record->session = 0;
	record->pid = 0;
	pool_zone_ref(zone);
}

enum lease_state lease_state_of(struct shard *shard, const struct lease_record *record)
{
	struct session *session;

	if (record->state != LEASE_LEASED)
		return (enum lease_state)record->state;
	session = session_find(shard, record->session);
	return session && session->connection ? LEASE_LEASED : LEASE_ORPHANED;
}

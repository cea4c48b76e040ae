/* lease.c - see lease.h. */
#include <config.h>

#include "daemon/lease/lease.h"

#include <string.h>

#include "daemon/base/assert.h"
#include "daemon/lease/chain.h"
#include "daemon/lease/lease_state.h"
#include "daemon/pool/poison.h"

#define OPENED_MAX  4096 /* leases that one tenant may have opened, where the pool has no quota of leases */
#define MODE_OTHERS 077  /* the bits of a mode that are for others than the owner */

/* ---- the session's list of records, newest first ---- */

/* Who holds it, that is charged for the lease; the pages may be charged to another. */
static struct zone *holder_zone(const struct session *session, const struct lease_record *record)
{
	return session->zones[record->pool].zone;
}

/* Pages of the session's own count as its, and as orphaned while it is; never those of a lease that it
 * opened. */
static void count_pages(struct session *session, const struct lease_record *record, bool more,
			uint64_t n_pages)
{
	const uint64_t change = more ? n_pages : -n_pages;

	if (record->opened)
		return;
	session->n_pages += change;
	session->zones[record->pool].n_pages += change;
	if (!session->connection)
		atomic_fetch_add(&holder_zone(session, record)->workers[session->shard->index].orphaned_pages,
				 change);
}

static void link_record(struct session *session, struct lease_record *record)
{
	struct ledger *ledger = session->shard->ledger;
	uint32_t slot = ledger_slot(record->id);

	record->next = session->first_lease;
	if (record->next != LEDGER_NIL)
		ledger_at(ledger, record->next)->prev = slot;
	session->first_lease = slot;
	session->n_leases++;
	request_index_add(&session->shard->asked, ledger, record);
	count_pages(session, record, true, record->lease_pages);
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
	request_index_remove(&session->shard->asked, ledger, record);
	count_pages(session, record, false, record->lease_pages);
}

/* ---- quotas of leases and names ---- */

/* Count one more, unless there are as many as the quota says already (0: there is none). */
static bool charge_one(_Atomic uint64_t *n, uint64_t quota)
{
	if (atomic_fetch_add(n, 1) < quota || quota == 0)
		return true;
	atomic_fetch_sub(n, 1);
	return false;
}

/* What kind of lease is counted. */
enum kind { KIND_PLAIN, KIND_NAMED, KIND_OPENED };

/* Workers have a counter in common only where there is a limit. A lease that was opened has no pages of its
 * own to limit it. */
static uint64_t limit_of(const struct zone *zone, enum kind kind)
{
	const uint64_t quota = zone->pool->config.quota_leases;

	return quota == 0 && kind == KIND_OPENED ? OPENED_MAX : quota;
}

/* Count one more lease of the zone, on this worker. False: its quota is reached. */
static bool charge(struct zone *zone, unsigned worker, enum kind kind)
{
	const uint64_t limit = limit_of(zone, kind);

	if (limit > 0 && !charge_one(&zone->n_leases, limit))
		return false;
	if (kind == KIND_NAMED && !charge_one(&zone->n_names, zone->pool->config.quota_names)) {
		if (limit > 0)
			atomic_fetch_sub(&zone->n_leases, 1);
		return false;
	}
	atomic_fetch_add_explicit(&zone->workers[worker].n_leases, 1, memory_order_relaxed);
	return true;
}

bool lease_may_add(const struct zone *zone, uint32_t n_leases, bool named)
{
	const uint64_t limit = limit_of(zone, named ? KIND_NAMED : KIND_PLAIN),
		       n_names = zone->pool->config.quota_names;

	if (limit > 0 && atomic_load(&zone->n_leases) + n_leases > limit)
		return false;
	return !named || n_names == 0 || atomic_load(&zone->n_names) + n_leases <= n_names;
}

static void discharge(struct zone *zone, unsigned worker, enum kind kind)
{
	if (limit_of(zone, kind) > 0)
		atomic_fetch_sub(&zone->n_leases, 1);
	if (kind == KIND_NAMED)
		atomic_fetch_sub(&zone->n_names, 1);
	atomic_fetch_sub_explicit(&zone->workers[worker].n_leases, 1, memory_order_relaxed);
}

/* ---- pages ---- */

void lease_get_runs(struct ledger *ledger, const struct lease_record *record, struct share_runs *ret)
{
	chain_get(ledger, record, ret);
}

unsigned lease_n_runs(struct ledger *ledger, const struct lease_record *record)
{
	return chain_n_runs(ledger, record);
}

void lease_put_back(struct zone *zone, unsigned worker, bool sole, bool clean, const struct run_list *runs)
{
	for (unsigned i = 0; i < runs->n; i++)
		if (sole)
			pool_end_sole(zone, runs->runs[i]);
		else if (clean)
			zone_put_clean(zone, worker, runs->runs[i]);
		else
			zone_put(zone, worker, runs->runs[i], true);
}

/* A client had them. */
static void put_runs(struct shard *shard, struct zone *zone, bool sole, const struct run_list *runs, bool hot)
{
	for (unsigned i = 0; i < runs->n; i++)
		if (sole)
			pool_end_sole(zone, runs->runs[i]);
		else
			zone_put(zone, shard->index, runs->runs[i], hot);
	if (!sole)
		shard_note_freed(shard, zone);
}

/* Before they are put. */
static void note_holder(const struct pool *pool, const struct lease_record *record,
			const struct run_list *runs)
{
	for (unsigned i = 0; i < runs->n; i++)
		poison_note_holder(pool, runs->runs[i], record->id, record->pid);
}

static void add_run(const struct pool *pool, struct share_runs *runs, struct run run)
{
	const unsigned n = runs->list.n;
	struct run *last = n > 0 ? &runs->list.runs[n - 1] : NULL;

	if (last && last->address + last->n_pages == run.address) {
		last->n_pages += run.n_pages;
		return;
	}
	hp_assert(n < RUN_LIST_MAX);
	runs->list.runs[n] = run;
	runs->arenas[n] = pool_arena(pool, run_slot(run))->id;
	runs->list.n++;
}

/* ---- granting ---- */

bool lease_needs_sole(const struct pool *pool, bool revocable, bool has_deadline,
		      const struct share_terms *terms)
{
	return pool->config.isolation == POOL_ISOLATION_LEASE || revocable || has_deadline ||
	       (terms && (terms->mode & MODE_OTHERS || terms->n_access > 0));
}

static enum lease_result result_of_share(int r)
{
	switch (r) {
	case 0:
		return LEASE_OK;
	case SHARE_NAME_TAKEN:
		return LEASE_NAME_TAKEN;
	case SHARE_NONE:
		return LEASE_NO_NAME;
	case SHARE_NOT_ALLOWED:
		return LEASE_NOT_ALLOWED;
	case SHARE_BUSY:
		return LEASE_BUSY;
	case SHARE_EVICTED:
		return LEASE_ENDED;
	case SHARE_OTHER_MAKER:
		return LEASE_OTHER_MAKER;
	default:
		return LEASE_NO_MEMORY;
	}
}

/* Everything that a record says of its session. */
static void introduce(struct lease_record *record, const struct session *session, uint64_t request_id)
{
	record->session = session->id;
	record->request_id = request_id;
	record->granted_ns = session->shard->now_ns;
	record->uid = session->peer.uid;
	record->pid = (uint32_t)session->peer.pid;
}

static int set_deadline(struct shard *shard, struct lease_record *record, uint64_t deadline_ns)
{
	int r;

	if (deadline_ns == 0)
		return 0;
	record->deadline_ns = deadline_ns;
	r = deadlines_add(&shard->deadlines, shard->ledger, record);
	if (r < 0)
		record->deadline_ns = 0;
	return r;
}

/* The record's parts, its name and its deadline; undone by strike_out(). */
static enum lease_result equip(struct shard *shard, struct lease_record *record,
			       const struct lease_birth *birth, const struct share_runs *runs)
{
	struct share_terms terms;
	int r;

	if (chain_reserve(shard->ledger, shard->index, record, runs->list.n) < 0)
		return LEASE_NO_MEMORY;
	chain_set(shard->ledger, shard->index, record, runs);
	if (set_deadline(shard, record, birth->deadline_ns) < 0)
		return LEASE_NO_MEMORY;
	if (!birth->name[0])
		return LEASE_OK;
	terms = *birth->terms;
	terms.tenant = record->tenant;
	terms.pool = record->pool;
	terms.sole = record->sole;
	terms.deadline_ns = record->deadline_ns;
	r = shares_add(ledger_shares(shard->ledger), record->id, birth->name, &terms, runs);
	if (r == 0)
		record->share = record->id;
	return result_of_share(r);
}

/* The record ends; its pages and its share are dealt with. */
static void strike_out(struct shard *shard, struct lease_record *record)
{
	static const struct share_runs none;

	if (record->deadline_ns > 0)
		deadlines_remove(&shard->deadlines, shard->ledger, record);
	chain_set(shard->ledger, shard->index, record, &none);
	lease_move(record, LEASE_NONE);
	ledger_put(shard->ledger, shard->index, record);
}

enum lease_result lease_enter(struct session *session, const struct lease_birth *birth,
			      const struct run_list *runs, struct lease_record **ret_record)
{
	struct shard *shard = session->shard;
	struct zone *zone = session->zones[birth->pool].zone;
	struct lease_record *record;
	const enum kind kind = birth->name[0] ? KIND_NAMED : KIND_PLAIN;
	struct share_runs placed; /* not cleared: it is large */
	enum lease_result result;

	if (!charge(zone, shard->index, kind))
		return LEASE_TOO_MANY;
	record = ledger_take(shard->ledger, shard->index);
	if (!record) {
		discharge(zone, shard->index, kind);
		return LEASE_NO_MEMORY;
	}
	introduce(record, session, birth->request_id);
	record->request_item = birth->request_item;
	record->pool = birth->pool;
	record->tenant = zone->tenant;
	record->detached = birth->detached;
	record->sole = birth->sole;
	placed.list.n = 0;
	for (unsigned i = 0; i < runs->n; i++)
		add_run(zone->pool, &placed, runs->runs[i]);
	lease_move(record, LEASE_LEASED);
	result = equip(shard, record, birth, &placed);
	if (result != LEASE_OK) {
		strike_out(shard, record);
		discharge(zone, shard->index, kind);
		return result;
	}
	link_record(session, record);
	*ret_record = record;
	return LEASE_OK;
}

void lease_unenter(struct session *session, struct lease_record *record, bool clean)
{
	struct shard *shard = session->shard;
	struct zone *zone = holder_zone(session, record);
	const bool sole = record->sole;
	struct share_runs runs;

	hp_assert(!record->share);
	chain_get(shard->ledger, record, &runs);
	unlink_record(session, record);
	strike_out(shard, record);
	discharge(zone, shard->index, KIND_PLAIN);
	lease_put_back(zone, shard->index, sole, clean, &runs.list);
}

/* ---- opening ---- */

/* The record of one holder more becomes one: its fields and its parts. LEASE_NO_MEMORY: strike_out() it. */
static enum lease_result equip_opened(struct session *session, struct lease_record *record,
				      uint64_t request_id, uint64_t share, bool write,
				      const struct share_terms *terms, const struct share_runs *runs)
{
	struct shard *shard = session->shard;

	introduce(record, session, request_id);
	record->pool = terms->pool;
	record->tenant = terms->tenant;
	record->sole = terms->sole;
	record->share = share;
	record->opened = true;
	record->read_only = !write;
	if (chain_reserve(shard->ledger, shard->index, record, runs->list.n) < 0 ||
	    set_deadline(shard, record, terms->deadline_ns) < 0)
		return LEASE_NO_MEMORY;
	chain_set(shard->ledger, shard->index, record, runs);
	link_record(session, record);
	return LEASE_OK;
}

/* With a record that is there, but for its fields. */
static enum lease_result open_into(struct session *session, struct lease_record *record, uint64_t request_id,
				   struct lease_opening *opening)
{
	struct shard *shard = session->shard;
	struct shares *shares = ledger_shares(shard->ledger);
	const struct share_who who = {session->peer.uid,           session->peer.gid,
				      session->peer.groups,        session->peer.n_groups,
				      session->peer.is_privileged, opening->maker};
	enum lease_result result;
	struct session_zone *mine;
	struct share_terms terms;
	struct share_runs runs;
	uint64_t share;

	result = result_of_share(
		shares_open(shares, opening->name, &who, opening->write, record->id, &share, &terms, &runs));
	if (result == LEASE_OTHER_MAKER)
		opening->made_by = terms.uid;
	if (result != LEASE_OK)
		return result;
	result = (enum lease_result)session_get_zone(session, terms.pool, &mine);
	if (result == LEASE_OK && !charge(mine->zone, shard->index, KIND_OPENED))
		result = LEASE_TOO_MANY;
	if (result == LEASE_OK) {
		result = equip_opened(session, record, request_id, share, opening->write, &terms, &runs);
		if (result == LEASE_OK)
			return LEASE_OK;
		discharge(mine->zone, shard->index, KIND_OPENED);
	}
	if (shares_leave(shares, share, record->id, &runs))
		put_runs(shard, pool_zone_find(shard->pools[terms.pool], terms.tenant), terms.sole,
			 &runs.list, true);
	return result;
}

enum lease_result lease_open(struct session *session, uint64_t request_id, struct lease_opening *opening,
			     struct lease_record **ret_record)
{
	struct shard *shard = session->shard;
	struct lease_record *record = ledger_take(shard->ledger, shard->index);
	enum lease_result result;

	if (!record)
		return LEASE_NO_MEMORY;
	lease_move(record, LEASE_LEASED);
	result = open_into(session, record, request_id, opening);
	if (result != LEASE_OK) {
		strike_out(shard, record);
		return result;
	}
	*ret_record = record;
	return LEASE_OK;
}

/* ---- trim and grow ---- */

enum lease_result lease_may_change(struct session *session, const struct lease_record *record)
{
	if (record->opened ||
	    (record->share && shares_has_others(ledger_shares(session->shard->ledger), record->share)))
		return LEASE_BUSY;
	return record->cut ? LEASE_ENDED : LEASE_OK;
}

/* Make the lease's pages these, in its share and its chain. On failure they are what they were. */
static enum lease_result change_runs(struct session *session, struct lease_record *record,
				     const struct share_runs *old, const struct share_runs *new)
{
	struct shard *shard = session->shard;
	const uint64_t old_pages = record->lease_pages;
	int r = chain_reserve(shard->ledger, shard->index, record, new->list.n);

	if (r == 0 && record->share)
		r = shares_set_runs(ledger_shares(shard->ledger), record->share, new);
	chain_set(shard->ledger, shard->index, record, r == 0 ? new : old);
	count_pages(session, record, false, old_pages);
	count_pages(session, record, true, record->lease_pages);
	return result_of_share(r);
}

/* The first `n_pages` of the runs; what is behind goes to *ret_rest, but for the tail of a run that stays:
 * *ret_cut. */
static void split_runs(const struct share_runs *runs, uint64_t n_pages, struct share_runs *ret_kept,
		       struct run_list *ret_rest, struct run *ret_cut)
{
	ret_kept->list.n = ret_rest->n = 0;
	*ret_cut = (struct run){0};
	for (unsigned i = 0; i < runs->list.n; i++) {
		struct run run = runs->list.runs[i];

		if (n_pages == 0) {
			ret_rest->runs[ret_rest->n++] = run;
			continue;
		}
		if (run.n_pages > n_pages) {
			*ret_cut = (struct run){run.address + n_pages, run.n_pages - n_pages};
			run.n_pages = n_pages;
		}
		ret_kept->list.runs[ret_kept->list.n] = run;
		ret_kept->arenas[ret_kept->list.n++] = runs->arenas[i];
		n_pages -= run.n_pages;
	}
}

enum lease_result lease_trim(struct session *session, struct lease_record *record, uint64_t n_pages)
{
	struct shard *shard = session->shard;
	struct zone *zone = holder_zone(session, record);
	struct share_runs old, kept;
	struct run_list rest;
	enum lease_result result;
	struct run cut;

	hp_assert(n_pages > 0 && n_pages <= record->lease_pages);
	chain_get(shard->ledger, record, &old);
	split_runs(&old, n_pages, &kept, &rest, &cut);
	result = change_runs(session, record, &old, &kept);
	if (result != LEASE_OK)
		return result;
	note_holder(zone->pool, record, &old.list);
	put_runs(shard, zone, record->sole, &rest, true);
	if (cut.n_pages == 0)
		return LEASE_OK;
	if (record->sole)
		pool_trim_sole(zone, kept.list.runs[kept.list.n - 1],
			       kept.list.runs[kept.list.n - 1].n_pages);
	else
		zone_put(zone, shard->index, cut, true);
	if (!record->sole)
		shard_note_freed(shard, zone);
	return LEASE_OK;
}

enum lease_result lease_append(struct session *session, struct lease_record *record,
			       const struct run_list *runs)
{
	struct share_runs old, new;

	chain_get(session->shard->ledger, record, &old);
	new = old;
	if (old.list.n + runs->n > RUN_LIST_MAX)
		return LEASE_POOL_FULL;
	for (unsigned i = 0; i < runs->n; i++)
		add_run(holder_zone(session, record)->pool, &new, runs->runs[i]);
	return change_runs(session, record, &old, &new);
}

/* ---- ending ---- */

/* The pages may be reused: freed by the holder, or the holder is dead. The last holder of a named lease puts
 * them. */
static void end(struct shard *shard, struct zone *holder, struct lease_record *record, bool hot)
{
	struct shares *shares = ledger_shares(shard->ledger);
	struct pool *pool = shard->pools[record->pool];
	struct zone *zone = record->opened ? NULL : holder;
	const enum kind kind = record->opened ? KIND_OPENED : record->share ? KIND_NAMED : KIND_PLAIN;
	const bool sole = record->sole;
	const uint32_t tenant = record->tenant;
	struct share_runs runs;

	if (!record->share)
		chain_get(shard->ledger, record, &runs);
	else if (kind == KIND_NAMED)
		shares_end_name(shares, record->share);
	if (record->share && !shares_leave(shares, record->share, record->id, &runs))
		runs.list.n = 0;
	note_holder(pool, record, &runs.list);
	strike_out(shard, record);
	discharge(holder, shard->index, kind);
	if (runs.list.n > 0)
		put_runs(shard, zone ? zone : pool_zone_find(pool, tenant), sole, &runs.list, hot);
}

enum lease_result lease_find(struct session *session, uint64_t id, struct lease_record **ret_record)
{
	struct shard *shard = session->shard;
	unsigned worker;
	int r;

	if (ledger_owner(shard->ledger, id, &worker) != 0)
		return LEASE_NEVER;
	if (worker != shard->index)
		return LEASE_NOT_HOLDER;
	r = ledger_find(shard->ledger, id, ret_record);
	if (r != 0)
		return r == LEDGER_NEVER ? LEASE_NEVER : LEASE_ENDED;
	return (*ret_record)->session == session->id ? LEASE_OK : LEASE_NOT_HOLDER;
}

struct lease_record *lease_find_request(const struct session *session, uint64_t request_id)
{
	struct shard *shard = session->shard;

	return request_index_find(&shard->asked, shard->ledger, session->id, request_id);
}

enum lease_result lease_free(struct session *session, uint64_t id, bool hot)
{
	struct lease_record *record;
	enum lease_result result = lease_find(session, id, &record);

	if (result != LEASE_OK)
		return result == LEASE_ENDED ? LEASE_OK : result;
	unlink_record(session, record);
	end(session->shard, holder_zone(session, record), record, hot);
	return LEASE_OK;
}

static void end_detached(struct shard *shard, struct lease_record *record)
{
	struct zone *zone = pool_zone_find(shard->pools[record->pool], record->tenant);

	end(shard, zone, record, true);
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

void lease_end_orphan(struct shard *shard, struct lease_record *record)
{
	struct session *session = session_find(shard, record->session);

	hp_assert(session && !session->connection);
	unlink_record(session, record);
	end(shard, holder_zone(session, record), record, false);
}

void lease_holder_gone(struct session *session, struct lease_record *record)
{
	struct zone *zone = holder_zone(session, record);

	unlink_record(session, record);
	if (!record->detached) {
		end(session->shard, zone, record, true);
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

/* ---- deadlines and eviction ---- */

struct lease_record *lease_take_due(struct shard *shard, uint64_t now_ns)
{
	struct lease_record *record = deadlines_first(&shard->deadlines, shard->ledger);

	if (!record || record->deadline_ns > now_ns)
		return NULL;
	deadlines_remove(&shard->deadlines, shard->ledger, record);
	record->deadline_ns = 0;
	return record;
}

void lease_put_due(struct shard *shard, struct lease_record *record, uint64_t deadline_ns)
{
	/* There is room: it was taken out just now. */
	hp_assert(set_deadline(shard, record, deadline_ns) == 0);
}

/* Pages of condemned arenas that no lease has any more. */
static void put_evicted(struct shard *shard, struct zone *zone, const struct run_list *runs)
{
	for (unsigned i = 0; i < runs->n; i++) {
		struct run_list one = {.n = 1, .runs = {runs->runs[i]}};

		put_runs(shard, zone, pool_arena(zone->pool, run_slot(runs->runs[i]))->sole, &one, false);
	}
}

void lease_condemn_shares(struct shard *shard, uint64_t arena)
{
	shares_condemn_arena(ledger_shares(shard->ledger), arena);
}

bool lease_evict_shares(struct shard *shard, struct zone *zone, uint64_t arena, unsigned max_shares)
{
	struct run_list runs;

	for (; max_shares > 0; max_shares--) {
		if (!shares_drop_arena(ledger_shares(shard->ledger), arena, &runs))
			return true;
		put_evicted(shard, zone, &runs);
	}
	return false;
}

/* What is in one of these arenas (NULL: in any), and what is not. */
static void part_runs(const struct share_runs *runs, const uint64_t *arenas, unsigned n_arenas,
		      struct share_runs *ret_kept, struct run_list *ret_lost)
{
	ret_kept->list.n = ret_lost->n = 0;
	for (unsigned i = 0; i < runs->list.n; i++) {
		unsigned k = 0;

		while (arenas && k < n_arenas && arenas[k] != runs->arenas[i])
			k++;
		if (!arenas || k < n_arenas) {
			ret_lost->runs[ret_lost->n++] = runs->list.runs[i];
			continue;
		}
		ret_kept->list.runs[ret_kept->list.n] = runs->list.runs[i];
		ret_kept->arenas[ret_kept->list.n++] = runs->arenas[i];
	}
}

enum lease_eviction lease_evict(struct shard *shard, struct lease_record *record, const uint64_t *arenas,
				unsigned n_arenas)
{
	struct session *session = record->session ? session_find(shard, record->session) : NULL;
	const uint64_t old_pages = record->lease_pages;
	struct share_runs runs, kept;
	struct run_list lost;

	chain_get(shard->ledger, record, &runs);
	part_runs(&runs, arenas, n_arenas, &kept, &lost);
	if (lost.n == 0 && arenas)
		return LEASE_UNTOUCHED;
	chain_set(shard->ledger, shard->index, record, &kept);
	record->cut = true;
	if (session) {
		count_pages(session, record, false, old_pages);
		count_pages(session, record, true, record->lease_pages);
	}
	/* A named lease's pages are its share's. */
	if (!record->share)
		put_evicted(shard, pool_zone_find(shard->pools[record->pool], record->tenant), &lost);
	if (kept.list.n > 0)
		return LEASE_CUT;
	if (session) {
		unlink_record(session, record);
		end(shard, holder_zone(session, record), record, false);
	} else {
		end_detached(shard, record);
	}
	return LEASE_EVICTED;
}

/* request.c - see request.h. */
#include <config.h>

#include "daemon/lease/request.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/pool/admission.h"

#define container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* ---- waiting ---- */

bool lease_request_is_waiting(const struct session *session, uint64_t request_id)
{
	for (const struct lease_request *request = session->requests; request; request = request->next)
		if (request->request_id == request_id)
			return true;
	return false;
}

void lease_request_cancel(struct session *session, uint64_t request_id)
{
	struct lease_record *record;

	for (struct lease_request *request = session->requests; request; request = request->next)
		if (request->request_id == request_id)
			supply_cancel(&request->supply);
	while ((record = lease_find_request(session, request_id)))
		(void)lease_free(session, record->id, true);
}

void lease_requests_cancel(struct session *session)
{
	for (struct lease_request *request = session->requests; request; request = request->next)
		supply_cancel(&request->supply);
}

/* Charge the session's user for one that waits. */
static int charge(struct session *session, size_t n_bytes, enum account_kind *ret_kind)
{
	int r = account_charge(session->account, *ret_kind = ACCOUNT_WAITING, 1);

	if (r != 0)
		return r;
	r = account_charge(session->account, *ret_kind = ACCOUNT_BYTES, n_bytes);
	if (r != 0)
		account_discharge(session->account, ACCOUNT_WAITING, 1);
	return r;
}

static void release(struct lease_request *request)
{
	account_discharge(request->account, ACCOUNT_WAITING, 1);
	account_discharge(request->account, ACCOUNT_BYTES, request->kept_bytes);
	account_put(request->account);
	free(request->kept);
}

/* What is kept: a head, a copy of the first `copy_bytes` of a request, whose beginning is its struct
 * lease_request, and room for more of it. */
struct layout {
	size_t head_bytes, copy_bytes, room_bytes;
};

static int keep_copy(const struct lease_request *from, const struct layout *layout, void *ret_head,
		     enum account_kind *ret_kind)
{
	const size_t n_bytes = layout->head_bytes + layout->copy_bytes + layout->room_bytes;
	struct account *account = from->session->account;
	struct lease_request *copy;
	char *kept;
	int r = charge(from->session, n_bytes, ret_kind);

	if (r != 0)
		return r;
	kept = malloc(n_bytes);
	if (!kept) {
		account_discharge(account, ACCOUNT_WAITING, 1);
		account_discharge(account, ACCOUNT_BYTES, n_bytes);
		return -ENOMEM;
	}
	copy = memcpy(kept + layout->head_bytes, from, layout->copy_bytes);
	copy->kept = kept;
	copy->kept_bytes = n_bytes;
	copy->account = account_ref(account);
	*(void **)ret_head = kept;
	return 0;
}

static void enlist(struct lease_request *request)
{
	request->next = request->session->requests;
	request->session->requests = request;
	request->session->n_waiting++;
}

static void delist(struct lease_request *request)
{
	struct lease_request **link = &request->session->requests;

	while (*link != request)
		link = &(*link)->next;
	*link = request->next;
	request->session->n_waiting--;
}

static enum lease_result result_of(enum supply_result result)
{
	static const enum lease_result results[] = {
		[SUPPLY_GRANTED] = LEASE_OK,          [SUPPLY_OVER_QUOTA] = LEASE_OVER_QUOTA,
		[SUPPLY_POOL_FULL] = LEASE_POOL_FULL, [SUPPLY_KERNEL_SHORT] = LEASE_KERNEL_SHORT,
		[SUPPLY_NO_MEMORY] = LEASE_NO_MEMORY, [SUPPLY_TIMED_OUT] = LEASE_TIMED_OUT,
		[SUPPLY_DRAINING] = LEASE_DRAINING,   [SUPPLY_CANCELLED] = LEASE_CANCELLED,
	};

	return results[result];
}

/* What was taken for this want goes back as it was. */
static void put_back(const struct lease_request *request, const struct want *want,
		     const struct run_list *runs)
{
	lease_put_back(request->zone->zone, request->session->shard->index, want->sole, !want->no_zero, runs);
}

/* The stocker's answer, on the session's worker. */
static void supplied(struct supply *supply)
{
	struct lease_request *request = container_of(supply, struct lease_request, supply);
	enum lease_result result = result_of(supply->result);

	/* It may have been granted before the stocker saw that. */
	if (result == LEASE_OK && atomic_load(&supply->cancelled))
		result = LEASE_CANCELLED;
	if ((result == LEASE_OK || result == LEASE_CANCELLED) && request->session->ending)
		result = LEASE_SESSION_ENDED;
	/* An eviction that was under way has not seen these. */
	else if (result == LEASE_OK && !zone_is_granting(supply->zone, supply->runs.runs, supply->runs.n)) {
		put_back(request, &supply->want, &supply->runs);
		supply_post(supply);
		return;
	}
	if (supply->result == SUPPLY_GRANTED && result != LEASE_OK)
		put_back(request, &supply->want, &supply->runs);
	request->supplied(request, result);
}

static void post(struct lease_request *request, const struct want *want, uint64_t more_pages,
		 uint64_t deadline_ns)
{
	struct supply *supply = &request->supply;

	supply->zone = request->zone->zone;
	supply->worker = request->session->shard->index;
	supply->want = *want;
	supply->more_pages = more_pages;
	supply->deadline_ns = deadline_ns;
	supply->cancelled = false;
	supply->done = supplied;
	supply_post(supply);
	if (request->session->ending)
		supply_cancel(supply);
}

static uint64_t deadline_of(const struct session *session, uint64_t wait_ms)
{
	return wait_ms > 0 ? session->shard->now_ns + wait_ms * NS_PER_MS : 0;
}

/* At once: 0, or ZONE_SHORT. */
static int take(const struct lease_request *request, const struct want *want, struct run_list *ret_runs)
{
	struct zone *zone = request->zone->zone;

	if (want->sole)
		return pool_take_sole(zone, want, ret_runs);
	return zone_take(zone, request->session->shard->index, want, ret_runs);
}

/* ---- alloc ---- */

/* Up to its runs. */
static size_t fixed_bytes(const struct lease_alloc *alloc)
{
	return offsetof(struct lease_alloc, items) + alloc->n_items * sizeof(alloc->items[0]);
}

/* An item has no more runs than pages. */
static size_t most_runs(const struct lease_alloc *alloc)
{
	size_t n = 0;

	for (uint32_t i = 0; i < alloc->n_items; i++)
		n += alloc->items[i].n_pages < alloc->want.max_runs ? alloc->items[i].n_pages
								    : alloc->want.max_runs;
	return n < LEASE_MAX_RUNS ? n : LEASE_MAX_RUNS;
}

int lease_alloc_keep(const struct lease_alloc *alloc, size_t head_bytes, void *ret,
		     enum account_kind *ret_kind)
{
	const struct layout layout = {
		.head_bytes = head_bytes,
		.copy_bytes = fixed_bytes(alloc) + alloc->n_runs * sizeof(struct run),
		.room_bytes = (most_runs(alloc) - alloc->n_runs) * sizeof(struct run),
	};

	return keep_copy(&alloc->request, &layout, ret, ret_kind);
}

void lease_alloc_release(struct lease_alloc *alloc)
{
	release(&alloc->request);
}

/* The next item has its pages. */
static void keep(struct lease_alloc *alloc, const struct run_list *runs)
{
	hp_assert(alloc->n_runs + runs->n <= LEASE_MAX_RUNS);
	memcpy(&lease_alloc_runs(alloc)[alloc->n_runs], runs->runs, runs->n * sizeof(runs->runs[0]));
	alloc->n_runs += runs->n;
	alloc->items[alloc->n_taken++].n_runs = (uint16_t)runs->n;
}

/* The pages of the item taken last are nobody's any more. */
static void drop_last(struct lease_alloc *alloc, struct run_list *ret_runs)
{
	ret_runs->n = alloc->items[--alloc->n_taken].n_runs;
	alloc->n_runs -= ret_runs->n;
	memcpy(ret_runs->runs, &lease_alloc_runs(alloc)[alloc->n_runs],
	       ret_runs->n * sizeof(ret_runs->runs[0]));
}

void lease_alloc_unwind(struct lease_alloc *alloc)
{
	struct run_list runs;

	while (alloc->n_taken > 0) {
		drop_last(alloc, &runs);
		put_back(&alloc->request, &alloc->want, &runs);
	}
}

static enum lease_result enter(struct lease_alloc *alloc, uint32_t item, const struct run_list *runs)
{
	const struct lease_birth birth = {
		.request_id = alloc->request.request_id,
		.request_item = (uint8_t)item,
		.pool = (uint8_t)alloc->pool,
		.deadline_ns = deadline_of(alloc->request.session, alloc->lifetime_ms),
		.detached = alloc->detached,
		.sole = alloc->want.sole,
		.name = alloc->name,
		.terms = &alloc->terms,
	};

	return lease_enter(alloc->request.session, &birth, runs, &alloc->items[item].record);
}

/* Every item has its pages: the last first, as they are kept. */
static enum lease_result enter_all(struct lease_alloc *alloc)
{
	struct run_list runs;

	while (alloc->n_taken > 0) {
		enum lease_result result;

		drop_last(alloc, &runs);
		result = enter(alloc, alloc->n_taken, &runs);
		if (result == LEASE_OK)
			continue;
		alloc->failed_pages = alloc->items[alloc->n_taken].n_pages;
		put_back(&alloc->request, &alloc->want, &runs);
		for (uint32_t item = alloc->n_taken + 1; item < alloc->n_items; item++)
			lease_unenter(alloc->request.session, alloc->items[item].record,
				      !alloc->want.no_zero);
		lease_alloc_unwind(alloc);
		return result;
	}
	return LEASE_OK;
}

/* Take pages item by item until one has to wait. */
static enum lease_result go_on(struct lease_alloc *alloc)
{
	struct run_list runs;

	while (alloc->n_taken < alloc->n_items) {
		alloc->want.n_pages = alloc->items[alloc->n_taken].n_pages;
		if (take(&alloc->request, &alloc->want, &runs) != 0) {
			alloc->failed_pages = alloc->want.n_pages;
			return LEASE_WAIT;
		}
		keep(alloc, &runs);
	}
	return enter_all(alloc);
}

uint64_t lease_alloc_pages(const struct lease_alloc *alloc)
{
	uint64_t n_pages = 0;

	for (uint32_t i = 0; i < alloc->n_items; i++)
		n_pages += alloc->items[i].n_pages;
	return n_pages;
}

/* What can never be, however long one waits. failed_pages: of the item that is too long, or with which they
 * are too many. */
static enum lease_result check_pages(struct lease_alloc *alloc, const struct pool *pool)
{
	const uint64_t max_pages = pool->config.max_pages, quota_pages = pool->config.quota_pages;
	struct want item = alloc->want;
	uint64_t sum_pages = 0; /* below 2^64: each is at most max, and they are few */

	for (uint32_t i = 0; i < alloc->n_items; i++) {
		item.n_pages = alloc->failed_pages = alloc->items[i].n_pages;
		if (item.n_pages == 0 || item.n_pages > max_pages)
			return LEASE_BAD_SIZE;
		if (item.n_pages > quota_pages)
			return LEASE_OVER_QUOTA;
	}
	for (uint32_t i = 0; i < alloc->n_items; i++) {
		item.n_pages = alloc->failed_pages = alloc->items[i].n_pages;
		sum_pages += item.n_pages;
		switch (admission_ever(pool, &item, sum_pages)) {
		case ADMISSION_FULL:
			return LEASE_POOL_FULL;
		case ADMISSION_OVER_QUOTA:
			return LEASE_OVER_QUOTA;
		default:
			break;
		}
	}
	return LEASE_OK;
}

static enum lease_result check(struct lease_alloc *alloc, const struct pool *pool)
{
	const uint64_t max_pages = pool->config.max_pages;

	if (atomic_load_explicit(&pool->draining, memory_order_relaxed))
		return LEASE_DRAINING;
	if (alloc->want.align_pages == 0)
		alloc->want.align_pages = 1;
	if (alloc->want.align_pages & (alloc->want.align_pages - 1) || alloc->want.align_pages > max_pages)
		return LEASE_BAD_ALIGN;
	if (!lease_may_add(alloc->request.zone->zone, alloc->n_items, alloc->name[0]))
		return LEASE_TOO_MANY;
	return check_pages(alloc, pool);
}

enum lease_result lease_alloc_start(struct lease_alloc *alloc)
{
	struct session *session = alloc->request.session;
	enum lease_result result;
	const struct pool *pool;

	alloc->n_taken = alloc->n_runs = 0;
	alloc->failed_pages = alloc->items[0].n_pages;
	result = (enum lease_result)session_get_zone(session, alloc->pool, &alloc->request.zone);
	if (result != LEASE_OK)
		return result;
	pool = session->shard->pools[alloc->pool];
	result = check(alloc, pool);
	if (result != LEASE_OK)
		return result;
	if (alloc->name[0]) {
		if (shares_find(ledger_shares(session->shard->ledger), alloc->name) != 0)
			return LEASE_NAME_TAKEN;
		alloc->terms.uid = session->peer.uid;
		alloc->terms.gid = session->peer.gid;
	}
	alloc->want.sole = lease_needs_sole(pool, alloc->revocable, alloc->lifetime_ms > 0,
					    alloc->name[0] ? &alloc->terms : NULL);
	alloc->want.no_zero &= !pool->config.poison; /* it was all overwritten */
	alloc->want.has_readers = alloc->want.sole && alloc->name[0];
	alloc->deadline_ns = deadline_of(session, alloc->wait_ms);
	return go_on(alloc);
}

/* Of the items behind the one that waits. */
static uint64_t pages_behind(const struct lease_alloc *alloc)
{
	uint64_t n_pages = 0;

	for (uint32_t i = alloc->n_taken + 1; i < alloc->n_items; i++)
		n_pages += alloc->items[i].n_pages;
	return n_pages;
}

/* Nothing of an arena that is condemned is leased, and of others nothing when it was not the next item's. */
static bool let_go(struct lease_alloc *alloc)
{
	if (alloc->n_taken == 0 ||
	    zone_is_granting(alloc->request.zone->zone, lease_alloc_runs(alloc), alloc->n_runs))
		return false;
	lease_alloc_unwind(alloc);
	return true;
}

static void alloc_supplied(struct lease_request *request, enum lease_result result)
{
	struct lease_alloc *alloc = container_of(request, struct lease_alloc, request);

	if (result == LEASE_OK && alloc->starts_again)
		put_back(request, &request->supply.want, &request->supply.runs);
	else if (result == LEASE_OK)
		keep(alloc, &request->supply.runs);
	alloc->starts_again = false;
	if (result == LEASE_OK) {
		/* Nor what was kept here. */
		let_go(alloc);
		result = go_on(alloc);
		if (result == LEASE_WAIT) {
			post(request, &alloc->want, pages_behind(alloc), alloc->deadline_ns);
			return;
		}
	} else {
		lease_alloc_unwind(alloc);
	}
	delist(request);
	alloc->done(alloc, result);
}

void lease_requests_let_go(struct shard *shard)
{
	for (struct session *session = shard->first; session; session = session->next)
		for (struct lease_request *request = session->requests; request; request = request->next) {
			struct lease_alloc *alloc = container_of(request, struct lease_alloc, request);

			if (request->supplied == alloc_supplied && let_go(alloc))
				alloc->starts_again = true;
		}
}

void lease_alloc_wait(struct lease_alloc *alloc)
{
	alloc->starts_again = false;
	alloc->request.supplied = alloc_supplied;
	enlist(&alloc->request);
	post(&alloc->request, &alloc->want, pages_behind(alloc), alloc->deadline_ns);
}

/* An eviction may have ended some of them, or cut them: the client never heard of the others. */
static void end_found(const struct lease_alloc *alloc)
{
	for (uint32_t i = 0; i < alloc->n_items; i++)
		if (alloc->items[i].record)
			lease_free(alloc->request.session, alloc->items[i].record->id, false);
}

bool lease_alloc_find_again(struct lease_alloc *alloc)
{
	struct session *session = alloc->request.session;
	struct shard *shard = session->shard;
	struct lease_record *record = lease_find_request(session, alloc->request.request_id);
	bool is_whole = true;

	for (uint32_t i = 0; i < alloc->n_items; i++)
		alloc->items[i].record = NULL;
	for (; record; record = request_index_next(&shard->asked, shard->ledger, record))
		if (record->request_item < alloc->n_items)
			alloc->items[record->request_item].record = record;
	for (uint32_t i = 0; i < alloc->n_items; i++)
		is_whole &= alloc->items[i].record &&
			    alloc->items[i].record->lease_pages == alloc->items[i].n_pages;
	if (!is_whole)
		end_found(alloc);
	return is_whole;
}

/* ---- resize ---- */

/* Pages that it lacks, as they are wanted behind those that it has. */
static struct want want_more(const struct lease_resize *resize, const struct share_runs *runs)
{
	const struct lease_record *record = resize->record;

	return (struct want){
		.n_pages = resize->n_pages - record->lease_pages,
		.align_pages = 1,
		.max_runs = resize->max_runs - runs->list.n,
		.node = -1,
		.sole = record->sole,
		.has_readers = record->sole && record->share,
	};
}

/* Right behind its last run, in the same file. */
static bool grow_in_place(struct lease_resize *resize, const struct share_runs *runs)
{
	struct session *session = resize->request.session;
	struct zone *zone = resize->request.zone->zone;
	const struct run last = runs->list.runs[runs->list.n - 1];
	const struct run_list more = {
		.n = 1,
		.runs = {{last.address + last.n_pages, resize->n_pages - resize->record->lease_pages}},
	};

	if (resize->record->sole || zone_take_behind(zone, last, more.runs[0].n_pages) != 0)
		return false;
	if (lease_append(session, resize->record, &more) == LEASE_OK)
		return true;
	lease_put_back(zone, session->shard->index, false, true, &more);
	return false;
}

static enum lease_result append(struct lease_resize *resize, const struct run_list *more)
{
	struct session *session = resize->request.session;
	enum lease_result result = lease_append(session, resize->record, more);

	if (result != LEASE_OK)
		lease_put_back(resize->request.zone->zone, session->shard->index, resize->record->sole, true,
			       more);
	return result;
}

static enum lease_result grow(struct lease_resize *resize)
{
	struct run_list more;
	struct share_runs runs;
	struct want want;

	resize->failed_pages = resize->n_pages - resize->record->lease_pages;
	if (resize->n_pages > resize->request.zone->zone->pool->config.quota_pages)
		return LEASE_OVER_QUOTA;
	lease_get_runs(resize->request.session->shard->ledger, resize->record, &runs);
	if (runs.list.n > 0 && grow_in_place(resize, &runs))
		return LEASE_OK;
	if (runs.list.n >= resize->max_runs)
		return LEASE_POOL_FULL;
	want = want_more(resize, &runs);
	if (take(&resize->request, &want, &more) != 0) {
		resize->request.supply.want = want;
		return LEASE_WAIT;
	}
	return append(resize, &more);
}

enum lease_result lease_resize_start(struct lease_resize *resize)
{
	struct session *session = resize->request.session;
	enum lease_result result = lease_find(session, resize->id, &resize->record);
	const struct pool *pool;

	resize->pool = UINT32_MAX;
	resize->failed_pages = resize->n_pages;
	if (result != LEASE_OK)
		return result;
	resize->pool = resize->record->pool;
	resize->request.zone = &session->zones[resize->pool];
	pool = session->shard->pools[resize->pool];
	if (resize->n_pages == 0 || resize->n_pages > pool->config.max_pages)
		return LEASE_BAD_SIZE;
	result = lease_may_change(session, resize->record);
	if (result != LEASE_OK || resize->n_pages == resize->record->lease_pages)
		return result;
	if (resize->n_pages < resize->record->lease_pages)
		return lease_trim(session, resize->record, resize->n_pages);
	return atomic_load(&pool->draining) ? LEASE_DRAINING : grow(resize);
}

static void post_resize(struct lease_resize *resize)
{
	const struct want want = resize->request.supply.want;

	post(&resize->request, &want, 0, resize->deadline_ns);
}

static void resize_supplied(struct lease_request *request, enum lease_result result)
{
	struct lease_resize *resize = container_of(request, struct lease_resize, request);
	const struct run_list *runs = &request->supply.runs;

	/* It may have ended meanwhile, be somebody else's as well, or have another length. */
	if (result == LEASE_OK) {
		result = lease_find(request->session, resize->id, &resize->record);
		if (result == LEASE_OK &&
		    resize->record->lease_pages + request->supply.want.n_pages == resize->n_pages) {
			result = append(resize, runs);
		} else {
			put_back(request, &request->supply.want, runs);
			result = lease_resize_start(resize);
		}
	}
	if (result == LEASE_WAIT) {
		post_resize(resize);
		return;
	}
	delist(request);
	resize->done(resize, result);
}

int lease_resize_keep(const struct lease_resize *resize, size_t head_bytes, void *ret,
		      enum account_kind *ret_kind)
{
	const struct layout layout = {.head_bytes = head_bytes, .copy_bytes = sizeof(*resize)};

	return keep_copy(&resize->request, &layout, ret, ret_kind);
}

void lease_resize_release(struct lease_resize *resize)
{
	release(&resize->request);
}

void lease_resize_wait(struct lease_resize *resize)
{
	resize->deadline_ns = deadline_of(resize->request.session, resize->wait_ms);
	resize->request.supplied = resize_supplied;
	enlist(&resize->request);
	post_resize(resize);
}

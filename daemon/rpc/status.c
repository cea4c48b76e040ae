/* status.c - Status and BuddyInfo: what the daemon and its pools have. */
#include <config.h>

#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/rpc/dispatch.h"

static void fill_pool(Hugepool__PoolStatus *row, struct pool *pool)
{
	const struct pool_config *config = &pool->config;
	struct pool_figures figures;

	pool_get_figures(pool, &figures);
	*row = (Hugepool__PoolStatus)HUGEPOOL__POOL_STATUS__INIT;
	row->name = (char *)config->name;
	row->page_bytes = config->page_bytes;
	row->backing = (char *)pool_backing_name(config->backing);
	row->isolation = (char *)pool_isolation_name(config->isolation);
	row->pages_max = config->max_pages;
	row->pages_reserve = config->reserve_pages;
	row->pages_backed = figures.backed;
	row->pages_leased = figures.zones.leased;
	row->pages_orphaned = figures.zones.orphaned;
	row->pages_clean = figures.zones.clean;
	row->pages_dirty = figures.zones.dirty;
	row->pages_cached = figures.zones.cached;
	row->pages_stock = figures.stock;
	row->pages_limbo = figures.zones.limbo;
	row->pages_missing = figures.missing;
	row->arenas = figures.arenas;
	row->tenants = figures.tenants;
	row->leases = figures.zones.leases;
}

enum dispatch_result status_handle(struct connection *connection, const Hugepool__Request *request)
{
	const struct service *service = connection->server->service;
	Hugepool__PoolStatus rows[POOLS_MAX], *row_ptrs[POOLS_MAX];
	Hugepool__StatusReply status = HUGEPOOL__STATUS_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	for (unsigned i = 0; i < service->n_pools; i++) {
		fill_pool(&rows[i], service->pools[i]);
		row_ptrs[i] = &rows[i];
		status.leases += rows[i].leases;
	}
	for (unsigned i = 0; i < service->n_servers; i++)
		status.sessions += atomic_load(&service->servers[i]->n_sessions);
	status.version = (char *)PACKAGE_VERSION;
	status.pid = (uint64_t)getpid();
	status.uptime_s = (clock_now_ns() - service->started_ns) / NS_PER_S;
	status.workers = service->n_servers;
	status.n_pools = service->n_pools;
	status.pools = row_ptrs;
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_STATUS;
	reply.status = &status;
	connection_reply(connection, &reply, NULL, 0);
	return DISPATCH_DONE;
}

/* ---- buddyinfo ---- */

#define BUDDY_ROWS 128 /* in one reply; a row takes at most 300 bytes */

struct buddy_rows {
	unsigned n;
	bool truncated;
	Hugepool__ArenaBuddy rows[BUDDY_ROWS], *ptrs[BUDDY_ROWS];
	uint64_t free_blocks[BUDDY_ROWS][BUDDY_ORDERS];
	char tenants[BUDDY_ROWS][POOL_TENANT_NAME_MAX];
};

static void add_arena(struct buddy_rows *rows, const struct zone *zone, const struct arena *arena)
{
	Hugepool__ArenaBuddy *row = &rows->rows[rows->n];

	*row = (Hugepool__ArenaBuddy)HUGEPOOL__ARENA_BUDDY__INIT;
	row->pool = (char *)zone->pool->config.name;
	row->tenant = (char *)pool_tenant_name(zone->pool, zone->tenant, rows->tenants[rows->n],
					       sizeof(rows->tenants[0]));
	row->arena = arena->id;
	row->n_pages = arena->n_pages;
	row->pages_free = buddy_free_pages(arena->buddy);
	row->pages_dirty = arena->n_dirty;
	row->isolated = buddy_is_isolated(arena->buddy);
	row->free_blocks = rows->free_blocks[rows->n];
	for (unsigned order = 0; order < BUDDY_ORDERS; order++) {
		row->free_blocks[order] = buddy_free_blocks(arena->buddy, order);
		if (row->free_blocks[order])
			row->n_free_blocks = order + 1;
	}
	rows->ptrs[rows->n++] = row;
}

static void add_zone(void *arg, struct zone *zone)
{
	struct buddy_rows *rows = arg;

	for (unsigned i = 0; i < zone->n_arenas; i++) {
		if (rows->n == BUDDY_ROWS) {
			rows->truncated = true;
			return;
		}
		add_arena(rows, zone, zone->arenas[i]);
	}
}

enum dispatch_result buddyinfo_handle(struct connection *connection, const Hugepool__Request *request)
{
	const struct service *service = connection->server->service;
	const char *name = request->buddyinfo->pool;
	Hugepool__BuddyInfoReply info = HUGEPOOL__BUDDY_INFO_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	struct buddy_rows rows = {.n = 0};
	bool found = !name[0];

	for (unsigned i = 0; i < service->n_pools; i++)
		if (!name[0] || strcmp(name, service->pools[i]->config.name) == 0) {
			found = true;
			pool_for_each_zone(service->pools[i], add_zone, &rows);
		}
	if (!found) {
		connection_error(connection, request->id, HUGEPOOL__CODE__NO_POOL,
				 "there is no pool \"%.40s\"", name);
		return DISPATCH_DONE;
	}
	info.n_arenas = rows.n;
	info.arenas = rows.ptrs;
	info.truncated = rows.truncated;
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_BUDDYINFO;
	reply.buddyinfo = &info;
	connection_reply(connection, &reply, NULL, 0);
	return DISPATCH_DONE;
}

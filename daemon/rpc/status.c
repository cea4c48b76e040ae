/* status.c - Status and BuddyInfo: what the daemon and its pools have. */
#include <config.h>

#include <string.h>
#include <unistd.h>

#include "daemon/base/clock.h"
#include "daemon/base/text.h"
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
	row->pages_foreign = atomic_load(&pool->foreign_pages);
	row->pages_lost = atomic_load(&pool->lost_pages);
	row->pages_left = atomic_load(&pool->left_pages);
	row->arenas = figures.arenas;
	row->tenants = figures.tenants;
	row->leases = figures.zones.leases;
	row->pages_stock_wanted = pool->config.stock_pages;
	row->stocked = atomic_load(&pool->stocked_pages);
	row->waiting = atomic_load(&pool->n_waiting);
	row->scrubbed = atomic_load(&pool->scrubbed_pages);
	row->draining = atomic_load(&pool->draining);
	row->writes_after_free = atomic_load(&pool->writes_after_free);
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

/* ---- rows of all zones, or of one pool's ---- */

/* Call `visit` for each zone of the pool with that name ("": of all pools). False, and answered: there is no
 * such pool.
 */
static bool visit_zones(struct connection *connection, uint64_t request_id, const char *name,
			void (*visit)(void *arg, struct zone *zone), void *arg)
{
	const struct service *service = connection->server->service;

	if (name[0] && !server_find_pool(connection->server, name)) {
		char shown[TEXT_SHOWN_MAX];

		connection_error(connection, request_id, HUGEPOOL__CODE__NO_POOL, "there is no pool \"%s\"",
				 text_show(name, shown));
		return false;
	}
	for (unsigned i = 0; i < service->n_pools; i++)
		if (!name[0] || strcmp(name, service->pools[i]->config.name) == 0)
			pool_for_each_zone(service->pools[i], visit, arg);
	return true;
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
	row->sole = arena->sole;
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

	for (const struct arena *arena = zone->arenas; arena; arena = arena->next) {
		if (rows->n == BUDDY_ROWS) {
			rows->truncated = true;
			return;
		}
		add_arena(rows, zone, arena);
	}
}

enum dispatch_result buddyinfo_handle(struct connection *connection, const Hugepool__Request *request)
{
	Hugepool__BuddyInfoReply info = HUGEPOOL__BUDDY_INFO_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	struct buddy_rows rows = {.n = 0};

	if (!visit_zones(connection, request->id, request->buddyinfo->pool, add_zone, &rows))
		return DISPATCH_DONE;
	info.n_arenas = rows.n;
	info.arenas = rows.ptrs;
	info.truncated = rows.truncated;
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_BUDDYINFO;
	reply.buddyinfo = &info;
	connection_reply(connection, &reply, NULL, 0);
	return DISPATCH_DONE;
}

/* ---- tenants ---- */

#define TENANT_ROWS 400 /* in one reply; a row takes at most 150 bytes */

struct tenant_rows {
	unsigned n;
	bool truncated;
	Hugepool__TenantInfo rows[TENANT_ROWS], *ptrs[TENANT_ROWS];
	char tenants[TENANT_ROWS][POOL_TENANT_NAME_MAX];
};

static void add_tenant(void *arg, struct zone *zone)
{
	struct tenant_rows *rows = arg;
	struct zone_figures figures = {0};
	Hugepool__TenantInfo *row;

	if (rows->n == TENANT_ROWS) {
		rows->truncated = true;
		return;
	}
	row = &rows->rows[rows->n];
	zone_add_figures(zone, &figures);
	*row = (Hugepool__TenantInfo)HUGEPOOL__TENANT_INFO__INIT;
	row->pool = (char *)zone->pool->config.name;
	row->tenant = (char *)pool_tenant_name(zone->pool, zone->tenant, rows->tenants[rows->n],
					       sizeof(rows->tenants[0]));
	row->pages_quota = zone->pool->config.quota_pages;
	row->pages_leased = figures.leased;
	row->pages_orphaned = figures.orphaned;
	row->pages_clean = figures.clean;
	row->pages_dirty = figures.dirty;
	row->pages_cached = figures.cached;
	row->pages_limbo = figures.limbo;
	row->arenas = figures.arenas;
	row->leases = figures.leases;
	row->names = atomic_load(&zone->n_names);
	row->page_bytes = zone->pool->config.page_bytes;
	rows->ptrs[rows->n++] = row;
}

enum dispatch_result tenants_handle(struct connection *connection, const Hugepool__Request *request)
{
	Hugepool__TenantsReply tenants = HUGEPOOL__TENANTS_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	struct tenant_rows rows;

	rows.n = 0;
	rows.truncated = false;
	if (!visit_zones(connection, request->id, request->tenants->pool, add_tenant, &rows))
		return DISPATCH_DONE;
	tenants.n_tenants = rows.n;
	tenants.tenants = rows.ptrs;
	tenants.truncated = rows.truncated;
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_TENANTS;
	reply.tenants = &tenants;
	connection_reply(connection, &reply, NULL, 0);
	return DISPATCH_DONE;
}

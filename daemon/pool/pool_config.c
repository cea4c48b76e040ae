/* pool_config.c - the words for a pool's policies, as configuration reads them and status prints them. */
#include <config.h>

#include "daemon/base/assert.h"
#include "daemon/pool/pool_config.h"

const char *pool_backing_name(enum pool_backing backing)
{
	static const char *const names[] = {
		[POOL_BACKING_MEMFD] = "memfd",
		[POOL_BACKING_HUGETLBFS] = "hugetlbfs",
	};

	hp_assert((unsigned)backing < sizeof(names) / sizeof(names[0]));
	return names[backing];
}

const char *pool_isolation_name(enum pool_isolation isolation)
{
	static const char *const names[] = {
		[POOL_ISOLATION_LEASE] = "lease",
		[POOL_ISOLATION_TENANT] = "tenant",
		[POOL_ISOLATION_POOL] = "pool",
	};

	hp_assert((unsigned)isolation < sizeof(names) / sizeof(names[0]));
	return names[isolation];
}

const char *pool_tenant_word(enum pool_tenant tenant)
{
	static const char *const words[] = {
		[POOL_TENANT_UID] = "uid",
		[POOL_TENANT_GID] = "gid",
		[POOL_TENANT_SOCKET] = "socket",
	};

	hp_assert((unsigned)tenant < sizeof(words) / sizeof(words[0]));
	return words[tenant];
}

bool pool_kernel_keeps_reserve(const struct pool_config *config)
{
	return config->backing == POOL_BACKING_HUGETLBFS && !config->directory;
}

uint64_t pool_longest_run(const struct pool_config *config)
{
	const uint64_t kept_pages = pool_kernel_keeps_reserve(config) ? 0 : config->reserve_pages;
	const uint64_t beside_pages = config->max_pages - kept_pages;

	return beside_pages > config->arena_pages ? beside_pages : config->arena_pages;
}

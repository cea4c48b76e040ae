/* outcome.c - see outcome.h. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>

#include "daemon/base/size.h"
#include "daemon/rpc/outcome.h"

static Hugepool__Code code_of(enum lease_result result)
{
	static const Hugepool__Code codes[] = {
		[LEASE_NO_POOL] = HUGEPOOL__CODE__NO_POOL,
		[LEASE_NOT_ALLOWED] = HUGEPOOL__CODE__NOT_ALLOWED,
		[LEASE_BAD_SIZE] = HUGEPOOL__CODE__BAD_SIZE,
		[LEASE_BAD_ALIGN] = HUGEPOOL__CODE__BAD_SIZE,
		[LEASE_OVER_QUOTA] = HUGEPOOL__CODE__OVER_QUOTA,
		[LEASE_POOL_FULL] = HUGEPOOL__CODE__POOL_FULL,
		[LEASE_KERNEL_SHORT] = HUGEPOOL__CODE__KERNEL_SHORT,
		[LEASE_NAME_TAKEN] = HUGEPOOL__CODE__NAME_TAKEN,
		[LEASE_NO_MEMORY] = HUGEPOOL__CODE__NO_MEMORY,
		[LEASE_NEVER] = HUGEPOOL__CODE__NO_LEASE,
		[LEASE_NOT_HOLDER] = HUGEPOOL__CODE__NOT_HOLDER,
		[LEASE_SESSION_ENDED] = HUGEPOOL__CODE__NO_SESSION,
	};

	return codes[result];
}

/* What to do about an Alloc that failed, in a sentence. */
static void explain_alloc(char *message, size_t room, const struct lease_alloc *alloc,
			  enum lease_result result, const struct pool *pool, uint64_t free_pages)
{
	char page_word[SIZE_WORD_MAX], *page = pool ? size_format(pool->config.page_bytes, page_word) : NULL;
	const struct pool_config *config = pool ? &pool->config : NULL;
	uint64_t asked = alloc->failed_pages;

	switch (result) {
	case LEASE_NO_POOL:
		snprintf(message, room, "there is no pool number %u: the reply to Hello lists them",
			 alloc->pool);
		return;
	case LEASE_NOT_ALLOWED:
		snprintf(message, room, "pool %s does not admit you: its users and groups do not name uid %u",
			 config->name, alloc->session->peer.uid);
		return;
	case LEASE_BAD_SIZE:
		snprintf(message, room, "%" PRIu64 " pages: pool %s leases 1 to %" PRIu64 " pages of %s",
			 asked, config->name, config->max_pages, page);
		return;
	case LEASE_BAD_ALIGN:
		snprintf(message, room,
			 "alignment of %" PRIu64 " pages: a power of two, at most the pool's %" PRIu64,
			 alloc->align_pages, config->max_pages);
		return;
	case LEASE_OVER_QUOTA:
		snprintf(message, room,
			 "%" PRIu64 " pages more would pass your quota of %" PRIu64
			 " pages of %s in pool %s: free some",
			 asked, config->quota_pages, page, config->name);
		return;
	case LEASE_POOL_FULL:
		snprintf(message, room,
			 "pool %s has no run of %" PRIu64 " pages free (%" PRIu64 " free in all, of %" PRIu64
			 "): free some, ask for less, or raise its max",
			 config->name, asked, free_pages, config->max_pages);
		return;
	case LEASE_KERNEL_SHORT:
		snprintf(message, room,
			 "the kernel has no %" PRIu64
			 " free pages of %s for pool %s: raise nr_hugepages, or set grow",
			 asked, page, config->name);
		return;
	case LEASE_NAME_TAKEN:
		snprintf(message, room, "a lease named \"%.100s\" exists", alloc->name);
		return;
	case LEASE_SESSION_ENDED:
		snprintf(message, room, "Bye has been said");
		return;
	case LEASE_NO_MEMORY:
	default:
		snprintf(message, room, "the daemon has no memory or descriptors left for another lease");
	}
}

void outcome_reply_alloc(struct connection *connection, const struct lease_alloc *alloc,
			 enum lease_result result)
{
	const struct service *service = connection->server->service;
	struct pool *pool = alloc->pool < service->n_pools ? service->pools[alloc->pool] : NULL;
	Hugepool__Error error = HUGEPOOL__ERROR__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	char message[256];

	error.code = code_of(result);
	error.message = message;
	if (pool && result != LEASE_NOT_ALLOWED) {
		struct pool_figures figures;

		pool_get_figures(pool, &figures);
		error.asked_pages = alloc->failed_pages;
		error.free_pages = pool->config.max_pages - figures.zones.leased - figures.zones.orphaned -
				   figures.zones.limbo;
		error.quota_pages = pool->config.quota_pages;
	}
	explain_alloc(message, sizeof(message), alloc, result, pool, error.free_pages);
	reply.id = alloc->request_id;
	reply.error = &error;
	connection_reply(connection, &reply, NULL, 0);
}

void outcome_fill_free(Hugepool__Error *error, char *message, enum lease_result result, uint64_t lease,
		       uint32_t pid)
{
	*error = (Hugepool__Error)HUGEPOOL__ERROR__INIT;
	error->code = code_of(result);
	error->message = message;
	switch (result) {
	case LEASE_NEVER:
		snprintf(message, OUTCOME_MESSAGE_MAX, "there never was a lease %" PRIu64, lease);
		break;
	case LEASE_NOT_HOLDER:
		snprintf(message, OUTCOME_MESSAGE_MAX,
			 "lease %" PRIu64 " is held by process %u: it ends when that frees it or exits",
			 lease, pid);
		break;
	case LEASE_NOT_ALLOWED:
		snprintf(message, OUTCOME_MESSAGE_MAX, "lease %" PRIu64 " is another user's", lease);
		break;
	default:
		snprintf(message, OUTCOME_MESSAGE_MAX, "lease %" PRIu64 " could not be freed", lease);
	}
}

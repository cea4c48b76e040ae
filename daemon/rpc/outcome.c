/* outcome.c - see outcome.h. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/base/name.h"
#include "daemon/base/size.h"
#include "daemon/base/text.h"
#include "daemon/rpc/outcome.h"
#include "daemon/rpc/peer.h"

#define REPLY_MESSAGE_MAX (SHORTAGE_WORDS_MAX + 320)

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
		[LEASE_ENDED] = HUGEPOOL__CODE__NO_LEASE,
		[LEASE_NO_NAME] = HUGEPOOL__CODE__NO_LEASE,
		[LEASE_BUSY] = HUGEPOOL__CODE__BUSY,
		[LEASE_TIMED_OUT] = HUGEPOOL__CODE__TIMED_OUT,
		[LEASE_DRAINING] = HUGEPOOL__CODE__DRAINING,
		[LEASE_TOO_MANY] = HUGEPOOL__CODE__OVER_QUOTA,
		[LEASE_CANCELLED] = HUGEPOOL__CODE__CANCELLED,
		[LEASE_SESSION_ENDED] = HUGEPOOL__CODE__NO_SESSION,
	};

	return codes[result];
}

/* What the client asked for, for sentences about it. */
struct asked {
	struct connection *connection;
	uint64_t request_id;
	uint32_t pool;               /* index; past the last: none is known */
	uint64_t pages;              /* that could not be had */
	uint64_t sum_pages;          /* of all leases of the request; 0: not of several */
	uint64_t align_pages;        /* 0: not asked for */
	uint64_t lease;              /* 0: not about one that there is */
	const char *name;            /* "": none */
	bool sole;                   /* in files of its own */
	bool scattered;              /* in as many runs as can be */
	const struct supply *supply; /* of LEASE_KERNEL_SHORT and LEASE_TIMED_OUT: why */
};

/* Which of its quotas that was, a lease without a name shows. */
static void explain_count(char *message, size_t room, const struct asked *asked,
			  const struct pool_config *config)
{
	if (!asked->name[0] || config->quota_names == 0)
		snprintf(message, room, "pool %s allows you %" PRIu64 " leases: free some", config->name,
			 config->quota_leases);
	else if (config->quota_leases == 0)
		snprintf(message, room, "pool %s allows you %" PRIu64 " named leases: free some",
			 config->name, config->quota_names);
	else
		snprintf(message, room,
			 "pool %s allows you %" PRIu64 " leases, %" PRIu64 " of them with names: free some",
			 config->name, config->quota_leases, config->quota_names);
}

#define AMOUNT_MAX (SIZE_WORD_MAX + 32)

/* "3 pages (6M)" */
static const char *amount_format(uint64_t n_pages, uint64_t page_bytes, char amount[AMOUNT_MAX])
{
	char word[SIZE_WORD_MAX];
	int length = snprintf(amount, AMOUNT_MAX, "%" PRIu64 " page%s", n_pages, n_pages == 1 ? "" : "s");

	if (n_pages > 0 && n_pages <= UINT64_MAX / page_bytes)
		snprintf(amount + length, AMOUNT_MAX - (size_t)length, " (%s)",
			 size_format(n_pages * page_bytes, word));
	return amount;
}

static void explain_full(char *message, size_t room, const struct asked *asked,
			 const struct pool_config *config, const char *amount, uint64_t free_pages)
{
	char longest[AMOUNT_MAX], kept[AMOUNT_MAX];

	if (!asked->scattered && asked->pages > pool_longest_run(config))
		snprintf(message, room,
			 "%s: the longest run that pool %s can have is %s, as its reserve of %s stays in "
			 "arenas: allow more runs, or raise its max",
			 amount, config->name,
			 amount_format(pool_longest_run(config), config->page_bytes, longest),
			 amount_format(config->reserve_pages, config->page_bytes, kept));
	else if (free_pages < asked->pages)
		snprintf(message, room,
			 "pool %s has no %s left: %" PRIu64 " of its %" PRIu64
			 " are not leased: free some, ask for less, or raise its max",
			 config->name, amount, free_pages, config->max_pages);
	else if (asked->sole)
		snprintf(message, room,
			 "pool %s has no room for %s in a file of their own (%" PRIu64 " of its %" PRIu64
			 " are not leased, but in files with leases): free some, ask for "
			 "less, or raise its max",
			 config->name, amount, free_pages, config->max_pages);
	else if (asked->sum_pages > free_pages)
		snprintf(message, room,
			 "pool %s has no %s free beside the rest of your request, %s in all (%" PRIu64
			 " of its %" PRIu64 " are not leased): free some, ask for less, or raise its max",
			 config->name, amount, amount_format(asked->sum_pages, config->page_bytes, longest),
			 free_pages, config->max_pages);
	else
		snprintf(message, room,
			 "pool %s has no %s%s free for you (%" PRIu64 " of its %" PRIu64
			 " are not leased, scattered or in other tenants' arenas): free some, %sor raise its "
			 "max",
			 config->name, asked->scattered ? "" : "run of ", amount, free_pages,
			 config->max_pages,
			 asked->pages == 1  ? ""
			 : asked->scattered ? "ask for less, "
					    : "ask for less, allow more runs, ");
}

/* `when`: "" or how long the kernel had none. */
static void explain_short(char *message, size_t room, const struct asked *asked,
			  const struct pool_config *config, const char *amount, const char *when)
{
	char why[SHORTAGE_WORDS_MAX];

	snprintf(message, room, "the kernel %s no %s free for pool %s%s: %s", *when ? "had" : "has", amount,
		 config->name, when,
		 shortage_format(&asked->supply->shortage, config->page_bytes, why, sizeof(why)));
}

static void explain_quota(char *message, size_t room, const struct asked *asked,
			  const struct pool_config *config, const char *amount)
{
	char quota[AMOUNT_MAX];

	amount_format(config->quota_pages, config->page_bytes, quota);
	if (asked->pages > config->quota_pages)
		snprintf(message, room, "%s is more than your whole quota of %s in pool %s: ask for less",
			 amount, quota, config->name);
	else
		snprintf(message, room, "%s more would pass your quota of %s in pool %s: free some", amount,
			 quota, config->name);
}

#define IN_VAIN " in the time that you would wait"

/* What stood in its way until the end. */
static void explain_timed_out(char *message, size_t room, const struct asked *asked,
			      const struct pool_config *config, const char *amount, uint64_t free_pages)
{
	char quota[AMOUNT_MAX];

	switch (asked->supply->refusal) {
	case SUPPLY_OVER_QUOTA:
		snprintf(message, room, "your quota of %s in pool %s had no %s left" IN_VAIN ": free some",
			 amount_format(config->quota_pages, config->page_bytes, quota), config->name, amount);
		return;
	case SUPPLY_KERNEL_SHORT:
		explain_short(message, room, asked, config, amount, IN_VAIN);
		return;
	default:
		snprintf(message, room,
			 "pool %s had no %s free for you" IN_VAIN " (%" PRIu64 " of its %" PRIu64
			 " are not leased now): free some, ask for less, wait longer, or raise its max",
			 config->name, amount, free_pages, config->max_pages);
	}
}

/* Why no pages, or not these, in a sentence that says what to do. */
static void explain_pages(char *message, size_t room, const struct asked *asked, enum lease_result result,
			  const struct pool_config *config, uint64_t free_pages)
{
	char page[SIZE_WORD_MAX], amount[AMOUNT_MAX], most[AMOUNT_MAX];

	size_format(config->page_bytes, page);
	amount_format(asked->pages, config->page_bytes, amount);
	amount_format(config->max_pages, config->page_bytes, most);
	switch (result) {
	case LEASE_BAD_SIZE:
		snprintf(message, room, "%s: pool %s leases pages of %s, from 1 to %s", amount, config->name,
			 page, most);
		return;
	case LEASE_BAD_ALIGN:
		snprintf(message, room, "alignment of %s: a power of two, at most the pool's %s",
			 amount_format(asked->align_pages, config->page_bytes, amount), most);
		return;
	case LEASE_OVER_QUOTA:
		explain_quota(message, room, asked, config, amount);
		return;
	case LEASE_TOO_MANY:
		explain_count(message, room, asked, config);
		return;
	case LEASE_POOL_FULL:
		explain_full(message, room, asked, config, amount, free_pages);
		return;
	case LEASE_TIMED_OUT:
		explain_timed_out(message, room, asked, config, amount, free_pages);
		return;
	case LEASE_DRAINING:
		snprintf(message, room,
			 "pool %s is being drained: nothing new is leased from it until its operator "
			 "restores it",
			 config->name);
		return;
	default:
		explain_short(message, room, asked, config, amount, "");
	}
}

static void explain_others(char *message, size_t room, const struct asked *asked, enum lease_result result,
			   const struct pool_config *config)
{
	const uid_t uid = asked->connection->session ? asked->connection->session->peer.uid : 0;
	char name[TEXT_SHOWN_MAX];

	text_show(asked->name, name);
	switch (result) {
	case LEASE_NO_POOL:
		snprintf(message, room, "there is no pool number %u: the reply to Hello lists them",
			 asked->pool);
		return;
	case LEASE_NOT_ALLOWED:
		if (config)
			snprintf(message, room,
				 "pool %s does not admit you: its users and groups do not name uid %u; ask "
				 "its "
				 "operator, or name another pool",
				 config->name, uid);
		else
			snprintf(message, room,
				 "the lease named \"%s\" is not open to uid %u, or not for writing, or "
				 "its "
				 "pool does not admit you",
				 name, uid);
		return;
	case LEASE_NAME_TAKEN:
		snprintf(message, room, "a lease named \"%s\" exists: open it, or take another name", name);
		return;
	case LEASE_NO_NAME:
		snprintf(message, room, "there is no lease named \"%s\": it has ended, or is yet to be made",
			 name);
		return;
	case LEASE_TOO_MANY:
		snprintf(message, room, "you have opened as many leases as its pool allows you: free some");
		return;
	case LEASE_NEVER:
	case LEASE_ENDED:
		snprintf(message, room, "there %s a lease %" PRIu64,
			 result == LEASE_NEVER ? "never was" : "is no longer", asked->lease);
		return;
	case LEASE_NOT_HOLDER:
		snprintf(message, room, "lease %" PRIu64 " is not this session's: its holder can resize it",
			 asked->lease);
		return;
	case LEASE_BUSY:
		snprintf(message, room,
			 "lease %" PRIu64 " has other holders, or is one that you opened: its size stays",
			 asked->lease);
		return;
	case LEASE_CANCELLED:
		snprintf(message, room, "it was cancelled");
		break;
	case LEASE_SESSION_ENDED:
		snprintf(message, room, "Bye has been said");
		return;
	default:
		snprintf(message, room,
			 "the daemon has no memory or descriptors left for another lease: free some, "
			 "or its operator raises its limits");
	}
}

static bool is_about_pages(enum lease_result result)
{
	return result == LEASE_BAD_SIZE || result == LEASE_BAD_ALIGN || result == LEASE_OVER_QUOTA ||
	       result == LEASE_TOO_MANY || result == LEASE_POOL_FULL || result == LEASE_KERNEL_SHORT ||
	       result == LEASE_TIMED_OUT || result == LEASE_DRAINING;
}

/* What a daemon that was killed has left is missing, whatever else the sentence says. */
static void add_left(char *message, size_t room, const struct asked *asked, enum lease_result result,
		     const struct pool *pool)
{
	const uint64_t left = atomic_load(&pool->left_pages);
	const size_t length = strlen(message);

	const bool is_short = result == LEASE_POOL_FULL || result == LEASE_KERNEL_SHORT ||
			      (result == LEASE_TIMED_OUT && asked->supply->refusal != SUPPLY_OVER_QUOTA);

	if (left == 0 || !is_short)
		return;
	snprintf(message + length, room - length,
		 "; %" PRIu64
		 " pages are still held by clients of a daemon before this one, which was killed (pid %d): "
		 "end or restart them",
		 left, (int)atomic_load(&pool->left_pid));
}

static void reply_error(const struct asked *asked, enum lease_result result)
{
	const struct service *service = asked->connection->server->service;
	struct pool *pool = asked->pool < service->n_pools ? service->pools[asked->pool] : NULL;
	Hugepool__Error error = HUGEPOOL__ERROR__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	char message[REPLY_MESSAGE_MAX];

	error.code = code_of(result);
	error.message = message;
	if (pool && is_about_pages(result)) {
		error.asked_pages = asked->pages;
		error.free_pages = pool_free_pages(pool);
		error.quota_pages = pool->config.quota_pages;
		explain_pages(message, sizeof(message), asked, result, &pool->config, error.free_pages);
		add_left(message, sizeof(message), asked, result, pool);
	} else {
		explain_others(message, sizeof(message), asked, result, pool ? &pool->config : NULL);
	}
	text_clean(message);
	reply.id = asked->request_id;
	reply.error = &error;
	connection_reply(asked->connection, &reply, NULL, 0);
}

bool outcome_check_name(struct connection *connection, uint64_t request_id, const char *name)
{
	const char *fault = name_fault(name);

	if (fault)
		connection_error(connection, request_id, HUGEPOOL__CODE__BAD_REQUEST, "a lease's name %s",
				 fault);
	return !fault;
}

void outcome_reply_alloc(struct connection *connection, const struct lease_alloc *alloc,
			 enum lease_result result)
{
	const struct asked asked = {
		.connection = connection,
		.request_id = alloc->request.request_id,
		.pool = alloc->pool,
		.pages = alloc->failed_pages,
		.sum_pages = lease_alloc_pages(alloc),
		.align_pages = alloc->want.align_pages,
		.name = alloc->name,
		.sole = alloc->want.sole,
		.scattered = alloc->want.max_runs == RUN_LIST_MAX,
		.supply = &alloc->request.supply,
	};

	reply_error(&asked, result);
}

void outcome_reply_resize(struct connection *connection, const struct lease_resize *resize,
			  enum lease_result result)
{
	const struct asked asked = {
		.connection = connection,
		.request_id = resize->request.request_id,
		.pool = resize->pool,
		.pages = resize->failed_pages,
		.lease = resize->id,
		.name = "",
		.sole = result == LEASE_POOL_FULL && resize->record->sole,
		.supply = &resize->request.supply,
	};

	reply_error(&asked, result);
}

void outcome_reply_open(struct connection *connection, uint64_t request_id,
			const struct lease_opening *opening, enum lease_result result)
{
	const struct asked asked = {.connection = connection,
				    .request_id = request_id,
				    .pool = UINT32_MAX,
				    .name = opening->name};
	char name[TEXT_SHOWN_MAX];

	if (result == LEASE_OTHER_MAKER)
		connection_error(connection, request_id, HUGEPOOL__CODE__NOT_ALLOWED,
				 "the lease named \"%s\" was made by uid %u, not by uid %u",
				 text_show(opening->name, name), opening->made_by, *opening->maker);
	else
		reply_error(&asked, result);
}

void outcome_fill_free(Hugepool__Error *error, char *message, enum lease_result result, uint64_t lease,
		       uint32_t pid, bool is_orphaned)
{
	char name[PEER_PROCESS_MAX];

	*error = (Hugepool__Error)HUGEPOOL__ERROR__INIT;
	error->code = code_of(result);
	error->message = message;
	switch (result) {
	case LEASE_NEVER:
		snprintf(message, OUTCOME_MESSAGE_MAX, "there never was a lease %" PRIu64, lease);
		break;
	case LEASE_NOT_HOLDER:
		snprintf(message, OUTCOME_MESSAGE_MAX,
			 is_orphaned ? "lease %" PRIu64
				       " is held by %s, which lives, but is not connected: it "
				       "ends when that exits, or by free --orphaned"
				     : "lease %" PRIu64 " is held by %s: it ends when that frees it or exits",
			 lease, peer_process_name(pid, name));
		break;
	case LEASE_NOT_ALLOWED:
		snprintf(message, OUTCOME_MESSAGE_MAX,
			 "lease %" PRIu64 " is another user's: that user, or an admin, can free it", lease);
		break;
	default:
		snprintf(message, OUTCOME_MESSAGE_MAX, "lease %" PRIu64 " could not be freed", lease);
	}
}

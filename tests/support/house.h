/* house.h - pools, ledger and shards in one thread: every mailbox is delivered by house_settle(), so a test
 * decides what happens when. Real memfds; no sockets.
 */
#pragma once

#include "daemon/lease/request.h"
#include "daemon/lease/session.h"
#include "daemon/pool/pool.h"
#include "daemon/pool/stocker.h"

#define HOUSE_WORKERS 2

struct house {
	struct pool_config config;
	struct pool_threads threads;
	struct stocker stocker;
	struct mailbox scrubber, janitor, worker_boxes[HOUSE_WORKERS], *worker_ptrs[HOUSE_WORKERS];
	struct pool *pools[1];
	struct ledger *ledger;
	struct seats *seats;
	struct accounts *accounts;
	struct shard shards[HOUSE_WORKERS];
};

/* A pool of `max_pages` of 4 KiB in arenas of `arena_pages`; everybody is admitted. */
void house_init(struct house *house, uint64_t max_pages, uint64_t arena_pages, uint64_t reserve_pages,
		uint64_t quota_pages);
/* The same with pages of another size. */
void house_init_sized(struct house *house, uint64_t page_bytes, uint64_t max_pages, uint64_t arena_pages,
		      uint64_t reserve_pages, uint64_t quota_pages);
/* All sessions must be gone; detached leases end here. Asserts that nothing is left. */
void house_fini(struct house *house);

/* Deliver everything until nothing moves. */
void house_settle(struct house *house);
/* One stocker's tick, as if its time had come. */
void house_tick(struct house *house);

/* A session of a living process (this one) with this uid, connected. */
struct session *house_session(struct house *house, unsigned worker, uid_t uid);
/* The holder has died: end the session and free it. */
void house_end_session(struct house *house, struct session *session);

/* Lease, waiting as long as it takes. Returns the result; *ret_id is set when it is LEASE_OK. */
enum lease_result house_alloc(struct house *house, struct session *session, uint64_t n_pages,
			      uint64_t *ret_id);
/* The same of what `like` says (name, max_runs, revocable, wait_ms, ...): its n_pages[0] is `n_pages`. */
enum lease_result house_alloc_like(struct house *house, struct session *session, uint64_t n_pages,
				   const struct lease_alloc *like, uint64_t *ret_id);
enum lease_result house_resize(struct house *house, struct session *session, uint64_t id, uint64_t n_pages,
			       unsigned max_runs);
struct lease_record *house_record(struct house *house, uint64_t id);

/* session.h - one client, known by its peer credentials and a token; the holder of leases.
 *
 * A session outlives its connection: when only that is gone, the session is orphaned, and its leases with it,
 * until a process that holds it comes back with the token, or the pidfds of all of them say that they have
 * died. Other processes of the same user join those that hold it, by the token (holder.h). A session belongs
 * to one worker for life.
 *
 * struct shard is what one worker has of this layer. Everything here runs on that worker's thread, but for
 * the constants. Invariant: n_leases and the zones' n_pages are those of the records in the session's list.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/lease/account.h"
#include "daemon/lease/deadlines.h"
#include "daemon/lease/holder.h"
#include "daemon/lease/known.h"
#include "daemon/lease/request_index.h"
#include "daemon/lease/seats.h"
#include "daemon/ledger/ledger.h"
#include "daemon/pool/pool.h"

#define SESSION_MAGIC       0x5e551000u
#define SESSION_TOKEN_BYTES 16
#define SESSION_CLIENT_MAX  32 /* bytes of the client's own name */
#define SESSION_RECALLS     16 /* names of which a session remembers what it freed by them */
#define SHARD_MAX           64 /* workers: a session's id ends with its worker's index */

struct lease_request;

struct shard {
	/* constant */
	unsigned index;
	struct ledger *ledger;
	struct pool **pools;
	unsigned n_pools;
	struct seats *seats;
	struct accounts *accounts;

	/* this worker only */
	struct session *first, *last; /* by age, ids ascending */
	void *by_id;                  /* a tree of the same */
	uint64_t last_sequence;
	uint64_t now_ns;            /* of the worker's current turn: one clock read serves all its frames */
	struct deadlines deadlines; /* its leases that end by themselves */
	struct request_index asked; /* its leases, by who asked for them in which request */
	struct zone *freed; /* zones of which freed runs may lie in this worker's caches: shard_flush_freed()
			       is due; a list by zone_worker.next_freed */
} __attribute__((aligned(64)));

/* All sessions are gone. */
void shard_fini(struct shard *shard);

/* What a session has of one pool. */
struct session_zone {
	struct zone *zone;    /* NULL: not used yet; a reference */
	uint64_t n_pages;     /* held */
	struct known known;   /* arenas whose descriptors the client has */
	uint64_t n_gone_told; /* pool->n_gone when we last began to tell the client of all */
	uint64_t n_gone_seen; /* the same, of what is being told */
};

struct session {
	unsigned magic;

	/* constant */
	uint64_t id;
	struct shard *shard;
	struct peer peer;        /* `groups` is the session's own; pid and process are those of a holder */
	struct account *account; /* its user's */
	uint8_t token[SESSION_TOKEN_BYTES];
	char client[SESSION_CLIENT_MAX];
	uint64_t born_ns;

	/* this worker only */
	struct session *prev, *next;
	struct holder holders[SESSION_HOLDERS_MAX];
	unsigned n_holders;
	void *connection;       /* rpc's; NULL: orphaned or ending */
	struct holder *speaker; /* whose connection that is, or was; NULL: of one that holds it no more */
	bool ending;            /* the holders are dead or said goodbye: no new leases */
	struct session *next_ending; /* rpc's: the worker's list of those that are ending */
	uint64_t ending_number;      /* rpc's: in the order in which they began to */
	uint32_t first_lease;        /* slot of the newest; LEDGER_NIL */
	uint64_t n_leases, n_pages, n_requests;
	uint64_t
		n_turns; /* rpc's: so often its connections were served, each time several requests at most */
	struct lease_request *requests; /* waiting */
	uint32_t n_waiting;             /* of them */
	struct session_recall {
		uint64_t request_id, lease;
	} recalls[SESSION_RECALLS]; /* a ring */
	unsigned n_recalls;
	uint32_t n_errands;            /* rpc's: requests of it that are with other workers */
	uint32_t events;               /* rpc's: which kinds it wants to be told of */
	struct pool_set kept_pressure; /* rpc's: pools of which it is still to be told */
	bool missed_events;            /* rpc's: of others it was not told, or nobody knows */
	bool told_events;              /* rpc's: of some, on this connection */
	struct session_zone zones[];   /* by pool index */
};

/* Takes over the seat, the groups and the pidfd on success. `client` is cut and cleaned
 * (text.h). Returns 0 or negative errno. */
int session_new(struct shard *shard, const struct peer *peer, int consume_pid_fd, const char *client,
		struct session **ret);
struct session *session_find(struct shard *shard, uint64_t id);
static inline unsigned session_worker(uint64_t id)
{
	return id % SHARD_MAX;
}

/* Is this peer, with this token, a process that holds the session, come in by the same socket? In constant
 * time as to the token. Returns the holder; NULL: no. */
struct holder *session_claim(struct session *session, const struct peer *peer, const uint8_t *token,
			     size_t token_bytes);
/* May it become one? By the token, and as the same user with the same groups: it gains nothing. */
bool session_may_be_joined(const struct session *session, const struct peer *peer, const uint8_t *token,
			   size_t token_bytes);

/* Attach a connection of one of the holders, or (NULL, NULL) lose it: the leases go from orphaned to leased,
 * or the other way. */
void session_set_connection(struct session *session, void *connection, struct holder *speaker);

/* End it: its leases end or are detached, as long as *left_runs, counted down by the runs of each and one
 * more, is not 0. Returns true when none is left and nothing is waiting; then session_free() it; else call
 * again. */
bool session_end(struct session *session, uint64_t *left_runs);
struct session *session_free(struct session *session);

/* This session's part of a pool. Returns 0, LEASE_NO_POOL, LEASE_NOT_ALLOWED or LEASE_NO_MEMORY (lease.h). */
int session_get_zone(struct session *session, uint32_t pool, struct session_zone **ret);

/* Does the client have this arena's descriptor, one that can do as much? */
static inline bool session_knows_arena(const struct session_zone *zone, uint64_t arena_id, bool write)
{
	const struct known_arena *arena = known_find(&zone->known, arena_id);

	return arena && (!write || arena->write);
}
/* It will: its descriptor is on the way. -ENOMEM, or 0. */
int session_learn_arena(struct session_zone *zone, uint32_t slot, uint64_t arena_id, bool write);
/* Which of its pools and slots has this arena, and may it be written? False: it was never shown. */
bool session_find_arena(const struct session *session, uint64_t arena_id, unsigned *ret_pool,
			uint32_t *ret_slot, bool *ret_write);
/* Arenas that the client knows and that are gone: each is told once. Returns how many ids were written. */
unsigned session_forget_gone(struct session *session, uint64_t *ret_arena_ids, unsigned room);

/* A request named a lease: should it come again because its answer got lost, it means the same one, whoever
 * has the name by then. Only of the last SESSION_RECALLS such requests; 0: not known (any more). */
void session_remember(struct session *session, uint64_t request_id, uint64_t lease);
uint64_t session_recall(const struct session *session, uint64_t request_id);

/* Some runs of this zone were freed on this worker. */
void shard_note_freed(struct shard *shard, struct zone *zone);
/* Runs that clients freed and that still lie in this worker's caches go to the scrubber. */
void shard_flush_freed(struct shard *shard);

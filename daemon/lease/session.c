/* session.c - see session.h. */
#include <config.h>

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "daemon/base/assert.h"
#include "daemon/base/clock.h"
#include "daemon/base/text.h"
#include "daemon/lease/lease.h"
#include "daemon/lease/lease_state.h"
#include "daemon/lease/request.h"
#include "daemon/lease/session.h"

/* The client's word for itself goes into tables and terminals: one word, of characters that can be seen. */
static void copy_clean(char to[SESSION_CLIENT_MAX], const char *from)
{
	const size_t n = text_fit(from, SESSION_CLIENT_MAX - 1);

	memcpy(to, from, n);
	to[n] = 0;
	text_clean(to);
	for (char *c = to; (c = strchr(c, ' '));)
		*c = '?';
}

static int compare_id(const void *a, const void *b)
{
	uint64_t x = ((const struct session *)a)->id, y = ((const struct session *)b)->id;

	return (x > y) - (x < y);
}

int session_new(struct shard *shard, const struct peer *peer, int consume_pid_fd, const char *client,
		struct session **ret)
{
	struct session *session;

	if (request_index_init(&shard->asked) < 0)
		return -ENOMEM;
	session = calloc(1, sizeof(*session) + shard->n_pools * sizeof(session->zones[0]));
	if (!session)
		return -ENOMEM;
	session->id = ++shard->last_sequence * SHARD_MAX + shard->index;
	session->account = account_get(shard->accounts, peer->uid);
	if (!session->account ||
	    getrandom(session->token, sizeof(session->token), 0) != sizeof(session->token) ||
	    !tsearch(session, &shard->by_id, compare_id)) {
		account_put(session->account);
		free(session);
		return -ENOMEM;
	}
	session->magic = SESSION_MAGIC;
	session->shard = shard;
	session->peer = *peer;
	holder_add(session, peer, consume_pid_fd);
	copy_clean(session->client, client);
	session->born_ns = clock_now_ns();
	session->first_lease = LEDGER_NIL;
	session->prev = shard->last;
	if (shard->last)
		shard->last->next = session;
	else
		shard->first = session;
	shard->last = session;
	*ret = session;
	return 0;
}

struct session *session_free(struct session *session)
{
	struct shard *shard;

	if (!session)
		return NULL;
	hp_assert_alive(session, SESSION_MAGIC);
	hp_assert(session->n_leases == 0 && !session->requests && !session->connection);
	shard = session->shard;
	tdelete(session, &shard->by_id, compare_id);
	if (session->prev)
		session->prev->next = session->next;
	else
		shard->first = session->next;
	if (session->next)
		session->next->prev = session->prev;
	else
		shard->last = session->prev;
	for (unsigned i = 0; i < shard->n_pools; i++) {
		if (session->zones[i].zone)
			pool_zone_unref(session->zones[i].zone);
		known_fini(&session->zones[i].known);
	}
	for (unsigned i = 0; i < SESSION_HOLDERS_MAX; i++) {
		if (!session->holders[i].session)
			continue;
		holder_remove(&session->holders[i]);
		seats_leave(shard->seats, session->peer.uid, SEAT_SESSION);
	}
	account_put(session->account);
	free((void *)session->peer.groups);
	session->magic = 0;
	free(session);
	return NULL;
}

struct session *session_find(struct shard *shard, uint64_t id)
{
	struct session key = {.id = id}, **node = tfind(&key, &shard->by_id, compare_id);

	return node ? *node : NULL;
}

static bool has_token(const struct session *session, const uint8_t *token, size_t token_bytes)
{
	unsigned difference = 0;

	if (token_bytes != SESSION_TOKEN_BYTES)
		return false;
	for (unsigned i = 0; i < SESSION_TOKEN_BYTES; i++)
		difference |= token[i] ^ session->token[i];
	return difference == 0;
}

/* The kernel says groups in ascending order. */
static bool has_same_rights(const struct peer *a, const struct peer *b)
{
	return a->uid == b->uid && a->gid == b->gid && a->socket == b->socket &&
	       a->is_privileged == b->is_privileged && a->n_groups == b->n_groups &&
	       (a->n_groups == 0 || memcmp(a->groups, b->groups, a->n_groups * sizeof(a->groups[0])) == 0);
}

struct holder *session_claim(struct session *session, const struct peer *peer, const uint8_t *token,
			     size_t token_bytes)
{
	if (!has_token(session, token, token_bytes) || session->ending || peer->uid != session->peer.uid ||
	    peer->socket != session->peer.socket)
		return NULL;
	return holder_find(session, peer);
}

bool session_may_be_joined(const struct session *session, const struct peer *peer, const uint8_t *token,
			   size_t token_bytes)
{
	return has_token(session, token, token_bytes) && !session->ending &&
	       has_same_rights(&session->peer, peer);
}

void session_set_connection(struct session *session, void *connection, struct holder *speaker)
{
	bool was_orphaned = !session->connection, is_orphaned = !connection;

	session->connection = connection;
	session->speaker = speaker;
	/* What was not read by now never will be. */
	session->missed_events |= session->told_events;
	session->told_events = false;
	if (was_orphaned == is_orphaned)
		return;
	for (unsigned i = 0; i < session->shard->n_pools; i++) {
		struct session_zone *mine = &session->zones[i];
		_Atomic uint64_t *orphaned_pages;

		if (!mine->zone)
			continue;
		orphaned_pages = &mine->zone->workers[session->shard->index].orphaned_pages;
		atomic_fetch_add(orphaned_pages, is_orphaned ? mine->n_pages : -mine->n_pages);
	}
}

bool session_end(struct session *session, uint64_t *left_runs)
{
	struct ledger *ledger = session->shard->ledger;

	if (!session->ending || session->requests)
		lease_requests_cancel(session);
	session->ending = true;
	while (session->first_lease != LEDGER_NIL && *left_runs > 0) {
		struct lease_record *record = ledger_at(ledger, session->first_lease);
		/* The lease itself is some work, too. */
		const uint64_t n = lease_n_runs(ledger, record) + 1;

		*left_runs -= n < *left_runs ? n : *left_runs;
		lease_holder_gone(session, record);
	}
	return session->first_lease == LEDGER_NIL && !session->requests;
}

int session_get_zone(struct session *session, uint32_t index, struct session_zone **ret)
{
	struct shard *shard = session->shard;
	struct session_zone *mine;
	struct pool *pool;

	if (index >= shard->n_pools)
		return LEASE_NO_POOL;
	pool = shard->pools[index];
	mine = &session->zones[index];
	if (!mine->zone) {
		if (!pool_admits(pool, &session->peer))
			return LEASE_NOT_ALLOWED;
		mine->zone = pool_zone_get(pool, &session->peer);
		if (!mine->zone)
			return LEASE_NO_MEMORY;
		mine->n_gone_told = atomic_load(&pool->n_gone);
	}
	*ret = mine;
	return 0;
}

int session_learn_arena(struct session_zone *mine, uint32_t slot, uint64_t arena_id, bool write)
{
	if (session_knows_arena(mine, arena_id, write))
		return 0;
	return known_add(&mine->known, mine->zone->pool, arena_id, slot, write);
}

bool session_find_arena(const struct session *session, uint64_t arena_id, unsigned *ret_pool,
			uint32_t *ret_slot, bool *ret_write)
{
	for (unsigned i = 0; arena_id != 0 && i < session->shard->n_pools; i++) {
		const struct known_arena *arena = known_find(&session->zones[i].known, arena_id);

		if (arena) {
			*ret_pool = i;
			*ret_slot = arena->slot;
			*ret_write = arena->write;
			return true;
		}
	}
	return false;
}

unsigned session_forget_gone(struct session *session, uint64_t *ids, unsigned room)
{
	unsigned n = 0;

	for (unsigned i = 0; i < session->shard->n_pools; i++) {
		struct session_zone *mine = &session->zones[i];
		const struct pool *pool = session->shard->pools[i];
		uint64_t n_gone = mine->zone ? atomic_load_explicit(&pool->n_gone, memory_order_acquire) : 0;
		bool is_whole;

		if (!mine->zone || n_gone == mine->n_gone_told)
			continue;
		if (mine->known.cursor == 0)
			mine->n_gone_seen = n_gone;
		n += known_forget_gone(&mine->known, pool, ids + n, room - n, &is_whole);
		if (is_whole)
			mine->n_gone_told = mine->n_gone_seen;
	}
	return n;
}

void session_remember(struct session *session, uint64_t request_id, uint64_t lease)
{
	session->recalls[session->n_recalls++ % SESSION_RECALLS] =
		(struct session_recall){.request_id = request_id, .lease = lease};
}

uint64_t session_recall(const struct session *session, uint64_t request_id)
{
	for (unsigned i = 0; i < SESSION_RECALLS; i++)
		if (session->recalls[i].lease != 0 && session->recalls[i].request_id == request_id)
			return session->recalls[i].lease;
	return 0;
}

void shard_fini(struct shard *shard)
{
	hp_assert(!shard->first);
	deadlines_fini(&shard->deadlines);
	request_index_fini(&shard->asked);
}

void shard_note_freed(struct shard *shard, struct zone *zone)
{
	struct zone_worker *mine = &zone->workers[shard->index];

	if (mine->has_freed)
		return;
	pool_zone_ref(zone);
	mine->has_freed = true;
	mine->next_freed = shard->freed;
	shard->freed = zone;
}

void shard_flush_freed(struct shard *shard)
{
	struct zone *zone;

	while ((zone = shard->freed)) {
		struct zone_worker *mine = &zone->workers[shard->index];

		shard->freed = mine->next_freed;
		mine->has_freed = false;
		lock_take(&zone->lock);
		zone_flush_freed_locked(zone, shard->index);
		lock_drop(&zone->lock);
		pool_zone_unref(zone);
	}
}

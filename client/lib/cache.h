/* cache.h - struct hp_cache, and what the library's other files tell the caches of a client. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "client/lib/cache_part.h"
#include "client/lib/session.h"

/* What the cache wants to be told of by the daemon. */
#define CACHE_EVENT_KINDS (HP_EVENT_PRESSURE | HP_EVENT_REVOKED | HP_EVENT_DRAINED)

/* Why takes and puts have to look up. */
enum {
	CACHE_PRESSED = 1u << 0, /* what nobody uses shall be given back */
	CACHE_ENDED = 1u << 1,   /* the session has ended: nothing is granted any more */
};

/* What every take and put reads comes first, in one cache line. */
struct hp_cache {
	/* Constant after hp_cache_new(). */
	uint64_t serial;                   /* no other cache of this process has it, ever */
	const volatile uint8_t *fork_mark; /* the client's */
	uint64_t bytes;
	unsigned high, batch, flags;

	_Atomic unsigned attention; /* CACHE_... bits; 0: nothing to see */
	_Atomic unsigned epoch;     /* buffers of an older one are not kept: some may be gone */
	_Atomic unsigned batch_now; /* what a refill asks for: little after pressure, doubled by each */

	/* Constant after hp_cache_new(). */
	hp_client *client;
	char pool[EVENT_POOL_MAX];

	struct cache_parts parts;  /* part_lock() */
	unsigned n_leaving;        /* part_lock(): threads that give back what their part had */
	LIST_ENTRY(hp_cache) link; /* the client's lock: in its list */
};

/* The daemon told of this, or the session has ended; the client's lock is held. */
void cache_list_tell(hp_client *client, const Hugepool__Event *event);
void cache_list_end(hp_client *client);
/* Some have been told of pressure and not given back yet; the client's lock is held. */
bool cache_list_is_pressed(const hp_client *client);
/* Begin to give back what those have that nobody uses, and do not wait; without the lock. */
void cache_list_relieve(hp_client *client);
/* hp_close() is at it: free them all. Their buffers are the client's leases, and go with it. */
void cache_list_free(hp_client *client);

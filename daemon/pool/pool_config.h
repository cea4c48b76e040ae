/* pool_config.h - a pool's policy, as configuration hands it down: plain data, no JSON. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum pool_backing { POOL_BACKING_MEMFD, POOL_BACKING_HUGETLBFS };

/* Who shares an arena. */
enum pool_isolation {
	POOL_ISOLATION_TENANT, /* leases of one tenant */
	POOL_ISOLATION_POOL,   /* everybody the pool admits */
	POOL_ISOLATION_LEASE,  /* nobody: a lease is whole files of its own */
};

/* What makes two clients one tenant. */
enum pool_tenant {
	POOL_TENANT_UID,
	POOL_TENANT_GID,    /* the primary one */
	POOL_TENANT_SOCKET, /* which of the daemon's sockets they came in by */
};

#define POOL_NAME_MAX 32 /* letters, digits, - and _ */

struct pool_config {
	char name[POOL_NAME_MAX];
	uint64_t page_bytes;
	enum pool_backing backing;
	char *directory;    /* hugetlbfs: an existing directory on a mount; NULL: a mount of the pool's own */
	uint64_t max_pages; /* at most this many backed */
	uint64_t reserve_pages; /* backed from the start, never given back */
	uint64_t stock_pages;   /* blank ones that are kept ready; 0: none */
	uint64_t arena_pages;   /* of a new arena; 0: 1 GiB, or a quarter of max where that is less */
	enum pool_isolation isolation;
	enum pool_tenant tenant;
	uint64_t quota_pages;  /* a tenant may hold at most this many; 0: max_pages */
	uint64_t quota_leases; /* and as many leases, opened ones included; 0: no limit of its own */
	uint64_t quota_names;  /* of those with a name; 0: no limit of its own */
	uid_t *uids;           /* admitted beside root and the daemon's own user */
	unsigned n_uids;
	gid_t *gids; /* admitted, primary or supplementary */
	unsigned n_gids;
	bool everybody;   /* users named "*" */
	uid_t *name_uids; /* who may make names in the namespace that all users share, */
	unsigned n_name_uids;
	bool names_reserved; /* or else everybody who is admitted */
	uint64_t decay_ms;   /* an arena that is empty this long is given back; default 10 s */
	int node;            /* NUMA node, -1: any */
	bool grow;           /* may raise nr_hugepages by what is lacking */
	bool poison;         /* freed pages are filled with a pattern, and looked at before the next grant */
};

const char *pool_backing_name(enum pool_backing backing);
const char *pool_isolation_name(enum pool_isolation isolation);
const char *pool_tenant_word(enum pool_tenant tenant);

/* Pages that leave the pool are still its own, as far as the reserve goes: min_size= of a mount of its own.
 */
bool pool_kernel_keeps_reserve(const struct pool_config *config);
/* Pages of the longest run that the pool can ever have: a file that is made while the reserve stays backed.
 */
uint64_t pool_longest_run(const struct pool_config *config);

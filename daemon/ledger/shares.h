/* shares.h - named leases: who may open them, how many hold them, and the pages that they have in common.
 *
 * A share is made by the lease that brings the name and the pages, and goes by that lease's id. Its name ends
 * with that lease; its pages stay until the last holder has left, who gets them to put. Any thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "daemon/base/name.h"
#include "daemon/pool/run.h"

#define SHARE_NAME_MAX   NAME_FULL_MAX /* bytes */
#define SHARE_ACCESS_MAX 16

struct shares;

enum {
	SHARE_NAME_TAKEN = 1,
	SHARE_NONE = 2,        /* there is none of that name */
	SHARE_NOT_ALLOWED = 3, /* not to this user, or not for writing */
	SHARE_BUSY = 4,        /* others hold it too */
	SHARE_EVICTED = 5,     /* some of its pages are condemned, or gone */
	SHARE_OTHER_MAKER = 6, /* it is not by the user that it shall be by */
};

/* One user or group that may open it, beside what the mode says. */
struct share_access {
	uint32_t id;
	bool is_group, write;
};

/* Who opens, and what. */
struct share_who {
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	unsigned n_groups;
	bool is_privileged; /* mode and list are not for this one */
	const uid_t *maker; /* only a share that this user has made; NULL: whoever */
};

/* Its pages, and the ids of the arenas they lie in. */
struct share_runs {
	struct run_list list;
	uint64_t arenas[RUN_LIST_MAX];
};

/* What is the same for all who hold it. */
struct share_terms {
	uid_t uid;
	gid_t gid;
	uint32_t mode; /* as of a file: read is 4, write 2 */
	struct share_access access[SHARE_ACCESS_MAX];
	unsigned n_access;
	uint32_t tenant; /* who is charged for the pages */
	uint8_t pool;    /* index */
	bool sole;
	uint64_t deadline_ns;
};

/* NULL: no memory. */
struct shares *shares_new(void);
struct shares *shares_free(struct shares *shares);

/* With one holder, the maker. Returns 0, SHARE_NAME_TAKEN or -ENOMEM. */
int shares_add(struct shares *shares, uint64_t id, const char *name, const struct share_terms *terms,
	       const struct share_runs *runs);
/* One holder more, by the id of its record. Returns 0 and everything, SHARE_NONE, SHARE_NOT_ALLOWED or
 * -ENOMEM. */
int shares_open(struct shares *shares, const char *name, const struct share_who *who, bool write,
		uint64_t holder, uint64_t *ret_id, struct share_terms *ret_terms,
		struct share_runs *ret_runs);
/* Nobody can open it any more; whoever has goes on. */
void shares_end_name(struct shares *shares, uint64_t id);
/* One holder less. True: it was the last, the share is gone, and *ret_runs is what has to be put. */
bool shares_leave(struct shares *shares, uint64_t id, uint64_t holder, struct share_runs *ret_runs);
/* Other pages, for the maker as long as nobody else holds it: 0, SHARE_BUSY, SHARE_EVICTED or -ENOMEM. */
int shares_set_runs(struct shares *shares, uint64_t id, const struct share_runs *runs);
bool shares_has_others(struct shares *shares, uint64_t id);
/* All of its pages are going to be evicted, from each of its holders: it is not opened any more, and has no
 * other pages. False: that is under way, or there is no such share. */
bool shares_begin_eviction(struct shares *shares, uint64_t id);
/* It did not come to that, and nobody has lost anything. */
void shares_undo_eviction(struct shares *shares, uint64_t id);
/* The record of one of its holders; 0: the share is gone. */
uint64_t shares_some_holder(struct shares *shares, uint64_t id);
/* An arena is evicted: who has pages there is not opened any more, and has no other pages from now on. */
void shares_condemn_arena(struct shares *shares, uint64_t arena);
/* No record has its pages any more: take them out of the next share that has some, and return true with them;
 * false: there is none. */
bool shares_drop_arena(struct shares *shares, uint64_t arena, struct run_list *ret_runs);

/* How many places, holders and shares evictions have looked at so far: to bound their work in tests. */
uint64_t shares_visited(struct shares *shares);

/* The id, or 0. */
uint64_t shares_find(struct shares *shares, const char *name);
/* Who has made it, and the mode; false: there is no such share. */
bool shares_maker_of(struct shares *shares, uint64_t id, uid_t *ret_uid, uint32_t *ret_mode);
/* Copies the name into `name` of SHARE_NAME_MAX + 1 bytes; empty: there is no such share. */
void shares_name_of(struct shares *shares, uint64_t id, char *name);

/* Call `visit` for each; for checkers. */
void shares_for_each(struct shares *shares,
		     void (*visit)(void *arg, const struct share_terms *terms, const struct share_runs *runs),
		     void *arg);

/* kinds_self.h - what a client process of kinds_client.h is and holds; for the files that it is made of.
 *
 * One thread. What has files of its own an operator may revoke, so of those no lease is sure to live until it
 * is freed. A lease's name says what whoever opens it may expect: its maker's uid, who may open it, and
 * whether it can end at any time.
 */
#pragma once

#include "client/include/hugepool.h"
#include "tests/stress/kinds_client.h"
#include "tests/stress/kinds_stamp.h"

#define MAX_HELD    128
#define MAX_PENDING 16 /* calls that have only begun */
#define MAX_BATCH   16
#define MAX_NAME    48
#define OWN_MAPPING (HP_READ_ONLY | HP_PRIVATE | HP_POPULATE | HP_LOCK | HP_GUARD)

struct held {
	hp_lease *lease; /* NULL: forgotten, its memory is not to be touched */
	uint64_t id;
	const struct kinds_pool *pool; /* not of an opened one */
	unsigned flags;
	enum kinds_look look; /* that finds it as it should be */
	uid_t maker;
	bool is_mortal, is_opened;
	bool is_ended;     /* a look has found it gone */
	unsigned n_losses; /* event_n_losses() when it began */
	char name[MAX_NAME];
};

enum pending_kind { PENDING_NONE, PENDING_ALLOC, PENDING_OPEN, PENDING_FREE };

struct pending {
	enum pending_kind kind;
	struct held held;
	uint64_t wait_ms;
};

struct self {
	struct kinds *kinds;
	unsigned seat;
	uid_t uid;
	uint64_t random;
	hp_client *client;
	struct held held[MAX_HELD];
	unsigned n_held;
	struct pending pending[MAX_PENDING];
	unsigned n_pending;
	bool is_closing;
	uint64_t ended_lease; /* freed by us */
};
extern struct self self;

/* ---- kinds_self.c ---- */

unsigned below(unsigned bound);
bool one_in(unsigned n);
void count(enum kinds_count what, unsigned n);
bool has_room(void); /* for a batch more */

/* What there is to look at where `n_bytes` of it are mapped at `data`. */
struct kinds_memory memory_of(const struct held *held, void *data, uint64_t n_bytes);
/* Look at all of it, or what is from `from_bytes` on, as `what` says; it may be gone if it is mortal. Mind
 * that this dispatches when it is, so that more may be held afterwards. */
void look(struct held *held);
void look_from(struct held *held, uint64_t from_bytes, enum kinds_look what);
/* The first look at a new lease of our own, which it stamps. */
void look_first(struct held *held);
/* The same, and keep it. */
void hold(struct held *held);
void keep(const struct held *held);
/* Look at one and take it out of what we hold. */
struct held choose_held(void);
/* We hold a lease of that name, or may do so by something that has begun. */
bool is_held(const char *name);

/* Into `name` of MAX_NAME bytes. Who else may open it: 'p' nobody, 'r' for reading, 'w' for writing. */
void kinds_name(char *name, uid_t maker, char who, bool is_mortal);
char kinds_name_who(const char *name);

/* ---- kinds_client.c ---- */

/* The daemon and we find the connection broken. */
void client_break(void);

/* ---- kinds_event.c ---- */

/* Be told of everything; what an earlier client was told is forgotten. */
void event_subscribe(void);
/* How often we were told that events were missed. */
unsigned event_n_losses(void);
/* This mortal lease is ours from now on. */
void event_expect(uint64_t lease);
/* So many that we have never seen may have been ours for a moment. */
void event_expect_unseen(unsigned n);
/* The connection is cut in the middle of whatever is under way. From a signal's handler. */
void event_expect_cut(void);
/* A look has found it gone: we are told so, soon. */
void event_wait_revoked(const struct held *held);
/* Call back what is done. */
void dispatch(void);

/* ---- kinds_take.c: operations that want room ---- */

struct alloc_plan {
	struct held held;
	struct hp_alloc_options options;
	struct hp_access access[KINDS_TENANTS];
	uint64_t bytes;
};
void choose_alloc(struct alloc_plan *plan);
/* A name to be opened, whoever may. */
struct held choose_opened(void);
/* What an alloc, or open, of this may end with; else it fails. True: it was granted, and is held. */
bool has_alloced(struct held *held, int r, uint64_t wait_ms);
bool has_opened(struct held *held, int r);

void do_alloc(void);
void do_alloc_batch(void);
void do_hot(void);
void do_open(void);
void do_resize(void);
void do_dup(void);

/* ---- kinds_give.c: operations that give back ---- */

void has_freed(const struct held *held, int r);
/* Detached and anonymous ones of an earlier client of this process; nobody else knows them. */
void free_left(void);
/* The client is about to be closed: these live on. */
void leave_detached(void);

void do_free(void);
void do_free_batch(void);
void do_free_id(void);
void do_free_twice(void);
void do_free_name(void);
void do_free_others(void);
void do_forget(void);

/* ---- kinds_start.c: operations that only begin ---- */

void do_start_alloc(void);
void do_start_open(void);
void do_start_free(void);
/* The connection breaks under several of them, which end all the same. */
void do_cut(void);

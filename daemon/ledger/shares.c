/* shares.c - two of the C library's search trees, by name and by id, under one lock; in each share a tree of
 * those who hold it. No call looks at more shares than the one that it is about: whoever walks them does it
 * by places.h or by the holders, share by share, holder by holder. Walks over all are the checkers'. */
#include <config.h>

#include "daemon/ledger/shares.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/assert.h"
#include "daemon/base/lock.h"
#include "daemon/ledger/places.h"

struct share {
	uint64_t id;
	const char *name; /* behind the struct, or a key's */
	bool is_named;    /* in by_name */
	unsigned n_holders;
	void *holders; /* a tree of their records' ids, which stand in place of pointers */
	struct share_terms terms;
	struct places places;
	bool is_cut;      /* some of its pages were evicted */
	bool is_evicting; /* all of them are being */
};

struct shares {
	struct lock lock;
	/* guarded by lock: roots */
	void *by_name, *by_id;
	struct place_index places; /* guarded by lock */
};

static int compare_name(const void *a, const void *b)
{
	return strcmp(((const struct share *)a)->name, ((const struct share *)b)->name);
}

static int compare_id(const void *a, const void *b)
{
	uint64_t x = ((const struct share *)a)->id, y = ((const struct share *)b)->id;

	return (x > y) - (x < y);
}

static int compare_holder(const void *a, const void *b)
{
	return ((uintptr_t)a > (uintptr_t)b) - ((uintptr_t)a < (uintptr_t)b);
}

_Static_assert(sizeof(void *) >= sizeof(uint64_t), "an id fits a pointer");

static int add_holder(struct share *share, uint64_t record_id)
{
	if (!tsearch((void *)(uintptr_t)record_id, &share->holders, compare_holder))
		return -ENOMEM;
	share->n_holders++;
	return 0;
}

static void remove_holder(struct share *share, uint64_t record_id)
{
	hp_assert(tdelete((void *)(uintptr_t)record_id, &share->holders, compare_holder));
	share->n_holders--;
}

static struct share *find(void *const *root, const struct share *key,
			  int (*compare)(const void *, const void *))
{
	struct share **node = tfind(key, root, compare);

	return node ? *node : NULL;
}

static struct share *find_name(const struct shares *shares, const char *name)
{
	return find(&shares->by_name, &(struct share){.name = name}, compare_name);
}

static struct share *find_id(const struct shares *shares, uint64_t id)
{
	return find(&shares->by_id, &(struct share){.id = id}, compare_id);
}

struct shares *shares_new(void)
{
	struct shares *shares = calloc(1, sizeof(*shares));

	if (shares)
		lock_init(&shares->lock, LOCK_LEDGER);
	return shares;
}

/* Of no tree any more. */
static void share_free(struct shares *shares, struct share *share)
{
	while (share->holders)
		remove_holder(share, (uint64_t) * (uintptr_t *)share->holders);
	places_clear(&shares->places, &share->places);
	free(share);
}

static void drop(struct shares *shares, struct share *share)
{
	if (share->is_named)
		tdelete(share, &shares->by_name, compare_name);
	tdelete(share, &shares->by_id, compare_id);
	share_free(shares, share);
}

struct shares *shares_free(struct shares *shares)
{
	if (!shares)
		return NULL;
	while (shares->by_id)
		drop(shares, *(struct share **)shares->by_id);
	lock_fini(&shares->lock);
	free(shares);
	return NULL;
}

static bool is_evicted(const struct share *share)
{
	return share->is_cut || share->is_evicting || places_are_condemned(&share->places);
}

/* Into both trees. */
static int enter_locked(struct shares *shares, struct share *share)
{
	struct share **node = tsearch(share, &shares->by_name, compare_name);

	if (!node || *node != share)
		return node ? SHARE_NAME_TAKEN : -ENOMEM;
	if (!tsearch(share, &shares->by_id, compare_id)) {
		tdelete(share, &shares->by_name, compare_name);
		return -ENOMEM;
	}
	share->is_named = true;
	return 0;
}

/* With its holder and its places. */
static int add_locked(struct shares *shares, struct share *share, const struct share_runs *runs)
{
	int r = add_holder(share, share->id);

	if (r == 0)
		r = places_set(&shares->places, &share->places, share, runs);
	if (r == 0)
		r = enter_locked(shares, share);
	if (r != 0)
		share_free(shares, share);
	return r;
}

int shares_add(struct shares *shares, uint64_t id, const char *name, const struct share_terms *terms,
	       const struct share_runs *runs)
{
	const size_t name_bytes = strlen(name) + 1;
	struct share *share = calloc(1, sizeof(*share) + name_bytes);
	int r;

	if (!share)
		return -ENOMEM;
	share->id = id;
	share->name = memcpy(share + 1, name, name_bytes);
	share->terms = *terms;
	lock_take(&shares->lock);
	r = add_locked(shares, share, runs);
	lock_drop(&shares->lock);
	return r;
}

static bool is_in_group(const struct share_who *who, gid_t gid)
{
	for (unsigned i = 0; i < who->n_groups; i++)
		if (who->groups[i] == gid)
			return true;
	return who->gid == gid;
}

/* As a file's mode says it for this user, and beyond that the list. */
static bool allows(const struct share_terms *terms, const struct share_who *who, bool write)
{
	const uint32_t needed = write ? 06 : 04;
	uint32_t has = terms->mode & 07;

	if (who->is_privileged)
		return true;
	if (who->uid == terms->uid)
		has = terms->mode >> 6 & 07;
	else if (is_in_group(who, terms->gid))
		has = terms->mode >> 3 & 07;
	if ((has & needed) == needed)
		return true;
	for (unsigned i = 0; i < terms->n_access; i++) {
		const struct share_access *access = &terms->access[i];

		if ((access->write || !write) &&
		    (access->is_group ? is_in_group(who, access->id) : who->uid == access->id))
			return true;
	}
	return false;
}

int shares_open(struct shares *shares, const char *name, const struct share_who *who, bool write,
		uint64_t holder, uint64_t *ret_id, struct share_terms *ret_terms, struct share_runs *ret_runs)
{
	struct share *share;
	int r = 0;

	lock_take(&shares->lock);
	share = find_name(shares, name);
	if (!share || is_evicted(share)) {
		r = SHARE_NONE;
	} else if (!allows(&share->terms, who, write)) {
		r = SHARE_NOT_ALLOWED;
	} else if (who->maker && *who->maker != share->terms.uid) {
		r = SHARE_OTHER_MAKER;
		ret_terms->uid = share->terms.uid;
	} else {
		r = add_holder(share, holder);
		*ret_id = share->id;
		*ret_terms = share->terms;
		places_get(&share->places, ret_runs);
	}
	lock_drop(&shares->lock);
	return r;
}

void shares_end_name(struct shares *shares, uint64_t id)
{
	struct share *share;

	lock_take(&shares->lock);
	share = find_id(shares, id);
	if (share && share->is_named) {
		tdelete(share, &shares->by_name, compare_name);
		share->is_named = false;
	}
	lock_drop(&shares->lock);
}

bool shares_leave(struct shares *shares, uint64_t id, uint64_t holder, struct share_runs *ret_runs)
{
	struct share *share;
	bool is_last;

	lock_take(&shares->lock);
	share = find_id(shares, id);
	hp_assert(share);
	remove_holder(share, holder);
	is_last = share->n_holders == 0;
	if (is_last) {
		places_get(&share->places, ret_runs);
		drop(shares, share);
	}
	lock_drop(&shares->lock);
	return is_last;
}

int shares_set_runs(struct shares *shares, uint64_t id, const struct share_runs *runs)
{
	struct share *share;
	int r;

	lock_take(&shares->lock);
	share = find_id(shares, id);
	hp_assert(share);
	if (share->n_holders > 1)
		r = SHARE_BUSY;
	else
		r = is_evicted(share) ? SHARE_EVICTED
				      : places_set(&shares->places, &share->places, share, runs);
	lock_drop(&shares->lock);
	return r;
}

bool shares_has_others(struct shares *shares, uint64_t id)
{
	struct share *share;
	bool has;

	lock_take(&shares->lock);
	share = find_id(shares, id);
	has = share && share->n_holders > 1;
	lock_drop(&shares->lock);
	return has;
}

/* ---- eviction ---- */

bool shares_begin_eviction(struct shares *shares, uint64_t id)
{
	struct share *share;
	bool begins;

	lock_take(&shares->lock);
	share = find_id(shares, id);
	begins = share && !share->is_evicting;
	if (begins)
		share->is_evicting = true;
	lock_drop(&shares->lock);
	return begins;
}

void shares_undo_eviction(struct shares *shares, uint64_t id)
{
	struct share *share;

	lock_take(&shares->lock);
	share = find_id(shares, id);
	if (share)
		share->is_evicting = false;
	lock_drop(&shares->lock);
}

uint64_t shares_some_holder(struct shares *shares, uint64_t id)
{
	struct share *share;
	uint64_t holder;

	lock_take(&shares->lock);
	shares->places.n_visited++;
	share = find_id(shares, id);
	holder = share ? (uint64_t) * (uintptr_t *)share->holders : 0;
	lock_drop(&shares->lock);
	return holder;
}

void shares_condemn_arena(struct shares *shares, uint64_t arena)
{
	lock_take(&shares->lock);
	places_condemn(&shares->places, arena);
	lock_drop(&shares->lock);
}

bool shares_drop_arena(struct shares *shares, uint64_t arena, struct run_list *ret_runs)
{
	struct share *share;

	ret_runs->n = 0;
	lock_take(&shares->lock);
	share = places_first_owner(&shares->places, arena);
	if (share) {
		share->is_cut = true;
		places_take(&shares->places, &share->places, arena, ret_runs);
	}
	lock_drop(&shares->lock);
	return share != NULL;
}

uint64_t shares_visited(struct shares *shares)
{
	uint64_t n;

	lock_take(&shares->lock);
	n = shares->places.n_visited;
	lock_drop(&shares->lock);
	return n;
}

/* ---- for checkers ---- */

struct walk {
	void (*visit)(void *arg, const struct share_terms *terms, const struct share_runs *runs);
	void *arg;
};

static void visit_node(const void *node, VISIT visit, void *arg)
{
	const struct share *share = *(struct share *const *)node;
	const struct walk *walk = arg;
	struct share_runs runs;

	if (visit != preorder && visit != leaf)
		return;
	places_get(&share->places, &runs);
	walk->visit(walk->arg, &share->terms, &runs);
}

void shares_for_each(struct shares *shares,
		     void (*visit)(void *arg, const struct share_terms *terms, const struct share_runs *runs),
		     void *arg)
{
	struct walk walk = {.visit = visit, .arg = arg};

	lock_take(&shares->lock);
	twalk_r(shares->by_id, visit_node, &walk);
	lock_drop(&shares->lock);
}

/* ---- looking up ---- */

uint64_t shares_find(struct shares *shares, const char *name)
{
	struct share *share;
	uint64_t id;

	lock_take(&shares->lock);
	share = find_name(shares, name);
	id = share ? share->id : 0;
	lock_drop(&shares->lock);
	return id;
}

bool shares_maker_of(struct shares *shares, uint64_t id, uid_t *ret_uid, uint32_t *ret_mode)
{
	struct share *share;

	lock_take(&shares->lock);
	share = find_id(shares, id);
	if (share) {
		*ret_uid = share->terms.uid;
		*ret_mode = share->terms.mode;
	}
	lock_drop(&shares->lock);
	return share;
}

void shares_name_of(struct shares *shares, uint64_t id, char *name)
{
	struct share *share;

	lock_take(&shares->lock);
	share = find_id(shares, id);
	strcpy(name, share ? share->name : "");
	lock_drop(&shares->lock);
}

/* shares.c - two of the C library's search trees, by name and by id, under one lock. */
#include <config.h>

#include "daemon/ledger/shares.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/assert.h"
#include "daemon/base/lock.h"

struct share {
	uint64_t id;
	const char *name; /* behind the struct, or a key's */
	bool is_named;    /* in by_name */
	unsigned n_holders;
	struct share_terms terms;
	struct run *runs;
	uint64_t *arenas; /* of each run */
	unsigned n_runs;
	bool is_evicted; /* some of them are, or will be */
};

struct shares {
	struct lock lock;
	/* guarded by lock: roots */
	void *by_name, *by_id;
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

static struct share *share_free(struct share *share)
{
	if (!share)
		return NULL;
	free(share->runs);
	free(share->arenas);
	free(share);
	return NULL;
}

static void drop(struct shares *shares, struct share *share)
{
	if (share->is_named)
		tdelete(share, &shares->by_name, compare_name);
	tdelete(share, &shares->by_id, compare_id);
	share_free(share);
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

/* On failure it has the runs that it had. */
static int set_runs(struct share *share, const struct share_runs *runs)
{
	const unsigned n = runs->list.n;
	struct run *copies = malloc((n + 1) * sizeof(*copies));
	uint64_t *arenas = malloc((n + 1) * sizeof(*arenas));

	if (!copies || !arenas) {
		free(copies);
		free(arenas);
		return -ENOMEM;
	}
	free(share->runs);
	free(share->arenas);
	share->runs = memcpy(copies, runs->list.runs, n * sizeof(*copies));
	share->arenas = memcpy(arenas, runs->arenas, n * sizeof(*arenas));
	share->n_runs = n;
	return 0;
}

static void get_runs(const struct share *share, struct share_runs *ret)
{
	ret->list.n = share->n_runs;
	memcpy(ret->list.runs, share->runs, share->n_runs * sizeof(share->runs[0]));
	memcpy(ret->arenas, share->arenas, share->n_runs * sizeof(share->arenas[0]));
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
	share->n_holders = 1;
	share->terms = *terms;
	r = set_runs(share, runs);
	if (r == 0) {
		lock_take(&shares->lock);
		r = enter_locked(shares, share);
		lock_drop(&shares->lock);
	}
	if (r != 0)
		share_free(share);
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

	if (who->uid == 0)
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
		uint64_t *ret_id, struct share_terms *ret_terms, struct share_runs *ret_runs)
{
	struct share *share;
	int r = 0;

	lock_take(&shares->lock);
	share = find_name(shares, name);
	if (!share || share->is_evicted) {
		r = SHARE_NONE;
	} else if (!allows(&share->terms, who, write)) {
		r = SHARE_NOT_ALLOWED;
	} else {
		share->n_holders++;
		*ret_id = share->id;
		*ret_terms = share->terms;
		get_runs(share, ret_runs);
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

bool shares_leave(struct shares *shares, uint64_t id, struct share_runs *ret_runs)
{
	struct share *share;
	bool is_last;

	lock_take(&shares->lock);
	share = find_id(shares, id);
	hp_assert(share && share->n_holders > 0);
	is_last = --share->n_holders == 0;
	if (is_last) {
		get_runs(share, ret_runs);
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
		r = share->is_evicted ? SHARE_EVICTED : set_runs(share, runs);
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

/* ---- walks ---- */

struct walk {
	uint64_t arena;
	struct share *found;
	void (*visit)(void *arg, const struct share_terms *terms, const struct share_runs *runs);
	void *arg;
};

static bool has_arena(const struct share *share, uint64_t arena)
{
	for (unsigned i = 0; i < share->n_runs; i++)
		if (share->arenas[i] == arena)
			return true;
	return false;
}

static void condemn_node(const void *node, VISIT visit, void *arg)
{
	struct share *share = *(struct share *const *)node;
	const struct walk *walk = arg;

	if ((visit == preorder || visit == leaf) && has_arena(share, walk->arena))
		share->is_evicted = true;
}

void shares_condemn_arena(struct shares *shares, uint64_t arena)
{
	struct walk walk = {.arena = arena};

	lock_take(&shares->lock);
	twalk_r(shares->by_id, condemn_node, &walk);
	lock_drop(&shares->lock);
}

static void find_arena(const void *node, VISIT visit, void *arg)
{
	struct share *share = *(struct share *const *)node;
	struct walk *walk = arg;

	if ((visit == preorder || visit == leaf) && !walk->found && has_arena(share, walk->arena))
		walk->found = share;
}

bool shares_drop_arena(struct shares *shares, uint64_t arena, struct run_list *ret_runs)
{
	struct walk walk = {.arena = arena};
	struct share *share;
	unsigned n_kept = 0;

	ret_runs->n = 0;
	lock_take(&shares->lock);
	twalk_r(shares->by_id, find_arena, &walk);
	share = walk.found;
	for (unsigned i = 0; share && i < share->n_runs; i++) {
		if (share->arenas[i] == arena) {
			ret_runs->runs[ret_runs->n++] = share->runs[i];
			continue;
		}
		share->runs[n_kept] = share->runs[i];
		share->arenas[n_kept++] = share->arenas[i];
	}
	if (share)
		share->n_runs = n_kept;
	lock_drop(&shares->lock);
	return share != NULL;
}

static void visit_node(const void *node, VISIT visit, void *arg)
{
	const struct share *share = *(struct share *const *)node;
	const struct walk *walk = arg;
	struct share_runs runs;

	if (visit != preorder && visit != leaf)
		return;
	get_runs(share, &runs);
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

void shares_name_of(struct shares *shares, uint64_t id, char *name)
{
	struct share *share;

	lock_take(&shares->lock);
	share = find_id(shares, id);
	strcpy(name, share ? share->name : "");
	lock_drop(&shares->lock);
}

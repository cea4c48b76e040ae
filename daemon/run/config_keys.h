/* config_keys.h - the table of keys: what each is called, what a word for it becomes, who reads it, and its
 * prose.
 *
 * Private to daemon/run/config*.c.
 */
#pragma once

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/run/config.h"
#include "daemon/run/config_source.h"

/* A word after a flag becomes a JSON value of this kind, and goes the way of the file's from there on. */
enum config_kind {
	CONFIG_KIND_TEXT,   /* as it is; sizes and durations too */
	CONFIG_KIND_NUMBER, /* an integer */
	CONFIG_KIND_SWITCH, /* yes, true, on, 1; no, false, off, 0 */
	CONFIG_KIND_LIST,   /* texts joined by '+' */
};

struct config_key {
	const char *name;
	enum config_kind kind;
	/* Reads `value` into `field`. Returns 0, or refuses it: -EINVAL, -ENOMEM. */
	int (*read)(struct config_source *source, const json_t *value, void *field);
	size_t offset; /* of `field` in what the table is about; 0 when the reader wants the whole */
	const char *prose;
};

/* A pool while it is being read: sizes are bytes until the page size is known. */
struct pool_draft {
	struct pool_config pool;
	uint64_t max_bytes, reserve_bytes, stock_bytes, arena_bytes, quota_bytes;
};

/* Each ends with a row without a name. */
extern const struct config_key config_top_keys[];  /* about a struct config */
extern const struct config_key config_pool_keys[]; /* about a struct pool_draft */

/* NULL: there is no such key. */
const struct config_key *config_key_find(const struct config_key *keys, const char *name);

/* Read a JSON object by the table into `whole`. A value that is no object and a key that is not in the table
 * are refused. */
int config_keys_read(struct config_source *source, const struct config_key *keys, const json_t *object,
		     void *whole);

/* ---- config_word.c: flags ---- */

/* The JSON value that `word` stands for; what is not of the kind stays text, for the reader to refuse.
 * NULL: no memory, or not UTF-8. */
json_t *config_word_to_json(enum config_kind kind, const char *word);
/* NAME=PAGE:MAX[,KEY=VALUE...] as the object that a file would hold. Returns 0, or -EINVAL, -ENOMEM. */
int config_pool_word_to_json(struct config_source *source, const char *word, json_t **ret_object);

/* ---- config_pool.c: pools as wholes ---- */

/* Read one pool, check that it makes sense, add it to config->pools. */
int config_pool_read(struct config_source *source, const json_t *object, struct config *config);
/* The reader of the key `pools`. */
int config_pools_read(struct config_source *source, const json_t *value, void *config);
/* Frees what a pool holds, not the pool. */
void config_pool_fini(struct pool_config *pool);

/* ---- config_ids.c: users and groups ---- */

int config_users_read(struct config_source *source, const json_t *value, void *pool_draft);
int config_name_users_read(struct config_source *source, const json_t *value, void *pool_draft);
int config_groups_read(struct config_source *source, const json_t *value, void *pool_draft);
int config_admins_read(struct config_source *source, const json_t *value, void *config);
int config_admin_groups_read(struct config_source *source, const json_t *value, void *config);

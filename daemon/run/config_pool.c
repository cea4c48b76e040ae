/* config_pool.c - pools as wholes: what has to be there, sizes in pages, and what makes no sense together.
 *
 * Checks run while the pool's place in its source is known, so that a refusal can name it.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/size.h"
#include "daemon/run/config_keys.h"

#define DECAY_MS_DEFAULT 10000
#define ARENA_PAGES_MAX  RUN_ARENA_MAX

#define HUGETLBFS_SMALL_PAGES                                                                                \
	"expected memfd in pool \"%s\", whose \"page_size\" is 4K: hugetlbfs has huge pages only"
#define HUGETLBFS_SHARED                                                                                     \
	"expected hugetlbfs in pool \"%s\" only with \"isolation\" pool, or with at most one user in "       \
	"\"users\" "                                                                                         \
	"and no \"groups\": a client that holds a hugetlbfs descriptor can take pages up to the mount's "    \
	"size"

#define POISON_OF_LEASES                                                                                     \
	"expected false in pool \"%s\", whose \"isolation\" is lease: no page that was freed is granted "    \
	"again"

/* One of a pool's sizes: given in bytes, used in pages. */
struct pool_size {
	const char *key;
	uint64_t bytes;
	uint64_t *pages;
	uint64_t least_bytes; /* when it is given */
};

void config_pool_fini(struct pool_config *pool)
{
	free(pool->directory);
	free(pool->uids);
	free(pool->gids);
	free(pool->name_uids);
	*pool = (struct pool_config){0};
}

static int check_keys_given(struct config_source *source, const json_t *object)
{
	static const char *const required[] = {"name", "page_size", "max"};

	for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++)
		if (!json_object_get(object, required[i]))
			return config_refuse_of(source, required[i], "expected in every pool");
	return 0;
}

static int check_name(struct config_source *source, const struct pool_config *pool,
		      const struct config *config)
{
	for (unsigned i = 0; i < config->n_pools; i++)
		if (strcmp(config->pools[i].name, pool->name) == 0)
			return config_refuse_of(
				source, "name",
				"expected a name of its own, but there is a pool \"%s\" already", pool->name);
	return 0;
}

static uint64_t nearest_multiple(uint64_t bytes, uint64_t page_bytes)
{
	uint64_t below = bytes / page_bytes * page_bytes;
	uint64_t nearest = bytes - below < page_bytes / 2 || below > UINT64_MAX - page_bytes
				   ? below
				   : below + page_bytes;

	return nearest ? nearest : page_bytes;
}

static int check_size(struct config_source *source, const struct pool_draft *draft,
		      const struct pool_size *size)
{
	char word[SIZE_WORD_MAX], page_word[SIZE_WORD_MAX], limit_word[SIZE_WORD_MAX];
	uint64_t page_bytes = draft->pool.page_bytes;

	size_format(size->bytes, word);
	size_format(page_bytes, page_word);
	if (size->bytes % page_bytes != 0)
		return config_refuse(source, "expected a multiple of the page size %s; nearest to %s is %s",
				     page_word, word,
				     size_format(nearest_multiple(size->bytes, page_bytes), limit_word));
	if (size->bytes < size->least_bytes)
		return config_refuse(source, "expected at least one page (%s), not %s", page_word, word);
	if (size->bytes > draft->max_bytes)
		return config_refuse(source, "expected at most \"max\" (%s), not %s",
				     size_format(draft->max_bytes, limit_word), word);
	return 0;
}

/* Sizes that were not given stay 0 pages. */
static int sizes_to_pages(struct config_source *source, const json_t *object, struct pool_draft *draft)
{
	struct pool_config *pool = &draft->pool;
	const struct pool_size sizes[] = {
		{"max", draft->max_bytes, &pool->max_pages, pool->page_bytes},
		{"reserve", draft->reserve_bytes, &pool->reserve_pages, 0},
		{"stock", draft->stock_bytes, &pool->stock_pages, 0},
		{"arena", draft->arena_bytes, &pool->arena_pages, pool->page_bytes},
		{"quota", draft->quota_bytes, &pool->quota_pages, pool->page_bytes},
	};

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		int r;

		if (!json_object_get(object, sizes[i].key))
			continue;
		config_source_enter_key(source, sizes[i].key);
		r = check_size(source, draft, &sizes[i]);
		config_source_leave(source);
		if (r < 0)
			return r;
		*sizes[i].pages = sizes[i].bytes / pool->page_bytes;
	}
	return 0;
}

/* A run counts an arena's pages in 32 bits. */
static int check_arena(struct config_source *source, const struct pool_config *pool)
{
	if (pool->arena_pages <= ARENA_PAGES_MAX)
		return 0;
	return config_refuse_of(source, "arena", "expected at most %" PRIu64 " pages, not %" PRIu64,
				ARENA_PAGES_MAX, pool->arena_pages);
}

static int check_backing(struct config_source *source, const struct pool_config *pool)
{
	bool one_tenant = !pool->everybody && pool->n_gids == 0 && pool->n_uids <= 1;

	if (pool->backing != POOL_BACKING_HUGETLBFS)
		return 0;
	if (pool->page_bytes == 4096)
		return config_refuse_of(source, "backing", HUGETLBFS_SMALL_PAGES, pool->name);
	if (pool->isolation != POOL_ISOLATION_POOL && !one_tenant)
		return config_refuse_of(source, "backing", HUGETLBFS_SHARED, pool->name);
	return 0;
}

static int check_poison(struct config_source *source, const struct pool_config *pool)
{
	if (!pool->poison || pool->isolation != POOL_ISOLATION_LEASE)
		return 0;
	return config_refuse_of(source, "poison", POISON_OF_LEASES, pool->name);
}

static int draft_read(struct config_source *source, const json_t *object, const struct config *config,
		      struct pool_draft *draft)
{
	int r = config_keys_read(source, config_pool_keys, object, draft);

	if (r == 0)
		r = check_keys_given(source, object);
	if (r == 0)
		r = check_name(source, &draft->pool, config);
	if (r == 0)
		r = sizes_to_pages(source, object, draft);
	if (r == 0)
		r = check_arena(source, &draft->pool);
	if (r == 0)
		r = check_backing(source, &draft->pool);
	if (r == 0)
		r = check_poison(source, &draft->pool);
	return r;
}

int config_pool_read(struct config_source *source, const json_t *object, struct config *config)
{
	struct pool_draft draft = {.pool = {.decay_ms = DECAY_MS_DEFAULT, .node = -1}};
	struct pool_config *pools;
	int r;

	if (config->n_pools == CONFIG_POOLS_MAX)
		return config_refuse(source, "expected at most %d pools", CONFIG_POOLS_MAX);
	source->pool = json_string_value(json_object_get(object, "name"));
	r = draft_read(source, object, config, &draft);
	source->pool = NULL;
	pools = r < 0 ? NULL : reallocarray(config->pools, config->n_pools + 1, sizeof(*pools));
	if (!pools) {
		config_pool_fini(&draft.pool);
		return r < 0 ? r : -ENOMEM;
	}
	pools[config->n_pools++] = draft.pool;
	config->pools = pools;
	return 0;
}

int config_pools_read(struct config_source *source, const json_t *value, void *config)
{
	int r = 0;

	if (!json_is_array(value))
		return config_refuse_value(source, value, "a list of pools");
	for (size_t i = 0; i < json_array_size(value) && r == 0; i++) {
		config_source_enter_item(source, i);
		r = config_pool_read(source, json_array_get(value, i), config);
		config_source_leave(source);
	}
	return r;
}

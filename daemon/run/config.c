/* config.c - the configuration's life: empty, read from its sources, finished with defaults, freed. See
 * config.h.
 *
 * Which keys there are and what they mean is not here: config_keys.c, config_pool.c, config_ids.c.
 */
#include <config.h>

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/run/config.h"
#include "daemon/run/config_keys.h"

#define FILE_MAX_BYTES  (1 << 20)
#define WORKERS_DEFAULT 8 /* at most */
#define MIB             (UINT64_C(1) << 20)
#define GIB             (UINT64_C(1) << 30)

void config_init(struct config *config)
{
	*config = (struct config){.log_level = LOG_LEVEL_INFO, .host_reserve_bytes = UINT64_MAX};
}

void config_fini(struct config *config)
{
	for (unsigned i = 0; i < config->n_pools; i++)
		config_pool_fini(&config->pools[i]);
	free(config->pools);
	free(config->admin_uids);
	free(config->admin_gids);
	free(config->socket_path);
	for (unsigned i = 0; i < config->n_more_sockets; i++)
		free(config->more_sockets[i]);
	free(config->state_dir);
	for (unsigned i = 0; i < config->n_warnings; i++)
		free(config->warnings[i]);
	free(config->warnings);
	*config = (struct config){0};
}

/* The source's warnings become the configuration's. */
static int take_warnings(struct config *config, struct config_source *source)
{
	char **warnings = reallocarray(config->warnings, config->n_warnings + source->n_warnings + 1,
				       sizeof(*warnings));

	if (warnings)
		config->warnings = warnings;
	for (unsigned i = 0; i < source->n_warnings; i++)
		if (warnings)
			warnings[config->n_warnings++] = source->warnings[i];
		else
			free(source->warnings[i]);
	free(source->warnings);
	return warnings ? 0 : -ENOMEM;
}

/* What a public reader returns: the source's sentence goes to the caller, its warnings to the configuration.
 */
static int hand_over(struct config *config, struct config_source *source, int r, char **ret_error)
{
	int taken = take_warnings(config, source);

	hp_assert((r == 0 || r == -ENOMEM) == !source->error);
	if (r < 0)
		*ret_error = take_ptr(source->error);
	else if (taken < 0)
		*ret_error = NULL;
	return r < 0 ? r : taken;
}

int config_read_text(struct config *config, const char *name, const char *text, size_t length,
		     char **ret_error)
{
	struct config_source source = {.name = name, .text = text, .length = length};
	json_error_t json_error;
	json_auto_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &json_error);
	int r;

	if (!root)
		r = config_refuse_text(&source, &json_error);
	else
		r = config_keys_read(&source, config_top_keys, root, config);
	return hand_over(config, &source, r, ret_error);
}

/* Returns 0, or a negative errno: -EFBIG for what can be no configuration. */
static int read_whole_file(const char *path, char **ret_text, size_t *ret_length)
{
	_cleanup_free_ char *text = malloc(FILE_MAX_BYTES + 1);
	FILE *file;
	size_t length;
	int r;

	if (!text)
		return -ENOMEM;
	file = fopen(path, "re");
	if (!file)
		return -errno;
	errno = 0;
	length = fread(text, 1, FILE_MAX_BYTES + 1, file);
	r = ferror(file) ? -errno : length > FILE_MAX_BYTES ? -EFBIG : 0;
	fclose(file);
	if (r < 0)
		return r;
	*ret_text = take_ptr(text);
	*ret_length = length;
	return 0;
}

int config_read_file(struct config *config, const char *path, char **ret_error)
{
	_cleanup_free_ char *text = NULL;
	size_t length = 0;
	int r = read_whole_file(path, &text, &length);

	if (r == 0)
		return config_read_text(config, path, text, length, ret_error);
	if (r == -ENOMEM || asprintf(ret_error, "%s: cannot read it: %s", path, strerror(-r)) < 0)
		*ret_error = NULL;
	return r;
}

int config_add_pool_word(struct config *config, const char *word, char **ret_error)
{
	_cleanup_free_ char *flag = NULL;
	struct config_source source = {0};
	json_auto_t *object = NULL;
	int r;

	if (asprintf(&flag, "--pool %.*s", (int)strcspn(word, "="), word) < 0) {
		flag = NULL;
		*ret_error = NULL;
		return -ENOMEM;
	}
	source.name = flag;
	r = config_pool_word_to_json(&source, word, &object);
	if (r == 0)
		r = config_pool_read(&source, object, config);
	return hand_over(config, &source, r, ret_error);
}

int config_set(struct config *config, const char *name, const char *word, char **ret_error)
{
	const struct config_key *key = config_key_find(config_top_keys, name);
	_cleanup_free_ char *flag = NULL;
	struct config_source source = {0};
	json_auto_t *value = NULL;
	int r;

	hp_assert(key);
	if (asprintf(&flag, "--%s", name) < 0) {
		flag = NULL;
		*ret_error = NULL;
		return -ENOMEM;
	}
	for (char *c = flag; (c = strchr(c, '_'));)
		*c = '-';
	source.name = flag;
	value = config_word_to_json(key->kind, word);
	if (value)
		r = key->read(&source, value, (char *)config + key->offset);
	else
		r = config_refuse(&source, "expected text in UTF-8");
	return hand_over(config, &source, r, ret_error);
}

/* CPUs that this process may run on; a host with more than a cpu_set_t has bits for has enough. */
static unsigned default_workers(void)
{
	cpu_set_t cpus;
	unsigned n_cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) < 0)
		return WORKERS_DEFAULT;
	n_cpus = (unsigned)CPU_COUNT(&cpus);
	return n_cpus < WORKERS_DEFAULT ? n_cpus : WORKERS_DEFAULT;
}

/* 1 GiB from a pool that has room for four of them; else a quarter, but 64 MiB of huge pages if there is as
 * much. */
static uint64_t default_arena_pages(const struct pool_config *pool)
{
	uint64_t least_pages = pool->page_bytes > 4096 ? 64 * MIB / pool->page_bytes : 1;
	uint64_t pages = GIB / pool->page_bytes;

	if (pool->max_pages < 4 * pages)
		pages = (pool->max_pages + 3) / 4;
	if (pages < least_pages)
		pages = least_pages;
	return pages < pool->max_pages ? pages : pool->max_pages;
}

int config_finish(struct config *config, char **ret_error)
{
	int r = config->n_pools ? 0 : config_add_pool_word(config, "default=4K:256M", ret_error);

	if (r < 0)
		return r;
	if (config->workers == 0)
		config->workers = default_workers();
	for (unsigned i = 0; i < config->n_pools; i++) {
		struct pool_config *pool = &config->pools[i];

		if (pool->arena_pages == 0)
			pool->arena_pages = default_arena_pages(pool);
		if (pool->quota_pages == 0)
			pool->quota_pages = pool->max_pages;
	}
	return 0;
}

/* config_keys.c - the two tables of keys, and the readers of plain values.
 *
 * A reader looks at its own value only; what several keys mean together is config_pool.c's. The prose of a
 * row is what --help and the manual say of it.
 */
#include <config.h>

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "daemon/base/size.h"
#include "daemon/run/config_keys.h"

#define KIB               UINT64_C(1024)
#define NODE_MAX          1023 /* as many as the kernel can be built for */
#define SESSIONS_MAX      (1 << 20)
#define COUNT_MAX         UINT32_MAX /* of leases, of names */
#define SIZE_BYTES_MAX    INT64_MAX  /* as an off_t */
#define DECAY_MS_MAX      UINT64_C(1000000000000)
#define SOCKET_PATH_BYTES (sizeof(((struct sockaddr_un *)NULL)->sun_path) - 1)

static bool value_is_integer(const json_t *value, json_int_t least, json_int_t most)
{
	return json_is_integer(value) && json_integer_value(value) >= least &&
	       json_integer_value(value) <= most;
}

static bool value_to_size(const json_t *value, uint64_t *ret_bytes)
{
	if (json_is_string(value))
		return size_parse(json_string_value(value), ret_bytes) == 0;
	if (!value_is_integer(value, 0, INT64_MAX))
		return false;
	*ret_bytes = (uint64_t)json_integer_value(value);
	return true;
}

static bool value_is_word(const json_t *value, const char *word)
{
	return json_is_string(value) && strcmp(json_string_value(value), word) == 0;
}

static int read_size(struct config_source *source, const json_t *value, void *bytes)
{
	uint64_t size;

	if (!value_to_size(value, &size))
		return config_refuse_value(source, value, "a size such as 512M");
	if (size > SIZE_BYTES_MAX)
		return config_refuse_value(source, value, "a size below 8388608T, which no file can have");
	*(uint64_t *)bytes = size;
	return 0;
}

static int read_page_size(struct config_source *source, const json_t *value, void *ret_page_bytes)
{
	uint64_t page_bytes;

	if (!value_to_size(value, &page_bytes) ||
	    (page_bytes != 4 * KIB && page_bytes != 2 * KIB * KIB && page_bytes != KIB * KIB * KIB))
		return config_refuse_value(source, value, "4K, 2M or 1G");
	*(uint64_t *)ret_page_bytes = page_bytes;
	return 0;
}

static int read_pool_name(struct config_source *source, const json_t *value, void *ret_name)
{
	const char *name = json_string_value(value);

	if (!name || !*name || strlen(name) >= POOL_NAME_MAX ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")])
		return config_refuse_value(source, value, "1 to 31 letters, digits, - and _");
	strcpy(ret_name, name);
	return 0;
}

static int read_backing(struct config_source *source, const json_t *value, void *pool_draft)
{
	static const char with_directory[] = "hugetlbfs:/";
	struct pool_config *pool = &((struct pool_draft *)pool_draft)->pool;

	if (value_is_word(value, pool_backing_name(POOL_BACKING_MEMFD))) {
		pool->backing = POOL_BACKING_MEMFD;
		return 0;
	}
	pool->backing = POOL_BACKING_HUGETLBFS;
	if (value_is_word(value, pool_backing_name(POOL_BACKING_HUGETLBFS)))
		return 0;
	if (!json_is_string(value) ||
	    strncmp(json_string_value(value), with_directory, strlen(with_directory)) != 0)
		return config_refuse_value(source, value, "memfd, hugetlbfs or hugetlbfs:/DIRECTORY");
	pool->directory = strdup(json_string_value(value) + strlen(with_directory) - 1);
	return pool->directory ? 0 : -ENOMEM;
}

static int read_isolation(struct config_source *source, const json_t *value, void *ret_isolation)
{
	enum pool_isolation *isolation = ret_isolation;

	for (unsigned i = POOL_ISOLATION_TENANT; i <= POOL_ISOLATION_LEASE; i++)
		if (value_is_word(value, pool_isolation_name(i))) {
			*isolation = i;
			return 0;
		}
	return config_refuse_value(source, value, "lease, tenant or pool");
}

static int read_tenant(struct config_source *source, const json_t *value, void *ret_tenant)
{
	enum pool_tenant *tenant = ret_tenant;

	for (unsigned i = POOL_TENANT_UID; i <= POOL_TENANT_SOCKET; i++)
		if (value_is_word(value, pool_tenant_word(i))) {
			*tenant = i;
			return 0;
		}
	return config_refuse_value(source, value, "uid, gid or socket");
}

static int read_count(struct config_source *source, const json_t *value, void *ret_count)
{
	if (!value_is_integer(value, 0, COUNT_MAX))
		return config_refuse_value(source, value,
					   "a number from 0 (no limit of its own) to 4294967295");
	*(uint64_t *)ret_count = (uint64_t)json_integer_value(value);
	return 0;
}

/* "10s", "500ms", "10" (seconds); digits and a point, so that strtod() has no room for its other words. */
static bool word_to_seconds(const char *word, double *ret_seconds)
{
	size_t length = strspn(word, "0123456789.");
	char *end;

	*ret_seconds = strtod(word, &end);
	if (length == 0 || end != word + length)
		return false;
	if (strcmp(end, "ms") == 0)
		*ret_seconds /= 1000;
	else if (*end && strcmp(end, "s") != 0)
		return false;
	return true;
}

static int read_decay(struct config_source *source, const json_t *value, void *ret_ms)
{
	double seconds = json_number_value(value);

	if (json_is_string(value) ? !word_to_seconds(json_string_value(value), &seconds)
				  : !json_is_number(value))
		return config_refuse_value(source, value,
					   "seconds as a number or a word such as 10s or 500ms");
	if (seconds < 0 || seconds * 1000 > (double)DECAY_MS_MAX)
		return config_refuse_value(source, value, "0 to 1000000000 seconds");
	*(uint64_t *)ret_ms = (uint64_t)(seconds * 1000 + 0.5);
	return 0;
}

static int read_switch(struct config_source *source, const json_t *value, void *ret_switch)
{
	if (!json_is_boolean(value))
		return config_refuse_value(source, value, "true or false");
	*(bool *)ret_switch = json_is_true(value);
	return 0;
}

static int read_node(struct config_source *source, const json_t *value, void *ret_node)
{
	if (!value_is_integer(value, -1, NODE_MAX))
		return config_refuse_value(source, value, "the number of a NUMA node, or -1 for any");
	*(int *)ret_node = (int)json_integer_value(value);
	return 0;
}

static int read_workers(struct config_source *source, const json_t *value, void *ret_workers)
{
	if (!value_is_integer(value, 1, CONFIG_WORKERS_MAX))
		return config_refuse_value(source, value, "a number from 1 to 64");
	*(unsigned *)ret_workers = (unsigned)json_integer_value(value);
	return 0;
}

static int read_sessions(struct config_source *source, const json_t *value, void *ret_sessions)
{
	if (!value_is_integer(value, 0, SESSIONS_MAX))
		return config_refuse_value(source, value, "a number from 0 (no limit of its own) to 1048576");
	*(unsigned *)ret_sessions = (unsigned)json_integer_value(value);
	return 0;
}

static int read_log_level(struct config_source *source, const json_t *value, void *ret_level)
{
	if (!json_is_string(value) || log_level_parse(json_string_value(value), ret_level) < 0)
		return config_refuse_value(source, value, "error, warning, notice, info or debug");
	return 0;
}

static int replace_text(const json_t *value, char **text)
{
	char *copy = strdup(json_string_value(value));

	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

static int read_socket(struct config_source *source, const json_t *value, void *path)
{
	if (!json_is_string(value) || json_string_length(value) == 0 ||
	    json_string_length(value) > SOCKET_PATH_BYTES)
		return config_refuse_value(source, value, "a path of 1 to 107 bytes");
	return replace_text(value, path);
}

static int read_more_socket(struct config_source *source, const json_t *value, struct config *config)
{
	char **path = &config->more_sockets[config->n_more_sockets];
	int r = config->n_more_sockets < CONFIG_SOCKETS_MAX
			? read_socket(source, value, path)
			: config_refuse(source, "expected at most %d sockets", CONFIG_SOCKETS_MAX);

	if (r < 0)
		return r;
	for (unsigned i = 0; i < config->n_more_sockets && r == 0; i++)
		if (strcmp(config->more_sockets[i], *path) == 0)
			r = config_refuse(source, "expected every socket once");
	config->n_more_sockets++;
	return r;
}

static int read_more_sockets(struct config_source *source, const json_t *value, void *config)
{
	int r = 0;

	if (!json_is_array(value))
		return config_refuse_value(source, value, "a list of paths");
	for (size_t i = 0; i < json_array_size(value) && r == 0; i++) {
		config_source_enter_item(source, i);
		r = read_more_socket(source, json_array_get(value, i), config);
		config_source_leave(source);
	}
	return r;
}

static int read_state(struct config_source *source, const json_t *value, void *path)
{
	if (!json_is_string(value) || json_string_length(value) == 0)
		return config_refuse_value(source, value, "the path of a directory");
	return replace_text(value, path);
}

_Static_assert(SOCKET_PATH_BYTES == 107 && CONFIG_WORKERS_MAX == 64 && SESSIONS_MAX == 1048576 &&
		       POOL_NAME_MAX == 32 && COUNT_MAX == 4294967295,
	       "the sentences say these numbers");

#define TOP(field)  offsetof(struct config, field)
#define POOL(field) offsetof(struct pool_draft, field)

/* clang-format off */
const struct config_key config_top_keys[] = {
	{"socket", CONFIG_KIND_TEXT, read_socket, TOP(socket_path),
	 "path of the socket to listen on"},
	{"sockets", CONFIG_KIND_LIST, read_more_sockets, 0,
	 "paths of further sockets, which a pool can take for its tenants"},
	{"state", CONFIG_KIND_TEXT, read_state, TOP(state_dir),
	 "directory of the daemon's own mounts and state; default: the socket's"},
	{"workers", CONFIG_KIND_NUMBER, read_workers, TOP(workers),
	 "threads that serve clients, 1 to 64; default: one per CPU, at most 8"},
	{"log_level", CONFIG_KIND_TEXT, read_log_level, TOP(log_level),
	 "error, warning, notice, info (default) or debug"},
	{"max_sessions", CONFIG_KIND_NUMBER, read_sessions, TOP(max_sessions),
	 "clients at a time; 0 (default): what the descriptor limit allows"},
	{"user_sessions", CONFIG_KIND_NUMBER, read_sessions, TOP(user_sessions),
	 "clients at a time of one user but root; 0 (default): half of all"},
	{"host_reserve", CONFIG_KIND_TEXT, read_size, TOP(host_reserve_bytes),
	 "memory that no pool takes from the host; default: 5%, 64M at least"},
	{"admins", CONFIG_KIND_LIST, config_admins_read, 0,
	 "who sees all leases and may end them; default: root, the daemon's user"},
	{"admin_groups", CONFIG_KIND_LIST, config_admin_groups_read, 0,
	 "groups whose members may, too"},
	{"partial_users", CONFIG_KIND_SWITCH, read_switch, TOP(partial_users),
	 "may run where not all users are mapped, and refuses those; default: no"},
	{"pools", CONFIG_KIND_LIST, config_pools_read, 0,
	 "list of pools, objects with the keys below"},
	{0},
};

const struct config_key config_pool_keys[] = {
	{"name", CONFIG_KIND_TEXT, read_pool_name, POOL(pool.name),
	 "what clients ask for: letters, digits, - and _"},
	{"page_size", CONFIG_KIND_TEXT, read_page_size, POOL(pool.page_bytes),
	 "4K, 2M or 1G"},
	{"max", CONFIG_KIND_TEXT, read_size, POOL(max_bytes),
	 "memory that the pool may take from the kernel"},
	{"backing", CONFIG_KIND_TEXT, read_backing, 0,
	 "memfd (default), hugetlbfs (a mount of its own) or hugetlbfs:/DIRECTORY"},
	{"reserve", CONFIG_KIND_TEXT, read_size, POOL(reserve_bytes),
	 "memory taken at the start and never given back; default: none"},
	{"stock", CONFIG_KIND_TEXT, read_size, POOL(stock_bytes),
	 "zeroed memory of nobody's that is kept ready; default: none"},
	{"arena", CONFIG_KIND_TEXT, read_size, POOL(arena_bytes),
	 "size of one backing file; default: 1G, or a quarter of a small pool"},
	{"isolation", CONFIG_KIND_TEXT, read_isolation, POOL(pool.isolation),
	 "who shares a backing file: nobody (lease), tenant (default) or pool"},
	{"tenant", CONFIG_KIND_TEXT, read_tenant, POOL(pool.tenant),
	 "what makes two clients one tenant: uid (default), gid or socket"},
	{"quota", CONFIG_KIND_TEXT, read_size, POOL(quota_bytes),
	 "memory that one tenant may hold; default: max"},
	{"quota_leases", CONFIG_KIND_NUMBER, read_count, POOL(pool.quota_leases),
	 "leases that one tenant may hold; 0 (default): no limit of its own"},
	{"quota_names", CONFIG_KIND_NUMBER, read_count, POOL(pool.quota_names),
	 "those with a name; 0 (default): no limit of its own"},
	{"users", CONFIG_KIND_LIST, config_users_read, 0,
	 "who is admitted beside root and the daemon's user; * is everybody"},
	{"groups", CONFIG_KIND_LIST, config_groups_read, 0,
	 "groups whose members are admitted"},
	{"name_users", CONFIG_KIND_LIST, config_name_users_read, 0,
	 "who may make names that all users share; default: *, everybody"},
	{"decay", CONFIG_KIND_TEXT, read_decay, POOL(pool.decay_ms),
	 "how long an empty backing file is kept: 10s (default), 500ms"},
	{"node", CONFIG_KIND_NUMBER, read_node, POOL(pool.node),
	 "NUMA node to take memory from; -1 (default): any"},
	{"grow", CONFIG_KIND_SWITCH, read_switch, POOL(pool.grow),
	 "may raise the kernel's nr_hugepages by what is lacking; default: no"},
	{"poison", CONFIG_KIND_SWITCH, read_switch, POOL(pool.poison),
	 "fill freed pages with a pattern, to catch writes after free; default: no"},
	{0},
};
/* clang-format on */

const struct config_key *config_key_find(const struct config_key *keys, const char *name)
{
	for (const struct config_key *key = keys; key->name; key++)
		if (strcmp(key->name, name) == 0)
			return key;
	return NULL;
}

static int refuse_unknown_key(struct config_source *source, const struct config_key *keys)
{
	char known[512];
	size_t length = 0;

	for (const struct config_key *key = keys; key->name; key++)
		length += (size_t)snprintf(known + length, sizeof(known) - length, "%s%s",
					   key == keys ? "" : ", ", key->name);
	return config_refuse_key(source, "expected one of %s", known);
}

int config_keys_read(struct config_source *source, const struct config_key *keys, const json_t *object,
		     void *whole)
{
	const char *name;
	json_t *value;

	if (!json_is_object(object))
		return config_refuse_value(source, object, "an object");
	json_object_foreach ((json_t *)object, name, value) {
		const struct config_key *key = config_key_find(keys, name);
		int r;

		config_source_enter_key(source, name);
		r = key ? key->read(source, value, (char *)whole + key->offset)
			: refuse_unknown_key(source, keys);
		config_source_leave(source);
		if (r < 0)
			return r;
	}
	return 0;
}

static void print_table(FILE *out, const struct config_key *keys)
{
	for (const struct config_key *key = keys; key->name; key++)
		fprintf(out, "  %-14s%s\n", key->name, key->prose);
}

void config_print_top_keys(FILE *out)
{
	print_table(out, config_top_keys);
}

void config_print_pool_keys(FILE *out)
{
	print_table(out, config_pool_keys);
}

/* config_ids.c - lists of users and groups: names or numbers, looked up where they are read. Names that this
 * host does not know are left out, with a warning.
 *
 * An id that is listed twice, by name and by number say, is kept once: other checks count ids.
 */
#include <config.h>

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/text.h"
#include "daemon/run/config_keys.h"

#define ID_MAX (UINT32_MAX - 1) /* the last is (uid_t)-1: nobody at all */

_Static_assert(sizeof(uid_t) == sizeof(uint32_t) && sizeof(gid_t) == sizeof(uint32_t), "ids are 32 bits");

/* What users and groups differ in. */
struct id_kind {
	bool (*lookup)(const char *name, uint32_t *ret_id);
	const char *noun;
	const char *list, *item; /* what was expected */
};

struct id_list {
	uint32_t *ids;
	unsigned n;
};

static bool name_to_uid(const char *name, uint32_t *ret_id)
{
	const struct passwd *entry = getpwnam(name);

	if (entry)
		*ret_id = entry->pw_uid;
	return entry;
}

static bool name_to_gid(const char *name, uint32_t *ret_id)
{
	const struct group *entry = getgrnam(name);

	if (entry)
		*ret_id = entry->gr_gid;
	return entry;
}

static const struct id_kind user_kind = {
	.lookup = name_to_uid,
	.noun = "user",
	.list = "a list of users such as [\"alice\", 1001], or [\"*\"]",
	.item = "the name or number of a user that this host knows, or \"*\"",
};

/* Users where everybody would be too many. */
static const struct id_kind admin_kind = {
	.lookup = name_to_uid,
	.noun = "user",
	.list = "a list of users such as [\"alice\", 1001]",
	.item = "the name or number of a user that this host knows",
};

static const struct id_kind group_kind = {
	.lookup = name_to_gid,
	.noun = "group",
	.list = "a list of groups such as [\"staff\", 1001]",
	.item = "the name or number of a group that this host knows",
};

/* A text that is no number, and not "*" either. */
static bool is_name(const char *word)
{
	return word && *word && word[strspn(word, "0123456789")] && strcmp(word, "*") != 0;
}

/* A number, also as a word, is that id whether anybody has it or not. */
static bool value_to_number(const json_t *value, uint32_t *ret_id)
{
	const char *word = json_string_value(value);
	json_int_t number = -1;

	if (word && *word && !word[strspn(word, "0123456789")] && strlen(word) <= 10)
		number = strtoll(word, NULL, 10);
	else if (json_is_integer(value))
		number = json_integer_value(value);
	if (number < 0 || number > ID_MAX)
		return false;
	*ret_id = (uint32_t)number;
	return true;
}

static int id_list_add(struct id_list *list, uint32_t id)
{
	uint32_t *ids;

	for (unsigned i = 0; i < list->n; i++)
		if (list->ids[i] == id)
			return 0;
	ids = reallocarray(list->ids, list->n + 1, sizeof(*ids));
	if (!ids)
		return -ENOMEM;
	ids[list->n++] = id;
	list->ids = ids;
	return 0;
}

/* A name that this host does not know is left out: a list only ever admits fewer for it, and the daemon can
 * serve all others meanwhile. */
static int read_item(struct config_source *source, const struct id_kind *kind, const json_t *item,
		     struct id_list *list)
{
	const char *name = json_string_value(item);
	char shown[TEXT_SHOWN_MAX];
	uint32_t id;

	if (is_name(name) && !kind->lookup(name, &id))
		return config_warn(source,
				   "this host knows no %s \"%s\": left out; make it and start the daemon "
				   "again, or mend the name",
				   kind->noun, text_show(name, shown));
	if (!is_name(name) && !value_to_number(item, &id))
		return config_refuse_value(source, item, kind->item);
	return id_list_add(list, id);
}

/* What was read is in *list whatever is returned. everybody: where "*" is noted; NULL: "*" is no name. */
static int read_list(struct config_source *source, const struct id_kind *kind, const json_t *value,
		     bool *everybody, struct id_list *list)
{
	int r = 0;

	if (!json_is_array(value))
		return config_refuse_value(source, value, kind->list);
	for (size_t i = 0; i < json_array_size(value) && r == 0; i++) {
		const json_t *item = json_array_get(value, i);

		config_source_enter_item(source, i);
		if (everybody && json_is_string(item) && strcmp(json_string_value(item), "*") == 0)
			*everybody = true;
		else
			r = read_item(source, kind, item, list);
		config_source_leave(source);
	}
	return r;
}

int config_users_read(struct config_source *source, const json_t *value, void *pool_draft)
{
	struct pool_config *pool = &((struct pool_draft *)pool_draft)->pool;
	struct id_list list = {0};
	int r = read_list(source, &user_kind, value, &pool->everybody, &list);

	pool->uids = list.ids;
	pool->n_uids = list.n;
	return r;
}

int config_name_users_read(struct config_source *source, const json_t *value, void *pool_draft)
{
	struct pool_config *pool = &((struct pool_draft *)pool_draft)->pool;
	struct id_list list = {0};
	bool everybody = false;
	int r = read_list(source, &user_kind, value, &everybody, &list);

	pool->name_uids = list.ids;
	pool->n_name_uids = list.n;
	pool->names_reserved = !everybody;
	return r;
}

int config_groups_read(struct config_source *source, const json_t *value, void *pool_draft)
{
	struct pool_config *pool = &((struct pool_draft *)pool_draft)->pool;
	struct id_list list = {0};
	int r = read_list(source, &group_kind, value, NULL, &list);

	pool->gids = list.ids;
	pool->n_gids = list.n;
	return r;
}

int config_admins_read(struct config_source *source, const json_t *value, void *config)
{
	struct config *whole = config;
	struct id_list list = {0};
	int r = read_list(source, &admin_kind, value, NULL, &list);

	free(whole->admin_uids);
	whole->admin_uids = list.ids;
	whole->n_admin_uids = list.n;
	whole->has_admins = true;
	return r;
}

int config_admin_groups_read(struct config_source *source, const json_t *value, void *config)
{
	struct config *whole = config;
	struct id_list list = {0};
	int r = read_list(source, &group_kind, value, NULL, &list);

	free(whole->admin_gids);
	whole->admin_gids = list.ids;
	whole->n_admin_gids = list.n;
	return r;
}

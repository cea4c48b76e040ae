/* config_word.c - what people write after flags, as the JSON values that a file would hold. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/run/config_keys.h"

#define POOL_WORD_FORM "expected NAME=PAGE:MAX[,KEY=VALUE...], such as big=2M:4G,reserve=1G"

static json_t *number_to_json(const char *word)
{
	long long number;
	char *end;

	errno = 0;
	number = strtoll(word, &end, 10);
	return end == word || *end || errno ? json_string(word) : json_integer(number);
}

static json_t *switch_to_json(const char *word)
{
	static const char *const on[] = {"yes", "true", "on", "1"}, *const off[] = {"no", "false", "off",
										    "0"};

	for (unsigned i = 0; i < sizeof(on) / sizeof(on[0]); i++)
		if (strcasecmp(word, on[i]) == 0)
			return json_true();
		else if (strcasecmp(word, off[i]) == 0)
			return json_false();
	return json_string(word);
}

/* An empty word is an empty list. */
static json_t *list_to_json(const char *word)
{
	json_t *list = json_array();

	while (list && *word) {
		size_t length = strcspn(word, "+");

		if (json_array_append_new(list, json_stringn(word, length)) < 0) {
			json_decref(list);
			return NULL;
		}
		word += length + (word[length] == '+');
	}
	return list;
}

json_t *config_word_to_json(enum config_kind kind, const char *word)
{
	switch (kind) {
	case CONFIG_KIND_TEXT:
		return json_string(word);
	case CONFIG_KIND_NUMBER:
		return number_to_json(word);
	case CONFIG_KIND_SWITCH:
		return switch_to_json(word);
	case CONFIG_KIND_LIST:
		return list_to_json(word);
	}
	hp_assert(!"a kind of key");
	return NULL;
}

/* Put `word` into `object`; an unknown key goes in as text, for config_keys_read() to refuse. */
static int pool_key_to_json(struct config_source *source, const char *name, const char *word, json_t *object)
{
	const struct config_key *key = config_key_find(config_pool_keys, name);
	int r = 0;

	config_source_enter_key(source, name);
	if (json_object_get(object, name))
		r = config_refuse_key(source, "expected once");
	else if (json_object_set_new(object, name,
				     config_word_to_json(key ? key->kind : CONFIG_KIND_TEXT, word)) < 0)
		r = config_refuse_key(source, "expected text in UTF-8");
	config_source_leave(source);
	return r;
}

int config_pool_word_to_json(struct config_source *source, const char *word, json_t **ret_object)
{
	_cleanup_free_ char *copy = strdup(word); /* cut into its parts */
	json_auto_t *object = json_object();
	char *rest = copy, *name, *page, *max, *key;
	int r;

	if (!copy || !object)
		return -ENOMEM;
	name = strsep(&rest, "=");
	page = strsep(&rest, ",");
	max = page ? strchr(page, ':') : NULL;
	if (!max)
		return config_refuse(source, POOL_WORD_FORM);
	*max++ = '\0';
	r = pool_key_to_json(source, "name", name, object);
	if (r == 0)
		r = pool_key_to_json(source, "page_size", page, object);
	if (r == 0)
		r = pool_key_to_json(source, "max", max, object);
	while (r == 0 && (key = strsep(&rest, ","))) {
		char *value = strchr(key, '=');

		if (!value)
			return config_refuse(source, POOL_WORD_FORM);
		*value++ = '\0';
		r = pool_key_to_json(source, key, value, object);
	}
	if (r < 0)
		return r;
	*ret_object = take_ptr(object);
	return 0;
}

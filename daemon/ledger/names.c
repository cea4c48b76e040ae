/* names.c - the C library's search trees, one by name and one by id. */
#include <config.h>

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/ledger/ledger.h"
#include "daemon/ledger/names.h"

struct names {
	void *by_name, *by_id; /* roots */
};

struct name {
	uint64_t id;
	const char *text; /* behind the struct, or a key's */
};

static int compare_text(const void *a, const void *b)
{
	return strcmp(((const struct name *)a)->text, ((const struct name *)b)->text);
}

static int compare_id(const void *a, const void *b)
{
	uint64_t x = ((const struct name *)a)->id, y = ((const struct name *)b)->id;

	return (x > y) - (x < y);
}

static struct name *find(void *const *root, const struct name *key,
			 int (*compare)(const void *, const void *))
{
	struct name **node = tfind(key, root, compare);

	return node ? *node : NULL;
}

struct names *names_new(void)
{
	return calloc(1, sizeof(struct names));
}

struct names *names_free(struct names *names)
{
	if (!names)
		return NULL;
	while (names->by_name)
		names_remove(names, (*(struct name **)names->by_name)->id);
	free(names);
	return NULL;
}

int names_add(struct names *names, const char *text, uint64_t id)
{
	size_t bytes = strlen(text) + 1;
	struct name *name = malloc(sizeof(*name) + bytes), **node;

	if (!name)
		return -ENOMEM;
	name->id = id;
	name->text = memcpy(name + 1, text, bytes);
	node = tsearch(name, &names->by_name, compare_text);
	if (!node || *node != name) {
		free(name);
		return node ? LEDGER_NAME_TAKEN : -ENOMEM;
	}
	if (!tsearch(name, &names->by_id, compare_id)) {
		tdelete(name, &names->by_name, compare_text);
		free(name);
		return -ENOMEM;
	}
	return 0;
}

uint64_t names_find(struct names *names, const char *text)
{
	struct name *name = find(&names->by_name, &(struct name){.text = text}, compare_text);

	return name ? name->id : 0;
}

const char *names_of(struct names *names, uint64_t id)
{
	struct name *name = find(&names->by_id, &(struct name){.id = id}, compare_id);

	return name ? name->text : "";
}

void names_remove(struct names *names, uint64_t id)
{
	struct name *name = find(&names->by_id, &(struct name){.id = id}, compare_id);

	if (!name)
		return;
	tdelete(name, &names->by_name, compare_text);
	tdelete(name, &names->by_id, compare_id);
	free(name);
}

/* nodes.c - see nodes.h. */
#include <config.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/backing/nodes.h"

#define ONLINE     "/sys/devices/system/node/online"
#define LINE_BYTES 4096 /* the kernel writes at most a page */

/* A node's number, digits only. Returns where it ends; NULL: none, or one that no node can have. */
static const char *read_number(const char *text, unsigned *ret_node)
{
	unsigned node = 0;

	if (!isdigit((unsigned char)*text))
		return NULL;
	for (; isdigit((unsigned char)*text); text++) {
		node = 10 * node + (unsigned)(*text - '0');
		if (node >= NODES_MAX)
			return NULL;
	}
	*ret_node = node;
	return text;
}

/* "3" or "0-2". */
static const char *read_range(const char *text, struct nodes *nodes)
{
	unsigned first, last;

	text = read_number(text, &first);
	last = first;
	if (text && *text == '-')
		text = read_number(text + 1, &last);
	if (!text || last < first)
		return NULL;
	for (unsigned node = first; node <= last; node++)
		nodes->is_there[node / 8] |= (unsigned char)(1u << node % 8);
	return text;
}

static bool read_ranges(const char *text, struct nodes *nodes)
{
	for (;;) {
		text = read_range(text, nodes);
		if (!text)
			return false;
		if (*text != ',')
			return *text == 0;
		text++;
	}
}

/* As long as it fits; else up to a comma, and "..." behind it. */
static void copy_text(struct nodes *nodes, const char *text)
{
	static const char more[] = "...";
	size_t length = strlen(text);

	if (length >= NODES_TEXT_MAX) {
		length = NODES_TEXT_MAX - sizeof(more);
		while (length > 0 && text[length - 1] != ',')
			length--;
		memcpy(nodes->text + length, more, sizeof(more));
	}
	memcpy(nodes->text, text, length);
}

bool nodes_parse(struct nodes *nodes, const char *text)
{
	char line[LINE_BYTES];
	bool is_list;

	snprintf(line, sizeof(line), "%.*s", (int)strcspn(text, "\n"), text);
	*nodes = (struct nodes){0};
	is_list = read_ranges(line, nodes);
	if (!is_list)
		*nodes = (struct nodes){.is_there = {1}};
	copy_text(nodes, is_list ? line : "0");
	return is_list;
}

void nodes_read(struct nodes *nodes)
{
	char line[LINE_BYTES] = "";
	FILE *file = fopen(ONLINE, "re");

	if (file) {
		if (!fgets(line, sizeof(line), file))
			line[0] = 0;
		fclose(file);
	}
	nodes_parse(nodes, line);
}

bool nodes_has(const struct nodes *nodes, unsigned node)
{
	return node < NODES_MAX && nodes->is_there[node / 8] >> node % 8 & 1;
}

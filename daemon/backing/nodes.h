/* nodes.h - the host's NUMA nodes, as they were when the daemon started.
 *
 * A kernel that tells of none has one, node 0. Constant once read: any thread looks.
 */
#pragma once

#include <stdbool.h>

#define NODES_MAX      1024 /* as many as the kernel can be built for */
#define NODES_TEXT_MAX 64

struct nodes {
	unsigned char is_there[NODES_MAX / 8];
	char text[NODES_TEXT_MAX]; /* for sentences: "0-1,4", cut where it would be longer */
};

void nodes_read(struct nodes *nodes);
/* The same from a text in the kernel's form, such as "0-1,4\n". False: it is none, or says that there are
 * none; *nodes has node 0 then. */
bool nodes_parse(struct nodes *nodes, const char *text);
/* Of any number, also one that no node can have. */
bool nodes_has(const struct nodes *nodes, unsigned node);

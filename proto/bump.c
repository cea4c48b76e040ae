/* bump.c - see bump.h. The memory is one block for life, its pages untouched until a message needs them. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proto/bump.h"

#define BUMP_ALIGN 16

static void *take(struct bump *bump, size_t bytes)
{
	uint8_t *taken = bump->memory + bump->used;

	if (bytes > bump->cap - bump->used)
		return NULL;
	bytes = (bytes + BUMP_ALIGN - 1) & ~(size_t)(BUMP_ALIGN - 1);
	bump->used += bytes;
	return taken;
}

static void *allocator_alloc(void *allocator_data, size_t bytes)
{
	return take(allocator_data, bytes);
}

static void allocator_free(void *allocator_data, void *pointer) {}

int bump_init(struct bump *bump, size_t cap_bytes)
{
	size_t cap = cap_bytes & ~(size_t)(BUMP_ALIGN - 1);
	uint8_t *memory = malloc(cap);

	if (!memory)
		return -ENOMEM;
	*bump = (struct bump){
		.allocator = {.alloc = allocator_alloc, .free = allocator_free, .allocator_data = bump},
		.memory = memory,
		.cap = cap,
	};
	return 0;
}

void bump_fini(struct bump *bump)
{
	free(bump->memory);
	bump->memory = NULL;
	bump->cap = bump->used = 0;
}

void *bump_alloc(struct bump *bump, size_t bytes)
{
	void *taken = take(bump, bytes);

	return taken ? memset(taken, 0, bytes) : NULL;
}

/* system_edges_fields.h - every field of every request, what it may hold, and requests that hold it.
 *
 * One row a field. A request is made from hugepool.proto's descriptors: one that would be served, but for the
 * field, which is set to a value of the test's choice.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/hugepool.pb-c.h"

/* What makes a value legal. */
enum legal {
	LEGAL_ANY,    /* all are taken */
	LEGAL_RANGE,  /* `least` to `most` */
	LEGAL_POWER,  /* 0, or a power of two, up to `most` */
	LEGAL_NODE,   /* 0, or a node of the host, plus 1 */
	LEGAL_WORKER, /* whose worker there is */
	LEGAL_ZERO,   /* only that nothing is said: nobody has what it names otherwise */
	LEGAL_NO_LEASE,
	LEGAL_NO_ARENA, /* none: the same, but for ids that somebody may have */
	LEGAL_TEXT,     /* by its bytes: `most` of them, plain UTF-8 */
};

struct field_row {
	const char *message, *field;
	enum legal legal;
	uint64_t least, most;
	Hugepool__Code refusal;           /* of others */
	Hugepool__Code or_refusal;        /* OK: there is just one */
	uint64_t least_items, most_items; /* of a list */
};
extern const struct field_row field_rows[];
extern const unsigned n_field_rows;

/* What requests refer to. */
struct field_world {
	uint32_t pool;
	uint64_t lease; /* held, of one page, with the name "held" */
	unsigned n_workers;
};

/* A request with all that it points to; one at a time. The field of `row` is at *ret_place, in a message
 * whose list (if it is one) has its length at *ret_n. */
struct field_request {
	Hugepool__Request request;
	void *place;
	size_t *n;
	const ProtobufCFieldDescriptor *field;
};
void field_request_make(struct field_request *ask, const struct field_row *row,
			const struct field_world *world);
/* Is it legal? */
bool field_takes(const struct field_row *row, const struct field_world *world, uint64_t value);
/* An id that there may be: what is asked would be done. */
bool field_may_be_real(const struct field_row *row, uint64_t value);
bool field_takes_text(const struct field_row *row, const char *text);

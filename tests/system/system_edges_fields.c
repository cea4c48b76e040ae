/* system_edges_fields.c - see system_edges_fields.h. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "daemon/base/text.h"
#include "tests/system/system_edges_fields.h"

#define POOL_PAGES 16 /* of every pool */
#define SLOT_BITS  24 /* of a lease's id */
#define RECENT     100000

#define BAD_REQUEST HUGEPOOL__CODE__BAD_REQUEST
#define BAD_SIZE    HUGEPOOL__CODE__BAD_SIZE
#define NO_ARENA    HUGEPOOL__CODE__NO_ARENA
#define NO_LEASE    HUGEPOOL__CODE__NO_LEASE
#define NO_POOL     HUGEPOOL__CODE__NO_POOL
#define TOO_MANY    HUGEPOOL__CODE__TOO_MANY

#define FIELD(of, name, ...)                                                                                 \
	{                                                                                                    \
		.message = #of, .field = #name, .legal = __VA_ARGS__                                         \
	}

/* clang-format off */
const struct field_row field_rows[] = {
	FIELD(Request, id, LEGAL_ANY),
	FIELD(Request, again, LEGAL_ANY),
	FIELD(Hello, version, LEGAL_RANGE, .least = 1, .most = UINT32_MAX, .refusal = BAD_REQUEST),
	FIELD(Hello, client, LEGAL_ANY),
	FIELD(Hello, features, LEGAL_ANY),
	FIELD(Hello, session, LEGAL_ZERO, .refusal = HUGEPOOL__CODE__NO_SESSION),
	FIELD(Hello, token, LEGAL_ANY),
	FIELD(Hello, join, LEGAL_ZERO, .refusal = BAD_REQUEST),
	FIELD(Alloc, pool, LEGAL_RANGE, .most = 0 /* the last pool */, .refusal = NO_POOL),
	FIELD(Alloc, n_pages, LEGAL_RANGE, .least = 1, .most = POOL_PAGES, .refusal = BAD_SIZE, .least_items = 1, .most_items = 256),
	FIELD(Alloc, align_pages, LEGAL_POWER, .most = POOL_PAGES, .refusal = BAD_SIZE),
	FIELD(Alloc, detached, LEGAL_ANY),
	FIELD(Alloc, name, LEGAL_TEXT, .most = 255, .refusal = BAD_REQUEST),
	FIELD(Alloc, max_runs, LEGAL_RANGE, .most = 64, .refusal = TOO_MANY),
	FIELD(Alloc, wait_ms, LEGAL_ANY),
	FIELD(Alloc, lifetime_ms, LEGAL_ANY),
	FIELD(Alloc, revocable, LEGAL_ANY),
	FIELD(Alloc, mode, LEGAL_RANGE, .most = 0777, .refusal = BAD_REQUEST),
	FIELD(Alloc, access, LEGAL_ANY, .most_items = 16),
	FIELD(Alloc, no_zero, LEGAL_ANY),
	FIELD(Alloc, node, LEGAL_NODE, .refusal = BAD_REQUEST),
	FIELD(Access, id, LEGAL_ANY),
	FIELD(Access, is_group, LEGAL_ANY),
	FIELD(Access, write, LEGAL_ANY),
	FIELD(Open, name, LEGAL_ANY),
	FIELD(Open, write, LEGAL_ANY),
	FIELD(Open, uid, LEGAL_ANY),
	FIELD(Resize, lease, LEGAL_NO_LEASE, .refusal = NO_LEASE, .or_refusal = HUGEPOOL__CODE__NOT_HOLDER),
	FIELD(Resize, n_pages, LEGAL_RANGE, .least = 1, .most = POOL_PAGES, .refusal = BAD_SIZE),
	FIELD(Resize, max_runs, LEGAL_RANGE, .most = 64, .refusal = TOO_MANY),
	FIELD(Resize, wait_ms, LEGAL_ANY),
	FIELD(Free, leases, LEGAL_ANY, .least_items = 1, .most_items = 256),
	FIELD(Free, name, LEGAL_ANY),
	FIELD(Free, cold, LEGAL_ANY),
	FIELD(Free, orphaned, LEGAL_ANY),
	FIELD(Free, unused, LEGAL_ANY),
	FIELD(Cancel, request, LEGAL_ANY),
	FIELD(Arena, arena, LEGAL_NO_ARENA, .refusal = NO_ARENA),
	FIELD(Subscribe, kinds, LEGAL_ANY),
	FIELD(Leases, cursor, LEGAL_RANGE, .most = (1u << 24) - 1, .refusal = BAD_REQUEST),
	FIELD(Leases, session, LEGAL_ANY),
	FIELD(Sessions, cursor, LEGAL_WORKER, .refusal = BAD_REQUEST),
	FIELD(BuddyInfo, pool, LEGAL_ZERO, .refusal = NO_POOL),
	FIELD(Tenants, pool, LEGAL_ZERO, .refusal = NO_POOL),
	FIELD(Revoke, lease, LEGAL_NO_LEASE, .refusal = NO_LEASE),
	FIELD(Evict, arena, LEGAL_NO_ARENA, .refusal = NO_ARENA),
	FIELD(Isolate, arena, LEGAL_NO_ARENA, .refusal = NO_ARENA),
	FIELD(Restore, arena, LEGAL_NO_ARENA, .refusal = NO_ARENA),
	FIELD(Restore, pool, LEGAL_ZERO, .refusal = NO_POOL),
	FIELD(Drain, pool, LEGAL_ZERO, .least = 1, .refusal = NO_POOL),
};
/* clang-format on */
const unsigned n_field_rows = sizeof(field_rows) / sizeof(field_rows[0]);

/* ---- requests ---- */

#define ITEMS_MAX 60000

static struct {
	union {
		ProtobufCMessage base;
		Hugepool__Hello hello;
		Hugepool__Alloc alloc;
		Hugepool__Open open;
		Hugepool__Resize resize;
		Hugepool__Free free;
		uint8_t bytes[512];
	} method;
	Hugepool__Access access[ITEMS_MAX], *access_ptrs[ITEMS_MAX];
	uint64_t numbers[ITEMS_MAX];
} room;

/* The method's own message, or whose it is a part of. */
static const char *method_of(const char *message)
{
	if (strcmp(message, "Access") == 0)
		return "Alloc";
	return strcmp(message, "Request") == 0 ? "Status" : message;
}

static const ProtobufCFieldDescriptor *find_method(const char *message)
{
	const ProtobufCMessageDescriptor *request = &hugepool__request__descriptor;

	for (unsigned i = 0; i < request->n_fields; i++) {
		const ProtobufCMessageDescriptor *method = request->fields[i].descriptor;

		if (request->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
		    strcmp(method->short_name, message) == 0)
			return &request->fields[i];
	}
	fail_msg("no method %s", message);
	return NULL;
}

/* What would be served; all else is zero. */
static void fill(const struct field_row *row, const struct field_world *world)
{
	const bool shares = strcmp(row->message, "Access") == 0 || strcmp(row->field, "mode") == 0 ||
			    strcmp(row->field, "access") == 0;

	for (unsigned i = 0; i < ITEMS_MAX; i++) {
		hugepool__access__init(&room.access[i]);
		room.access_ptrs[i] = &room.access[i];
		room.numbers[i] = 1;
	}
	switch (find_method(method_of(row->message))->id) {
	case HUGEPOOL__REQUEST__METHOD_HELLO:
		room.method.hello.version = 1;
		break;
	case HUGEPOOL__REQUEST__METHOD_ALLOC:
		room.method.alloc.pool = world->pool;
		room.method.alloc.n_n_pages = 1;
		room.method.alloc.n_pages = room.numbers;
		room.method.alloc.access = room.access_ptrs;
		room.method.alloc.n_access = strcmp(row->message, "Access") == 0;
		if (shares)
			room.method.alloc.name = (char *)"edge";
		break;
	case HUGEPOOL__REQUEST__METHOD_OPEN:
		room.method.open.name = (char *)"held";
		break;
	case HUGEPOOL__REQUEST__METHOD_RESIZE:
		room.method.resize.lease = world->lease;
		room.method.resize.n_pages = 2;
		break;
	case HUGEPOOL__REQUEST__METHOD_FREE:
		room.method.free.leases = room.numbers;
		room.method.free.n_leases = strcmp(row->field, "name") != 0;
		break;
	default:
		break;
	}
}

void field_request_make(struct field_request *ask, const struct field_row *row,
			const struct field_world *world)
{
	const ProtobufCFieldDescriptor *method = find_method(method_of(row->message));
	ProtobufCMessage *message = &room.method.base;

	((const ProtobufCMessageDescriptor *)method->descriptor)->message_init(message);
	fill(row, world);
	ask->request = (Hugepool__Request)HUGEPOOL__REQUEST__INIT;
	ask->request.method_case = (Hugepool__Request__MethodCase)method->id;
	ask->request.hello = &room.method.hello; /* as any other of the union */
	if (strcmp(row->message, "Access") == 0)
		message = &room.access[0].base;
	if (strcmp(row->message, "Request") == 0)
		message = &ask->request.base;
	ask->field = protobuf_c_message_descriptor_get_field_by_name(message->descriptor, row->field);
	assert_non_null(ask->field);
	ask->place = (uint8_t *)message + ask->field->offset;
	if (ask->field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		*(uint32_t *)(void *)((uint8_t *)message + ask->field->quantifier_offset) = ask->field->id;
	ask->n = ask->field->label == PROTOBUF_C_LABEL_REPEATED
			 ? (size_t *)(void *)((uint8_t *)message + ask->field->quantifier_offset)
			 : NULL;
	if (ask->n)
		ask->place = *(void **)ask->place;
}

/* ---- what is legal ---- */

static bool is_node(uint64_t node)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%llu", (unsigned long long)node);
	return node == 0 || access(path, F_OK) == 0;
}

bool field_takes(const struct field_row *row, const struct field_world *world, uint64_t value)
{
	const uint64_t most = strcmp(row->field, "pool") == 0 ? world->pool : row->most;

	switch (row->legal) {
	case LEGAL_RANGE:
		return value >= row->least && value <= most;
	case LEGAL_POWER:
		return (value & (value - 1)) == 0 && value <= most;
	case LEGAL_NODE:
		return value == 0 || is_node(value - 1);
	case LEGAL_WORKER:
		return value % 64 < world->n_workers;
	case LEGAL_ZERO:
		return value == 0 && row->least == 0;
	case LEGAL_NO_LEASE:
	case LEGAL_NO_ARENA:
		return false;
	default:
		return true;
	}
}

/* A lease's slot is low, and its generation is one that was; arenas are counted from 1. */
bool field_may_be_real(const struct field_row *row, uint64_t value)
{
	if (row->legal == LEGAL_NO_LEASE)
		return value >> SLOT_BITS > 0 && value >> SLOT_BITS < RECENT &&
		       value % (1u << SLOT_BITS) < RECENT;
	return row->legal == LEGAL_NO_ARENA && value > 0 && value < RECENT;
}

bool field_takes_text(const struct field_row *row, const char *text)
{
	if (row->legal == LEGAL_ZERO)
		return !text[0] && row->least == 0;
	if (row->legal != LEGAL_TEXT)
		return true;
	/* Digits alone are an id, and a "~" another namespace: the test's texts have neither otherwise. */
	return strlen(text) <= row->most && text_is_plain(text) &&
	       (!text[0] || text[strspn(text, "0123456789")]) && text[0] != '~';
}

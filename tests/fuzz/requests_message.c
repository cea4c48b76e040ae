/* requests_message.c - see requests_message.h. */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "daemon/base/assert.h"
#include "daemon/pool/pool_set.h"
#include "tests/fuzz/requests_message.h"

#define LONG_WAIT_MS 100
#define LIST_MAX     300 /* items of a repeated field: some more than are allowed */
#define TEXT_MAX     20000
#define N_TEXTS      4

/* What a value is when it shall get far. */
enum value {
	VALUE_ZERO,    /* the default: nothing */
	VALUE_SMALL,   /* 1 to `most` */
	VALUE_RARE,    /* 0, seldom up to `most` */
	VALUE_USER,    /* root, or one of those from 1001 on */
	VALUE_POOL,    /* one of the first `most`, or the last */
	VALUE_REQUEST, /* one of the last `most` of who asks */
	VALUE_LEASE,   /* ids that the daemon has told */
	VALUE_ARENA,
	VALUE_SESSION,
	VALUE_CURSOR,
	VALUE_NAME,      /* one of few */
	VALUE_RARE_NAME, /* none, or one of few */
	VALUE_POOL_NAME,
};

static const struct rule {
	const char *message, *field;
	enum value value;
	unsigned most;
} rules[] = {
	{"Hello", "version", VALUE_SMALL, 1},     {"Hello", "session", VALUE_SESSION, 0},
	{"Alloc", "pool", VALUE_POOL, 9},         {"Alloc", "n_pages", VALUE_SMALL, 24},
	{"Alloc", "align_pages", VALUE_RARE, 4},  {"Alloc", "name", VALUE_RARE_NAME, 0},
	{"Alloc", "max_runs", VALUE_RARE, 65},    {"Alloc", "wait_ms", VALUE_RARE, 20},
	{"Alloc", "lifetime_ms", VALUE_RARE, 30}, {"Alloc", "mode", VALUE_RARE, 255},
	{"Alloc", "node", VALUE_RARE, 1},         {"Access", "id", VALUE_SMALL, 200},
	{"Open", "name", VALUE_NAME, 0},          {"Open", "uid", VALUE_USER, 4},
	{"Resize", "lease", VALUE_LEASE, 0},      {"Resize", "n_pages", VALUE_SMALL, 40},
	{"Resize", "max_runs", VALUE_RARE, 65},   {"Resize", "wait_ms", VALUE_RARE, 20},
	{"Free", "leases", VALUE_LEASE, 0},       {"Free", "name", VALUE_RARE_NAME, 0},
	{"Cancel", "request", VALUE_REQUEST, 20}, {"Arena", "arena", VALUE_ARENA, 0},
	{"Subscribe", "kinds", VALUE_SMALL, 15},  {"Leases", "cursor", VALUE_CURSOR, 0},
	{"Sessions", "cursor", VALUE_CURSOR, 0},  {"Leases", "session", VALUE_SESSION, 0},
	{"Revoke", "lease", VALUE_LEASE, 0},      {"Evict", "arena", VALUE_ARENA, 0},
	{"Isolate", "arena", VALUE_ARENA, 0},     {"Restore", "arena", VALUE_ARENA, 0},
	{"Restore", "pool", VALUE_POOL_NAME, 0},  {"Drain", "pool", VALUE_POOL_NAME, 0},
	{"Tenants", "pool", VALUE_POOL_NAME, 0},  {"BuddyInfo", "pool", VALUE_POOL_NAME, 0},
};

/* How often each method is asked for, of all. A method that is not here: as often as the last. */
static const struct {
	const char *field; /* of Request */
	unsigned weight;
} methods[] = {
	{"alloc", 90},  {"free", 70},     {"resize", 30},  {"open", 20},   {"received", 20},
	{"arena", 10},  {"revoke", 8},    {"evict", 2},    {"restore", 8}, {"isolate", 4},
	{"drain", 2},   {"bye", 1},       {"cancel", 6},   {"hello", 1},   {"leases", 2},
	{"tenants", 1}, {"buddyinfo", 1}, {"sessions", 2}, {"status", 2},
};
#define N_METHODS (sizeof(methods) / sizeof(methods[0]))

void fuzz_ring_add(struct fuzz_ring *ring, uint64_t value)
{
	ring->values[ring->n++ % FUZZ_KNOWN] = value;
}

static uint64_t pick(const struct fuzz_ring *ring, struct fuzz_input *input)
{
	unsigned n = ring->n < FUZZ_KNOWN ? ring->n : FUZZ_KNOWN;

	return n > 0 ? ring->values[fuzz_below(input, n)] : 0;
}

/* What lists, texts and submessages of one request are made of. */
static struct {
	uint64_t numbers[LIST_MAX];
	uint8_t token[64];
	ProtobufCMessage *messages[LIST_MAX];
	Hugepool__Access access[LIST_MAX];
	char texts[N_TEXTS][TEXT_MAX];
	unsigned n_texts;
	union {
		ProtobufCMessage base;
		uint8_t bytes[512];
	} method;
} room;

/* ---- values ---- */

/* A power of two, or a little less or more; seldom anything. */
static uint64_t edge(struct fuzz_input *input)
{
	unsigned bit = fuzz_byte(input);

	if (bit >= 250)
		return fuzz_u64(input);
	if (bit >= 240)
		return UINT64_MAX - bit % 2;
	return (UINT64_C(1) << bit % 64) + fuzz_below(input, 3) - 1;
}

static uint64_t make_number(struct fuzz_input *input, const struct fuzz_known *known, const struct rule *rule)
{
	if (fuzz_one_in(input, 20))
		return edge(input);
	switch (rule ? rule->value : VALUE_ZERO) {
	case VALUE_SMALL:
		return 1 + fuzz_below(input, 1 + fuzz_below(input, rule->most));
	case VALUE_RARE:
		return fuzz_one_in(input, 3) ? fuzz_below(input, rule->most + 1) : 0;
	case VALUE_USER:
		return fuzz_one_in(input, 4) ? 0 : 1000 + fuzz_below(input, rule->most);
	case VALUE_POOL:
		return fuzz_one_in(input, 16) ? POOLS_MAX - 1 : fuzz_below(input, rule->most);
	case VALUE_REQUEST:
		return known->last_id - fuzz_below(input, rule->most);
	case VALUE_LEASE:
		return pick(fuzz_one_in(input, 4) ? &known->leases : &known->own_leases, input);
	case VALUE_ARENA:
		return pick(fuzz_one_in(input, 4) ? &known->arenas : &known->own_arenas, input);
	case VALUE_SESSION:
		return fuzz_one_in(input, 2) ? pick(&known->sessions, input) : 0;
	case VALUE_CURSOR:
		return fuzz_one_in(input, 2) ? pick(&known->cursors, input) : 0;
	default:
		return 0;
	}
}

static char *odd_text(struct fuzz_input *input, char *text)
{
	static const char *const odd[] = {"123", "\xff\xfe", "a\xc3", "\xe2\x80\xae", "\x1b[2J", "~/n1",
					  "~",   "/",        " "};
	static const size_t lengths[] = {1, 254, 255, 256, 257, TEXT_MAX - 1};
	unsigned i = fuzz_below(input, sizeof(odd) / sizeof(odd[0]) + sizeof(lengths) / sizeof(lengths[0]));

	if (i < sizeof(odd) / sizeof(odd[0]))
		return strcpy(text, odd[i]);
	i -= sizeof(odd) / sizeof(odd[0]);
	memset(text, 'x', lengths[i]);
	text[lengths[i]] = 0;
	return text;
}

static char *make_text(struct fuzz_input *input, const struct rule *rule)
{
	char *text = room.texts[room.n_texts++ % N_TEXTS];

	text[0] = 0;
	if (fuzz_one_in(input, 40))
		return odd_text(input, text);
	switch (rule ? rule->value : VALUE_ZERO) {
	case VALUE_RARE_NAME:
		if (!fuzz_one_in(input, 8))
			return text;
		/* fall through */
	case VALUE_NAME:
		snprintf(text, TEXT_MAX, "n%u", fuzz_below(input, 12));
		return text;
	case VALUE_POOL_NAME:
		if (!fuzz_one_in(input, 4))
			snprintf(text, TEXT_MAX, "p%u", fuzz_below(input, 9));
		return text;
	default:
		return text;
	}
}

/* ---- messages, by their descriptors ---- */

static const struct rule *find_rule(const ProtobufCMessageDescriptor *descriptor,
				    const ProtobufCFieldDescriptor *field)
{
	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++)
		if (strcmp(rules[i].field, field->name) == 0 &&
		    strcmp(rules[i].message, descriptor->short_name) == 0)
			return &rules[i];
	return NULL;
}

static size_t list_length(struct fuzz_input *input, const struct rule *rule)
{
	const bool ends = rule && rule->value == VALUE_LEASE; /* more end than begin, or all would be full */

	switch (fuzz_below(input, ends ? 12 : 64)) {
	case 0:
		return LIST_MAX - fuzz_below(input, 64);
	case 1:
		return 256;
	case 2:
		return 0;
	case 3:
	case 4:
	case 5:
		return 2 + fuzz_below(input, 20);
	default:
		return 1;
	}
}

static void fill(ProtobufCMessage *message, struct fuzz_input *input, const struct fuzz_known *known);

/* A list of numbers, or of the messages that say who else may open a name. */
static void fill_list(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
		      struct fuzz_input *input, const struct fuzz_known *known)
{
	const struct rule *rule = find_rule(message->descriptor, field);
	uint8_t *base = (uint8_t *)message;
	size_t n = list_length(input, rule);

	if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
		hp_assert(field->descriptor == &hugepool__access__descriptor);
		n = n <= 1 ? 0 : n % 20;
		for (size_t i = 0; i < n; i++) {
			hugepool__access__init(&room.access[i]);
			fill(&room.access[i].base, input, known);
			room.messages[i] = &room.access[i].base;
		}
		*(void **)(base + field->offset) = room.messages;
	} else {
		hp_assert(field->type == PROTOBUF_C_TYPE_UINT64);
		for (size_t i = 0; i < n; i++)
			room.numbers[i] = make_number(input, known, rule);
		*(void **)(base + field->offset) = room.numbers;
	}
	*(size_t *)(base + field->quantifier_offset) = n;
}

/* One that may be left out, or stand for others of its kind. Returns whether it is there. */
static bool choose_optional(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
			    struct fuzz_input *input)
{
	if (!(field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
		return true;
	if (!fuzz_one_in(input, 4))
		return false;
	*(uint32_t *)((uint8_t *)message + field->quantifier_offset) = field->id;
	return true;
}

static void fill_field(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field,
		       struct fuzz_input *input, const struct fuzz_known *known)
{
	const struct rule *rule = find_rule(message->descriptor, field);
	void *place = (uint8_t *)message + field->offset;

	switch (field->type) {
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_ENUM:
		*(uint32_t *)place = (uint32_t)make_number(input, known, rule);
		return;
	case PROTOBUF_C_TYPE_UINT64:
		*(uint64_t *)place = make_number(input, known, rule);
		return;
	case PROTOBUF_C_TYPE_BOOL:
		*(protobuf_c_boolean *)place = fuzz_one_in(input, 6);
		return;
	case PROTOBUF_C_TYPE_STRING:
		*(char **)place = make_text(input, rule);
		return;
	case PROTOBUF_C_TYPE_BYTES:
		for (size_t i = 0; i < sizeof(room.token); i++)
			room.token[i] = fuzz_byte(input);
		*(ProtobufCBinaryData *)place = (ProtobufCBinaryData){
			.len = fuzz_one_in(input, 4) ? fuzz_below(input, 65) : 16, .data = room.token};
		return;
	default:
		hp_assert(!"a type that no request has had so far");
	}
}

static void fill(ProtobufCMessage *message, struct fuzz_input *input, const struct fuzz_known *known)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;

	for (unsigned i = 0; i < descriptor->n_fields; i++)
		if (descriptor->fields[i].label == PROTOBUF_C_LABEL_REPEATED)
			fill_list(message, &descriptor->fields[i], input, known);
		else if (choose_optional(message, &descriptor->fields[i], input))
			fill_field(message, &descriptor->fields[i], input, known);
}

/* One of the request's methods: the table's, or with the last one's weight any that there is. */
static const ProtobufCFieldDescriptor *choose_method(struct fuzz_input *input)
{
	const ProtobufCMessageDescriptor *descriptor = &hugepool__request__descriptor;
	unsigned total = 0, at;

	for (size_t i = 0; i < N_METHODS; i++)
		total += methods[i].weight;
	at = (fuzz_byte(input) | (unsigned)fuzz_byte(input) << 8) % (total + 4);
	for (size_t i = 0; i < N_METHODS; i++) {
		if (at < methods[i].weight)
			return protobuf_c_message_descriptor_get_field_by_name(descriptor, methods[i].field);
		at -= methods[i].weight;
	}
	return &descriptor->fields[2 + fuzz_below(input, descriptor->n_fields - 2)];
}

static void pack(struct fuzz_message *message, const Hugepool__Request *request)
{
	const size_t length = hugepool__request__get_packed_size(request);
	struct frame_header header = {.length = (uint32_t)length};

	hp_assert(length <= FRAME_MAX_BYTES);
	frame_header_put(message->bytes, &header);
	hugepool__request__pack(request, message->bytes + FRAME_HEADER_BYTES);
	message->n_bytes = FRAME_HEADER_BYTES + length;
	message->id = request->id;
	message->method = request->method_case;
}

/* What makes no sense together is refused, and seldom worth it. */
static void make_sense(Hugepool__Request *request, struct fuzz_input *input)
{
	if (fuzz_one_in(input, 10))
		return;
	if (request->method_case == HUGEPOOL__REQUEST__METHOD_ALLOC && request->alloc->name[0]) {
		request->alloc->n_n_pages = request->alloc->n_n_pages > 0;
	} else if (request->method_case == HUGEPOOL__REQUEST__METHOD_ALLOC) {
		request->alloc->mode = 0;
		request->alloc->n_access = 0;
	} else if (request->method_case == HUGEPOOL__REQUEST__METHOD_FREE && request->free->name[0]) {
		request->free->n_leases = 0;
	}
}

void fuzz_message_make(struct fuzz_message *message, struct fuzz_input *input, const struct fuzz_known *known,
		       uint64_t id)
{
	const ProtobufCFieldDescriptor *field = choose_method(input);
	const ProtobufCMessageDescriptor *descriptor = field->descriptor;
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;

	hp_assert(field->type == PROTOBUF_C_TYPE_MESSAGE &&
		  descriptor->sizeof_message <= sizeof(room.method));
	descriptor->message_init(&room.method.base);
	fill(&room.method.base, input, known);
	request.id = fuzz_one_in(input, 100) ? edge(input) : id;
	request.again = fuzz_one_in(input, 50);
	request.method_case = (Hugepool__Request__MethodCase)field->id;
	request.alloc = (void *)&room.method; /* as any other of the union */
	make_sense(&request, input);
	message->waits = (request.method_case == HUGEPOOL__REQUEST__METHOD_ALLOC &&
			  request.alloc->wait_ms > LONG_WAIT_MS) ||
			 (request.method_case == HUGEPOOL__REQUEST__METHOD_RESIZE &&
			  request.resize->wait_ms > LONG_WAIT_MS);
	message->has_reply = request.id == id && request.method_case != HUGEPOOL__REQUEST__METHOD_RECEIVED;
	pack(message, &request);
}

void fuzz_message_hello(struct fuzz_message *message, uint64_t id, uint64_t session, const uint8_t *token,
			size_t token_bytes)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Hello hello = HUGEPOOL__HELLO__INIT;

	hello.version = 1;
	hello.client = (char *)"fuzz";
	hello.session = session;
	hello.token = (ProtobufCBinaryData){.len = token_bytes, .data = (uint8_t *)(uintptr_t)token};
	hello.join = session != 0 && id % 2 == 0;
	request.id = id;
	request.method_case = HUGEPOOL__REQUEST__METHOD_HELLO;
	request.hello = &hello;
	message->waits = false;
	message->has_reply = true;
	pack(message, &request);
}

void fuzz_message_again(struct fuzz_message *message)
{
	Hugepool__Request *request = hugepool__request__unpack(NULL, message->n_bytes - FRAME_HEADER_BYTES,
							       message->bytes + FRAME_HEADER_BYTES);

	/* Not what holds bytes that are no UTF-8: some versions of protobuf-c take none. */
	if (!request)
		return;
	request->again = true;
	message->has_reply = false;
	pack(message, request);
	hugepool__request__free_unpacked(request, NULL);
}

/* edges_reply.c - every number and text of every reply at its edges, as the client library takes them in.
 *
 * A daemon of another version, or one that means no good: its replies are those of a whole short life
 * (fuzz_reply.c says which calls they answer), all well-formed, and one field of one of them is what no
 * daemon of ours would send. Made from hugepool.proto's descriptors: no field is left out. fuzz_reply.c sees
 * to it that what is leased is really there and no descriptor stays; sanitizers see the rest.
 */
#include <config.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/base/assert.h"
#include "proto/frame.h"
#include "proto/hugepool.pb-c.h"

#define PAGE     4096
#define TEXT_MAX 5000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The replies, in the order in which they are sent; `n_fds` of each. */
static Hugepool__Reply replies[4];
static const uint8_t n_fds[4] = {0, 1, 0, 0};
static unsigned n_runs;

/* ---- one life, all of it right ---- */

static uint8_t token[16] = "0123456789abcdef";
static Hugepool__PoolInfo pool = HUGEPOOL__POOL_INFO__INIT, *pools = &pool;
static Hugepool__HelloReply hello = HUGEPOOL__HELLO_REPLY__INIT;
static Hugepool__Run runs[2], *run_ptrs[2];
static Hugepool__Grant grants[2], *grant_ptrs[2];
static Hugepool__ArenaInfo arena = HUGEPOOL__ARENA_INFO__INIT, *arenas = &arena;
static Hugepool__AllocReply alloc = HUGEPOOL__ALLOC_REPLY__INIT;
static Hugepool__StatusReply status = HUGEPOOL__STATUS_REPLY__INIT;
static Hugepool__PoolStatus pool_status = HUGEPOOL__POOL_STATUS__INIT, *pool_statuses = &pool_status;
static Hugepool__FreeReply freed = HUGEPOOL__FREE_REPLY__INIT;
static Hugepool__FreeFailure failure = HUGEPOOL__FREE_FAILURE__INIT, *failures = &failure;
static Hugepool__Error error = HUGEPOOL__ERROR__INIT;
static Hugepool__Event event = HUGEPOOL__EVENT__INIT, *events = &event;
static uint64_t gone[1] = {77};

static void make_hello(Hugepool__Reply *reply)
{
	pool.name = (char *)"default";
	pool.page_bytes = PAGE;
	pool.pages_max = 4;
	hello.version = 1;
	hello.daemon_version = (char *)"1";
	hello.session = 64;
	hello.token = (ProtobufCBinaryData){.len = sizeof(token), .data = token};
	hello.n_pools = 1;
	hello.pools = &pools;
	hello.max_batch = 256;
	reply->result_case = HUGEPOOL__REPLY__RESULT_HELLO;
	reply->hello = &hello;
}

/* One page and two, of an arena of four whose descriptor goes along. */
static void make_alloc(Hugepool__Reply *reply)
{
	for (unsigned i = 0; i < 2; i++) {
		hugepool__run__init(&runs[i]);
		hugepool__grant__init(&grants[i]);
		runs[i].arena = 1;
		runs[i].first_page = i;
		runs[i].n_pages = 1 + i;
		run_ptrs[i] = &runs[i];
		grants[i].lease = (UINT64_C(1) << 24) + i;
		grants[i].n_runs = 1;
		grants[i].runs = &run_ptrs[i];
		grant_ptrs[i] = &grants[i];
	}
	arena.arena = 1;
	arena.n_pages = 4;
	arena.page_bytes = PAGE;
	alloc.n_grants = 2;
	alloc.grants = grant_ptrs;
	alloc.n_new_arenas = 1;
	alloc.new_arenas = &arenas;
	reply->result_case = HUGEPOOL__REPLY__RESULT_ALLOC;
	reply->alloc = &alloc;
}

static void make_status(Hugepool__Reply *reply)
{
	pool_status.name = (char *)"default";
	status.n_pools = 1;
	status.pools = &pool_statuses;
	reply->result_case = HUGEPOOL__REPLY__RESULT_STATUS;
	reply->status = &status;
	reply->n_gone_arenas = 1;
	reply->gone_arenas = gone;
	event.pool = (char *)"default";
	reply->n_events = 1;
	reply->events = &events;
}

static void make_freed(Hugepool__Reply *reply)
{
	error.code = HUGEPOOL__CODE__NO_LEASE;
	error.message = (char *)"no such lease";
	failure.error = &error;
	freed.n_failures = 1;
	freed.failures = &failures;
	reply->result_case = HUGEPOOL__REPLY__RESULT_FREE;
	reply->free = &freed;
}

static void make_replies(void)
{
	static void (*const makes[])(Hugepool__Reply *) = {make_hello, make_alloc, make_status, make_freed};

	for (unsigned i = 0; i < 4; i++) {
		hugepool__reply__init(&replies[i]);
		replies[i].id = 1 + i;
		makes[i](&replies[i]);
	}
}

/* ---- with one field that is not ---- */

static void run(void)
{
	static uint8_t bytes[4 * (FRAME_HEADER_BYTES + FRAME_MAX_BYTES)];
	size_t used = 0;
	uint8_t *copy;

	for (unsigned i = 0; i < 4; i++) {
		const size_t length = hugepool__reply__get_packed_size(&replies[i]);
		struct frame_header header = {.length = (uint32_t)length, .n_fds = n_fds[i]};

		hp_assert(length <= FRAME_MAX_BYTES);
		frame_header_put(bytes + used, &header);
		hugepool__reply__pack(&replies[i], bytes + used + FRAME_HEADER_BYTES);
		used += FRAME_HEADER_BYTES + length;
	}
	copy = malloc(used);
	hp_assert(copy);
	LLVMFuzzerTestOneInput(memcpy(copy, bytes, used), used);
	free(copy);
	n_runs++;
}

/* Where widths, page sizes and limits of the library's lie. */
static const uint8_t bits[] = {0, 1, 2, 4, 6, 8, 12, 16, 21, 24, 30, 31, 32, 34, 46, 51, 52, 62, 63};

static void try_u64(uint64_t *place)
{
	const uint64_t old = *place;

	for (unsigned bit = 0; bit < sizeof(bits); bit++)
		for (unsigned i = 0; i < 3; i++) {
			*place = (UINT64_C(1) << bits[bit]) + i - 1;
			run();
		}
	*place = UINT64_MAX;
	run();
	*place = old;
}

/* Enums too: the wire has any number. */
static void try_u32(uint32_t *place)
{
	const uint32_t old = *place;

	for (unsigned bit = 0; bit < sizeof(bits) && bits[bit] < 32; bit++)
		for (unsigned i = 0; i < 3; i++) {
			*place = (UINT32_C(1) << bits[bit]) + i - 1;
			run();
		}
	*place = UINT32_MAX;
	run();
	*place = old;
}

static void try_bool(protobuf_c_boolean *place)
{
	*place = !*place;
	run();
	*place = !*place;
}

static void try_text(char **place)
{
	static const char *const odd[] = {"", "\xff", "a\xc3", "\x1b[2J", "%s%n", "\xe2\x80\xae"};
	static const size_t lengths[] = {1, 31, 32, 63, 64, 65, 255, 256, 511, 512, TEXT_MAX - 1};
	char text[TEXT_MAX], *old = *place;

	for (unsigned i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		*place = strcpy(text, odd[i]);
		run();
	}
	for (unsigned i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		memset(text, 'x', sizeof(text));
		text[lengths[i]] = 0;
		*place = text;
		run();
	}
	*place = old;
}

static void try_bytes(ProtobufCBinaryData *place)
{
	static uint8_t bytes[TEXT_MAX];
	const ProtobufCBinaryData old = *place;

	for (unsigned length = 0; length <= 33; length++) {
		*place = (ProtobufCBinaryData){.len = length, .data = bytes};
		run();
	}
	*place = (ProtobufCBinaryData){.len = TEXT_MAX, .data = bytes};
	run();
	*place = old;
}

static void try_message(ProtobufCMessage *message);

static void try_place(const ProtobufCFieldDescriptor *field, void *place)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_UINT64:
		try_u64(place);
		return;
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_ENUM:
		try_u32(place);
		return;
	case PROTOBUF_C_TYPE_BOOL:
		try_bool(place);
		return;
	case PROTOBUF_C_TYPE_STRING:
		try_text(place);
		return;
	case PROTOBUF_C_TYPE_BYTES:
		try_bytes(place);
		return;
	default:
		hp_assert(field->type == PROTOBUF_C_TYPE_MESSAGE);
		if (*(ProtobufCMessage **)place)
			try_message(*(ProtobufCMessage **)place);
	}
}

static size_t item_bytes(const ProtobufCFieldDescriptor *field)
{
	return field->type == PROTOBUF_C_TYPE_MESSAGE ? sizeof(void *) : sizeof(uint64_t);
}

/* Each item, and a list that is too short. */
static void try_list(const ProtobufCFieldDescriptor *field, uint8_t *items, size_t *n)
{
	const size_t old = *n;

	for (size_t i = 0; i < old; i++)
		try_place(field, items + i * item_bytes(field));
	for (*n = 0; *n < old; ++*n)
		run();
	*n = old;
}

static void try_message(ProtobufCMessage *message)
{
	uint8_t *base = (uint8_t *)message;

	for (unsigned i = 0; i < message->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->descriptor->fields[i];

		if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF &&
		    *(uint32_t *)(void *)(base + field->quantifier_offset) != field->id)
			continue;
		if (field->label == PROTOBUF_C_LABEL_REPEATED)
			try_list(field, *(uint8_t **)(void *)(base + field->offset),
				 (size_t *)(void *)(base + field->quantifier_offset));
		else
			try_place(field, base + field->offset);
	}
}

int main(void)
{
	make_replies();
	run();
	for (unsigned i = 0; i < 4; i++)
		try_message(&replies[i].base);
	printf("%u lives\n", n_runs);
	return 0;
}

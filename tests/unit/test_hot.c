/* test_hot.c - the messages that are packed and unpacked by hand, against protobuf-c: the same bytes, the
 * same messages, or hands off.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "proto/hot.h"
#include "tests/support/random.h"

#define N_ROUNDS   20000
#define ROOM       4096
#define BUMP_BYTES 65536

static struct bump bump;
static uint64_t state_of_random;

static uint64_t random_bits(void)
{
	return random_next(&state_of_random);
}

/* Of any length, often 0; below 2^bits. */
static uint64_t random_number(unsigned bits)
{
	return random_bits() >> (64 - bits) >> random_bits() % (bits + 1);
}

static bool random_bool(void)
{
	return random_bits() & 1;
}

/* ---- messages, with all that they point to ---- */

struct any_request {
	Hugepool__Request request;
	Hugepool__Alloc alloc;
	Hugepool__Free free;
	uint64_t list[2];
};

static void make_request(struct any_request *any)
{
	hugepool__request__init(&any->request);
	hugepool__alloc__init(&any->alloc);
	hugepool__free__init(&any->free);
	any->request.id = random_number(63);
	any->request.again = random_bool();
	any->list[0] = random_number(63);
	any->list[1] = random_number(63);
	any->alloc.pool = (uint32_t)random_number(32);
	any->alloc.n_pages = any->list;
	any->alloc.n_n_pages = 1;
	any->alloc.align_pages = random_number(63);
	any->alloc.detached = random_bool();
	any->alloc.max_runs = (uint32_t)random_number(32);
	any->alloc.wait_ms = random_number(63);
	any->alloc.lifetime_ms = random_number(63);
	any->alloc.revocable = random_bool();
	any->alloc.mode = (uint32_t)random_number(32);
	any->alloc.no_zero = random_bool();
	any->alloc.node = (uint32_t)random_number(32);
	any->free.leases = any->list;
	any->free.n_leases = 1;
	any->free.cold = random_bool();
	any->request.method_case =
		random_bool() ? HUGEPOOL__REQUEST__METHOD_ALLOC : HUGEPOOL__REQUEST__METHOD_FREE;
	if (any->request.method_case == HUGEPOOL__REQUEST__METHOD_ALLOC)
		any->request.alloc = &any->alloc;
	else
		any->request.free = &any->free;
}

struct any_reply {
	Hugepool__Reply reply;
	Hugepool__AllocReply alloc;
	Hugepool__Grant grant, *grants[2];
	Hugepool__Run run, *runs[2];
	Hugepool__FreeReply free;
};

static void make_reply(struct any_reply *any)
{
	hugepool__reply__init(&any->reply);
	hugepool__alloc_reply__init(&any->alloc);
	hugepool__grant__init(&any->grant);
	hugepool__run__init(&any->run);
	hugepool__free_reply__init(&any->free);
	any->reply.id = random_number(63);
	any->run.arena = random_number(63);
	any->run.first_page = random_number(63);
	any->run.n_pages = random_number(63);
	any->runs[0] = any->runs[1] = &any->run;
	any->grant.lease = random_number(63);
	any->grant.runs = any->runs;
	any->grant.n_runs = 1;
	any->grants[0] = any->grants[1] = &any->grant;
	any->alloc.grants = any->grants;
	any->alloc.n_grants = 1;
	any->reply.result_case = random_bool() ? HUGEPOOL__REPLY__RESULT_ALLOC : HUGEPOOL__REPLY__RESULT_FREE;
	if (any->reply.result_case == HUGEPOOL__REPLY__RESULT_ALLOC)
		any->reply.alloc = &any->alloc;
	else
		any->reply.free = &any->free;
}

/* ---- tests ---- */

/* These bytes are what protobuf-c packs of the message. */
static void expect_protobufs(const ProtobufCMessage *message, size_t length, const uint8_t *packed)
{
	uint8_t theirs[ROOM];

	assert_int_equal(protobuf_c_message_pack(message, theirs), length);
	assert_memory_equal(packed, theirs, length);
}

static void hot_requests_are_protobufs(void **state)
{
	uint8_t packed[HOT_MAX_BYTES];
	struct any_request any;

	for (unsigned i = 0; i < N_ROUNDS; i++) {
		Hugepool__Request *unpacked;
		size_t length;

		make_request(&any);
		length = hot_pack_request(&any.request, packed);
		expect_protobufs(&any.request.base, length, packed);
		bump_reset(&bump);
		unpacked = hot_unpack_request(&bump, length, packed);
		assert_non_null(unpacked);
		expect_protobufs(&unpacked->base, length, packed);
	}
}

static void hot_replies_are_protobufs(void **state)
{
	uint8_t packed[HOT_MAX_BYTES];
	struct any_reply any;

	for (unsigned i = 0; i < N_ROUNDS; i++) {
		Hugepool__Reply *unpacked;
		size_t length;

		make_reply(&any);
		length = hot_pack_reply(&any.reply, packed);
		expect_protobufs(&any.reply.base, length, packed);
		bump_reset(&bump);
		unpacked = hot_unpack_reply(&bump, length, packed);
		assert_non_null(unpacked);
		expect_protobufs(&unpacked->base, length, packed);
	}
}

/* Bytes of a message with some changed: what we understand, protobuf-c understands alike. */
static void hot_understands_nothing_that_protobuf_does_not(void **state)
{
	uint8_t bytes[HOT_MAX_BYTES], theirs[ROOM];
	struct any_request any;
	unsigned n_understood = 0;

	for (unsigned i = 0; i < 10 * N_ROUNDS; i++) {
		Hugepool__Request *hot, *full;
		size_t length;

		make_request(&any);
		length = hot_pack_request(&any.request, bytes);
		for (uint64_t n = random_bits() % 3; n > 0; n--)
			bytes[random_bits() % length] = (uint8_t)random_bits();
		length -= random_bool() ? 0 : random_bits() % length;
		bump_reset(&bump);
		hot = hot_unpack_request(&bump, length, bytes);
		if (!hot)
			continue;
		full = hugepool__request__unpack(&bump.allocator, length, bytes);
		assert_non_null(full);
		length = hugepool__request__pack(full, theirs);
		expect_protobufs(&hot->base, length, theirs);
		n_understood++;
	}
	assert_true(n_understood > N_ROUNDS);
}

static void expect_left(const Hugepool__Request *request)
{
	uint8_t ours[HOT_MAX_BYTES], theirs[ROOM];
	size_t length = hugepool__request__pack(request, theirs);

	bump_reset(&bump);
	assert_int_equal(hot_pack_request(request, ours), 0);
	assert_null(hot_unpack_request(&bump, length, theirs));
}

static void hot_leaves_other_requests_alone(void **state)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Access access = HUGEPOOL__ACCESS__INIT, *accesses = &access;
	Hugepool__Alloc alloc = HUGEPOOL__ALLOC__INIT;
	Hugepool__Free ending = HUGEPOOL__FREE__INIT;
	Hugepool__Bye bye = HUGEPOOL__BYE__INIT;
	uint64_t list[2] = {1, 2};

	expect_left(&request);
	request.method_case = HUGEPOOL__REQUEST__METHOD_BYE;
	request.bye = &bye;
	expect_left(&request);

	request.method_case = HUGEPOOL__REQUEST__METHOD_ALLOC;
	request.alloc = &alloc;
	expect_left(&request); /* of nothing */
	alloc.n_pages = list;
	alloc.n_n_pages = 2;
	expect_left(&request);
	alloc.n_n_pages = 1;
	alloc.name = (char *)"name";
	expect_left(&request);
	alloc.name = NULL;
	alloc.n_access = 1;
	alloc.access = &accesses;
	expect_left(&request);

	request.method_case = HUGEPOOL__REQUEST__METHOD_FREE;
	request.free = &ending;
	ending.leases = list;
	ending.n_leases = 2;
	expect_left(&request);
	ending.n_leases = 1;
	ending.orphaned = true;
	expect_left(&request);
	ending.orphaned = false;
	ending.unused = true;
	expect_left(&request);
	ending.unused = false;
	ending.n_leases = 0;
	ending.name = (char *)"name";
	expect_left(&request);
}

static void expect_reply_left(const Hugepool__Reply *reply)
{
	uint8_t ours[HOT_MAX_BYTES], theirs[ROOM];
	size_t length = hugepool__reply__pack(reply, theirs);

	bump_reset(&bump);
	assert_int_equal(hot_pack_reply(reply, ours), 0);
	assert_null(hot_unpack_reply(&bump, length, theirs));
}

static void hot_leaves_other_replies_alone(void **state)
{
	Hugepool__FreeFailure failure = HUGEPOOL__FREE_FAILURE__INIT, *failures = &failure;
	Hugepool__ArenaInfo info = HUGEPOOL__ARENA_INFO__INIT, *infos = &info;
	Hugepool__Event event = HUGEPOOL__EVENT__INIT, *events = &event;
	Hugepool__Error error = HUGEPOOL__ERROR__INIT;
	uint64_t gone = 1;
	struct any_reply any;

	do
		make_reply(&any);
	while (any.reply.result_case != HUGEPOOL__REPLY__RESULT_ALLOC);
	any.grant.n_runs = 2;
	expect_reply_left(&any.reply);
	any.grant.n_runs = 1;
	any.alloc.n_grants = 2;
	expect_reply_left(&any.reply);
	any.alloc.n_grants = 1;
	any.alloc.new_arenas = &infos;
	any.alloc.n_new_arenas = 1;
	expect_reply_left(&any.reply);
	any.alloc.n_new_arenas = 0;
	any.reply.gone_arenas = &gone;
	any.reply.n_gone_arenas = 1;
	expect_reply_left(&any.reply);
	any.reply.n_gone_arenas = 0;
	any.reply.events = &events;
	any.reply.n_events = 1;
	expect_reply_left(&any.reply);
	any.reply.n_events = 0;

	any.reply.result_case = HUGEPOOL__REPLY__RESULT_FREE;
	any.reply.free = &any.free;
	any.free.failures = &failures;
	any.free.n_failures = 1;
	expect_reply_left(&any.reply);
	any.reply.result_case = HUGEPOOL__REPLY__RESULT__NOT_SET;
	any.reply.error = &error;
	expect_reply_left(&any.reply);
}

/* Packing by hand would leave out a field that the protocol gets later. */
static void hot_knows_every_field(void **state)
{
	const char *const why = "teach hot_pack.c and hot_unpack.c the new field, then count it here";
	const struct {
		const ProtobufCMessageDescriptor *message;
		unsigned n_fields;
	} known[] = {
		{&hugepool__request__descriptor, 22},    {&hugepool__reply__descriptor, 23},
		{&hugepool__alloc__descriptor, 13},      {&hugepool__free__descriptor, 5},
		{&hugepool__alloc_reply__descriptor, 2}, {&hugepool__free_reply__descriptor, 1},
		{&hugepool__grant__descriptor, 2},       {&hugepool__run__descriptor, 3},
	};

	for (unsigned i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (known[i].message->n_fields != known[i].n_fields)
			fail_msg("%s has %u fields: %s", known[i].message->name, known[i].message->n_fields,
				 why);
}

static int set_up(void **state)
{
	const char *seed = getenv("SEED");

	state_of_random = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL);
	printf("SEED=%llu\n", (unsigned long long)state_of_random);
	return bump_init(&bump, BUMP_BYTES);
}

static int tear_down(void **state)
{
	bump_fini(&bump);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hot_requests_are_protobufs),
		cmocka_unit_test(hot_replies_are_protobufs),
		cmocka_unit_test(hot_understands_nothing_that_protobuf_does_not),
		cmocka_unit_test(hot_leaves_other_requests_alone),
		cmocka_unit_test(hot_leaves_other_replies_alone),
		cmocka_unit_test(hot_knows_every_field),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}

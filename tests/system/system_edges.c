/* system_edges.c - the edges of numbers that a daemon is asked for: each is served or refused with a
 * sentence, and the daemon lives, with its sums, as before.
 *
 * The daemon has as many pools as there can be: what is kept by pool has no bit and no place to spare then.
 */
#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/base/text.h"
#include "daemon/pool/pool_set.h"
#include "tests/support/raw.h"
#include "tests/system/system_edges_fields.h"

#define LAST_POOL  (POOLS_MAX - 1)
#define POOL_PAGES 16

#define N_WORKERS 2

static struct dut dut;

/* Pools p0 and on, of 16 pages each. */
static void start_with_pools(struct dut *ret_dut, unsigned n_pools)
{
	static char words[POOLS_MAX][64];
	const char *arguments[2 * POOLS_MAX + 5] = {"--workers", "2", "--log-level", "warning"};
	unsigned n = 4;

	for (unsigned i = 0; i < n_pools; i++) {
		snprintf(words[i], sizeof(words[i]), "p%u=4K:%uK", i, 4 * POOL_PAGES);
		arguments[n++] = "--pool";
		arguments[n++] = words[i];
	}
	dut_start(ret_dut, arguments);
}

static uint64_t alloc_from(struct raw *raw, uint32_t pool, uint64_t n_pages)
{
	struct raw_request ask;
	Hugepool__Reply *reply;
	uint64_t lease;

	raw_ask_alloc(&ask, n_pages);
	ask.alloc.pool = pool;
	reply = raw_call(raw, &ask.request);
	raw_check(reply->alloc && reply->alloc->n_grants == 1, "pool %u: %s", pool,
		  reply->error ? reply->error->message : "no grant");
	lease = reply->alloc->grants[0]->lease;
	if (reply->alloc->n_new_arenas > 0)
		raw_say_received(raw);
	raw_drop(reply);
	return lease;
}

static void subscribe(struct raw *raw, uint32_t kinds)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Subscribe asked = HUGEPOOL__SUBSCRIBE__INIT;
	Hugepool__Reply *reply;

	asked.kinds = kinds;
	request.method_case = HUGEPOOL__REQUEST__METHOD_SUBSCRIBE;
	request.subscribe = &asked;
	reply = raw_call(raw, &request);
	raw_check(reply->subscribe, "Subscribe: %s", reply->error ? reply->error->message : "no result");
	raw_drop(reply);
}

/* Fails where pools are counted by shifting until nothing is left: the last one's bit is never shifted out.
 */
static void the_last_of_all_pools_tells_of_pressure(void **state)
{
	struct raw raw, witness;
	struct raw_request ask;
	Hugepool__Reply *reply;

	start_with_pools(&dut, POOLS_MAX);
	raw_open(&witness, &dut);
	subscribe(&witness, 1u << HUGEPOOL__EVENT_KIND__PRESSURE);
	raw_open(&raw, &dut);
	alloc_from(&raw, LAST_POOL, POOL_PAGES);
	raw_ask_alloc(&ask, 1);
	ask.alloc.pool = LAST_POOL;
	raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__POOL_FULL, "pool p63 has no");
	reply = raw_receive(&witness, NULL);
	raw_check(reply && reply->n_events == 1, "no event");
	assert_int_equal(reply->events[0]->kind, HUGEPOOL__EVENT_KIND__PRESSURE);
	assert_string_equal(reply->events[0]->pool, "p63");
	raw_drop(reply);
	raw_close(&witness);
	raw_close(&raw);
	dut_stop(&dut);
}

/* Fails, and the daemon with it, where numa_enter() believes what it is given. */
static void nodes_that_the_host_lacks_are_refused(void **state)
{
	static const uint32_t nodes[] = {1023,          1024,      1025,     16383,         0x3fffffff,
					 INT32_MAX - 1, INT32_MAX, 1u << 31, UINT32_MAX - 1};
	struct raw_request ask;
	struct raw raw;

	start_with_pools(&dut, POOLS_MAX);
	raw_open(&raw, &dut);
	for (unsigned i = 0; i < sizeof(nodes) / sizeof(nodes[0]); i++) {
		char words[64];

		raw_ask_alloc(&ask, 1);
		ask.alloc.node = nodes[i] + 1;
		snprintf(words, sizeof(words), "this host has no NUMA node %u, it has 0", nodes[i]);
		raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__BAD_REQUEST, words);
	}
	raw_ask_alloc(&ask, 1);
	ask.alloc.node = 1; /* the first, which every host has */
	raw_drop(raw_call(&raw, &ask.request));
	assert_int_equal(dut_pool(&dut, "p0", "pages_leased"), 1);
	raw_close(&raw);
	dut_stop(&dut);
}

/* ---- every field ---- */

static const char *const texts[] = {
	"",
	"a",
	"123",
	"~/a",
	"~0/a",
	"~",
	"\xff",
	"a\xc3",
	"\xed\xa0\x80",
	"\xe2\x80\xae"
	"evil",
	"\xc2\x9b"
	"2J",
	"\033[2J",
	"\x7f",
};
static const size_t lengths[] = {0,   1,   15,  16,  17,   31,   32,    63,   64,
				 254, 255, 256, 257, 1023, 1024, 30000, 65000};
#define N_ITEMS(array) (sizeof(array) / sizeof((array)[0]))

/* Powers of two and their neighbours, and all there is. */
#define EDGES_MAX 220
static unsigned make_edges(const struct field_row *row, uint64_t max, uint64_t values[EDGES_MAX])
{
	const uint64_t bounds[] = {row->least - 1, row->least,    row->least + 1, row->most - 1,
				   row->most,      row->most + 1, max - 1,        max};
	unsigned n = 0;

	for (unsigned bit = 0; bit < 64; bit++)
		for (uint64_t value = (UINT64_C(1) << bit) - 1; value <= (UINT64_C(1) << bit) + 1; value++)
			if (value <= max)
				values[n++] = value;
	for (unsigned i = 0; i < N_ITEMS(bounds); i++)
		if (bounds[i] <= max)
			values[n++] = bounds[i];
	assert_true(n <= EDGES_MAX);
	return n;
}

/* How the daemon answers: with an error or without, or it says that this is no request, and closes. */
struct outcome {
	Hugepool__Code code;
	bool has_closed;
};

static void free_granted(struct raw *raw, const Hugepool__Reply *reply)
{
	if (reply->result_case == HUGEPOOL__REPLY__RESULT_ALLOC) {
		for (size_t i = 0; i < reply->alloc->n_grants; i++)
			raw_free(raw, reply->alloc->grants[i]->lease);
	} else if (reply->result_case == HUGEPOOL__REPLY__RESULT_OPEN) {
		raw_free(raw, reply->open->grant->lease);
	}
}

/* Send it with the id that it has, and take what is answered. */
static struct outcome try(struct raw *raw, const Hugepool__Request *request, const char *what)
{
	static uint8_t buffer[FRAME_HEADER_BYTES + FRAME_MAX_BYTES];
	size_t n_bytes = raw_pack(request, buffer, 0, sizeof(buffer));
	struct outcome outcome = {HUGEPOOL__CODE__OK, false};
	Hugepool__Reply *reply;
	unsigned n_fds;

	raw_check(raw_send_bytes(raw, buffer, n_bytes, RAW_WAIT_MS) == n_bytes, "%s: not taken", what);
	reply = raw_receive(raw, &n_fds);
	raw_check(reply, "%s: the daemon has closed", what);
	if (reply->error) {
		raw_check(reply->error->message[0] && text_is_plain(reply->error->message),
			  "%s: the sentence is \"%s\"", what, reply->error->message);
		outcome.code = reply->error->code;
	}
	outcome.has_closed = reply->error && reply->id != request->id;
	raw_check(outcome.has_closed || reply->id == request->id, "%s: another id", what);
	if (n_fds > 0)
		raw_say_received(raw);
	free_granted(raw, reply);
	raw_drop(reply);
	return outcome;
}

/* A session of its own for who says Hello; one for all others. */
struct scene {
	struct raw raw;
	struct field_world world;
};

static void open_scene(struct scene *scene)
{
	raw_open(&scene->raw, &dut);
	scene->raw.last_id = UINT64_C(1) << 40; /* ids of raw_call() are none of ours */
}

static struct outcome ask(struct scene *scene, const struct field_request *asked, const char *what)
{
	const bool says_hello = asked->request.method_case == HUGEPOOL__REQUEST__METHOD_HELLO;
	struct outcome outcome;
	struct raw newcomer, *raw = &scene->raw;

	if (says_hello) {
		raw_connect(&newcomer, &dut);
		raw = &newcomer;
	}
	outcome = try(raw, &asked->request, what);
	if (outcome.has_closed)
		raw_expect_closed(raw);
	if (says_hello) {
		struct raw_request bye;

		if (outcome.code == HUGEPOOL__CODE__OK)
			raw_drop(raw_call(raw, raw_ask_bye(&bye)));
		raw_close(raw);
	} else if (outcome.has_closed) {
		raw_close(raw);
		open_scene(scene);
	}
	return outcome;
}

/* What it takes is not refused for that, what it does not take is. */
static void judge(const struct field_row *row, struct outcome outcome, bool is_legal, const char *what)
{
	if (row->refusal == HUGEPOOL__CODE__OK)
		return;
	raw_check(!outcome.has_closed, "%s: the daemon has closed", what);
	if (is_legal)
		raw_check(outcome.code != row->refusal, "%s: refused with code %d", what, outcome.code);
	else
		raw_check(outcome.code == row->refusal ||
				  (row->or_refusal != HUGEPOOL__CODE__OK && outcome.code == row->or_refusal),
			  "%s: code %d instead of %d", what, outcome.code, row->refusal);
}

static void try_numbers(struct scene *scene, const struct field_row *row)
{
	uint64_t values[EDGES_MAX];
	struct field_request asked;
	unsigned n;

	field_request_make(&asked, row, &scene->world);
	n = make_edges(row,
		       asked.field->type == PROTOBUF_C_TYPE_UINT64 ? UINT64_MAX
		       : asked.field->type == PROTOBUF_C_TYPE_BOOL ? 1
								   : UINT32_MAX,
		       values);
	for (unsigned i = 0; i < n; i++) {
		char what[100];

		if (field_may_be_real(row, values[i]))
			continue;
		field_request_make(&asked, row, &scene->world);
		if (asked.field->type == PROTOBUF_C_TYPE_UINT64)
			*(uint64_t *)asked.place = values[i];
		else
			*(uint32_t *)asked.place = (uint32_t)values[i];
		if (asked.request.id == 0 && strcmp(row->field, "id") != 0)
			asked.request.id = 1000 + i;
		snprintf(what, sizeof(what), "%s.%s = %" PRIu64, row->message, row->field, values[i]);
		judge(row, ask(scene, &asked, what), field_takes(row, &scene->world, values[i]), what);
	}
}

static void try_texts(struct scene *scene, const struct field_row *row)
{
	static char text[65001];

	for (unsigned i = 0; i < N_ITEMS(texts) + N_ITEMS(lengths); i++) {
		struct field_request asked;
		char what[100];

		field_request_make(&asked, row, &scene->world);
		memset(text, 'x', sizeof(text));
		if (i < N_ITEMS(texts))
			strcpy(text, texts[i]);
		else
			text[lengths[i - N_ITEMS(texts)]] = 0;
		*(char **)asked.place = text;
		asked.request.id = 1000 + i;
		snprintf(what, sizeof(what), "%s.%s, text %u", row->message, row->field, i);
		/* In a namespace it may be legal, or not. */
		if (text[0] == '~')
			ask(scene, &asked, what);
		else
			judge(row, ask(scene, &asked, what), field_takes_text(row, text), what);
	}
}

static void try_bytes(struct scene *scene, const struct field_row *row)
{
	static uint8_t bytes[65000];

	for (unsigned i = 0; i < N_ITEMS(lengths); i++) {
		struct field_request asked;
		char what[100];

		field_request_make(&asked, row, &scene->world);
		*(ProtobufCBinaryData *)asked.place = (ProtobufCBinaryData){.len = lengths[i], .data = bytes};
		asked.request.id = 1000 + i;
		snprintf(what, sizeof(what), "%s.%s, %zu bytes", row->message, row->field, lengths[i]);
		ask(scene, &asked, what);
	}
}

static void try_lengths(struct scene *scene, const struct field_row *row)
{
	const uint64_t counts[] = {
		0, 1, row->most_items - 1, row->most_items, row->most_items + 1, 1000, 8191, 30000};

	for (unsigned i = 0; i < N_ITEMS(counts); i++) {
		const bool is_legal = counts[i] >= row->least_items && counts[i] <= row->most_items;
		struct field_request asked;
		struct outcome outcome;
		char what[100];

		field_request_make(&asked, row, &scene->world);
		*asked.n = counts[i];
		if (counts[i] != 1)
			asked.request.alloc->name =
				asked.request.method_case == HUGEPOOL__REQUEST__METHOD_ALLOC &&
						asked.field->type != PROTOBUF_C_TYPE_MESSAGE
					? (char *)""
					: asked.request.alloc->name;
		asked.request.id = 1000 + i;
		snprintf(what, sizeof(what), "%s.%s, %" PRIu64 " items", row->message, row->field, counts[i]);
		outcome = ask(scene, &asked, what);
		if (is_legal)
			raw_check(!outcome.has_closed && outcome.code != HUGEPOOL__CODE__TOO_MANY &&
					  outcome.code != HUGEPOOL__CODE__BAD_REQUEST,
				  "%s: refused with code %d", what, outcome.code);
		else
			raw_check(outcome.code == HUGEPOOL__CODE__BAD_REQUEST ||
					  (!outcome.has_closed && outcome.code == HUGEPOOL__CODE__TOO_MANY),
				  "%s: code %d", what, outcome.code);
	}
}

static void try_field(struct scene *scene, const struct field_row *row)
{
	struct field_request asked;

	field_request_make(&asked, row, &scene->world);
	if (asked.n)
		try_lengths(scene, row);
	switch (asked.field->type) {
	case PROTOBUF_C_TYPE_STRING:
		try_texts(scene, row);
		return;
	case PROTOBUF_C_TYPE_BYTES:
		try_bytes(scene, row);
		return;
	case PROTOBUF_C_TYPE_MESSAGE:
		return; /* its own fields have rows */
	default:
		try_numbers(scene, row);
	}
}

static void hold_a_name(struct raw *raw, struct field_world *world)
{
	struct raw_request ask_held;
	Hugepool__Reply *reply;

	raw_ask_alloc(&ask_held, 1);
	ask_held.alloc.pool = world->pool;
	ask_held.alloc.name = (char *)"held";
	reply = raw_call(raw, &ask_held.request);
	raw_check(reply->alloc, "no lease to hold: %s", reply->error ? reply->error->message : "?");
	world->lease = reply->alloc->grants[0]->lease;
	raw_say_received(raw);
	raw_drop(reply);
}

/* Every one in turn; then the daemon is as it was. */
static void try_all_fields(unsigned n_pools)
{
	struct scene scene = {.world = {.pool = n_pools - 1, .n_workers = N_WORKERS}};
	struct raw holder;

	start_with_pools(&dut, n_pools);
	open_scene(&scene);
	raw_open(&holder, &dut);
	hold_a_name(&holder, &scene.world);
	for (unsigned i = 0; i < n_field_rows; i++) {
		/* What is resized is the asker's own. */
		if (strcmp(field_rows[i].message, "Resize") == 0)
			scene.world.lease = alloc_from(&scene.raw, scene.world.pool, 1);
		try_field(&scene, &field_rows[i]);
		if (strcmp(field_rows[i].message, "Resize") == 0)
			assert_int_equal(raw_free(&scene.raw, scene.world.lease), HUGEPOOL__CODE__OK);
	}
	for (unsigned i = 0; i < n_pools; i++) {
		char name[16];

		snprintf(name, sizeof(name), "p%u", i);
		dut_wait_pool(&dut, name, "pages_leased", i + 1 == n_pools ? 1 : 0);
		assert_int_equal(dut_pool(&dut, name, "pages_orphaned"), 0);
		raw_free(&scene.raw, alloc_from(&scene.raw, i, 1));
	}
	raw_close(&holder);
	raw_close(&scene.raw);
	dut_stop(&dut);
}

static void fields_at_their_edges_harm_nobody(void **state)
{
	try_all_fields(1);
}

static void fields_at_their_edges_harm_nobody_in_all_pools(void **state)
{
	try_all_fields(POOLS_MAX);
}

static bool has_row(const char *message, const char *field)
{
	for (unsigned i = 0; i < n_field_rows; i++)
		if (strcmp(field_rows[i].message, message) == 0 && strcmp(field_rows[i].field, field) == 0)
			return true;
	return false;
}

static void expect_rows(const ProtobufCMessageDescriptor *message)
{
	for (unsigned i = 0; i < message->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &message->fields[i];

		const bool is_method =
			message == &hugepool__request__descriptor && field->type == PROTOBUF_C_TYPE_MESSAGE;

		if (!is_method && !has_row(message->short_name, field->name))
			fail_msg("system_edges_fields.c has no row for %s.%s", message->short_name,
				 field->name);
		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			expect_rows(field->descriptor);
	}
}

static void fields_have_a_row_each(void **state)
{
	expect_rows(&hugepool__request__descriptor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fields_have_a_row_each),
		cmocka_unit_test_teardown(fields_at_their_edges_harm_nobody, dut_kill_all),
		cmocka_unit_test_teardown(fields_at_their_edges_harm_nobody_in_all_pools, dut_kill_all),
		cmocka_unit_test_teardown(the_last_of_all_pools_tells_of_pressure, dut_kill_all),
		cmocka_unit_test_teardown(nodes_that_the_host_lacks_are_refused, dut_kill_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

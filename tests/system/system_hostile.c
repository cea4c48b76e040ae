/* system_hostile.c - requests that make no sense, one at a time: each gets its error and its sentence, and
 * changes nothing for anybody. Floods, stalls and exhaustion are in system_flood.c.
 */
#include <config.h>

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/wait.h"
#include "tests/system/system_hostile_scene.h"

#define NEVER_A_LEASE UINT64_C(0x7fffffffffffffff)
#define NEVER_A_POOL  3

static void run_in_child(struct scene *scene, uid_t uid, void (*run)(void *arg))
{
	raw_join(raw_fork(scene_uid(uid), run, scene));
}

/* The Alloc of one item that must fail. */
static void refuse(struct raw *raw, uint32_t pool, uint64_t n_pages, uint64_t align, Hugepool__Code code,
		   const char *words)
{
	struct raw_request ask;

	raw_ask_alloc(&ask, n_pages);
	ask.alloc.pool = pool;
	ask.alloc.align_pages = align;
	raw_expect_error(raw, &ask.request, code, words);
}

static void refuse_batch(struct raw *raw, uint64_t *n_pages, size_t n, Hugepool__Code code, const char *words)
{
	struct raw_request ask;

	raw_ask_alloc(&ask, 0);
	ask.alloc.n_pages = n_pages;
	ask.alloc.n_n_pages = n;
	raw_expect_error(raw, &ask.request, code, words);
}

/* ---- sizes, pools, batches, names ---- */

static void ask_absurd_sizes(void *arg)
{
	struct scene *scene = arg;
	uint64_t batch[257];
	struct raw raw;

	raw_open(&raw, &scene->dut);
	refuse(&raw, SCENE_DEFAULT, 0, 0, HUGEPOOL__CODE__BAD_SIZE,
	       "0 pages: pool default leases pages of 4K, from 1 to 16384 pages");
	refuse(&raw, SCENE_DEFAULT, SCENE_DEFAULT_PAGES + 1, 0, HUGEPOOL__CODE__BAD_SIZE, "16385 pages");
	refuse(&raw, SCENE_DEFAULT, UINT64_MAX, 0, HUGEPOOL__CODE__BAD_SIZE, "18446744073709551615 pages");
	refuse(&raw, SCENE_DEFAULT, UINT64_C(1) << 32, 0, HUGEPOOL__CODE__BAD_SIZE, "4294967296 pages");
	refuse(&raw, SCENE_DEFAULT, UINT64_MAX / 4096 + 2, 0, HUGEPOOL__CODE__BAD_SIZE, "leases pages of");
	refuse(&raw, SCENE_DEFAULT, 1, 3, HUGEPOOL__CODE__BAD_SIZE,
	       "alignment of 3 pages (12K): a power of two");
	refuse(&raw, SCENE_DEFAULT, 1, UINT64_C(1) << 63, HUGEPOOL__CODE__BAD_SIZE,
	       "alignment of 9223372036854775808");
	refuse(&raw, SCENE_DEFAULT, 1, UINT64_MAX, HUGEPOOL__CODE__BAD_SIZE, "a power of two");
	refuse(&raw, SCENE_DEFAULT, 1, 2 * SCENE_DEFAULT_PAGES, HUGEPOOL__CODE__BAD_SIZE,
	       "at most the pool's 16384");

	for (unsigned i = 0; i < 257; i++)
		batch[i] = 1;
	refuse_batch(&raw, batch, 257, HUGEPOOL__CODE__TOO_MANY, "at most 256 items in one Alloc");
	refuse_batch(&raw, batch, 0, HUGEPOOL__CODE__BAD_REQUEST, "at least one item");
	batch[255] = 0;
	refuse_batch(&raw, batch, 256, HUGEPOOL__CODE__BAD_SIZE, "0 pages");
	/* Each fits, together they do not: whatever was taken on the way is given back. */
	for (unsigned i = 0; i < 256; i++)
		batch[i] = SCENE_DEFAULT_PAGES / 8;
	refuse_batch(&raw, batch, 256, HUGEPOOL__CODE__POOL_FULL, "ask for less, or raise its max");
	raw_free(&raw, raw_alloc(&raw, 1));
	raw_close(&raw);
}

static void sizes_absurd_are_refused(struct scene *scene)
{
	run_in_child(scene, 0, ask_absurd_sizes);
	dut_wait_pool(&scene->dut, "default", "pages_orphaned", 0);
}

static void ask_closed_pool(void *arg)
{
	struct scene *scene = arg;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	refuse(&raw, SCENE_CLOSED, 1, 0, HUGEPOOL__CODE__NOT_ALLOWED, "pool closed does not admit you");
	raw_close(&raw);
}

static void ask_unknown_pools(void *arg)
{
	struct scene *scene = arg;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	refuse(&raw, NEVER_A_POOL, 1, 0, HUGEPOOL__CODE__NO_POOL, "there is no pool number 3");
	refuse(&raw, UINT32_MAX, 1, 0, HUGEPOOL__CODE__NO_POOL, "there is no pool number 4294967295");
	raw_close(&raw);
}

/* Fails without pool_admits() in session_get_zone() of lease/session.c. */
static void pool_unknown_or_closed_is_refused(struct scene *scene)
{
	run_in_child(scene, 0, ask_unknown_pools);
	if (geteuid() == 0)
		run_in_child(scene, UID_HOSTILE, ask_closed_pool);
}

static Hugepool__Reply *alloc_named(struct raw *raw, const char *name, size_t n_items)
{
	uint64_t n_pages[2] = {1, 1};
	struct raw_request ask;

	raw_ask_alloc(&ask, 1);
	ask.alloc.n_pages = n_pages;
	ask.alloc.n_n_pages = n_items;
	ask.alloc.name = (char *)name;
	return raw_call(raw, &ask.request);
}

static void refuse_name(struct raw *raw, const char *name, size_t n_items, Hugepool__Code code,
			const char *words)
{
	Hugepool__Reply *reply = alloc_named(raw, name, n_items);

	raw_check(reply->error && reply->error->code == code && strstr(reply->error->message, words),
		  "a name of %zu bytes: %s", strlen(name), reply->error ? reply->error->message : "granted");
	raw_drop(reply);
}

static void ask_odd_names(void *arg)
{
	struct scene *scene = arg;
	static char name[65001];
	struct raw raw;

	raw_open(&raw, &scene->dut);
	raw_drop(alloc_named(&raw, "taken", 1));
	raw_say_received(&raw);
	refuse_name(&raw, "taken", 1, HUGEPOOL__CODE__NAME_TAKEN, "a lease named \"taken\" exists");
	refuse_name(&raw, "0123", 1, HUGEPOOL__CODE__BAD_REQUEST, "something else than digits");
	refuse_name(&raw, "two", 2, HUGEPOOL__CODE__BAD_REQUEST, "only with exactly one");
	memset(name, 'x', sizeof(name) - 1);
	refuse_name(&raw, name, 1, HUGEPOOL__CODE__BAD_REQUEST, "at most 255 bytes");
	name[256] = 0;
	refuse_name(&raw, name, 1, HUGEPOOL__CODE__BAD_REQUEST, "at most 255 bytes");
	name[255] = 0;
	raw_drop(alloc_named(&raw, name, 1));
	raw_drop(alloc_named(&raw, "", 2));
	/* What is no UTF-8, and what a terminal would obey. */
	refuse_name(&raw, "\xff\xfe odd \xc3", 1, HUGEPOOL__CODE__BAD_REQUEST, "UTF-8");
	refuse_name(&raw, "\033[2J\r\n\"evil\"", 1, HUGEPOOL__CODE__BAD_REQUEST, "without control");
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
}

static void names_odd_are_refused_or_listed_harmlessly(struct scene *scene)
{
	const char *leases[] = {"leases", NULL};
	pid_t child = raw_fork(0, ask_odd_names, scene);
	unsigned n_named = 0;
	const json_t *lease;
	json_t *list;
	char *table;
	size_t i;

	scene_wait_step(scene, 1);
	list = dut_json(&scene->dut, "leases");
	json_array_foreach (json_object_get(list, "leases"), i, lease)
		n_named += json_string_length(json_object_get(lease, "name")) > 0;
	json_decref(list);
	assert_int_equal(n_named, 2);
	assert_int_equal(dut_ctl(&scene->dut, 0, leases, &table, NULL), 0);
	assert_null(strchr(table, '\033'));
	assert_null(strchr(table, '\r'));
	free(table);
	scene_set_step(scene, 2);
	raw_join(child);
}

/* ---- freeing ---- */

static void hold_one(void *arg)
{
	struct scene *scene = arg;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	scene->shared->lease = raw_alloc(&raw, 10);
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
	raw_check(raw_free(&raw, scene->shared->lease) == HUGEPOOL__CODE__OK,
		  "the lease was not ours any more");
	raw_close(&raw);
}

static void refuse_free(struct raw *raw, uint64_t lease, Hugepool__Code code, const char *words)
{
	struct raw_request ask;
	Hugepool__Reply *reply = raw_call(raw, raw_ask_free(&ask, lease));
	const Hugepool__Error *error;

	raw_check(reply->free && reply->free->n_failures == 1, "lease %" PRIu64 " could be freed", lease);
	error = reply->free->failures[0]->error;
	raw_check(error->code == code && strstr(error->message, words), "lease %" PRIu64 ": %d, %s", lease,
		  error->code, error->message);
	raw_drop(reply);
}

static void free_what_root_holds(void *arg)
{
	struct scene *scene = arg;
	uint64_t lease = scene->shared->lease;
	struct raw raw;

	/* Two: one meets the record's worker, the other not. */
	for (unsigned i = 0; i < 2; i++) {
		raw_open(&raw, &scene->dut);
		if (getuid() == 0)
			refuse_free(&raw, lease, HUGEPOOL__CODE__NOT_HOLDER, "is held by process");
		else
			refuse_free(&raw, lease, HUGEPOOL__CODE__NOT_ALLOWED, "is another user's");
		raw_close(&raw);
	}
}

/* Fails without the comparison of sessions in lease_find() of lease/lease.c, and without that of users or
 * that of states in lease_free_detached(). */
static void free_of_anothers_lease_is_refused(struct scene *scene)
{
	pid_t holder = raw_fork(0, hold_one, scene);

	scene_wait_step(scene, 1);
	run_in_child(scene, 0, free_what_root_holds);
	if (geteuid() == 0)
		run_in_child(scene, UID_HOSTILE, free_what_root_holds);
	scene_set_step(scene, 2);
	raw_join(holder);
}

static void free_oddly(void *arg)
{
	struct scene *scene = arg;
	uint64_t odd[257] = {0}, lease;
	struct raw_request ask;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	lease = raw_alloc(&raw, 3);
	refuse_free(&raw, 0, HUGEPOOL__CODE__NO_LEASE, "there never was a lease 0");
	refuse_free(&raw, UINT64_MAX, HUGEPOOL__CODE__NO_LEASE,
		    "there never was a lease 18446744073709551615");
	refuse_free(&raw, NEVER_A_LEASE, HUGEPOOL__CODE__NO_LEASE, "there never was");
	refuse_free(&raw, lease + (UINT64_C(1) << 24), HUGEPOOL__CODE__NO_LEASE,
		    "there never was"); /* its slot's next */
	raw_check(raw_free(&raw, lease) == HUGEPOOL__CODE__OK, "it was ours, once");
	raw_check(raw_free(&raw, lease) == HUGEPOOL__CODE__OK, "it was ours, once");

	raw_ask_free(&ask, 0);
	ask.free.leases = odd;
	ask.free.n_leases = 257;
	raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__TOO_MANY, "at most 256 items in one Free");
	raw_ask_free(&ask, 0);
	ask.free.n_leases = 0;
	raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__BAD_REQUEST, "either lease ids or a name");
	raw_ask_free(&ask, 0);
	ask.free.name = (char *)"both";
	raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__BAD_REQUEST, "either lease ids or a name");
	ask.free.n_leases = 0;
	raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__NO_LEASE, "there is no lease named \"both\"");
	raw_close(&raw);
}

static void free_of_what_is_not_there_is_refused(struct scene *scene)
{
	run_in_child(scene, 0, free_oddly);
}

static void free_one_twice_in_one_batch(void *arg)
{
	struct scene *scene = arg;
	uint64_t ids[256], other;
	struct raw_request ask;
	Hugepool__Reply *reply;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	ids[0] = raw_alloc(&raw, 3);
	other = raw_alloc(&raw, 3);
	for (unsigned i = 1; i < 256; i++)
		ids[i] = ids[0];
	raw_ask_free(&ask, 0);
	ask.free.leases = ids;
	ask.free.n_leases = 256;
	reply = raw_call(&raw, &ask.request);
	raw_check(reply->free && reply->free->n_failures == 0, "an ended lease's free has failed");
	raw_drop(reply);
	raw_check(raw_free(&raw, other) == HUGEPOOL__CODE__OK, "another lease was hit");
	raw_close(&raw);
}

static void free_many_times_in_one_batch_frees_once(struct scene *scene)
{
	run_in_child(scene, 0, free_one_twice_in_one_batch);
}

/* ---- frames ---- */

/* Send this frame on a new connection: it must be answered, and closed. */
static void break_off(struct scene *scene, const uint8_t header[8], const void *bytes, size_t n,
		      const char *words)
{
	struct raw raw;

	raw_connect(&raw, &scene->dut);
	raw_send_frame(&raw, header, bytes, n);
	raw_receive_error(&raw, HUGEPOOL__CODE__BAD_REQUEST, words);
	raw_expect_closed(&raw);
	raw_close(&raw);
}

static void frames_malformed_are_answered_and_closed(struct scene *scene)
{
	static const uint8_t headers[][8] = {
		{0x01, 0x00, 0x01, 0x00},                 /* 65537 bytes */
		{0xff, 0xff, 0xff, 0xff},                 /* 4 GiB */
		{0x00, 0x00, 0x00, 0x80},                 /* negative */
		{2, 0, 0, 0, 0, 1},                       /* flags */
		{2, 0, 0, 0, 0, 0x80},                    /* flags */
		{2, 0, 0, 0, 0, 0, 1},                    /* reserved */
		{2, 0, 0, 0, 0, 0, 0, 0x80},              /* reserved */
		{2, 0, 0, 0, 1},                          /* a descriptor */
		{2, 0, 0, 0, 16},                         /* descriptors */
		{2, 0, 0, 0, 255},                        /* more than there can be */
		{'G', 'E', 'T', ' ', '/', ' ', 'H', 'T'}, /* another protocol */
	};
	static uint8_t rest[65537];

	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++) {
		break_off(scene, headers[i], "", 0, "not a hugepool frame");
		break_off(scene, headers[i], rest, i % 2 ? 2 : sizeof(rest), "not a hugepool frame");
	}
}

static size_t put_header(uint8_t header[8], size_t length)
{
	frame_header_put(header, &(struct frame_header){.length = (uint32_t)length});
	return length;
}

static void protobuf_garbage_is_answered_and_closed(struct scene *scene)
{
	static uint8_t bytes[65536];
	uint8_t header[8];

	/* A field that ends in nothing; lengths past the end; a group; a varint without end. */
	break_off(scene, header, "\x08", put_header(header, 1), "not a hugepool.Request");
	break_off(scene, header, "\x22\x7f", put_header(header, 2), "not a hugepool.Request");
	break_off(scene, header, "\x22\xff\xff\xff\xff\x0f", put_header(header, 6), "not a hugepool.Request");
	break_off(scene, header, "\x0b\x0c", put_header(header, 2), "not a hugepool.Request");
	memset(bytes, 0xff, sizeof(bytes));
	break_off(scene, header, bytes, put_header(header, sizeof(bytes)), "not a hugepool.Request");
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * i >> 3 | 0x80);
	break_off(scene, header, bytes, put_header(header, sizeof(bytes)), "not a hugepool.Request");
}

/* 64 KiB of `unit` again and again, inside field `field` of a Request unless that is 0. */
static size_t fill(uint8_t *bytes, uint8_t field, const char *unit, size_t n_unit)
{
	size_t at = 0;

	if (field) {
		bytes[at++] = (uint8_t)(field << 3 | 2);
		/* The length of what follows, in three bytes. */
		bytes[at++] = (uint8_t)((65536 - 4) & 0x7f) | 0x80;
		bytes[at++] = (uint8_t)((65536 - 4) >> 7 & 0x7f) | 0x80;
		bytes[at++] = (uint8_t)((65536 - 4) >> 14);
	}
	while (at + n_unit <= 65536) {
		memcpy(bytes + at, unit, n_unit);
		at += n_unit;
	}
	/* Padding that is part of a length would not be: only whole units fit the callers' lengths. */
	return at;
}

static void protobuf_bombs_are_refused_in_little_memory(struct scene *scene)
{
	static const struct {
		uint8_t field;
		const char *unit;
		size_t n_unit;
	} bombs[] = {
		{0, "\x22\x00", 2},         /* empty Allocs, merged one into another */
		{0, "\xf8\x3e\x00\x00", 4}, /* unknown fields */
		{0, "\x2a\x02\x12\x00", 4}, /* Frees with an empty name each */
		{4, "\x10\x01", 2},         /* unpacked n_pages in one Alloc */
		{4, "\x12\x02\x01\x01", 4}, /* packed n_pages, many little packs */
		{5, "\x08\x01", 2},         /* unpacked ids in one Free */
		{3, "\x98\x06", 2},         /* unknown fields in a Hello, a little wrong */
	};
	static uint8_t bytes[65536];
	uint8_t header[8];

	for (unsigned round = 0; round < 20; round++)
		for (size_t i = 0; i < sizeof(bombs) / sizeof(bombs[0]); i++) {
			size_t n = fill(bytes, bombs[i].field, bombs[i].unit, bombs[i].n_unit);
			Hugepool__Reply *reply;
			struct raw raw;

			raw_connect(&raw, &scene->dut);
			put_header(header, n);
			raw_send_frame(&raw, header, bytes, n);
			reply = raw_receive(&raw, NULL);
			raw_check(reply && reply->error, "bomb %zu is not refused", i);
			raw_drop(reply);
			raw_close(&raw);
		}
	raw_check(scene_grown_bytes(scene) < 8 << 20, "the daemon has grown by %" PRIu64 " bytes",
		  scene_grown_bytes(scene));
}

static void ask_in_other_words(void *arg)
{
	static const uint8_t unknown_method[] = {0x08, 42, 0xa2, 0x1f, 0x00}; /* id 42, field 500 */
	static const uint8_t unknown_field[] = {0x08, 43, 0xa0, 0x1f, 7,
						0x4a, 3,  0xa0, 0x1f, 7}; /* Status, twice */
	struct scene *scene = arg;
	Hugepool__Reply *reply;
	uint8_t header[8];
	struct raw raw;

	raw_open(&raw, &scene->dut);
	put_header(header, sizeof(unknown_method));
	raw_send_frame(&raw, header, unknown_method, sizeof(unknown_method));
	reply = raw_receive(&raw, NULL);
	raw_check(reply && reply->id == 42 && reply->error &&
			  reply->error->code == HUGEPOOL__CODE__UNKNOWN_METHOD &&
			  strstr(reply->error->message, "does not know that method"),
		  "an unknown method was not answered as such");
	raw_drop(reply);
	put_header(header, sizeof(unknown_field));
	raw_send_frame(&raw, header, unknown_field, sizeof(unknown_field));
	reply = raw_receive(&raw, NULL);
	raw_check(reply && reply->id == 43 && reply->status, "an unknown field was not ignored");
	raw_drop(reply);
	/* Nothing at all is a request without a method, and the connection is still good for more. */
	put_header(header, 0);
	raw_send_frame(&raw, header, "", 0);
	raw_receive_error(&raw, HUGEPOOL__CODE__UNKNOWN_METHOD, "does not know that method");
	raw_free(&raw, raw_alloc(&raw, 1));
	raw_close(&raw);
}

static void requests_of_a_later_version_are_answered(struct scene *scene)
{
	run_in_child(scene, 0, ask_in_other_words);
}

/* ---- Hello and Bye ---- */

static void ask_before_hello(void *arg)
{
	struct scene *scene = arg;
	struct raw_request ask;
	struct raw raw;

	raw_connect(&raw, &scene->dut);
	raw_expect_error(&raw, raw_ask_alloc(&ask, 1), HUGEPOOL__CODE__NOT_HELLO, "Alloc: say Hello first");
	raw_expect_error(&raw, raw_ask_free(&ask, 1), HUGEPOOL__CODE__NOT_HELLO, "say Hello first");
	raw_expect_error(&raw, raw_ask_arena(&ask, 1), HUGEPOOL__CODE__NOT_HELLO, "say Hello first");
	raw_expect_error(&raw, raw_ask_received(&ask), HUGEPOOL__CODE__NOT_HELLO, "say Hello first");
	raw_expect_error(&raw, raw_ask_bye(&ask), HUGEPOOL__CODE__NOT_HELLO, "say Hello first");
	raw_expect_error(&raw, raw_ask_status(&ask), HUGEPOOL__CODE__NOT_HELLO, "say Hello first");
	raw_ask_hello(&ask);
	ask.hello.version = 0;
	raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__BAD_REQUEST, "version is missing");
	raw_ask_hello(&ask);
	ask.hello.version = UINT32_MAX; /* a later client's: we say what we speak */
	ask.hello.features = UINT64_MAX;
	raw_drop(raw_call(&raw, &ask.request));
	raw_expect_error(&raw, raw_ask_hello(&ask), HUGEPOOL__CODE__NOT_HELLO,
			 "this connection has a session");
	raw_free(&raw, raw_alloc(&raw, 1));
	raw_close(&raw);
}

static void hello_missing_or_twice_is_refused(struct scene *scene)
{
	run_in_child(scene, 0, ask_before_hello);
}

static void ask_after_bye(void *arg)
{
	struct scene *scene = arg;
	struct raw_request ask;
	uint8_t bytes[256];
	Hugepool__Reply *reply;
	bool bye = false;
	size_t n = 0;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	raw_alloc(&raw, 5);
	/* In one write, so that they are read in one turn. */
	raw_ask_bye(&ask)->id = 100;
	n = raw_pack(&ask.request, bytes, n, sizeof(bytes));
	raw_ask_alloc(&ask, 1)->id = 101;
	n = raw_pack(&ask.request, bytes, n, sizeof(bytes));
	raw_ask_bye(&ask)->id = 102;
	n = raw_pack(&ask.request, bytes, n, sizeof(bytes));
	raw_check(raw_send_bytes(&raw, bytes, n, WAIT_MAX_MS) == n, "cannot send");
	while ((reply = raw_receive(&raw, NULL))) {
		raw_check((reply->id == 100) == !reply->error, "request %" PRIu64 ": %s", reply->id,
			  reply->error ? reply->error->message : "granted after Bye");
		bye |= reply->id == 100;
		raw_drop(reply);
	}
	raw_check(bye, "Bye was not answered");
	raw_close(&raw);
	scene_set_step(scene, 1);
	scene_wait_step(scene, 2);
}

static void bye_ends_leases_while_the_process_lives(struct scene *scene)
{
	pid_t child = raw_fork(0, ask_after_bye, scene);

	scene_wait_step(scene, 1);
	scene_wait_sessions(scene, 2); /* the bystander's */
	scene_set_step(scene, 2);
	raw_join(child);
}

static void ask_hello_of(struct raw_request *ask, uint64_t session, const uint8_t *token, size_t n_bytes)
{
	raw_ask_hello(ask);
	ask->hello.session = session;
	ask->hello.token.data = (uint8_t *)token;
	ask->hello.token.len = n_bytes;
}

static void expect_no_session(const struct scene *scene, uint64_t session, const uint8_t *token,
			      size_t n_bytes)
{
	struct raw_request ask;
	struct raw raw;

	raw_connect(&raw, &scene->dut);
	ask_hello_of(&ask, session, token, n_bytes);
	raw_expect_error(&raw, &ask.request, HUGEPOOL__CODE__NO_SESSION, "start a new one");
	/* It may start one now, wherever the connection has gone. */
	raw_drop(raw_call(&raw, raw_ask_hello(&ask)));
	raw_free(&raw, raw_alloc(&raw, 1));
	raw_close(&raw);
}

static void claim_anothers_session(void *arg)
{
	struct scene *scene = arg;

	expect_no_session(scene, scene->shared->session, scene->shared->token, 16);
}

static void hold_session(void *arg)
{
	struct scene *scene = arg;
	struct scene_shared *shared = scene->shared;
	uint8_t long_token[64] = {0}, wrong[16];
	struct raw_request ask;
	Hugepool__Reply *reply;
	struct raw raw, again;

	raw_open(&raw, &scene->dut);
	shared->lease = raw_alloc(&raw, 7);
	shared->session = raw.session;
	memcpy(shared->token, raw.token, sizeof(raw.token));
	memcpy(long_token, raw.token, sizeof(raw.token));
	memcpy(wrong, raw.token, sizeof(wrong));
	wrong[15] ^= 1;
	scene_set_step(scene, 1);

	expect_no_session(scene, raw.session, NULL, 0);
	expect_no_session(scene, raw.session, raw.token, 15);
	expect_no_session(scene, raw.session, long_token, 17);
	expect_no_session(scene, raw.session, long_token, 64);
	expect_no_session(scene, raw.session, wrong, 16);
	expect_no_session(scene, raw.session + 64, raw.token, 16); /* the worker's next */
	expect_no_session(scene, raw.session ^ 1, raw.token, 16);  /* of the other worker */
	expect_no_session(scene, raw.session | 63, raw.token, 16); /* of a worker that is not there */
	expect_no_session(scene, UINT64_MAX, raw.token, 16);
	/* Not even a child of our own. */
	raw_join(raw_fork(0, claim_anothers_session, scene));

	scene_wait_step(scene, 2);
	raw_check(raw_is_silent(&raw, 0), "our connection was touched");
	raw_connect(&again, &scene->dut);
	ask_hello_of(&ask, raw.session, raw.token, 16);
	reply = raw_call(&again, &ask.request);
	raw_check(reply->hello && reply->hello->continued, "our own session is not ours: %s",
		  reply->error ? reply->error->message : "not continued");
	raw_drop(reply);
	raw_expect_closed(&raw);
	raw_check(raw_free(&again, shared->lease) == HUGEPOOL__CODE__OK, "the lease is gone");
	raw_close(&again);
	raw_close(&raw);
}

/* Fails without the comparison of tokens, and without that of pids, in session_is_claimed_by() of
 * lease/session.c. */
static void session_of_another_process_is_not_continued(struct scene *scene)
{
	pid_t holder = raw_fork(0, hold_session, scene);

	scene_wait_step(scene, 1);
	run_in_child(scene, 0, claim_anothers_session);
	if (geteuid() == 0)
		run_in_child(scene, UID_HOSTILE, claim_anothers_session);
	scene_set_step(scene, 2);
	raw_join(holder);
}

static void ask_as_admin(void *arg)
{
	struct scene *scene = arg;
	struct raw_request ask;
	struct raw raw;

	raw_open(&raw, &scene->dut);
	raw_expect_error(&raw, raw_ask_status(&ask), HUGEPOOL__CODE__NOT_ALLOWED,
			 "only who administers hugepoold");
	raw_expect_error(&raw, raw_ask_arena(&ask, 1), HUGEPOOL__CODE__NO_ARENA, "shown no such arena");
	raw_expect_error(&raw, raw_ask_arena(&ask, 0), HUGEPOOL__CODE__NO_ARENA, "shown no such arena");
	raw_close(&raw);
}

/* Fails without server_is_admin() in dispatch() of rpc/dispatch.c. */
static void admin_calls_of_others_are_refused(struct scene *scene)
{
	dut_need_root();
	run_in_child(scene, UID_HOSTILE, ask_as_admin);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SCENE_TEST(sizes_absurd_are_refused),
		SCENE_TEST(pool_unknown_or_closed_is_refused),
		SCENE_TEST(names_odd_are_refused_or_listed_harmlessly),
		SCENE_TEST(free_of_anothers_lease_is_refused),
		SCENE_TEST(free_of_what_is_not_there_is_refused),
		SCENE_TEST(free_many_times_in_one_batch_frees_once),
		SCENE_TEST(frames_malformed_are_answered_and_closed),
		SCENE_TEST(protobuf_garbage_is_answered_and_closed),
		SCENE_TEST(protobuf_bombs_are_refused_in_little_memory),
		SCENE_TEST(requests_of_a_later_version_are_answered),
		SCENE_TEST(hello_missing_or_twice_is_refused),
		SCENE_TEST(bye_ends_leases_while_the_process_lives),
		SCENE_TEST(session_of_another_process_is_not_continued),
		SCENE_TEST(admin_calls_of_others_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* system_name.c - what leases can be called, by whom, and who can be sure of whom. Raw clients of several
 * users: the library would not send all of this.
 */
#include <config.h>

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/dut.h"
#include "tests/support/raw.h"

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define POOL          DUT_WORDS("--pool", "p=4K:16M,arena=1M,users=*", "--workers", "2")

enum { ALICE = 1001, BOB = 1002 };

/* ---- requests ---- */

static Hugepool__Reply *alloc_named(struct raw *raw, const char *name, uint32_t mode)
{
	struct raw_request ask;

	raw_ask_alloc(&ask, 1);
	ask.alloc.name = (char *)(uintptr_t)name;
	ask.alloc.mode = mode;
	return raw_call(raw, &ask.request);
}

static Hugepool__Reply *send_open(struct raw *raw, const char *name, const uint32_t *uid)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Open open = HUGEPOOL__OPEN__INIT;

	open.name = (char *)(uintptr_t)name;
	if (uid)
		open.owner_case = HUGEPOOL__OPEN__OWNER_UID;
	open.uid = uid ? *uid : 0;
	request.method_case = HUGEPOOL__REQUEST__METHOD_OPEN;
	request.open = &open;
	return raw_call(raw, &request);
}

static Hugepool__Reply *open_named(struct raw *raw, const char *name)
{
	return send_open(raw, name, NULL);
}

/* Only if this user has made it. */
static Hugepool__Reply *open_of(struct raw *raw, const char *name, uint32_t uid)
{
	return send_open(raw, name, &uid);
}

static Hugepool__Reply *free_named(struct raw *raw, const char *name)
{
	struct raw_request ask;

	raw_ask_free(&ask, 0);
	ask.free.n_leases = 0;
	ask.free.name = (char *)(uintptr_t)name;
	return raw_call(raw, &ask.request);
}

static Hugepool__Reply *drain_named(struct raw *raw, const char *name)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Drain drain = HUGEPOOL__DRAIN__INIT;

	drain.pool = (char *)(uintptr_t)name;
	request.method_case = HUGEPOOL__REQUEST__METHOD_DRAIN;
	request.drain = &drain;
	return raw_call(raw, &request);
}

/* Take the reply: it must be this error; -1: no error. */
static void check_reply(Hugepool__Reply *reply, int code, const char *words)
{
	if (code < 0)
		raw_check(!reply->error, "refused: %s", reply->error ? reply->error->message : "");
	else
		raw_check(reply->error && (int)reply->error->code == code &&
				  strstr(reply->error->message, words),
			  "expected error %d about \"%s\", got %d: %s", code, words,
			  reply->error ? (int)reply->error->code : -1,
			  reply->error ? reply->error->message : "");
	raw_drop(reply);
	/* raw_receive() has looked at every text of it. */
}

#define GRANTED (-1)
#define REFUSED HUGEPOOL__CODE__BAD_REQUEST

/* ---- any bytes ---- */

static const char *const odd_names[] = {
	"x\xff",
	"\xc0\x80",
	"\xed\xa0\x80x",
	"\xf4\x90\x80\x80",
	"cut \xe2\x82",
	"\x1b[2J",
	"tab\t",
	"two\nlines",
	"\x7f",
	"\xc2\x9bJ",
	"\xe2\x80\xaetxt.exe",
	"\xe2\x80\x8b",
	"\xe2\x80\x8f",
	"\xe2\x80\xa8",
	"\xe2\x81\xa7",
	"\xd8\x9c",
	"\xef\xbb\xbfx",
	"\xf3\xa0\x81\x81",
};

/* In all places where a name enters; and what is refused leaves no trace in anybody's list. */
static void ask_odd_names(void *arg)
{
	struct raw raw;

	raw_open(&raw, arg);
	for (size_t i = 0; i < LENGTH(odd_names); i++) {
		check_reply(alloc_named(&raw, odd_names[i], 0), REFUSED, "UTF-8");
		check_reply(open_named(&raw, odd_names[i]), REFUSED, "UTF-8");
		check_reply(free_named(&raw, odd_names[i]), REFUSED, "UTF-8");
		check_reply(drain_named(&raw, odd_names[i]), HUGEPOOL__CODE__NO_POOL, "there is no pool");
	}
	check_reply(open_named(&raw, ""), REFUSED, "at least one byte");
	check_reply(open_named(&raw, "12"), REFUSED, "digits");
	check_reply(alloc_named(&raw, "gr\xc3\xbc\xc3\x9f", 0), GRANTED, "");
	raw_say_received(&raw);
	check_reply(free_named(&raw, "gr\xc3\xbc\xc3\x9f"), GRANTED, "");
	raw_close(&raw);
}

/* A NUL byte ends a string in C, and none on the wire: "pg-buffers" is not what was asked for. */
static void ask_names_with_nul(void *arg)
{
	static const Hugepool__Request__MethodCase methods[] = {
		HUGEPOOL__REQUEST__METHOD_ALLOC, HUGEPOOL__REQUEST__METHOD_OPEN,
		HUGEPOOL__REQUEST__METHOD_FREE, HUGEPOOL__REQUEST__METHOD_DRAIN};
	struct raw raw;

	raw_open(&raw, arg);
	for (size_t i = 0; i < LENGTH(methods); i++) {
		Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
		Hugepool__Alloc alloc = HUGEPOOL__ALLOC__INIT;
		Hugepool__Open open = HUGEPOOL__OPEN__INIT;
		Hugepool__Free free_it = HUGEPOOL__FREE__INIT;
		Hugepool__Drain drain = HUGEPOOL__DRAIN__INIT;
		uint8_t bytes[256];
		size_t n;

		alloc.name = open.name = free_it.name = drain.pool = (char *)(uintptr_t) "p!gbuffers";
		request.id = 100 + i;
		request.method_case = methods[i];
		if (methods[i] == HUGEPOOL__REQUEST__METHOD_ALLOC)
			request.alloc = &alloc;
		else if (methods[i] == HUGEPOOL__REQUEST__METHOD_OPEN)
			request.open = &open;
		else if (methods[i] == HUGEPOOL__REQUEST__METHOD_FREE)
			request.free = &free_it;
		else
			request.drain = &drain;
		n = raw_pack(&request, bytes, 0, sizeof(bytes));
		*(uint8_t *)memchr(bytes, '!', n) = 0;
		raw_send_frame(&raw, bytes, bytes + FRAME_HEADER_BYTES, n - FRAME_HEADER_BYTES);
		raw_receive_error(&raw, HUGEPOOL__CODE__BAD_REQUEST, "NUL byte");
	}
	check_reply(open_named(&raw, "p"), HUGEPOOL__CODE__NO_LEASE, "no lease named");
	raw_close(&raw);
}

static void names_that_are_cut_by_a_nul_are_refused(void **state)
{
	struct dut dut;

	dut_start(&dut, POOL);
	raw_join(raw_fork(0, ask_names_with_nul, &dut));
	dut_stop(&dut);
}

static void names_that_are_not_plain_text_are_refused(void **state)
{
	struct dut dut;

	dut_start(&dut, POOL);
	raw_join(raw_fork(0, ask_odd_names, &dut));
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	dut_stop(&dut);
}

/* Characters of 2, 3 and 4 bytes at every offset: sentences that repeat the name are cut between two. */
static void ask_long_names(void *arg)
{
	static const char *const characters[] = {"\xc3\xbc", "\xe2\x82\xac", "\xf0\x9f\x98\x80"};
	struct raw raw;

	raw_open(&raw, arg);
	for (size_t c = 0; c < LENGTH(characters); c++) {
		for (size_t offset = 0; offset < 4; offset++) {
			char name[256] = "xyz";

			name[offset] = 0;
			while (strlen(name) + strlen(characters[c]) < sizeof(name))
				strcat(name, characters[c]);
			check_reply(alloc_named(&raw, name, 0), GRANTED, "");
			raw_say_received(&raw);
			check_reply(alloc_named(&raw, name, 0), HUGEPOOL__CODE__NAME_TAKEN, "...\" exists");
			check_reply(free_named(&raw, name), GRANTED, "");
			check_reply(open_named(&raw, name), HUGEPOOL__CODE__NO_LEASE, "...\"");
			check_reply(free_named(&raw, name), HUGEPOOL__CODE__NO_LEASE, "...\"");
			check_reply(drain_named(&raw, name), HUGEPOOL__CODE__NO_POOL, "...\"");
		}
	}
	raw_close(&raw);
}

static void sentences_are_cut_between_characters(void **state)
{
	struct dut dut;

	dut_start(&dut, POOL);
	raw_join(raw_fork(0, ask_long_names, &dut));
	dut_stop(&dut);
}

/* The client's word for itself, too. */
static void say_odd_hellos(void *arg)
{
	for (size_t i = 0; i < LENGTH(odd_names); i++) {
		Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
		Hugepool__Sessions sessions = HUGEPOOL__SESSIONS__INIT;
		struct raw_request ask;
		struct raw raw;

		raw_connect(&raw, arg);
		raw_ask_hello(&ask);
		ask.hello.client = (char *)(uintptr_t)odd_names[i];
		check_reply(raw_call(&raw, &ask.request), GRANTED, "");
		request.method_case = HUGEPOOL__REQUEST__METHOD_SESSIONS;
		request.sessions = &sessions;
		check_reply(raw_call(&raw, &request), GRANTED, "");
		raw_close(&raw);
	}
}

static void clients_are_shown_as_plain_text(void **state)
{
	struct dut dut;

	dut_start(&dut, POOL);
	raw_join(raw_fork(0, say_odd_hellos, &dut));
	dut_stop(&dut);
}

/* ---- whose name ---- */

static void make_names_of_alice(void *arg)
{
	struct raw raw;

	raw_open(&raw, arg);
	check_reply(alloc_named(&raw, "~/x", 0644), GRANTED, "");
	raw_say_received(&raw);
	check_reply(alloc_named(&raw, "~1001/x", 0644), HUGEPOOL__CODE__NAME_TAKEN, "\"~1001/x\" exists");
	check_reply(alloc_named(&raw, "~01001/y", 0), GRANTED, "");
	raw_say_received(&raw);
	check_reply(open_named(&raw, "~/y"), GRANTED, "");
	raw_say_received(&raw);
	check_reply(alloc_named(&raw, "~1002/x", 0), HUGEPOOL__CODE__NOT_ALLOWED, "~1002/ are uid 1002's");
	check_reply(alloc_named(&raw, "~0/x", 0), HUGEPOOL__CODE__NOT_ALLOWED, "uid 0's");
	check_reply(alloc_named(&raw, "~alice/x", 0), REFUSED, "~UID/NAME");
	check_reply(free_named(&raw, "~1001/y"), GRANTED, "");
	check_reply(free_named(&raw, "~/x"), GRANTED, "");
	raw_close(&raw);
}

static void name_belongs_to_the_user_in_whose_namespace_it_is(void **state)
{
	struct dut dut;

	dut_start(&dut, POOL);
	raw_join(raw_fork(ALICE, make_names_of_alice, &dut));
	dut_stop(&dut);
}

static void open_names_of_others(void *arg)
{
	Hugepool__Reply *reply;
	struct raw raw;

	raw_open(&raw, arg);
	check_reply(open_named(&raw, "~/x"), HUGEPOOL__CODE__NO_LEASE, "no lease named \"~1002/x\"");
	check_reply(alloc_named(&raw, "~/x", 0), GRANTED, "");
	raw_say_received(&raw);
	check_reply(open_named(&raw, "~1001/x"), HUGEPOOL__CODE__NOT_ALLOWED, "not open to uid 1002");
	reply = free_named(&raw, "~1001/x");
	raw_check(!reply->error && reply->free->n_failures == 1, "it was freed");
	raw_drop(reply);
	raw_close(&raw);
}

/* What is called x in one namespace has nothing to do with x in another, and none can be taken first. */
static void names_in_namespaces_do_not_meet(void **state)
{
	uint64_t lease;
	struct dut dut;
	json_t *list;
	pid_t holder;

	dut_start(&dut, POOL);
	holder = dut_hold(&dut, ALICE, DUT_WORDS("--name", "~/x", "--pool", "p", "4K"), &lease);
	list = dut_json(&dut, "leases");
	assert_string_equal(json_string_value(json_object_get(
				    json_array_get(json_object_get(list, "leases"), 0), "name")),
			    "~1001/x");
	json_decref(list);
	raw_join(raw_fork(BOB, open_names_of_others, &dut));
	assert_int_equal(kill(holder, SIGTERM), 0);
	dut_wait_child(holder);
	dut_stop(&dut);
}

/* ---- whose lease ---- */

static void open_of_anybody(void *arg)
{
	Hugepool__Reply *reply;
	struct raw raw;

	raw_open(&raw, arg);
	reply = open_named(&raw, "pg-buffers");
	raw_check(reply->open && reply->open->uid == ALICE && reply->open->mode == 0644,
		  "not said to be alice's");
	raw_drop(reply);
	raw_say_received(&raw);
	reply = open_of(&raw, "pg-buffers", ALICE);
	raw_check(reply->open && reply->open->uid == ALICE && reply->open->mode == 0644, "not alice's");
	raw_drop(reply);
	raw_say_received(&raw);
	check_reply(open_of(&raw, "pg-buffers", BOB), HUGEPOOL__CODE__NOT_ALLOWED,
		    "made by uid 1001, not by uid 1002");
	check_reply(open_of(&raw, "pg-buffers", 0), HUGEPOOL__CODE__NOT_ALLOWED, "not by uid 0");
	check_reply(open_of(&raw, "pg-buffers", UINT32_MAX), HUGEPOOL__CODE__NOT_ALLOWED, "made by uid 1001");
	check_reply(open_of(&raw, "nobody's", ALICE), HUGEPOOL__CODE__NO_LEASE, "no lease named");
	/* Who may not open it is not told whose it is. */
	check_reply(open_of(&raw, "secret", ALICE),
		    getuid() == 0 ? GRANTED : (int)HUGEPOOL__CODE__NOT_ALLOWED, "not open to uid 1002");
	raw_close(&raw);
}

static const json_t *find_row(const json_t *list, const char *name, bool opened)
{
	json_t *row;
	size_t i;

	json_array_foreach (json_object_get(list, "leases"), i, row)
		if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0 &&
		    json_is_true(json_object_get(row, "opened")) == opened)
			return row;
	fail_msg("%s is not listed", name);
	return NULL;
}

/* The library and hugepoolctl: demand the owner, and are told. */
static void open_by_hugepoolctl(const struct dut *dut)
{
	char *out, *error;
	uint64_t lease;
	json_t *list;
	pid_t holder;

	assert_int_equal(dut_ctl(dut, BOB, DUT_WORDS("open", "--read-only", "--owner", "1002", "pg-buffers"),
				 &out, &error),
			 1);
	assert_non_null(strstr(error, "made by uid 1001, not by uid 1002"));
	free(out);
	free(error);
	holder = dut_hold_by(dut, BOB, DUT_WORDS("open", "--read-only", "--owner", "1001", "pg-buffers"),
			     &lease);
	list = dut_json(dut, "leases");
	for (unsigned i = 0; i < 2; i++) {
		const json_t *row = find_row(list, "pg-buffers", i);

		assert_int_equal(json_integer_value(json_object_get(row, "uid")), i ? BOB : ALICE);
		assert_int_equal(json_integer_value(json_object_get(row, "owner_uid")), ALICE);
		assert_int_equal(json_integer_value(json_object_get(row, "mode")), 0644);
	}
	json_decref(list);
	assert_int_equal(kill(holder, SIGTERM), 0);
	dut_wait_child(holder);
}

static void name_is_opened_of_its_owner_only(void **state)
{
	pid_t holders[2];
	uint64_t lease;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	holders[0] = dut_hold(
		&dut, ALICE, DUT_WORDS("--name", "pg-buffers", "--mode", "644", "--pool", "p", "4K"), &lease);
	holders[1] = dut_hold(&dut, ALICE, DUT_WORDS("--name", "secret", "--pool", "p", "4K"), &lease);
	raw_join(raw_fork(BOB, open_of_anybody, &dut));
	raw_join(raw_fork(0, open_of_anybody, &dut));
	open_by_hugepoolctl(&dut);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(kill(holders[i], SIGTERM), 0);
		dut_wait_child(holders[i]);
	}
	dut_stop(&dut);
}

static void make_reserved_names(void *arg)
{
	struct raw raw;

	raw_open(&raw, arg);
	if (getuid() == BOB)
		check_reply(alloc_named(&raw, "x", 0), HUGEPOOL__CODE__NOT_ALLOWED, "name_users");
	else
		check_reply(alloc_named(&raw, "x", 0), GRANTED, "");
	raw_say_received(&raw);
	check_reply(alloc_named(&raw, "~/x", 0), GRANTED, "");
	raw_say_received(&raw);
	check_reply(alloc_named(&raw, "", 0), GRANTED, "");
	raw_close(&raw);
}

/* Others go on without, or in namespaces of their own. */
static void names_that_all_share_can_be_kept_to_some_users(void **state)
{
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", "p=4K:16M,arena=1M,users=*,name_users=1001"));
	raw_join(raw_fork(ALICE, make_reserved_names, &dut));
	raw_join(raw_fork(BOB, make_reserved_names, &dut));
	raw_join(raw_fork(0, make_reserved_names, &dut));
	dut_stop(&dut);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(names_that_are_not_plain_text_are_refused),
		TEST(names_that_are_cut_by_a_nul_are_refused),
		TEST(sentences_are_cut_between_characters),
		TEST(clients_are_shown_as_plain_text),
		TEST(name_belongs_to_the_user_in_whose_namespace_it_is),
		TEST(names_in_namespaces_do_not_meet),
		TEST(name_is_opened_of_its_owner_only),
		TEST(names_that_all_share_can_be_kept_to_some_users),
	};

	return cmocka_run_group_tests_name("system_name", tests, NULL, NULL);
}

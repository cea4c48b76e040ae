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

static Hugepool__Reply *open_named(struct raw *raw, const char *name)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Open open = HUGEPOOL__OPEN__INIT;

	open.name = (char *)(uintptr_t)name;
	request.method_case = HUGEPOOL__REQUEST__METHOD_OPEN;
	request.open = &open;
	return raw_call(raw, &request);
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
	"\xc2\x9b"
	"2J",
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

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(names_that_are_not_plain_text_are_refused),
		TEST(sentences_are_cut_between_characters),
		TEST(clients_are_shown_as_plain_text),
		TEST(name_belongs_to_the_user_in_whose_namespace_it_is),
		TEST(names_in_namespaces_do_not_meet),
	};

	return cmocka_run_group_tests_name("system_name", tests, NULL, NULL);
}

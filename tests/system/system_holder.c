/* system_holder.c - who holds a lease, and what becomes of it when its holder dies or is cut off (rule 2).
 *
 * A lost connection proves nothing: the lease is orphaned, charged, and nobody gets its pages. Death, which
 * the pidfd shows, ends it, whoever keeps the socket open.
 */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/lib/connection.h"
#include "tests/support/actor.h"

#define PAGE    UINT64_C(4096)
#define MIB     (UINT64_C(1) << 20)
#define NOBODY  65534
#define SOMEUID 12345

/* 8 MiB, one arena. */
#define POOL DUT_WORDS("--pool", "p=4K:8M,arena=8M,reserve=8M,users=*")

/* ---- death ---- */

static void holder_killed_gives_back_many_leases(void **state)
{
	const unsigned n_batches = 1 + dut_ops(64) / 8;
	uint64_t leases[ACTOR_MAX_BATCH];
	struct actor holder, witness;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&holder, SOMEUID, &dut);
	actor_start(&witness, SOMEUID, &dut);
	for (unsigned i = 0; i < n_batches && i < 8; i++)
		assert_int_equal(actor_alloc_batch(&holder, ACTOR_MAX_BATCH, PAGE, NULL, leases), 0);
	actor_fill(&holder, leases[0], 0xee);
	assert_true(dut_pool(&dut, "p", "leases") >= ACTOR_MAX_BATCH);
	actor_kill(&holder);
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_wait_pool(&dut, "p", "pages_leased", 0);

	/* All of it can be leased again, and is zero. */
	assert_int_equal(actor_alloc(&witness, 8 * MIB, NULL, leases), 0);
	assert_int_equal(actor_count_other(&witness, leases[0], 0), 0);
	actor_quit(&witness);
	dut_stop(&dut);
}

static void holder_dead_while_its_child_keeps_the_socket_ends(void **state)
{
	struct actor holder;
	uint64_t lease;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&holder, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&holder, MIB, NULL, &lease), 0);
	actor_fork(&holder);
	assert_int_equal(kill(holder.pid, SIGKILL), 0);
	dut_wait_child(holder.pid);
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
	close(holder.fd); /* ends the child */
	dut_stop(&dut);
}

/* ---- a connection lost ---- */

static void holder_cut_off_is_orphaned_and_comes_back(void **state)
{
	struct actor holder, rival;
	uint64_t lease, other;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&holder, SOMEUID, &dut);
	actor_start(&rival, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&holder, 5 * MIB, NULL, &lease), 0);
	actor_fill(&holder, lease, 0x5a);
	actor_break(&holder);
	dut_wait_pool(&dut, "p", "pages_orphaned", 5 * MIB / PAGE);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 0);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);

	/* The tenant's other process has the rest, and no more. */
	assert_true(actor_alloc(&rival, 4 * MIB, NULL, &other) < 0);
	assert_int_equal(actor_alloc(&rival, 3 * MIB, NULL, &other), 0);
	actor_fill(&rival, other, 0xa5);
	assert_int_equal(actor_count_other(&holder, lease, 0x5a), 0);
	assert_int_equal(actor_free_id(&rival, lease), -EACCES);

	/* Its next call mends the connection: the lease is the same one. */
	assert_int_equal(actor_free_id(&holder, other + 1000), -ENOENT);
	assert_int_equal(dut_pool(&dut, "p", "pages_orphaned"), 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 8 * MIB / PAGE);
	assert_int_equal(actor_count_other(&holder, lease, 0x5a), 0);
	assert_int_equal(actor_free(&holder, lease), 0);
	dut_wait_pool(&dut, "p", "pages_leased", 3 * MIB / PAGE);
	actor_quit(&holder);
	actor_quit(&rival);
	dut_stop(&dut);
}

static void holder_cut_off_again_and_again_loses_nothing(void **state)
{
	struct actor holder;
	uint64_t lease, more;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&holder, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&holder, MIB, NULL, &lease), 0);
	actor_fill(&holder, lease, 0x33);
	for (unsigned i = 0; i < 2 + dut_ops(48) / 2; i++) {
		actor_break(&holder);
		assert_int_equal(actor_alloc(&holder, PAGE, NULL, &more), 0);
		assert_int_equal(dut_pool(&dut, "p", "leases"), 2);
		actor_break(&holder);
		assert_int_equal(actor_free(&holder, more), 0);
	}
	assert_int_equal(dut_pool(&dut, "p", "leases"), 1);
	assert_int_equal(actor_count_other(&holder, lease, 0x33), 0);
	actor_quit(&holder);
	dut_wait_pool(&dut, "p", "leases", 0);
	dut_stop(&dut);
}

static void holder_orphaned_that_dies_gives_back(void **state)
{
	struct actor holder;
	uint64_t lease;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&holder, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&holder, 2 * MIB, NULL, &lease), 0);
	actor_break(&holder);
	dut_wait_pool(&dut, "p", "pages_orphaned", 2 * MIB / PAGE);
	actor_kill(&holder);
	dut_wait_pool(&dut, "p", "pages_orphaned", 0);
	dut_wait_pool(&dut, "p", "pages_leased", 0);
	assert_int_equal(dut_pool(&dut, "p", "leases"), 0);
	dut_stop(&dut);
}

/* What `leases` and `sessions` call it. */
static void holder_orphaned_is_listed_as_such(void **state)
{
	struct actor holder;
	json_t *leases, *sessions, *row;
	bool found = false;
	uint64_t lease;
	struct dut dut;
	size_t i;

	dut_need_root();
	dut_start(&dut, POOL);
	actor_start(&holder, SOMEUID, &dut);
	assert_int_equal(actor_alloc(&holder, MIB, NULL, &lease), 0);
	actor_break(&holder);
	dut_wait_pool(&dut, "p", "pages_orphaned", MIB / PAGE);
	leases = dut_json(&dut, "leases");
	row = json_array_get(json_object_get(leases, "leases"), 0);
	assert_string_equal(json_string_value(json_object_get(row, "state")), "orphaned");
	assert_int_equal(json_integer_value(json_object_get(row, "pid")), holder.pid);
	json_decref(leases);
	sessions = dut_json(&dut, "sessions");
	json_array_foreach (json_object_get(sessions, "sessions"), i, row) {
		if (json_integer_value(json_object_get(row, "pid")) != holder.pid)
			continue;
		assert_string_equal(json_string_value(json_object_get(row, "state")), "orphaned");
		assert_int_equal(json_integer_value(json_object_get(row, "pages")), MIB / PAGE);
		found = true;
	}
	assert_true(found);
	json_decref(sessions);
	actor_quit(&holder);
	dut_stop(&dut);
}

/* ---- the token, in the protocol's own words ---- */

/* The next reply; it is the caller's, its descriptors are dropped. NULL: the connection is broken. */
static Hugepool__Reply *receive(struct connection *connection)
{
	struct frame frame;
	int r;

	while ((r = frame_reader_next(connection->reader, &frame)) == FRAME_AGAIN) {
		if (connection_wait(connection, POLLIN, UINT64_MAX) <= 0 ||
		    frame_reader_fill(connection->reader, connection->socket_fd) != 0)
			return NULL;
	}
	if (r != 0)
		return NULL;
	frame_close_fds(&frame);
	return hugepool__reply__unpack(NULL, frame.length, frame.message);
}

/* One request, and the next reply. */
static Hugepool__Reply *exchange(struct connection *connection, Hugepool__Request *request)
{
	if (connection_queue(connection, request) != 0 ||
	    frame_writer_flush(connection->writer, connection->socket_fd) != 0)
		return NULL;
	return receive(connection);
}

static struct connection *connect_to(const struct dut *dut)
{
	struct connection *connection = NULL;

	assert_int_equal(connection_open(dut->socket, &connection), 0);
	return connection;
}

static Hugepool__Reply *say_hello(struct connection *connection, uint64_t session, uint8_t *token,
				  size_t token_bytes)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Hello hello = HUGEPOOL__HELLO__INIT;

	hello.version = 1;
	hello.client = "raw";
	hello.session = session;
	hello.token = (ProtobufCBinaryData){.data = token, .len = token_bytes};
	request.method_case = HUGEPOOL__REQUEST__METHOD_HELLO;
	request.id = 1;
	request.hello = &hello;
	return exchange(connection, &request);
}

/* A connection with a new session, by whose number and token another one can continue it. */
static struct connection *open_session(const struct dut *dut, uint64_t *ret_session, uint8_t ret_token[16])
{
	struct connection *connection = connect_to(dut);
	Hugepool__Reply *reply = say_hello(connection, 0, NULL, 0);

	assert_null(reply->error);
	*ret_session = reply->hello->session;
	memcpy(ret_token, reply->hello->token.data, 16);
	hugepool__reply__free_unpacked(reply, NULL);
	return connection;
}

static Hugepool__Reply *ask_alloc(struct connection *connection, uint64_t id, bool again, uint64_t n_pages)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Alloc alloc = HUGEPOOL__ALLOC__INIT;

	alloc.n_n_pages = 1;
	alloc.n_pages = &n_pages;
	request.id = id;
	request.again = again;
	request.method_case = HUGEPOOL__REQUEST__METHOD_ALLOC;
	request.alloc = &alloc;
	return exchange(connection, &request);
}

static void expect_done(Hugepool__Reply *reply)
{
	assert_null(reply->error);
	if (reply->result_case == HUGEPOOL__REPLY__RESULT_FREE)
		assert_int_equal(reply->free->n_failures, 0);
	hugepool__reply__free_unpacked(reply, NULL);
}

static Hugepool__Reply *ask_alloc_name(struct connection *connection, uint64_t id, char *name)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Alloc alloc = HUGEPOOL__ALLOC__INIT;
	uint64_t n_pages = 1;

	alloc.n_n_pages = 1;
	alloc.n_pages = &n_pages;
	alloc.name = name;
	request.id = id;
	request.method_case = HUGEPOOL__REQUEST__METHOD_ALLOC;
	request.alloc = &alloc;
	return exchange(connection, &request);
}

static Hugepool__Reply *ask_free_name(struct connection *connection, uint64_t id, bool again, char *name)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Free free = HUGEPOOL__FREE__INIT;

	free.name = name;
	request.id = id;
	request.again = again;
	request.method_case = HUGEPOOL__REQUEST__METHOD_FREE;
	request.free = &free;
	return exchange(connection, &request);
}

static Hugepool__Code hello_code(const struct dut *dut, uint64_t session, uint8_t *token, size_t token_bytes)
{
	struct connection *connection = connect_to(dut);
	Hugepool__Reply *reply = say_hello(connection, session, token, token_bytes);
	Hugepool__Code code = reply->error ? reply->error->code : HUGEPOOL__CODE__OK;

	hugepool__reply__free_unpacked(reply, NULL);
	connection_unref(connection);
	return code;
}

static struct {
	char socket[108];
	uint64_t session;
	uint8_t token[16];
} stolen; /* known to actors that start later */

static int64_t try_stolen_token(int unused)
{
	struct connection *connection = NULL;
	Hugepool__Reply *reply;

	if (connection_open(stolen.socket, &connection) < 0)
		return -1;
	reply = say_hello(connection, stolen.session, stolen.token, sizeof(stolen.token));
	return !reply ? -1 : reply->error ? (int64_t)reply->error->code : 0;
}

/* Fails without the comparison of tokens, and without that of pids, in session_is_claimed_by() of
 * lease/session.c. */
static void holder_token_is_for_its_process_only(void **state)
{
	struct connection *connection;
	struct actor thief, stranger;
	Hugepool__Reply *reply;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, POOL);
	connection = connect_to(&dut);
	reply = say_hello(connection, 0, NULL, 0);
	assert_null(reply->error);
	assert_int_equal(reply->hello->token.len, sizeof(stolen.token));
	assert_false(reply->hello->continued);
	stolen.session = reply->hello->session;
	memcpy(stolen.token, reply->hello->token.data, sizeof(stolen.token));
	strcpy(stolen.socket, dut.socket);
	hugepool__reply__free_unpacked(reply, NULL);
	reply = ask_alloc(connection, 2, false, 100);
	assert_null(reply->error);
	hugepool__reply__free_unpacked(reply, NULL);
	connection_unref(connection);
	dut_wait_pool(&dut, "p", "pages_orphaned", 100);

	/* Another process of the same user, a third one of another: they know the token. */
	actor_start_idle(&thief, 0);
	actor_start_idle(&stranger, NOBODY);
	assert_int_equal(actor_act(&thief, 0, try_stolen_token), HUGEPOOL__CODE__NO_SESSION);
	assert_int_equal(actor_act(&stranger, 0, try_stolen_token), HUGEPOOL__CODE__NO_SESSION);
	/* Ourselves, with what is not the token, or not the session. */
	stolen.token[15] ^= 1;
	assert_int_equal(hello_code(&dut, stolen.session, stolen.token, 16), HUGEPOOL__CODE__NO_SESSION);
	stolen.token[15] ^= 1;
	assert_int_equal(hello_code(&dut, stolen.session, stolen.token, 15), HUGEPOOL__CODE__NO_SESSION);
	assert_int_equal(hello_code(&dut, stolen.session, NULL, 0), HUGEPOOL__CODE__NO_SESSION);
	assert_int_equal(hello_code(&dut, stolen.session + 64, stolen.token, 16), HUGEPOOL__CODE__NO_SESSION);
	assert_int_equal(hello_code(&dut, UINT64_MAX, stolen.token, 16), HUGEPOOL__CODE__NO_SESSION);
	assert_int_equal(dut_pool(&dut, "p", "pages_orphaned"), 100);

	connection = connect_to(&dut);
	reply = say_hello(connection, stolen.session, stolen.token, 16);
	assert_null(reply->error);
	assert_true(reply->hello->continued);
	assert_int_equal(reply->hello->session, stolen.session);
	hugepool__reply__free_unpacked(reply, NULL);
	assert_int_equal(dut_pool(&dut, "p", "pages_orphaned"), 0);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 100);

	/* A second connection takes the session over from the first, should that be dead without our knowing.
	 */
	assert_int_equal(hello_code(&dut, stolen.session, stolen.token, 16), HUGEPOOL__CODE__OK);
	dut_wait_pool(&dut, "p", "pages_orphaned", 100);
	connection_unref(connection);
	actor_quit(&thief);
	actor_quit(&stranger);
	dut_stop(&dut);
}

/* A request is sent again, because its answer got lost: it is not done twice. */
static void holder_that_asks_again_gets_the_same_lease(void **state)
{
	struct connection *connection;
	uint64_t session, leases[2];
	Hugepool__Reply *reply;
	uint8_t token[16];
	struct dut dut;

	dut_start(&dut, POOL);
	connection = open_session(&dut, &session, token);
	for (unsigned i = 0; i < 2; i++) {
		reply = ask_alloc(connection, 1000, i > 0, 7);
		assert_null(reply->error);
		assert_int_equal(reply->alloc->n_grants, 1);
		leases[i] = reply->alloc->grants[0]->lease;
		hugepool__reply__free_unpacked(reply, NULL);
		connection_unref(connection);
		connection = connect_to(&dut);
		reply = say_hello(connection, session, token, sizeof(token));
		assert_null(reply->error);
		hugepool__reply__free_unpacked(reply, NULL);
	}
	assert_int_equal(leases[0], leases[1]);
	assert_int_equal(dut_pool(&dut, "p", "pages_leased"), 7);
	connection_unref(connection);
	dut_stop(&dut);
}

/* Free by name as well: that one lease is meant, and not who has the name by then. */
static void holder_that_frees_a_name_again_frees_one_lease(void **state)
{
	struct connection *connection;
	uint64_t session;
	uint8_t token[16];
	struct dut dut;

	dut_start(&dut, POOL);
	connection = open_session(&dut, &session, token);
	for (unsigned i = 0; i < 2; i++) {
		/* The first time, "n" is a lease; then it is none, and at last another one. */
		expect_done(ask_alloc_name(connection, 1000 + i, "n"));
		expect_done(ask_free_name(connection, 2000, i > 0, "n"));
		assert_int_equal(dut_pool(&dut, "p", "leases"), i);
		connection_unref(connection);
		connection = connect_to(&dut);
		expect_done(say_hello(connection, session, token, sizeof(token)));
		expect_done(ask_free_name(connection, 2000, true, "n"));
		assert_int_equal(dut_pool(&dut, "p", "leases"), i);
	}
	connection_unref(connection);
	dut_stop(&dut);
}

/* ---- events that nobody could hear ---- */

static void subscribe(struct connection *connection)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Subscribe subscribe = HUGEPOOL__SUBSCRIBE__INIT;

	subscribe.kinds = 1u << HUGEPOOL__EVENT_KIND__REVOKED | 1u << HUGEPOOL__EVENT_KIND__DRAINED |
			  1u << HUGEPOOL__EVENT_KIND__RESTORED;
	request.id = 2;
	request.method_case = HUGEPOOL__REQUEST__METHOD_SUBSCRIBE;
	request.subscribe = &subscribe;
	expect_done(exchange(connection, &request));
}

static uint64_t alloc_revocable(struct connection *connection)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Alloc alloc = HUGEPOOL__ALLOC__INIT;
	uint64_t n_pages = 1, lease;
	Hugepool__Reply *reply;

	alloc.n_n_pages = 1;
	alloc.n_pages = &n_pages;
	alloc.revocable = true;
	request.id = 3;
	request.method_case = HUGEPOOL__REQUEST__METHOD_ALLOC;
	request.alloc = &alloc;
	reply = exchange(connection, &request);
	assert_null(reply->error);
	lease = reply->alloc->grants[0]->lease;
	hugepool__reply__free_unpacked(reply, NULL);
	return lease;
}

static void order(const struct dut *dut, const char *verb, const char *object)
{
	assert_int_equal(dut_ctl(dut, 0, DUT_WORDS(verb, object), NULL, NULL), 0);
}

static void expect_event(struct connection *connection, Hugepool__EventKind kind, bool missed)
{
	Hugepool__Reply *reply = receive(connection);

	assert_non_null(reply);
	assert_int_equal(reply->n_events, 1);
	assert_int_equal(reply->events[0]->kind, kind);
	assert_int_equal(reply->events[0]->missed, missed);
	hugepool__reply__free_unpacked(reply, NULL);
}

/* Revoked while it is cut off, or just before, so that the event was sent and is never read. */
static void miss_a_revocation(bool is_sent)
{
	struct connection *connection;
	uint64_t session;
	uint8_t token[16];
	char word[24];
	struct dut dut;

	dut_start(&dut, POOL);
	connection = open_session(&dut, &session, token);
	subscribe(connection);
	snprintf(word, sizeof(word), "%" PRIu64, alloc_revocable(connection));
	if (!is_sent) {
		connection = connection_unref(connection);
		dut_wait_pool(&dut, "p", "pages_orphaned", 1);
	}
	order(&dut, "revoke", word);
	dut_wait_pool(&dut, "p", "leases", 0);
	connection_unref(connection);

	connection = connect_to(&dut);
	expect_done(say_hello(connection, session, token, sizeof(token)));
	order(&dut, "drain", "p");
	expect_event(connection, HUGEPOOL__EVENT_KIND__DRAINED, true);
	order(&dut, "restore", "p");
	expect_event(connection, HUGEPOOL__EVENT_KIND__RESTORED, false);
	connection_unref(connection);
	dut_stop(&dut);
}

static void holder_cut_off_is_told_that_it_missed_events(void **state)
{
	miss_a_revocation(false);
}

static void holder_that_did_not_read_its_events_is_told_so(void **state)
{
	miss_a_revocation(true);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(holder_killed_gives_back_many_leases),
		TEST(holder_dead_while_its_child_keeps_the_socket_ends),
		TEST(holder_cut_off_is_orphaned_and_comes_back),
		TEST(holder_cut_off_again_and_again_loses_nothing),
		TEST(holder_orphaned_that_dies_gives_back),
		TEST(holder_orphaned_is_listed_as_such),
		TEST(holder_token_is_for_its_process_only),
		TEST(holder_that_asks_again_gets_the_same_lease),
		TEST(holder_that_frees_a_name_again_frees_one_lease),
		TEST(holder_cut_off_is_told_that_it_missed_events),
		TEST(holder_that_did_not_read_its_events_is_told_so),
	};

	return cmocka_run_group_tests_name("system_holder", tests, NULL, NULL);
}

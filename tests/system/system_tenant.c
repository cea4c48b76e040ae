/* system_tenant.c - who shares an arena and a quota, who is let in, and by which socket.
 *
 * The kernel tells the daemon who has connected, as of that moment: so this process puts on another user's
 * ids, connects, and takes them off again. Raw clients; an arena's number says whose it is.
 */
#include <config.h>

#include <errno.h>
#include <grp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/dut.h"
#include "tests/support/raw.h"

#define N_SOCKETS 3
#define POOL      "p=4K:16M,arena=1M"

struct who {
	uid_t uid;
	gid_t gid;
	gid_t group; /* supplementary; 0: none */
};

static const struct who root = {0, 0, 0};
static const struct who alice = {1001, 100, 0}, bob = {1002, 100, 0};
static const struct who carol = {1003, 200, 100}; /* of alice's group too, but not first of all */

/* A directory for a configuration with two more sockets. The first is the dut's. */
static char directory[] = "/tmp/hugepool-tenant-XXXXXX";
static char config_path[64], sockets[N_SOCKETS][64];

static int tenant_setup(void **state)
{
	FILE *file;

	strcpy(directory + strlen(directory) - 6, "XXXXXX");
	if (!mkdtemp(directory) || chmod(directory, 0755) < 0)
		return -1;
	snprintf(config_path, sizeof(config_path), "%s/config", directory);
	for (unsigned i = 1; i < N_SOCKETS; i++)
		snprintf(sockets[i], sizeof(sockets[i]), "%s/socket-%u", directory, i);
	file = fopen(config_path, "we");
	if (!file)
		return -1;
	fprintf(file, "{\"sockets\": [\"%s\", \"%s\"], \"user_sessions\": 2}", sockets[1], sockets[2]);
	return fclose(file);
}

static void become(const struct who *who)
{
	/* Back to root first, who may do the rest. */
	if (seteuid(0) < 0 || setegid(who->gid) < 0 || setgroups(who->group != 0, &who->group) < 0 ||
	    seteuid(who->uid) < 0)
		fail_msg("cannot become uid %u: %s", who->uid, strerror(errno));
}

static int tenant_teardown(void **state)
{
	if (geteuid() == 0 || seteuid(0) == 0)
		become(&root);
	dut_kill_all(state);
	for (unsigned i = 1; i < N_SOCKETS; i++)
		unlink(sockets[i]);
	unlink(config_path);
	return rmdir(directory);
}

static void connect_as(struct raw *raw, const struct dut *dut, const struct who *who, unsigned socket)
{
	struct dut door = *dut;

	if (socket > 0)
		snprintf(door.socket, sizeof(door.socket), "%s", sockets[socket]);
	become(who);
	raw_connect(raw, &door);
	become(&root);
}

static void open_as(struct raw *raw, const struct dut *dut, const struct who *who, unsigned socket)
{
	connect_as(raw, dut, who, socket);
	raw_hello(raw);
}

/* Lease so many pages. Returns the arena they are in. */
static uint64_t lease(struct raw *raw, uint64_t n_pages, uint64_t *ret_lease)
{
	struct raw_request ask;
	Hugepool__Reply *reply = raw_call(raw, raw_ask_alloc(&ask, n_pages));
	uint64_t arena;

	raw_check(reply->alloc && reply->alloc->n_grants == 1, "Alloc: %s",
		  reply->error ? reply->error->message : "no grant");
	arena = reply->alloc->grants[0]->runs[0]->arena;
	if (ret_lease)
		*ret_lease = reply->alloc->grants[0]->lease;
	if (reply->alloc->n_new_arenas > 0)
		raw_say_received(raw);
	raw_drop(reply);
	return arena;
}

static void refused(struct raw *raw, uint64_t n_pages, Hugepool__Code code, const char *words)
{
	struct raw_request ask;

	raw_expect_error(raw, raw_ask_alloc(&ask, n_pages), code, words);
}

/* `buddyinfo` says that this arena is this tenant's. */
static void assert_tenant(const struct dut *dut, uint64_t arena, const char *tenant)
{
	json_t *info = dut_json(dut, "buddyinfo"), *row;
	const char *found = NULL;
	size_t i;

	json_array_foreach (json_object_get(info, "arenas"), i, row)
		if (json_integer_value(json_object_get(row, "arena")) == (json_int_t)arena)
			found = json_string_value(json_object_get(row, "tenant"));
	assert_non_null(found);
	assert_string_equal(found, tenant);
	json_decref(info);
}

/* ---- who shares an arena ---- */

/* Fails if tenant_of() of pool/pool.c says the same of all users. */
static void tenant_is_the_user_by_default(void **state)
{
	struct raw a, b, again;
	uint64_t arena_a, arena_b;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", POOL ",users=*"));
	open_as(&a, &dut, &alice, 0);
	open_as(&b, &dut, &bob, 0);
	open_as(&again, &dut, &(struct who){alice.uid, 300, 0}, 0);
	arena_a = lease(&a, 1, NULL);
	arena_b = lease(&b, 1, NULL);
	assert_int_not_equal(arena_a, arena_b);
	assert_int_equal(lease(&again, 1, NULL), arena_a);
	assert_tenant(&dut, arena_a, "uid 1001");
	assert_tenant(&dut, arena_b, "uid 1002");
	assert_int_equal(dut_pool(&dut, "p", "tenants"), 2);
	raw_close(&a);
	raw_close(&b);
	raw_close(&again);
	dut_stop(&dut);
}

static void tenant_can_be_the_primary_group(void **state)
{
	struct raw a, b, c;
	uint64_t arena_a, arena_c;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", POOL ",users=*,tenant=gid"));
	open_as(&a, &dut, &alice, 0);
	open_as(&b, &dut, &bob, 0);
	open_as(&c, &dut, &carol, 0);
	arena_a = lease(&a, 1, NULL);
	arena_c = lease(&c, 1, NULL);
	assert_int_equal(lease(&b, 1, NULL), arena_a);
	assert_int_not_equal(arena_c, arena_a);
	assert_tenant(&dut, arena_a, "gid 100");
	assert_tenant(&dut, arena_c, "gid 200");
	assert_int_equal(dut_pool(&dut, "p", "tenants"), 2);
	raw_close(&a);
	raw_close(&b);
	raw_close(&c);
	dut_stop(&dut);
}

static void tenant_can_be_the_socket(void **state)
{
	struct raw first, second, third, other;
	uint64_t arena_0, arena_1;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--config", config_path, "--pool", POOL ",users=*,tenant=socket"));
	open_as(&first, &dut, &alice, 0);
	open_as(&second, &dut, &alice, 1);
	open_as(&third, &dut, &bob, 1);
	open_as(&other, &dut, &bob, 2);
	arena_0 = lease(&first, 1, NULL);
	arena_1 = lease(&second, 1, NULL);
	assert_int_not_equal(arena_0, arena_1);
	assert_int_equal(lease(&third, 1, NULL), arena_1);
	assert_tenant(&dut, arena_0, "socket 0");
	assert_tenant(&dut, arena_1, "socket 1");
	assert_tenant(&dut, lease(&other, 1, NULL), "socket 2");
	assert_int_equal(dut_pool(&dut, "p", "tenants"), 3);
	raw_close(&first);
	raw_close(&second);
	raw_close(&third);
	raw_close(&other);
	dut_stop(&dut);
}

static void tenant_is_everybody_with_isolation_pool(void **state)
{
	struct raw a, c;
	uint64_t arena;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", POOL ",users=*,isolation=pool,tenant=gid"));
	open_as(&a, &dut, &alice, 0);
	open_as(&c, &dut, &carol, 0);
	arena = lease(&a, 1, NULL);
	assert_int_equal(lease(&c, 1, NULL), arena);
	assert_tenant(&dut, arena, "pool");
	raw_close(&a);
	raw_close(&c);
	dut_stop(&dut);
}

/* ---- quotas ---- */

/* Fails without the comparison with zone_quota_left() in zone_take_locked() of pool/zone.c; so does the next.
 */
static void tenant_quota_is_of_all_its_users(void **state)
{
	struct raw a, b, c;
	uint64_t of_a;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", POOL ",users=*,tenant=gid,quota=32K"));
	open_as(&a, &dut, &alice, 0);
	open_as(&b, &dut, &bob, 0);
	open_as(&c, &dut, &carol, 0);
	lease(&a, 6, &of_a);
	refused(&b, 3, HUGEPOOL__CODE__OVER_QUOTA, "");
	lease(&b, 2, NULL);
	refused(&a, 1, HUGEPOOL__CODE__OVER_QUOTA, "");
	lease(&c, 8, NULL);
	refused(&c, 1, HUGEPOOL__CODE__OVER_QUOTA, "");
	assert_int_equal(raw_free(&a, of_a), HUGEPOOL__CODE__OK);
	lease(&b, 6, NULL);
	refused(&a, 1, HUGEPOOL__CODE__OVER_QUOTA, "");
	raw_close(&a);
	raw_close(&b);
	raw_close(&c);
	dut_stop(&dut);
}

static void tenant_quota_is_of_one_socket(void **state)
{
	struct raw first, second;
	struct dut dut;

	dut_need_root();
	dut_start(&dut,
		  DUT_WORDS("--config", config_path, "--pool", POOL ",users=*,tenant=socket,quota=32K"));
	open_as(&first, &dut, &alice, 1);
	open_as(&second, &dut, &alice, 2);
	lease(&first, 8, NULL);
	refused(&first, 1, HUGEPOOL__CODE__OVER_QUOTA, "");
	lease(&second, 8, NULL);
	raw_close(&first);
	raw_close(&second);
	dut_stop(&dut);
}

/* ---- who is let in ---- */

/* Fails without pool_admits() in session_get_zone() of lease/session.c. */
static void tenant_lists_admit_users_and_groups(void **state)
{
	static const struct {
		struct who who;
		bool is_admitted;
	} cases[] = {
		{{1001, 100, 0}, true},                            /* by users */
		{{1002, 100, 0}, false},                           /* nothing */
		{{1003, 300, 0}, true},                            /* by groups, the primary one */
		{{1004, 100, 300}, true},                          /* and a supplementary one */
		{{1005, 100, 400}, false}, {{300, 100, 0}, false}, /* a user is no group, a group no user */
		{{1006, 1001, 0}, false},  {{0, 0, 0}, true},
	};
	static const char *const tenants[] = {"uid", "gid", "socket"};

	dut_need_root();
	for (unsigned t = 0; t < 3; t++) {
		char word[128];
		struct dut dut;

		snprintf(word, sizeof(word), POOL ",users=1001,groups=300,tenant=%s", tenants[t]);
		dut_start(&dut, DUT_WORDS("--pool", word));
		for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
			struct raw raw;

			open_as(&raw, &dut, &cases[i].who, 0);
			if (cases[i].is_admitted)
				lease(&raw, 1, NULL);
			else
				refused(&raw, 1, HUGEPOOL__CODE__NOT_ALLOWED, "");
			raw_close(&raw);
		}
		dut_stop(&dut);
	}
}

static void hello_refused(struct raw *raw)
{
	struct raw_request ask;

	raw_expect_error(raw, raw_ask_hello(&ask), HUGEPOOL__CODE__TOO_MANY, "as many sessions as it may");
}

static void tenant_user_has_so_many_sessions(void **state)
{
	struct raw raws[2], more, others[4];
	struct raw_request ask;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--config", config_path, "--pool", POOL ",users=*,tenant=gid"));
	open_as(&raws[0], &dut, &alice, 0);
	open_as(&raws[1], &dut, &alice, 1);
	/* By whichever socket, and of whichever group. */
	connect_as(&more, &dut, &(struct who){alice.uid, 300, 0}, 2);
	hello_refused(&more);
	/* A session whose connection is lost is still one. */
	raw_close(&raws[1]);
	hello_refused(&more);
	open_as(&others[0], &dut, &bob, 0);
	for (unsigned i = 1; i < 4; i++)
		open_as(&others[i], &dut, &root, 0);
	raw_drop(raw_call(&raws[0], raw_ask_bye(&ask)));
	raw_hello(&more);
	raw_close(&raws[0]);
	raw_close(&more);
	for (unsigned i = 0; i < 4; i++)
		raw_close(&others[i]);
	dut_stop(&dut);
}

/* ---- sockets ---- */

static void say_hello_again(struct raw *raw, const struct raw *before, Hugepool__Code code)
{
	struct raw_request ask;
	Hugepool__Reply *reply;

	raw_ask_hello(&ask);
	ask.hello.session = before->session;
	ask.hello.token.data = (uint8_t *)before->token;
	ask.hello.token.len = sizeof(before->token);
	if (code != HUGEPOOL__CODE__OK) {
		raw_expect_error(raw, &ask.request, code, "at this socket");
		return;
	}
	reply = raw_call(raw, &ask.request);
	raw_check(reply->hello && reply->hello->continued, "not continued");
	raw_drop(reply);
}

/* Fails without the comparison of sockets in session_is_claimed_by() of lease/session.c. */
static void tenant_session_continues_at_its_own_socket_only(void **state)
{
	struct raw before, elsewhere, again;
	uint64_t arena;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--config", config_path, "--pool", POOL ",users=*,tenant=socket"));
	open_as(&before, &dut, &alice, 1);
	arena = lease(&before, 1, NULL);
	raw_close(&before);
	connect_as(&elsewhere, &dut, &alice, 2);
	say_hello_again(&elsewhere, &before, HUGEPOOL__CODE__NO_SESSION);
	raw_close(&elsewhere);
	connect_as(&elsewhere, &dut, &alice, 0);
	say_hello_again(&elsewhere, &before, HUGEPOOL__CODE__NO_SESSION);
	connect_as(&again, &dut, &alice, 1);
	say_hello_again(&again, &before, HUGEPOOL__CODE__OK);
	assert_int_equal(lease(&again, 1, NULL), arena);
	raw_close(&elsewhere);
	raw_close(&again);
	dut_stop(&dut);
}

static bool is_socket_for_all(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 07777) == 0666;
}

static void tenant_sockets_come_and_go_with_the_daemon(void **state)
{
	const char *const *words = DUT_WORDS("--config", config_path, "--pool", POOL ",users=*");
	char *error = NULL;
	struct dut dut;
	struct raw raw;

	dut_need_root();
	dut_start(&dut, words);
	for (unsigned i = 1; i < N_SOCKETS; i++)
		assert_true(is_socket_for_all(sockets[i]));

	/* Another daemon of the same configuration, whose first socket is free: it takes none. */
	assert_int_equal(dut_start_refused(words, &error), 1);
	assert_non_null(strstr(error, sockets[1]));
	assert_non_null(strstr(error, "a daemon is listening there"));
	free(error);
	for (unsigned i = 0; i < N_SOCKETS; i++) {
		open_as(&raw, &dut, &alice, i);
		lease(&raw, 1, NULL);
		raw_drop(raw_call(&raw, raw_ask_bye(&(struct raw_request){0})));
		raw_close(&raw);
	}

	/* What a dead daemon left is replaced. */
	dut_kill(&dut);
	for (unsigned i = 1; i < N_SOCKETS; i++)
		assert_true(is_socket_for_all(sockets[i]));
	dut_restart(&dut, words);
	open_as(&raw, &dut, &alice, 2);
	raw_close(&raw);
	dut_stop(&dut);
	for (unsigned i = 1; i < N_SOCKETS; i++)
		assert_int_equal(access(sockets[i], F_OK), -1);
}

#define TENANT_TEST(name) cmocka_unit_test_setup_teardown(name, tenant_setup, tenant_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TENANT_TEST(tenant_is_the_user_by_default),
		TENANT_TEST(tenant_can_be_the_primary_group),
		TENANT_TEST(tenant_can_be_the_socket),
		TENANT_TEST(tenant_is_everybody_with_isolation_pool),
		TENANT_TEST(tenant_quota_is_of_all_its_users),
		TENANT_TEST(tenant_quota_is_of_one_socket),
		TENANT_TEST(tenant_lists_admit_users_and_groups),
		TENANT_TEST(tenant_user_has_so_many_sessions),
		TENANT_TEST(tenant_session_continues_at_its_own_socket_only),
		TENANT_TEST(tenant_sockets_come_and_go_with_the_daemon),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

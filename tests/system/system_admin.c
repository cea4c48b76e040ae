/* system_admin.c - who administers the daemon: root, unless the configuration says who does. Root in a
 * container has uid 0 and may have no other right of the host's. Raw clients.
 */
#include <config.h>

#include <grp.h>
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

enum { ALICE = 1001, BOB = 1002, OPERATOR = 1003, OPERATORS = 2000 };

#define POOLS                                                                                                \
	"\"workers\": 2, \"user_sessions\": 4, \"pools\": [{\"name\": \"p\", \"page_size\": \"4K\", "        \
	"\"max\": \"16M\", \"arena\": \"1M\", \"users\": [1002]}]}"

struct scene {
	struct dut dut;
	char config[64];
	pid_t holder;
	uint64_t lease; /* bob's; named, and open to him alone */
};

/* With these admins. Bob holds a lease called "secret". */
static void scene_start(struct scene *scene, const char *admins)
{
	FILE *file;
	int fd;

	dut_need_root();
	*scene = (struct scene){.config = "/tmp/hugepool-admin-XXXXXX"};
	fd = mkstemp(scene->config);
	assert_true(fd >= 0);
	file = fdopen(fd, "w");
	fprintf(file, "{%s%s" POOLS, admins, *admins ? ", " : "");
	assert_int_equal(fclose(file), 0);
	dut_start(&scene->dut, DUT_WORDS("--config", scene->config));
	unlink(scene->config);
	scene->holder = dut_hold(&scene->dut, BOB, DUT_WORDS("--name", "secret", "4K"), &scene->lease);
}

static void scene_stop(struct scene *scene)
{
	assert_int_equal(kill(scene->holder, SIGTERM), 0);
	dut_wait_child(scene->holder);
	dut_stop(&scene->dut);
}

/* ---- what somebody may do; each is answered by an error's code, or OK ---- */

static int call(struct raw *raw, Hugepool__Request *request)
{
	Hugepool__Reply *reply = raw_call(raw, request);
	int code = reply->error ? (int)reply->error->code : HUGEPOOL__CODE__OK;

	raw_drop(reply);
	raw_say_received(raw);
	return code;
}

static int may_ask(struct raw *raw)
{
	struct raw_request ask;

	return call(raw, raw_ask_status(&ask));
}

static int may_drain(struct raw *raw)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Drain drain = HUGEPOOL__DRAIN__INIT;
	Hugepool__Restore restore = HUGEPOOL__RESTORE__INIT;
	int code;

	drain.pool = restore.pool = (char *)(uintptr_t) "p";
	request.method_case = HUGEPOOL__REQUEST__METHOD_DRAIN;
	request.drain = &drain;
	code = call(raw, &request);
	if (code != HUGEPOOL__CODE__OK)
		return code;
	request = (Hugepool__Request)HUGEPOOL__REQUEST__INIT;
	request.method_case = HUGEPOOL__REQUEST__METHOD_RESTORE;
	request.restore = &restore;
	return call(raw, &request);
}

/* OK: there are others' in the list. */
static int may_see_others(struct raw *raw)
{
	struct raw_request ask;
	Hugepool__Reply *reply = raw_call(raw, raw_ask_leases(&ask));
	int code = HUGEPOOL__CODE__NOT_ALLOWED;

	raw_check(reply->leases, "no list of leases");
	for (size_t i = 0; i < reply->leases->n_leases; i++)
		if (reply->leases->leases[i]->uid != getuid())
			code = HUGEPOOL__CODE__OK;
	raw_drop(reply);
	return code;
}

static int may_evict(struct raw *raw)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Evict evict = HUGEPOOL__EVICT__INIT;

	evict.arena = UINT64_MAX; /* there is none, which only an admin is told */
	request.method_case = HUGEPOOL__REQUEST__METHOD_EVICT;
	request.evict = &evict;
	return call(raw, &request) == HUGEPOOL__CODE__NO_ARENA ? HUGEPOOL__CODE__OK
							       : HUGEPOOL__CODE__NOT_ALLOWED;
}

static int may_lease(struct raw *raw)
{
	struct raw_request ask;

	return call(raw, raw_ask_alloc(&ask, 1));
}

static int may_open_secret(struct raw *raw)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Open open = HUGEPOOL__OPEN__INIT;

	open.name = (char *)(uintptr_t) "secret";
	request.method_case = HUGEPOOL__REQUEST__METHOD_OPEN;
	request.open = &open;
	return call(raw, &request);
}

static const struct {
	const char *what;
	int (*may)(struct raw *raw);
	bool of_admins; /* else of the privileged */
} rights[] = {
	{"ask for the status", may_ask, true},
	{"drain and restore a pool", may_drain, true},
	{"see the leases of others", may_see_others, true},
	{"evict an arena", may_evict, true},
	{"lease from a pool that does not admit it", may_lease, false},
	{"open a lease that is another's alone", may_open_secret, false},
};

enum rank { NOBODY_SPECIAL, ADMIN, PRIVILEGED };

struct client {
	struct scene *scene;
	uid_t uid;
	gid_t group;
	enum rank rank;
};

static void try_rights(void *arg)
{
	const struct client *client = arg;
	struct raw raw;

	raw_check(setgroups(1, &client->group) == 0 &&
			  setresgid(client->uid, client->uid, client->uid) == 0 &&
			  setresuid(client->uid, client->uid, client->uid) == 0,
		  "cannot become uid %d", (int)client->uid);
	raw_open(&raw, &client->scene->dut);
	for (size_t i = 0; i < sizeof(rights) / sizeof(rights[0]); i++) {
		bool may = client->rank >= (rights[i].of_admins ? ADMIN : PRIVILEGED);

		raw_check(rights[i].may(&raw) == (may ? HUGEPOOL__CODE__OK : HUGEPOOL__CODE__NOT_ALLOWED),
			  "uid %d may %s%s", (int)client->uid, may ? "not " : "", rights[i].what);
	}
	raw_close(&raw);
}

static void expect_rank(struct scene *scene, uid_t uid, gid_t group, enum rank rank)
{
	struct client client = {scene, uid, group, rank};

	raw_join(raw_fork(0, try_rights, &client));
}

/* ---- */

static void admin_is_root_where_nobody_is_named(void **state)
{
	struct scene scene;

	scene_start(&scene, "");
	expect_rank(&scene, 0, 0, PRIVILEGED);
	expect_rank(&scene, OPERATOR, OPERATORS, NOBODY_SPECIAL);
	scene_stop(&scene);
}

static void admins_that_are_named_are_all_that_there_are(void **state)
{
	struct scene scene;

	scene_start(&scene, "\"admins\": [1001], \"admin_groups\": [2000]");
	expect_rank(&scene, 0, 0, NOBODY_SPECIAL);
	expect_rank(&scene, ALICE, ALICE, ADMIN);
	expect_rank(&scene, OPERATOR, OPERATORS, ADMIN);
	expect_rank(&scene, OPERATOR, OPERATOR, NOBODY_SPECIAL);
	/* Root as a member of the group is what its members are, and no more. */
	expect_rank(&scene, 0, OPERATORS, ADMIN);
	scene_stop(&scene);
}

static void admins_can_be_root_and_others(void **state)
{
	struct scene scene;

	scene_start(&scene, "\"admins\": [\"root\", 1001]");
	expect_rank(&scene, 0, 0, PRIVILEGED);
	expect_rank(&scene, ALICE, ALICE, ADMIN);
	scene_stop(&scene);
}

static void admins_can_be_nobody(void **state)
{
	struct scene scene;

	scene_start(&scene, "\"admins\": []");
	expect_rank(&scene, 0, 0, NOBODY_SPECIAL);
	expect_rank(&scene, ALICE, ALICE, NOBODY_SPECIAL);
	scene_stop(&scene);
}

/* Root that does not administer is bound by user_sessions, too. */
static void take_sessions(void *arg)
{
	enum { ALLOWED = 4, TRIED = 6 };
	struct raw raws[TRIED];
	unsigned n = 0;

	for (unsigned i = 0; i < TRIED; i++) {
		struct raw_request ask;
		Hugepool__Reply *reply;

		raw_connect(&raws[i], arg);
		reply = raw_call(&raws[i], raw_ask_hello(&ask));
		n += !reply->error;
		raw_check(!reply->error || reply->error->code == HUGEPOOL__CODE__TOO_MANY, "%s",
			  reply->error ? reply->error->message : "");
		raw_drop(reply);
	}
	raw_check(n == ALLOWED, "root has %u sessions", n);
}

static void root_that_does_not_administer_is_bound(void **state)
{
	struct scene scene;

	scene_start(&scene, "\"admins\": [1001]");
	raw_join(raw_fork(0, take_sessions, &scene.dut));
	scene_stop(&scene);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_teardown(name, dut_kill_all)
	const struct CMUnitTest tests[] = {
		TEST(admin_is_root_where_nobody_is_named),
		TEST(admins_that_are_named_are_all_that_there_are),
		TEST(admins_can_be_root_and_others),
		TEST(admins_can_be_nobody),
		TEST(root_that_does_not_administer_is_bound),
	};

	return cmocka_run_group_tests_name("system_admin", tests, NULL, NULL);
}

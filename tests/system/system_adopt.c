/* system_adopt.c - a session that several processes hold: a child takes part, its parent dies, and the leases
 * live until the last of them has gone.
 *
 * A family is a parent that has leased and its child, each of which does what the test says, one byte at a
 * time. The parent is the test's child; the child is not, and ends when the test closes its pipe.
 */
#include <config.h>

#include <errno.h>
#include <grp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/raw.h"

#define PAGE     4096
#define N_LEASES 4
#define USER     12345

/* What a lease is in each of its bytes. */
#define MARK(i) (0x51 + (int)(i))

static const struct {
	uint64_t bytes;
	struct hp_alloc_options options;
} wanted[N_LEASES] = {
	{PAGE, {0}},
	{300 * PAGE, {0}}, /* of two arenas at least */
	{3 * PAGE, {.flags = HP_GUARD | HP_POPULATE, .name = "kept"}},
	{8 * PAGE, {.flags = HP_GUARD}}, /* half of it is given back before the fork */
};

enum member { PARENT, CHILD, N_MEMBERS };

struct family {
	const struct dut *dut;
	uid_t uid;
	pid_t parent;
	int up[2];              /* what they answer */
	int down[N_MEMBERS][2]; /* what they are told */
	hp_client *client;      /* theirs */
	hp_lease *leases[N_LEASES];
};

/* ---- in the family ---- */

static int check_all(struct family *family)
{
	for (unsigned i = 0; i < N_LEASES; i++) {
		const uint8_t *data = hp_lease_data(family->leases[i]);

		for (uint64_t k = 0; k < hp_lease_bytes(family->leases[i]); k++)
			if (data[k] != MARK(i))
				return 1;
	}
	return 0;
}

/* One page more, zeroed; it goes again. */
static int take_one(struct family *family)
{
	hp_lease *lease;
	uint8_t *data;

	if (hp_alloc(family->client, PAGE, NULL, &lease) < 0)
		return 1;
	data = hp_lease_data(lease);
	for (unsigned i = 0; i < PAGE; i++)
		if (data[i] != 0)
			return 2;
	memset(data, 0xee, PAGE);
	return hp_free(lease) == 0 ? 0 : 3;
}

static int do_as_told(struct family *family, char what)
{
	switch (what) {
	case 'a': /* take part */
		return -hp_adopt(family->client);
	case 'c':
		return check_all(family);
	case 't':
		return take_one(family);
	case 'b':
		family->client = hp_close(family->client);
		return 0;
	case 'f': /* let go of them one by one */
		for (unsigned i = 0; i < N_LEASES; i++)
			if (hp_free(family->leases[i]) < 0)
				return 1;
		return 0;
	default:
		return 255;
	}
}

__attribute__((noreturn)) static void obey(struct family *family, enum member self)
{
	char what, answer;

	for (unsigned i = 0; i < N_MEMBERS; i++) {
		close(family->down[i][1]);
		if (i != self)
			close(family->down[i][0]);
	}
	while (read(family->down[self][0], &what, 1) == 1) {
		answer = (char)do_as_told(family, what);
		if (write(family->up[1], &answer, 1) != 1)
			break;
	}
	_exit(0);
}

static void be_parent(void *arg)
{
	struct family *family = arg;
	pid_t child;

	raw_check(hp_open(family->dut->socket, &family->client) == 0, "%s", hp_error());
	for (unsigned i = 0; i < N_LEASES; i++) {
		raw_check(hp_alloc(family->client, wanted[i].bytes, &wanted[i].options, &family->leases[i]) ==
				  0,
			  "lease %u: %s", i, hp_error());
		memset(hp_lease_data(family->leases[i]), MARK(i), wanted[i].bytes);
	}
	raw_check(hp_lease_resize(family->leases[3], wanted[3].bytes / 2, 0) == 0, "%s", hp_error());
	child = fork();
	raw_check(child >= 0, "fork: %s", strerror(errno));
	if (child == 0)
		obey(family, CHILD);
	raw_check(write(family->up[1], &child, sizeof(child)) == sizeof(child), "nobody listens");
	obey(family, PARENT);
}

/* ---- outside of it ---- */

/* Returns the child's pid. */
static pid_t start_family(struct family *family, const struct dut *dut, uid_t uid)
{
	pid_t child = 0;

	*family = (struct family){.dut = dut, .uid = uid};
	assert_int_equal(pipe(family->up), 0);
	for (unsigned i = 0; i < N_MEMBERS; i++)
		assert_int_equal(pipe(family->down[i]), 0);
	family->parent = raw_fork(uid, be_parent, family);
	for (unsigned i = 0; i < N_MEMBERS; i++)
		close(family->down[i][0]);
	close(family->up[1]);
	assert_int_equal(read(family->up[0], &child, sizeof(child)), sizeof(child));
	return child;
}

/* Returns what it answers: 0, it is done. */
static int tell(struct family *family, enum member member, char what)
{
	uint8_t answer;

	assert_int_equal(write(family->down[member][1], &what, 1), 1);
	assert_int_equal(read(family->up[0], &answer, 1), 1);
	return answer;
}

static void end_member(struct family *family, enum member member)
{
	close(family->down[member][1]);
	family->down[member][1] = -1;
}

static uint64_t n_leased(const struct dut *dut)
{
	return (uint64_t)dut_pool(dut, "p", "pages_leased") + (uint64_t)dut_pool(dut, "p", "pages_orphaned");
}

/* The pages of all that a family has. */
#define FAMILY_PAGES (1 + 300 + 3 + 4)

static void end_family(struct family *family)
{
	for (unsigned i = 0; i < N_MEMBERS; i++)
		if (family->down[i][1] >= 0)
			end_member(family, i);
	close(family->up[0]);
	assert_true(wait_for(n_leased(family->dut) == 0));
}

static const char *const pools[] = {
	"p=4K:8M,arena=1M,users=*,isolation=lease",
	"p=4K:8M,arena=1M,users=*,isolation=tenant",
	"p=4K:8M,arena=1M,users=*,isolation=pool",
};

#define for_each_pool(dut)                                                                                   \
	for (unsigned pool_ = 0; pool_ < 3 && (dut_start(dut, DUT_WORDS("--pool", pools[pool_])), true);     \
	     dut_stop(dut), pool_++)

static void child_keeps_what_a_killed_parent_had(void **state)
{
	struct family family;
	struct dut dut;

	for_each_pool(&dut)
	{
		pid_t child = start_family(&family, &dut, 0);

		assert_int_equal(tell(&family, CHILD, 'a'), 0);
		assert_int_equal(tell(&family, CHILD, 'a'), 0); /* it does already */
		raw_kill(family.parent);
		assert_int_equal(tell(&family, CHILD, 'c'), 0);
		assert_int_equal(tell(&family, CHILD, 't'), 0);
		assert_int_equal(tell(&family, CHILD, 'c'), 0);
		assert_int_equal(n_leased(&dut), FAMILY_PAGES);
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_true(wait_for(n_leased(&dut) == 0));
		end_family(&family);
	}
}

static void child_frees_what_a_killed_parent_had(void **state)
{
	struct family family;
	struct dut dut;

	for_each_pool(&dut)
	{
		start_family(&family, &dut, 0);
		assert_int_equal(tell(&family, CHILD, 'a'), 0);
		raw_kill(family.parent);
		assert_int_equal(tell(&family, CHILD, 'f'), 0);
		assert_int_equal(n_leased(&dut), 0);
		end_family(&family);
	}
}

static void child_that_takes_no_part_keeps_nothing(void **state)
{
	struct family family;
	struct dut dut;

	for_each_pool(&dut)
	{
		start_family(&family, &dut, 0);
		raw_kill(family.parent);
		assert_true(wait_for(n_leased(&dut) == 0));
		assert_int_equal(tell(&family, CHILD, 'a'), ESTALE);
		assert_int_equal(tell(&family, CHILD, 'b'), 0);
		end_family(&family);
	}
}

/* Whoever calls the library takes the connection. */
static void parent_and_child_take_turns(void **state)
{
	struct family family;
	struct dut dut;

	for_each_pool(&dut)
	{
		pid_t child = start_family(&family, &dut, USER);

		assert_int_equal(tell(&family, CHILD, 'a'), 0);
		for (unsigned i = 0; i < 20; i++) {
			assert_int_equal(tell(&family, PARENT, 't'), 0);
			assert_int_equal(tell(&family, CHILD, 't'), 0);
		}
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(tell(&family, PARENT, 'c'), 0);
		assert_int_equal(tell(&family, PARENT, 't'), 0);
		assert_int_equal(n_leased(&dut), FAMILY_PAGES);
		end_family(&family);
	}
}

static void leases_end_when_the_last_one_closes(void **state)
{
	struct family family;
	struct dut dut;

	for_each_pool(&dut)
	{
		start_family(&family, &dut, 0);
		assert_int_equal(tell(&family, CHILD, 'a'), 0);
		assert_int_equal(tell(&family, PARENT, 'b'), 0);
		assert_int_equal(n_leased(&dut), FAMILY_PAGES);
		end_member(&family, PARENT);
		raw_join(family.parent);
		assert_int_equal(tell(&family, CHILD, 'c'), 0);
		assert_int_equal(tell(&family, CHILD, 't'), 0);
		assert_int_equal(tell(&family, CHILD, 'b'), 0);
		assert_int_equal(n_leased(&dut), 0);
		end_family(&family);
	}
}

/* ---- who is let in ---- */

/* The test is this user from now on, as far as the kernel tells the daemon. */
static void become(uid_t uid)
{
	assert_int_equal(seteuid(0), 0);
	assert_int_equal(seteuid(uid), 0);
}

static void raw_call_bye(struct raw *raw)
{
	struct raw_request ask;
	Hugepool__Reply *reply = raw_call(raw, raw_ask_bye(&ask));

	raw_check(!reply->error, "%s", reply->error->message);
	raw_drop(reply);
}

struct joining {
	const struct dut *dut;
	uint64_t session;
	uint8_t token[16];
	bool has_other_group;
	Hugepool__Code expected;
	int ready_fds[2]; /* says so, and stays; 0: does not */
};

static Hugepool__Request *ask_join(struct raw_request *ask, struct joining *joining)
{
	raw_ask_hello(ask);
	ask->hello.session = joining->session;
	ask->hello.token = (ProtobufCBinaryData){.data = joining->token, .len = sizeof(joining->token)};
	ask->hello.join = true;
	return &ask->request;
}

static void try_to_join(void *arg)
{
	struct joining *joining = arg;
	const gid_t group = 54321;
	struct raw_request ask;
	Hugepool__Reply *reply;
	struct raw raw;

	if (joining->has_other_group)
		raw_check(setgroups(1, &group) == 0, "setgroups: %s", strerror(errno));
	raw_connect(&raw, joining->dut);
	reply = raw_call(&raw, ask_join(&ask, joining));
	raw_check((reply->error ? reply->error->code : HUGEPOOL__CODE__OK) == joining->expected,
		  "code %d instead of %d: %s", reply->error ? (int)reply->error->code : 0,
		  (int)joining->expected, reply->error ? reply->error->message : "");
	raw_drop(reply);
	if (joining->ready_fds[1] == 0)
		return;
	raw_check(write(joining->ready_fds[1], "", 1) == 1, "nobody listens");
	for (;;)
		pause();
}

static void expect_join(struct joining *joining, uid_t uid, Hugepool__Code expected)
{
	joining->expected = expected;
	raw_join(raw_fork(uid, try_to_join, joining));
}

/* One that has joined, and stays. */
static pid_t start_joined(struct joining *joining)
{
	struct joining staying = *joining;
	pid_t pid;
	char byte;

	staying.expected = HUGEPOOL__CODE__OK;
	assert_int_equal(pipe(staying.ready_fds), 0);
	pid = raw_fork(0, try_to_join, &staying);
	close(staying.ready_fds[1]);
	assert_int_equal(read(staying.ready_fds[0], &byte, 1), 1);
	close(staying.ready_fds[0]);
	return pid;
}

/* The session is the test's own. */
static void open_joinable(struct raw *raw, struct joining *joining, const struct dut *dut)
{
	raw_open(raw, dut);
	*joining = (struct joining){.dut = dut, .session = raw->session};
	memcpy(joining->token, raw->token, sizeof(joining->token));
}

static void strangers_cannot_join(void **state)
{
	struct joining joining, wrong;
	struct raw_request ask;
	struct raw raw, other;
	struct dut dut;

	dut_need_root();
	dut_start(&dut, DUT_WORDS("--pool", pools[1], "--workers", "2"));
	open_joinable(&raw, &joining, &dut);
	raw_alloc(&raw, 1);
	expect_join(&joining, USER, HUGEPOOL__CODE__NO_SESSION);
	wrong = joining;
	wrong.token[15] ^= 1;
	expect_join(&wrong, 0, HUGEPOOL__CODE__NO_SESSION);
	wrong = joining;
	wrong.session += 64;
	expect_join(&wrong, 0, HUGEPOOL__CODE__NO_SESSION);
	wrong.session = joining.session ^ 1; /* of another worker */
	expect_join(&wrong, 0, HUGEPOOL__CODE__NO_SESSION);
	wrong.session = 0;
	expect_join(&wrong, 0, HUGEPOOL__CODE__BAD_REQUEST);
	wrong = joining;
	wrong.has_other_group = true;
	expect_join(&wrong, 0, HUGEPOOL__CODE__NO_SESSION);
	/* One that has a session cannot have another one. */
	raw_open(&other, &dut);
	raw_expect_error(&other, ask_join(&ask, &joining), HUGEPOOL__CODE__NOT_HELLO, "has a session");
	raw_close(&other);
	/* None of them has touched it. */
	assert_int_equal(raw_free(&raw, raw_alloc(&raw, 1)), HUGEPOOL__CODE__OK);
	expect_join(&joining, 0, HUGEPOOL__CODE__OK);
	raw_close(&raw);
	dut_stop(&dut);
}

static void holders_are_bounded_and_the_dead_are_none(void **state)
{
	struct joining joining;
	pid_t joined[7];
	struct raw raw;
	struct dut dut;
	unsigned n_fds;

	dut_start(&dut, DUT_WORDS("--pool", pools[1]));
	open_joinable(&raw, &joining, &dut);
	raw_alloc(&raw, 5);
	n_fds = dut_n_fds(&dut);
	for (unsigned i = 0; i < 7; i++)
		joined[i] = start_joined(&joining);
	expect_join(&joining, 0, HUGEPOOL__CODE__TOO_MANY);
	for (unsigned round = 0; round < 100; round++) {
		raw_kill(joined[round % 7]);
		joined[round % 7] = start_joined(&joining);
	}
	expect_join(&joining, 0, HUGEPOOL__CODE__TOO_MANY);
	for (unsigned i = 0; i < 7; i++)
		raw_kill(joined[i]);
	assert_int_equal(n_leased(&dut), 5);
	raw_close(&raw);
	assert_true(wait_for(dut_n_fds(&dut) < n_fds));
	dut_stop(&dut);
}

/* Each takes a seat of its user's, and leaves it, at once when it has died. Root may have all seats. */
static void holders_take_seats(void **state)
{
	static const char text[] = "{\"user_sessions\": 3}";
	char path[] = "/tmp/hugepool-adopt-XXXXXX";
	struct joining joining;
	struct raw_request ask;
	struct raw raw, other;
	pid_t joined[2];
	struct dut dut;
	int fd = mkstemp(path);

	dut_need_root();
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	dut_start(&dut, DUT_WORDS("--config", path, "--pool", pools[1]));
	unlink(path);
	become(USER);
	open_joinable(&raw, &joining, &dut);
	for (unsigned i = 0; i < 2; i++)
		joined[i] = start_joined(&joining);
	expect_join(&joining, 0, HUGEPOOL__CODE__TOO_MANY);
	raw_connect(&other, &dut);
	raw_expect_error(&other, raw_ask_hello(&ask), HUGEPOOL__CODE__TOO_MANY, "as many sessions as it may");
	for (unsigned round = 0; round < 50; round++) {
		raw_kill(joined[round % 2]);
		if (round % 3 == 0) {
			raw_close(&other);
			raw_open(&other, &dut);
			raw_free(&other, raw_alloc(&other, 1));
			raw_call_bye(&other);
		}
		joined[round % 2] = start_joined(&joining);
	}
	for (unsigned i = 0; i < 2; i++)
		raw_kill(joined[i]);
	raw_close(&other);
	raw_close(&raw);
	become(0);
	dut_stop(&dut);
}

struct ending {
	struct joining joining;
	int fds[2];
};

static void open_and_tell(void *arg)
{
	struct ending *ending = arg;
	struct raw raw;

	open_joinable(&raw, &ending->joining, ending->joining.dut);
	raw_alloc(&raw, 5);
	raw_check(write(ending->fds[1], &ending->joining, sizeof(ending->joining)) > 0, "nobody listens");
	for (;;)
		pause();
}

/* Whatever comes first in the daemon: its holder's death, which is certain, or the Hello. */
static void session_of_the_dead_cannot_be_joined(void **state)
{
	struct dut dut;

	dut_start(&dut, DUT_WORDS("--pool", pools[1], "--workers", "2"));
	for (unsigned round = 0; round < 100; round++) {
		struct ending ending = {.joining.dut = &dut};
		pid_t pid;

		assert_int_equal(pipe(ending.fds), 0);
		pid = raw_fork(0, open_and_tell, &ending);
		assert_int_equal(read(ending.fds[0], &ending.joining, sizeof(ending.joining)),
				 sizeof(ending.joining));
		close(ending.fds[0]);
		close(ending.fds[1]);
		raw_kill(pid);
		expect_join(&ending.joining, 0, HUGEPOOL__CODE__NO_SESSION);
	}
	assert_true(wait_for(n_leased(&dut) == 0));
	dut_stop(&dut);
}

/* ---- what the library refuses ---- */

static hp_client *client;

/* hp_adopt() in a child; where it works, hp_close() leaves the session to us. */
static int adopt_in_child(void (*before)(void))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		int r;

		if (before)
			before();
		r = -hp_adopt(client);
		if (r != 0 && hp_error()[0] == 0)
			r = 255;
		hp_close(client);
		_exit(r);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static void *used;

static void use_addresses(void)
{
	if (mmap(used, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != used)
		_exit(254);
}

static void granted(void *arg, int result, hp_lease *lease)
{
	*(hp_lease **)arg = lease;
}

static void adopting_is_refused_where_it_cannot_be(void **state)
{
	const struct hp_alloc_options private = {.flags = HP_PRIVATE}, guarded = {.flags = HP_GUARD};
	hp_lease *lease, *view, *started = NULL;
	hp_cache *cache;
	struct dut dut;

	dut_start(&dut, DUT_WORDS("--pool", pools[1]));
	assert_int_equal(hp_adopt(NULL), -EINVAL);
	assert_int_equal(hp_open(dut.socket, &client), 0);
	assert_int_equal(hp_adopt(client), 0);
	assert_int_equal(hp_alloc(client, PAGE, NULL, &lease), 0);
	assert_int_equal(hp_alloc(client, PAGE, &guarded, &view), 0);
	assert_int_equal(adopt_in_child(NULL), 0);

	used = hp_lease_data(lease);
	assert_int_equal(adopt_in_child(use_addresses), EEXIST);
	used = (uint8_t *)hp_lease_data(view) + PAGE; /* the guard */
	assert_int_equal(adopt_in_child(use_addresses), EEXIST);
	assert_int_equal(hp_free(view), 0);

	assert_int_equal(hp_alloc(client, PAGE, &private, &view), 0);
	assert_int_equal(adopt_in_child(NULL), EBUSY);
	assert_int_equal(hp_free(view), 0);

	assert_int_equal(hp_cache_new(client, NULL, &cache), 0);
	assert_int_equal(adopt_in_child(NULL), EBUSY);
	hp_cache_free(cache);

	assert_int_equal(hp_alloc_start(client, PAGE, NULL, granted, &started), 0);
	assert_int_equal(adopt_in_child(NULL), EBUSY);
	assert_true(wait_for(hp_dispatch(client) >= 0 && started));

	/* Nothing of that has harmed the parent, nor a child that can. */
	assert_int_equal(adopt_in_child(NULL), 0);
	memset(hp_lease_data(lease), 1, PAGE);
	assert_int_equal(n_leased(&dut), 2);
	client = hp_close(client);
	assert_int_equal(n_leased(&dut), 0);
	dut_stop(&dut);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(child_keeps_what_a_killed_parent_had, dut_kill_all),
		cmocka_unit_test_teardown(child_frees_what_a_killed_parent_had, dut_kill_all),
		cmocka_unit_test_teardown(child_that_takes_no_part_keeps_nothing, dut_kill_all),
		cmocka_unit_test_teardown(parent_and_child_take_turns, dut_kill_all),
		cmocka_unit_test_teardown(leases_end_when_the_last_one_closes, dut_kill_all),
		cmocka_unit_test_teardown(strangers_cannot_join, dut_kill_all),
		cmocka_unit_test_teardown(holders_are_bounded_and_the_dead_are_none, dut_kill_all),
		cmocka_unit_test_teardown(holders_take_seats, dut_kill_all),
		cmocka_unit_test_teardown(session_of_the_dead_cannot_be_joined, dut_kill_all),
		cmocka_unit_test_teardown(adopting_is_refused_where_it_cannot_be, dut_kill_all),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

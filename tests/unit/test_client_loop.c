/* test_client_loop.c - the library in programs with an event loop: calls that only begin, events, the one
 * descriptor; against a peer that answers when the test says.
 */
#include <config.h>

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/peer.h"
#include "tests/support/wait.h"

#define ARENA_PAGES 16384
#define MAX_HELD    4096

/* The peer's side: its thread's, and the test's in errands. */
static struct {
	int arena_fd;
	bool shown;
	bool holds_allocs; /* Allocs are answered by let_go() */
	uint64_t held[MAX_HELD], n_held;
	uint64_t last_lease;
	unsigned n_allocs, n_frees, n_again;
	unsigned hang_up_at; /* the Alloc of this number is not answered, but the connection ended; 0: none */
	uint32_t kinds;
} side;

static struct peer peer;
static hp_client *client;

static void fill_info(Hugepool__ArenaInfo *info)
{
	hugepool__arena_info__init(info);
	info->arena = 1;
	info->n_pages = ARENA_PAGES;
	info->page_bytes = PEER_PAGE;
}

static void answer_alloc(uint64_t id)
{
	Hugepool__Run run = HUGEPOOL__RUN__INIT, *run_ptr = &run;
	Hugepool__Grant grant = HUGEPOOL__GRANT__INIT, *grant_ptr = &grant;
	Hugepool__ArenaInfo info, *info_ptr = &info;
	Hugepool__AllocReply alloc = HUGEPOOL__ALLOC_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	fill_info(&info);
	run.arena = 1;
	run.first_page = side.last_lease % ARENA_PAGES;
	run.n_pages = 1;
	grant.lease = ++side.last_lease;
	grant.n_runs = 1;
	grant.runs = &run_ptr;
	alloc.n_grants = 1;
	alloc.grants = &grant_ptr;
	alloc.n_new_arenas = side.shown ? 0 : 1;
	alloc.new_arenas = &info_ptr;
	reply.id = id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_ALLOC;
	reply.alloc = &alloc;
	peer_reply(&peer, &reply, &side.arena_fd, side.shown ? 0 : 1);
	side.shown = true;
}

/* Its descriptor went with a connection that broke. */
static void answer_arena(const Hugepool__Request *request)
{
	Hugepool__ArenaReply arena = HUGEPOOL__ARENA_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;
	Hugepool__ArenaInfo info;

	fill_info(&info);
	arena.arena = &info;
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_ARENA;
	reply.arena = &arena;
	peer_reply(&peer, &reply, &side.arena_fd, 1);
}

static void answer(struct peer *unused, const Hugepool__Request *request)
{
	side.n_again += request->again;
	switch (request->method_case) {
	case HUGEPOOL__REQUEST__METHOD_ALLOC:
		if (++side.n_allocs == side.hang_up_at)
			peer_hang_up(&peer);
		else if (side.holds_allocs)
			side.held[side.n_held++ % MAX_HELD] = request->id;
		else
			answer_alloc(request->id);
		break;
	case HUGEPOOL__REQUEST__METHOD_ARENA:
		answer_arena(request);
		break;
	case HUGEPOOL__REQUEST__METHOD_FREE:
		side.n_frees++;
		peer_reply_free(&peer, request->id);
		break;
	case HUGEPOOL__REQUEST__METHOD_SUBSCRIBE:
		side.kinds = request->subscribe->kinds;
		peer_reply_subscribe(&peer, request->id);
		break;
	case HUGEPOOL__REQUEST__METHOD_RECEIVED:
		break;
	default:
		peer_reply_error(&peer, request->id, HUGEPOOL__CODE__UNKNOWN_METHOD);
	}
}

/* Answer what is held, the last first, and hold no more. */
static void let_go(struct peer *unused, void *arg)
{
	side.holds_allocs = false;
	while (side.n_held > 0)
		answer_alloc(side.held[--side.n_held]);
}

static void get_n_held(struct peer *unused, void *arg)
{
	*(uint64_t *)arg = side.n_held;
}

static void get_n_hellos(struct peer *unused, void *arg)
{
	*(unsigned *)arg = peer.n_hellos;
}

static unsigned n_hellos(void)
{
	unsigned n = 0;

	peer_do(&peer, get_n_hellos, &n);
	return n;
}

static void see_again(struct peer *unused, void *arg)
{
	*(bool *)arg = side.n_again > 0;
}

static void hang_up(struct peer *unused, void *arg)
{
	peer_hang_up(&peer);
}

/* Wait until the peer holds that many. */
static void wait_held(uint64_t n)
{
	uint64_t n_held = 0;

	assert_true(wait_for((peer_do(&peer, get_n_held, &n_held), n_held >= n)));
	assert_int_equal(n_held, n);
}

/* ---- the program's side ---- */

static struct {
	unsigned n_done, n_failed;
	int last_error;
	hp_lease *leases[MAX_HELD];
	unsigned n_leases, n_events;
	struct {
		unsigned kind;
		char pool[16];
		uint64_t lease, arena;
		int missed;
	} events[128];
} seen;

static void on_lease(void *arg, int result, hp_lease *lease)
{
	seen.n_done++;
	if (result < 0) {
		seen.n_failed++;
		seen.last_error = result;
		assert_true(strlen(hp_error()) > 0);
		assert_null(lease);
	} else if (lease) {
		seen.leases[seen.n_leases++] = lease;
		memset(hp_lease_data(lease), 1, hp_lease_bytes(lease));
	}
}

static bool is_readable(int fd, int wait_ms)
{
	return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, wait_ms) == 1;
}

/* As a loop does it: poll, dispatch, until so many callbacks were called. */
static void dispatch_until(unsigned n)
{
	int fd = hp_fd(client);

	assert_true(fd >= 0);
	while (seen.n_done + seen.n_events < n) {
		assert_true(is_readable(fd, WAIT_MAX_MS));
		assert_true(hp_dispatch(client) >= 0);
	}
	assert_int_equal(seen.n_done + seen.n_events, n);
}

/* Whatever is left to be done is nothing that calls back, and then the descriptor is silent. */
static void assert_silent(void)
{
	for (unsigned i = 0; i < 100 && is_readable(hp_fd(client), 0); i++)
		assert_int_equal(hp_dispatch(client), 0);
	assert_false(is_readable(hp_fd(client), 0));
}

static int set_up(void **state)
{
	memset(&side, 0, sizeof(side));
	memset(&seen, 0, sizeof(seen));
	side.arena_fd = peer_arena_fd(ARENA_PAGES);
	peer_start(&peer, answer);
	assert_int_equal(hp_open(peer.socket, &client), 0);
	return 0;
}

static int tear_down(void **state)
{
	client = hp_close(client);
	peer_stop(&peer);
	close(side.arena_fd);
	return 0;
}

static void start(unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(hp_alloc_start(client, 1, NULL, on_lease, NULL), 0);
}

/* ---- calls that only begin ---- */

static void loop_alloc_and_free_call_back_once(void **state)
{
	start(1);
	assert_int_equal(seen.n_done, 0);
	dispatch_until(1);
	assert_int_equal(seen.n_leases, 1);
	assert_int_equal(hp_lease_bytes(seen.leases[0]), PEER_PAGE);
	assert_int_equal(hp_free_start(seen.leases[0], HP_COLD, on_lease, NULL), 0);
	dispatch_until(2);
	assert_int_equal(seen.n_failed, 0);
	assert_int_equal(side.n_frees, 1);
	assert_silent();
}

static void loop_failure_comes_with_its_sentence(void **state)
{
	assert_int_equal(hp_lease_open_start(client, "name", 0, on_lease, NULL), 0);
	dispatch_until(1);
	assert_int_equal(seen.last_error, -EPROTO); /* the peer does not know Open */
	assert_int_equal(hp_alloc_start(client, 0, NULL, on_lease, NULL), -EINVAL);
	assert_int_equal(hp_alloc_start(client, 1, NULL, NULL, NULL), -EINVAL);
	assert_int_equal(hp_lease_open_start(client, "", 0, on_lease, NULL), -EINVAL);
	assert_silent();
	assert_int_equal(seen.n_done, 1);
}

static void loop_thousands_are_under_way(void **state)
{
	const unsigned n = 4000;

	start(n);
	dispatch_until(n);
	assert_int_equal(seen.n_leases, n);
	assert_int_equal(seen.n_failed, 0);
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(hp_free_start(seen.leases[i], 0, NULL, NULL), 0);
	/* Those have no callback: one that has comes behind them. */
	start(1);
	dispatch_until(n + 1);
	assert_int_equal(hp_free(seen.leases[n]), 0);
	assert_int_equal(side.n_frees, n + 1);
}

/* The daemon reads nothing more while too many wait: so they wait here, and what frees memory does not. */
static void loop_frees_pass_those_who_wait_for_memory(void **state)
{
	hp_lease *lease, *other;

	assert_int_equal(hp_alloc(client, 1, NULL, &lease), 0);
	assert_int_equal(hp_alloc(client, 1, NULL, &other), 0);
	side.holds_allocs = true;
	start(500);
	wait_held(48);
	assert_int_equal(hp_free(lease), 0);
	assert_int_equal(hp_free_start(other, 0, on_lease, NULL), 0);
	dispatch_until(1);
	assert_int_equal(seen.n_leases, 0);
	peer_do(&peer, let_go, NULL);
	dispatch_until(501);
	assert_int_equal(seen.n_leases, 500);
}

static void *alloc_in_thread(void *arg)
{
	hp_lease *lease = NULL;

	return (void *)(intptr_t)(hp_alloc(client, 1, NULL, &lease) < 0 || hp_free(lease) < 0);
}

/* A thread that waits for its own call reads what is ours as well, and the descriptor says so. */
static void loop_is_told_of_what_another_thread_received(void **state)
{
	pthread_t threads[4];
	void *bad;

	assert_true(hp_fd(client) >= 0);
	side.holds_allocs = true;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, alloc_in_thread, NULL), 0);
	wait_held(4);
	start(20);
	wait_held(24);
	peer_do(&peer, let_go, NULL);
	for (unsigned i = 0; i < 4; i++) {
		pthread_join(threads[i], &bad);
		assert_null(bad);
	}
	dispatch_until(20);
	assert_int_equal(seen.n_leases, 20);
	assert_silent();
}

static void *alloc_many_in_thread(void *arg)
{
	uintptr_t bad = 0;

	for (unsigned i = 0; i < 300; i++)
		bad += (uintptr_t)alloc_in_thread(NULL);
	return (void *)bad;
}

/* Threads that wait, threads that dispatch, and a connection that breaks again and again. */
static void loop_and_threads_share_a_client_whose_connection_breaks(void **state)
{
	pthread_t threads[3];
	void *bad;

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, alloc_many_in_thread, NULL), 0);
	for (unsigned round = 0; round < 20; round++) {
		start(10);
		peer_do(&peer, hang_up, NULL);
		dispatch_until(10 * (round + 1));
	}
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(threads[i], &bad);
		assert_null(bad);
	}
	assert_int_equal(seen.n_failed, 0);
	assert_int_equal(seen.n_leases, 200);
}

/* Frees a lease by waiting for it, asks for another one, and dispatches: all from within. */
static void on_lease_busily(void *arg, int result, hp_lease *lease)
{
	unsigned *left = arg;

	seen.n_done++;
	assert_int_equal(result, 0);
	assert_int_equal(hp_free(lease), 0);
	if (*left == 0)
		return;
	--*left;
	assert_int_equal(hp_alloc_start(client, 1, NULL, on_lease_busily, arg), 0);
	assert_true(hp_dispatch(client) >= 0);
}

static void loop_callbacks_call_what_they_like(void **state)
{
	unsigned left = 50;

	assert_int_equal(hp_alloc_start(client, 1, NULL, on_lease_busily, &left), 0);
	dispatch_until(51);
	assert_int_equal(side.n_frees, 51);
	assert_silent();
}

/* ---- connections ---- */

static void loop_mends_a_broken_connection(void **state)
{
	int fd = hp_fd(client);
	bool sent_again;

	side.hang_up_at = 3;
	start(10);
	dispatch_until(10);
	assert_int_equal(seen.n_failed, 0);
	peer_do(&peer, see_again, &sent_again);
	assert_true(sent_again);
	assert_int_equal(n_hellos(), 2);
	assert_int_equal(hp_fd(client), fd);

	/* Also when nothing is under way, for the sake of events. */
	peer_do(&peer, hang_up, NULL);
	for (unsigned i = 0; n_hellos() < 3; i++) {
		assert_true(i < 1000);
		assert_true(is_readable(fd, WAIT_MAX_MS));
		assert_int_equal(hp_dispatch(client), 0);
	}
	assert_silent();
	start(1);
	dispatch_until(11);
}

static void loop_that_has_lost_its_session_says_so(void **state)
{
	hp_lease *lease;
	int r = 0;

	assert_int_equal(hp_alloc(client, 1, NULL, &lease), 0);
	side.holds_allocs = true;
	start(60);
	wait_held(48);
	peer_do(&peer, peer_forget, NULL);
	for (unsigned i = 0; r >= 0; i++) {
		assert_true(i < 1000);
		assert_true(is_readable(hp_fd(client), WAIT_MAX_MS));
		r = hp_dispatch(client);
	}
	assert_int_equal(r, -ESTALE);
	assert_int_equal(seen.n_done, 60);
	assert_int_equal(seen.n_failed, 60);
	assert_int_equal(seen.last_error, -ESTALE);
	assert_int_equal(hp_dispatch(client), -ESTALE);
	assert_int_equal(hp_alloc_start(client, 1, NULL, on_lease, NULL), -ESTALE);
	memset(hp_lease_data(lease), 1, hp_lease_bytes(lease)); /* still this process's memory */
	assert_int_equal(hp_free(lease), -ESTALE);
}

static void loop_without_a_daemon_gives_up_and_tries_again(void **state)
{
	int r = 0;

	unlink(peer.socket);
	side.holds_allocs = true;
	start(3);
	wait_held(3);
	peer_do(&peer, hang_up, NULL);
	while (r >= 0) {
		assert_true(is_readable(hp_fd(client), WAIT_MAX_MS));
		r = hp_dispatch(client);
	}
	assert_int_equal(r, -ECONNRESET);
	assert_int_equal(seen.n_failed, 3);
	assert_int_equal(seen.last_error, -ECONNRESET);
	/* It goes on trying. */
	assert_true(is_readable(hp_fd(client), WAIT_MAX_MS));
	assert_int_equal(hp_dispatch(client), 0);
	start(1);
	client = hp_close(client);
	assert_int_equal(seen.last_error, -ECANCELED);
}

static void loop_close_cancels_what_is_left(void **state)
{
	side.holds_allocs = true;
	start(100);
	wait_held(48);
	client = hp_close(client);
	assert_int_equal(seen.n_done, 100);
	assert_int_equal(seen.n_failed, 100);
	assert_int_equal(seen.last_error, -ECANCELED);
}

/* ---- events ---- */

struct telling {
	unsigned n;
	Hugepool__EventKind kind;
	const char *pool;
	bool missed;
};

static void tell(struct peer *unused, void *arg)
{
	const struct telling *telling = arg;
	Hugepool__Event event = HUGEPOOL__EVENT__INIT, *event_ptr = &event;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	event.kind = telling->kind;
	event.pool = (char *)(uintptr_t)telling->pool;
	event.missed = telling->missed;
	reply.n_events = 1;
	reply.events = &event_ptr;
	for (unsigned i = 0; i < telling->n; i++) {
		event.lease = i + 1;
		peer_reply(&peer, &reply, NULL, 0);
	}
}

static void on_event(void *arg, const struct hp_event *event)
{
	unsigned i = seen.n_events++;

	assert_ptr_equal(arg, &seen);
	seen.events[i].kind = event->kind;
	strncpy(seen.events[i].pool, event->pool, sizeof(seen.events[i].pool) - 1);
	seen.events[i].lease = event->lease_id;
	seen.events[i].arena = event->arena;
	seen.events[i].missed = event->missed;
}

static void subscribe(unsigned kinds)
{
	assert_int_equal(hp_subscribe(client, kinds, on_event, &seen), 0);
	assert_int_equal(side.kinds, kinds);
}

/* Have something told, and received by a call that waits: not by hp_dispatch(). */
static void be_told(struct telling telling)
{
	peer_do(&peer, tell, &telling);
	assert_int_equal(hp_free_id(client, 1000), 0);
}

static void event_waits_for_dispatch(void **state)
{
	int fd = hp_fd(client);

	subscribe(HP_EVENT_REVOKED | HP_EVENT_PRESSURE);
	assert_silent();
	be_told((struct telling){.n = 1, .kind = HUGEPOOL__EVENT_KIND__REVOKED, .pool = "p"});
	be_told((struct telling){.n = 1, .kind = HUGEPOOL__EVENT_KIND__DRAINED, .pool = "p"}); /* not ours */
	be_told((struct telling){.n = 1, .kind = (Hugepool__EventKind)40, .pool = "p"});
	assert_int_equal(seen.n_events, 0);
	assert_true(is_readable(fd, 0));
	assert_int_equal(hp_dispatch(client), 1);
	assert_int_equal(seen.n_events, 1);
	assert_int_equal(seen.events[0].kind, HP_EVENT_REVOKED);
	assert_int_equal(seen.events[0].lease, 1);
	assert_string_equal(seen.events[0].pool, "p");
	assert_false(seen.events[0].missed);
	assert_silent();

	/* Received by hp_dispatch() itself. */
	peer_do(&peer, tell,
		&(struct telling){
			.n = 1, .kind = HUGEPOOL__EVENT_KIND__PRESSURE, .pool = "p", .missed = true});
	dispatch_until(2);
	assert_int_equal(seen.events[1].kind, HP_EVENT_PRESSURE);
	assert_true(seen.events[1].missed);
}

static void event_of_pressure_waits_once_a_pool(void **state)
{
	subscribe(HP_EVENT_PRESSURE);
	be_told((struct telling){.n = 10, .kind = HUGEPOOL__EVENT_KIND__PRESSURE, .pool = "p"});
	be_told((struct telling){.n = 10, .kind = HUGEPOOL__EVENT_KIND__PRESSURE, .pool = "q"});
	be_told((struct telling){.n = 10, .kind = HUGEPOOL__EVENT_KIND__PRESSURE, .pool = "p"});
	assert_int_equal(hp_dispatch(client), 2);
	assert_string_equal(seen.events[0].pool, "p");
	assert_string_equal(seen.events[1].pool, "q");
	be_told((struct telling){.n = 1, .kind = HUGEPOOL__EVENT_KIND__PRESSURE, .pool = "p"});
	assert_int_equal(hp_dispatch(client), 1);
}

static void event_queue_keeps_the_last_and_says_that_others_are_missed(void **state)
{
	subscribe(HP_EVENT_RESTORED);
	be_told((struct telling){.n = 100, .kind = HUGEPOOL__EVENT_KIND__RESTORED, .pool = "p"});
	assert_int_equal(hp_dispatch(client), 64);
	assert_int_equal(seen.events[0].lease, 37);
	assert_true(seen.events[0].missed);
	for (unsigned i = 1; i < 64; i++) {
		assert_int_equal(seen.events[i].lease, 37 + i);
		assert_false(seen.events[i].missed);
	}
}

static void event_subscription_is_changed_and_ended(void **state)
{
	subscribe(HP_EVENT_DRAINED | HP_EVENT_RESTORED);
	be_told((struct telling){.n = 2, .kind = HUGEPOOL__EVENT_KIND__DRAINED, .pool = "p"});
	be_told((struct telling){.n = 2, .kind = HUGEPOOL__EVENT_KIND__RESTORED, .pool = "p"});
	subscribe(HP_EVENT_RESTORED);
	assert_int_equal(hp_dispatch(client), 2);
	assert_int_equal(seen.events[0].kind, HP_EVENT_RESTORED);
	assert_int_equal(seen.events[1].lease, 2);
	be_told((struct telling){.n = 2, .kind = HUGEPOOL__EVENT_KIND__RESTORED, .pool = "p"});
	assert_int_equal(hp_subscribe(client, 0, NULL, NULL), 0);
	assert_int_equal(hp_dispatch(client), 0);
	assert_int_equal(hp_subscribe(client, HP_EVENT_DRAINED, NULL, NULL), -EINVAL);
	assert_int_equal(hp_subscribe(client, 1u << 4, on_event, NULL), -EINVAL);
}

/* ---- spinning before sleeping ---- */

#define LONG_SPIN_US 1000000

/* The thread looks for its answer as long as it does not come, and keeps nobody from the client. */
static void spin_gives_way_to_other_threads(void **state)
{
	uint64_t page_bytes, n_held = 0;
	pthread_t thread;
	void *bad;

	alarm(WAIT_MAX_MS / 1000);
	assert_int_equal(hp_set_spin(client, LONG_SPIN_US), 0);
	side.holds_allocs = true;
	assert_int_equal(pthread_create(&thread, NULL, alloc_in_thread, NULL), 0);
	wait_held(1);
	assert_int_equal(hp_pool_page_bytes(client, NULL, &page_bytes), 0);
	start(1);
	wait_held(2);
	peer_do(&peer, let_go, NULL);
	pthread_join(thread, &bad);
	assert_null(bad);
	dispatch_until(1);
	peer_do(&peer, get_n_held, &n_held);
	assert_int_equal(n_held, 0);
	alarm(0);
}

static void spin_that_was_too_short_goes_to_sleep(void **state)
{
	pthread_t thread;
	void *bad;

	assert_int_equal(hp_set_spin(NULL, 1), -EINVAL);
	assert_int_equal(hp_set_spin(client, LONG_SPIN_US + 1), -EINVAL);
	assert_int_equal(hp_set_spin(client, 1), 0);
	side.holds_allocs = true;
	assert_int_equal(pthread_create(&thread, NULL, alloc_in_thread, NULL), 0);
	wait_held(1);
	peer_do(&peer, let_go, NULL);
	pthread_join(thread, &bad);
	assert_null(bad);
}

/* What spins finds the connection broken, and a new one. */
static void spin_goes_on_over_a_broken_connection(void **state)
{
	hp_lease *lease;

	assert_int_equal(hp_set_spin(client, LONG_SPIN_US), 0);
	side.hang_up_at = 1;
	assert_int_equal(hp_alloc(client, 1, NULL, &lease), 0);
	assert_int_equal(n_hellos(), 2);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(loop_alloc_and_free_call_back_once),
		TEST(loop_failure_comes_with_its_sentence),
		TEST(loop_thousands_are_under_way),
		TEST(loop_frees_pass_those_who_wait_for_memory),
		TEST(loop_is_told_of_what_another_thread_received),
		TEST(loop_and_threads_share_a_client_whose_connection_breaks),
		TEST(loop_callbacks_call_what_they_like),
		TEST(loop_mends_a_broken_connection),
		TEST(loop_that_has_lost_its_session_says_so),
		TEST(loop_without_a_daemon_gives_up_and_tries_again),
		TEST(loop_close_cancels_what_is_left),
		TEST(event_waits_for_dispatch),
		TEST(event_of_pressure_waits_once_a_pool),
		TEST(event_queue_keeps_the_last_and_says_that_others_are_missed),
		TEST(event_subscription_is_changed_and_ended),
		TEST(spin_gives_way_to_other_threads),
		TEST(spin_that_was_too_short_goes_to_sleep),
		TEST(spin_goes_on_over_a_broken_connection),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* test_client_cache.c - hp_cache_*: buffers that a thread keeps; against a peer that counts what is asked of
 * it.
 */
#include <config.h>

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "client/include/hugepool.h"
#include "tests/support/peer.h"
#include "tests/support/wait.h"

#define ARENA_PAGES (1u << 18)
#define MAX_GRANTS  1024
#define N_THREADS   4
#define N_LAPS      3000

/* The peer's side: its thread's, and the test's in errands. */
static struct {
	int arena_fd;
	bool shown;
	uint64_t last_lease, n_live, limit; /* no more than so many are live */
	unsigned n_allocs, n_frees;         /* requests */
	uint32_t kinds;                     /* of the last Subscribe */
} side;

static struct peer peer;
static hp_client *client;

static void reply_with_arena(Hugepool__Reply *reply)
{
	peer_reply(&peer, reply, &side.arena_fd, side.shown ? 0 : 1);
	side.shown = true;
}

static void answer_alloc(const Hugepool__Request *request)
{
	static Hugepool__Run runs[MAX_GRANTS], *run_ptrs[MAX_GRANTS];
	static Hugepool__Grant grants[MAX_GRANTS], *grant_ptrs[MAX_GRANTS];
	Hugepool__ArenaInfo info = HUGEPOOL__ARENA_INFO__INIT, *info_ptr = &info;
	Hugepool__AllocReply alloc = HUGEPOOL__ALLOC_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	side.n_allocs++;
	if (side.n_live + request->alloc->n_n_pages > side.limit) {
		peer_reply_error(&peer, request->id, HUGEPOOL__CODE__POOL_FULL);
		return;
	}
	side.n_live += request->alloc->n_n_pages;
	for (size_t i = 0; i < request->alloc->n_n_pages; i++) {
		hugepool__run__init(&runs[i]);
		hugepool__grant__init(&grants[i]);
		runs[i].arena = 1;
		runs[i].first_page = side.last_lease % ARENA_PAGES;
		runs[i].n_pages = request->alloc->n_pages[i];
		run_ptrs[i] = &runs[i];
		grants[i].lease = ++side.last_lease;
		grants[i].n_runs = 1;
		grants[i].runs = &run_ptrs[i];
		grant_ptrs[i] = &grants[i];
	}
	info.arena = 1;
	info.n_pages = ARENA_PAGES;
	info.page_bytes = PEER_PAGE;
	alloc.n_grants = request->alloc->n_n_pages;
	alloc.grants = grant_ptrs;
	alloc.n_new_arenas = side.shown ? 0 : 1;
	alloc.new_arenas = &info_ptr;
	reply.id = request->id;
	reply.result_case = HUGEPOOL__REPLY__RESULT_ALLOC;
	reply.alloc = &alloc;
	reply_with_arena(&reply);
}

static void answer(struct peer *unused, const Hugepool__Request *request)
{
	switch (request->method_case) {
	case HUGEPOOL__REQUEST__METHOD_ALLOC:
		answer_alloc(request);
		break;
	case HUGEPOOL__REQUEST__METHOD_FREE:
		side.n_frees++;
		side.n_live -= request->free->n_leases;
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

struct figures {
	uint64_t n_live;
	unsigned n_allocs, n_frees;
	uint32_t kinds;
};

static void read_figures(struct peer *unused, void *arg)
{
	*(struct figures *)arg = (struct figures){.n_live = side.n_live,
						  .n_allocs = side.n_allocs,
						  .n_frees = side.n_frees,
						  .kinds = side.kinds};
}

static struct figures figures(void)
{
	struct figures now;

	peer_do(&peer, read_figures, &now);
	return now;
}

static void set_limit(struct peer *unused, void *arg)
{
	side.limit = *(uint64_t *)arg;
}

static void limit_to(uint64_t n)
{
	peer_do(&peer, set_limit, &n);
}

static void send_event(struct peer *unused, void *arg)
{
	Hugepool__Event *events = arg;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	reply.n_events = 1;
	reply.events = &events;
	peer_reply(&peer, &reply, NULL, 0);
}

static void tell(Hugepool__EventKind kind, const char *pool)
{
	Hugepool__Event event = HUGEPOOL__EVENT__INIT;

	event.kind = kind;
	event.pool = (char *)(uintptr_t)pool;
	peer_do(&peer, send_event, &event);
}

static void deafen(struct peer *unused, void *arg)
{
	peer.deaf = true;
	peer_hang_up(&peer);
}

/* ---- the program's side ---- */

static hp_cache *cache_of(struct hp_cache_options options)
{
	hp_cache *cache;

	assert_int_equal(hp_cache_new(client, &options, &cache), 0);
	return cache;
}

static hp_lease *take(hp_cache *cache)
{
	hp_lease *lease = NULL;
	int r = hp_cache_take(cache, &lease);

	if (r < 0)
		fail_msg("take: %d: %s", r, hp_error());
	return lease;
}

static void take_many(hp_cache *cache, hp_lease **leases, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		leases[i] = take(cache);
}

static void put_many(hp_cache *cache, hp_lease *const *leases, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		assert_int_equal(hp_cache_put(cache, leases[i]), 0);
}

/* Run it on a thread of its own, which exits then. */
static void on_thread(void *(*run)(void *arg), void *arg)
{
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run, arg), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static int setup(void **state)
{
	memset(&side, 0, sizeof(side));
	side.limit = ARENA_PAGES;
	side.arena_fd = peer_arena_fd(ARENA_PAGES);
	peer_start(&peer, answer);
	assert_int_equal(hp_open(peer.socket, &client), 0);
	return 0;
}

static int teardown(void **state)
{
	client = hp_close(client);
	peer_stop(&peer);
	close(side.arena_fd);
	return 0;
}

/* ---- taking and putting ---- */

static void cache_warm_buffer_costs_no_request(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.high = 8, .batch = 4});
	hp_lease *first = take(cache), *lease;

	assert_int_equal(figures().n_allocs, 1);
	assert_int_equal(figures().n_live, 4);
	assert_int_equal(hp_lease_bytes(first), PEER_PAGE);
	strcpy(hp_lease_data(first), "mine");
	assert_int_equal(hp_cache_put(cache, first), 0);
	for (unsigned i = 0; i < 20000; i++) {
		lease = take(cache);
		assert_ptr_equal(lease, first);
		assert_string_equal(hp_lease_data(lease), "mine");
		assert_int_equal(hp_cache_put(cache, lease), 0);
	}
	assert_int_equal(figures().n_allocs, 1);
	assert_int_equal(figures().n_frees, 0);
	assert_null(hp_cache_free(cache));
	assert_int_equal(figures().n_live, 0);
	assert_int_equal(figures().n_frees, 1);
}

static void cache_zeroed_buffer_is_zero_again(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.flags = HP_ZEROED});
	static const char zeros[PEER_PAGE];
	hp_lease *lease = take(cache);

	memset(hp_lease_data(lease), 0xa5, PEER_PAGE);
	assert_int_equal(hp_cache_put(cache, lease), 0);
	assert_ptr_equal(take(cache), lease);
	assert_memory_equal(hp_lease_data(lease), zeros, PEER_PAGE);
	hp_cache_free(cache);
}

static void cache_takes_and_gives_in_batches_and_keeps_no_more_than_high(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.high = 8, .batch = 4});
	hp_lease *leases[40];

	take_many(cache, leases, 40);
	assert_int_equal(figures().n_allocs, 10);
	for (unsigned i = 0; i < 40; i++)
		for (unsigned k = 0; k < i; k++)
			assert_ptr_not_equal(hp_lease_data(leases[i]), hp_lease_data(leases[k]));
	for (unsigned i = 0; i < 40; i++) {
		assert_int_equal(hp_cache_put(cache, leases[i]), 0);
		assert_true(figures().n_live <= 40 - i - 1 + 8);
	}
	assert_int_equal(figures().n_frees, 8);
	/* the warmest are the last */
	for (unsigned i = 0; i < 8; i++)
		assert_ptr_equal(take(cache), leases[39 - i]);
	put_many(cache, leases + 32, 8);
	assert_int_equal(hp_cache_drain(cache), 0);
	assert_int_equal(figures().n_live, 0);
	hp_cache_free(cache);
}

static void cache_buffers_that_are_out_outlive_it_as_leases(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.bytes = 3 * PEER_PAGE - 1, .high = 2});
	hp_lease *lease = take(cache), *other = take(cache);

	assert_int_equal(hp_lease_bytes(lease), 3 * PEER_PAGE);
	assert_int_equal(hp_free(other), 0);
	hp_cache_free(cache);
	assert_int_equal(figures().n_live, 1);
	memset(hp_lease_data(lease), 1, 3 * PEER_PAGE);
	cache = cache_of((struct hp_cache_options){.bytes = 3 * PEER_PAGE});
	assert_int_equal(hp_cache_put(cache, lease), -EINVAL);
	assert_int_equal(hp_free(lease), 0);
	hp_cache_free(cache);
	assert_int_equal(figures().n_live, 0);
}

static void cache_refuses_what_makes_no_sense(void **state)
{
	struct hp_cache_options options[] = {
		{.flags = HP_PRIVATE}, {.flags = HP_DETACHED}, {.flags = HP_READ_ONLY},
		{.high = 1u << 30},    {.batch = 257},         {.high = 4, .batch = 5},
	};
	hp_cache *cache, *other;
	hp_lease *lease, *alien;

	for (unsigned i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		assert_int_equal(hp_cache_new(client, &options[i], &cache), -EINVAL);
	assert_int_equal(hp_cache_new(NULL, NULL, &cache), -EINVAL);
	assert_int_equal(hp_cache_new(client, NULL, NULL), -EINVAL);
	assert_int_equal(hp_cache_new(client, &(struct hp_cache_options){.pool = "none"}, &cache), -ENOENT);
	assert_int_equal(hp_cache_take(NULL, &lease), -EINVAL);
	assert_int_equal(hp_cache_drain(NULL), -EINVAL);
	assert_null(hp_cache_free(NULL));

	assert_int_equal(hp_cache_new(client, NULL, &cache), 0);
	assert_int_equal(hp_cache_new(client, NULL, &other), 0);
	assert_int_equal(hp_cache_take(cache, NULL), -EINVAL);
	lease = take(cache);
	assert_int_equal(hp_cache_put(NULL, lease), -EINVAL);
	assert_int_equal(hp_cache_put(cache, NULL), -EINVAL);
	assert_int_equal(hp_cache_put(other, lease), -EINVAL);
	assert_int_equal(hp_alloc(client, PEER_PAGE, NULL, &alien), 0);
	assert_int_equal(hp_cache_put(cache, alien), -EINVAL);
	assert_int_equal(hp_cache_put(cache, lease), 0);
	assert_int_equal(hp_cache_put(cache, lease), -EINVAL); /* it lies there already */
	assert_ptr_equal(take(cache), lease);
	assert_ptr_not_equal(take(cache), lease);
	hp_cache_free(cache); /* the other one is hp_close()'s */
}

static void cache_several_are_kept_apart(void **state)
{
	hp_cache *small = cache_of((struct hp_cache_options){.high = 4});
	hp_cache *large = cache_of((struct hp_cache_options){.bytes = 8 * PEER_PAGE, .high = 4});

	for (unsigned i = 0; i < 100; i++) {
		hp_lease *one = take(small), *eight = take(large);

		assert_int_equal(hp_lease_bytes(one), PEER_PAGE);
		assert_int_equal(hp_lease_bytes(eight), 8 * PEER_PAGE);
		assert_int_equal(hp_cache_put(large, eight), 0);
		assert_int_equal(hp_cache_put(small, one), 0);
	}
	assert_int_equal(figures().n_allocs, 2);
	hp_cache_free(small);
	hp_cache_free(large);
	assert_int_equal(figures().n_live, 0);
}

/* ---- memory is short ---- */

static void cache_without_room_for_a_batch_takes_one(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.high = 8, .batch = 4});
	hp_lease *leases[3], *lease;

	limit_to(3);
	take_many(cache, leases, 3);
	assert_int_equal(hp_cache_take(cache, &lease), -ENOSPC);
	assert_true(strlen(hp_error()) > 0);
	put_many(cache, leases, 3);
	hp_cache_free(cache);
	assert_int_equal(figures().n_live, 0);
}

struct idler {
	hp_cache *cache;
	pthread_barrier_t filled, done;
};

/* Keeps some, and does nothing until it exits. */
static void *idle(void *arg)
{
	struct idler *idler = arg;
	hp_lease *leases[4];

	take_many(idler->cache, leases, 4);
	put_many(idler->cache, leases, 4);
	pthread_barrier_wait(&idler->filled);
	pthread_barrier_wait(&idler->done);
	return NULL;
}

static pthread_t start_idler(struct idler *idler)
{
	pthread_t thread;

	idler->cache = cache_of((struct hp_cache_options){.high = 4, .batch = 4});
	pthread_barrier_init(&idler->filled, NULL, 2);
	pthread_barrier_init(&idler->done, NULL, 2);
	assert_int_equal(pthread_create(&thread, NULL, idle, idler), 0);
	pthread_barrier_wait(&idler->filled);
	assert_int_equal(figures().n_live, 4);
	return thread;
}

static void end_idler(struct idler *idler, pthread_t thread)
{
	pthread_barrier_wait(&idler->done);
	assert_int_equal(pthread_join(thread, NULL), 0);
	pthread_barrier_destroy(&idler->filled);
	pthread_barrier_destroy(&idler->done);
}

static void cache_of_an_idle_thread_is_taken_from_when_memory_is_short(void **state)
{
	struct idler idler;
	pthread_t thread = start_idler(&idler);
	hp_lease *leases[4], *lease;

	limit_to(4);
	take_many(idler.cache, leases, 4);
	assert_int_equal(hp_cache_take(idler.cache, &lease), -ENOSPC);
	end_idler(&idler, thread);
	put_many(idler.cache, leases, 4);
	hp_cache_free(idler.cache);
	assert_int_equal(figures().n_live, 0);
}

static void cache_under_pressure_gives_back_what_all_threads_have(void **state)
{
	struct idler idler;
	pthread_t thread = start_idler(&idler);
	hp_lease *lease = take(idler.cache);

	assert_int_equal(hp_cache_put(idler.cache, lease), 0);
	assert_int_equal(figures().n_live, 8);
	tell(HUGEPOOL__EVENT_KIND__PRESSURE, "another");
	tell(HUGEPOOL__EVENT_KIND__PRESSURE, PEER_POOL);
	/* takes look for it, sooner or later; then a buffer is asked for alone */
	for (unsigned i = 0; i < 20000; i++)
		assert_int_equal(hp_cache_put(idler.cache, take(idler.cache)), 0);
	assert_true(figures().n_live <= 1);
	assert_int_equal(hp_cache_drain(idler.cache), 0);
	assert_int_equal(figures().n_live, 0);
	end_idler(&idler, thread);
	hp_cache_free(idler.cache);
}

static void cache_under_pressure_is_relieved_by_dispatch(void **state)
{
	struct idler idler;
	pthread_t thread = start_idler(&idler);

	tell(HUGEPOOL__EVENT_KIND__PRESSURE, PEER_POOL);
	assert_true(wait_for((assert_int_equal(hp_dispatch(client), 0), figures().n_live == 0)));
	end_idler(&idler, thread);
	hp_cache_free(idler.cache);
}

static void count_event(void *arg, const struct hp_event *event)
{
	*(unsigned *)arg |= event->kind;
}

static void cache_hears_of_pressure_whatever_the_program_subscribes_to(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.high = 4});
	unsigned told = 0;

	assert_int_equal(hp_cache_put(cache, take(cache)), 0);
	assert_int_equal(hp_subscribe(client, HP_EVENT_RESTORED, count_event, &told), 0);
	assert_true(figures().kinds & HP_EVENT_PRESSURE && figures().kinds & HP_EVENT_RESTORED);
	tell(HUGEPOOL__EVENT_KIND__RESTORED, PEER_POOL);
	tell(HUGEPOOL__EVENT_KIND__PRESSURE, PEER_POOL);
	assert_true(wait_for((assert_true(hp_dispatch(client) >= 0), figures().n_live == 0)));
	assert_int_equal(told, HP_EVENT_RESTORED);
	hp_cache_free(cache);
	/* and the other way round */
	cache = cache_of((struct hp_cache_options){.high = 4});
	assert_true(figures().kinds & HP_EVENT_RESTORED);
	hp_cache_free(cache);
}

static void cache_keeps_nothing_older_than_a_revocation(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.high = 8, .batch = 4});
	hp_lease *lease = take(cache), *newer;

	tell(HUGEPOOL__EVENT_KIND__REVOKED, PEER_POOL);
	assert_true(wait_for((assert_int_equal(hp_dispatch(client), 0), figures().n_live <= 1)));
	assert_int_equal(hp_cache_put(cache, lease), 0);
	assert_int_equal(figures().n_live, 0);
	newer = take(cache);
	assert_int_equal(hp_cache_put(cache, newer), 0);
	assert_ptr_equal(take(cache), newer);
	hp_cache_free(cache);
}

/* ---- threads ---- */

static void *use_once(void *arg)
{
	hp_cache *cache = arg;
	hp_lease *leases[5];

	take_many(cache, leases, 5);
	put_many(cache, leases, 5);
	return NULL;
}

static void cache_of_a_thread_that_exits_is_given_back(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.high = 8, .batch = 4});

	for (unsigned i = 0; i < 10; i++) {
		on_thread(use_once, cache);
		assert_int_equal(figures().n_live, 0);
	}
	hp_cache_free(cache);
}

static void *use_another(void *arg)
{
	hp_cache **cache = arg;

	use_once(*cache);
	hp_cache_free(*cache);
	*cache = cache_of((struct hp_cache_options){.high = 6});
	use_once(*cache);
	return NULL;
}

static void cache_freed_by_a_thread_leaves_nothing_to_its_exit(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.high = 8});

	use_once(cache);
	on_thread(use_another, &cache);
	assert_int_equal(figures().n_live, 0);
	hp_cache_free(cache);
}

/* Buffers wander from thread to thread: each is taken by one and put by the next. */
struct ring {
	hp_cache *cache;
	hp_lease *_Atomic places[N_THREADS];
	_Atomic unsigned n_started;
};

static void *wander(void *arg)
{
	struct ring *ring = arg;
	unsigned self = atomic_fetch_add(&ring->n_started, 1);

	for (unsigned i = 0; i < N_LAPS; i++) {
		hp_lease *lease = take(ring->cache), *other;
		uint32_t *word = hp_lease_data(lease);

		*word = self;
		other = atomic_exchange(&ring->places[(self + 1) % N_THREADS], lease);
		if (other)
			assert_int_equal(hp_cache_put(ring->cache, other), 0);
		if (i % 500 == 7)
			assert_int_equal(hp_cache_drain(ring->cache), 0);
	}
	return NULL;
}

static void cache_many_threads_pass_buffers_around(void **state)
{
	struct ring ring = {.cache = cache_of((struct hp_cache_options){.high = 8, .batch = 4})};
	pthread_t threads[N_THREADS];

	for (unsigned i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, wander, &ring), 0);
	for (unsigned i = 0; i < 50; i++) {
		tell(HUGEPOOL__EVENT_KIND__PRESSURE, PEER_POOL);
		assert_true(hp_dispatch(client) >= 0);
		wait_pause();
	}
	for (unsigned i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (unsigned i = 0; i < N_THREADS; i++)
		if (ring.places[i])
			assert_int_equal(hp_cache_put(ring.cache, ring.places[i]), 0);
	hp_cache_free(ring.cache);
	/* what hp_dispatch() has begun */
	assert_true(wait_for((assert_true(hp_dispatch(client) >= 0), figures().n_live == 0)));
}

/* ---- what ends ---- */

static void cache_of_a_lost_session_grants_nothing(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.high = 4});
	hp_lease *lease = take(cache), *other = take(cache), *none;

	assert_int_equal(hp_cache_put(cache, lease), 0);
	peer_do(&peer, peer_forget, NULL);
	assert_true(wait_for(hp_dispatch(client) == -ESTALE));
	assert_int_equal(hp_cache_take(cache, &none), -ESTALE);
	assert_true(strlen(hp_error()) > 0);
	assert_int_equal(hp_cache_put(cache, other), -ESTALE);
	hp_cache_free(cache);
}

static void cache_goes_on_while_the_daemon_is_away(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.high = 4});
	hp_lease *lease = take(cache);

	peer_do(&peer, deafen, NULL);
	for (unsigned i = 0; i < 20000; i++) {
		assert_int_equal(hp_cache_put(cache, lease), 0);
		assert_ptr_equal(take(cache), lease);
	}
	assert_int_equal(hp_cache_put(cache, lease), 0);
}

static void *use_in_child(void *arg)
{
	hp_cache *cache = arg;
	hp_lease *lease;

	if (hp_cache_take(cache, &lease) != -ECHILD || hp_cache_drain(cache) != -ECHILD ||
	    hp_cache_free(cache))
		_exit(2);
	return NULL;
}

/* Called when the thread exits, after the library's, which has the older key. */
static void end_child(void *arg)
{
	_exit(0);
}

/* Ends, as the thread that forked, in the child: its exit finds a part. */
static void *fork_and_exit(void *arg)
{
	hp_cache *cache = arg;
	hp_lease *lease = take(cache);
	pid_t pid;
	int status;

	assert_int_equal(hp_cache_put(cache, lease), 0);
	pid = fork();
	if (pid == 0) {
		pthread_key_t key;
		hp_client *own;
		hp_cache *own_cache;

		use_in_child(cache);
		if (hp_cache_put(cache, lease) != -ECHILD)
			_exit(3);
		hp_close(client);
		if (hp_open(peer.socket, &own) < 0 || hp_cache_new(own, NULL, &own_cache) < 0)
			_exit(4);
		hp_close(own);
		if (pthread_key_create(&key, end_child) != 0 || pthread_setspecific(key, cache) != 0)
			_exit(5);
		pthread_exit(NULL);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return NULL;
}

static void cache_in_a_forked_child_says_so(void **state)
{
	hp_cache *cache = cache_of((struct hp_cache_options){.high = 4, .batch = 2});
	hp_lease *lease = take(cache);

	assert_int_equal(hp_cache_put(cache, lease), 0);
	on_thread(fork_and_exit, cache);
	assert_ptr_equal(take(cache), lease);
	assert_int_equal(hp_cache_put(cache, lease), 0);
	hp_cache_free(cache);
	assert_int_equal(figures().n_live, 0);
}

static void cache_left_to_close_goes_with_the_client(void **state)
{
	for (unsigned i = 0; i < 3; i++)
		use_once(cache_of((struct hp_cache_options){.high = 4 + i}));
	on_thread(use_once, cache_of((struct hp_cache_options){.high = 4}));
}

int main(void)
{
#define CACHE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		CACHE_TEST(cache_warm_buffer_costs_no_request),
		CACHE_TEST(cache_zeroed_buffer_is_zero_again),
		CACHE_TEST(cache_takes_and_gives_in_batches_and_keeps_no_more_than_high),
		CACHE_TEST(cache_buffers_that_are_out_outlive_it_as_leases),
		CACHE_TEST(cache_refuses_what_makes_no_sense),
		CACHE_TEST(cache_several_are_kept_apart),
		CACHE_TEST(cache_without_room_for_a_batch_takes_one),
		CACHE_TEST(cache_of_an_idle_thread_is_taken_from_when_memory_is_short),
		CACHE_TEST(cache_under_pressure_gives_back_what_all_threads_have),
		CACHE_TEST(cache_under_pressure_is_relieved_by_dispatch),
		CACHE_TEST(cache_hears_of_pressure_whatever_the_program_subscribes_to),
		CACHE_TEST(cache_keeps_nothing_older_than_a_revocation),
		CACHE_TEST(cache_of_a_thread_that_exits_is_given_back),
		CACHE_TEST(cache_freed_by_a_thread_leaves_nothing_to_its_exit),
		CACHE_TEST(cache_many_threads_pass_buffers_around),
		CACHE_TEST(cache_of_a_lost_session_grants_nothing),
		CACHE_TEST(cache_goes_on_while_the_daemon_is_away),
		CACHE_TEST(cache_in_a_forked_child_says_so),
		CACHE_TEST(cache_left_to_close_goes_with_the_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

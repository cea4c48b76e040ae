/* bench_workers.c - what a worker does below its socket: unpacking, the zone and its caches, the records of
 * leases, packing. Two workers of one zone, each on a thread, against one.
 *
 * The leases are no_zero, so that pages go round in a worker's caches: the scrubber would be a third thread.
 */
#include <config.h>

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "daemon/rpc/dispatch.h"
#include "proto/frame.h"
#include "proto/hot.h"
#include "tests/bench/bench.h"
#include "tests/support/house.h"

#define N_ROUNDS       21
#define N_BURSTS       2000
#define N_BURSTS_SHORT 50
#define N_OUTSTANDING  64
#define MAX_PAGES      16384
#define UNPACK_MAX     (256u << 10)

struct message {
	uint8_t bytes[HOT_MAX_BYTES];
	uint32_t length;
};

/* A worker with one client. Each on lines of its own. */
struct desk {
	struct server server;
	struct connection connection;
	struct session *session;
	uint64_t last_id;
	pthread_barrier_t *start;
	unsigned n_bursts;
	uint64_t cpu_ns; /* that the last run took of a CPU */
} __attribute__((aligned(128)));

struct office {
	struct house house;
	struct service service;
	struct desk desks[HOUSE_WORKERS];
	double cpu_ns[HOUSE_WORKERS][BENCH_MAX_ROUNDS]; /* an operation's, beside so many others */
	unsigned n_rounds[HOUSE_WORKERS];
};

/* ---- requests ---- */

static void pack(struct desk *desk, Hugepool__Request *request, struct message *ret)
{
	request->id = ++desk->last_id;
	ret->length = (uint32_t)hot_pack_request(request, ret->bytes);
	assert_true(ret->length > 0);
}

static void pack_alloc(struct desk *desk, struct message *ret)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Alloc alloc = HUGEPOOL__ALLOC__INIT;
	uint64_t one = 1;

	alloc.n_pages = &one;
	alloc.n_n_pages = 1;
	alloc.no_zero = true;
	request.method_case = HUGEPOOL__REQUEST__METHOD_ALLOC;
	request.alloc = &alloc;
	pack(desk, &request, ret);
}

static void pack_free(struct desk *desk, uint64_t lease, struct message *ret)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Free ending = HUGEPOOL__FREE__INIT;

	ending.leases = &lease;
	ending.n_leases = 1;
	request.method_case = HUGEPOOL__REQUEST__METHOD_FREE;
	request.free = &ending;
	pack(desk, &request, ret);
}

/* The client takes its replies. */
static void empty(struct connection *connection)
{
	frame_writer_free(connection->writer);
	assert_int_equal(frame_writer_new(&connection->writer), 0);
}

static void dispatch(struct desk *desk, const struct message *message)
{
	assert_int_equal(dispatch_frame(&desk->connection, message->bytes, message->length), DISPATCH_DONE);
}

/* As many Allocs as are outstanding, then as many Frees. */
static void run_burst(struct desk *desk, const struct message *allocs)
{
	struct ledger *ledger = desk->session->shard->ledger;
	struct message ending;

	for (unsigned i = 0; i < N_OUTSTANDING; i++)
		dispatch(desk, &allocs[i]);
	assert_int_equal(desk->session->n_leases, N_OUTSTANDING);
	for (unsigned i = 0; i < N_OUTSTANDING; i++) {
		pack_free(desk, ledger_at(ledger, desk->session->first_lease)->id, &ending);
		dispatch(desk, &ending);
	}
	assert_int_equal(desk->session->n_leases, 0);
	empty(&desk->connection);
}

/* Of this thread: what other programs take is not in it. */
static uint64_t cpu_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void *work(void *arg)
{
	struct message allocs[N_OUTSTANDING];
	struct desk *desk = arg;
	uint64_t start_ns;

	for (unsigned i = 0; i < N_OUTSTANDING; i++)
		pack_alloc(desk, &allocs[i]);
	pthread_barrier_wait(desk->start);
	start_ns = cpu_now_ns();
	for (unsigned i = 0; i < desk->n_bursts; i++)
		run_burst(desk, allocs);
	desk->cpu_ns = cpu_now_ns() - start_ns;
	return NULL;
}

/* ---- the contest ---- */

/* Operations a second of so many workers together. */
static double run_workers(struct office *office, unsigned n)
{
	pthread_t threads[HOUSE_WORKERS];
	pthread_barrier_t start;
	uint64_t start_ns;
	unsigned n_bursts = bench_n(N_BURSTS, N_BURSTS_SHORT);

	pthread_barrier_init(&start, NULL, n + 1);
	for (unsigned i = 0; i < n; i++) {
		office->desks[i].start = &start;
		office->desks[i].n_bursts = n_bursts;
		assert_int_equal(pthread_create(&threads[i], NULL, work, &office->desks[i]), 0);
	}
	pthread_barrier_wait(&start);
	start_ns = bench_now_ns();
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	pthread_barrier_destroy(&start);
	office->cpu_ns[n - 1][office->n_rounds[n - 1]++] =
		(double)office->desks[0].cpu_ns / (2.0 * N_OUTSTANDING * n_bursts);
	return 2.0 * N_OUTSTANDING * n * n_bursts * 1e9 / (double)(bench_now_ns() - start_ns);
}

static void run_two(void *arg, double *ret)
{
	ret[0] = run_workers(arg, 2);
}

static void run_one(void *arg, double *ret)
{
	ret[0] = run_workers(arg, 1);
}

/* Pages for all that will be outstanding, in this worker's caches. */
static void stock_up(struct house *house, struct session *session)
{
	uint64_t ids[N_OUTSTANDING];

	for (unsigned i = 0; i < N_OUTSTANDING; i++)
		assert_int_equal(house_alloc(house, session, 1, &ids[i]), LEASE_OK);
	for (unsigned i = 0; i < N_OUTSTANDING; i++)
		assert_int_equal(lease_free(session, ids[i], true), LEASE_OK);
}

static void open_office(struct office *office)
{
	house_init(&office->house, MAX_PAGES, MAX_PAGES, MAX_PAGES, MAX_PAGES);
	office->service = (struct service){.pools = office->house.pools,
					   .n_pools = 1,
					   .ledger = office->house.ledger,
					   .seats = office->house.seats,
					   .accounts = office->house.accounts};
	for (unsigned i = 0; i < HOUSE_WORKERS; i++) {
		struct desk *desk = &office->desks[i];

		desk->server.service = &office->service;
		assert_int_equal(bump_init(&desk->server.bump, UNPACK_MAX), 0);
		desk->session = house_session(&office->house, i, 1);
		desk->connection = (struct connection){.magic = CONNECTION_MAGIC,
						       .fd = -1,
						       .server = &desk->server,
						       .session = desk->session};
		desk->session->connection = &desk->connection;
		assert_int_equal(frame_writer_new(&desk->connection.writer), 0);
		stock_up(&office->house, desk->session);
	}
}

static void close_office(struct office *office)
{
	for (unsigned i = 0; i < HOUSE_WORKERS; i++) {
		struct desk *desk = &office->desks[i];

		house_end_session(&office->house, desk->session);
		frame_writer_free(desk->connection.writer);
		bump_fini(&desk->server.bump);
	}
	house_fini(&office->house);
}

void bench_workers(void)
{
	static const struct bench_figure figure = {
		.name = "workers", .unit = "1/s", .is_rate = true, .goal = BENCH_AT_LEAST, .times = 1.8};
	static const struct bench_contest contest = {.peer_name = "one worker",
						     .figures = &figure,
						     .n_figures = 1,
						     .n_rounds = N_ROUNDS,
						     .ours = run_two,
						     .peer = run_one};
	static struct office office;

	open_office(&office);
	bench_run_contest(&contest, &office);
	bench_note("on its CPU an operation takes %.0f ns, beside another worker %.0f ns",
		   bench_median(office.cpu_ns[0], office.n_rounds[0]),
		   bench_median(office.cpu_ns[1], office.n_rounds[1]));
	close_office(&office);
}

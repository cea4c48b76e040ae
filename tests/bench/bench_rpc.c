/* bench_rpc.c - an Alloc or Free of a warm page by the library, one outstanding, against a raw ping-pong on a
 * stream socket: a server with epoll and a client that blocks, which send each other as many bytes as we do.
 */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/bench.h"
#include "tests/bench/bench_house.h"
#include "tests/bench/bench_pairs.h"
#include "tests/support/raw.h"

#define N_ROUNDS      21
#define N_PAIRS       10000
#define N_PAIRS_SHORT 200
#define FRAME_ROOM    256

/* Numbers as they are after a while. */
#define SOME_ID    UINT64_C(100000)
#define SOME_LEASE (UINT64_C(100000) << 24)
#define SOME_PAGE  1000

/* How long the frames of a pair are, in the order in which they are sent. */
struct sizes {
	size_t alloc, alloc_reply, free, free_reply;
};

static size_t frame_of_request(Hugepool__Request *request)
{
	request->id = SOME_ID;
	return FRAME_HEADER_BYTES + hugepool__request__get_packed_size(request);
}

static size_t frame_of_reply(Hugepool__Reply *reply)
{
	reply->id = SOME_ID;
	return FRAME_HEADER_BYTES + hugepool__reply__get_packed_size(reply);
}

static size_t frame_of_grant(void)
{
	Hugepool__Run run = HUGEPOOL__RUN__INIT, *runs = &run;
	Hugepool__Grant grant = HUGEPOOL__GRANT__INIT, *grants = &grant;
	Hugepool__AllocReply alloc = HUGEPOOL__ALLOC_REPLY__INIT;
	Hugepool__Reply reply = HUGEPOOL__REPLY__INIT;

	run.arena = 1;
	run.first_page = SOME_PAGE;
	run.n_pages = 1;
	grant.lease = SOME_LEASE;
	grant.n_runs = 1;
	grant.runs = &runs;
	alloc.n_grants = 1;
	alloc.grants = &grants;
	reply.result_case = HUGEPOOL__REPLY__RESULT_ALLOC;
	reply.alloc = &alloc;
	return frame_of_reply(&reply);
}

static struct sizes measure_frames(void)
{
	Hugepool__FreeReply freed = HUGEPOOL__FREE_REPLY__INIT;
	Hugepool__Reply free_reply = HUGEPOOL__REPLY__INIT;
	struct raw_request ask;
	struct sizes sizes;

	raw_ask_alloc(&ask, 1);
	ask.alloc.max_runs = 64; /* as the library does */
	sizes.alloc = frame_of_request(&ask.request);
	sizes.alloc_reply = frame_of_grant();
	sizes.free = frame_of_request(raw_ask_free(&ask, SOME_LEASE));
	free_reply.result_case = HUGEPOOL__REPLY__RESULT_FREE;
	free_reply.free = &freed;
	sizes.free_reply = frame_of_reply(&free_reply);
	return sizes;
}

/* ---- the peer ---- */

struct ping_pong {
	int client_fd, server_fd;
	struct sizes sizes;
	pid_t server;
};

static void serve(void *arg)
{
	const struct ping_pong *game = arg;
	struct epoll_event event = {.events = EPOLLIN};
	int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	uint8_t bytes[FRAME_ROOM] = {0};

	raw_check(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, game->server_fd, &event) == 0, "epoll_ctl");
	for (;;) {
		ssize_t n;

		if (epoll_wait(epoll_fd, &event, 1, -1) != 1)
			continue;
		n = recv(game->server_fd, bytes, sizeof(bytes), MSG_DONTWAIT);
		if (n <= 0)
			return;
		n = (ssize_t)(n == (ssize_t)game->sizes.alloc ? game->sizes.alloc_reply
							      : game->sizes.free_reply);
		raw_check(send(game->server_fd, bytes, (size_t)n, MSG_DONTWAIT | MSG_NOSIGNAL) == n, "send");
	}
}

static uint64_t play(const struct ping_pong *game, size_t n_out, size_t n_in)
{
	uint64_t start_ns = bench_now_ns();
	uint8_t bytes[FRAME_ROOM] = {0};

	assert_int_equal(send(game->client_fd, bytes, n_out, MSG_NOSIGNAL), n_out);
	assert_int_equal(recv(game->client_fd, bytes, sizeof(bytes), 0), n_in);
	return bench_now_ns() - start_ns;
}

static void play_pairs(const struct ping_pong *game, double *ret)
{
	static uint64_t times_ns[2 * N_PAIRS];
	const struct sizes *sizes = &game->sizes;
	unsigned n = bench_n(N_PAIRS, N_PAIRS_SHORT);

	for (unsigned i = 0; i < n; i++) {
		times_ns[2 * i] = play(game, sizes->alloc, sizes->alloc_reply);
		times_ns[2 * i + 1] = play(game, sizes->free, sizes->free_reply);
	}
	ret[0] = bench_percentile_us(times_ns, 2 * n, 50);
	ret[1] = bench_percentile_us(times_ns, 2 * n, 99);
	ret[2] = ret[0];
}

static void start_game(struct ping_pong *game)
{
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	*game = (struct ping_pong){.client_fd = fds[0], .server_fd = fds[1], .sizes = measure_frames()};
	assert_int_not_equal(game->sizes.alloc, game->sizes.free);
	game->server = raw_fork(0, serve, game);
}

static void end_game(const struct ping_pong *game)
{
	raw_kill(game->server);
	close(game->client_fd);
	close(game->server_fd);
}

/* ---- the contest ---- */

struct match {
	struct house house;
	hp_client *client;
	struct ping_pong game;
};

static void run_ours(void *arg, double *ret)
{
	const struct match *match = arg;
	unsigned n = bench_n(N_PAIRS, N_PAIRS_SHORT);
	struct bench_pairs asleep, spinning;

	assert_int_equal(hp_set_spin(match->client, 0), 0);
	asleep = bench_run_pairs(match->client, n);
	assert_int_equal(hp_set_spin(match->client, BENCH_SPIN_US), 0);
	spinning = bench_run_pairs(match->client, n);
	ret[0] = asleep.p50_us;
	ret[1] = asleep.p99_us;
	ret[2] = spinning.p50_us;
}

static void run_peer(void *arg, double *ret)
{
	play_pairs(&((const struct match *)arg)->game, ret);
}

void bench_rpc(void)
{
	static const struct bench_figure figures[] = {
		{.name = "rpc-p50", .unit = "us", .goal = BENCH_AT_MOST, .times = 1.1},
		{.name = "rpc-p99", .unit = "us", .goal = BENCH_AT_MOST, .times = 1.5},
		{.name = "rpc-spin-p50", .unit = "us", .goal = BENCH_AT_MOST, .times = 0.8},
	};
	static const struct bench_contest contest = {.peer_name = "raw ping-pong",
						     .figures = figures,
						     .n_figures = 3,
						     .n_rounds = N_ROUNDS,
						     .ours = run_ours,
						     .peer = run_peer};
	static struct match match;

	house_open(&match.house, DUT_WORDS("--workers", "1", "--pool", "p=4K:64M,reserve=64M"));
	assert_int_equal(hp_open(match.house.dut.socket, &match.client), 0);
	start_game(&match.game);
	bench_run_contest(&contest, &match);
	end_game(&match.game);
	hp_close(match.client);
	house_close(&match.house);
}

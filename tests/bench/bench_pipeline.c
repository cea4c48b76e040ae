/* bench_pipeline.c - how many operations a second one worker does for 10 clients that have 64 outstanding
 * each, against Redis, which does SET for as many. A pair of Alloc and Free is two operations.
 *
 * The clients are raw connections in one process, as redis-benchmark's are.
 */
#include <config.h>

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "proto/hot.h"
#include "tests/bench/bench.h"
#include "tests/bench/bench_house.h"
#include "tests/support/raw.h"
#include "tests/support/wait.h"

#define N_ROUNDS      9
#define N_CLIENTS     10
#define N_OUTSTANDING 64
#define N_OPS         1000000
#define N_OPS_SHORT   20000
#define REPLY_MAX     (256u << 10) /* unpacked */

struct client {
	struct raw raw;
	struct frame_writer *writer;
};

struct pipeline {
	struct house house;
	struct client clients[N_CLIENTS];
	struct bump bump;
	unsigned n_outstanding, n_done; /* of all clients */
	char directory[32];             /* of Redis' socket */
	char redis_socket[64];
	pid_t redis;
};

/* ---- ours ---- */

static void queue(struct client *client, Hugepool__Request *request)
{
	size_t length;
	uint8_t *message;

	request->id = ++client->raw.last_id;
	message = frame_writer_reserve(client->writer, HOT_MAX_BYTES);
	assert_non_null(message);
	length = hot_pack_request(request, message);
	if (length == 0)
		length = hugepool__request__pack(request, message);
	assert_int_equal(frame_writer_commit(client->writer, length, NULL, 0), 0);
}

static void flush(const struct client *client)
{
	assert_int_equal(frame_writer_flush(client->writer, client->raw.fd), 0);
}

/* What was leased is freed; when something was freed the next is leased, unless enough is done. */
static void take_reply(struct pipeline *pipeline, struct client *client, const struct frame *frame)
{
	struct raw_request ask;
	Hugepool__Reply *reply;

	bump_reset(&pipeline->bump);
	reply = hot_unpack_reply(&pipeline->bump, frame->length, frame->message);
	if (!reply)
		reply = hugepool__reply__unpack(&pipeline->bump.allocator, frame->length, frame->message);
	assert_non_null(reply);
	pipeline->n_done++;
	if (reply->result_case == HUGEPOOL__REPLY__RESULT_ALLOC) {
		if (reply->alloc->n_new_arenas > 0)
			queue(client, raw_ask_received(&ask));
		queue(client, raw_ask_free(&ask, reply->alloc->grants[0]->lease));
		return;
	}
	if (reply->result_case != HUGEPOOL__REPLY__RESULT_FREE || reply->free->n_failures > 0)
		fail_msg("refused: %s", reply->error ? reply->error->message : "a Free");
	if (pipeline->n_done < bench_n(N_OPS, N_OPS_SHORT))
		queue(client, raw_ask_alloc(&ask, 1));
	else
		pipeline->n_outstanding--;
}

static void take_replies(struct pipeline *pipeline, struct client *client)
{
	struct frame frame;

	assert_int_equal(frame_reader_fill_now(client->raw.reader, client->raw.fd), 0);
	while (frame_reader_next(client->raw.reader, &frame) == 0) {
		take_reply(pipeline, client, &frame);
		frame_close_fds(&frame);
	}
	flush(client);
}

static void run_ours(void *arg, double *ret)
{
	struct pipeline *pipeline = arg;
	struct pollfd poll_fds[N_CLIENTS];
	uint64_t start_ns = bench_now_ns();
	struct raw_request ask;

	pipeline->n_done = 0;
	pipeline->n_outstanding = N_CLIENTS * N_OUTSTANDING;
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		poll_fds[i] = (struct pollfd){.fd = pipeline->clients[i].raw.fd, .events = POLLIN};
		for (unsigned k = 0; k < N_OUTSTANDING; k++)
			queue(&pipeline->clients[i], raw_ask_alloc(&ask, 1));
		flush(&pipeline->clients[i]);
	}
	while (pipeline->n_outstanding > 0) {
		assert_true(poll(poll_fds, N_CLIENTS, WAIT_MAX_MS) > 0);
		for (unsigned i = 0; i < N_CLIENTS; i++)
			if (poll_fds[i].revents)
				take_replies(pipeline, &pipeline->clients[i]);
	}
	ret[0] = pipeline->n_done * 1e9 / (double)(bench_now_ns() - start_ns);
}

static void open_clients(struct pipeline *pipeline)
{
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		raw_open(&pipeline->clients[i].raw, &pipeline->house.dut);
		assert_int_equal(frame_writer_new(&pipeline->clients[i].writer), 0);
	}
	assert_int_equal(bump_init(&pipeline->bump, REPLY_MAX), 0);
}

static void close_clients(struct pipeline *pipeline)
{
	for (unsigned i = 0; i < N_CLIENTS; i++) {
		raw_close(&pipeline->clients[i].raw);
		frame_writer_free(pipeline->clients[i].writer);
	}
	bump_fini(&pipeline->bump);
}

/* ---- Redis ---- */

static bool has_redis(void)
{
	return system("command -v redis-check-rdb >/dev/null && command -v redis-benchmark >/dev/null") == 0;
}

/* The server is the same program as redis-check-rdb, by another name; so no package is needed that would
 * start one for the whole host. */
static void exec_redis(void *arg)
{
	const struct pipeline *pipeline = arg;

	if (!freopen("/dev/null", "w", stdout))
		raw_fail(__FILE__, __LINE__, "freopen");
	execlp("redis-check-rdb", "redis-server", "--port", "0", "--save", "", "--appendonly", "no",
	       "--unixsocket", pipeline->redis_socket, "--dir", pipeline->directory, (char *)NULL);
}

static bool can_connect(const char *socket_path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	strcpy(address.sun_path, socket_path);
	r = connect(fd, (const struct sockaddr *)&address, sizeof(address));
	close(fd);
	return r == 0;
}

static void start_redis(struct pipeline *pipeline)
{
	uint64_t deadline_ms = wait_now_ms() + WAIT_MAX_MS;

	strcpy(pipeline->directory, "/tmp/hugepool-bench-XXXXXX");
	assert_non_null(mkdtemp(pipeline->directory));
	snprintf(pipeline->redis_socket, sizeof(pipeline->redis_socket), "%s/redis", pipeline->directory);
	pipeline->redis = raw_fork(0, exec_redis, pipeline);
	while (!can_connect(pipeline->redis_socket)) {
		if (wait_now_ms() > deadline_ms)
			fail_msg("redis-server does not listen at %s", pipeline->redis_socket);
		wait_pause();
	}
}

static void end_redis(const struct pipeline *pipeline)
{
	raw_kill(pipeline->redis);
	unlink(pipeline->redis_socket);
	assert_int_equal(rmdir(pipeline->directory), 0);
}

/* One run of redis-benchmark: a line of its table is "SET","3012048.25","0.152",... */
static void run_redis(void *arg, double *ret)
{
	const struct pipeline *pipeline = arg;
	char command[160], line[512];
	FILE *out;

	snprintf(command, sizeof(command), "redis-benchmark -s %s -c %d -P %d -t set -n %u --csv",
		 pipeline->redis_socket, N_CLIENTS, N_OUTSTANDING, bench_n(N_OPS, N_OPS_SHORT));
	out = popen(command, "re");
	assert_non_null(out);
	while (fgets(line, sizeof(line), out))
		if (sscanf(line, "\"SET\",\"%lf\"", &ret[0]) == 1)
			break;
	while (fgets(line, sizeof(line), out))
		;
	assert_int_equal(pclose(out), 0);
	assert_true(ret[0] > 0);
}

void bench_pipeline(void)
{
	static const struct bench_figure figure = {
		.name = "pipeline", .unit = "1/s", .is_rate = true, .goal = BENCH_AT_LEAST, .times = 2};
	static const struct bench_contest contest = {.peer_name = "Redis SET",
						     .figures = &figure,
						     .n_figures = 1,
						     .n_rounds = N_ROUNDS,
						     .ours = run_ours,
						     .peer = run_redis};
	static struct pipeline pipeline;

	if (!has_redis()) {
		bench_skip("pipeline", "redis-benchmark and redis-check-rdb are not installed");
		return;
	}
	house_open(&pipeline.house, DUT_WORDS("--workers", "1", "--pool", "p=4K:64M,reserve=64M"));
	open_clients(&pipeline);
	start_redis(&pipeline);
	bench_run_contest(&contest, &pipeline);
	end_redis(&pipeline);
	close_clients(&pipeline);
	house_close(&pipeline.house);
}

/* mend.c - see mend.h. Connecting to a socket of this host is done at once or not at all, so a step needs no
 * more than to look. */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "client/lib/cache.h"
#include "client/lib/limit.h"
#include "daemon/base/clock.h"

#define PROTOCOL_VERSION  1
#define MEND_LIMIT_NS     (10 * NS_PER_S)
#define MEND_PAUSE_MIN_NS NS_PER_MS
#define MEND_PAUSE_MAX_NS (250 * NS_PER_MS)

/* Nobody was there, or no longer: another daemon may be soon. Or it has no room for us at the moment, perhaps
 * because our old connection has not left it yet. The first time, only one that has no time just now is
 * waited for. */
static bool may_come_back(const hp_client *client, int error)
{
	if (error == -EAGAIN)
		return true;
	return client->session &&
	       (error == -ECONNREFUSED || error == -ENOENT || error == -ECONNRESET || error == -EPIPE ||
		error == -ETIMEDOUT || (error == -EOVERFLOW && !client->joins) || error == -ENOMEM);
}

static int queue_hello(hp_client *client)
{
	Hugepool__Hello hello = HUGEPOOL__HELLO__INIT;
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;

	hello.version = PROTOCOL_VERSION;
	hello.client = program_invocation_short_name;
	hello.session = client->session;
	if (client->session)
		hello.token = (ProtobufCBinaryData){.data = client->token, .len = sizeof(client->token)};
	hello.join = client->joins;
	request.id = client->mend.hello_id = ++client->last_request_id;
	request.method_case = HUGEPOOL__REQUEST__METHOD_HELLO;
	request.hello = &hello;
	return connection_queue(client->mend.greeting, &request);
}

static int not_answering(hp_client *client, int error)
{
	char limit[LIMIT_WORDS_MAX];

	if (error == -ENOMEM)
		return error_keep(&client->mend.error, error, "No memory to speak with the daemon at %s%s.",
				  client->socket_path, limit_explain(error, NULL, limit));
	return error_keep(&client->mend.error, error,
			  error == -ETIMEDOUT || error == -EAGAIN
				  ? "The daemon at %s does not answer: is it stopped?"
				  : "The daemon at %s does not answer: %s.",
			  client->socket_path, strerror(-error));
}

#define ELSEWHERE "say in HUGEPOOL_SOCKET where it listens."

/* Who cannot be reached, and what to do. */
static const struct {
	int error;
	const char *who, *advice;
} unreachable[] = {
	{-ENOENT, "There is no daemon at", "Start hugepoold, or " ELSEWHERE},
	{-ENOTDIR, "There is no daemon at", "Start hugepoold, or " ELSEWHERE},
	{-ECONNREFUSED, "No daemon listens at", "Start hugepoold again, or " ELSEWHERE},
	{-EACCES, "This user may not connect to the daemon at",
	 "Its operator opens the directories of that path (chmod a+x), or HUGEPOOL_SOCKET names another."},
};

static int cannot_connect(hp_client *client, int error)
{
	char limit[LIMIT_WORDS_MAX];

	for (size_t i = 0; i < sizeof(unreachable) / sizeof(unreachable[0]); i++)
		if (unreachable[i].error == error)
			return error_keep(&client->mend.error, error, "%s %s: %s. %s", unreachable[i].who,
					  client->socket_path, strerror(-error), unreachable[i].advice);
	return error_keep(&client->mend.error, error, "Cannot connect to a daemon at %s: %s%s.",
			  client->socket_path, strerror(-error), limit_explain(error, NULL, limit));
}

/* Connect and say hello. */
static int greet(hp_client *client)
{
	struct mend *mend = &client->mend;
	int r = connection_open(client->socket_path, &mend->greeting);

	if (r < 0)
		return cannot_connect(client, r);
	r = queue_hello(client);
	if (r == 0)
		r = frame_writer_flush(mend->greeting->writer, mend->greeting->socket_fd);
	/* A daemon that turns us away says why, and does not wait for what we say. */
	if (r != 0 && r != -EPIPE && r != -ECONNRESET)
		return not_answering(client, r < 0 ? r : -EPROTO); /* Hello fits an empty socket */
	watch_socket(&client->watch, mend->greeting->socket_fd, false);
	return 0;
}

/* What the daemon has said to Hello. */
static int take_welcome(hp_client *client, const Hugepool__Reply *reply)
{
	struct error *error = &client->mend.error;
	char limit[LIMIT_WORDS_MAX];
	int r;

	if (reply->error && client->session && reply->error->code == HUGEPOOL__CODE__NO_SESSION)
		return error_keep(
			error, -ESTALE,
			"The daemon at %s does not know this session: it ended it, or is another one than "
			"before. Its leases are nobody's to the daemon; what is mapped stays this process's.",
			client->socket_path);
	if (reply->error)
		return error_keep_wire(error, reply->error);
	if (reply->result_case != HUGEPOOL__REPLY__RESULT_HELLO || reply->hello->version != PROTOCOL_VERSION)
		return error_keep(error, -EPROTO,
				  "The daemon at %s speaks another language than this library.",
				  client->socket_path);
	if (client->session && !reply->hello->continued)
		return error_keep(error, -ESTALE, ERROR_SESSION_ENDED);
	r = session_adopt(client, reply->hello);
	if (r < 0)
		error_keep(error, r, "Cannot use what the daemon at %s said: %s%s.", client->socket_path,
			   strerror(-r), limit_explain(r, NULL, limit));
	return r;
}

/* Look whether the daemon has answered. 0: it has, and it is ours; MEND_WAIT. */
static int listen_to_it(hp_client *client)
{
	struct mend *mend = &client->mend;
	Hugepool__Reply *reply;
	struct frame frame;
	int r;

	while ((r = frame_reader_next(mend->greeting->reader, &frame)) == FRAME_AGAIN) {
		r = frame_reader_fill_now(mend->greeting->reader, mend->greeting->socket_fd);
		if (r == FRAME_AGAIN)
			return MEND_WAIT;
		if (r != 0)
			return not_answering(client, r == FRAME_END ? -ECONNRESET : r);
	}
	if (r < 0)
		return not_answering(client, r);
	frame_close_fds(&frame);
	bump_reset(&client->bump);
	reply = hugepool__reply__unpack(&client->bump.allocator, frame.length, frame.message);
	if (!reply || (reply->id != mend->hello_id && !(reply->id == 0 && reply->error)) || frame.n_fds > 0)
		return not_answering(client, -EPROTO);
	return take_welcome(client, reply);
}

static void drop_greeting(hp_client *client)
{
	if (!client->mend.greeting)
		return;
	watch_socket(&client->watch, -1, false);
	client->mend.greeting = connection_unref(client->mend.greeting);
}

/* It has not worked, with mend.error. MEND_WAIT: it will be tried again. */
static int try_later(hp_client *client, uint64_t now_ns)
{
	struct mend *mend = &client->mend;
	int r = mend->error.code;

	drop_greeting(client);
	mend->try_ns = now_ns + mend->pause_ns;
	mend->pause_ns = 2 * mend->pause_ns < MEND_PAUSE_MAX_NS ? 2 * mend->pause_ns : MEND_PAUSE_MAX_NS;
	if (may_come_back(client, r) && mend->try_ns < mend->give_up_ns)
		return MEND_WAIT;
	if (may_come_back(client, r))
		r = client->session ? error_keep(&mend->error, -ECONNRESET,
						 "The daemon at %s went away and did not come back.",
						 client->socket_path)
				    : not_answering(client, -ETIMEDOUT);
	mend->give_up_ns = 0;
	client->ended = r == -ESTALE;
	if (client->ended)
		cache_list_end(client);
	return r;
}

int mend_step(hp_client *client)
{
	struct mend *mend = &client->mend;
	uint64_t now_ns = clock_now_ns();
	int r = MEND_WAIT;

	if (mend->give_up_ns == 0) {
		mend->give_up_ns = now_ns + MEND_LIMIT_NS;
		mend->try_ns = now_ns;
		mend->pause_ns = MEND_PAUSE_MIN_NS;
	}
	if (!mend->greeting && now_ns >= mend->try_ns)
		r = greet(client);
	if (mend->greeting && r >= 0)
		r = listen_to_it(client);
	if (r == MEND_WAIT && now_ns >= mend->give_up_ns)
		r = not_answering(client, -ETIMEDOUT);
	if (r == MEND_WAIT)
		return r;
	if (r < 0)
		return try_later(client, now_ns);
	client->connection = mend->greeting;
	mend->greeting = NULL;
	mend->give_up_ns = 0;
	return 0;
}

uint64_t mend_next_ns(const hp_client *client)
{
	const struct mend *mend = &client->mend;

	return mend->greeting ? mend->give_up_ns : mend->try_ns;
}

static int run(hp_client *client, uint64_t deadline_ns, bool briefly)
{
	int r;

	client->driven = true;
	while ((r = mend_step(client)) == MEND_WAIT) {
		uint64_t next_ns = mend_next_ns(client);
		struct connection *greeting = client->mend.greeting;

		if (clock_now_ns() >= deadline_ns || (briefly && !greeting)) {
			r = -ETIMEDOUT;
			break;
		}
		pthread_mutex_unlock(&client->lock);
		r = connection_wait(greeting, POLLIN, next_ns < deadline_ns ? next_ns : deadline_ns);
		pthread_mutex_lock(&client->lock);
		if (r == -EINTR)
			break;
	}
	client->driven = false;
	return r;
}

int mend_run(hp_client *client, uint64_t deadline_ns)
{
	return run(client, deadline_ns, false);
}

int mend_run_briefly(hp_client *client, uint64_t deadline_ns)
{
	return run(client, deadline_ns, true);
}

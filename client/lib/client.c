/* client.c - a session with the daemon: opened, known by its pools and its token, closed.
 *
 * A process that forked has copies of everything but the mappings, and must neither speak on the socket nor
 * end the session. A page that the kernel wipes in the child tells them apart for the price of one load.
 */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "client/lib/cache.h"
#include "client/lib/error.h"
#include "daemon/base/clock.h"

#define REPLY_MAX_BYTES (4u << 20) /* unpacked; a frame of nothing but empty messages is less */

static const uint8_t *fork_mark_new(void)
{
	size_t bytes = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *mark = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (mark == MAP_FAILED)
		return NULL;
	if (madvise(mark, bytes, MADV_WIPEONFORK) < 0) {
		int saved_errno = errno;

		munmap(mark, bytes);
		errno = saved_errno;
		return NULL;
	}
	*mark = 1;
	return mark;
}

bool session_is_forked(const hp_client *client)
{
	return *client->fork_mark == 0;
}

void session_own(hp_client *client)
{
	*(volatile uint8_t *)(uintptr_t)client->fork_mark = 1;
}

int session_check(const hp_client *client)
{
	if (!client)
		return error_set(-EINVAL, "There is no client: NULL was given.");
	if (session_is_forked(client))
		return error_set(
			-ECHILD,
			"This client belongs to the parent process: open one of its own here, or take "
			"part in it by hp_adopt().");
	return 0;
}

/* Free the client and what it holds, here and not at the daemon. `mapped`: false in a forked child. */
static void client_free(hp_client *client, bool mapped)
{
	cache_list_free(client);
	session_forget_leases(client, mapped);
	arena_table_fini(&client->arenas, mapped);
	connection_unref(client->connection);
	connection_unref(client->mend.greeting);
	watch_fini(&client->watch);
	event_queue_fini(&client->events);
	bump_fini(&client->bump);
	free(client->pools);
	if (client->fork_mark)
		munmap((void *)(uintptr_t)client->fork_mark, (size_t)sysconf(_SC_PAGESIZE));
	explicit_bzero(client->token, sizeof(client->token));
	free(client);
}

int session_adopt(hp_client *client, const Hugepool__HelloReply *hello)
{
	struct session_pool *pools;
	unsigned n_pools = 0;

	if (hello->session == 0 || hello->token.len != SESSION_TOKEN_BYTES || hello->max_batch == 0)
		return -EPROTO;
	pools = calloc(hello->n_pools + 1, sizeof(*pools));
	if (!pools)
		return -ENOMEM;
	for (; n_pools < hello->n_pools; n_pools++) {
		const Hugepool__PoolInfo *info = hello->pools[n_pools];

		if (info->page_bytes == 0 || (info->page_bytes & (info->page_bytes - 1)) != 0 ||
		    strlen(info->name) >= EVENT_POOL_MAX) {
			free(pools);
			return -EPROTO;
		}
		pools[n_pools].number = info->pool;
		pools[n_pools].page_bytes = info->page_bytes;
		strcpy(pools[n_pools].name, info->name);
	}
	free(client->pools);
	client->pools = pools;
	client->n_pools = n_pools;
	client->max_batch = hello->max_batch < SESSION_MAX_BATCH ? hello->max_batch : SESSION_MAX_BATCH;
	client->session = hello->session;
	memcpy(client->token, hello->token.data, SESSION_TOKEN_BYTES);
	return 0;
}

static int find_socket(hp_client *client, const char *given)
{
	int r = socket_path_look(given, client->socket_path);

	if (r < 0)
		return error_set(r, "The path of the daemon's socket is longer than %d bytes.",
				 SOCKET_PATH_MAX - 1);
	return 0;
}

hp_client *session_new(void)
{
	hp_client *client = calloc(1, sizeof(*client));

	if (!client) {
		error_no_memory("a client");
		return NULL;
	}
	pthread_mutex_init(&client->lock, NULL);
	TAILQ_INIT(&client->asks);
	TAILQ_INIT(&client->tells);
	TAILQ_INIT(&client->sent);
	TAILQ_INIT(&client->finished);
	TAILQ_INIT(&client->leases);
	LIST_INIT(&client->caches);
	client->watch = WATCH_CLOSED;
	client->fork_mark = fork_mark_new();
	if (client->fork_mark && bump_init(&client->bump, REPLY_MAX_BYTES) == 0)
		return client;
	error_no_memory("a client");
	client_free(client, true);
	return NULL;
}

/* The rest of hp_open(), which frees the client when this fails. */
static int client_open(hp_client *client, const char *socket_path)
{
	int r = find_socket(client, socket_path);

	if (r < 0)
		return r;
	pthread_mutex_lock(&client->lock);
	r = mend_run(client, NO_DEADLINE);
	if (r == -EINTR)
		error_set(r, "A signal handler has interrupted the call.");
	else if (r < 0)
		r = error_raise(&client->mend.error);
	pthread_mutex_unlock(&client->lock);
	return r;
}

int hp_open(const char *socket_path, hp_client **ret_client)
{
	hp_client *client;
	int r;

	if (!ret_client)
		return error_set(-EINVAL, "There is nowhere to put the client: NULL was given.");
	client = session_new();
	if (!client)
		return -ENOMEM;
	r = client_open(client, socket_path);
	if (r < 0) {
		client_free(client, true);
		return r;
	}
	*ret_client = client;
	return 0;
}

/* End the session, or let the daemon find out: one that is not there, or does not answer, is not waited for.
 */
static void say_bye(hp_client *client)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Bye bye = HUGEPOOL__BYE__INIT;
	struct call call;

	request.method_case = HUGEPOOL__REQUEST__METHOD_BYE;
	request.bye = &bye;
	call_init(&call, &request, NULL);
	call.patience = CALL_BRIEF;
	pthread_mutex_lock(&client->lock);
	call_cancel_asks(client);
	(void)call_run(client, &call, NO_DEADLINE);
	client->ended = true;
	pthread_mutex_unlock(&client->lock);
}

hp_client *hp_close(hp_client *client)
{
	if (!client)
		return NULL;
	if (session_is_forked(client)) {
		/* What a thread of the parent was changing as we forked is in pieces, and stays as it is. */
		if (pthread_mutex_trylock(&client->lock) == 0) {
			/* Nobody else is here, and caches are locked before clients. */
			pthread_mutex_unlock(&client->lock);
			client_free(client, false);
		}
		return NULL;
	}
	cache_list_free(client);
	say_bye(client);
	session_cancel(client);
	pthread_mutex_destroy(&client->lock);
	client_free(client, true);
	return NULL;
}

const struct session_pool *session_find_pool(const hp_client *client, const char *name)
{
	for (unsigned i = 0; i < client->n_pools; i++)
		if (!name || strcmp(client->pools[i].name, name) == 0)
			return &client->pools[i];
	error_set(-ENOENT, "The daemon has no pool%s%s: hugepoolctl pools lists those that it has.",
		  name ? " " : "", name ? name : "");
	return NULL;
}

const struct session_pool *session_pool_number(const hp_client *client, uint32_t number)
{
	for (unsigned i = 0; i < client->n_pools; i++)
		if (client->pools[i].number == number)
			return &client->pools[i];
	return NULL;
}

int hp_pool_page_bytes(hp_client *client, const char *name, uint64_t *ret_page_bytes)
{
	const struct session_pool *pool;
	int r = session_check(client);

	if (r < 0)
		return r;
	if (!ret_page_bytes)
		return error_set(-EINVAL, "There is nowhere to put the page size: NULL was given.");
	pthread_mutex_lock(&client->lock);
	pool = session_find_pool(client, name);
	if (pool)
		*ret_page_bytes = pool->page_bytes;
	pthread_mutex_unlock(&client->lock);
	return pool ? 0 : -ENOENT;
}

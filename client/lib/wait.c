/* wait.c - a thread waits for its call.
 *
 * There is no thread of ours: of those that wait, one drives, that is, it reads from the socket without the
 * lock and hands the replies to the others, who sleep each on a word of its own. When it leaves, with its own
 * reply or without, it wakes another to drive on. Whoever finds the connection broken while nobody drives
 * mends it, unless its call is a brief one.
 *
 * Invariant, whenever the lock is free: if a thread waits for a call, a thread drives or one that will has
 * been woken.
 */
#include <config.h>

#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "client/lib/interrupt.h"
#include "client/lib/session.h"
#include "daemon/base/clock.h"

#define SPIN_MAX_US 1000000u
#define BRIEF_NS    NS_PER_S /* hugepool.h says so */

/* Look for input again and again, for so long. Returns as frame_reader_fill(); FRAME_AGAIN: none has come. */
static int spin(const struct connection *connection, uint64_t spin_ns)
{
	const uint64_t end_ns = clock_now_ns() + spin_ns;
	int r;

	do {
		r = frame_reader_fill_now(connection->reader, connection->socket_fd);
	} while (r == FRAME_AGAIN && clock_now_ns() < end_ns);
	return r;
}

/* Sleep until there is input, or room for what is stuck. Returns as frame_reader_fill(); FRAME_AGAIN: there
 * is only room; -ETIMEDOUT after the deadline, -EINTR. */
static int sleep_for_input(const struct connection *connection, bool stuck, uint64_t deadline_ns)
{
	int events = POLLIN;

	if (stuck || deadline_ns != NO_DEADLINE)
		events = connection_wait(connection, (short)(POLLIN | (stuck ? POLLOUT : 0)), deadline_ns);
	if (events < 0)
		return events;
	return events == POLLOUT ? FRAME_AGAIN : frame_reader_wait(connection->reader, connection->socket_fd);
}

/* Wait for the daemon and take what it says. Gives up the lock meanwhile. -ETIMEDOUT after the deadline;
 * -EINTR. */
static int drive(hp_client *client, uint64_t deadline_ns)
{
	struct connection *connection = connection_ref(client->connection);
	const bool stuck = frame_writer_pending(connection->writer) > 0;
	const uint64_t spin_ns = stuck ? 0 : client->spin_ns;
	int r = FRAME_AGAIN;

	client->driven = true;
	pthread_mutex_unlock(&client->lock);
	if (spin_ns > 0)
		r = spin(connection, spin_ns);
	if (r == FRAME_AGAIN)
		r = sleep_for_input(connection, stuck, deadline_ns);
	pthread_mutex_lock(&client->lock);
	client->driven = false;

	/* Another thread may have found it broken. */
	if (client->connection == connection && r != -ETIMEDOUT && r != -EINTR) {
		if (r == 0 || r == FRAME_AGAIN)
			call_take_frames(client);
		else
			call_break_connection(client);
	}
	connection_unref(connection);
	return r == -ETIMEDOUT || r == -EINTR ? r : 0;
}

int hp_set_spin(hp_client *client, unsigned spin_us)
{
	int r = session_check(client);

	if (r < 0)
		return r;
	if (spin_us > SPIN_MAX_US)
		return error_set(-EINVAL, "Spinning is for moments: at most %u us, not %u.", SPIN_MAX_US,
				 spin_us);
	pthread_mutex_lock(&client->lock);
	/* On one CPU the daemon could not answer meanwhile. */
	client->spin_ns = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? spin_us * UINT64_C(1000) : 0;
	pthread_mutex_unlock(&client->lock);
	return 0;
}

/* Send what is stuck while another thread drives. Gives up the lock meanwhile. Wakes for input as well: that
 * thread may leave, and whoever is here is not listening for it to hand over. */
static int unstick(hp_client *client, uint64_t deadline_ns)
{
	struct connection *connection = connection_ref(client->connection);
	int events;

	pthread_mutex_unlock(&client->lock);
	events = connection_wait(connection, POLLIN | POLLOUT, deadline_ns);
	pthread_mutex_lock(&client->lock);
	if (client->connection == connection)
		call_send(client);
	connection_unref(connection);
	return events < 0 ? events : 0;
}

/* Find the daemon again; if nobody is there, every call fails. */
static int reconnect(hp_client *client, uint64_t deadline_ns, bool briefly)
{
	int r = briefly ? mend_run_briefly(client, deadline_ns) : mend_run(client, deadline_ns);

	if (r == 0) {
		call_send(client);
		return 0;
	}
	if (client->mend.give_up_ns == 0 && r != -EINTR)
		call_fail_all(client, &client->mend.error);
	session_wake(client); /* hp_dispatch() goes on */
	return r;
}

/* Another thread drives. */
static int sleep_for_answer(hp_client *client, struct call *call, uint64_t deadline_ns)
{
	const uint32_t seen = atomic_load(&call->wake);
	int r;

	call->is_asleep = true;
	pthread_mutex_unlock(&client->lock);
	r = interrupt_sleep(&call->wake, seen, deadline_ns);
	pthread_mutex_lock(&client->lock);
	call->is_asleep = false;
	return r;
}

/* One step on the way to the answer. 0, or a negative errno: the daemon cannot be asked. */
static int wait_on(hp_client *client, struct call *call, uint64_t deadline_ns)
{
	if (client->ended)
		return -ESTALE;
	if (!client->connection && !client->driven)
		return reconnect(client, deadline_ns, call->patience == CALL_BRIEF);
	if (call->patience == CALL_BRIEF && (!client->connection || clock_now_ns() >= deadline_ns))
		return -ETIMEDOUT;
	if (client->connection && !client->driven)
		return drive(client, deadline_ns);
	if (client->connection && frame_writer_pending(client->connection->writer) > 0)
		return unstick(client, deadline_ns);
	return sleep_for_answer(client, call, deadline_ns);
}

/* The thread goes without its answer. False: it cannot. */
static bool leave(hp_client *client, struct call *call, int error)
{
	if (error == -EINTR && call->patience != CALL_PATIENT)
		return false;
	if (call->discard) {
		call->is_waited = false;
		call->is_left = true;
		client->n_left++;
		return true;
	}
	if (call->withdraw && call->withdraw(client, call) < 0)
		return false;
	/* What was sent to withdraw it may have shown that it is done. */
	if (call->state != CALL_DONE)
		call_drop(client, call, error);
	return true;
}

/* Until when to wait for the daemon, which is not to be waited for. */
static uint64_t brief_deadline(hp_client *client)
{
	if (client->n_left > 0)
		call_poll(client);
	return client->n_left > 0 ? 0 : clock_now_ns() + BRIEF_NS;
}

int call_run(hp_client *client, struct call *call, uint64_t deadline_ns)
{
	bool is_left = false;

	client->n_waiters++;
	call->is_waited = true;
	call_enqueue(client, call);
	call_send(client);
	if (call->patience == CALL_BRIEF)
		deadline_ns = brief_deadline(client);
	while (call->state != CALL_DONE && !is_left) {
		int r = wait_on(client, call, deadline_ns);

		if (call->state == CALL_DONE)
			break;
		if (r == -EINTR || r == -ETIMEDOUT)
			is_left = leave(client, call, r);
		else if (r < 0)
			call_fail(client, call, r);
	}
	client->n_waiters--;
	if (is_left && call->discard) {
		call_hand_over(client);
		return 0;
	}
	call->is_waited = false;
	call_hand_over(client);
	return error_raise(&call->error);
}

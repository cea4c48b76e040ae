/* event.c - see event.h; and hp_subscribe(). A session keeps its subscription over broken connections. */
#include <config.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/event.h"
#include "client/lib/session.h"

#define ALL_KINDS (HP_EVENT_PRESSURE | HP_EVENT_REVOKED | HP_EVENT_DRAINED | HP_EVENT_RESTORED)

/* hugepool.h has the kinds as the bits that Subscribe has. */
_Static_assert(HP_EVENT_PRESSURE == 1u << HUGEPOOL__EVENT_KIND__PRESSURE &&
		       HP_EVENT_REVOKED == 1u << HUGEPOOL__EVENT_KIND__REVOKED &&
		       HP_EVENT_DRAINED == 1u << HUGEPOOL__EVENT_KIND__DRAINED &&
		       HP_EVENT_RESTORED == 1u << HUGEPOOL__EVENT_KIND__RESTORED,
	       "an event's kind is its bit");

int event_queue_init(struct event_queue *queue)
{
	if (!queue->events)
		queue->events = calloc(EVENT_QUEUE_MAX, sizeof(*queue->events));
	return queue->events ? 0 : -ENOMEM;
}

void event_queue_fini(struct event_queue *queue)
{
	free(queue->events);
	*queue = (struct event_queue){0};
}

static struct event *event_at(const struct event_queue *queue, unsigned index)
{
	return &queue->events[(queue->first + index) % EVENT_QUEUE_MAX];
}

/* The pressure of that pool which waits to be told, or NULL. */
static struct event *find_pressure(const struct event_queue *queue, const char *pool)
{
	for (unsigned i = 0; i < queue->n; i++)
		if (event_at(queue, i)->kind == HP_EVENT_PRESSURE &&
		    strcmp(event_at(queue, i)->pool, pool) == 0)
			return event_at(queue, i);
	return NULL;
}

void event_queue_add(struct event_queue *queue, const Hugepool__Event *told)
{
	unsigned kind = (unsigned)told->kind < 32 ? 1u << told->kind : 0;
	struct event event = {
		.kind = kind, .lease = told->lease, .arena = told->arena, .missed = told->missed};
	struct event *pressure;

	if (!(kind & queue->kinds))
		return;
	snprintf(event.pool, sizeof(event.pool), "%s", told->pool);
	pressure = kind == HP_EVENT_PRESSURE ? find_pressure(queue, event.pool) : NULL;
	if (pressure) {
		pressure->missed |= event.missed;
		return;
	}
	if (queue->n == EVENT_QUEUE_MAX) {
		queue->first = (queue->first + 1) % EVENT_QUEUE_MAX;
		queue->n--;
		event_at(queue, 0)->missed = true;
	}
	queue->n++;
	*event_at(queue, queue->n - 1) = event;
}

bool event_queue_take(struct event_queue *queue, struct event *ret)
{
	if (queue->n == 0)
		return false;
	*ret = *event_at(queue, 0);
	queue->first = (queue->first + 1) % EVENT_QUEUE_MAX;
	queue->n--;
	return true;
}

/* ---- hp_subscribe() ---- */

struct subscription {
	struct call call;
	unsigned kinds;
	hp_event_handler *handler;
	void *arg;
};

/* What comes behind this reply is for the new handler; so is what waits, if it is still wanted. */
static bool take_subscribed(hp_client *client, struct call *call, const struct answer *answer)
{
	struct subscription *subscription = (struct subscription *)call;
	struct event_queue *queue = &client->events;
	unsigned n = queue->n;
	struct event event;

	if (call->error.code < 0)
		return true;
	queue->kinds = subscription->kinds;
	queue->handler = subscription->handler;
	queue->arg = subscription->arg;
	while (n-- > 0 && event_queue_take(queue, &event))
		if (event.kind & queue->kinds)
			*event_at(queue, queue->n++) = event;
	return true;
}

/* Ask for what the program and the library want together. The lock is held, and given up meanwhile. */
static int run_subscribe(hp_client *client, struct call *call, call_take *take)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Subscribe message = HUGEPOOL__SUBSCRIBE__INIT;

	message.kinds = client->events.asked | client->events.inside;
	request.method_case = HUGEPOOL__REQUEST__METHOD_SUBSCRIBE;
	request.subscribe = &message;
	call_init(call, &request, take);
	return call_run(client, call, NO_DEADLINE);
}

static int subscribe(hp_client *client, struct subscription *subscription)
{
	int r;

	client->events.asked = subscription->kinds;
	r = run_subscribe(client, &subscription->call, take_subscribed);
	if (r < 0)
		client->events.asked = client->events.kinds;
	return r;
}

int event_subscribe_inside(hp_client *client, unsigned kinds)
{
	struct call call;

	client->events.inside |= kinds;
	return run_subscribe(client, &call, NULL);
}

int hp_subscribe(hp_client *client, unsigned kinds, hp_event_handler *handler, void *arg)
{
	struct subscription subscription = {.kinds = kinds, .handler = handler, .arg = arg};
	int r = session_check(client);

	if (r < 0)
		return r;
	if (kinds & ~(unsigned)ALL_KINDS)
		return error_set(-EINVAL, "The kinds of events 0x%x are not known.", kinds);
	if (kinds && !handler)
		return error_set(-EINVAL, "There is nobody to tell of events: NULL was given.");
	pthread_mutex_lock(&client->lock);
	if (event_queue_init(&client->events) < 0)
		r = error_no_memory("events");
	else
		r = subscribe(client, &subscription);
	pthread_mutex_unlock(&client->lock);
	return r;
}

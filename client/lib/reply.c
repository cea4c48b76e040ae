/* reply.c - takes replies: the arenas and events that they tell of are the session's, the rest is the
 * answer to a call.
 *
 * A reply is unpacked into the client's bump allocator, and only there while it is taken.
 */
#include <config.h>

#include <errno.h>

#include "client/lib/cache.h"
#include "proto/hot.h"

/* The arenas that a reply shows, each with a descriptor in the frame. */
static size_t shown_arenas(const Hugepool__Reply *reply, Hugepool__ArenaInfo *const **ret_infos)
{
	switch (reply->result_case) {
	case HUGEPOOL__REPLY__RESULT_ALLOC:
		*ret_infos = reply->alloc->new_arenas;
		return reply->alloc->n_new_arenas;
	case HUGEPOOL__REPLY__RESULT_OPEN:
		*ret_infos = reply->open->new_arenas;
		return reply->open->n_new_arenas;
	case HUGEPOOL__REPLY__RESULT_RESIZE:
		*ret_infos = reply->resize->new_arenas;
		return reply->resize->n_new_arenas;
	case HUGEPOOL__REPLY__RESULT_ARENA:
		*ret_infos = &reply->arena->arena;
		return reply->arena->arena ? 1 : 0;
	default:
		return 0;
	}
}

/* List the arenas that a reply shows, taking their descriptors out of the frame. Where one was lost or cannot
 * be listed, the lease that needs it asks again. -EPROTO: reply and descriptors do not fit together. */
static int take_arenas(hp_client *client, const Hugepool__Reply *reply, struct frame *frame)
{
	Hugepool__ArenaInfo *const *infos = NULL;
	size_t n_infos = shown_arenas(reply, &infos);

	if (n_infos != frame->n_fds)
		return -EPROTO;
	for (size_t i = 0; i < n_infos; i++) {
		const struct arena_info info = {.id = infos[i]->arena,
						.n_pages = infos[i]->n_pages,
						.page_bytes = infos[i]->page_bytes,
						.read_only = infos[i]->read_only};

		if (frame->fds[i] < 0)
			continue;
		(void)arena_table_consume_fd(&client->arenas, &info, frame->fds[i]);
		frame->fds[i] = -1;
	}
	return 0;
}

static void take_news(hp_client *client, const Hugepool__Reply *reply)
{
	for (size_t i = 0; i < reply->n_gone_arenas; i++)
		arena_table_gone(&client->arenas, reply->gone_arenas[i]);
	for (size_t i = 0; i < reply->n_events; i++) {
		event_queue_add(&client->events, reply->events[i]);
		cache_list_tell(client, reply->events[i]);
	}
	if (client->events.n > 0 || cache_list_is_pressed(client))
		session_wake(client);
}

int session_take_reply(hp_client *client, struct frame *frame)
{
	Hugepool__Reply *reply;
	int r;

	bump_reset(&client->bump);
	reply = hot_unpack_reply(&client->bump, frame->length, frame->message);
	if (!reply)
		reply = hugepool__reply__unpack(&client->bump.allocator, frame->length, frame->message);
	r = reply ? take_arenas(client, reply, frame) : -EPROTO;
	frame_close_fds(frame);
	if (r < 0)
		return r;
	if (frame->n_fds > 0)
		client->n_received_due++;
	take_news(client, reply);
	if (reply->id != 0)
		call_answer(client, &(struct answer){.reply = reply, .frame = frame});
	return 0;
}

/* hot_pack.c - messages to bytes; see hot.h. A field is its tag (number and kind) and a varint; what is zero
 * is left out; a message within has its length before it, which is below 128 here.
 */
#include <config.h>

#include <stdbool.h>

#include "proto/hot.h"
#include "proto/hot_tags.h"

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		*at++ = (uint8_t)(value | 0x80);
	*at++ = (uint8_t)value;
	return at;
}

static uint8_t *put_number(uint8_t *at, uint8_t tag, uint64_t value)
{
	if (value == 0)
		return at;
	*at++ = tag;
	return put_varint(at, value);
}

/* A list of one number. */
static uint8_t *put_list(uint8_t *at, uint8_t tag, uint64_t value)
{
	uint8_t *end = put_varint(at + 2, value);

	at[0] = tag;
	at[1] = (uint8_t)(end - at - 2);
	return end;
}

/* What is between `begin` and `end` but for two bytes at its begin is a message within. */
static uint8_t *end_message(uint8_t *begin, uint8_t tag, uint8_t *end)
{
	begin[0] = tag;
	begin[1] = (uint8_t)(end - begin - 2);
	return end;
}

static bool is_empty(const char *string)
{
	return !string || !string[0];
}

static uint8_t *put_alloc(uint8_t *begin, const Hugepool__Alloc *alloc)
{
	uint8_t *at = begin + 2;

	if (alloc->n_n_pages != 1 || alloc->n_access > 0 || !is_empty(alloc->name))
		return NULL;
	at = put_number(at, ALLOC_POOL, alloc->pool);
	at = put_list(at, ALLOC_N_PAGES, alloc->n_pages[0]);
	at = put_number(at, ALLOC_ALIGN_PAGES, alloc->align_pages);
	at = put_number(at, ALLOC_DETACHED, alloc->detached);
	at = put_number(at, ALLOC_MAX_RUNS, alloc->max_runs);
	at = put_number(at, ALLOC_WAIT_MS, alloc->wait_ms);
	at = put_number(at, ALLOC_LIFETIME_MS, alloc->lifetime_ms);
	at = put_number(at, ALLOC_REVOCABLE, alloc->revocable);
	at = put_number(at, ALLOC_MODE, alloc->mode);
	at = put_number(at, ALLOC_NO_ZERO, alloc->no_zero);
	at = put_number(at, ALLOC_NODE, alloc->node);
	return end_message(begin, MESSAGE_ALLOC, at);
}

static uint8_t *put_free(uint8_t *begin, const Hugepool__Free *ending)
{
	uint8_t *at = begin + 2;

	if (ending->n_leases != 1 || !is_empty(ending->name) || ending->orphaned || ending->unused)
		return NULL;
	at = put_list(at, FREE_LEASES, ending->leases[0]);
	at = put_number(at, FREE_COLD, ending->cold);
	return end_message(begin, MESSAGE_FREE, at);
}

size_t hot_pack_request(const Hugepool__Request *request, uint8_t *bytes)
{
	uint8_t *at = put_number(bytes, MESSAGE_ID, request->id);

	at = put_number(at, REQUEST_AGAIN, request->again);
	if (request->method_case == HUGEPOOL__REQUEST__METHOD_ALLOC)
		at = put_alloc(at, request->alloc);
	else if (request->method_case == HUGEPOOL__REQUEST__METHOD_FREE)
		at = put_free(at, request->free);
	else
		at = NULL;
	return at ? (size_t)(at - bytes) : 0;
}

static uint8_t *put_run(uint8_t *begin, const Hugepool__Run *run)
{
	uint8_t *at = begin + 2;

	at = put_number(at, RUN_ARENA, run->arena);
	at = put_number(at, RUN_FIRST_PAGE, run->first_page);
	at = put_number(at, RUN_N_PAGES, run->n_pages);
	return end_message(begin, GRANT_RUNS, at);
}

static uint8_t *put_granted(uint8_t *begin, const Hugepool__AllocReply *alloc)
{
	uint8_t *grant = begin + 2, *at = grant + 2;

	if (alloc->n_grants != 1 || alloc->n_new_arenas > 0 || alloc->grants[0]->n_runs != 1)
		return NULL;
	at = put_number(at, GRANT_LEASE, alloc->grants[0]->lease);
	at = put_run(at, alloc->grants[0]->runs[0]);
	at = end_message(grant, ALLOC_REPLY_GRANTS, at);
	return end_message(begin, MESSAGE_ALLOC, at);
}

static uint8_t *put_freed(uint8_t *begin, const Hugepool__FreeReply *freed)
{
	return freed->n_failures > 0 ? NULL : end_message(begin, MESSAGE_FREE, begin + 2);
}

size_t hot_pack_reply(const Hugepool__Reply *reply, uint8_t *bytes)
{
	uint8_t *at = put_number(bytes, MESSAGE_ID, reply->id);

	if (reply->error || reply->n_gone_arenas > 0 || reply->n_events > 0)
		return 0;
	if (reply->result_case == HUGEPOOL__REPLY__RESULT_ALLOC)
		at = put_granted(at, reply->alloc);
	else if (reply->result_case == HUGEPOOL__REPLY__RESULT_FREE)
		at = put_freed(at, reply->free);
	else
		at = NULL;
	return at ? (size_t)(at - bytes) : 0;
}

/* hot_unpack.c - bytes to messages; see hot.h. Any field that is not expected, comes twice where that means
 * something, or is longer than it need be, makes it a message for protobuf-c.
 */
#include <config.h>

#include <stdbool.h>

#include "proto/hot.h"
#include "proto/hot_tags.h"

#define VARINT_MAX 9 /* bytes, of numbers below 2^63 */

/* A message, or what is left of it. */
struct rest {
	const uint8_t *at, *end;
};

static bool get_varint(struct rest *rest, uint64_t *ret)
{
	const uint8_t *end = rest->end - rest->at > VARINT_MAX ? rest->at + VARINT_MAX : rest->end;
	uint64_t value = 0;
	unsigned shift = 0;

	while (rest->at < end) {
		const uint8_t byte = *rest->at++;

		value |= (uint64_t)(byte & 0x7f) << shift;
		shift += 7;
		if (byte < 0x80) {
			*ret = value;
			return true;
		}
	}
	return false;
}

static bool get_u32(struct rest *rest, uint32_t *ret)
{
	uint64_t value;

	if (!get_varint(rest, &value) || value > UINT32_MAX)
		return false;
	*ret = (uint32_t)value;
	return true;
}

static bool get_bool(struct rest *rest, protobuf_c_boolean *ret)
{
	uint64_t value;

	if (!get_varint(rest, &value) || value > 1)
		return false;
	*ret = value == 1;
	return true;
}

/* The message within that begins with its length. */
static bool get_message(struct rest *rest, struct rest *ret)
{
	if (rest->at == rest->end || *rest->at >= 0x80 || *rest->at > rest->end - rest->at - 1)
		return false;
	ret->at = rest->at + 1;
	ret->end = ret->at + *rest->at;
	rest->at = ret->end;
	return true;
}

/* A list of one number, that has not come before. */
static bool get_list(struct rest *rest, size_t *n, uint64_t *ret)
{
	struct rest list;

	if (*n > 0 || !get_message(rest, &list) || !get_varint(&list, ret) || list.at != list.end)
		return false;
	*n = 1;
	return true;
}

/* ---- requests ---- */

struct hot_request {
	Hugepool__Request request; /* first */
	union {
		Hugepool__Alloc alloc;
		Hugepool__Free free;
	};
	uint64_t one;
};

static bool read_alloc_field(struct rest *rest, uint8_t tag, struct hot_request *hot)
{
	Hugepool__Alloc *alloc = &hot->alloc;

	switch (tag) {
	case ALLOC_POOL:
		return get_u32(rest, &alloc->pool);
	case ALLOC_N_PAGES:
		return get_list(rest, &alloc->n_n_pages, &hot->one);
	case ALLOC_ALIGN_PAGES:
		return get_varint(rest, &alloc->align_pages);
	case ALLOC_DETACHED:
		return get_bool(rest, &alloc->detached);
	case ALLOC_MAX_RUNS:
		return get_u32(rest, &alloc->max_runs);
	case ALLOC_WAIT_MS:
		return get_varint(rest, &alloc->wait_ms);
	case ALLOC_LIFETIME_MS:
		return get_varint(rest, &alloc->lifetime_ms);
	case ALLOC_REVOCABLE:
		return get_bool(rest, &alloc->revocable);
	case ALLOC_MODE:
		return get_u32(rest, &alloc->mode);
	case ALLOC_NO_ZERO:
		return get_bool(rest, &alloc->no_zero);
	case ALLOC_NODE:
		return get_u32(rest, &alloc->node);
	default:
		return false;
	}
}

static bool read_alloc(struct rest *outer, struct hot_request *hot)
{
	static const Hugepool__Alloc none = HUGEPOOL__ALLOC__INIT;
	struct rest rest;

	if (hot->request.method_case || !get_message(outer, &rest))
		return false;
	hot->alloc = none;
	hot->alloc.n_pages = &hot->one;
	hot->request.method_case = HUGEPOOL__REQUEST__METHOD_ALLOC;
	hot->request.alloc = &hot->alloc;
	while (rest.at < rest.end) {
		const uint8_t tag = *rest.at++;

		if (!read_alloc_field(&rest, tag, hot))
			return false;
	}
	return hot->alloc.n_n_pages == 1;
}

static bool read_free(struct rest *outer, struct hot_request *hot)
{
	static const Hugepool__Free none = HUGEPOOL__FREE__INIT;
	struct rest rest;

	if (hot->request.method_case || !get_message(outer, &rest))
		return false;
	hot->free = none;
	hot->free.leases = &hot->one;
	hot->request.method_case = HUGEPOOL__REQUEST__METHOD_FREE;
	hot->request.free = &hot->free;
	while (rest.at < rest.end) {
		const uint8_t tag = *rest.at++;

		if (tag == FREE_LEASES ? !get_list(&rest, &hot->free.n_leases, &hot->one)
				       : tag != FREE_COLD || !get_bool(&rest, &hot->free.cold))
			return false;
	}
	return hot->free.n_leases == 1;
}

static bool read_request_field(struct rest *rest, uint8_t tag, struct hot_request *hot)
{
	switch (tag) {
	case MESSAGE_ID:
		return get_varint(rest, &hot->request.id);
	case REQUEST_AGAIN:
		return get_bool(rest, &hot->request.again);
	case MESSAGE_ALLOC:
		return read_alloc(rest, hot);
	case MESSAGE_FREE:
		return read_free(rest, hot);
	default:
		return false;
	}
}

static void *take(struct bump *bump, size_t bytes)
{
	return bump->allocator.alloc(bump->allocator.allocator_data, bytes);
}

Hugepool__Request *hot_unpack_request(struct bump *bump, size_t length, const uint8_t *bytes)
{
	static const Hugepool__Request none = HUGEPOOL__REQUEST__INIT;
	struct rest rest = {bytes, bytes + length};
	struct hot_request *hot;

	if (length > HOT_MAX_BYTES)
		return NULL;
	hot = take(bump, sizeof(*hot));
	if (!hot)
		return NULL;
	hot->request = none;
	while (rest.at < rest.end) {
		const uint8_t tag = *rest.at++;

		if (!read_request_field(&rest, tag, hot))
			return NULL;
	}
	return hot->request.method_case ? &hot->request : NULL;
}

/* ---- replies ---- */

struct hot_reply {
	Hugepool__Reply reply; /* first */
	union {
		Hugepool__AllocReply alloc;
		Hugepool__FreeReply free;
	};
	Hugepool__Grant grant, *grants;
	Hugepool__Run run, *runs;
};

static bool read_run(struct rest *outer, struct hot_reply *hot)
{
	static const Hugepool__Run none = HUGEPOOL__RUN__INIT;
	struct rest rest;

	if (hot->grant.n_runs > 0 || !get_message(outer, &rest))
		return false;
	hot->run = none;
	hot->runs = &hot->run;
	hot->grant.runs = &hot->runs;
	hot->grant.n_runs = 1;
	while (rest.at < rest.end) {
		const uint8_t tag = *rest.at++;
		uint64_t *field = tag == RUN_ARENA        ? &hot->run.arena
				  : tag == RUN_FIRST_PAGE ? &hot->run.first_page
				  : tag == RUN_N_PAGES    ? &hot->run.n_pages
							  : NULL;

		if (!field || !get_varint(&rest, field))
			return false;
	}
	return true;
}

static bool read_grant(struct rest *outer, struct hot_reply *hot)
{
	static const Hugepool__Grant none = HUGEPOOL__GRANT__INIT;
	struct rest rest;

	if (hot->alloc.n_grants > 0 || !get_message(outer, &rest))
		return false;
	hot->grant = none;
	hot->grants = &hot->grant;
	hot->alloc.grants = &hot->grants;
	hot->alloc.n_grants = 1;
	while (rest.at < rest.end) {
		const uint8_t tag = *rest.at++;

		if (tag == GRANT_LEASE ? !get_varint(&rest, &hot->grant.lease)
				       : tag != GRANT_RUNS || !read_run(&rest, hot))
			return false;
	}
	return hot->grant.n_runs == 1;
}

static bool read_granted(struct rest *outer, struct hot_reply *hot)
{
	static const Hugepool__AllocReply none = HUGEPOOL__ALLOC_REPLY__INIT;
	struct rest rest;

	if (hot->reply.result_case || !get_message(outer, &rest))
		return false;
	hot->alloc = none;
	hot->reply.result_case = HUGEPOOL__REPLY__RESULT_ALLOC;
	hot->reply.alloc = &hot->alloc;
	while (rest.at < rest.end)
		if (*rest.at++ != ALLOC_REPLY_GRANTS || !read_grant(&rest, hot))
			return false;
	return hot->alloc.n_grants == 1;
}

static bool read_freed(struct rest *outer, struct hot_reply *hot)
{
	static const Hugepool__FreeReply none = HUGEPOOL__FREE_REPLY__INIT;
	struct rest rest;

	if (hot->reply.result_case || !get_message(outer, &rest))
		return false;
	hot->free = none;
	hot->reply.result_case = HUGEPOOL__REPLY__RESULT_FREE;
	hot->reply.free = &hot->free;
	return rest.at == rest.end;
}

Hugepool__Reply *hot_unpack_reply(struct bump *bump, size_t length, const uint8_t *bytes)
{
	static const Hugepool__Reply none = HUGEPOOL__REPLY__INIT;
	struct rest rest = {bytes, bytes + length};
	struct hot_reply *hot;

	if (length > HOT_MAX_BYTES)
		return NULL;
	hot = take(bump, sizeof(*hot));
	if (!hot)
		return NULL;
	hot->reply = none;
	while (rest.at < rest.end) {
		const uint8_t tag = *rest.at++;

		if (tag == MESSAGE_ID      ? !get_varint(&rest, &hot->reply.id)
		    : tag == MESSAGE_ALLOC ? !read_granted(&rest, hot)
					   : tag != MESSAGE_FREE || !read_freed(&rest, hot))
			return NULL;
	}
	return hot->reply.result_case ? &hot->reply : NULL;
}

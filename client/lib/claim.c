/* claim.c - see claim.h. All of it runs under the client's lock, on whatever thread drives. */
#include <config.h>

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "client/lib/claim.h"
#include "client/lib/limit.h"

#define RUN_MAX_BYTES (UINT64_C(1) << 46)

#define NEEDS_ARENA 1

/* Take over a run's place as the daemon says, its arena is not looked for yet. */
static int read_run(struct arena_run *ret, const Hugepool__Run *run, uint64_t page_bytes)
{
	uint64_t max_pages = RUN_MAX_BYTES / page_bytes;

	if (run->n_pages == 0 || run->n_pages > max_pages || run->first_page > max_pages)
		return -EPROTO;
	*ret = (struct arena_run){
		.arena_id = run->arena,
		.offset_bytes = run->first_page * page_bytes,
		.bytes = run->n_pages * page_bytes,
	};
	return 0;
}

/* Take over what a grant says. -EPROTO: it is not what was asked for; -ENOMEM. The id is taken anyhow. */
static int read_grant(hp_lease *lease, const Hugepool__Grant *grant)
{
	uint64_t bytes = 0;

	lease->id = grant->lease;
	if (grant->n_runs == 0 || grant->n_runs > LEASE_MAX_RUNS)
		return -EPROTO;
	if (grant->n_runs > 1) {
		lease->runs = calloc(grant->n_runs, sizeof(*lease->runs));
		if (!lease->runs) {
			lease->runs = &lease->one_run;
			return -ENOMEM;
		}
	}
	for (; lease->n_runs < grant->n_runs; lease->n_runs++) {
		int r = read_run(&lease->runs[lease->n_runs], grant->runs[lease->n_runs],
				 lease->way.page_bytes);

		if (r < 0)
			return r;
		bytes += lease->runs[lease->n_runs].bytes;
	}
	if (lease->bytes != 0 && lease->bytes != bytes)
		return -EPROTO;
	lease->bytes = bytes;
	return 0;
}

/* The lease that was opened is of this pool. */
static int read_opened(hp_lease *lease, const Hugepool__OpenReply *opened)
{
	const struct session_pool *pool = session_pool_number(lease->client, opened->pool);

	if (!opened->grant)
		return -EPROTO;
	lease->id = opened->grant->lease;
	if (!pool)
		return -EPROTO;
	lease->pool = *pool;
	lease->way.page_bytes = pool->page_bytes;
	lease->maker_uid = opened->uid;
	lease->maker_mode = opened->mode;
	return read_grant(lease, opened->grant);
}

/* A daemon that is too old to look does not say who it was, either. */
static int check_maker(const struct claim *claim)
{
	const Hugepool__Open *asked = claim->asked->open;

	if (claim->asked->method_case != HUGEPOOL__REQUEST__METHOD_OPEN ||
	    asked->owner_case != HUGEPOOL__OPEN__OWNER_UID)
		return 0;
	if (claim->leases[0]->maker_mode == 0)
		return -EOPNOTSUPP;
	return claim->leases[0]->maker_uid == asked->uid ? 0 : -EPROTO;
}

static int read_reply(struct claim *claim, const Hugepool__Reply *reply)
{
	int r = 0;

	switch (reply->result_case) {
	case HUGEPOOL__REPLY__RESULT_OPEN:
		return read_opened(claim->leases[0], reply->open);
	case HUGEPOOL__REPLY__RESULT_RESIZE:
		return reply->resize->grant ? read_grant(claim->leases[0], reply->resize->grant) : -EPROTO;
	default:
		for (unsigned i = 0; i < claim->n_leases && i < reply->alloc->n_grants; i++) {
			int r_one = read_grant(claim->leases[i], reply->alloc->grants[i]);

			if (r == 0)
				r = r_one;
		}
		return reply->alloc->n_grants == claim->n_leases ? r : -EPROTO;
	}
}

/* ---- arenas ---- */

/* Find a run's arena and take a share. NEEDS_ARENA: it is not listed, or not for writing. */
static int place_run(hp_lease *lease, struct arena_run *run)
{
	struct arena *arena = arena_table_find(&lease->client->arenas, run->arena_id);
	uint64_t page_bytes = lease->way.page_bytes;
	int r;

	if (!arena || (arena->read_only && !(lease->way.flags & (HP_READ_ONLY | HP_PRIVATE))))
		return NEEDS_ARENA;
	if (arena->page_bytes != page_bytes)
		return -EPROTO;
	r = arena_take(arena, run->offset_bytes / page_bytes, run->bytes / page_bytes,
		       !lease_needs_view(lease));
	/* For the whole arena there are no addresses; for what was asked for there may be. */
	if (r == -ENOMEM && !lease_needs_view(lease)) {
		lease->is_apart = true;
		r = arena_take(arena, run->offset_bytes / page_bytes, run->bytes / page_bytes, false);
	}
	if (r == 0)
		run->arena = arena;
	return r;
}

static void ask_for_arena(struct claim *claim, uint64_t id)
{
	claim->phase = CLAIM_MISSES_ARENA;
	claim->asked_arena = id;
	hugepool__request__init(&claim->follow_up);
	hugepool__arena__init(&claim->message.arena);
	claim->message.arena.arena = id;
	claim->follow_up.method_case = HUGEPOOL__REQUEST__METHOD_ARENA;
	claim->follow_up.arena = &claim->message.arena;
	claim->call.request = &claim->follow_up;
	claim->call.asks = false;
}

/* Place all runs that are not yet. NEEDS_ARENA: one was asked for. -EMFILE: its descriptor gets lost. */
static int place_runs(struct claim *claim, hp_lease *lease)
{
	for (unsigned i = 0; i < lease->n_runs; i++) {
		struct arena_run *run = &lease->runs[i];
		int r = run->arena ? 0 : place_run(lease, run);

		if (r == NEEDS_ARENA && claim->phase == CLAIM_MISSES_ARENA &&
		    claim->asked_arena == run->arena_id)
			return -EMFILE;
		if (r == NEEDS_ARENA)
			ask_for_arena(claim, run->arena_id);
		if (r != 0)
			return r;
	}
	return 0;
}

/* Place all leases. Those that are new and placed are the client's then. */
static int place_leases(struct claim *claim)
{
	int r = 0;

	for (unsigned i = 0; i < claim->n_leases && r == 0; i++)
		r = place_runs(claim, claim->leases[i]);
	for (unsigned i = 0; i < claim->n_leases && r == 0; i++) {
		if (!lease_needs_view(claim->leases[i]))
			r = lease_map(claim->leases[i]);
		if (claim->back_to_pages == 0)
			lease_link(claim->leases[i]);
	}
	return r;
}

/* ---- giving back ---- */

/* What mapping the largest one takes, at least. */
static struct limit_need need_of(const struct claim *claim)
{
	struct limit_need need = {0};

	for (unsigned i = 0; i < claim->n_leases; i++) {
		const hp_lease *lease = claim->leases[i];
		uint64_t bytes = 0;

		for (unsigned k = 0; k < lease->n_runs; k++)
			bytes += lease->runs[k].bytes;
		need.bytes = bytes > need.bytes ? bytes : need.bytes;
		need.is_data |= (lease->way.flags & HP_PRIVATE) != 0;
		need.is_locked |= (lease->way.flags & HP_LOCK) != 0;
	}
	return need;
}

static void keep_reason(struct claim *claim, int error)
{
	const struct limit_need need = need_of(claim);
	struct error *reason = &claim->reason;
	char limit[LIMIT_WORDS_MAX];

	switch (error) {
	case -ENOENT:
		error_keep(reason, error, "The lease was revoked before its memory could be mapped.");
		break;
	case -EPROTO:
		error_keep(reason, error,
			   "The daemon granted what was not asked for, or lies elsewhere than it says.");
		break;
	case -EOPNOTSUPP:
		error_keep(reason, error, "The daemon is too old to say who has made a lease.");
		break;
	case -EMFILE:
		error_keep(reason, error, "The memory's descriptor cannot be received%s.",
			   limit_explain(error, NULL, limit));
		break;
	case -ENOMEM:
		limit_explain(error, &need, limit);
		error_keep(reason, error, "Cannot map the memory that was leased%s.",
			   limit[0] ? limit
				    : ": this process is at vm.max_map_count, or out of memory. Raise it, or "
				      "ask for less");
		break;
	default:
		error_keep(reason, error, "Cannot map the memory that was leased: %s%s.", strerror(-error),
			   limit_explain(error, &need, limit));
	}
}

static void ask_to_free(struct claim *claim)
{
	Hugepool__Free *message = &claim->message.free;

	hugepool__free__init(message);
	message->leases = claim->ids;
	for (unsigned i = 0; i < claim->n_leases; i++)
		if (claim->leases[i]->id)
			claim->ids[message->n_leases++] = claim->leases[i]->id;
	claim->follow_up.method_case = HUGEPOOL__REQUEST__METHOD_FREE;
	claim->follow_up.free = message;
}

static void ask_to_resize_back(struct claim *claim)
{
	Hugepool__Resize *message = &claim->message.resize;

	hugepool__resize__init(message);
	message->lease = claim->leases[0]->id;
	message->n_pages = claim->back_to_pages;
	message->max_runs = LEASE_MAX_RUNS;
	claim->follow_up.method_case = HUGEPOOL__REQUEST__METHOD_RESIZE;
	claim->follow_up.resize = message;
}

/* For claim->reason. */
static void give_back(struct claim *claim)
{
	claim->phase = CLAIM_GIVES_BACK;
	hugepool__request__init(&claim->follow_up);
	if (claim->back_to_pages)
		ask_to_resize_back(claim);
	else
		ask_to_free(claim);
	claim->call.request = &claim->follow_up;
	claim->call.asks = false;
}

/* Then mapping it fails in many ways. */
static bool is_revoked(const struct claim *claim)
{
	for (unsigned i = 0; i < claim->n_leases; i++)
		for (unsigned k = 0; k < claim->leases[i]->n_runs; k++) {
			const struct arena *arena = claim->leases[i]->runs[k].arena;

			if (arena && arena_is_truncated(arena))
				return true;
		}
	return false;
}

void claim_give_back(struct claim *claim, int error)
{
	keep_reason(claim, is_revoked(claim) ? -ENOENT : error);
	give_back(claim);
}

/* ---- withdrawing ---- */

/* What nobody waits for, and nobody hears of. */
struct withdrawal {
	struct call call; /* first */
	Hugepool__Request request;
	union {
		Hugepool__Cancel cancel;
		Hugepool__Resize resize;
	} message;
};

static void discard_withdrawal(struct call *call)
{
	free(call);
}

static struct withdrawal *withdrawal_new(void)
{
	struct withdrawal *undo = calloc(1, sizeof(*undo));

	if (!undo)
		return NULL;
	hugepool__request__init(&undo->request);
	call_init(&undo->call, &undo->request, NULL);
	undo->call.discard = discard_withdrawal;
	return undo;
}

static void start_cancel(hp_client *client, struct withdrawal *undo, uint64_t request_id)
{
	hugepool__cancel__init(&undo->message.cancel);
	undo->message.cancel.request = request_id;
	undo->request.method_case = HUGEPOOL__REQUEST__METHOD_CANCEL;
	undo->request.cancel = &undo->message.cancel;
	call_start(client, &undo->call);
}

/* It may have grown. */
static void start_resize_back(hp_client *client, struct withdrawal *undo, const struct claim *claim)
{
	Hugepool__Resize *message = &undo->message.resize;

	hugepool__resize__init(message);
	message->lease = claim->leases[0]->id;
	message->n_pages = claim->back_to_pages;
	message->max_runs = LEASE_MAX_RUNS;
	undo->request.method_case = HUGEPOOL__REQUEST__METHOD_RESIZE;
	undo->request.resize = message;
	call_start(client, &undo->call);
}

static int withdraw(hp_client *client, struct call *call)
{
	struct claim *claim = (struct claim *)call;
	const uint64_t id = claim->phase == CLAIM_ASKED ? call->request->id : claim->asked_id;
	struct withdrawal *cancel, *back = NULL;

	if (claim->phase == CLAIM_ASKED && call->n_sends == 0)
		return 0;
	cancel = withdrawal_new();
	if (cancel && claim->back_to_pages > 0)
		back = withdrawal_new();
	if (!cancel || (claim->back_to_pages > 0 && !back)) {
		free(cancel);
		return -ENOMEM;
	}
	start_cancel(client, cancel, id);
	if (back)
		start_resize_back(client, back, claim);
	return 0;
}

/* ---- the call ---- */

static bool take_answer(hp_client *client, struct call *call, const struct answer *answer)
{
	struct claim *claim = (struct claim *)call;
	int r = 0;

	if (claim->phase == CLAIM_GIVES_BACK) {
		call->error = claim->reason; /* what giving back has said helps nobody */
		return true;
	}
	if (call->error.code < 0) {
		if (claim->phase == CLAIM_ASKED)
			return true;
		/* Another descriptor was on its way, and has come before this answer: ask once more. */
		if (answer->reply->error->code == HUGEPOOL__CODE__TOO_MANY)
			return false;
		if (answer->reply->error->code == HUGEPOOL__CODE__NO_ARENA) {
			claim_give_back(claim, -ENOENT);
			return false;
		}
		claim->reason = call->error;
		give_back(claim);
		return false;
	}
	if (claim->phase == CLAIM_ASKED) {
		claim->asked_id = answer->reply->id;
		r = read_reply(claim, answer->reply);
	}
	if (r == 0)
		r = check_maker(claim);
	if (r == 0)
		r = place_leases(claim);
	if (r < 0)
		claim_give_back(claim, r);
	return r == 0;
}

void claim_init(struct claim *claim, Hugepool__Request *request, hp_lease **leases, unsigned n_leases,
		uint64_t *ids)
{
	call_init(&claim->call, request, take_answer);
	claim->call.asks = true;
	claim->asked = request;
	claim->call.withdraw = withdraw;
	claim->leases = leases;
	claim->n_leases = n_leases;
	claim->ids = ids;
	claim->back_to_pages = 0;
	claim->phase = CLAIM_ASKED;
	claim->asked_arena = claim->asked_id = 0;
}

/* operate.c - the commands by which an operator takes memory back, or keeps it from being leased: revoke,
 * evict, isolate, drain, restore. */
#include <config.h>

#include <stdio.h>

#include "client/ctl/ctl.h"
#include "client/lib/client.h"

static bool read_arena(const char *word, uint64_t *ret_arena)
{
	if (ctl_read_id(word, ret_arena))
		return true;
	ctl_complain("ARENA: expected a number, as buddyinfo lists them, not \"%s\"", word);
	return false;
}

/* For requests whose result says nothing to people. */
static enum ctl_status order(struct ctl *ctl, Hugepool__Request *request)
{
	json_t *result = NULL;
	enum ctl_status status = ctl_ask(ctl, request, &result);

	if (status == CTL_DONE && ctl->json)
		return ctl_print_json(result);
	json_decref(result);
	return status;
}

static int revoke_one(hp_client *client, const char *word)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Revoke method = HUGEPOOL__REVOKE__INIT;
	Hugepool__Reply *reply;
	int r;

	request.method_case = HUGEPOOL__REQUEST__METHOD_REVOKE;
	request.revoke = &method;
	ctl_read_id(word, &method.lease);
	r = client_call(client, &request, &reply);
	if (r == 0)
		hugepool__reply__free_unpacked(reply, NULL);
	return r;
}

enum ctl_status ctl_revoke_run(struct ctl *ctl)
{
	uint64_t lease;

	for (int i = 0; i < ctl->n_args; i++)
		if (!ctl_read_id(ctl->args[i], &lease)) {
			ctl_complain("LEASE: expected a number, as leases lists them, not \"%s\"",
				     ctl->args[i]);
			return CTL_USAGE;
		}
	return ctl_each(ctl, "revoked", revoke_one);
}

enum ctl_status ctl_evict_run(struct ctl *ctl)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Evict method = HUGEPOOL__EVICT__INIT;
	json_t *result = NULL;
	enum ctl_status status;
	json_int_t n_leases;

	if (!read_arena(ctl->args[0], &method.arena))
		return CTL_USAGE;
	request.method_case = HUGEPOOL__REQUEST__METHOD_EVICT;
	request.evict = &method;
	status = ctl_ask(ctl, &request, &result);
	if (status != CTL_DONE)
		return status;
	if (ctl->json)
		return ctl_print_json(result);
	n_leases = json_integer_value(json_object_get(result, "leases"));
	printf("%" JSON_INTEGER_FORMAT " lease%s ended\n", n_leases, n_leases == 1 ? " has" : "s have");
	json_decref(result);
	return CTL_DONE;
}

enum ctl_status ctl_isolate_run(struct ctl *ctl)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Isolate method = HUGEPOOL__ISOLATE__INIT;

	if (!read_arena(ctl->args[0], &method.arena))
		return CTL_USAGE;
	request.method_case = HUGEPOOL__REQUEST__METHOD_ISOLATE;
	request.isolate = &method;
	return order(ctl, &request);
}

enum ctl_status ctl_drain_run(struct ctl *ctl)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Drain method = HUGEPOOL__DRAIN__INIT;

	request.method_case = HUGEPOOL__REQUEST__METHOD_DRAIN;
	request.drain = &method;
	method.pool = ctl->args[0];
	return order(ctl, &request);
}

enum ctl_status ctl_restore_run(struct ctl *ctl)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Restore method = HUGEPOOL__RESTORE__INIT;

	request.method_case = HUGEPOOL__REQUEST__METHOD_RESTORE;
	request.restore = &method;
	if (!ctl_read_id(ctl->args[0], &method.arena))
		method.pool = ctl->args[0];
	return order(ctl, &request);
}

/* show.c - the commands that ask: status, pools, tenants, leases, sessions, buddyinfo.
 *
 * Each reply becomes JSON once; --json prints that, people get a table of its lists.
 */
#include <config.h>

#include <string.h>

#include "client/ctl/ctl.h"
#include "client/ctl/table.h"
#include "daemon/base/cleanup.h"

/* clang-format off */
static const struct ctl_column status_columns[] = {
	{"POOL",     "name",           CTL_TEXT},
	{"PAGE",     "page_bytes",     CTL_BYTES},
	{"MAX",      "pages_max",      CTL_PAGES},
	{"BACKED",   "pages_backed",   CTL_PAGES},
	{"LEASED",   "pages_leased",   CTL_PAGES},
	{"ORPHANED", "pages_orphaned", CTL_PAGES},
	{"MISSING",  "pages_missing",  CTL_PAGES},
	{"DRAINED",  "draining",       CTL_YES},
	{"LEASES",   "leases",         CTL_NUMBER},
	{0},
};

static const struct ctl_column pools_columns[] = {
	{"POOL",      "name",           CTL_TEXT},
	{"PAGE",      "page_bytes",     CTL_BYTES},
	{"BACKING",   "backing",        CTL_TEXT},
	{"ISOLATION", "isolation",      CTL_TEXT},
	{"MAX",       "pages_max",      CTL_PAGES},
	{"RESERVE",   "pages_reserve",  CTL_PAGES},
	{"BACKED",    "pages_backed",   CTL_PAGES},
	{"LEASED",    "pages_leased",   CTL_PAGES},
	{"ORPHANED",  "pages_orphaned", CTL_PAGES},
	{"CLEAN",     "pages_clean",    CTL_PAGES},
	{"DIRTY",     "pages_dirty",    CTL_PAGES},
	{"CACHED",    "pages_cached",   CTL_PAGES},
	{"STOCK",     "pages_stock",    CTL_PAGES},
	{"LIMBO",     "pages_limbo",    CTL_PAGES},
	{"MISSING",   "pages_missing",  CTL_PAGES},
	{"FOREIGN",   "pages_foreign",  CTL_PAGES},
	{"LOST",      "pages_lost",     CTL_PAGES},
	{"LEFT",      "pages_left",     CTL_PAGES},
	{"ARENAS",    "arenas",         CTL_NUMBER},
	{"TENANTS",   "tenants",        CTL_NUMBER},
	{"DRAINED",   "draining",       CTL_YES},
	{"LEASES",    "leases",         CTL_NUMBER},
	{0},
};

static const struct ctl_column tenants_columns[] = {
	{"POOL",     "pool",           CTL_TEXT},
	{"TENANT",   "tenant",         CTL_TEXT},
	{"QUOTA",    "pages_quota",    CTL_PAGES},
	{"LEASED",   "pages_leased",   CTL_PAGES},
	{"ORPHANED", "pages_orphaned", CTL_PAGES},
	{"CLEAN",    "pages_clean",    CTL_PAGES},
	{"DIRTY",    "pages_dirty",    CTL_PAGES},
	{"CACHED",   "pages_cached",   CTL_PAGES},
	{"LIMBO",    "pages_limbo",    CTL_PAGES},
	{"ARENAS",   "arenas",         CTL_NUMBER},
	{"LEASES",   "leases",         CTL_NUMBER},
	{"NAMES",    "names",          CTL_NUMBER},
	{0},
};

static const struct ctl_column leases_columns[] = {
	{"LEASE",     "lease",      CTL_NUMBER},
	{"POOL",      "pool",       CTL_TEXT},
	{"SIZE",      "bytes",      CTL_BYTES},
	{"RUNS",      "runs",       CTL_NUMBER},
	{"UID",       "uid",        CTL_NUMBER},
	{"PID",       "pid",        CTL_PID},
	{"STATE",     "state",      CTL_TEXT},
	{"DETACHED",  "detached",   CTL_YES},
	{"REVOCABLE", "revocable",  CTL_YES},
	{"OPENED",    "opened",     CTL_YES},
	{"SESSION",   "session",    CTL_NUMBER},
	{"ARENA",     "arena",      CTL_NUMBER},
	{"AGE(s)",    "age_s",      CTL_NUMBER},
	{"ENDS(s)",   "deadline_s", CTL_SOME},
	{"NAME",      "name",       CTL_TEXT},
	{0},
};

static const struct ctl_column sessions_columns[] = {
	{"SESSION",  "session",  CTL_NUMBER},
	{"UID",      "uid",      CTL_NUMBER},
	{"GID",      "gid",      CTL_NUMBER},
	{"PID",      "pid",      CTL_PID},
	{"STATE",    "state",    CTL_TEXT},
	{"LEASES",   "leases",   CTL_NUMBER},
	{"PAGES",    "pages",    CTL_NUMBER},
	{"REQUESTS", "requests", CTL_NUMBER},
	{"TURNS", "turns", CTL_NUMBER},
	{"WAITED", "turns_waited", CTL_NUMBER},
	{"AGE(s)",   "age_s",    CTL_NUMBER},
	{"CLIENT",   "client",   CTL_TEXT},
	{0},
};

static const struct ctl_column buddyinfo_columns[] = {
	{"POOL",                 "pool",        CTL_TEXT},
	{"TENANT",               "tenant",      CTL_TEXT},
	{"ARENA",                "arena",       CTL_NUMBER},
	{"PAGES",                "n_pages",     CTL_NUMBER},
	{"FREE",                 "pages_free",  CTL_NUMBER},
	{"DIRTY",                "pages_dirty", CTL_NUMBER},
	{"SOLE",                 "sole",        CTL_YES},
	{"ISOLATED",             "isolated",    CTL_YES},
	{"FREE BLOCKS BY ORDER", "free_blocks", CTL_NUMBERS},
	{0},
};
/* clang-format on */

static enum ctl_status ask_status(struct ctl *ctl, json_t **ret_result)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Status method = HUGEPOOL__STATUS__INIT;

	request.method_case = HUGEPOOL__REQUEST__METHOD_STATUS;
	request.status = &method;
	return ctl_ask(ctl, &request, ret_result);
}

/* Ask as often as it takes to have the whole list `key`; `cursor` is the request's. The result is an object
 * with the list and nothing else. */
static enum ctl_status ask_list(struct ctl *ctl, Hugepool__Request *request, uint64_t *cursor,
				const char *key, json_t **ret_result)
{
	json_auto_t *list = json_array();

	do {
		json_auto_t *part = NULL;
		enum ctl_status status = ctl_ask(ctl, request, &part);

		if (status != CTL_DONE)
			return status;
		if (json_array_extend(list, json_object_get(part, key)) < 0)
			return ctl_no_memory();
		*cursor = (uint64_t)json_integer_value(json_object_get(part, "next_cursor"));
	} while (*cursor);
	*ret_result = json_pack("{sO}", key, list);
	return *ret_result ? CTL_DONE : ctl_no_memory();
}

/* Print the result: as JSON, or its list `key` as a table. Takes the reference. */
static enum ctl_status consume_result(const struct ctl *ctl, json_t *result, const char *key,
				      const struct ctl_column *columns)
{
	int r;

	if (ctl->json)
		return ctl_print_json(result);
	r = ctl_table_print(stdout, columns, json_object_get(result, key));
	json_decref(result);
	return r < 0 ? ctl_no_memory() : CTL_DONE;
}

/* Ask for a list that is cut off where a frame is full, and print it. */
static enum ctl_status show_part(struct ctl *ctl, Hugepool__Request *request, const char *key,
				 const struct ctl_column *columns)
{
	json_t *result = NULL;
	enum ctl_status status = ctl_ask(ctl, request, &result);

	if (status != CTL_DONE)
		return status;
	if (!ctl->json && json_is_true(json_object_get(result, "truncated")))
		ctl_complain("There are more %s than one answer holds; name a POOL.", key);
	return consume_result(ctl, result, key, columns);
}

static void print_daemon(const json_t *status)
{
	printf("hugepoold %s, pid %" JSON_INTEGER_FORMAT ", up %" JSON_INTEGER_FORMAT
	       " s, %" JSON_INTEGER_FORMAT " workers, %" JSON_INTEGER_FORMAT
	       " sessions, %" JSON_INTEGER_FORMAT " leases\n\n",
	       json_string_value(json_object_get(status, "version")),
	       json_integer_value(json_object_get(status, "pid")),
	       json_integer_value(json_object_get(status, "uptime_s")),
	       json_integer_value(json_object_get(status, "workers")),
	       json_integer_value(json_object_get(status, "sessions")),
	       json_integer_value(json_object_get(status, "leases")));
}

enum ctl_status ctl_status_run(struct ctl *ctl)
{
	json_t *result = NULL;
	enum ctl_status status = ask_status(ctl, &result);

	if (status != CTL_DONE)
		return status;
	if (!ctl->json)
		print_daemon(result);
	return consume_result(ctl, result, "pools", status_columns);
}

enum ctl_status ctl_pools_run(struct ctl *ctl)
{
	json_auto_t *result = NULL;
	enum ctl_status status = ask_status(ctl, &result);
	json_t *pools;

	if (status != CTL_DONE)
		return status;
	pools = json_pack("{sO}", "pools", json_object_get(result, "pools"));
	return pools ? consume_result(ctl, pools, "pools", pools_columns) : ctl_no_memory();
}

enum ctl_status ctl_tenants_run(struct ctl *ctl)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Tenants method = HUGEPOOL__TENANTS__INIT;

	request.method_case = HUGEPOOL__REQUEST__METHOD_TENANTS;
	request.tenants = &method;
	if (ctl->n_args > 0)
		method.pool = ctl->args[0];
	return show_part(ctl, &request, "tenants", tenants_columns);
}

/* What can be done about them, since nothing ends them as long as their processes live. */
static void tell_of_orphaned(json_t *leases)
{
	json_t *lease;
	size_t i;

	json_array_foreach (leases, i, lease)
		if (strcmp(json_string_value(json_object_get(lease, "state")), "orphaned") == 0) {
			ctl_complain("The processes of orphaned leases live, but are not connected; \"free "
				     "--orphaned\" ends those that they have lost.");
			return;
		}
}

enum ctl_status ctl_leases_run(struct ctl *ctl)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Leases method = HUGEPOOL__LEASES__INIT;
	json_t *result = NULL;
	enum ctl_status status;

	request.method_case = HUGEPOOL__REQUEST__METHOD_LEASES;
	request.leases = &method;
	status = ask_list(ctl, &request, &method.cursor, "leases", &result);
	if (status == CTL_DONE && !ctl->json)
		tell_of_orphaned(json_object_get(result, "leases"));
	return status == CTL_DONE ? consume_result(ctl, result, "leases", leases_columns) : status;
}

enum ctl_status ctl_sessions_run(struct ctl *ctl)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Sessions method = HUGEPOOL__SESSIONS__INIT;
	json_t *result = NULL;
	enum ctl_status status;

	request.method_case = HUGEPOOL__REQUEST__METHOD_SESSIONS;
	request.sessions = &method;
	status = ask_list(ctl, &request, &method.cursor, "sessions", &result);
	return status == CTL_DONE ? consume_result(ctl, result, "sessions", sessions_columns) : status;
}

enum ctl_status ctl_buddyinfo_run(struct ctl *ctl)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__BuddyInfo method = HUGEPOOL__BUDDY_INFO__INIT;

	request.method_case = HUGEPOOL__REQUEST__METHOD_BUDDYINFO;
	request.buddyinfo = &method;
	if (ctl->n_args > 0)
		method.pool = ctl->args[0];
	return show_part(ctl, &request, "arenas", buddyinfo_columns);
}

/* orphans.c - free --orphaned: ends leases whose holders live and have lost them, by exec(), say. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/ctl/ctl.h"
#include "client/ctl/json.h"
#include "client/lib/client.h"
#include "client/lib/error.h"

#define BATCH 256 /* leases in one request, the protocol's limit */

/* ---- those that are named: whoever maps them ---- */

static int free_one(hp_client *client, const char *word)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Free method = HUGEPOOL__FREE__INIT;
	Hugepool__Reply *reply;
	uint64_t lease;
	int r;

	request.method_case = HUGEPOOL__REQUEST__METHOD_FREE;
	request.free = &method;
	method.orphaned = true;
	if (ctl_read_id(word, &lease)) {
		method.leases = &lease;
		method.n_leases = 1;
	} else {
		method.name = (char *)word;
	}
	r = client_call(client, &request, &reply);
	if (r < 0)
		return r;
	if (reply->free->n_failures > 0)
		r = error_set_wire(reply->free->failures[0]->error);
	hugepool__reply__free_unpacked(reply, NULL);
	return r;
}

/* ---- all of one's own that nobody uses ---- */

struct orphans {
	json_t *freed, *failed; /* words, as ctl_each() prints them */
	unsigned n;
	uint64_t leases[BATCH];
};

static bool add_word(json_t *list, uint64_t lease)
{
	char word[24];

	snprintf(word, sizeof(word), "%" PRIu64, lease);
	return json_array_append_new(list, ctl_json_from_text(word)) == 0;
}

/* What has failed is reported, and the others are freed. */
static enum ctl_status read_failures(struct orphans *orphans, const Hugepool__FreeReply *freed)
{
	enum ctl_status status = CTL_DONE;
	size_t k = 0;

	for (unsigned i = 0; i < orphans->n; i++) {
		bool has_failed = k < freed->n_failures && freed->failures[k]->index == i;

		if (!add_word(has_failed ? orphans->failed : orphans->freed, orphans->leases[i]))
			return ctl_no_memory();
		if (!has_failed)
			continue;
		error_set_wire(freed->failures[k++]->error);
		ctl_complain("%" PRIu64 ": %s", orphans->leases[i], hp_error());
		status = CTL_FAILED;
	}
	return status;
}

static enum ctl_status free_batch(struct ctl *ctl, struct orphans *orphans)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Free method = HUGEPOOL__FREE__INIT;
	Hugepool__Reply *reply;
	enum ctl_status status;

	if (orphans->n == 0)
		return CTL_DONE;
	request.method_case = HUGEPOOL__REQUEST__METHOD_FREE;
	request.free = &method;
	method.orphaned = true;
	method.unused = true;
	method.leases = orphans->leases;
	method.n_leases = orphans->n;
	if (client_call(ctl->client, &request, &reply) < 0) {
		ctl_complain("%s", hp_error());
		return CTL_FAILED;
	}
	status = read_failures(orphans, reply->free);
	hugepool__reply__free_unpacked(reply, NULL);
	orphans->n = 0;
	return status;
}

static enum ctl_status free_listed(struct ctl *ctl, struct orphans *orphans,
				   const Hugepool__LeasesReply *page)
{
	enum ctl_status status = CTL_DONE;

	for (size_t i = 0; i < page->n_leases; i++) {
		const Hugepool__LeaseInfo *row = page->leases[i];

		if (strcmp(row->state, "orphaned") != 0 || row->uid != geteuid())
			continue;
		orphans->leases[orphans->n++] = row->lease;
		if (orphans->n == BATCH && free_batch(ctl, orphans) != CTL_DONE)
			status = CTL_FAILED;
	}
	return status;
}

static enum ctl_status free_all(struct ctl *ctl, struct orphans *orphans)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Leases method = HUGEPOOL__LEASES__INIT;
	enum ctl_status status = ctl_connect(ctl);
	Hugepool__Reply *reply;

	if (status != CTL_DONE)
		return status;
	request.method_case = HUGEPOOL__REQUEST__METHOD_LEASES;
	request.leases = &method;
	do {
		if (client_call(ctl->client, &request, &reply) < 0) {
			ctl_complain("%s", hp_error());
			return CTL_FAILED;
		}
		if (free_listed(ctl, orphans, reply->leases) != CTL_DONE)
			status = CTL_FAILED;
		method.cursor = reply->leases->next_cursor;
		hugepool__reply__free_unpacked(reply, NULL);
	} while (method.cursor != 0);
	return free_batch(ctl, orphans) == CTL_DONE ? status : CTL_FAILED;
}

enum ctl_status ctl_free_orphaned_run(struct ctl *ctl)
{
	json_auto_t *freed = json_array(), *failed = json_array();
	struct orphans orphans = {.freed = freed, .failed = failed};
	enum ctl_status status;

	if (ctl->n_args > 0)
		return ctl_each(ctl, "freed", free_one);
	status = free_all(ctl, &orphans);
	if (ctl->json && status != CTL_NO_DAEMON &&
	    ctl_print_json(json_pack("{sO sO}", "freed", freed, "failed", failed)) != CTL_DONE)
		status = CTL_FAILED;
	return status;
}

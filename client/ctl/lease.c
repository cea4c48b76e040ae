/* lease.c - the commands that hold memory and give it back: alloc, free. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/ctl.h"
#include "client/ctl/json.h"
#include "client/lib/client.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/size.h"

/* A list of the lease's runs; NULL: no memory. */
static json_t *runs_to_json(const hp_lease *lease)
{
	json_auto_t *runs = json_array();
	Hugepool__Run run = HUGEPOOL__RUN__INIT;

	for (unsigned i = 0; client_lease_run(lease, i, &run) == 0; i++)
		if (json_array_append_new(runs, ctl_json_from_message(&run.base)) < 0)
			return NULL;
	return take_ptr(runs);
}

static enum ctl_status print_lease(const struct ctl *ctl, const hp_lease *lease)
{
	json_auto_t *runs = runs_to_json(lease);
	char word[SIZE_WORD_MAX];
	size_t n_runs;

	if (!runs)
		return ctl_no_memory();
	if (ctl->json)
		return ctl_print_json(json_pack("{sI so ss sI sO}", "lease", (json_int_t)hp_lease_id(lease),
						"name", ctl_json_from_text(ctl->name ? ctl->name : ""),
						"pool", client_lease_pool(lease), "bytes",
						(json_int_t)hp_lease_bytes(lease), "runs", runs));
	n_runs = json_array_size(runs);
	printf("lease %" PRIu64 ": %s of pool %s in %zu run%s, %s\n", hp_lease_id(lease),
	       size_format(hp_lease_bytes(lease), word), client_lease_pool(lease), n_runs,
	       n_runs == 1 ? "" : "s", ctl->detach ? "until it is freed" : "until a signal");
	return CTL_DONE;
}

/* Sleep until SIGINT or SIGTERM; they are blocked, so one that came early is not lost. */
static void wait_for_signal(const sigset_t *signals)
{
	int number;

	while (sigwait(signals, &number) != 0)
		;
}

static enum ctl_status end_lease(hp_lease *lease)
{
	if (hp_free(lease) == 0)
		return CTL_DONE;
	ctl_complain("%s", hp_error());
	return CTL_FAILED;
}

/* A lease whose id could not be told is of no use: it ends at once. */
static enum ctl_status hold_lease(const struct ctl *ctl, hp_lease *lease, const sigset_t *signals)
{
	enum ctl_status status = print_lease(ctl, lease);

	if (status == CTL_DONE)
		status = ctl_flush();
	if (status != CTL_DONE) {
		end_lease(lease);
		return status;
	}
	if (ctl->detach) {
		hp_lease_forget(lease);
		return CTL_DONE;
	}
	wait_for_signal(signals);
	return end_lease(lease);
}

enum ctl_status ctl_alloc_run(struct ctl *ctl)
{
	const struct hp_alloc_options options = {
		.pool = ctl->pool,
		.name = ctl->name,
		.flags = ctl->detach ? HP_DETACHED : 0,
	};
	enum ctl_status status;
	sigset_t signals;
	hp_lease *lease;
	uint64_t bytes;

	if (size_parse(ctl->args[0], &bytes) < 0 || bytes == 0) {
		ctl_complain("SIZE: expected a size such as 512M, not \"%s\"", ctl->args[0]);
		return CTL_USAGE;
	}
	status = ctl_connect(ctl);
	if (status != CTL_DONE)
		return status;
	sigemptyset(&signals);
	if (!ctl->detach) {
		sigaddset(&signals, SIGINT);
		sigaddset(&signals, SIGTERM);
	}
	sigprocmask(SIG_BLOCK, &signals, NULL);
	if (hp_alloc(ctl->client, bytes, &options, &lease) < 0) {
		ctl_complain("%s", hp_error());
		return CTL_FAILED;
	}
	return hold_lease(ctl, lease, &signals);
}

/* A word of digits is an id, any other a name. Returns 0 or a negative errno, with hp_error(). */
static int free_one(hp_client *client, const char *word)
{
	/* An id that does not fit becomes the largest there is, which no lease has. */
	if (*word && !word[strspn(word, "0123456789")])
		return hp_free_id(client, strtoull(word, NULL, 10));
	return hp_free_name(client, word);
}

enum ctl_status ctl_free_run(struct ctl *ctl)
{
	json_auto_t *freed = json_array(), *failed = json_array();
	enum ctl_status status = ctl_connect(ctl);

	if (status != CTL_DONE)
		return status;
	for (int i = 0; i < ctl->n_args; i++) {
		bool ended = free_one(ctl->client, ctl->args[i]) == 0;

		if (!ended) {
			ctl_complain("%s: %s", ctl->args[i], hp_error());
			status = CTL_FAILED;
		}
		json_array_append_new(ended ? freed : failed, ctl_json_from_text(ctl->args[i]));
	}
	if (ctl->json && ctl_print_json(json_pack("{sO sO}", "freed", freed, "failed", failed)) != CTL_DONE)
		status = CTL_FAILED;
	return status;
}

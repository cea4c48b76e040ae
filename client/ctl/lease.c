/* lease.c - the commands that hold memory and give it back: alloc, open, free. */
#include <config.h>

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>

#include "client/ctl/json.h"
#include "client/ctl/options.h"
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

static bool is_detached(const struct ctl *ctl)
{
	return ctl->alloc.flags & HP_DETACHED;
}

static enum ctl_status print_lease(const struct ctl *ctl, const hp_lease *lease, const char *name)
{
	json_auto_t *runs = runs_to_json(lease);
	char word[SIZE_WORD_MAX];
	size_t n_runs;

	if (!runs)
		return ctl_no_memory();
	if (ctl->json)
		return ctl_print_json(json_pack("{sI so ss sI sO}", "lease", (json_int_t)hp_lease_id(lease),
						"name", ctl_json_from_text(name), "pool",
						client_lease_pool(lease), "bytes",
						(json_int_t)hp_lease_bytes(lease), "runs", runs));
	n_runs = json_array_size(runs);
	printf("lease %" PRIu64 ": %s of pool %s in %zu run%s, %s\n", hp_lease_id(lease),
	       size_format(hp_lease_bytes(lease), word), client_lease_pool(lease), n_runs,
	       n_runs == 1 ? "" : "s", is_detached(ctl) ? "until it is freed" : "until a signal");
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

/* Until a signal, unless it is detached. One that comes before ends this process, and with it a lease that
 * nobody knows yet. A lease whose id could not be told is of no use: it ends at once. */
static enum ctl_status hold_lease(const struct ctl *ctl, hp_lease *lease, const char *name)
{
	enum ctl_status status;
	sigset_t signals;

	sigemptyset(&signals);
	if (!is_detached(ctl)) {
		sigaddset(&signals, SIGINT);
		sigaddset(&signals, SIGTERM);
	}
	sigprocmask(SIG_BLOCK, &signals, NULL);
	status = print_lease(ctl, lease, name);
	if (status == CTL_DONE)
		status = ctl_flush();
	if (status != CTL_DONE) {
		end_lease(lease);
		return status;
	}
	if (is_detached(ctl)) {
		hp_lease_forget(lease);
		return CTL_DONE;
	}
	wait_for_signal(&signals);
	return end_lease(lease);
}

enum ctl_status ctl_alloc_run(struct ctl *ctl)
{
	enum ctl_status status;
	hp_lease *lease;
	uint64_t bytes;

	if (size_parse(ctl->args[0], &bytes) < 0 || bytes == 0) {
		ctl_complain("SIZE: expected a size such as 512M, not \"%s\"", ctl->args[0]);
		return CTL_USAGE;
	}
	if (ctl->given & CTL_OPTIONS_NAMED && !ctl->alloc.name) {
		ctl_complain("--%s is for a lease with a --name: others cannot be opened.",
			     ctl_options_first(ctl->given & CTL_OPTIONS_NAMED));
		return CTL_USAGE;
	}
	status = ctl_connect(ctl);
	if (status != CTL_DONE)
		return status;
	if (hp_alloc(ctl->client, bytes, &ctl->alloc, &lease) < 0) {
		ctl_complain("%s", hp_error());
		return CTL_FAILED;
	}
	return hold_lease(ctl, lease, ctl->alloc.name ? ctl->alloc.name : "");
}

enum ctl_status ctl_open_run(struct ctl *ctl)
{
	enum ctl_status status = ctl_connect(ctl);
	hp_lease *lease;

	if (status != CTL_DONE)
		return status;
	if (hp_lease_open(ctl->client, ctl->args[0], ctl->alloc.flags, &lease) < 0) {
		ctl_complain("%s", hp_error());
		return CTL_FAILED;
	}
	return hold_lease(ctl, lease, ctl->args[0]);
}

/* Returns 0 or a negative errno, with hp_error(). */
static int free_one(hp_client *client, const char *word)
{
	uint64_t id;

	return ctl_read_id(word, &id) ? hp_free_id(client, id) : hp_free_name(client, word);
}

enum ctl_status ctl_free_run(struct ctl *ctl)
{
	return ctl_each(ctl, "freed", free_one);
}

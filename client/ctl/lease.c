/* lease.c - the commands that hold memory and give it back: alloc, open, free. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "client/ctl/json.h"
#include "client/ctl/options.h"
#include "client/lib/client.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/clock.h"
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

static const char *until(const struct ctl *ctl)
{
	if (ctl->alloc.lifetime_ms > 0)
		return is_detached(ctl) ? "until it is freed or its lifetime ends"
					: "until a signal or its lifetime ends";
	return is_detached(ctl) ? "until it is freed" : "until a signal";
}

/* Of one that was opened, also by whom it was made. */
static enum ctl_status print_lease_json(const hp_lease *lease, const char *name, json_t *runs)
{
	json_t *object = json_pack("{sI so ss sI sO}", "lease", (json_int_t)hp_lease_id(lease), "name",
				   ctl_json_from_text(name), "pool", client_lease_pool(lease), "bytes",
				   (json_int_t)hp_lease_bytes(lease), "runs", runs);
	uint32_t uid, mode;

	if (object && hp_lease_owner(lease, &uid, &mode) == 0 &&
	    (json_object_set_new(object, "owner_uid", json_integer(uid)) < 0 ||
	     json_object_set_new(object, "mode", json_integer(mode)) < 0)) {
		json_decref(object);
		object = NULL;
	}
	return ctl_print_json(object);
}

static enum ctl_status print_lease(const struct ctl *ctl, const hp_lease *lease, const char *name)
{
	json_auto_t *runs = runs_to_json(lease);
	char word[SIZE_WORD_MAX], owner[48] = "";
	uint32_t uid, mode;
	size_t n_runs;

	if (!runs)
		return ctl_no_memory();
	if (ctl->json)
		return print_lease_json(lease, name, runs);
	if (hp_lease_owner(lease, &uid, &mode) == 0)
		snprintf(owner, sizeof(owner), " of uid %" PRIu32 " (mode %04" PRIo32 ")", uid, mode);
	n_runs = json_array_size(runs);
	printf("lease %" PRIu64 "%s%s%s%s: %s of pool %s in %zu run%s, %s\n", hp_lease_id(lease),
	       *name ? " \"" : "", name, *name ? "\"" : "", owner, size_format(hp_lease_bytes(lease), word),
	       client_lease_pool(lease), n_runs, n_runs == 1 ? "" : "s", until(ctl));
	return CTL_DONE;
}

static enum ctl_status complain_failed(void)
{
	ctl_complain("%s", hp_error());
	return CTL_FAILED;
}

/* A lease that this command holds until a signal, or until it ends against our will. */
struct hold {
	struct ctl *ctl;
	hp_lease *lease;
	int signal_fd;
	bool is_revoked; /* or a part of it */
	uint64_t since_ns;
};

static void handle_revoked(void *arg, const struct hp_event *event)
{
	struct hold *hold = arg;

	hold->is_revoked = true;
}

/* Connect, and be told of the end of what will be leased. A signal that comes before ends this process, and
 * with it a lease that nobody knows yet. */
static enum ctl_status begin_hold(struct hold *hold, struct ctl *ctl)
{
	enum ctl_status status = ctl_connect(ctl);

	*hold = (struct hold){.ctl = ctl, .signal_fd = -1, .since_ns = clock_now_ns()};
	if (status == CTL_DONE && hp_subscribe(ctl->client, HP_EVENT_REVOKED, handle_revoked, hold) < 0)
		return complain_failed();
	return status;
}

/* When its lifetime is over it has ended as it should. */
static enum ctl_status end_revoked(const struct hold *hold)
{
	const uint64_t lifetime_ns = hold->ctl->alloc.lifetime_ms * NS_PER_MS;

	if (lifetime_ns > 0 && clock_now_ns() - hold->since_ns >= lifetime_ns)
		return CTL_DONE;
	ctl_complain("The lease %" PRIu64 " was taken back, or a part of it.", hp_lease_id(hold->lease));
	return CTL_FAILED;
}

static enum ctl_status stay(struct hold *hold)
{
	enum ctl_status status = ctl_stay(hold->ctl, hold->signal_fd, &hold->is_revoked);

	/* It ends with the session, and that now: who sent a signal does not want to wait for a daemon that
	 * may have gone. */
	return status == CTL_DONE && hold->is_revoked ? end_revoked(hold) : status;
}

/* Tell of the lease, and stay with it unless it is detached. A lease whose id could not be told is of no use:
 * it ends at once. */
static enum ctl_status keep_hold(struct hold *hold, const char *name)
{
	enum ctl_status status = CTL_DONE;

	if (!is_detached(hold->ctl)) {
		hold->signal_fd = ctl_catch_signals();
		status = hold->signal_fd < 0 ? CTL_FAILED : CTL_DONE;
	}
	if (status == CTL_DONE)
		status = print_lease(hold->ctl, hold->lease, name);
	if (status == CTL_DONE)
		status = ctl_flush();
	if (status != CTL_DONE)
		hp_free(hold->lease);
	else if (is_detached(hold->ctl))
		hp_lease_forget(hold->lease);
	else
		status = stay(hold);
	if (hold->signal_fd >= 0)
		close(hold->signal_fd);
	return status;
}

enum ctl_status ctl_alloc_run(struct ctl *ctl)
{
	enum ctl_status status;
	struct hold hold;
	uint64_t bytes;

	if (size_parse(ctl->args[0], &bytes) < 0 || bytes == 0) {
		ctl_complain("SIZE: expected a size such as 512M, and more than 0, not \"%s\"", ctl->args[0]);
		return CTL_USAGE;
	}
	if (ctl->given & CTL_OPTIONS_NAMED && !ctl->alloc.name) {
		ctl_complain("--%s is for a lease with a --name: others cannot be opened.",
			     ctl_options_first(ctl->given & CTL_OPTIONS_NAMED));
		return CTL_USAGE;
	}
	status = begin_hold(&hold, ctl);
	if (status != CTL_DONE)
		return status;
	if (hp_alloc(ctl->client, bytes, &ctl->alloc, &hold.lease) < 0)
		return complain_failed();
	return keep_hold(&hold, ctl->alloc.name ? ctl->alloc.name : "");
}

enum ctl_status ctl_open_run(struct ctl *ctl)
{
	struct hold hold;
	enum ctl_status status = begin_hold(&hold, ctl);
	int r;

	if (status != CTL_DONE)
		return status;
	r = ctl->given & CTL_OPTION_OWNER
		    ? hp_lease_open_of(ctl->client, ctl->args[0], ctl->owner_uid, ctl->alloc.flags,
				       &hold.lease)
		    : hp_lease_open(ctl->client, ctl->args[0], ctl->alloc.flags, &hold.lease);
	if (r < 0)
		return complain_failed();
	return keep_hold(&hold, ctl->args[0]);
}

/* Returns 0 or a negative errno, with hp_error(). */
static int free_one(hp_client *client, const char *word)
{
	uint64_t id;

	return ctl_read_id(word, &id) ? hp_free_id(client, id) : hp_free_name(client, word);
}

enum ctl_status ctl_free_run(struct ctl *ctl)
{
	return ctl->given & CTL_OPTION_ORPHANED ? ctl_free_orphaned_run(ctl)
						: ctl_each(ctl, "freed", free_one);
}

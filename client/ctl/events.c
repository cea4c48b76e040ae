/* events.c - the command that prints what happens to pools and arenas: events.
 *
 * What happens to a lease only its own session is told, and this one has none.
 */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "client/ctl/ctl.h"
#include "daemon/base/cleanup.h"

static const struct {
	unsigned kind;
	const char *name;
} kinds[] = {
	{HP_EVENT_PRESSURE, "pressure"},
	{HP_EVENT_DRAINED, "drained"},
	{HP_EVENT_RESTORED, "restored"},
};

#define N_KINDS   (sizeof(kinds) / sizeof(kinds[0]))
#define ALL_KINDS (HP_EVENT_PRESSURE | HP_EVENT_DRAINED | HP_EVENT_RESTORED)

struct watch {
	const struct ctl *ctl;
	bool has_failed; /* to print */
};

unsigned ctl_read_kinds(const char *list)
{
	unsigned set = 0;

	for (const char *word = list; word; word = strchr(word, ',')) {
		unsigned kind = 0;
		size_t length;

		word += *word == ',';
		length = strcspn(word, ",");
		for (size_t i = 0; i < N_KINDS; i++)
			if (strlen(kinds[i].name) == length && strncmp(kinds[i].name, word, length) == 0)
				kind = kinds[i].kind;
		if (!kind)
			return 0;
		set |= kind;
	}
	return set;
}

static const char *kind_name(unsigned kind)
{
	for (size_t i = 0; i < N_KINDS; i++)
		if (kinds[i].kind == kind)
			return kinds[i].name;
	return "unknown";
}

#define TIME_WORD_MAX 40

/* When we were told, as the daemon's log has it: UTC, to the millisecond. Returns `word`. */
static const char *time_word(char word[TIME_WORD_MAX])
{
	struct timespec now;
	struct tm utc;
	size_t n;

	clock_gettime(CLOCK_REALTIME, &now);
	n = strftime(word, TIME_WORD_MAX, "%Y-%m-%dT%H:%M:%S", gmtime_r(&now.tv_sec, &utc));
	snprintf(word + n, TIME_WORD_MAX - n, ".%03uZ", (unsigned)(now.tv_nsec / 1000000) % 1000);
	return word;
}

static enum ctl_status print_event_json(const struct hp_event *event)
{
	char word[TIME_WORD_MAX];

	return ctl_print_json(json_pack("{ss ss ss sI sb}", "time", time_word(word), "kind",
					kind_name(event->kind), "pool", event->pool, "arena",
					(json_int_t)event->arena, "missed", event->missed));
}

static void print_event(const struct hp_event *event)
{
	char word[TIME_WORD_MAX];

	printf("%s %s: ", time_word(word), kind_name(event->kind));
	if (event->arena)
		printf("arena %" PRIu64 " of ", event->arena);
	printf("pool %s%s\n", event->pool, event->missed ? " (others before it may be lost)" : "");
}

/* Each leaves at once: somebody waits for it. */
static void handle_event(void *arg, const struct hp_event *event)
{
	struct watch *watch = arg;

	if (watch->has_failed)
		return;
	if (watch->ctl->json)
		watch->has_failed = print_event_json(event) != CTL_DONE;
	else
		print_event(event);
	watch->has_failed = watch->has_failed || ctl_flush() != CTL_DONE;
}

enum ctl_status ctl_events_run(struct ctl *ctl)
{
	struct watch watch = {.ctl = ctl};
	_cleanup_close_ int signal_fd = ctl_catch_signals();
	enum ctl_status status;

	if (signal_fd < 0)
		return CTL_FAILED;
	status = ctl_connect(ctl);
	if (status != CTL_DONE)
		return status;
	if (hp_subscribe(ctl->client, ctl->kinds ? ctl->kinds : ALL_KINDS, handle_event, &watch) < 0) {
		ctl_complain("%s", hp_error());
		return CTL_FAILED;
	}
	status = ctl_stay(ctl, signal_fd, &watch.has_failed);
	return watch.has_failed ? CTL_FAILED : status;
}

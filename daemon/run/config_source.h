/* config_source.h - where a configuration value came from, and how to refuse it there.
 *
 * A source is a file's text or a flag. Its reader enters keys and items as it goes down and leaves them as it
 * comes up, so that whoever finds a value wrong only says what was expected. The first refusal's sentence is
 * kept.
 */
#pragma once

#include <jansson.h>

#include "daemon/run/json_position.h"

#define CONFIG_DEPTH_MAX 4 /* pools, 1, users, 2 */

struct config_source {
	const char *name; /* the file, or the flag as it was given: "--pool big" */
	const char *text; /* NULL: a flag, which has no lines */
	size_t length;
	struct json_step steps[CONFIG_DEPTH_MAX]; /* to the value that is being read */
	unsigned n_steps;
	const char *pool; /* whose keys are being read; NULL: the top level's */
	char *error;      /* the sentence, once something was refused */
	char **warnings;  /* sentences about what was left out, `n_warnings` of them */
	unsigned n_warnings;
};

void config_source_enter_key(struct config_source *source, const char *key);
void config_source_enter_item(struct config_source *source, size_t index);
void config_source_leave(struct config_source *source);

/* These set source->error, with the place and the innermost key in front, and return -EINVAL; or -ENOMEM. */

/* `expected WHAT, not VALUE`. */
int config_refuse_value(struct config_source *source, const json_t *value, const char *expected);
int config_refuse(struct config_source *source, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* The same of `key` in the object that is being read; the place is the object's where the key is missing. */
int config_refuse_of(struct config_source *source, const char *key, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
/* The same, but it is the key that is wrong: the place is the key's. */
int config_refuse_key(struct config_source *source, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
/* Something is left out, and the daemon can do without it: a sentence with the place, the key and the pool in
 * front is added to source->warnings. 0 or -ENOMEM. */
int config_warn(struct config_source *source, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The text is no JSON; jansson has said why. */
int config_refuse_text(struct config_source *source, const json_error_t *json_error);

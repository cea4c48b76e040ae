/* config_source.c - see config_source.h. Knows places and sentences, no keys. */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "daemon/base/assert.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/text.h"
#include "daemon/run/config_source.h"

#define SHOWN_VALUE_MAX 60 /* characters of a refused value that a sentence repeats */

static void source_enter(struct config_source *source, struct json_step step)
{
	hp_assert(source->n_steps < CONFIG_DEPTH_MAX);
	source->steps[source->n_steps++] = step;
}

void config_source_enter_key(struct config_source *source, const char *key)
{
	source_enter(source, (struct json_step){.key = key});
}

void config_source_enter_item(struct config_source *source, size_t index)
{
	source_enter(source, (struct json_step){.index = index});
}

void config_source_leave(struct config_source *source)
{
	hp_assert(source->n_steps > 0);
	source->n_steps--;
}

static const char *innermost_key(const struct config_source *source)
{
	for (unsigned i = source->n_steps; i > 0; i--)
		if (source->steps[i - 1].key)
			return source->steps[i - 1].key;
	return NULL;
}

/* NAME:LINE:COLUMN: key "KEY": SENTENCE, of which a flag has no line and column, and the outermost value no
 * key. The caller's to free; NULL: no memory. */
static char *place_sentence(const struct config_source *source, const struct json_position *position,
			    const char *sentence)
{
	const char *key = innermost_key(source);
	char place[32] = "", *placed;

	if (position)
		snprintf(place, sizeof(place), "%u:%u:", position->line, position->column);
	if (asprintf(&placed, "%s:%s %s%s%s%s", source->name, place, key ? "key \"" : "", key ? key : "",
		     key ? "\": " : "", sentence) < 0)
		return NULL;
	return text_clean(placed);
}

static int keep_error(struct config_source *source, const struct json_position *position,
		      const char *sentence)
{
	hp_assert(!source->error);
	source->error = place_sentence(source, position, sentence);
	return source->error ? -EINVAL : -ENOMEM;
}

typedef struct json_position (*position_fn)(const char *text, size_t length, const struct json_step *steps,
					    unsigned n_steps);

static int refuse(struct config_source *source, position_fn position_of, const char *format, va_list args)
{
	_cleanup_free_ char *sentence = NULL;
	struct json_position position;

	if (vasprintf(&sentence, format, args) < 0) {
		sentence = NULL;
		return -ENOMEM;
	}
	if (!source->text)
		return keep_error(source, NULL, sentence);
	position = position_of(source->text, source->length, source->steps, source->n_steps);
	return keep_error(source, &position, sentence);
}

int config_refuse(struct config_source *source, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = refuse(source, json_position_of_value, format, args);
	va_end(args);
	return r;
}

int config_refuse_of(struct config_source *source, const char *key, const char *format, ...)
{
	va_list args;
	int r;

	config_source_enter_key(source, key);
	va_start(args, format);
	r = refuse(source, json_position_of_value, format, args);
	va_end(args);
	config_source_leave(source);
	return r;
}

int config_refuse_key(struct config_source *source, const char *format, ...)
{
	va_list args;
	int r;

	va_start(args, format);
	r = refuse(source, json_position_of_key, format, args);
	va_end(args);
	return r;
}

int config_warn(struct config_source *source, const char *format, ...)
{
	_cleanup_free_ char *words = NULL, *sentence = NULL;
	struct json_position position = {0};
	char **warnings;
	va_list args;
	int r;

	warnings = reallocarray(source->warnings, source->n_warnings + 1, sizeof(*warnings));
	if (!warnings)
		return -ENOMEM;
	source->warnings = warnings;
	va_start(args, format);
	r = vasprintf(&words, format, args);
	va_end(args);
	if (r < 0) {
		words = NULL;
		return -ENOMEM;
	}
	if (asprintf(&sentence, "%s%s%s%s", source->pool ? "pool " : "", source->pool ? source->pool : "",
		     source->pool ? ": " : "", words) < 0) {
		sentence = NULL;
		return -ENOMEM;
	}
	if (source->text)
		position =
			json_position_of_value(source->text, source->length, source->steps, source->n_steps);
	warnings[source->n_warnings] = place_sentence(source, source->text ? &position : NULL, sentence);
	if (!warnings[source->n_warnings])
		return -ENOMEM;
	source->n_warnings++;
	return 0;
}

int config_refuse_value(struct config_source *source, const json_t *value, const char *expected)
{
	_cleanup_free_ char *shown = NULL;

	if (json_is_array(value))
		return config_refuse(source, "expected %s, not a list", expected);
	if (json_is_object(value))
		return config_refuse(source, "expected %s, not an object", expected);
	shown = json_dumps(value, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
	if (!shown)
		return -ENOMEM;
	return config_refuse(source, "expected %s, not %.*s", expected, SHOWN_VALUE_MAX, shown);
}

int config_refuse_text(struct config_source *source, const json_error_t *json_error)
{
	/* jansson counts what it has read: at the start of a line that is column 0. */
	struct json_position position = {
		.line = json_error->line > 0 ? (unsigned)json_error->line : 1,
		.column = json_error->column > 0 ? (unsigned)json_error->column : 1,
	};
	_cleanup_free_ char *sentence = NULL;
	const char *expected =
		json_error_code(json_error) == json_error_duplicate_key ? "every key once" : "JSON";

	if (asprintf(&sentence, "expected %s: %s", expected, json_error->text) < 0) {
		sentence = NULL;
		return -ENOMEM;
	}
	return keep_error(source, &position, sentence);
}

/* json_position.c - walks a JSON text again, along one path, to say at which line and column a value begins.
 *
 * Not a parser: the text has passed jansson, so only the shape is looked at. It stays inside `text` whatever
 * it holds, takes memory only to decode keys with escapes, and nesting costs no stack.
 */
#include <config.h>

#include <jansson.h>
#include <stdbool.h>
#include <string.h>

#include "daemon/run/json_position.h"

struct walk {
	const char *at, *end;
};

static bool walk_sees(const struct walk *walk, char c)
{
	return walk->at < walk->end && *walk->at == c;
}

static void skip_space(struct walk *walk)
{
	while (walk->at < walk->end && memchr(" \t\r\n", *walk->at, 4))
		walk->at++;
}

/* Past a punctuation mark, if it is there, and the space after it. */
static bool skip_mark(struct walk *walk, char mark)
{
	if (!walk_sees(walk, mark))
		return false;
	walk->at++;
	skip_space(walk);
	return true;
}

static void skip_string(struct walk *walk)
{
	for (walk->at++; walk->at < walk->end && *walk->at != '"'; walk->at++)
		if (*walk->at == '\\' && walk->at + 1 < walk->end)
			walk->at++;
	if (walk->at < walk->end)
		walk->at++;
}

/* Past one value of any kind, and the space after it. */
static void skip_value(struct walk *walk)
{
	unsigned depth = 0;

	while (walk->at < walk->end) {
		char c = *walk->at;

		if (c == '"') {
			skip_string(walk);
			continue;
		}
		if (depth == 0 && memchr(",]}", c, 3))
			break;
		if (c == '[' || c == '{')
			depth++;
		else if (c == ']' || c == '}')
			depth--;
		walk->at++;
	}
}

/* Does the JSON string at [from, to), quotes and escapes included, spell `key`? */
static bool string_is(const char *from, const char *to, const char *key)
{
	size_t length = (size_t)(to - from);
	json_t *decoded;
	bool is;

	if (!memchr(from, '\\', length))
		return length == strlen(key) + 2 && memcmp(from + 1, key, length - 2) == 0;
	decoded = json_loadb(from, length, JSON_DECODE_ANY, NULL);
	is = decoded && strcmp(json_string_value(decoded), key) == 0;
	json_decref(decoded);
	return is;
}

/* From an object to the value of `key`; *ret_key is then where the key stands. */
static bool step_into_object(struct walk *walk, const char *key, const char **ret_key)
{
	if (!skip_mark(walk, '{'))
		return false;
	while (walk_sees(walk, '"')) {
		const char *from = walk->at;
		bool found;

		skip_string(walk);
		found = string_is(from, walk->at, key);
		skip_space(walk);
		skip_mark(walk, ':');
		if (found) {
			*ret_key = from;
			return true;
		}
		skip_value(walk);
		skip_mark(walk, ',');
	}
	return false;
}

static bool step_into_array(struct walk *walk, size_t index)
{
	if (!skip_mark(walk, '['))
		return false;
	while (walk->at < walk->end && *walk->at != ']') {
		if (index-- == 0)
			return true;
		skip_value(walk);
		skip_mark(walk, ',');
	}
	return false;
}

static struct json_position position_at(const char *text, const char *at)
{
	struct json_position position = {.line = 1, .column = 1};

	for (const char *c = text; c < at; c++) {
		if (*c == '\n') {
			position.line++;
			position.column = 1;
		} else if (((unsigned char)*c & 0xc0) != 0x80) {
			position.column++;
		}
	}
	return position;
}

static struct json_position position_of(const char *text, size_t length, const struct json_step *steps,
					unsigned n_steps, bool of_key)
{
	struct walk walk = {.at = text, .end = text + length};
	const char *value, *key;

	skip_space(&walk);
	key = value = walk.at;
	for (unsigned i = 0; i < n_steps; i++) {
		const char *step_key = NULL;

		if (steps[i].key ? !step_into_object(&walk, steps[i].key, &step_key)
				 : !step_into_array(&walk, steps[i].index))
			break;
		value = walk.at;
		key = step_key ? step_key : value;
	}
	return position_at(text, of_key ? key : value);
}

struct json_position json_position_of_value(const char *text, size_t length, const struct json_step *steps,
					    unsigned n_steps)
{
	return position_of(text, length, steps, n_steps, false);
}

struct json_position json_position_of_key(const char *text, size_t length, const struct json_step *steps,
					  unsigned n_steps)
{
	return position_of(text, length, steps, n_steps, true);
}

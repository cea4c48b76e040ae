/* json_position.h - where in a JSON text a value stands: jansson keeps no positions, messages need them. */
#pragma once

#include <stddef.h>

/* One step down: into an object by key, or, with key NULL, into an array by index. */
struct json_step {
	const char *key;
	size_t index;
};

struct json_position {
	unsigned line, column; /* from 1; columns are characters, not bytes, as jansson counts them */
};

/* Where the value at the end of `steps` begins in `text`, which jansson has accepted; no steps: the outermost
 * value. A step that is not there ends the walk: then it is the value that lacks it, such as the object
 * without that key. */
struct json_position json_position_of_value(const char *text, size_t length, const struct json_step *steps,
					    unsigned n_steps);

/* The same, but where the last step is a key, the position of the key instead of its value. */
struct json_position json_position_of_key(const char *text, size_t length, const struct json_step *steps,
					  unsigned n_steps);

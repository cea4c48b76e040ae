/* json.h - any protobuf message as a JSON object: the fields' names are the keys. And any text. */
#pragma once

#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

/* A text as a string. Its author is some client, so it need not be UTF-8: every byte past ASCII is then a
 * "?". NULL: no memory. */
json_t *ctl_json_from_text(const char *text);

/* A new object with every field of the message, those with default values too: repeated fields as lists, a
 * message that is not set as null, enums by name, bytes in hexadecimal; of a oneof the field that is set.
 * NULL: no memory. Integers above 2^63-1 do not fit into jansson's and come out negative. */
json_t *ctl_json_from_message(const ProtobufCMessage *message);

/* json.c - walks a message by its protobuf-c descriptor; knows no message by name. */
#include <config.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/ctl/json.h"
#include "daemon/base/cleanup.h"
#include "daemon/base/text.h"

json_t *ctl_json_from_text(const char *text)
{
	json_t *json = json_string(text);
	_cleanup_free_ char *cleaned = NULL;

	if (json)
		return json;
	cleaned = strdup(text);
	return cleaned ? json_string(text_clean(cleaned)) : NULL;
}

static json_t *bytes_to_json(const ProtobufCBinaryData *bytes)
{
	_cleanup_free_ char *hex = malloc(2 * bytes->len + 1);

	if (!hex)
		return NULL;
	for (size_t i = 0; i < bytes->len; i++)
		snprintf(hex + 2 * i, 3, "%02x", bytes->data[i]);
	hex[2 * bytes->len] = '\0';
	return json_string(hex);
}

static json_t *enum_to_json(const ProtobufCEnumDescriptor *descriptor, int number)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(descriptor, number);

	return value ? json_string(value->name) : json_integer(number);
}

/* The one value at `at`, of the field's type. */
static json_t *value_to_json(const ProtobufCFieldDescriptor *field, const void *at)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)at);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return json_integer(*(const int64_t *)at);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_real((double)*(const float *)at);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(*(const double *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_to_json(field->descriptor, *(const int *)at);
	case PROTOBUF_C_TYPE_STRING:
		return *(const char *const *)at ? ctl_json_from_text(*(const char *const *)at)
						: json_string("");
	case PROTOBUF_C_TYPE_BYTES:
		return bytes_to_json(at);
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(const ProtobufCMessage *const *)at
			       ? ctl_json_from_message(*(const ProtobufCMessage *const *)at)
			       : json_null();
	}
	return json_null();
}

static size_t value_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
	case PROTOBUF_C_TYPE_DOUBLE:
		return sizeof(uint64_t);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_ENUM:
		return sizeof(int);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return sizeof(uint32_t);
	}
}

static json_t *repeated_to_json(const ProtobufCFieldDescriptor *field, const char *values, size_t n_values)
{
	json_auto_t *list = json_array();

	for (size_t i = 0; i < n_values; i++)
		if (json_array_append_new(list, value_to_json(field, values + i * value_size(field->type))) <
		    0)
			return NULL;
	return take_ptr(list);
}

static json_t *field_to_json(const ProtobufCFieldDescriptor *field, const char *message)
{
	const void *at = message + field->offset;

	if (field->label != PROTOBUF_C_LABEL_REPEATED)
		return value_to_json(field, at);
	return repeated_to_json(field, *(const char *const *)at,
				*(const size_t *)(const void *)(message + field->quantifier_offset));
}

/* A field of a oneof shares its place with others: is it the one that is there? */
static bool is_other_of_oneof(const ProtobufCFieldDescriptor *field, const char *message)
{
	return (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
	       *(const uint32_t *)(const void *)(message + field->quantifier_offset) != field->id;
}

json_t *ctl_json_from_message(const ProtobufCMessage *message)
{
	const ProtobufCMessageDescriptor *descriptor = message->descriptor;
	json_auto_t *object = json_object();

	for (unsigned i = 0; i < descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &descriptor->fields[i];

		if (is_other_of_oneof(field, (const char *)message))
			continue;
		if (json_object_set_new(object, field->name, field_to_json(field, (const char *)message)) < 0)
			return NULL;
	}
	return take_ptr(object);
}

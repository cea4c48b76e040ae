/* strings.c - see strings.h. Walks the wire format: a tag is a field's number and how long its value is. */
#include <config.h>

#include <string.h>

#include "proto/strings.h"

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };
#define WIRE_BITS     3
#define VARINT_MAX    10 /* bytes */
#define VARINT_BITS   7
#define VARINT_FOLLOW 0x80u

struct rest {
	const uint8_t *at, *end;
};

static bool get_varint(struct rest *rest, uint64_t *ret)
{
	*ret = 0;
	for (unsigned i = 0; i < VARINT_MAX && rest->at < rest->end; i++) {
		const uint8_t byte = *rest->at++;

		*ret |= (uint64_t)(byte & ~VARINT_FOLLOW) << (VARINT_BITS * i);
		if (!(byte & VARINT_FOLLOW))
			return true;
	}
	return false;
}

/* The field's value; *ret_value is NULL unless it is bytes. */
static bool get_value(struct rest *rest, unsigned wire, const uint8_t **ret_value, uint64_t *ret_length)
{
	*ret_value = NULL;
	*ret_length = 0;
	switch (wire) {
	case WIRE_VARINT:
		return get_varint(rest, &(uint64_t){0});
	case WIRE_64:
		*ret_length = 8;
		break;
	case WIRE_32:
		*ret_length = 4;
		break;
	case WIRE_BYTES:
		if (!get_varint(rest, ret_length))
			return false;
		*ret_value = rest->at;
		break;
	default:
		return false;
	}
	if (*ret_length > (uint64_t)(rest->end - rest->at))
		return false;
	rest->at += *ret_length;
	return true;
}

bool strings_are_whole(const ProtobufCMessageDescriptor *descriptor, size_t length, const uint8_t *bytes)
{
	struct rest rest = {bytes, bytes + length};
	const ProtobufCFieldDescriptor *field;
	uint64_t tag, value_length;
	const uint8_t *value;

	while (rest.at < rest.end) {
		if (!get_varint(&rest, &tag) || tag >> WIRE_BITS > UINT32_MAX ||
		    !get_value(&rest, tag & ((1u << WIRE_BITS) - 1), &value, &value_length))
			return true;
		field = protobuf_c_message_descriptor_get_field(descriptor, (unsigned)(tag >> WIRE_BITS));
		if (!value || !field)
			continue;
		if (field->type == PROTOBUF_C_TYPE_STRING && memchr(value, 0, value_length))
			return false;
		if (field->type == PROTOBUF_C_TYPE_MESSAGE &&
		    !strings_are_whole(field->descriptor, value_length, value))
			return false;
	}
	return true;
}

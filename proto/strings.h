/* strings.h - what protobuf-c does not look at: a string with a NUL byte in it would be taken for a shorter
 * one.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No string of the packed message, nor of those in it, has a NUL byte. What is not well-formed is not looked
 * at: unpacking refuses it. */
bool strings_are_whole(const ProtobufCMessageDescriptor *descriptor, size_t length, const uint8_t *bytes);

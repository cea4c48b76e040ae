/* error.h - the calling thread's sentence about its last failure, and what the daemon's codes mean here. */
#pragma once

#include "proto/hugepool.pb-c.h"

/* Keep the sentence for hp_error() and return `error`, a negative errno. Cut when it is too long. */
int error_set(int error, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same from the daemon's error: its sentence if it has one. -EPROTO for codes that we do not know. */
int error_set_wire(const Hugepool__Error *error);

/* error.h - the calling thread's sentence about its last failure, what the daemon's codes mean here, and
 * failures on their way from the thread that met them to the one that is told. */
#pragma once

#include "proto/hugepool.pb-c.h"

#define ERROR_SENTENCE_MAX 512

struct error {
	int code; /* a negative errno; 0: no failure */
	char sentence[ERROR_SENTENCE_MAX];
};

/* The session is over, and the daemon no longer counts its leases as anybody's. */
#define ERROR_SESSION_ENDED                                                                                  \
	"The session has ended: to the daemon its leases are nobody's, and what is mapped here stays until " \
	"the client is closed. Close it, and open another."

/* Keep the sentence for hp_error() and return `code`, a negative errno. Cut when it is too long. */
int error_set(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* -ENOMEM, with "No memory for `what`" and the limit of this process that is why, if one is. */
int error_no_memory(const char *what);
/* The same from the daemon's error: its sentence if it has one. -EPROTO for codes that we do not know. */
int error_set_wire(const Hugepool__Error *error);

/* The same into *ret, for a thread that raises it. */
int error_keep(struct error *ret, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
int error_keep_wire(struct error *ret, const Hugepool__Error *error);
/* Make it this thread's own if it is a failure. Returns its code. */
int error_raise(const struct error *kept);

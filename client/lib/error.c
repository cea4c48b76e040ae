/* error.c - see error.h. A sentence is kept in a buffer that is there already, so that errors need no memory.
 */
#include <config.h>

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "client/include/hugepool.h"
#include "client/lib/error.h"
#include "client/lib/limit.h"
#include "daemon/base/text.h"

static _Thread_local struct error own;

static const struct {
	int error;
	const char *sentence; /* where the daemon sent none */
} wire_errors[] = {
	[HUGEPOOL__CODE__OK] = {-EPROTO, "The daemon reported a failure that is none."},
	[HUGEPOOL__CODE__BAD_REQUEST] = {-EINVAL, "The daemon says that the request makes no sense."},
	[HUGEPOOL__CODE__UNKNOWN_METHOD] = {-EPROTO, "The daemon is too old for this request."},
	[HUGEPOOL__CODE__NOT_HELLO] = {-EPROTO, "The daemon expected another order of requests."},
	[HUGEPOOL__CODE__NO_SESSION] = {-ESTALE, ERROR_SESSION_ENDED},
	[HUGEPOOL__CODE__NOT_ALLOWED] = {-EPERM, "The daemon does not allow this user to do that."},
	[HUGEPOOL__CODE__NO_POOL] = {-ENOENT, "There is no such pool."},
	[HUGEPOOL__CODE__NO_LEASE] = {-ENOENT, "There is no such lease."},
	[HUGEPOOL__CODE__NOT_HOLDER] = {-EACCES, "Somebody else holds that lease."},
	[HUGEPOOL__CODE__BAD_SIZE] = {-EINVAL, "The pool can never lease that many pages."},
	[HUGEPOOL__CODE__OVER_QUOTA] = {-EDQUOT, "That is over the quota."},
	[HUGEPOOL__CODE__POOL_FULL] = {-ENOSPC, "The pool is full."},
	[HUGEPOOL__CODE__KERNEL_SHORT] = {-ENOMEM, "The kernel has no more pages of that size."},
	[HUGEPOOL__CODE__NAME_TAKEN] = {-EEXIST, "Another lease has that name."},
	[HUGEPOOL__CODE__TOO_MANY] = {-EOVERFLOW, "Too many sessions, requests or items."},
	[HUGEPOOL__CODE__NO_MEMORY] = {-ENOMEM, "The daemon ran out of memory or descriptors."},
	[HUGEPOOL__CODE__TIMED_OUT] = {-ETIME, "Nothing came free in the time that we would wait."},
	[HUGEPOOL__CODE__BUSY] = {-EBUSY, "Others hold that lease too."},
	[HUGEPOOL__CODE__DRAINING] = {-ESHUTDOWN,
				      "The pool is being drained: nothing new is leased from it."},
	[HUGEPOOL__CODE__CANCELLED] = {-ECANCELED, "The request was cancelled."},
	[HUGEPOOL__CODE__NO_ARENA] = {-EPROTO, "The daemon does not know an arena that it spoke of."},
};

const char *hp_error(void)
{
	return own.sentence;
}

static int keep(struct error *ret, int code, const char *format, va_list args)
{
	ret->code = code;
	text_vformat(ret->sentence, sizeof(ret->sentence), format, args);
	return code;
}

int error_keep(struct error *ret, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	keep(ret, code, format, args);
	va_end(args);
	return code;
}

int error_set(int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	keep(&own, code, format, args);
	va_end(args);
	return code;
}

int error_no_memory(const char *what)
{
	char limit[LIMIT_WORDS_MAX];

	return error_set(-ENOMEM, "No memory for %s%s.", what, limit_explain(-ENOMEM, NULL, limit));
}

int error_keep_wire(struct error *ret, const Hugepool__Error *error)
{
	size_t code = (size_t)error->code;

	if (code >= sizeof(wire_errors) / sizeof(wire_errors[0]))
		return error_keep(ret, -EPROTO,
				  "The daemon reported failure %zu, which this library does not know. %s",
				  code, error->message);
	return error_keep(ret, wire_errors[code].error, "%s",
			  error->message[0] ? error->message : wire_errors[code].sentence);
}

int error_set_wire(const Hugepool__Error *error)
{
	return error_keep_wire(&own, error);
}

int error_raise(const struct error *kept)
{
	if (kept->code < 0) {
		own.code = kept->code;
		memcpy(own.sentence, kept->sentence, sizeof(own.sentence));
	}
	return kept->code;
}

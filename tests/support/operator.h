/* operator.h - an operator at hugepoolctl: what its commands print, and the numbers in what they print.
 *
 * Every function asserts by cmocka, as those of dut.h do.
 */
#pragma once

#include <signal.h>

#include "tests/support/dut.h"

/* Exit statuses. */
enum { DONE = 0, FAILED = 1, USAGE = 2, NO_DAEMON = 3 };

/* Run it: it must end with that status, and say all of `words` (parted by |) on stdout if that is 0, else on
 * stderr. */
void operator_expect(const struct dut *dut, uid_t uid, int status, const char *words,
		     const char *const *arguments);
/* Leave a lease behind: `alloc --detach` with these arguments. Returns its id. */
uint64_t operator_leave(const struct dut *dut, uid_t uid, const char *const *arguments);
/* Start it, and do not wait; what it prints can be read from *ret_out_fd. Returns its pid. */
pid_t operator_spawn(const struct dut *dut, uid_t uid, const char *const *arguments, int *ret_out_fd);
/* The next line that it prints, within a while, without the end. */
void operator_read_line(int out_fd, char *ret_line, size_t size);
/* It must end by itself with that status. */
void operator_await(pid_t pid, int status);
/* Send it that signal; it must end with that status. */
void operator_end(pid_t pid, int signal_number, int status);

/* `hugepoolctl --json COMMAND` has a list of that name; from there the row whose `key` is that (a number, or
 * a text), as a new reference; NULL: there is none. */
json_t *operator_row(const struct dut *dut, const char *command, const char *list, const char *key,
		     const char *value);
/* A number, or a boolean as 0 and 1, of that row, which must be there. */
int64_t operator_number(const struct dut *dut, const char *command, const char *list, const char *key,
			const char *value, const char *what);
/* Wait until it has that value; 0 may also be that the row is not there. */
void operator_wait_number(const struct dut *dut, const char *command, const char *list, const char *key,
			  const char *value, const char *what, int64_t wanted);

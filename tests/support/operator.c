/* operator.c - see the header. */
#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/operator.h"
#include "tests/support/wait.h"

#define MAX_WORDS 24

static void add_socket(const struct dut *dut, const char *const *arguments, const char *ret_words[MAX_WORDS])
{
	unsigned n = 0;

	ret_words[n++] = "--socket";
	ret_words[n++] = dut->socket;
	for (; *arguments; arguments++) {
		assert_true(n < MAX_WORDS - 1);
		ret_words[n++] = *arguments;
	}
	ret_words[n] = NULL;
}

void operator_expect(const struct dut *dut, uid_t uid, int status, const char *words,
		     const char *const *arguments)
{
	const char *with_socket[MAX_WORDS];

	add_socket(dut, arguments, with_socket);
	dut_expect("hugepoolctl", uid, status, words, with_socket);
}

uint64_t operator_leave(const struct dut *dut, uid_t uid, const char *const *arguments)
{
	const char *words[MAX_WORDS] = {"--json", "alloc", "--detach"};
	char *out, *error;
	json_t *lease;
	uint64_t id;

	for (unsigned i = 0; arguments[i]; i++) {
		assert_true(i + 4 < MAX_WORDS);
		words[i + 3] = arguments[i];
	}
	if (dut_ctl(dut, uid, words, &out, &error) != DONE)
		fail_msg("hugepoolctl alloc: %s", error);
	lease = json_loads(out, 0, NULL);
	id = (uint64_t)json_integer_value(json_object_get(lease, "lease"));
	assert_true(id > 0);
	json_decref(lease);
	free(out);
	free(error);
	return id;
}

pid_t operator_spawn(const struct dut *dut, uid_t uid, const char *const *arguments, int *ret_out_fd)
{
	const char *with_socket[MAX_WORDS];
	int out[2];
	pid_t pid;

	add_socket(dut, arguments, with_socket);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	pid = dut_spawn(&(struct dut_program){
		.name = "hugepoolctl", .uid = uid, .arguments = with_socket, .out_fd = out[1]});
	close(out[1]);
	*ret_out_fd = out[0];
	return pid;
}

void operator_read_line(int out_fd, char *ret_line, size_t size)
{
	struct pollfd poll_fd = {.fd = out_fd, .events = POLLIN};
	size_t n = 0;

	for (;;) {
		assert_true(n < size);
		if (poll(&poll_fd, 1, WAIT_MAX_MS) != 1)
			fail_msg("hugepoolctl prints nothing after \"%.*s\"", (int)n, ret_line);
		if (read(out_fd, ret_line + n, 1) != 1)
			fail_msg("hugepoolctl has ended after \"%.*s\"", (int)n, ret_line);
		if (ret_line[n] == '\n')
			break;
		n++;
	}
	ret_line[n] = 0;
}

void operator_await(pid_t pid, int status)
{
	int got = dut_wait_child(pid);

	assert_true(WIFEXITED(got));
	assert_int_equal(WEXITSTATUS(got), status);
}

void operator_end(pid_t pid, int signal_number, int status)
{
	assert_int_equal(kill(pid, signal_number), 0);
	operator_await(pid, status);
}

static bool is_value(const json_t *json, const char *value)
{
	char number[24];

	if (json_is_string(json))
		return strcmp(json_string_value(json), value) == 0;
	snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(json));
	return json_is_integer(json) && strcmp(number, value) == 0;
}

json_t *operator_row(const struct dut *dut, const char *command, const char *list, const char *key,
		     const char *value)
{
	json_t *result = dut_json(dut, command), *row, *found = NULL;
	size_t i;

	assert_true(json_is_array(json_object_get(result, list)));
	json_array_foreach (json_object_get(result, list), i, row)
		if (!found && is_value(json_object_get(row, key), value))
			found = json_incref(row);
	json_decref(result);
	return found;
}

static int64_t number_of(const json_t *row, const char *what)
{
	const json_t *number = json_object_get(row, what);

	if (!json_is_integer(number) && !json_is_boolean(number))
		fail_msg("\"%s\" is not there, or not a number", what);
	return json_is_boolean(number) ? json_is_true(number) : json_integer_value(number);
}

int64_t operator_number(const struct dut *dut, const char *command, const char *list, const char *key,
			const char *value, const char *what)
{
	json_t *row = operator_row(dut, command, list, key, value);
	int64_t number;

	if (!row)
		fail_msg("%s lists nothing whose %s is %s", command, key, value);
	number = number_of(row, what);
	json_decref(row);
	return number;
}

void operator_wait_number(const struct dut *dut, const char *command, const char *list, const char *key,
			  const char *value, const char *what, int64_t wanted)
{
	uint64_t deadline = wait_now_ms() + WAIT_MAX_MS;

	for (;;) {
		json_t *row = operator_row(dut, command, list, key, value);
		int64_t number = row ? number_of(row, what) : 0;

		json_decref(row);
		if (number == wanted)
			return;
		if (wait_now_ms() > deadline)
			fail_msg("%s of %s %s is %" PRId64 ", never %" PRId64, what, key, value, number,
				 wanted);
		wait_pause();
	}
}

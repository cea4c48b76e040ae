/* test_strings.c - which packed messages have a string that a NUL byte would cut. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/hugepool.pb-c.h"
#include "proto/strings.h"

static bool are_whole(const uint8_t *bytes, size_t length)
{
	uint8_t *copy = malloc(length > 0 ? length : 1); /* a sanitizer sees what is read behind it */
	bool whole;

	memcpy(copy, bytes, length);
	whole = strings_are_whole(&hugepool__request__descriptor, length, copy);
	free(copy);
	return whole;
}

static void strings_nul_is_found_where_it_is_text(void **state)
{
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT;
	Hugepool__Hello hello = HUGEPOOL__HELLO__INIT;
	uint8_t token[16] = {1, 0, 2}, bytes[256];
	size_t n;

	request.id = 1;
	request.method_case = HUGEPOOL__REQUEST__METHOD_HELLO;
	request.hello = &hello;
	hello.client = (char *)(uintptr_t) "cli!ent";
	hello.token.data = token; /* bytes may be any */
	hello.token.len = sizeof(token);
	n = hugepool__request__pack(&request, bytes);
	assert_true(are_whole(bytes, n));
	*(uint8_t *)memchr(bytes, '!', n) = 0;
	assert_false(are_whole(bytes, n));
}

/* Whatever the bytes are, the walk stays inside. */
static void strings_of_random_bytes_are_walked(void **state)
{
	uint8_t bytes[64];
	unsigned seed = 1, n_found = 0;

	for (unsigned round = 0; round < 200000; round++) {
		size_t n = 1 + (size_t)rand_r(&seed) % sizeof(bytes);

		for (size_t i = 0; i < n; i++)
			bytes[i] = (uint8_t)(rand_r(&seed) >> 4);
		/* Often an Alloc with a name. */
		if (round % 2 && n > 8) {
			bytes[0] = 0x22;
			bytes[1] = (uint8_t)(n - 2 - (size_t)(rand_r(&seed) % 2));
			bytes[2] = 0x2a;
			bytes[3] = (uint8_t)(n - 4 - (size_t)(rand_r(&seed) % 4));
		}
		n_found += !are_whole(bytes, n);
	}
	assert_true(n_found > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strings_nul_is_found_where_it_is_text),
		cmocka_unit_test(strings_of_random_bytes_are_walked),
	};

	return cmocka_run_group_tests_name("strings", tests, NULL, NULL);
}

/* test_bump.c - the bump allocator under its cap, alone and beneath protobuf-c. */
#include <config.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/bump.h"
#include "proto/hugepool.pb-c.h"

static void bump_alloc_is_aligned_zeroed_and_apart(void **state)
{
	struct bump bump;
	uint8_t *first, *second;

	assert_int_equal(bump_init(&bump, 1024), 0);
	memset(bump.memory, 0xff, bump.cap);
	first = bump_alloc(&bump, 3);
	second = bump_alloc(&bump, 17);
	assert_int_equal((uintptr_t)first % 16, 0);
	assert_int_equal((uintptr_t)second % 16, 0);
	assert_true(second >= first + 3);
	for (unsigned i = 0; i < 17; i++)
		assert_int_equal(second[i], 0);
	bump_fini(&bump);
}

static void bump_alloc_past_the_cap_fails_until_reset(void **state)
{
	struct bump bump;

	assert_int_equal(bump_init(&bump, 71), 0); /* rounded down to 64 */
	assert_null(bump_alloc(&bump, 65));
	assert_null(bump_alloc(&bump, SIZE_MAX));
	assert_non_null(bump_alloc(&bump, 49));
	assert_null(bump_alloc(&bump, 1));
	bump_reset(&bump);
	assert_non_null(bump_alloc(&bump, 64));
	bump_fini(&bump);
}

static void bump_unpack_within_the_cap_gives_the_message(void **state)
{
	Hugepool__Free free_message = HUGEPOOL__FREE__INIT;
	Hugepool__Request request = HUGEPOOL__REQUEST__INIT, *unpacked;
	uint64_t leases[] = {7, 8, 9};
	uint8_t bytes[64];
	struct bump bump;
	size_t length;

	free_message.leases = leases;
	free_message.n_leases = 3;
	request.id = 42;
	request.method_case = HUGEPOOL__REQUEST__METHOD_FREE;
	request.free = &free_message;
	length = hugepool__request__pack(&request, bytes);

	assert_int_equal(bump_init(&bump, 1024), 0);
	for (unsigned i = 0; i < 100; i++) {
		bump_reset(&bump);
		unpacked = hugepool__request__unpack(&bump.allocator, length, bytes);
		assert_non_null(unpacked);
		assert_int_equal(unpacked->id, 42);
		assert_int_equal(unpacked->free->n_leases, 3);
		assert_int_equal(unpacked->free->leases[2], 9);
	}
	bump_fini(&bump);
}

static void bump_unpack_of_what_unfolds_past_the_cap_fails(void **state)
{
	/* Empty messages two bytes long each unfold to a struct and a pointer. */
	uint8_t bytes[2 * 1000];
	struct bump bump;

	for (unsigned i = 0; i < sizeof(bytes); i += 2)
		memcpy(bytes + i, "\x0a\x00", 2);
	assert_int_equal(bump_init(&bump, 16 * sizeof(bytes)), 0);
	assert_null(hugepool__alloc_reply__unpack(&bump.allocator, sizeof(bytes), bytes));
	assert_true(bump.used <= bump.cap);
	bump_fini(&bump);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bump_alloc_is_aligned_zeroed_and_apart),
		cmocka_unit_test(bump_alloc_past_the_cap_fails_until_reset),
		cmocka_unit_test(bump_unpack_within_the_cap_gives_the_message),
		cmocka_unit_test(bump_unpack_of_what_unfolds_past_the_cap_fails),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

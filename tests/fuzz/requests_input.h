/* requests_input.h - the choices of a run of fuzz_requests.c, byte by byte.
 *
 * The first two bytes of the input say how many random bytes follow its own, in units of 16; they are drawn
 * from a seed that is the hash of the whole input. So an input of a few bytes is a long run, and the same one
 * every time.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tests/support/random.h"

struct fuzz_input {
	const uint8_t *data;
	size_t n_bytes;    /* left of them */
	uint64_t n_random; /* left behind them */
	uint64_t random_state;
};

static inline uint8_t fuzz_byte(struct fuzz_input *input)
{
	if (input->n_bytes > 0) {
		input->n_bytes--;
		return *input->data++;
	}
	if (input->n_random == 0)
		return 0;
	input->n_random--;
	return (uint8_t)random_next(&input->random_state);
}

static inline struct fuzz_input fuzz_input_of(const uint8_t *data, size_t size)
{
	struct fuzz_input input = {
		.data = data, .n_bytes = size, .random_state = UINT64_C(0xcbf29ce484222325)};

	for (size_t i = 0; i < size; i++)
		input.random_state = (input.random_state ^ data[i]) * UINT64_C(0x100000001b3);
	input.n_random = 16 * (uint64_t)fuzz_byte(&input);
	input.n_random += 16 * 256 * (uint64_t)fuzz_byte(&input);
	return input;
}

static inline bool fuzz_input_is_over(const struct fuzz_input *input)
{
	return input->n_bytes == 0 && input->n_random == 0;
}

/* Less than `n`, which is 256 at most. */
static inline unsigned fuzz_below(struct fuzz_input *input, unsigned n)
{
	return n > 0 ? fuzz_byte(input) % n : 0;
}

static inline bool fuzz_one_in(struct fuzz_input *input, unsigned n)
{
	return fuzz_below(input, n) == 0;
}

static inline uint64_t fuzz_u64(struct fuzz_input *input)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < 8; i++)
		value = value << 8 | fuzz_byte(input);
	return value;
}

/* soak_stamp.c - see soak_stamp.h. */
#include <config.h>

#include <inttypes.h>
#include <string.h>

#include "tests/stress/soak_stamp.h"
#include "tests/support/raw.h"

#define BLOCK_BYTES 4096u
#define LARGE_BYTES (UINT64_C(64) << 10)

struct stamp {
	uint64_t lease, holder;
};

static const struct stamp *first_of(const uint8_t *block)
{
	return (const struct stamp *)block;
}

static const struct stamp *last_of(const uint8_t *block)
{
	return (const struct stamp *)(block + BLOCK_BYTES) - 1;
}

static bool is_zero(const void *memory, size_t n_bytes)
{
	const uint8_t *bytes = memory;

	return bytes[0] == 0 && memcmp(bytes, bytes + 1, n_bytes - 1) == 0;
}

static bool is_blank(const uint8_t *block, bool closely)
{
	if (closely)
		return is_zero(block, BLOCK_BYTES);
	return is_zero(first_of(block), sizeof(struct stamp)) &&
	       is_zero(last_of(block), sizeof(struct stamp));
}

void soak_stamp(hp_lease *lease, uint64_t holder, bool closely)
{
	const struct stamp mine = {.lease = hp_lease_id(lease), .holder = holder};
	uint64_t n_bytes = hp_lease_bytes(lease);
	uint8_t *data = hp_lease_data(lease);

	for (uint64_t at = 0; at < n_bytes; at += BLOCK_BYTES) {
		uint8_t *block = data + at;

		raw_check(is_blank(block, closely || n_bytes <= LARGE_BYTES),
			  "lease %" PRIu64 " is not zero at %" PRIu64 ": stamped for %" PRIu64 " of %" PRIu64
			  ", and %" PRIu64 " of %" PRIu64,
			  mine.lease, at, first_of(block)->lease, first_of(block)->holder,
			  last_of(block)->lease, last_of(block)->holder);
		memcpy(block, &mine, sizeof(mine));
		memcpy(block + BLOCK_BYTES - sizeof(mine), &mine, sizeof(mine));
	}
}

void soak_expect_stamp(const hp_lease *lease, uint64_t holder)
{
	const struct stamp mine = {.lease = hp_lease_id(lease), .holder = holder};
	uint64_t n_bytes = hp_lease_bytes(lease);
	const uint8_t *data = hp_lease_data(lease);

	for (uint64_t at = 0; at < n_bytes; at += BLOCK_BYTES) {
		const struct stamp *first = first_of(data + at), *last = last_of(data + at);

		raw_check(memcmp(first, &mine, sizeof(mine)) == 0 && memcmp(last, &mine, sizeof(mine)) == 0,
			  "lease %" PRIu64 " of %" PRIu64 " is at %" PRIu64 " stamped for %" PRIu64
			  " of %" PRIu64 ", and %" PRIu64 " of %" PRIu64,
			  mine.lease, holder, at, first->lease, first->holder, last->lease, last->holder);
	}
}

/* kinds_stamp.c - see kinds_stamp.h. */
#include <config.h>

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "tests/stress/kinds_stamp.h"
#include "tests/support/raw.h"

#define BLOCK_BYTES 4096u

struct stamp {
	uint64_t lease, maker;
};

struct block {
	struct stamp first;
	uint64_t mark;
	uint8_t rest[BLOCK_BYTES - 2 * sizeof(struct stamp) - sizeof(uint64_t)];
	struct stamp last;
};
_Static_assert(sizeof(struct block) == BLOCK_BYTES, "a block is what is stamped at both ends");

static sigjmp_buf way_out;
static volatile sig_atomic_t is_looking;

static void on_bus(int unused)
{
	static const char words[] = "SIGBUS outside of a look at memory that may go\n";

	if (is_looking)
		siglongjmp(way_out, 1);
	if (write(STDERR_FILENO, words, sizeof(words) - 1) < 0)
		_exit(2);
	_exit(1);
}

void kinds_stamp_init(void)
{
	const struct sigaction action = {.sa_handler = on_bus};

	raw_check(sigaction(SIGBUS, &action, NULL) == 0, "sigaction: %s", strerror(errno));
}

static bool is_zero(const void *memory, size_t n_bytes)
{
	const uint8_t *bytes = memory;

	return bytes[0] == 0 && memcmp(bytes, bytes + 1, n_bytes - 1) == 0;
}

static bool is_of(const struct stamp *stamp, uint64_t lease, uid_t maker)
{
	return stamp->lease == lease && stamp->maker == maker;
}

/* Somebody was killed in the middle of a stamp: one of the words can be there and not the other. */
static bool is_old(const struct stamp *stamp, uid_t maker)
{
	return stamp->maker == 0 || stamp->maker == maker;
}

static void expect(bool is_right, const struct kinds_memory *memory, uint64_t at, const char *what)
{
	const struct block *block = (const struct block *)(memory->data + at);

	raw_check(is_right,
		  "lease %" PRIu64 " of %u in %s, flags %#x, is at %" PRIu64 " not %s: stamped for %" PRIu64
		  " of %" PRIu64 ", marked by %" PRIu64 ", stamped for %" PRIu64 " of %" PRIu64,
		  memory->lease, memory->maker, memory->pool, memory->flags, at, what, block->first.lease,
		  block->first.maker, block->mark, block->last.lease, block->last.maker);
}

/* The maker may be at it just now. *lease: of the blocks before, 0 if they were blank. */
static bool is_opened(const struct stamp *stamp, uid_t maker, uint64_t *lease)
{
	struct stamp seen = {.lease = __atomic_load_n(&stamp->lease, __ATOMIC_RELAXED),
			     .maker = __atomic_load_n(&stamp->maker, __ATOMIC_RELAXED)};

	if (seen.maker != 0 && seen.maker != maker)
		return false;
	if (seen.lease != 0 && *lease != 0 && seen.lease != *lease)
		return false;
	*lease = seen.lease ? seen.lease : *lease;
	return true;
}

static bool is_blank(const struct block *block, bool is_open)
{
	if (!is_open)
		return is_zero(block, BLOCK_BYTES);
	return is_zero(&block->first, sizeof(block->first)) && is_zero(block->rest, sizeof(block->rest)) &&
	       is_zero(&block->last, sizeof(block->last));
}

static void stamp(struct block *block, const struct kinds_memory *memory)
{
	const struct stamp mine = {.lease = memory->lease, .maker = memory->maker};

	block->first = mine;
	block->last = mine;
}

static void look_at(const struct kinds_memory *memory, uint64_t at, enum kinds_look look, uint64_t *lease)
{
	struct block *block = (struct block *)(memory->data + at);

	switch (look) {
	case KINDS_BLANK:
		expect(is_blank(block, memory->is_open), memory, at, "zero");
		break;
	case KINDS_TAKE:
		expect(is_blank(block, memory->is_open), memory, at, "zero");
		stamp(block, memory);
		break;
	case KINDS_TAKE_OLD:
		expect(is_old(&block->first, memory->maker) && is_old(&block->last, memory->maker) &&
			       (block->mark == 0 || block->mark == memory->maker + 1) &&
			       is_zero(block->rest, sizeof(block->rest)),
		       memory, at, "its tenant's");
		stamp(block, memory);
		break;
	case KINDS_KEPT:
		expect(is_of(&block->first, memory->lease, memory->maker) &&
			       is_of(&block->last, memory->lease, memory->maker),
		       memory, at, "as it was left");
		break;
	case KINDS_OPENED:
	case KINDS_MARK:
		expect(is_opened(&block->first, memory->maker, lease) &&
			       is_opened(&block->last, memory->maker, lease),
		       memory, at, "its maker's");
		if (look == KINDS_MARK)
			__atomic_store_n(&block->mark, getuid() + 1, __ATOMIC_RELAXED);
	}
}

bool kinds_look(const struct kinds_memory *memory, enum kinds_look look)
{
	uint64_t lease = memory->lease;

	if (sigsetjmp(way_out, 1) != 0) {
		is_looking = 0;
		raw_check(memory->is_mortal, "lease %" PRIu64 " of %u in %s, flags %#x, raises SIGBUS",
			  memory->lease, memory->maker, memory->pool, memory->flags);
		return false;
	}
	is_looking = 1;
	for (uint64_t at = memory->from_bytes; at < memory->to_bytes; at += BLOCK_BYTES)
		look_at(memory, at, look, &lease);
	is_looking = 0;
	return true;
}

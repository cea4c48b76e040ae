/* model_random.c - see model_random.h. */
#include <config.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "tests/model/model_random.h"
#include "tests/support/random.h"

static uint64_t state;

uint64_t model_random_init(int argc, char **argv, uint64_t n_operations)
{
	const char *seed_word = argc > 1 ? argv[1] : getenv("HP_SEED");
	const char *ops_word = argc > 2 ? argv[2] : getenv("HP_OPS");

	state = seed_word ? strtoull(seed_word, NULL, 0) : (uint64_t)time(NULL) ^ (uint64_t)getpid() << 20;
	if (ops_word)
		n_operations = strtoull(ops_word, NULL, 0);
	printf("seed %" PRIu64 ", %" PRIu64 " operations\n", state, n_operations);
	fflush(stdout); /* whatever becomes of us */
	return n_operations;
}

uint64_t next_random(void)
{
	return random_next(&state);
}

uint64_t random_below(uint64_t limit)
{
	return next_random() % limit;
}

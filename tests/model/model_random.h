/* model_random.h - what a model's test is told, by its command line or its environment (SEED OPERATIONS, or
 * $HP_SEED and $HP_OPS), and the random numbers that follow from it: the same again with the same seed.
 */
#pragma once

#include <stdint.h>

/* Once, in main(): prints the seed. Returns how many operations are wanted, `n_operations` if nothing says
 * so. */
uint64_t model_random_init(int argc, char **argv, uint64_t n_operations);

uint64_t next_random(void);
/* Below `limit`, which is not 0. */
uint64_t random_below(uint64_t limit);

/* bench_pairs.h - one page that the library leases and frees again and again: what a call costs a program. */
#pragma once

#include <stdint.h>

#include "client/include/hugepool.h"

#define BENCH_MAX_PAIRS 20000

struct bench_pairs {
	double p50_us, p99_us; /* of all calls, Alloc or Free */
};

/* Lease and free a page `n` times, after a few that are not counted. */
struct bench_pairs bench_run_pairs(hp_client *client, unsigned n);

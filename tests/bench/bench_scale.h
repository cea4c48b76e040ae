/* bench_scale.h - two daemons alike, of which one has much to keep: what it costs the others' calls. */
#pragma once

#include "tests/bench/bench.h"
#include "tests/bench/bench_house.h"

struct scale_side {
	struct house house;
	hp_client *client; /* whose calls are timed */
};

struct scale {
	struct scale_side large, small;
};

void scale_open(struct scale *scale, const char *const *arguments);
void scale_close(struct scale *scale);

/* The median call with the large one, against the small one. */
void scale_run(struct scale *scale, const struct bench_figure *figure, const char *small_name);

/* What the large daemon has grown by for each of `n`, against what it may. */
void scale_tell_bytes(const struct bench_figure *figure, uint64_t before_bytes, uint64_t after_bytes,
		      unsigned n, double goal_bytes);

/* bench_options.h - how hugepool-bench was called; and the columns of what it prints. */
#pragma once

#include <stdbool.h>

struct bench_options {
	bool is_json, is_short;
	const char *const *files; /* further ones for replay, NULL at the end */
};
/* Constant while benchmarks run. */
extern struct bench_options bench_options;

#define BENCH_HEADS "%-20s %12s %12s %-6s %10s %10s %-8s %s\n"
#define BENCH_ROW   "%-20s %12.5g %12.5g %-6s %10.4g %3s %6g %-8s %s\n"

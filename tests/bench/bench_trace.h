/* bench_trace.h - the page requests of a real program (tests/traces/README.md), in memory, for several
 * processes.
 */
#pragma once

#include <stdint.h>

#define TRACE_PAGE_BYTES 4096u
#define TRACE_FREES      (1u << 31)

struct trace_op {
	uint32_t block;
	uint32_t pages; /* with TRACE_FREES: they come back */
};

/* What a file descriptor of a loaded trace holds. */
struct trace_ops {
	uint64_t n_ops, n_blocks, peak_pages;
	struct trace_op ops[]; /* those that the program never freed are not freed at the end */
};

struct trace {
	char name[64];
	int fd; /* of a memfd with the operations, to hand to others */
	const struct trace_ops *ops;
	uint64_t bytes; /* that are mapped */
};

/* Load the file, which may be gzip'ed. Asserts. */
void trace_load(struct trace *trace, const char *path);
void trace_unload(struct trace *trace);

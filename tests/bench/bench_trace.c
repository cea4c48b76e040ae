/* bench_trace.c - see bench_trace.h. */
#include <config.h>

#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/bench_trace.h"

#define MAX_OPS   (1u << 22)
#define MAX_BYTES (sizeof(struct trace_ops) + MAX_OPS * sizeof(struct trace_op))

struct reading {
	struct trace_ops *ops;
	uint32_t *pages; /* of each block, while it is live */
	uint64_t live_pages;
};

static void read_line(struct reading *reading, const char *line)
{
	struct trace_ops *ops = reading->ops;
	uint32_t block, pages = 0;
	bool frees = sscanf(line, "f %" SCNu32, &block) == 1;

	if (!frees && sscanf(line, "a %" SCNu32 " %" SCNu32, &block, &pages) != 2)
		fail_msg("no operation: %s", line);
	assert_true(block < MAX_OPS && pages < TRACE_FREES && ops->n_ops < MAX_OPS);
	assert_true(frees ? reading->pages[block] > 0 : reading->pages[block] == 0 && pages > 0);
	if (frees)
		reading->live_pages -= pages = reading->pages[block];
	else
		reading->live_pages += pages;
	reading->pages[block] = frees ? 0 : pages;
	ops->ops[ops->n_ops++] =
		(struct trace_op){.block = block, .pages = pages | (frees ? TRACE_FREES : 0)};
	if (block >= ops->n_blocks)
		ops->n_blocks = block + 1;
	if (reading->live_pages > ops->peak_pages)
		ops->peak_pages = reading->live_pages;
}

/* The file as text, through gzip if need be; *ret_pid is to be waited for. */
static FILE *open_text(const char *path, pid_t *ret_pid)
{
	const char *ending = strrchr(path, '.');
	const char *program = ending && strcmp(ending, ".gz") == 0 ? "gzip" : "cat";
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	*ret_pid = fork();
	assert_true(*ret_pid >= 0);
	if (*ret_pid == 0) {
		dup2(fds[1], STDOUT_FILENO);
		if (strcmp(program, "gzip") == 0)
			execlp("gzip", "gzip", "-dc", "--", path, (char *)NULL);
		else
			execlp("cat", "cat", "--", path, (char *)NULL);
		_exit(127);
	}
	close(fds[1]);
	return fdopen(fds[0], "r");
}

static void name_trace(struct trace *trace, const char *path)
{
	const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;

	snprintf(trace->name, sizeof(trace->name), "%.*s", (int)strcspn(base, "."), base);
}

void trace_load(struct trace *trace, const char *path)
{
	struct reading reading = {.pages = calloc(MAX_OPS, sizeof(uint32_t))};
	char line[128];
	FILE *text;
	pid_t pid;
	int status;

	name_trace(trace, path);
	trace->fd = memfd_create(trace->name, MFD_CLOEXEC);
	assert_true(trace->fd >= 0 && reading.pages);
	assert_int_equal(ftruncate(trace->fd, MAX_BYTES), 0);
	reading.ops = mmap(NULL, MAX_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, trace->fd, 0);
	assert_true(reading.ops != MAP_FAILED);
	text = open_text(path, &pid);
	assert_non_null(text);
	while (fgets(line, sizeof(line), text))
		read_line(&reading, line);
	fclose(text);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (status != 0 || reading.ops->n_ops == 0)
		fail_msg("%s cannot be read, or is no trace", path);
	free(reading.pages);
	trace->ops = reading.ops;
	trace->bytes = MAX_BYTES;
}

void trace_unload(struct trace *trace)
{
	munmap((void *)(uintptr_t)trace->ops, trace->bytes);
	close(trace->fd);
}

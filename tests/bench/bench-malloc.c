/* bench-malloc.c - what a malloc needs for what a benchmark does: run with it in LD_PRELOAD.
 *
 *     bench-malloc NAME pair BYTES COUNT TOUCH
 *         ns of a malloc + free of BYTES, COUNT times, every page of it written to if TOUCH is 1
 *     bench-malloc NAME replay LAPS
 *         replay the trace in descriptor 3 (bench_trace.h): ns an operation, no page touched;
 *         LAPS times, and once more before
 *     bench-malloc NAME footprint
 *         the same once, all pages touched: bytes that are resident at the peak and were not before.
 *         The kernel's own record of a peak is off by dozens of pages, so they are counted now and
 *         then, and when the program has the most
 *
 * Prints one number; times are this thread's processor time. Exit status 77: NAME (jemalloc, mimalloc, glibc)
 * is not the malloc here. It allocates nothing else while it measures.
 */
#include <config.h>

#include <dlfcn.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/bench_trace.h"

#define TRACE_FD      3
#define NOT_THIS_ONE  77
#define WARM_UP_PAIRS 1000
#define N_SAMPLES     200

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static bool is_malloc(const char *name)
{
	bool is_sanitizer = dlsym(RTLD_DEFAULT, "__asan_init") || dlsym(RTLD_DEFAULT, "__tsan_init");
	bool is_jemalloc = dlsym(RTLD_DEFAULT, "mallctl"), is_mimalloc = dlsym(RTLD_DEFAULT, "mi_version");

	if (strcmp(name, "jemalloc") == 0)
		return is_jemalloc;
	if (strcmp(name, "mimalloc") == 0)
		return is_mimalloc;
	return strcmp(name, "glibc") == 0 && !is_jemalloc && !is_mimalloc && !is_sanitizer;
}

static inline void touch(volatile char *memory, uint64_t bytes)
{
	for (uint64_t at = 0; at < bytes; at += TRACE_PAGE_BYTES)
		memory[at] = 1;
	memory[bytes - 1] = 1;
}

/* ---- pairs ---- */

static void run_pairs(uint64_t bytes, uint64_t count, bool touches)
{
	for (uint64_t i = 0; i < count; i++) {
		char *memory = malloc(bytes);

		if (!memory)
			die("malloc");
		if (touches)
			touch(memory, bytes);
		__asm__ volatile("" : : "r"(memory) : "memory");
		free(memory);
	}
}

static double measure_pairs(uint64_t bytes, uint64_t count, bool touches)
{
	double start_ns;

	run_pairs(bytes, count < WARM_UP_PAIRS ? count : WARM_UP_PAIRS, touches);
	start_ns = cpu_ns();
	run_pairs(bytes, count, touches);
	return (cpu_ns() - start_ns) / (double)count;
}

/* ---- replay ---- */

static const struct trace_ops *map_trace(void)
{
	off_t bytes = lseek(TRACE_FD, 0, SEEK_END);
	const struct trace_ops *ops =
		mmap(NULL, (size_t)bytes, PROT_READ, MAP_SHARED | MAP_POPULATE, TRACE_FD, 0);

	if (ops == MAP_FAILED)
		die("mmap of the trace");
	return ops;
}

/* Memory that is no malloc's, and resident already. */
static char **map_blocks(uint64_t n_blocks)
{
	char **blocks = mmap(NULL, n_blocks * sizeof(char *), PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (blocks == MAP_FAILED)
		die("mmap of the blocks");
	return blocks;
}

static inline void play(const struct trace_op *op, char **blocks, bool touches)
{
	if (op->pages & TRACE_FREES) {
		free(blocks[op->block]);
		blocks[op->block] = NULL;
		return;
	}
	blocks[op->block] = malloc((size_t)op->pages * TRACE_PAGE_BYTES);
	if (!blocks[op->block])
		die("malloc");
	if (touches)
		touch(blocks[op->block], (uint64_t)op->pages * TRACE_PAGE_BYTES);
}

static void free_rest(const struct trace_ops *ops, char **blocks)
{
	for (uint64_t i = 0; i < ops->n_blocks; i++) {
		free(blocks[i]);
		blocks[i] = NULL;
	}
}

static double measure_replay(unsigned n_laps)
{
	const struct trace_ops *ops = map_trace();
	char **blocks = map_blocks(ops->n_blocks);
	double spent_ns = 0;

	for (unsigned i = 0; i <= n_laps; i++) {
		double start_ns = cpu_ns();

		for (uint64_t k = 0; k < ops->n_ops; k++)
			play(&ops->ops[k], blocks, false);
		if (i > 0)
			spent_ns += cpu_ns() - start_ns;
		free_rest(ops, blocks);
	}
	return spent_ns / n_laps / (double)ops->n_ops;
}

/* Pages that are there, counted one by one; in bytes. Without malloc. */
static double resident_bytes(void)
{
	static char text[4096];
	int fd = open("/proc/self/smaps_rollup", O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	const char *line;

	close(fd);
	text[n > 0 ? n : 0] = 0;
	line = strstr(text, "Rss:");
	if (!line)
		die("/proc/self/smaps_rollup");
	return strtod(line + strlen("Rss:"), NULL) * 1024;
}

/* The operation after which the program has the most. */
static uint64_t find_peak(const struct trace_ops *ops)
{
	uint64_t live = 0, most = 0, peak = 0;

	for (uint64_t i = 0; i < ops->n_ops; i++) {
		uint32_t pages = ops->ops[i].pages;

		live = (pages & TRACE_FREES) != 0 ? live - (pages & ~TRACE_FREES) : live + pages;
		if (live > most) {
			most = live;
			peak = i;
		}
	}
	return peak;
}

static double measure_footprint(void)
{
	const struct trace_ops *ops = map_trace();
	char **blocks = map_blocks(ops->n_blocks);
	uint64_t peak = find_peak(ops), step = ops->n_ops / N_SAMPLES + 1;
	double before, most = 0;

	(void)resident_bytes(); /* what counting itself needs is there before */
	before = resident_bytes();
	for (uint64_t i = 0; i < ops->n_ops; i++) {
		play(&ops->ops[i], blocks, true);
		if (i == peak || i % step == 0 || i + 1 == ops->n_ops) {
			double now = resident_bytes();

			most = now > most ? now : most;
		}
	}
	return most - before;
}

int main(int argc, char **argv)
{
	double figure;

	if (argc < 3)
		return 2;
	if (!is_malloc(argv[1]))
		return NOT_THIS_ONE;
	if (strcmp(argv[2], "pair") == 0 && argc == 6)
		figure = measure_pairs(strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
				       argv[5][0] == '1');
	else if (strcmp(argv[2], "replay") == 0 && argc == 4)
		figure = measure_replay((unsigned)strtoul(argv[3], NULL, 10));
	else if (strcmp(argv[2], "footprint") == 0)
		figure = measure_footprint();
	else
		return 2;
	printf("%.17g\n", figure);
	return 0;
}

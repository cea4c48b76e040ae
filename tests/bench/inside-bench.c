/* inside-bench.c - one benchmark of what is inside of the daemon, without its sockets:
 *
 *     inside-bench [--json] [--short] NAME
 *
 * Daemon and library have functions of the same names, so no program links both: hugepool-bench runs this
 * one.
 */
#include <config.h>

#include <stdio.h>
#include <string.h>

#include "tests/bench/bench.h"
#include "tests/bench/bench_options.h"

static const struct {
	const char *name;
	void (*run)(void);
} benchmarks[] = {
	{"workers", bench_workers},
};
#define N_BENCHMARKS (sizeof(benchmarks) / sizeof(benchmarks[0]))

int main(int argc, char **argv)
{
	const char *name = "";

	for (int i = 1; i < argc; i++)
		if (strcmp(argv[i], "--json") == 0)
			bench_options.is_json = true;
		else if (strcmp(argv[i], "--short") == 0)
			bench_options.is_short = true;
		else
			name = argv[i];
	for (unsigned i = 0; i < N_BENCHMARKS; i++)
		if (strcmp(benchmarks[i].name, name) == 0) {
			benchmarks[i].run();
			return 0;
		}
	fputs("usage: inside-bench [--json] [--short] NAME\n", stderr);
	return 2;
}

/* bench_inside.c - benchmarks that inside-bench runs for us, see there. This process becomes that program. */
#include <config.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/bench.h"
#include "tests/bench/bench_options.h"

static void become(const char *name)
{
	const char *build = getenv("HP_BUILD"), *words[5];
	unsigned n = 0;
	char path[512];

	snprintf(path, sizeof(path), "%s/tests/bench/inside-bench", build ? build : ".");
	words[n++] = path;
	if (bench_options.is_json)
		words[n++] = "--json";
	if (bench_options.is_short)
		words[n++] = "--short";
	words[n++] = name;
	words[n] = NULL;
	execv(path, (char *const *)words);
	fail_msg("%s: %s", path, strerror(errno));
}

void bench_workers(void)
{
	become("workers");
}

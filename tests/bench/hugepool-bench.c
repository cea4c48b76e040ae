/* hugepool-bench.c - how fast hugepool is, next to what people use without it.
 *
 *     hugepool-bench [--json] [--short] [--list] [--trace FILE]... [NAME...]
 *
 * Each benchmark runs in a process of its own. Exit status: 0, whether goals are met or not; 1: a benchmark
 * did not work; 2: wrong usage.
 */
#include <config.h>

#include <getopt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/bench/bench.h"
#include "tests/bench/bench_options.h"
#include "tests/support/dut.h"
#include "tests/support/hugetlb.h"

static const struct benchmark {
	const char *name;
	void (*run)(void);
	const char *what;
} benchmarks[] = {
	{"ready-1g", bench_ready_1g, "lease, map and touch 1 GiB, against a memfd populated by the kernel"},
	{"ready-2m", bench_ready_2m, "the same for one page of 2 MiB"},
	{"ready-lease", bench_ready_lease, "1 GiB in files of its own"},
	{"scrub", bench_scrub, "the scrubber's zeroing, against the kernel's"},
	{"reclaim", bench_reclaim, "SIGKILL of a holder of 1 GiB, until its pages are leasable again"},
	{"rpc", bench_rpc, "one Alloc or Free of a warm page, against a raw ping-pong"},
	{"pipeline", bench_pipeline, "10 clients with 64 outstanding each, against Redis"},
	{"scale-leases", bench_scale_leases, "an RPC beside a million leases, against one beside a thousand"},
	{"scale-clients", bench_scale_clients, "an RPC beside 10,000 idle sessions, against one beside none"},
	{"workers", bench_workers, "two workers of one zone below their sockets, against one"},
	{"cache", bench_cache, "a buffer from the client's cache and back, against mallocs"},
	{"replay", bench_replay, "real programs' requests through zone and caches, against mallocs"},
	{"scale-arena", bench_scale_arena, "a terabyte of 4 KiB pages, against a gigabyte"},
	{"crowd", bench_crowd, "one page beside clients that misbehave, against one alone"},
};
#define N_BENCHMARKS (sizeof(benchmarks) / sizeof(benchmarks[0]))

static const struct benchmark *find(const char *name)
{
	for (unsigned i = 0; i < N_BENCHMARKS; i++)
		if (strcmp(benchmarks[i].name, name) == 0)
			return &benchmarks[i];
	return NULL;
}

static void clean_up(void)
{
	dut_kill_all(NULL);
	hugetlb_unlock();
}

/* Returns whether it worked. */
static bool run(const struct benchmark *benchmark)
{
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		atexit(clean_up);
		benchmark->run();
		exit(0);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status != 0) {
		fprintf(stderr, "%s: FAILED\n", benchmark->name);
		return false;
	}
	return true;
}

static void print_list(FILE *out)
{
	for (unsigned i = 0; i < N_BENCHMARKS; i++)
		fprintf(out, "%-14s %s\n", benchmarks[i].name, benchmarks[i].what);
}

static int usage(void)
{
	fputs("usage: hugepool-bench [--json] [--short] [--list] [--trace FILE]... [NAME...]\n", stderr);
	return 2;
}

static int parse(int argc, char **argv)
{
	static const struct option options[] = {{"json", no_argument, NULL, 'j'},
						{"short", no_argument, NULL, 's'},
						{"list", no_argument, NULL, 'l'},
						{"trace", required_argument, NULL, 't'},
						{0}};
	static const char *files[64];
	unsigned n_files = 0;
	int option;

	bench_options.files = files;
	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (option == 'j')
			bench_options.is_json = true;
		else if (option == 's')
			bench_options.is_short = true;
		else if (option == 't' && n_files + 1 < sizeof(files) / sizeof(files[0]))
			files[n_files++] = optarg;
		else if (option == 'l') {
			print_list(stdout);
			exit(0);
		} else
			return usage();
	}
	for (int i = optind; i < argc; i++)
		if (!find(argv[i])) {
			fprintf(stderr, "no such benchmark: %s; there are:\n", argv[i]);
			print_list(stderr);
			return 2;
		}
	return 0;
}

int main(int argc, char **argv)
{
	bool worked = true;
	int r = parse(argc, argv);

	if (r != 0)
		return r;
	if (!bench_options.is_json)
		printf(BENCH_HEADS, "name", "ours", "peer", "unit", "ratio", "goal", "", "peer is");
	for (int i = optind; i < argc; i++)
		worked &= run(find(argv[i]));
	for (unsigned i = 0; optind == argc && i < N_BENCHMARKS; i++)
		worked &= run(&benchmarks[i]);
	return worked ? 0 : 1;
}

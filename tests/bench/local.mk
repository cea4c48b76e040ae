# How fast we are, next to peers in the same run. `make bench` prints the table; `make check` sees that all of it works.
check_PROGRAMS += tests/bench/hugepool-bench
tests_bench_hugepool_bench_SOURCES = tests/bench/hugepool-bench.c tests/bench/bench.h tests/bench/bench.c \
	tests/bench/bench_options.h tests/bench/bench_house.h tests/bench/bench_house.c \
	tests/bench/bench_ready.c tests/bench/bench_scrub.c tests/bench/bench_reclaim.c \
	tests/bench/bench_pairs.h tests/bench/bench_pairs.c tests/bench/bench_rpc.c tests/bench/bench_pipeline.c \
	tests/bench/bench_scale.h tests/bench/bench_scale.c tests/bench/bench_scale_leases.c \
	tests/bench/bench_scale_clients.c tests/bench/bench_inside.c \
	tests/bench/bench_malloc.h tests/bench/bench_malloc.c tests/bench/bench_trace.h tests/bench/bench_trace.c \
	tests/bench/bench_cache.c tests/bench/bench_replay.c tests/bench/bench_scale_arena.c tests/bench/bench_crowd.c \
	tests/support/dut.h tests/support/dut.c tests/support/hugetlb.h tests/support/hugetlb.c \
	tests/support/raw.h tests/support/raw.c
tests_bench_hugepool_bench_LDADD   = libclient.la libproto.la libpool.la libbacking.la libcore.la libbase.la \
	$(JANSSON_LIBS) $(TEST_LIBS) -lpthread -lm

# Allocates by the malloc that is measured, and by nothing else.
check_PROGRAMS += tests/bench/bench-malloc
tests_bench_bench_malloc_SOURCES = tests/bench/bench-malloc.c tests/bench/bench_trace.h
tests_bench_bench_malloc_CFLAGS  = $(AM_CFLAGS) -fno-builtin-malloc -fno-builtin-free

check_PROGRAMS += tests/bench/test_bench
TESTS          += tests/bench/test_bench
tests_bench_test_bench_SOURCES = tests/bench/test_bench.c tests/support/dut.h tests/support/dut.c
tests_bench_test_bench_LDADD   = $(JANSSON_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/bench/inside-bench
tests_bench_inside_bench_SOURCES = tests/bench/inside-bench.c tests/bench/bench.h tests/bench/bench.c \
	tests/bench/bench_options.h tests/bench/bench_workers.c $(HOUSE)
tests_bench_inside_bench_LDADD   = librpc.la liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la \
	libproto.la $(EVENT_LIBS) $(JANSSON_LIBS) $(TEST_LIBS) -lpthread

bench: all tests/bench/hugepool-bench tests/bench/inside-bench tests/bench/bench-malloc
	HP_BUILD='$(abs_top_builddir)' HP_SOURCE='$(abs_top_srcdir)' tests/bench/hugepool-bench $(BENCH)

# Programs that see nothing of hugepool but its library, as anybody's would.
noinst_PROGRAMS += client/examples/replay-trace client/examples/sort-shared

client_examples_replay_trace_SOURCES = client/examples/replay-trace.c
client_examples_replay_trace_LDADD   = libhugepool.la

client_examples_sort_shared_SOURCES = client/examples/sort-shared.c
client_examples_sort_shared_LDADD   = libhugepool.la

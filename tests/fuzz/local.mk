# Each target on its corpus and on mutations of it, the same ones every time: a smoke test (driver.c).
EXTRA_DIST += tests/fuzz/corpus
FUZZ_DRIVER = tests/fuzz/driver.c tests/support/random.h

check_PROGRAMS += tests/fuzz/fuzz_config
TESTS          += tests/fuzz/fuzz_config
tests_fuzz_fuzz_config_SOURCES = tests/fuzz/fuzz_config.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_config_LDADD   = libconfig.la

check_PROGRAMS += tests/fuzz/fuzz_frame
TESTS          += tests/fuzz/fuzz_frame
tests_fuzz_fuzz_frame_SOURCES = tests/fuzz/fuzz_frame.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_frame_LDADD   = libproto.la

check_PROGRAMS += tests/fuzz/fuzz_reply
TESTS          += tests/fuzz/fuzz_reply
tests_fuzz_fuzz_reply_SOURCES = tests/fuzz/fuzz_reply.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_reply_LDADD   = libclient.la libproto.la

# Bounded by its inputs, each some thousand requests.
check_PROGRAMS += tests/fuzz/fuzz_requests
TESTS          += tests/fuzz/fuzz_requests
tests_fuzz_fuzz_requests_SOURCES = tests/fuzz/fuzz_requests.c tests/fuzz/requests_input.h \
	tests/fuzz/requests_client.h tests/fuzz/requests_client.c tests/fuzz/requests_daemon.h \
	tests/fuzz/requests_daemon.c tests/fuzz/requests_message.h tests/fuzz/requests_message.c \
	tests/fuzz/requests_peer.h tests/fuzz/requests_peer.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_requests_CPPFLAGS = $(AM_CPPFLAGS) -DSMOKE_MUTATIONS=60
tests_fuzz_fuzz_requests_LDADD = libdaemon.la

# Every field of what a daemon says, through fuzz_reply.
check_PROGRAMS += tests/fuzz/edges_reply
TESTS          += tests/fuzz/edges_reply
tests_fuzz_edges_reply_SOURCES = tests/fuzz/edges_reply.c tests/fuzz/fuzz_reply.c
tests_fuzz_edges_reply_LDADD   = libclient.la libproto.la

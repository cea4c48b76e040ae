# Many clients of every kind, and an operator, for long: prints its seed, and takes one.
check_PROGRAMS += tests/stress/kinds
TESTS          += tests/stress/kinds
tests_stress_kinds_SOURCES = tests/stress/kinds.c tests/stress/kinds_client.h tests/stress/kinds_client.c \
	tests/stress/kinds_self.h tests/stress/kinds_self.c tests/stress/kinds_event.c tests/stress/kinds_take.c \
	tests/stress/kinds_give.c tests/stress/kinds_start.c tests/stress/kinds_operator.c tests/stress/kinds_stamp.h tests/stress/kinds_stamp.c \
	tests/support/dut.h tests/support/dut.c tests/support/hugetlb.h tests/support/hugetlb.c \
	tests/support/random.h tests/support/raw.h tests/support/raw.c
tests_stress_kinds_LDADD   = libclient.la libproto.la $(JANSSON_LIBS) $(TEST_LIBS)

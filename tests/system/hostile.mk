# Bad input: what clients send on purpose. Rooms of one test directory; the well-behaved are in local.mk.
HOSTILE = tests/support/dut.h tests/support/dut.c tests/support/raw.h tests/support/raw.c \
          tests/system/system_hostile_scene.h tests/system/system_hostile_scene.c
HOSTILE_LIBS = libclient.la libproto.la $(JANSSON_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/system/system_hostile
TESTS          += tests/system/system_hostile
tests_system_system_hostile_SOURCES = tests/system/system_hostile.c $(HOSTILE)
tests_system_system_hostile_LDADD   = $(HOSTILE_LIBS)

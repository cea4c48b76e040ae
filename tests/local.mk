# Tests mirror the rooms. A program that cannot run here says why and counts as skipped; CI does not allow it.
AM_TESTS_ENVIRONMENT = \
	HP_BUILD='$(abs_top_builddir)'; export HP_BUILD; \
	HP_SOURCE='$(abs_top_srcdir)'; export HP_SOURCE;
TEST_LIBS = libbase.la $(CMOCKA_LIBS)
EXTRA_DIST += tests/support/wait.h

if HAVE_CMOCKA
include tests/unit/local.mk
include tests/model/local.mk
include tests/fuzz/local.mk
include tests/system/local.mk
include tests/stress/local.mk
include tests/bench/local.mk
endif


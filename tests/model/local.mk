# Random operations against naive models: each prints its seed, and takes one.
MODEL_RANDOM = tests/model/model_random.h tests/model/model_random.c tests/support/random.h

check_PROGRAMS += tests/model/model_lease
TESTS          += tests/model/model_lease
tests_model_model_lease_SOURCES = tests/model/model_lease.c $(MODEL_RANDOM) $(HOUSE)
tests_model_model_lease_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/model/model_buddy
TESTS          += tests/model/model_buddy
tests_model_model_buddy_SOURCES = tests/model/model_buddy.c $(MODEL_RANDOM)
tests_model_model_buddy_LDADD   = libcore.la $(TEST_LIBS)

check_PROGRAMS += tests/model/model_pcache
TESTS          += tests/model/model_pcache
tests_model_model_pcache_SOURCES = tests/model/model_pcache.c $(MODEL_RANDOM)
tests_model_model_pcache_LDADD   = libcore.la $(TEST_LIBS)

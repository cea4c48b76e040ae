# One program a room; each links the room and what the room stands on.
HOUSE = tests/support/house.h tests/support/house.c

check_PROGRAMS += tests/unit/test_bump
TESTS          += tests/unit/test_bump
tests_unit_test_bump_SOURCES = tests/unit/test_bump.c
tests_unit_test_bump_LDADD   = libproto.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_frame
TESTS          += tests/unit/test_frame
tests_unit_test_frame_SOURCES = tests/unit/test_frame.c
tests_unit_test_frame_LDADD   = libproto.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_hot
TESTS          += tests/unit/test_hot
tests_unit_test_hot_SOURCES = tests/unit/test_hot.c tests/support/random.h
tests_unit_test_hot_LDADD   = libproto.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_journal
TESTS          += tests/unit/test_journal
tests_unit_test_journal_SOURCES = tests/unit/test_journal.c tests/support/random.h
tests_unit_test_journal_LDADD   = libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_client
TESTS          += tests/unit/test_client
tests_unit_test_client_SOURCES = tests/unit/test_client.c
tests_unit_test_client_LDADD   = libclient.la libproto.la $(TEST_LIBS)

# The library against a peer that plays the daemon.
PEER = tests/support/peer.h tests/support/peer.c

check_PROGRAMS += tests/unit/test_range
TESTS          += tests/unit/test_range
tests_unit_test_range_SOURCES = tests/unit/test_range.c tests/support/hugetlb.h tests/support/hugetlb.c
tests_unit_test_range_LDADD   = libclient.la $(TEST_LIBS) -lpthread

SCENE = tests/unit/client_scene.h tests/unit/client_scene.c $(PEER)

check_PROGRAMS += tests/unit/test_client_lease
TESTS          += tests/unit/test_client_lease
tests_unit_test_client_lease_SOURCES = tests/unit/test_client_lease.c $(SCENE)
tests_unit_test_client_lease_LDADD   = libclient.la libproto.la $(TEST_LIBS) -lpthread

check_PROGRAMS += tests/unit/test_client_view
TESTS          += tests/unit/test_client_view
tests_unit_test_client_view_SOURCES = tests/unit/test_client_view.c $(SCENE)
tests_unit_test_client_view_LDADD   = libclient.la libproto.la $(TEST_LIBS) -lpthread

check_PROGRAMS += tests/unit/test_client_resize
TESTS          += tests/unit/test_client_resize
tests_unit_test_client_resize_SOURCES = tests/unit/test_client_resize.c $(SCENE)
tests_unit_test_client_resize_LDADD   = libclient.la libproto.la $(TEST_LIBS) -lpthread

check_PROGRAMS += tests/unit/test_client_cache
TESTS          += tests/unit/test_client_cache
tests_unit_test_client_cache_SOURCES = tests/unit/test_client_cache.c $(PEER)
tests_unit_test_client_cache_LDADD   = libclient.la libproto.la $(TEST_LIBS) -lpthread

check_PROGRAMS += tests/unit/test_client_loop
TESTS          += tests/unit/test_client_loop
tests_unit_test_client_loop_SOURCES = tests/unit/test_client_loop.c $(PEER)
tests_unit_test_client_loop_LDADD   = libclient.la libproto.la $(TEST_LIBS) -lpthread

CONFIG = tests/unit/config_scene.h tests/unit/config_scene.c

check_PROGRAMS += tests/unit/test_config
TESTS          += tests/unit/test_config
tests_unit_test_config_SOURCES = tests/unit/test_config.c $(CONFIG)
tests_unit_test_config_LDADD   = libconfig.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_config_refused
TESTS          += tests/unit/test_config_refused
tests_unit_test_config_refused_SOURCES = tests/unit/test_config_refused.c $(CONFIG)
tests_unit_test_config_refused_LDADD   = libconfig.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_config_edges
TESTS          += tests/unit/test_config_edges
tests_unit_test_config_edges_SOURCES = tests/unit/test_config_edges.c
tests_unit_test_config_edges_LDADD   = libconfig.la $(TEST_LIBS)

# The backing: a program a theme.
BACKING = tests/unit/backing_scene.h tests/unit/backing_scene.c tests/support/hugetlb.h tests/support/hugetlb.c

check_PROGRAMS += tests/unit/test_backing
TESTS          += tests/unit/test_backing
tests_unit_test_backing_SOURCES = tests/unit/test_backing.c $(BACKING)
tests_unit_test_backing_LDADD   = libbacking.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_shortage
TESTS          += tests/unit/test_shortage
tests_unit_test_shortage_SOURCES = tests/unit/test_shortage.c
tests_unit_test_shortage_LDADD   = libbacking.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_headroom
TESTS          += tests/unit/test_headroom
tests_unit_test_headroom_SOURCES = tests/unit/test_headroom.c $(BACKING)
tests_unit_test_headroom_LDADD   = libbacking.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_balance
TESTS          += tests/unit/test_balance
tests_unit_test_balance_SOURCES = tests/unit/test_balance.c
tests_unit_test_balance_LDADD   = libbacking.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_nodes
TESTS          += tests/unit/test_nodes
tests_unit_test_nodes_SOURCES = tests/unit/test_nodes.c
tests_unit_test_nodes_LDADD   = libbacking.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_kernelpool
TESTS          += tests/unit/test_kernelpool
tests_unit_test_kernelpool_SOURCES = tests/unit/test_kernelpool.c $(BACKING)
tests_unit_test_kernelpool_LDADD   = libbacking.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_hugetlbfs
TESTS          += tests/unit/test_hugetlbfs
tests_unit_test_hugetlbfs_SOURCES = tests/unit/test_hugetlbfs.c $(BACKING)
tests_unit_test_hugetlbfs_LDADD   = libbacking.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_assistant
TESTS          += tests/unit/test_assistant
tests_unit_test_assistant_SOURCES = tests/unit/test_assistant.c $(BACKING)
tests_unit_test_assistant_LDADD   = libbacking.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_guard
TESTS          += tests/unit/test_guard
tests_unit_test_guard_SOURCES = tests/unit/test_guard.c $(BACKING)
tests_unit_test_guard_LDADD   = libbacking.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_holders
TESTS          += tests/unit/test_holders
tests_unit_test_holders_SOURCES = tests/unit/test_holders.c
tests_unit_test_holders_LDADD   = libbacking.la libbase.la $(TEST_LIBS) -lpthread

check_PROGRAMS += tests/unit/test_ledger
TESTS          += tests/unit/test_ledger
tests_unit_test_ledger_SOURCES = tests/unit/test_ledger.c
tests_unit_test_ledger_LDADD   = libledger.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_known
TESTS          += tests/unit/test_known
tests_unit_test_known_SOURCES = tests/unit/test_known.c
tests_unit_test_known_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_account
TESTS          += tests/unit/test_account
tests_unit_test_account_SOURCES = tests/unit/test_account.c
tests_unit_test_account_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_request_index
TESTS          += tests/unit/test_request_index
tests_unit_test_request_index_SOURCES = tests/unit/test_request_index.c tests/support/random.h
tests_unit_test_request_index_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_pool
TESTS          += tests/unit/test_pool
tests_unit_test_pool_SOURCES = tests/unit/test_pool.c $(HOUSE) tests/support/hugetlb.h tests/support/hugetlb.c
tests_unit_test_pool_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_pool_work
TESTS          += tests/unit/test_pool_work
tests_unit_test_pool_work_SOURCES = tests/unit/test_pool_work.c $(HOUSE) tests/unit/pool_scene.h tests/unit/pool_scene.c \
	tests/support/hugetlb.h tests/support/hugetlb.c
tests_unit_test_pool_work_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_pool_limbo
TESTS          += tests/unit/test_pool_limbo
tests_unit_test_pool_limbo_SOURCES = tests/unit/test_pool_limbo.c $(HOUSE) tests/unit/pool_scene.h tests/unit/pool_scene.c \
	tests/support/hugetlb.h tests/support/hugetlb.c
tests_unit_test_pool_limbo_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_pool_set
TESTS          += tests/unit/test_pool_set
tests_unit_test_pool_set_SOURCES = tests/unit/test_pool_set.c
tests_unit_test_pool_set_LDADD   = libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_memoryerror
TESTS          += tests/unit/test_memoryerror
tests_unit_test_memoryerror_SOURCES = tests/unit/test_memoryerror.c $(HOUSE)
tests_unit_test_memoryerror_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_poison
TESTS          += tests/unit/test_poison
tests_unit_test_poison_SOURCES = tests/unit/test_poison.c $(HOUSE)
tests_unit_test_poison_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_run_queue
TESTS          += tests/unit/test_run_queue
tests_unit_test_run_queue_SOURCES = tests/unit/test_run_queue.c $(MODEL_RANDOM)
tests_unit_test_run_queue_LDADD   = librpc.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_text
TESTS          += tests/unit/test_text
tests_unit_test_text_SOURCES = tests/unit/test_text.c
tests_unit_test_text_LDADD   = libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_name
TESTS          += tests/unit/test_name
tests_unit_test_name_SOURCES = tests/unit/test_name.c
tests_unit_test_name_LDADD   = libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_table
TESTS          += tests/unit/test_table
tests_unit_test_table_SOURCES = tests/unit/test_table.c client/ctl/table.h client/ctl/table.c \
	client/ctl/json.h client/ctl/json.c
tests_unit_test_table_LDADD   = libclient.la libbase.la libproto.la $(JANSSON_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_strings
TESTS          += tests/unit/test_strings
tests_unit_test_strings_SOURCES = tests/unit/test_strings.c
tests_unit_test_strings_LDADD   = libproto.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_idmap
TESTS          += tests/unit/test_idmap
tests_unit_test_idmap_SOURCES = tests/unit/test_idmap.c
tests_unit_test_idmap_LDADD   = librpc.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_mailbox
TESTS          += tests/unit/test_mailbox
tests_unit_test_mailbox_SOURCES = tests/unit/test_mailbox.c
tests_unit_test_mailbox_LDADD   = libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_seats
TESTS          += tests/unit/test_seats
tests_unit_test_seats_SOURCES = tests/unit/test_seats.c
tests_unit_test_seats_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_lease
TESTS          += tests/unit/test_lease
tests_unit_test_lease_SOURCES = tests/unit/test_lease.c $(HOUSE)
tests_unit_test_lease_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_lease_batch
TESTS          += tests/unit/test_lease_batch
tests_unit_test_lease_batch_SOURCES = tests/unit/test_lease_batch.c $(HOUSE)
tests_unit_test_lease_batch_LDADD   = liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_buddy
TESTS          += tests/unit/test_buddy
tests_unit_test_buddy_SOURCES = tests/unit/test_buddy.c
tests_unit_test_buddy_LDADD   = libcore.la $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_pcache
TESTS          += tests/unit/test_pcache
tests_unit_test_pcache_SOURCES = tests/unit/test_pcache.c
tests_unit_test_pcache_LDADD   = libcore.la $(TEST_LIBS)

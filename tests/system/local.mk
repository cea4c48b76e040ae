# The built daemon and hugepoolctl with real clients: a program a theme.
SYSTEM = tests/support/actor.h tests/support/actor.c tests/support/dut.h tests/support/dut.c \
	tests/support/hugetlb.h tests/support/hugetlb.c
SYSTEM_LIBS = libclient.la libproto.la $(JANSSON_LIBS) $(TEST_LIBS) -lpthread

check_PROGRAMS += tests/system/system_lease
TESTS          += tests/system/system_lease
tests_system_system_lease_SOURCES = tests/system/system_lease.c $(SYSTEM)
tests_system_system_lease_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_mapping
TESTS          += tests/system/system_mapping
tests_system_system_mapping_SOURCES = tests/system/system_mapping.c $(SYSTEM)
tests_system_system_mapping_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_holder
TESTS          += tests/system/system_holder
tests_system_system_holder_SOURCES = tests/system/system_holder.c $(SYSTEM)
tests_system_system_holder_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_daemon
TESTS          += tests/system/system_daemon
tests_system_system_daemon_SOURCES = tests/system/system_daemon.c $(SYSTEM)
tests_system_system_daemon_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_flags
TESTS          += tests/system/system_flags
tests_system_system_flags_SOURCES = tests/system/system_flags.c $(SYSTEM)
tests_system_system_flags_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_ctl
TESTS          += tests/system/system_ctl
tests_system_system_ctl_SOURCES = tests/system/system_ctl.c $(SYSTEM)
tests_system_system_ctl_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_ctl_show
TESTS          += tests/system/system_ctl_show
tests_system_system_ctl_show_SOURCES = tests/system/system_ctl_show.c $(SYSTEM)
tests_system_system_ctl_show_LDADD   = $(SYSTEM_LIBS)

OPERATOR = tests/support/operator.h tests/support/operator.c $(SYSTEM)

check_PROGRAMS += tests/system/system_orphaned
TESTS          += tests/system/system_orphaned
tests_system_system_orphaned_SOURCES = tests/system/system_orphaned.c $(OPERATOR)
tests_system_system_orphaned_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_ctl_lease
TESTS          += tests/system/system_ctl_lease
tests_system_system_ctl_lease_SOURCES = tests/system/system_ctl_lease.c $(OPERATOR)
tests_system_system_ctl_lease_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_ctl_operate
TESTS          += tests/system/system_ctl_operate
tests_system_system_ctl_operate_SOURCES = tests/system/system_ctl_operate.c $(OPERATOR)
tests_system_system_ctl_operate_LDADD   = $(SYSTEM_LIBS)

RAW = tests/support/dut.h tests/support/dut.c tests/support/raw.h tests/support/raw.c

# The daemon under the limits of setrlimit(2).
check_PROGRAMS += tests/system/system_limits
TESTS          += tests/system/system_limits
tests_system_system_limits_SOURCES = tests/system/system_limits.c $(OPERATOR)
tests_system_system_limits_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_limits_client
TESTS          += tests/system/system_limits_client
tests_system_system_limits_client_SOURCES = tests/system/system_limits_client.c $(OPERATOR)
tests_system_system_limits_client_LDADD   = $(SYSTEM_LIBS)

# Asking for more memory than there is, in memory cgroups.
check_PROGRAMS += tests/system/system_memory
TESTS          += tests/system/system_memory
tests_system_system_memory_SOURCES = tests/system/system_memory.c $(OPERATOR) \
	tests/support/memcg.h tests/support/memcg.c
tests_system_system_memory_LDADD   = $(SYSTEM_LIBS)

# What refusals say, a row a cause, and what the log says of operators.
SENTENCES = tests/system/system_sentences_words.h tests/system/system_sentences_words.c $(OPERATOR)
check_PROGRAMS += tests/system/system_sentences tests/system/system_sentences_start \
	tests/system/system_admin_log
TESTS          += tests/system/system_sentences tests/system/system_sentences_start \
	tests/system/system_admin_log
tests_system_system_sentences_SOURCES = tests/system/system_sentences.c $(SENTENCES) \
	tests/support/memcg.h tests/support/memcg.c
tests_system_system_sentences_start_SOURCES = tests/system/system_sentences_start.c $(SENTENCES)
tests_system_system_sentences_start_LDADD   = $(SYSTEM_LIBS)
tests_system_system_sentences_LDADD   = $(SYSTEM_LIBS)
tests_system_system_admin_log_SOURCES = tests/system/system_admin_log.c $(OPERATOR)
tests_system_system_admin_log_LDADD   = $(SYSTEM_LIBS)

# Whoever comes in as anybody, by any socket.
check_PROGRAMS += tests/system/system_tenant
TESTS          += tests/system/system_tenant
tests_system_system_tenant_SOURCES = tests/system/system_tenant.c tests/support/dut.h tests/support/dut.c \
	tests/support/raw.h tests/support/raw.c
tests_system_system_tenant_LDADD   = libproto.la $(JANSSON_LIBS) $(TEST_LIBS)

# Who administers, and whether root does.
check_PROGRAMS += tests/system/system_admin
TESTS          += tests/system/system_admin
tests_system_system_admin_SOURCES = tests/system/system_admin.c $(RAW)
tests_system_system_admin_LDADD   = libproto.la $(JANSSON_LIBS) $(TEST_LIBS)

# What leases are called, and by whom.
check_PROGRAMS += tests/system/system_name
TESTS          += tests/system/system_name
tests_system_system_name_SOURCES = tests/system/system_name.c $(RAW)
tests_system_system_name_LDADD   = libproto.la $(JANSSON_LIBS) $(TEST_LIBS)

# A daemon in a user or pid namespace.
check_PROGRAMS += tests/system/system_namespace
TESTS          += tests/system/system_namespace
tests_system_system_namespace_SOURCES = tests/system/system_namespace.c tests/support/actor.h \
	tests/support/actor.c tests/support/hugetlb.h tests/support/hugetlb.c $(RAW)
tests_system_system_namespace_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_poison
TESTS          += tests/system/system_poison
tests_system_system_poison_SOURCES = tests/system/system_poison.c $(SYSTEM)
tests_system_system_poison_LDADD   = $(SYSTEM_LIBS)

# Bad input: what clients send on purpose.
HOSTILE = tests/support/dut.h tests/support/dut.c tests/support/raw.h tests/support/raw.c \
	 tests/system/system_hostile_scene.h tests/system/system_hostile_scene.c
HOSTILE_LIBS = libclient.la libproto.la $(JANSSON_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/system/system_hostile
TESTS          += tests/system/system_hostile
tests_system_system_hostile_SOURCES = tests/system/system_hostile.c $(HOSTILE)
tests_system_system_hostile_LDADD   = $(HOSTILE_LIBS)

check_PROGRAMS += tests/system/system_edges
TESTS          += tests/system/system_edges
tests_system_system_edges_SOURCES = tests/system/system_edges.c tests/system/system_edges_fields.h \
	tests/system/system_edges_fields.c tests/support/dut.h tests/support/dut.c \
	tests/support/raw.h tests/support/raw.c
tests_system_system_edges_LDADD   = libproto.la libbase.la $(JANSSON_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/system/system_flood
TESTS          += tests/system/system_flood
tests_system_system_flood_SOURCES = tests/system/system_flood.c $(HOSTILE)
tests_system_system_flood_LDADD   = $(HOSTILE_LIBS)

check_PROGRAMS += tests/system/system_absent
TESTS          += tests/system/system_absent
tests_system_system_absent_SOURCES = tests/system/system_absent.c $(SYSTEM)
tests_system_system_absent_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_restart
TESTS          += tests/system/system_restart
tests_system_system_restart_SOURCES = tests/system/system_restart.c $(HOSTILE)
tests_system_system_restart_LDADD   = $(HOSTILE_LIBS)

check_PROGRAMS += tests/system/system_left
TESTS          += tests/system/system_left
tests_system_system_left_SOURCES = tests/system/system_left.c $(OPERATOR)
tests_system_system_left_LDADD   = $(SYSTEM_LIBS)

# Sessions that several processes hold.
check_PROGRAMS += tests/system/system_adopt
TESTS          += tests/system/system_adopt
tests_system_system_adopt_SOURCES = tests/system/system_adopt.c $(HOSTILE)
tests_system_system_adopt_LDADD   = $(HOSTILE_LIBS)

check_PROGRAMS += tests/system/system_evict
TESTS          += tests/system/system_evict
tests_system_system_evict_SOURCES = tests/system/system_evict.c $(HOSTILE) tests/support/hugetlb.h tests/support/hugetlb.c
tests_system_system_evict_LDADD   = $(HOSTILE_LIBS)

check_PROGRAMS += tests/system/system_kept
TESTS          += tests/system/system_kept
tests_system_system_kept_SOURCES = tests/system/system_kept.c $(HOSTILE)
tests_system_system_kept_LDADD   = $(HOSTILE_LIBS)

check_PROGRAMS += tests/system/system_share
TESTS          += tests/system/system_share
tests_system_system_share_SOURCES = tests/system/system_share.c $(HOSTILE)
tests_system_system_share_LDADD   = $(HOSTILE_LIBS)

check_PROGRAMS += tests/system/system_turns
TESTS          += tests/system/system_turns
tests_system_system_turns_SOURCES = tests/system/system_turns.c $(HOSTILE)
tests_system_system_turns_LDADD   = $(HOSTILE_LIBS)

check_PROGRAMS += tests/system/system_flood_fds
TESTS          += tests/system/system_flood_fds
tests_system_system_flood_fds_SOURCES = tests/system/system_flood_fds.c $(HOSTILE)
tests_system_system_flood_fds_LDADD   = $(HOSTILE_LIBS)

# Real hugepages, by the kernel's counters.
HUGETLB = $(SYSTEM) tests/support/raw.h tests/support/raw.c \
	tests/system/system_hugetlb_scene.h tests/system/system_hugetlb_scene.c

check_PROGRAMS += tests/system/system_hugetlb
TESTS          += tests/system/system_hugetlb
tests_system_system_hugetlb_SOURCES = tests/system/system_hugetlb.c $(HUGETLB)
tests_system_system_hugetlb_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_hugetlb_mount
TESTS          += tests/system/system_hugetlb_mount
tests_system_system_hugetlb_mount_SOURCES = tests/system/system_hugetlb_mount.c $(HUGETLB)
tests_system_system_hugetlb_mount_LDADD   = $(SYSTEM_LIBS)

# One tenant's attacks on another one's memory.
WALL = $(SYSTEM) tests/support/intruder.h tests/support/intruder.c \
	tests/system/system_hugetlb_scene.h tests/system/system_hugetlb_scene.c

check_PROGRAMS += tests/system/system_wall
TESTS          += tests/system/system_wall
tests_system_system_wall_SOURCES = tests/system/system_wall.c $(WALL)
tests_system_system_wall_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_wall_rights
TESTS          += tests/system/system_wall_rights
tests_system_system_wall_rights_SOURCES = tests/system/system_wall_rights.c $(WALL)
tests_system_system_wall_rights_LDADD   = $(SYSTEM_LIBS)

# Every kind of lease, and what a tenant is allowed.
check_PROGRAMS += tests/system/system_kinds
TESTS          += tests/system/system_kinds
tests_system_system_kinds_SOURCES = tests/system/system_kinds.c $(OPERATOR)
tests_system_system_kinds_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_quota
TESTS          += tests/system/system_quota
tests_system_system_quota_SOURCES = tests/system/system_quota.c tests/support/operator.h \
	tests/support/operator.c tests/support/actor.h tests/support/actor.c tests/support/hugetlb.h \
	tests/support/hugetlb.c $(HOSTILE)
tests_system_system_quota_LDADD   = $(SYSTEM_LIBS)

check_PROGRAMS += tests/system/system_quota_random
TESTS          += tests/system/system_quota_random
tests_system_system_quota_random_SOURCES = tests/system/system_quota_random.c tests/support/operator.h \
	tests/support/operator.c tests/support/actor.h tests/support/actor.c tests/support/hugetlb.h \
	tests/support/hugetlb.c $(HOSTILE)
tests_system_system_quota_random_LDADD = $(SYSTEM_LIBS)

# What the daemon finds on the host, and what it leaves there.
check_PROGRAMS += tests/system/system_state
TESTS          += tests/system/system_state
tests_system_system_state_SOURCES = tests/system/system_state.c tests/support/dut.h tests/support/dut.c
tests_system_system_state_LDADD   = $(JANSSON_LIBS) $(TEST_LIBS)

check_PROGRAMS += tests/system/system_host
TESTS          += tests/system/system_host
tests_system_system_host_SOURCES = tests/system/system_host.c $(HUGETLB)
tests_system_system_host_LDADD   = $(SYSTEM_LIBS)

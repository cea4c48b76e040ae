noinst_LTLIBRARIES += librpc.la
librpc_la_SOURCES = \
	daemon/rpc/admins.h daemon/rpc/admins.c \
	daemon/rpc/admin_log.h daemon/rpc/admin_log.c \
	daemon/rpc/alloc.c \
	daemon/rpc/cancel.c \
	daemon/rpc/connection.h daemon/rpc/connection.c \
	daemon/rpc/deaths.h daemon/rpc/deaths.c \
	daemon/rpc/dispatch.h daemon/rpc/dispatch.c \
	daemon/rpc/errand.h daemon/rpc/errand.c \
	daemon/rpc/event.h daemon/rpc/event.c \
	daemon/rpc/eviction.h daemon/rpc/eviction.c \
	daemon/rpc/free.c \
	daemon/rpc/grants.h daemon/rpc/grants.c \
	daemon/rpc/hello.c \
	daemon/rpc/idmap.h daemon/rpc/idmap.c \
	daemon/rpc/linger.h daemon/rpc/linger.c \
	daemon/rpc/list.c \
	daemon/rpc/open.c \
	daemon/rpc/operate.c \
	daemon/rpc/orphans.h daemon/rpc/orphans.c \
	daemon/rpc/outcome.h daemon/rpc/outcome.c \
	daemon/rpc/peer.h daemon/rpc/peer.c \
	daemon/rpc/reap.h daemon/rpc/reap.c \
	daemon/rpc/run_queue.h daemon/rpc/run_queue.c \
	daemon/rpc/server.h daemon/rpc/server.c \
	daemon/rpc/status.c

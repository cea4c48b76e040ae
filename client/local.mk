# The client library. libclient.la is the same objects with nothing hidden, for hugepoolctl and the tests.
noinst_LTLIBRARIES += libclient.la
libclient_la_SOURCES = \
	client/lib/adopt.c \
	client/lib/alloc.c \
	client/lib/arena.h client/lib/arena.c \
	client/lib/cache.h client/lib/cache.c \
	client/lib/cache_part.h client/lib/cache_part.c \
	client/lib/call.h client/lib/call.c client/lib/wait.c \
	client/lib/interrupt.h client/lib/interrupt.c \
	client/lib/claim.h client/lib/claim.c \
	client/lib/client.h client/lib/client.c \
	client/lib/connection.h client/lib/connection.c \
	client/lib/dispatch.c \
	client/lib/error.h client/lib/error.c \
	client/lib/event.h client/lib/event.c \
	client/lib/free.c \
	client/lib/lease.h client/lib/lease.c \
	client/lib/limit.h client/lib/limit.c \
	client/lib/lease_name.h client/lib/lease_name.c \
	client/lib/mend.h client/lib/mend.c \
	client/lib/range.h client/lib/range.c \
	client/lib/reply.c \
	client/lib/resize.c \
	client/lib/session.h \
	client/lib/view.h client/lib/view.c \
	client/lib/watch.h client/lib/watch.c \
	daemon/base/name.h daemon/base/name.c \
	daemon/base/text.h daemon/base/text.c
libclient_la_LIBADD = libproto.la

# -version-info CURRENT:REVISION:AGE. Before a release: something changed: REVISION + 1. Functions were added:
# CURRENT + 1, AGE + 1, REVISION 0. Functions were taken away or changed: CURRENT + 1, AGE 0, REVISION 0.
lib_LTLIBRARIES += libhugepool.la
libhugepool_la_SOURCES =
libhugepool_la_LIBADD = libclient.la
libhugepool_la_LDFLAGS = $(AM_LDFLAGS) -version-info 0:0:0 -no-undefined \
	-Wl,--version-script=$(top_srcdir)/client/lib/hugepool.map
libhugepool_la_DEPENDENCIES = libclient.la client/lib/hugepool.map

include_HEADERS += client/include/hugepool.h
pkgconfig_DATA = client/lib/hugepool.pc
dist_man_MANS += man/libhugepool.3
EXTRA_DIST += client/lib/hugepool.map

include client/ctl/local.mk
include client/examples/local.mk

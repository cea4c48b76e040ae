# The wire: shared by the daemon and the client library.
noinst_LTLIBRARIES += libproto.la
libproto_la_SOURCES = \
	proto/bump.h proto/bump.c \
	proto/frame.h proto/frame_reader.c proto/frame_writer.c \
	proto/hot.h proto/hot_tags.h proto/hot_pack.c proto/hot_unpack.c \
	proto/strings.h proto/strings.c \
	proto/socket_path.h proto/socket_path.c
nodist_libproto_la_SOURCES = proto/hugepool.pb-c.h proto/hugepool.pb-c.c
libproto_la_LIBADD = $(PROTOBUF_C_LIBS)

EXTRA_DIST    += proto/hugepool.proto
BUILT_SOURCES += proto/hugepool.pb-c.h
CLEANFILES    += proto/hugepool.pb-c.h proto/hugepool.pb-c.c

proto/hugepool.pb-c.c: proto/hugepool.pb-c.h
proto/hugepool.pb-c.h: $(top_srcdir)/proto/hugepool.proto
	$(AM_V_GEN)$(MKDIR_P) proto && $(PROTOC_C) --proto_path=$(top_srcdir)/proto --c_out=proto hugepool.proto

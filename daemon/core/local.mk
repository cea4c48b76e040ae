noinst_LTLIBRARIES += libcore.la
libcore_la_SOURCES = \
	daemon/core/blockmap.h daemon/core/blockmap.c \
	daemon/core/buddy.h daemon/core/buddy.c \
	daemon/core/pcache.h daemon/core/pcache.c

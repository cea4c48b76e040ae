noinst_LTLIBRARIES += libbase.la
libbase_la_SOURCES = \
	daemon/base/assert.h \
	daemon/base/clock.h \
	daemon/base/cleanup.h \
	daemon/base/descriptors.h daemon/base/descriptors.c \
	daemon/base/directory.h daemon/base/directory.c \
	daemon/base/inode_id.h daemon/base/inode_id.c \
	daemon/base/journal.h daemon/base/journal.c \
	daemon/base/lock.h daemon/base/lock.c \
	daemon/base/log.h daemon/base/log.c \
	daemon/base/mailbox.h daemon/base/mailbox.c \
	daemon/base/name.h daemon/base/name.c \
	daemon/base/size.h daemon/base/size.c \
	daemon/base/text.h daemon/base/text.c

noinst_LTLIBRARIES += libbacking.la
libbacking_la_SOURCES = \
	daemon/backing/assistant.h daemon/backing/assistant.c \
	daemon/backing/backing.h daemon/backing/backing.c \
	daemon/backing/balance.h daemon/backing/balance.c \
	daemon/backing/cgroup.h daemon/backing/cgroup.c \
	daemon/backing/clear.h daemon/backing/clear.c \
	daemon/backing/fellows.h daemon/backing/fellows.c \
	daemon/backing/fill.h daemon/backing/fill.c \
	daemon/backing/guard.h daemon/backing/guard.c \
	daemon/backing/headroom.h daemon/backing/headroom.c \
	daemon/backing/holders.h daemon/backing/holders.c \
	daemon/backing/hugefolio.h daemon/backing/hugefolio.c \
	daemon/backing/hugemount.h daemon/backing/hugemount.c \
	daemon/backing/hugetlbfs.c \
	daemon/backing/kernelpool.h daemon/backing/kernelpool.c \
	daemon/backing/kinds.h \
	daemon/backing/leftover.h daemon/backing/leftover.c \
	daemon/backing/mapping.h daemon/backing/mapping.c \
	daemon/backing/memfd.c \
	daemon/backing/ownmount.h daemon/backing/ownmount.c \
	daemon/backing/sharedplace.h daemon/backing/sharedplace.c \
	daemon/backing/nodes.h daemon/backing/nodes.c \
	daemon/backing/numa.h daemon/backing/numa.c \
	daemon/backing/procfiles.h daemon/backing/procfiles.c \
	daemon/backing/raised.h daemon/backing/raised.c \
	daemon/backing/readfile.h daemon/backing/readfile.c \
	daemon/backing/shortage.h daemon/backing/shortage.c

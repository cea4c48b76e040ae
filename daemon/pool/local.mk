noinst_LTLIBRARIES += libpool.la
libpool_la_SOURCES = \
	daemon/pool/admission.h daemon/pool/admission.c \
	daemon/pool/arena.h daemon/pool/arena.c \
	daemon/pool/construction.h daemon/pool/construction.c \
	daemon/pool/drain.h daemon/pool/drain.c \
	daemon/pool/memoryerror.h daemon/pool/memoryerror.c \
	daemon/pool/poison.h daemon/pool/poison.c \
	daemon/pool/pool.h daemon/pool/pool.c \
	daemon/pool/pool_inside.h daemon/pool/refill.c \
	daemon/pool/reclaim.c \
	daemon/pool/release.c daemon/pool/stock.c \
	daemon/pool/pool_config.h daemon/pool/pool_config.c \
	daemon/pool/pool_set.h \
	daemon/pool/run.h \
	daemon/pool/scrubber.h daemon/pool/scrubber.c \
	daemon/pool/stocker.h daemon/pool/stocker.c \
	daemon/pool/supply.h daemon/pool/supply.c \
	daemon/pool/zone.h daemon/pool/zone.c

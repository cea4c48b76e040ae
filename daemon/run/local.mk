# libconfig.la: the configuration alone, for its test and its fuzzer.
noinst_LTLIBRARIES += libconfig.la
libconfig_la_SOURCES = \
	daemon/run/config.h daemon/run/config.c \
	daemon/run/config_ids.c \
	daemon/run/config_keys.h daemon/run/config_keys.c \
	daemon/run/config_pool.c \
	daemon/run/config_source.h daemon/run/config_source.c \
	daemon/run/config_word.c \
	daemon/run/json_position.h daemon/run/json_position.c
libconfig_la_LIBADD = libpool.la libbase.la $(JANSSON_LIBS)

# libdaemon.la: all of the daemon but main(), so that tests can link what they want of it.
noinst_LTLIBRARIES += libdaemon.la
libdaemon_la_SOURCES = \
	daemon/run/daemon.h daemon/run/daemon.c \
	daemon/run/limits.h daemon/run/limits.c \
	daemon/run/listener.h daemon/run/listener.c \
	daemon/run/state.h daemon/run/state.c \
	daemon/run/stop.h daemon/run/stop.c
libdaemon_la_LIBADD = libconfig.la librpc.la liblease.la libledger.la libpool.la libbacking.la libcore.la libbase.la libproto.la \
	$(EVENT_LIBS) $(JANSSON_LIBS) $(SYSTEMD_LIBS)

sbin_PROGRAMS += hugepoold
hugepoold_SOURCES = daemon/run/main.c
hugepoold_LDADD   = libdaemon.la
dist_man_MANS += man/hugepoold.8 man/hugepool.conf.5

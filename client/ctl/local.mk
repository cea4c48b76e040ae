bin_PROGRAMS += hugepoolctl
hugepoolctl_SOURCES = \
	client/ctl/ctl.h client/ctl/main.c \
	client/ctl/ask.c \
	client/ctl/events.c \
	client/ctl/json.h client/ctl/json.c \
	client/ctl/lease.c \
	client/ctl/operate.c \
	client/ctl/orphans.c \
	client/ctl/options.h client/ctl/options.c \
	client/ctl/show.c \
	client/ctl/stay.c \
	client/ctl/table.h client/ctl/table.c
hugepoolctl_LDADD = libclient.la libbase.la $(PROTOBUF_C_LIBS) $(JANSSON_LIBS)
dist_man_MANS += man/hugepoolctl.1

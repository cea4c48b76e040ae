bin_PROGRAMS += hugepoolctl
hugepoolctl_SOURCES = \
	client/ctl/ctl.h client/ctl/main.c \
	client/ctl/json.h client/ctl/json.c \
	client/ctl/lease.c \
	client/ctl/show.c \
	client/ctl/table.h client/ctl/table.c
hugepoolctl_LDADD = libclient.la libbase.la $(PROTOBUF_C_LIBS) $(JANSSON_LIBS)
dist_man_MANS += man/hugepoolctl.1

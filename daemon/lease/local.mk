noinst_LTLIBRARIES += liblease.la
liblease_la_SOURCES = \
	daemon/lease/account.h daemon/lease/account.c \
	daemon/lease/audit.h daemon/lease/audit.c \
	daemon/lease/chain.h daemon/lease/chain.c \
	daemon/lease/deadlines.h daemon/lease/deadlines.c \
	daemon/lease/holder.h daemon/lease/holder.c \
	daemon/lease/known.h daemon/lease/known.c \
	daemon/lease/lease.h daemon/lease/lease.c \
	daemon/lease/lease_state.h \
	daemon/lease/request.h daemon/lease/request.c \
	daemon/lease/request_index.h daemon/lease/request_index.c \
	daemon/lease/seats.h daemon/lease/seats.c \
	daemon/lease/session.h daemon/lease/session.c

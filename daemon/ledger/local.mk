noinst_LTLIBRARIES += libledger.la
libledger_la_SOURCES = \
	daemon/ledger/ledger.h daemon/ledger/ledger.c \
	daemon/ledger/places.h daemon/ledger/places.c \
	daemon/ledger/shares.h daemon/ledger/shares.c

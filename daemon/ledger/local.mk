noinst_LTLIBRARIES += libledger.la
libledger_la_SOURCES = \
	daemon/ledger/ledger.h daemon/ledger/ledger.c \
	daemon/ledger/names.h daemon/ledger/names.c

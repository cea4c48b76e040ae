# The recorder is a library to preload into other programs: no part of hugepool, only kept compiling.
check_DATA = tests/traces/record.so
EXTRA_DIST += tests/traces/README.md tests/traces/record.c tests/traces/sqlite3.trace
CLEANFILES += tests/traces/record.so

tests/traces/record.so: tests/traces/record.c
	$(AM_V_CC)$(MKDIR_P) tests/traces && \
		$(CC) -std=gnu17 $(WARN_FLAGS) $(CFLAGS) -fPIC -shared -o $@ $(top_srcdir)/tests/traces/record.c

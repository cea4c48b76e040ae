# The unit that `make install` puts where systemd looks.
systemdsystemunit_DATA = systemd/hugepoold.service
EXTRA_DIST += systemd/hugepoold.service.in
CLEANFILES += systemd/hugepoold.service

systemd/hugepoold.service: systemd/hugepoold.service.in Makefile
	$(AM_V_GEN)$(MKDIR_P) systemd && $(SED) 's|@sbindir[@]|$(sbindir)|' $(srcdir)/systemd/hugepoold.service.in >$@

# SPDX-License-Identifier: BSD-3-Clause
# What makes the daemon a systemd service. configure finds the directories; what has none is not
# installed.
systemdsystemunitdir = @systemdsystemunitdir@
sysusersdir = @sysusersdir@
tmpfilesdir = @tmpfilesdir@
catalogdir = @catalogdir@
backenddir = $(datadir)/vfio-user

systemdsystemunit_DATA = units/vfio-userd@.service units/vfio-userd@.socket \
	units/vfio-userd-control@.socket
sysusers_DATA = units/sysusers.d/vfio-userd.conf
tmpfiles_DATA = units/tmpfiles.d/vfio-userd.conf
backend_DATA = units/50-vfio-userd.json
dist_catalog_DATA = units/vfio-userd.catalog

CLEANFILES += $(systemdsystemunit_DATA) $(sysusers_DATA) $(tmpfiles_DATA) $(backend_DATA)
EXTRA_DIST += units/vfio-userd@.service.in units/vfio-userd@.socket.in \
	units/vfio-userd-control@.socket.in units/vfio-userd.sysusers.in \
	units/vfio-userd.tmpfiles.in units/50-vfio-userd.json.in

# By make and not by configure: make has each directory in full, also one given on its command line.
put_directories = $(AM_V_GEN)$(MKDIR_P) $(@D) && $(SED) -e 's|@bindir[@]|$(bindir)|g' \
	-e 's|@libdir[@]|$(libdir)|g' -e 's|@runstatedir[@]|$(runstatedir)|g' \
	-e 's|@sysconfdir[@]|$(sysconfdir)|g' $< > $@.tmp && mv $@.tmp $@

units/vfio-userd@.service: units/vfio-userd@.service.in Makefile
	$(put_directories)
units/vfio-userd@.socket: units/vfio-userd@.socket.in Makefile
	$(put_directories)
units/vfio-userd-control@.socket: units/vfio-userd-control@.socket.in Makefile
	$(put_directories)
units/sysusers.d/vfio-userd.conf: units/vfio-userd.sysusers.in Makefile
	$(put_directories)
units/tmpfiles.d/vfio-userd.conf: units/vfio-userd.tmpfiles.in Makefile
	$(put_directories)
units/50-vfio-userd.json: units/50-vfio-userd.json.in Makefile
	$(put_directories)

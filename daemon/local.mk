# SPDX-License-Identifier: BSD-3-Clause
# All but main.c is a library, which the daemon and the tests link.
noinst_LIBRARIES += libdaemon.a
libdaemon_a_SOURCES = \
	daemon/accept.c daemon/accept.h \
	daemon/capture.c daemon/capture.h \
	daemon/client_info.h \
	daemon/config.c daemon/config.h \
	daemon/config_file.c daemon/config_file.h \
	daemon/config_json.c daemon/config_json.h \
	daemon/control/control.c daemon/control/control.h \
	daemon/control/method.c daemon/control/method.h \
	daemon/control/methods.c daemon/control/methods.h \
	daemon/control/methods_act.c \
	daemon/control/methods_move.c \
	daemon/control/methods_migrate.c \
	daemon/control/methods_stats.c \
	daemon/control/methods_status.c \
	daemon/control/monitor.c daemon/control/monitor.h \
	daemon/daemon.c daemon/daemon.h \
	daemon/device/description.c daemon/device/description.h \
	daemon/device/device.c daemon/device/device.h daemon/device/device_private.h \
	daemon/device/device_move.c \
	daemon/device/dirty_log.c daemon/device/dirty_log.h \
	daemon/device/device_keep.c \
	daemon/device/dma.c daemon/device/dma.h \
	daemon/device/dma_table.c daemon/device/dma_table.h \
	daemon/device/doorbell.c daemon/device/doorbell.h \
	daemon/device/evidence.h \
	daemon/device/iova.c daemon/device/iova.h \
	daemon/device/irq.c daemon/device/irq.h daemon/device/irq_private.h \
	daemon/device/irq_set.c \
	daemon/device/memory.c daemon/device/memory.h \
	daemon/device/msix.c daemon/device/msix.h \
	daemon/device/notifier.c daemon/device/notifier.h \
	daemon/device/pci.c daemon/device/pci.h daemon/device/pci_private.h \
	daemon/device/pci_layout.c \
	daemon/device/self_test.c daemon/device/self_test.h \
	daemon/device/timer.c daemon/device/timer.h daemon/device/timer_state.c \
	daemon/daemon_private.h \
	daemon/event.h \
	daemon/heartbeat.c daemon/heartbeat.h \
	daemon/instance.c daemon/instance.h \
	daemon/keep/block.c daemon/keep/block.h \
	daemon/keep/fault.c daemon/keep/fault.h \
	daemon/keep/fd_store.c daemon/keep/fd_store.h \
	daemon/keep/keeper.c daemon/keep/keeper.h \
	daemon/keep/recovery.c daemon/keep/recovery.h \
	daemon/log.c daemon/log.h \
	daemon/migrate/content.c daemon/migrate/content.h \
	daemon/migrate/handover.c daemon/migrate/handover.h \
	daemon/migrate/handover_wire.c daemon/migrate/handover_wire.h \
	daemon/migrate/loading.c daemon/migrate/loading.h \
	daemon/migrate/migration.c daemon/migrate/migration.h \
	daemon/migrate/offer.c daemon/migrate/offer.h \
	daemon/migrate/parcel.c daemon/migrate/parcel.h \
	daemon/migrate/receive.c daemon/migrate/receive.h \
	daemon/migrate/saving.c daemon/migrate/saving.h \
	daemon/migrate/staging.c daemon/migrate/staging.h \
	daemon/migrate/token.c daemon/migrate/token.h \
	daemon/migrate/transfers.c daemon/migrate/transfers.h \
	daemon/migrate/unpack.c daemon/migrate/unpack.h \
	daemon/moving.c daemon/moving.h \
	daemon/recover.c daemon/recover.h \
	daemon/reload.c daemon/reload.h \
	daemon/requests.c daemon/requests.h \
	daemon/service/datagram.c daemon/service/datagram.h \
	daemon/stats.c daemon/stats.h \
	daemon/service/journal.c daemon/service/journal.h \
	daemon/service/library.c daemon/service/library.h \
	daemon/service/service.c daemon/service/service.h \
	daemon/session/commands.c daemon/session/commands.h \
	daemon/session/features.c daemon/session/features.h \
	daemon/session/io_fds.c daemon/session/io_fds.h \
	daemon/session/freeze.c daemon/session/freeze.h \
	daemon/session/handshake.c daemon/session/handshake.h \
	daemon/session/listener.c daemon/session/listener.h \
	daemon/session/observe.c daemon/session/observe.h \
	daemon/session/outgoing.c \
	daemon/session/session_keep.c daemon/session/session_keep.h \
	daemon/session/server_commands.c daemon/session/server_commands.h \
	daemon/session/side_fds.c \
	daemon/session/session.c daemon/session/session.h daemon/session/session_private.h \
	daemon/session/snapshot.h \
	daemon/session/tap.c daemon/session/tap.h \
	daemon/session/twin.c daemon/session/twin.h \
	daemon/wake.c daemon/wake.h \
	daemon/watch.c daemon/watch.h
libdaemon_a_CFLAGS = $(AM_CFLAGS) $(UV_CFLAGS) $(JSON_CFLAGS) $(SYSTEMD_CFLAGS)

DAEMON_LIBS = libdaemon.a libproto.a $(UV_LIBS) $(JSON_LIBS) $(ZLIB_LIBS) $(DEFLATE_LIBS)

bin_PROGRAMS += vfio-userd
vfio_userd_SOURCES = daemon/main.c
vfio_userd_CFLAGS = $(AM_CFLAGS) $(UV_CFLAGS) $(JSON_CFLAGS)
vfio_userd_LDADD = $(DAEMON_LIBS)

# The interface file that is installed is also what GetInterfaceDescription answers: one source.
varlinkdir = $(datadir)/varlink
dist_varlink_DATA = daemon/control/io.vfiouserd.Device.varlink
BUILT_SOURCES += daemon/control/description.varlink.h
CLEANFILES += daemon/control/description.varlink.h
daemon/control/description.varlink.h: daemon/control/io.vfiouserd.Device.varlink
	$(AM_V_GEN)$(MKDIR_P) daemon/control && { \
	  echo 'static const char description_varlink[] ='; \
	  $(SED) -e 's/\\/\\\\/g' -e 's/"/\\"/g' -e 's/.*/    "&\\n"/' \
	    $(srcdir)/daemon/control/io.vfiouserd.Device.varlink; \
	  echo '    ;'; } > $@.tmp && mv $@.tmp $@
daemon/control/libdaemon_a-methods.$(OBJEXT): daemon/control/description.varlink.h

# The man pages. Their date is that of the source, so that a build can be repeated.
man_MANS = ctl/vfuctl.1 daemon/control/io.vfiouserd.Device.7 daemon/vfio-userd.8 \
	daemon/vfio-userd.json.5
EXTRA_DIST += ctl/vfuctl.1.in daemon/control/io.vfiouserd.Device.7.in daemon/vfio-userd.8.in \
	daemon/vfio-userd.json.5.in
CLEANFILES += $(man_MANS)
MAN_DATE = LC_ALL=C date -u -d "@$${SOURCE_DATE_EPOCH:-$$(date -r $$in +%s)}" '+%B %-d, %Y'
ctl/vfuctl.1: ctl/vfuctl.1.in
daemon/control/io.vfiouserd.Device.7: daemon/control/io.vfiouserd.Device.7.in
daemon/vfio-userd.8: daemon/vfio-userd.8.in
daemon/vfio-userd.json.5: daemon/vfio-userd.json.5.in
$(man_MANS): Makefile
	$(AM_V_GEN)$(MKDIR_P) $(@D) && in='$(srcdir)/$@.in' && date=$$($(MAN_DATE)) && \
	  $(SED) -e "s|@date[@]|$$date|" -e 's|@VERSION[@]|$(PACKAGE_VERSION)|' \
	    -e 's|@sysconfdir[@]|$(sysconfdir)|g' -e 's|@runstatedir[@]|$(runstatedir)|g' \
	    -e 's|@bindir[@]|$(bindir)|g' -e 's|@datadir[@]|$(datadir)|g' \
	    -e 's|@docdir[@]|$(docdir)|g' $$in > $@.tmp && mv $@.tmp $@

# SPDX-License-Identifier: BSD-3-Clause
# `make check`: unit and integration tests, without root and without a network.
TEST_LIBS = libdaemon.a libproto.a $(UV_LIBS) $(JSON_LIBS) $(ZLIB_LIBS) $(DEFLATE_LIBS) $(CHECK_LIBS)
TEST_CPPFLAGS = $(AM_CPPFLAGS) -UNDEBUG -I$(top_srcdir)/tests
TEST_CFLAGS = $(AM_CFLAGS) $(UV_CFLAGS) $(JSON_CFLAGS) $(CHECK_CFLAGS)

AM_TESTS_ENVIRONMENT = \
	top_srcdir='$(abs_top_srcdir)'; export top_srcdir; \
	top_builddir='$(abs_top_builddir)'; export top_builddir; \
	VFIO_USERD='$(abs_top_builddir)/vfio-userd'; export VFIO_USERD; \
	VFIO_USERD_FAULT='$(abs_top_builddir)/tests/e2e/vfio-userd-fault'; export VFIO_USERD_FAULT; \
	VFUCTL='$(abs_top_builddir)/vfuctl'; export VFUCTL; \
	VFU_CLIENT='$(abs_top_builddir)/vfu-client'; export VFU_CLIENT; \
	ATTACH='$(abs_top_builddir)/tests/e2e/attach'; export ATTACH; \
	FAKE_VARLINK='$(abs_top_builddir)/tests/integration/fake_varlink'; export FAKE_VARLINK; \
	CC='$(CC)'; export CC; \
	MALLOC_PERTURB_=165; export MALLOC_PERTURB_;

include tests/unit/local.mk
include tests/integration/local.mk
include tests/bench/local.mk
include tests/fuzz/local.mk

# A client that attaches and does what it is told, for the tests of both kinds.
check_PROGRAMS += tests/e2e/attach
tests_e2e_attach_SOURCES = tests/e2e/attach.c
tests_e2e_attach_LDADD = libproto.a $(JSON_LIBS)

# A client that keeps a device busy while its daemon dies, and a daemon that dies when it is told to.
check_PROGRAMS += tests/e2e/keep-load tests/e2e/vfio-userd-fault
tests_e2e_keep_load_SOURCES = tests/e2e/load/main.c tests/e2e/load/load.c tests/e2e/load/load.h \
	tests/e2e/load/fault.h contrib/vfu-client/doorbell.c contrib/vfu-client/doorbell.h \
	contrib/vfu-client/registers.h
tests_e2e_keep_load_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/e2e \
	-I$(top_srcdir)/contrib/vfu-client
tests_e2e_keep_load_LDADD = libproto.a $(JSON_LIBS)
tests_e2e_vfio_userd_fault_SOURCES = daemon/main.c tests/e2e/load/fault.c tests/e2e/load/fault.h
tests_e2e_vfio_userd_fault_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests/e2e
tests_e2e_vfio_userd_fault_CFLAGS = $(vfio_userd_CFLAGS)
tests_e2e_vfio_userd_fault_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=commands_execute
tests_e2e_vfio_userd_fault_LDADD = $(vfio_userd_LDADD)

# `make check-e2e`: a QEMU guest drives the device, and a real systemd runs it. Needs root.
check-e2e: all tests/e2e/attach$(EXEEXT) tests/e2e/keep-load$(EXEEXT) \
		tests/e2e/vfio-userd-fault$(EXEEXT)
	VFIO_USERD='$(abs_top_builddir)/vfio-userd' VFUCTL='$(abs_top_builddir)/vfuctl' \
	CC='$(CC)' top_builddir='$(abs_top_builddir)' $(srcdir)/tests/e2e/run.sh
.PHONY: check-e2e

EXTRA_DIST += tests/run.sh tests/suite.h tests/unit/dma_kit.h tests/unit/irq_kit.h \
	tests/e2e/boot-root.sh tests/e2e/container.sh tests/e2e/enter-root.sh \
	tests/e2e/guest-basic.test tests/e2e/guest-capture.test \
	tests/e2e/guest-described.test tests/e2e/guest-handover.test \
	tests/e2e/guest-msix.test tests/e2e/guest-reboot.test \
	tests/e2e/guest-keep.test tests/e2e/guest-unshared.test \
	tests/e2e/inside-qemu.sh tests/e2e/keep.sh tests/e2e/lib.sh tests/e2e/prepare.sh tests/e2e/qemu.sh \
	tests/e2e/run.sh tests/e2e/service-config.test tests/e2e/service-guest.test \
	tests/e2e/service-handover.test tests/e2e/service-varlink.test \
	tests/e2e/service-journal.test tests/e2e/service-keep.test tests/e2e/service-life.test \
	tests/e2e/service-sandbox.test tests/e2e/service-start.test tests/e2e/guest tests/e2e/probe
AM_DISTCHECK_CONFIGURE_FLAGS = --enable-werror \
	--with-systemdsystemunitdir='$$dc_install_base/lib/systemd/system' \
	--with-sysusersdir='$$dc_install_base/lib/sysusers.d' \
	--with-tmpfilesdir='$$dc_install_base/lib/tmpfiles.d' \
	--with-catalogdir='$$dc_install_base/lib/systemd/catalog'

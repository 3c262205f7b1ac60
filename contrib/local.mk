# SPDX-License-Identifier: BSD-3-Clause
noinst_PROGRAMS += vfu-client
vfu_client_SOURCES = \
	contrib/vfu-client/config_space.c \
	contrib/vfu-client/doorbell.c contrib/vfu-client/doorbell.h \
	contrib/vfu-client/feature.c contrib/vfu-client/feature.h \
	contrib/vfu-client/guest.c contrib/vfu-client/guest.h \
	contrib/vfu-client/interrupts.c \
	contrib/vfu-client/main.c \
	contrib/vfu-client/messages.c \
	contrib/vfu-client/migration.c \
	contrib/vfu-client/msix.c \
	contrib/vfu-client/regions.c \
	contrib/vfu-client/registers.h \
	contrib/vfu-client/ringing.c \
	contrib/vfu-client/scenario.c contrib/vfu-client/scenario.h \
	contrib/vfu-client/server.c contrib/vfu-client/server.h \
	contrib/vfu-client/setup.c \
	contrib/vfu-client/speed.c contrib/vfu-client/speed.h \
	contrib/vfu-client/steps.c contrib/vfu-client/steps.h \
	contrib/vfu-client/transfers.c \
	contrib/vfu-client/walk.c contrib/vfu-client/walk.h \
	contrib/vfu-client/writer.c contrib/vfu-client/writer.h
vfu_client_LDADD = libproto.a $(JSON_LIBS) $(ZLIB_LIBS) -lpthread

# A virtual machine of a few bytes that rings the doorbell.
if HAVE_KVM_X86
noinst_PROGRAMS += doorbell-vmm
endif
doorbell_vmm_SOURCES = \
	contrib/doorbell-vmm/machine.c contrib/doorbell-vmm/machine.h \
	contrib/doorbell-vmm/main.c
doorbell_vmm_LDADD = libproto.a $(JSON_LIBS) $(ZLIB_LIBS)

examplesdir = $(docdir)/examples
dist_examples_DATA = \
	contrib/devices/large-bar1.json \
	contrib/devices/libvfio-user-client.json \
	contrib/devices/lspci.json \
	contrib/devices/messages.json \
	contrib/devices/msi.json \
	contrib/devices/msix.json

# For Wireshark; where its plugins are depends on its version, so the user copies it.
wiresharkdir = $(docdir)/wireshark
dist_wireshark_DATA = contrib/wireshark/vfio-user.lua

EXTRA_DIST += contrib/quickstart.sh

# bash finds a completion by the command's name.
bashcompletiondir = @bashcompletiondir@
bashcompletion_DATA = contrib/completions/vfuctl
EXTRA_DIST += contrib/completions/vfuctl.bash
CLEANFILES += contrib/completions/vfuctl
contrib/completions/vfuctl: contrib/completions/vfuctl.bash
	$(AM_V_GEN)$(MKDIR_P) $(@D) && cp $(srcdir)/contrib/completions/vfuctl.bash $@

zshcompletiondir = $(datadir)/zsh/site-functions
dist_zshcompletion_DATA = contrib/completions/_vfuctl

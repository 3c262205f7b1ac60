# SPDX-License-Identifier: BSD-3-Clause
bin_PROGRAMS += vfuctl
vfuctl_SOURCES = ctl/ctl.h ctl/dump_config.c ctl/main.c ctl/reload.c ctl/status.c \
	ctl/trigger_irq.c
vfuctl_CFLAGS = $(AM_CFLAGS) $(JSON_CFLAGS)
vfuctl_LDADD = libproto.a $(JSON_LIBS)

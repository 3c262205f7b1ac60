# SPDX-License-Identifier: BSD-3-Clause
bin_PROGRAMS += vfuctl
vfuctl_SOURCES = \
	ctl/capture.c \
	ctl/capture_file.c ctl/capture_file.h \
	ctl/connection.c ctl/ctl.h \
	ctl/dump_config.c \
	ctl/format.c ctl/format.h \
	ctl/instances.c \
	ctl/load.c \
	ctl/log_level.c \
	ctl/main.c \
	ctl/migrate.c \
	ctl/monitor.c \
	ctl/openmetrics.c ctl/openmetrics.h \
	ctl/options.c \
	ctl/quit.c \
	ctl/reload.c \
	ctl/reply.c \
	ctl/reset.c \
	ctl/rows.c ctl/rows.h \
	ctl/save.c \
	ctl/stats.c \
	ctl/status.c \
	ctl/trigger_irq.c
vfuctl_CFLAGS = $(AM_CFLAGS) $(JSON_CFLAGS)
vfuctl_LDADD = libproto.a $(JSON_LIBS) $(ZLIB_LIBS) $(DEFLATE_LIBS)

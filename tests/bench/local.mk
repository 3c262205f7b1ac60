# SPDX-License-Identifier: BSD-3-Clause
# `make bench`: the daemon beside the least that its work can cost, on one CPU. About 75 s, never
# part of `make check`: it prints a table and judges nothing.
EXTRA_PROGRAMS += tests/bench/bench
tests_bench_bench_SOURCES = \
	tests/bench/bar1.c tests/bench/bar1.h \
	tests/bench/bench.c \
	tests/bench/copier.c tests/bench/copier.h \
	tests/bench/floor.c tests/bench/floor.h \
	tests/bench/handover.c tests/bench/handover.h \
	tests/bench/keep.c tests/bench/keep.h \
	tests/bench/manager.c tests/bench/manager.h \
	tests/bench/measure.c tests/bench/measure.h \
	tests/bench/migration.c tests/bench/migration.h \
	tests/bench/reader.c tests/bench/reader.h \
	tests/bench/rings.c tests/bench/rings.h \
	tests/bench/stats.c tests/bench/stats.h \
	tests/bench/table.c tests/bench/table.h \
	tests/bench/target.c tests/bench/target.h \
	tests/bench/traffic.c tests/bench/traffic.h \
	contrib/vfu-client/doorbell.c contrib/vfu-client/doorbell.h contrib/vfu-client/registers.h
tests_bench_bench_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/contrib/vfu-client
tests_bench_bench_CFLAGS = $(AM_CFLAGS) $(JSON_CFLAGS)
tests_bench_bench_LDADD = libproto.a $(JSON_LIBS) -lpthread
CLEANFILES += tests/bench/bench$(EXEEXT)

bench: $(BUILT_SOURCES)
	$(MAKE) $(AM_MAKEFLAGS) tests/bench/bench$(EXEEXT) vfio-userd$(EXEEXT) vfuctl$(EXEEXT)
	VFIO_USERD='$(abs_builddir)/vfio-userd$(EXEEXT)' \
	  VFUCTL='$(abs_builddir)/vfuctl$(EXEEXT)' ./tests/bench/bench$(EXEEXT)
.PHONY: bench

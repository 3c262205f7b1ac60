# SPDX-License-Identifier: BSD-3-Clause
# `make check` replays the corpus; `make fuzz` looks for more with libFuzzer.
FUZZ_DRIVER = tests/fuzz/driver.c tests/fuzz/fuzz.h

check_PROGRAMS += tests/fuzz/replay_message tests/fuzz/replay_version \
	tests/fuzz/replay_stream tests/fuzz/replay_config \
	tests/fuzz/replay_state
TESTS += tests/fuzz/replay.sh
EXTRA_DIST += tests/fuzz/replay.sh tests/fuzz/run.sh tests/fuzz/corpus

tests_fuzz_replay_message_SOURCES = $(FUZZ_DRIVER) tests/fuzz/fuzz_message.c
tests_fuzz_replay_message_CPPFLAGS = $(TEST_CPPFLAGS)
tests_fuzz_replay_message_CFLAGS = $(TEST_CFLAGS)
tests_fuzz_replay_message_LDADD = $(TEST_LIBS)

tests_fuzz_replay_version_SOURCES = $(FUZZ_DRIVER) tests/fuzz/fuzz_version.c
tests_fuzz_replay_version_CPPFLAGS = $(TEST_CPPFLAGS)
tests_fuzz_replay_version_CFLAGS = $(TEST_CFLAGS)
tests_fuzz_replay_version_LDADD = $(TEST_LIBS)

tests_fuzz_replay_stream_SOURCES = $(FUZZ_DRIVER) tests/fuzz/fuzz_stream.c
tests_fuzz_replay_stream_CPPFLAGS = $(TEST_CPPFLAGS)
tests_fuzz_replay_stream_CFLAGS = $(TEST_CFLAGS)
tests_fuzz_replay_stream_LDADD = $(TEST_LIBS)

tests_fuzz_replay_config_SOURCES = $(FUZZ_DRIVER) tests/fuzz/fuzz_config.c
tests_fuzz_replay_config_CPPFLAGS = $(TEST_CPPFLAGS)
tests_fuzz_replay_config_CFLAGS = $(TEST_CFLAGS)
tests_fuzz_replay_config_LDADD = $(TEST_LIBS)

tests_fuzz_replay_state_SOURCES = $(FUZZ_DRIVER) tests/fuzz/fuzz_state.c
tests_fuzz_replay_state_CPPFLAGS = $(TEST_CPPFLAGS)
tests_fuzz_replay_state_CFLAGS = $(TEST_CFLAGS)
tests_fuzz_replay_state_LDADD = $(TEST_LIBS)

# `make fuzz FUZZ_SECONDS=600 FUZZ_TARGETS=stream`
FUZZ_CC = clang-14
FUZZ_SECONDS = 60
FUZZ_TARGETS = message version stream config state
FUZZ_FILES = $(addprefix $(srcdir)/, $(filter %.c, $(libproto_a_SOURCES) \
	$(filter daemon/device/%, $(libdaemon_a_SOURCES))) \
	daemon/config.c daemon/config_file.c daemon/config_json.c \
	daemon/migrate/content.c daemon/migrate/loading.c daemon/migrate/staging.c \
	daemon/log.c)

fuzz: $(BUILT_SOURCES)
	@top_srcdir='$(srcdir)' top_builddir='$(top_builddir)' FUZZ_CC='$(FUZZ_CC)' \
	FUZZ_SECONDS='$(FUZZ_SECONDS)' FUZZ_TARGETS='$(FUZZ_TARGETS)' \
	FUZZ_CPPFLAGS='$(AM_CPPFLAGS) $(JSON_CFLAGS)' FUZZ_FILES='$(FUZZ_FILES)' \
	FUZZ_LIBS='$(JSON_LIBS) $(ZLIB_LIBS) $(DEFLATE_LIBS)' $(srcdir)/tests/fuzz/run.sh
.PHONY: fuzz

CLEANFILES += tests/fuzz/fuzz_message tests/fuzz/fuzz_version tests/fuzz/fuzz_stream \
	tests/fuzz/fuzz_config tests/fuzz/fuzz_state tests/fuzz/fuzz_message.log \
	tests/fuzz/fuzz_version.log tests/fuzz/fuzz_state.log \
	tests/fuzz/fuzz_stream.log tests/fuzz/fuzz_config.log

# What libFuzzer found, to be looked at and made part of the corpus by hand.
clean-local: clean-fuzz
clean-fuzz:
	rm -rf tests/fuzz/found
.PHONY: clean-fuzz

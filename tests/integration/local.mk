# SPDX-License-Identifier: BSD-3-Clause
# Real processes: the daemon, and clients of several kinds.
INTEGRATION_HARNESS = tests/integration/harness.c tests/integration/harness.h \
	tests/integration/live_kit.h

check_PROGRAMS += tests/integration/test_replay
TESTS += tests/integration/test_replay
tests_integration_test_replay_SOURCES = tests/integration/test_replay.c $(INTEGRATION_HARNESS)
tests_integration_test_replay_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_replay_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_replay_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_hostile
TESTS += tests/integration/test_hostile
tests_integration_test_hostile_SOURCES = tests/integration/test_hostile.c $(INTEGRATION_HARNESS)
tests_integration_test_hostile_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_hostile_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_hostile_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_live
TESTS += tests/integration/test_live
tests_integration_test_live_SOURCES = tests/integration/test_live.c $(INTEGRATION_HARNESS)
tests_integration_test_live_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_live_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_live_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_irq_live
TESTS += tests/integration/test_irq_live
tests_integration_test_irq_live_SOURCES = tests/integration/test_irq_live.c $(INTEGRATION_HARNESS)
tests_integration_test_irq_live_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_irq_live_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_irq_live_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_migration_live
TESTS += tests/integration/test_migration_live
tests_integration_test_migration_live_SOURCES = tests/integration/test_migration_live.c $(INTEGRATION_HARNESS)
tests_integration_test_migration_live_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_migration_live_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_migration_live_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_dma_live
TESTS += tests/integration/test_dma_live
tests_integration_test_dma_live_SOURCES = tests/integration/test_dma_live.c $(INTEGRATION_HARNESS)
tests_integration_test_dma_live_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_dma_live_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_dma_live_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_interop
TESTS += tests/integration/test_interop
tests_integration_test_interop_SOURCES = tests/integration/test_interop.c \
	tests/integration/sample_client.c tests/integration/sample_client.h $(INTEGRATION_HARNESS)
tests_integration_test_interop_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_interop_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_interop_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_limits
TESTS += tests/integration/test_limits
tests_integration_test_limits_SOURCES = tests/integration/test_limits.c $(INTEGRATION_HARNESS)
tests_integration_test_limits_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_limits_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_limits_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_stop
TESTS += tests/integration/test_stop
tests_integration_test_stop_SOURCES = tests/integration/test_stop.c $(INTEGRATION_HARNESS)
tests_integration_test_stop_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_stop_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_stop_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_reload
TESTS += tests/integration/test_reload
tests_integration_test_reload_SOURCES = tests/integration/test_reload.c $(INTEGRATION_HARNESS)
tests_integration_test_reload_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_reload_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_reload_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_control
TESTS += tests/integration/test_control
tests_integration_test_control_SOURCES = tests/integration/test_control.c \
	tests/integration/control_kit.h $(INTEGRATION_HARNESS)
tests_integration_test_control_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_control_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_control_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_control_hostile
TESTS += tests/integration/test_control_hostile
tests_integration_test_control_hostile_SOURCES = tests/integration/test_control_hostile.c \
	tests/integration/control_kit.h \
	tests/integration/guest_latency.c tests/integration/guest_latency.h $(INTEGRATION_HARNESS)
tests_integration_test_control_hostile_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_control_hostile_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_control_hostile_LDADD = $(TEST_LIBS)

# Of doorbell-vmm, which skips what it cannot do here.
TESTS += tests/integration/test_doorbell_vmm.sh
EXTRA_DIST += tests/integration/test_doorbell_vmm.sh

# Handovers between daemons.
HANDOVER_KIT = tests/integration/handover_kit.c tests/integration/handover_kit.h \
	$(INTEGRATION_HARNESS)

check_PROGRAMS += tests/integration/test_handover tests/integration/test_handover_faults \
	tests/integration/test_handover_content tests/integration/test_handover_garbage
TESTS += tests/integration/test_handover tests/integration/test_handover_faults \
	tests/integration/test_handover_content tests/integration/test_handover_garbage
tests_integration_test_handover_garbage_SOURCES = tests/integration/test_handover_garbage.c \
	tests/integration/control_kit.h $(HANDOVER_KIT)
tests_integration_test_handover_garbage_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_handover_garbage_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_handover_garbage_LDADD = $(TEST_LIBS)

tests_integration_test_handover_SOURCES = tests/integration/test_handover.c \
	tests/integration/control_kit.h $(HANDOVER_KIT)
tests_integration_test_handover_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_handover_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_handover_LDADD = $(TEST_LIBS)

tests_integration_test_handover_faults_SOURCES = tests/integration/test_handover_faults.c \
	tests/integration/control_kit.h $(HANDOVER_KIT)
tests_integration_test_handover_faults_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_handover_faults_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_handover_faults_LDADD = $(TEST_LIBS)

tests_integration_test_handover_content_SOURCES = tests/integration/test_handover_content.c \
	$(HANDOVER_KIT)
tests_integration_test_handover_content_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_handover_content_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_handover_content_LDADD = $(TEST_LIBS)

# Needs libsystemd in the daemon.
if HAVE_LIBSYSTEMD
check_PROGRAMS += tests/integration/test_service
TESTS += tests/integration/test_service
endif
tests_integration_test_service_SOURCES = tests/integration/test_service.c $(INTEGRATION_HARNESS)
tests_integration_test_service_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_service_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_service_LDADD = $(TEST_LIBS)

TESTS += tests/integration/test_migrate.sh
EXTRA_DIST += tests/integration/test_migrate.sh

# A server that answers vfuctl what a test wants.
check_PROGRAMS += tests/integration/fake_varlink
tests_integration_fake_varlink_SOURCES = tests/integration/fake_varlink.c
tests_integration_fake_varlink_CFLAGS = $(AM_CFLAGS) $(JSON_CFLAGS)
tests_integration_fake_varlink_LDADD = libproto.a $(JSON_LIBS)

TESTS += tests/integration/test_completion.sh tests/integration/test_vfuctl.sh \
	tests/integration/test_vfuctl_format.sh
TESTS += tests/integration/test_cli.sh tests/integration/test_man.sh tests/integration/test_walk.sh

TESTS += tests/integration/test_doorbell_speed.sh tests/integration/test_migrate_client.sh \
	tests/integration/test_no_fds.sh
EXTRA_DIST += tests/integration/play.sh tests/integration/test_doorbell_speed.sh \
	tests/integration/test_migrate_client.sh tests/integration/test_no_fds.sh

TESTS += tests/integration/test_capture.sh tests/integration/test_dissector.sh tests/integration/test_lspci.sh
EXTRA_DIST += tests/integration/test_capture.sh tests/integration/test_dissector.sh tests/integration/test_lspci.sh

EXTRA_DIST += tests/integration/lib.sh tests/integration/test_cli.sh \
	tests/integration/test_completion.sh tests/integration/test_man.sh \
	tests/integration/test_vfuctl.sh tests/integration/test_vfuctl_format.sh \
	tests/integration/test_walk.sh \
	tests/integration/replay/cloud-hypervisor.txt \
	tests/integration/replay/libvfio-user.txt \
	tests/integration/replay/qemu.txt

check_PROGRAMS += tests/integration/test_save_load
TESTS += tests/integration/test_save_load
tests_integration_test_save_load_SOURCES = tests/integration/test_save_load.c $(INTEGRATION_HARNESS)
tests_integration_test_save_load_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_save_load_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_save_load_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_handover_late
TESTS += tests/integration/test_handover_late
tests_integration_test_handover_late_SOURCES = tests/integration/test_handover_late.c \
	tests/integration/control_kit.h $(HANDOVER_KIT)
tests_integration_test_handover_late_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_handover_late_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_handover_late_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_doorbell_live
TESTS += tests/integration/test_doorbell_live
tests_integration_test_doorbell_live_SOURCES = tests/integration/test_doorbell_live.c \
	tests/integration/control_kit.h $(HANDOVER_KIT)
tests_integration_test_doorbell_live_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_doorbell_live_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_doorbell_live_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_concurrency
TESTS += tests/integration/test_concurrency
tests_integration_test_concurrency_SOURCES = tests/integration/test_concurrency.c \
	tests/integration/raw_peer.c tests/integration/raw_peer.h $(INTEGRATION_HARNESS)
tests_integration_test_concurrency_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_concurrency_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_concurrency_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_overload
TESTS += tests/integration/test_overload
tests_integration_test_overload_SOURCES = tests/integration/test_overload.c \
	tests/integration/raw_peer.c tests/integration/raw_peer.h $(INTEGRATION_HARNESS)
tests_integration_test_overload_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_overload_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_overload_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_handover_twin
TESTS += tests/integration/test_handover_twin
tests_integration_test_handover_twin_SOURCES = tests/integration/test_handover_twin.c \
	tests/integration/control_kit.h tests/integration/raw_peer.c tests/integration/raw_peer.h \
	$(HANDOVER_KIT)
tests_integration_test_handover_twin_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_handover_twin_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_handover_twin_LDADD = $(TEST_LIBS)

INTEGRATION_KEEP = tests/integration/keep_kit.c tests/integration/keep_kit.h \
	tests/integration/keep_skip.c \
	$(INTEGRATION_HARNESS)

check_PROGRAMS += tests/integration/test_keep
TESTS += tests/integration/test_keep
tests_integration_test_keep_SOURCES = tests/integration/test_keep.c $(INTEGRATION_KEEP)
tests_integration_test_keep_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_keep_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_keep_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_keep_handover
TESTS += tests/integration/test_keep_handover
tests_integration_test_keep_handover_SOURCES = tests/integration/test_keep_handover.c $(INTEGRATION_KEEP)
tests_integration_test_keep_handover_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_keep_handover_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_keep_handover_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_keep_held
TESTS += tests/integration/test_keep_held
tests_integration_test_keep_held_SOURCES = tests/integration/test_keep_held.c $(INTEGRATION_KEEP)
tests_integration_test_keep_held_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_keep_held_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_keep_held_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_keep_blocks
TESTS += tests/integration/test_keep_blocks
tests_integration_test_keep_blocks_SOURCES = tests/integration/test_keep_blocks.c \
	tests/integration/block_file.c tests/integration/block_file.h $(INTEGRATION_KEEP)
tests_integration_test_keep_blocks_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_keep_blocks_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_keep_blocks_LDADD = $(TEST_LIBS)
EXTRA_DIST += tests/integration/blocks/1.3-client.txt tests/integration/blocks/1.3-idle.txt

check_PROGRAMS += tests/integration/test_keep_client
TESTS += tests/integration/test_keep_client
tests_integration_test_keep_client_SOURCES = tests/integration/test_keep_client.c \
	tests/integration/keep_load.c tests/integration/keep_load.h $(INTEGRATION_KEEP)
tests_integration_test_keep_client_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_keep_client_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_keep_client_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_keep_state
TESTS += tests/integration/test_keep_state
tests_integration_test_keep_state_SOURCES = tests/integration/test_keep_state.c $(INTEGRATION_KEEP)
tests_integration_test_keep_state_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_keep_state_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_keep_state_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_keep_refusals
TESTS += tests/integration/test_keep_refusals
tests_integration_test_keep_refusals_SOURCES = tests/integration/test_keep_refusals.c $(INTEGRATION_KEEP)
tests_integration_test_keep_refusals_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_keep_refusals_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_keep_refusals_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_keep_fault
TESTS += tests/integration/test_keep_fault
tests_integration_test_keep_fault_SOURCES = tests/integration/test_keep_fault.c \
	tests/e2e/load/fault.h $(INTEGRATION_KEEP)
tests_integration_test_keep_fault_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_keep_fault_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_keep_fault_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_keep_stages
TESTS += tests/integration/test_keep_stages
tests_integration_test_keep_stages_SOURCES = tests/integration/test_keep_stages.c $(INTEGRATION_KEEP)
tests_integration_test_keep_stages_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_keep_stages_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_keep_stages_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/integration/test_keep_points
TESTS += tests/integration/test_keep_points
tests_integration_test_keep_points_SOURCES = tests/integration/test_keep_points.c \
	tests/integration/keep_load.c tests/integration/keep_load.h $(INTEGRATION_KEEP)
tests_integration_test_keep_points_CPPFLAGS = $(TEST_CPPFLAGS)
tests_integration_test_keep_points_CFLAGS = $(TEST_CFLAGS)
tests_integration_test_keep_points_LDADD = $(TEST_LIBS)

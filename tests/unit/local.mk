# SPDX-License-Identifier: BSD-3-Clause
# The device, its description and its control methods.
check_PROGRAMS += tests/unit/test_pci
TESTS += tests/unit/test_pci
tests_unit_test_pci_SOURCES = tests/unit/test_pci.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_pci_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_pci_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_pci_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_irq
TESTS += tests/unit/test_irq
tests_unit_test_irq_SOURCES = tests/unit/test_irq.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_irq_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_irq_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_irq_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_irq_set
TESTS += tests/unit/test_irq_set
tests_unit_test_irq_set_SOURCES = tests/unit/test_irq_set.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_irq_set_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_irq_set_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_irq_set_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_irq_ways
TESTS += tests/unit/test_irq_ways
tests_unit_test_irq_ways_SOURCES = tests/unit/test_irq_ways.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_irq_ways_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_irq_ways_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_irq_ways_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_msix
TESTS += tests/unit/test_msix
tests_unit_test_msix_SOURCES = tests/unit/test_msix.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_msix_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_msix_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_msix_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_doorbell
TESTS += tests/unit/test_doorbell
tests_unit_test_doorbell_SOURCES = tests/unit/test_doorbell.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_doorbell_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_doorbell_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_doorbell_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_dma
TESTS += tests/unit/test_dma
tests_unit_test_dma_SOURCES = tests/unit/test_dma.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_dma_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_dma_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_dma_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_dma_message
TESTS += tests/unit/test_dma_message
tests_unit_test_dma_message_SOURCES = tests/unit/test_dma_message.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_dma_message_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_dma_message_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_dma_message_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_timer
TESTS += tests/unit/test_timer
tests_unit_test_timer_SOURCES = tests/unit/test_timer.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_timer_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_timer_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_timer_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_device
TESTS += tests/unit/test_device
tests_unit_test_device_SOURCES = tests/unit/test_device.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_device_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_device_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_device_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_device_state
TESTS += tests/unit/test_device_state
tests_unit_test_device_state_SOURCES = tests/unit/test_device_state.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_device_state_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_device_state_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_device_state_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_config
TESTS += tests/unit/test_config
tests_unit_test_config_SOURCES = tests/unit/test_config.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_config_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_config_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_config_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_config_refused
TESTS += tests/unit/test_config_refused
tests_unit_test_config_refused_SOURCES = tests/unit/test_config_refused.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_config_refused_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_config_refused_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_config_refused_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_description
TESTS += tests/unit/test_description
tests_unit_test_description_SOURCES = tests/unit/test_description.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_description_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_description_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_description_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_reload
TESTS += tests/unit/test_reload
tests_unit_test_reload_SOURCES = tests/unit/test_reload.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_reload_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_reload_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_reload_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_session
TESTS += tests/unit/test_session
tests_unit_test_session_SOURCES = tests/unit/test_session.c tests/unit/session_kit.h \
	tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_session_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_session_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_session_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_client_twin
TESTS += tests/unit/test_client_twin
tests_unit_test_client_twin_SOURCES = tests/unit/test_client_twin.c tests/unit/fake_server.h
tests_unit_test_client_twin_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_client_twin_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_client_twin_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_server_commands tests/unit/test_twin
TESTS += tests/unit/test_server_commands tests/unit/test_twin
tests_unit_test_server_commands_SOURCES = tests/unit/test_server_commands.c \
	tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_server_commands_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_server_commands_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_server_commands_LDADD = $(TEST_LIBS)
tests_unit_test_twin_SOURCES = tests/unit/test_twin.c tests/unit/session_kit.h \
	tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_twin_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_twin_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_twin_LDADD = $(TEST_LIBS)

# Methods on fakes, each reply checked against the interface's text.
METHODS_KIT = \
	tests/unit/interface_text.c tests/unit/interface_text.h \
	tests/unit/methods_kit.c tests/unit/methods_kit.h

check_PROGRAMS += tests/unit/test_methods
TESTS += tests/unit/test_methods
tests_unit_test_methods_SOURCES = tests/unit/test_methods.c \
	$(METHODS_KIT) tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_methods_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_methods_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_methods_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_methods_act
TESTS += tests/unit/test_methods_act
tests_unit_test_methods_act_SOURCES = tests/unit/test_methods_act.c \
	$(METHODS_KIT) tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_methods_act_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_methods_act_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_methods_act_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_interface
TESTS += tests/unit/test_interface
tests_unit_test_interface_SOURCES = tests/unit/test_interface.c \
	$(METHODS_KIT) tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_interface_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_interface_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_interface_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_control
TESTS += tests/unit/test_control
tests_unit_test_control_SOURCES = tests/unit/test_control.c \
	$(METHODS_KIT) tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_control_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_control_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_control_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_monitor
TESTS += tests/unit/test_monitor
tests_unit_test_monitor_SOURCES = tests/unit/test_monitor.c \
	$(METHODS_KIT) tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_monitor_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_monitor_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_monitor_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_stats
TESTS += tests/unit/test_stats
tests_unit_test_stats_SOURCES = tests/unit/test_stats.c \
	tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_stats_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_stats_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_stats_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_device_events
TESTS += tests/unit/test_device_events
tests_unit_test_device_events_SOURCES = tests/unit/test_device_events.c \
	tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_device_events_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_device_events_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_device_events_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_log
TESTS += tests/unit/test_log
tests_unit_test_log_SOURCES = tests/unit/test_log.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_log_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_log_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_log_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_instance
TESTS += tests/unit/test_instance
tests_unit_test_instance_SOURCES = tests/unit/test_instance.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_instance_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_instance_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_instance_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_heartbeat
TESTS += tests/unit/test_heartbeat
tests_unit_test_heartbeat_SOURCES = tests/unit/test_heartbeat.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_heartbeat_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_heartbeat_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_heartbeat_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_service_store
TESTS += tests/unit/test_service_store
tests_unit_test_service_store_SOURCES = tests/unit/test_service_store.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_service_store_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_service_store_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_service_store_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_journal
TESTS += tests/unit/test_journal
tests_unit_test_journal_SOURCES = tests/unit/test_journal.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_journal_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_journal_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_journal_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_notifier
TESTS += tests/unit/test_notifier
tests_unit_test_notifier_SOURCES = tests/unit/test_notifier.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_notifier_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_notifier_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_notifier_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_message tests/unit/test_version tests/unit/test_stream \
	tests/unit/test_stream_send tests/unit/test_client tests/unit/test_varlink \
	tests/unit/test_peer
TESTS += tests/unit/test_message tests/unit/test_version tests/unit/test_stream \
	tests/unit/test_stream_send tests/unit/test_client tests/unit/test_varlink \
	tests/unit/test_peer tests/unit/test_headers.sh
EXTRA_DIST += tests/unit/test_headers.sh

tests_unit_test_message_SOURCES = tests/unit/test_message.c
tests_unit_test_message_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_message_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_message_LDADD = $(TEST_LIBS)

tests_unit_test_version_SOURCES = tests/unit/test_version.c
tests_unit_test_version_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_version_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_version_LDADD = $(TEST_LIBS)

tests_unit_test_stream_SOURCES = tests/unit/test_stream.c tests/unit/stream_kit.h
tests_unit_test_stream_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_stream_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_stream_LDADD = $(TEST_LIBS)

tests_unit_test_stream_send_SOURCES = tests/unit/test_stream_send.c tests/unit/stream_kit.h
tests_unit_test_stream_send_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_stream_send_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_stream_send_LDADD = $(TEST_LIBS)

tests_unit_test_client_SOURCES = tests/unit/test_client.c tests/unit/fake_server.h
tests_unit_test_client_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_client_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_client_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_client_io
TESTS += tests/unit/test_client_io
tests_unit_test_client_io_SOURCES = tests/unit/test_client_io.c tests/unit/fake_server.h
tests_unit_test_client_io_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_client_io_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_client_io_LDADD = $(TEST_LIBS)

tests_unit_test_varlink_SOURCES = tests/unit/test_varlink.c
tests_unit_test_varlink_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_varlink_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_varlink_LDADD = $(TEST_LIBS)

tests_unit_test_peer_SOURCES = tests/unit/test_peer.c
tests_unit_test_peer_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_peer_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_peer_LDADD = $(TEST_LIBS)

# Captures.
check_PROGRAMS += tests/unit/test_capture tests/unit/test_capture_file tests/unit/test_pcapng \
	tests/unit/test_stream_tap tests/unit/test_varlink_raw
TESTS += tests/unit/test_capture tests/unit/test_capture_file tests/unit/test_pcapng \
	tests/unit/test_stream_tap tests/unit/test_varlink_raw

tests_unit_test_capture_SOURCES = tests/unit/test_capture.c
tests_unit_test_capture_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_capture_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_capture_LDADD = $(TEST_LIBS)

tests_unit_test_capture_file_SOURCES = tests/unit/test_capture_file.c ctl/capture_file.c \
	ctl/capture_file.h
tests_unit_test_capture_file_CPPFLAGS = $(TEST_CPPFLAGS) -I$(top_srcdir)/ctl
tests_unit_test_capture_file_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_capture_file_LDADD = $(TEST_LIBS)

tests_unit_test_pcapng_SOURCES = tests/unit/test_pcapng.c
tests_unit_test_pcapng_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_pcapng_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_pcapng_LDADD = $(TEST_LIBS)

tests_unit_test_stream_tap_SOURCES = tests/unit/test_stream_tap.c tests/unit/stream_kit.h
tests_unit_test_stream_tap_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_stream_tap_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_stream_tap_LDADD = $(TEST_LIBS)

tests_unit_test_varlink_raw_SOURCES = tests/unit/test_varlink_raw.c
tests_unit_test_varlink_raw_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_varlink_raw_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_varlink_raw_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_dirty_log
TESTS += tests/unit/test_dirty_log
tests_unit_test_dirty_log_SOURCES = tests/unit/test_dirty_log.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_dirty_log_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_dirty_log_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_dirty_log_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_device_stop
TESTS += tests/unit/test_device_stop
tests_unit_test_device_stop_SOURCES = tests/unit/test_device_stop.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_device_stop_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_device_stop_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_device_stop_LDADD = $(TEST_LIBS)

# State that moves.
MIGRATE_KIT = tests/unit/migrate_kit.h tests/unit/fakes.c tests/unit/fakes.h
check_PROGRAMS += tests/unit/test_state_stream tests/unit/test_client_migration \
	tests/unit/test_content tests/unit/test_saving tests/unit/test_loading \
	tests/unit/test_migration
TESTS += tests/unit/test_state_stream tests/unit/test_client_migration \
	tests/unit/test_content tests/unit/test_saving tests/unit/test_loading \
	tests/unit/test_migration

tests_unit_test_state_stream_SOURCES = tests/unit/test_state_stream.c
tests_unit_test_state_stream_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_state_stream_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_state_stream_LDADD = $(TEST_LIBS)

tests_unit_test_client_migration_SOURCES = tests/unit/test_client_migration.c tests/unit/fake_server.h
tests_unit_test_client_migration_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_client_migration_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_client_migration_LDADD = $(TEST_LIBS)

tests_unit_test_content_SOURCES = tests/unit/test_content.c $(MIGRATE_KIT)
tests_unit_test_content_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_content_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_content_LDADD = $(TEST_LIBS)

tests_unit_test_saving_SOURCES = tests/unit/test_saving.c $(MIGRATE_KIT)
tests_unit_test_saving_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_saving_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_saving_LDADD = $(TEST_LIBS)

tests_unit_test_loading_SOURCES = tests/unit/test_loading.c $(MIGRATE_KIT)
tests_unit_test_loading_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_loading_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_loading_LDADD = $(TEST_LIBS)

tests_unit_test_migration_SOURCES = tests/unit/test_migration.c $(MIGRATE_KIT)
tests_unit_test_migration_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_migration_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_migration_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_transfers
TESTS += tests/unit/test_transfers
tests_unit_test_transfers_SOURCES = tests/unit/test_transfers.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_transfers_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_transfers_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_transfers_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_varlink_fds
TESTS += tests/unit/test_varlink_fds
tests_unit_test_varlink_fds_SOURCES = tests/unit/test_varlink_fds.c
tests_unit_test_varlink_fds_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_varlink_fds_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_varlink_fds_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_stream_rest
TESTS += tests/unit/test_stream_rest
tests_unit_test_stream_rest_SOURCES = tests/unit/test_stream_rest.c tests/unit/stream_kit.h
tests_unit_test_stream_rest_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_stream_rest_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_stream_rest_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_parcel
TESTS += tests/unit/test_parcel
tests_unit_test_parcel_SOURCES = tests/unit/test_parcel.c tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_parcel_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_parcel_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_parcel_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_migration_kept
TESTS += tests/unit/test_migration_kept
tests_unit_test_migration_kept_SOURCES = tests/unit/test_migration_kept.c tests/unit/kept_kit.h \
	$(MIGRATE_KIT)
tests_unit_test_migration_kept_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_migration_kept_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_migration_kept_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_saving_kept
TESTS += tests/unit/test_saving_kept
tests_unit_test_saving_kept_SOURCES = tests/unit/test_saving_kept.c tests/unit/kept_kit.h $(MIGRATE_KIT)
tests_unit_test_saving_kept_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_saving_kept_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_saving_kept_LDADD = $(TEST_LIBS)

HANDOVER_SIDES = tests/unit/handover_sides.h $(MIGRATE_KIT)

check_PROGRAMS += tests/unit/test_handover_rules
TESTS += tests/unit/test_handover_rules
tests_unit_test_handover_rules_SOURCES = tests/unit/test_handover_rules.c $(HANDOVER_SIDES)
tests_unit_test_handover_rules_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_handover_rules_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_handover_rules_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_handover_token
TESTS += tests/unit/test_handover_token
tests_unit_test_handover_token_SOURCES = tests/unit/test_handover_token.c $(HANDOVER_SIDES)
tests_unit_test_handover_token_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_handover_token_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_handover_token_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_session_moves
TESTS += tests/unit/test_session_moves
tests_unit_test_session_moves_SOURCES = tests/unit/test_session_moves.c tests/unit/session_kit.h \
	tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_session_moves_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_session_moves_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_session_moves_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_stream_deaths
TESTS += tests/unit/test_stream_deaths
tests_unit_test_stream_deaths_SOURCES = tests/unit/test_stream_deaths.c tests/unit/stream_kit.h
tests_unit_test_stream_deaths_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_stream_deaths_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_stream_deaths_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_stream_keep
TESTS += tests/unit/test_stream_keep
tests_unit_test_stream_keep_SOURCES = tests/unit/test_stream_keep.c tests/unit/stream_kit.h
tests_unit_test_stream_keep_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_stream_keep_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_stream_keep_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_fd_store
TESTS += tests/unit/test_fd_store
tests_unit_test_fd_store_SOURCES = tests/unit/test_fd_store.c
tests_unit_test_fd_store_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_fd_store_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_fd_store_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_evidence
TESTS += tests/unit/test_evidence
tests_unit_test_evidence_SOURCES = tests/unit/test_evidence.c \
	tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_evidence_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_evidence_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_evidence_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_dma_table
TESTS += tests/unit/test_dma_table
tests_unit_test_dma_table_SOURCES = tests/unit/test_dma_table.c tests/unit/dma_kit.h \
	tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_dma_table_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_dma_table_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_dma_table_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_device_keep
TESTS += tests/unit/test_device_keep
tests_unit_test_device_keep_SOURCES = tests/unit/test_device_keep.c tests/unit/keep_kit.h \
	tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_device_keep_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_device_keep_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_device_keep_LDADD = $(TEST_LIBS)

check_PROGRAMS += tests/unit/test_device_replay
TESTS += tests/unit/test_device_replay
tests_unit_test_device_replay_SOURCES = tests/unit/test_device_replay.c tests/unit/keep_kit.h \
	tests/unit/fakes.c tests/unit/fakes.h
tests_unit_test_device_replay_CPPFLAGS = $(TEST_CPPFLAGS)
tests_unit_test_device_replay_CFLAGS = $(TEST_CFLAGS)
tests_unit_test_device_replay_LDADD = $(TEST_LIBS)

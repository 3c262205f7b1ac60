/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The steps of the walk, in their order in the table of steps.c. Each relies on what those before
 * it have learnt and set up, and leaves no interrupt pending.
 */
#ifndef VFU_CLIENT_STEPS_H
#define VFU_CLIENT_STEPS_H

#include "walk.h"

/* Connects, unless w->client is there, and does all steps up to the first surprise. Returns the
 * number done, or -1. */
int steps_run(struct walk *w);

/* setup.c: what the server is and has. The first is what this client offers in VERSION. */
void setup_caps(const struct walk *w, struct version_caps *ours);
void step_version(struct walk *w);
void step_unknown_region(struct walk *w);
void step_unknown_command(struct walk *w);
void step_info(struct walk *w);
void step_regions(struct walk *w);
void step_mmap(struct walk *w);
void step_irq_info(struct walk *w);
void step_reset(struct walk *w);
void step_not_offered(struct walk *w);
void step_second_client(struct walk *w);
void step_leave(struct walk *w);

/* doorbell.c: what eventfds serve, and the doorbell. */
void step_io_fds(struct walk *w);
void step_doorbell(struct walk *w);

/* migration.c: features, states, data, and the dirty log; left out where that is not offered. */
void step_feature(struct walk *w);
void step_migration_states(struct walk *w);
void step_migration_data(struct walk *w);
void step_dirty_log(struct walk *w);

/* config_space.c: configuration space and power. */
void step_identity(struct walk *w);
void step_capabilities(struct walk *w);
void step_bar_sizing(struct walk *w);
void step_power(struct walk *w);

/* interrupts.c: the timer and all kinds of interrupts. */
void step_intx(struct walk *w);
void step_timer(struct walk *w);
void step_level(struct walk *w);
void step_mask(struct walk *w);
void step_unmask_eventfd(struct walk *w);
void step_intx_disable(struct walk *w);
void step_err_req(struct walk *w);
void step_msi(struct walk *w);

/* msix.c: the same with the table in a BAR. */
void step_msix(struct walk *w);

/* messages.c: interrupts by message, beside eventfds, with a connection of its own. */
void step_interrupt_messages(struct walk *w);

/* regions.c: ways to read and write BARs. */
void step_registers(struct walk *w);
void step_bar1_shared(struct walk *w);
void step_bar1_large(struct walk *w);
void step_posted(struct walk *w);
void step_write_multi(struct walk *w);
void step_pipelining(struct walk *w);

/* transfers.c: guest memory and the DMA engine. */
void step_dma_map(struct walk *w);
void step_bus_master(struct walk *w);
void step_dma_shared(struct walk *w);
void step_dma_message(struct walk *w);
void step_dma_across(struct walk *w);
void step_dma_errors(struct walk *w);
void step_dma_unmap(struct walk *w);

/* Has the engine write that many bytes of BAR1 to mapped guest memory, and waits for it. */
void transfers_to_guest(struct walk *w, uint64_t iova, uint32_t length);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
#include "steps.h"

#include <stdio.h>
#include <string.h>

static const struct step {
    const char *name;
    void (*run)(struct walk *w);
} steps[] = {
    { "VERSION", step_version },
    { "unknown region", step_unknown_region },
    { "unknown commands", step_unknown_command },
    { "GET_INFO", step_info },
    { "GET_REGION_INFO", step_regions },
    { "mapping", step_mmap },
    { "GET_IRQ_INFO", step_irq_info },
    { "GET_REGION_IO_FDS", step_io_fds },
    { "DEVICE_RESET", step_reset },
    { "identity", step_identity },
    { "capabilities", step_capabilities },
    { "BAR sizing", step_bar_sizing },
    { "registers", step_registers },
    { "DMA_MAP", step_dma_map },
    { "SET_IRQS, INTx", step_intx },
    { "timer", step_timer },
    { "level", step_level },
    { "mask, unmask", step_mask },
    { "unmask eventfd", step_unmask_eventfd },
    { "INTx Disable", step_intx_disable },
    { "SET_IRQS, ERR, REQ", step_err_req },
    { "SET_IRQS, MSI", step_msi },
    { "SET_IRQS, MSI-X", step_msix },
    { "BAR1, two ways", step_bar1_shared },
    { "BAR1, in one go", step_bar1_large },
    { "posted writes", step_posted },
    { "WRITE_MULTI", step_write_multi },
    { "pipelining", step_pipelining },
    { "doorbell", step_doorbell },
    { "Bus Master off", step_bus_master },
    { "DMA, shared", step_dma_shared },
    { "DMA, by message", step_dma_message },
    { "DMA, across", step_dma_across },
    { "DMA, refused", step_dma_errors },
    { "dirty log", step_dirty_log },
    { "DMA_UNMAP", step_dma_unmap },
    { "power", step_power },
    { "DEVICE_FEATURE", step_feature },
    { "migration states", step_migration_states },
    { "migration data", step_migration_data },
    { "not offered", step_not_offered },
    { "second client", step_second_client },
    { "interrupt messages", step_interrupt_messages },
    { "leaving", step_leave },
};

static int connect_to_server(struct walk *w)
{
    int err = guest_new(!w->no_fds, &w->guest);

    if (err != 0) {
        fprintf(stderr, "vfu-client: guest memory: %s\n", strerror(-err));
        return err;
    }
    if (w->client == NULL)
        err = client_connect(w->socket_path, &w->client);
    if (err != 0) {
        fprintf(stderr, "vfu-client: %s: %s\n", w->socket_path, strerror(-err));
        return err;
    }
    walk_attach(w);
    return 0;
}

int steps_run(struct walk *w)
{
    const unsigned n = sizeof(steps) / sizeof(steps[0]);

    if (connect_to_server(w) != 0)
        return -1;
    for (unsigned i = 0; i < n; i++) {
        walk_begin(w, i + 1, steps[i].name);
        steps[i].run(w);
        walk_expect_no_fds(w);
        fflush(stdout);
        if (walk_failed(w)) {
            fprintf(stderr, "vfu-client: step %u, %s: %s\n", w->step, w->name, w->failure);
            return -1;
        }
    }
    return (int)n;
}

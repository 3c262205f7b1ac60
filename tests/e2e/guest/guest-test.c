/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The guest's side of the end-to-end tests: runs the checks of one scenario and prints a line for
 * each, "ok NAME: detail" or "not ok NAME: expected X got Y", and the totals. The host's script
 * knows which checks it has to find: one that did not run fails there.
 *
 * Arguments: scenario=NAME and what is expected of the device (see struct expected).
 * Exit status: 0 all passed, 1 some failed, 2 could not start, 3 passed and wants a reboot.
 */
#include <stdio.h>
#include <string.h>

#include "checks.h"

#define FUNCTION_ADDRESS "0000:00:04.0"

struct check {
    const char *name;
    check_run *run;
    bool untouched; /* run on the device as it was found, not settled */
};

struct totals {
    unsigned passed;
    unsigned failed;
};

/* BAR1 before the first interrupt, which takes QEMU's mapping of it away for a second. */
static const struct check basic[] = {
    { "lspci-identity", check_lspci_identity, false },
    { "lspci-subsystem", check_lspci_subsystem, false },
    { "lspci-bars", check_lspci_bars, false },
    { "lspci-power", check_lspci_power, false },
    { "bar1-width-8", check_bar1_width8, false },
    { "bar1-width-4", check_bar1_width4, false },
    { "bar1-width-2", check_bar1_width2, false },
    { "bar1-width-1", check_bar1_width1, false },
    { "bar1-mixed", check_bar1_mixed, false },
    { "bar1-interrupt", check_bar1_interrupt, false },
    { "timer-ten", check_timer_ten, false },
    { "timer-quiet", check_timer_quiet, false },
    { "timer-past", check_timer_past, false },
    { "timer-disarm", check_timer_disarm, false },
    { "timer-seconds", check_timer_seconds, false },
    { "timer-halves", check_timer_halves, false },
    { "irq-enable", check_irq_enable, false },
    { "intx-disable", check_intx_disable, false },
    { "host-interrupt", check_host_interrupt, false },
    { "doorbell", check_doorbell, false },
    { "dma-master-off", check_dma_master_off, false },
    { "dma-from-guest", check_dma_from_guest, false },
    { "dma-to-guest", check_dma_to_guest, false },
    { "dma-pages", check_dma_pages, false },
    { "dma-small", check_dma_small, false },
    { "dma-interrupt", check_dma_interrupt, false },
    { "dma-unmapped", check_dma_unmapped, false },
    { "dma-outside-bar1", check_dma_outside_bar1, false },
    { "power-reads", check_power_reads, false },
    { "power-writes", check_power_writes, false },
    { "power-registers", check_power_registers, false },
    { "power-interrupt", check_power_interrupt, false },
    { NULL, NULL, false },
};

/* What may differ when guest memory is out of the device's reach. */
static const struct check dma[] = {
    { "bar1-width-8", check_bar1_width8, false },
    { "timer-ten", check_timer_ten, false },
    { "dma-master-off", check_dma_master_off, false },
    { "dma-from-guest", check_dma_from_guest, false },
    { "dma-to-guest", check_dma_to_guest, false },
    { "dma-pages", check_dma_pages, false },
    { "dma-small", check_dma_small, false },
    { "dma-interrupt", check_dma_interrupt, false },
    { "dma-unmapped", check_dma_unmapped, false },
    { "dma-outside-bar1", check_dma_outside_bar1, false },
    { NULL, NULL, false },
};

/* What may differ with another description. */
static const struct check described[] = {
    { "lspci-identity", check_lspci_identity, false },
    { "lspci-subsystem", check_lspci_subsystem, false },
    { "lspci-bars", check_lspci_bars, false },
    { "lspci-power", check_lspci_power, false },
    { "bar1-width-8", check_bar1_width8, false },
    { "bar1-mixed", check_bar1_mixed, false },
    { "timer-ten", check_timer_ten, false },
    { "timer-quiet", check_timer_quiet, false },
    { "dma-pages", check_dma_pages, false },
    { "power-interrupt", check_power_interrupt, false },
    { NULL, NULL, false },
};

/* The device moves meanwhile, and is all there in the end. */
static const struct check handover[] = {
    { "handover-loop", check_handover_loop, false },
    { "handover-mapped", check_handover_mapped, false },
    { "lspci-identity", check_lspci_identity, false },
    { "lspci-power", check_lspci_power, false },
    { "timer-ten", check_timer_ten, false },
    { "dma-pages", check_dma_pages, false },
    { "power-interrupt", check_power_interrupt, false },
    { NULL, NULL, false },
};

/* With vfio-pci; device_settle() is for uio_pci_generic. INTx before and after MSI-X. */
static const struct check msix[] = {
    { "lspci-msix", check_lspci_msix, true },
    { "intx-before", check_msix_intx, true },
    { "msix-timer-ten", check_msix_timer_ten, true },
    { "msix-host-interrupt", check_msix_host_interrupt, true },
    { "msix-dma", check_msix_dma, true },
    { "msix-pending", check_msix_pending, true },
    { "msix-masked", check_msix_masked, true },
    { "intx-after", check_msix_intx, true },
    { NULL, NULL, false },
};

static const struct check boot_one[] = {
    { "first-timer-ten", check_timer_ten, false },
    { "first-mark", check_boot_first, false },
    { NULL, NULL, false },
};

static const struct check boot_two[] = {
    { "again-reset", check_boot_reset, true },
    { "again-quiet", check_boot_quiet, true },
    { "again-kept", check_boot_kept, true },
    { "again-lspci-identity", check_lspci_identity, false },
    { "again-timer-ten", check_timer_ten, false },
    { "again-timer-quiet", check_timer_quiet, false },
    { "again-dma-unmapped", check_dma_unmapped, false },
    { NULL, NULL, false },
};

static const struct check *choose(const char *scenario, const struct device *device)
{
    if (strcmp(scenario, "basic") == 0) {
        return basic;
    }
    if (strcmp(scenario, "dma") == 0) {
        return dma;
    }
    if (strcmp(scenario, "described") == 0) {
        return described;
    }
    if (strcmp(scenario, "handover") == 0) {
        return handover;
    }
    if (strcmp(scenario, "msix") == 0) {
        return msix;
    }
    if (strcmp(scenario, "reboot") == 0) {
        return boot_is_marked(device) ? boot_two : boot_one;
    }
    if (strcmp(scenario, "again") == 0) {
        return boot_two;
    }
    return NULL;
}

static bool run_check(const struct check *check, struct guest *guest)
{
    struct report report = { "nothing" };
    bool passed = true;

    if (!check->untouched) {
        int rc = device_settle(&guest->device);

        passed = rc == 0 || report_error(&report, "settling the device", rc);
    }
    passed = passed && check->run(guest, &report);
    printf("%s %s: %s\n", passed ? "ok" : "not ok", check->name, report.detail);
    return passed;
}

static void run_checks(const struct check *checks, struct guest *guest, struct totals *totals)
{
    for (const struct check *check = checks; check->name != NULL; check++) {
        if (run_check(check, guest)) {
            totals->passed++;
        } else {
            totals->failed++;
        }
    }
}

static const char *argument(int argc, char **argv, const char *name, const char *otherwise)
{
    size_t length = strlen(name);

    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], name, length) == 0 && argv[i][length] == '=') {
            return argv[i] + length + 1;
        }
    }
    return otherwise;
}

static int run_scenario(struct guest *guest, const char *scenario)
{
    struct totals totals = { 0 };
    const struct check *checks = choose(scenario, &guest->device);

    if (checks == NULL) {
        printf("not ok start: expected a known scenario got %s\n", scenario);
        return 2;
    }
    run_checks(checks, guest, &totals);
    printf("guest-test: %u checks, %u ok, %u not ok\n", totals.passed + totals.failed,
           totals.passed, totals.failed);
    if (totals.failed > 0) {
        return 1;
    }
    return guest->reboot ? 3 : 0;
}

/* With the driver that the scenario needs. */
static int open_device(struct guest *guest, const char *scenario, const char **step)
{
    if (strcmp(scenario, "msix") == 0) {
        return vfio_open(&guest->vfio, &guest->device, guest->address, step);
    }
    return device_open(&guest->device, guest->address, step);
}

static void close_device(struct guest *guest, const char *scenario)
{
    if (strcmp(scenario, "msix") == 0) {
        vfio_close(&guest->vfio);
    } else {
        device_close(&guest->device);
    }
}

int main(int argc, char **argv)
{
    const char *scenario = argument(argc, argv, "scenario", "basic");
    static struct guest guest; /* for its size */
    const char *step;
    int status;
    int rc;

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    guest.address = FUNCTION_ADDRESS;
    guest.expected.identity = argument(argc, argv, "identity", "dead:beef");
    guest.expected.subsystem = argument(argc, argv, "subsystem", "cafe:babe");
    guest.expected.class = argument(argc, argv, "class", "0880");
    guest.expected.bar1 = argument(argc, argv, "bar1", "16K");
    rc = open_device(&guest, scenario, &step);
    if (rc < 0) {
        printf("not ok start: expected %s to work got: %s\n", step, strerror(-rc));
        return 2;
    }
    status = run_scenario(&guest, scenario);
    close_device(&guest, scenario);
    return status;
}

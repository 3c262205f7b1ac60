/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The device as a user-space driver in the guest sees it: configuration space and BARs through
 * sysfs, interrupts through uio_pci_generic. The register layout is repeated here on purpose and
 * not taken from the daemon's headers: this is the driver's independent reading of the data sheet.
 */
#ifndef GUEST_DEVICE_H
#define GUEST_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum device_register {
    DEVICE_TIMER_SEC = 0x000,
    DEVICE_TIMER_NSEC = 0x008,
    DEVICE_IRQ_STATUS = 0x010,
    DEVICE_IRQ_ENABLE = 0x014,
    DEVICE_IRQ_COUNT = 0x018,
    DEVICE_DMA_IOVA = 0x020,
    DEVICE_DMA_OFFSET = 0x028,
    DEVICE_DMA_LENGTH = 0x030,
    DEVICE_DMA_CONTROL = 0x034,
    DEVICE_CLOCK_NSEC = 0x040,
    DEVICE_FIRED_NSEC = 0x048,
    DEVICE_DOORBELL = 0x800,
    DEVICE_DOORBELL_COUNT = 0x804,
    DEVICE_DOORBELL_TRAPPED = 0x808,
};

#define DEVICE_IRQ_TIMER    0x1u
#define DEVICE_IRQ_SOFTWARE 0x2u
#define DEVICE_IRQ_DMA      0x4u
#define DEVICE_IRQ_ALL      0xffffffffu

#define DEVICE_DMA_FROM_GUEST 1u
#define DEVICE_DMA_TO_GUEST   2u
#define DEVICE_DMA_BUSY       1u
#define DEVICE_DMA_FAILED     0x80000000u

#define DEVICE_BAR0_SIZE 4096u

#define NSEC_PER_MSEC UINT64_C(1000000)
#define NSEC_PER_SEC  UINT64_C(1000000000)

struct device {
    char folder[64];
    int config_fd;
    off_t config_base;  /* where configuration space begins in config_fd */
    int uio_fd;         /* -1: another driver than uio_pci_generic */
    uint32_t uio_count; /* interrupts as of the last device_wait_interrupt() or device_settle() */
    volatile uint8_t *bar0;
    volatile uint8_t *bar1;
    size_t bar1_size;
    unsigned pm_offset; /* of the Power Management capability; 0: there is none */
};

/*
 * Binds uio_pci_generic to the function at `address` ("0000:00:04.0"), whatever its identity, opens
 * its uio node and maps both BARs. Returns 0 or -errno; `step` then names what failed.
 */
int device_open(struct device *device, const char *address, const char **step);

/* Undoes device_open(); the driver stays bound. */
void device_close(struct device *device);

/* BAR0 registers, each by one access of the register's size (or of the half's, for 64-bit ones). */
uint32_t device_read32(const struct device *device, unsigned reg);
uint64_t device_read64(const struct device *device, unsigned reg);
void device_write32(struct device *device, unsigned reg, uint32_t value);
void device_write64(struct device *device, unsigned reg, uint64_t value);

/* BAR1 by one access of `width` bytes (1, 2, 4 or 8). */
uint64_t device_memory_read(const struct device *device, size_t offset, unsigned width);
void device_memory_write(struct device *device, size_t offset, unsigned width, uint64_t value);

/* Configuration space, 16 bits at a time. 0 or -errno. */
int device_config_read(const struct device *device, unsigned offset, uint16_t *value);
int device_config_write(struct device *device, unsigned offset, uint16_t value);

/* Sets and clears bits of the Command register (PCI_COMMAND_*). 0 or -errno. */
int device_command(struct device *device, uint16_t set, uint16_t clear);

/* Power state 0 (D0) or 3 (D3hot), with the pause the specification asks for. 0 or -errno. */
int device_power(struct device *device, unsigned state);

/*
 * Waits for the next interrupt; uio_pci_generic has set INTx Disable by then. Returns 0 with the
 * kernel's number of interrupts in device->uio_count, or -ETIMEDOUT.
 */
int device_wait_interrupt(struct device *device, unsigned timeout_ms);

/*
 * What an interrupt handler has to do: acknowledges `bits` in IRQ_STATUS, then lets INTx through
 * again. Returns 0 or -errno.
 */
int device_finish_interrupt(struct device *device, uint32_t bits);

/*
 * Brings the device to the state in which each check starts: D0, timer disarmed, nothing pending,
 * all enabled, INTx on, Bus Master on, device->uio_count up to date. 0 or -errno.
 */
int device_settle(struct device *device);

void sleep_ms(unsigned milliseconds);

#endif

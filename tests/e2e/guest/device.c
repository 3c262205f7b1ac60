/* SPDX-License-Identifier: BSD-3-Clause */
#include "device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DRIVER_FOLDER "/sys/bus/pci/drivers/uio_pci_generic"

void sleep_ms(unsigned milliseconds)
{
    struct timespec pause = {
        .tv_sec = milliseconds / 1000,
        .tv_nsec = (long)(milliseconds % 1000) * (long)NSEC_PER_MSEC,
    };

    while (nanosleep(&pause, &pause) < 0 && errno == EINTR) {
    }
}

uint32_t device_read32(const struct device *device, unsigned reg)
{
    return *(const volatile uint32_t *)(device->bar0 + reg);
}

uint64_t device_read64(const struct device *device, unsigned reg)
{
    return *(const volatile uint64_t *)(device->bar0 + reg);
}

void device_write32(struct device *device, unsigned reg, uint32_t value)
{
    *(volatile uint32_t *)(device->bar0 + reg) = value;
}

void device_write64(struct device *device, unsigned reg, uint64_t value)
{
    *(volatile uint64_t *)(device->bar0 + reg) = value;
}

uint64_t device_memory_read(const struct device *device, size_t offset, unsigned width)
{
    const volatile uint8_t *address = device->bar1 + offset;

    switch (width) {
    case 1:
        return *address;
    case 2:
        return *(const volatile uint16_t *)address;
    case 4:
        return *(const volatile uint32_t *)address;
    default:
        return *(const volatile uint64_t *)address;
    }
}

void device_memory_write(struct device *device, size_t offset, unsigned width, uint64_t value)
{
    volatile uint8_t *address = device->bar1 + offset;

    switch (width) {
    case 1:
        *address = (uint8_t)value;
        break;
    case 2:
        *(volatile uint16_t *)address = (uint16_t)value;
        break;
    case 4:
        *(volatile uint32_t *)address = (uint32_t)value;
        break;
    default:
        *(volatile uint64_t *)address = value;
        break;
    }
}

int device_config_read(const struct device *device, unsigned offset, uint16_t *value)
{
    uint16_t got;
    ssize_t length =
        pread(device->config_fd, &got, sizeof(got), device->config_base + (off_t)offset);

    if (length != sizeof(got)) {
        return length < 0 ? -errno : -EIO;
    }
    *value = got;
    return 0;
}

int device_config_write(struct device *device, unsigned offset, uint16_t value)
{
    ssize_t length =
        pwrite(device->config_fd, &value, sizeof(value), device->config_base + (off_t)offset);

    if (length != sizeof(value)) {
        return length < 0 ? -errno : -EIO;
    }
    return 0;
}

int device_command(struct device *device, uint16_t set, uint16_t clear)
{
    uint16_t command = 0;
    int rc = device_config_read(device, PCI_COMMAND, &command);

    if (rc < 0) {
        return rc;
    }
    return device_config_write(device, PCI_COMMAND, (uint16_t)((command & ~clear) | set));
}

int device_power(struct device *device, unsigned state)
{
    unsigned offset = device->pm_offset + PCI_PM_CTRL;
    uint16_t control = 0;
    int rc;

    if (device->pm_offset == 0) {
        return -ENOTSUP;
    }
    rc = device_config_read(device, offset, &control);
    if (rc < 0) {
        return rc;
    }
    control = (uint16_t)((control & ~PCI_PM_CTRL_STATE_MASK) | state);
    rc = device_config_write(device, offset, control);
    sleep_ms(10); /* PCI Power Management, table 5-6: 10 ms from and to D3hot */
    return rc;
}

int device_wait_interrupt(struct device *device, unsigned timeout_ms)
{
    struct pollfd waiting = { .fd = device->uio_fd, .events = POLLIN };
    uint32_t count;
    int ready = poll(&waiting, 1, (int)timeout_ms);

    if (ready <= 0) {
        return ready == 0 ? -ETIMEDOUT : -errno;
    }
    if (read(device->uio_fd, &count, sizeof(count)) != sizeof(count)) {
        return -EIO;
    }
    device->uio_count = count;
    return 0;
}

int device_finish_interrupt(struct device *device, uint32_t bits)
{
    device_write32(device, DEVICE_IRQ_STATUS, bits);
    /*
     * QEMU lowers the guest's line at any access to a BAR and asks the device to raise it again if
     * need be. An access before the acknowledgement thus raised it once more; QEMU's main loop may
     * notice that after the acknowledgement only. Give it time and touch the BAR again, while INTx
     * is still off, lest the line stays up with nothing behind it.
     */
    sleep_ms(2);
    (void)device_read32(device, DEVICE_IRQ_STATUS);
    return device_command(device, 0, PCI_COMMAND_INTX_DISABLE);
}

int device_settle(struct device *device)
{
    int rc;

    if (device->pm_offset != 0) {
        rc = device_power(device, 0);
        if (rc < 0) {
            return rc;
        }
    }
    rc = device_command(device, PCI_COMMAND_MASTER | PCI_COMMAND_INTX_DISABLE, 0);
    if (rc < 0) {
        return rc;
    }
    device_write64(device, DEVICE_TIMER_NSEC, 0);
    device_write32(device, DEVICE_IRQ_ENABLE, DEVICE_IRQ_ALL);
    rc = device_finish_interrupt(device, DEVICE_IRQ_ALL);
    while (rc == 0) {
        rc = device_wait_interrupt(device, 0);
    }
    return rc == -ETIMEDOUT ? 0 : rc;
}

static unsigned find_power_management(const struct device *device)
{
    uint16_t word = 0;
    unsigned offset;

    if (device_config_read(device, PCI_CAPABILITY_LIST, &word) < 0) {
        return 0;
    }
    offset = word & 0xfc;
    /* 48 capabilities fill the 192 bytes: a longer chain is a loop. */
    for (unsigned i = 0; offset != 0 && i < 48; i++) {
        if (device_config_read(device, offset, &word) < 0) {
            return 0;
        }
        if ((word & 0xff) == PCI_CAP_ID_PM) {
            return offset;
        }
        offset = (word >> 8) & 0xfc;
    }
    return 0;
}

/* uio_pci_generic takes every function with the identity it is told. */
static int bind_driver(const struct device *device)
{
    uint16_t vendor = 0;
    uint16_t product = 0;
    FILE *file;
    int rc;

    rc = device_config_read(device, PCI_VENDOR_ID, &vendor);
    if (rc == 0) {
        rc = device_config_read(device, PCI_DEVICE_ID, &product);
    }
    if (rc < 0) {
        return rc;
    }
    file = fopen(DRIVER_FOLDER "/new_id", "we");
    if (file == NULL) {
        return -errno;
    }
    rc = fprintf(file, "%04x %04x\n", vendor, product) < 0 ? -EIO : 0;
    if (fclose(file) != 0 && rc == 0) {
        rc = -errno;
    }
    return rc;
}

/* The node's number stands in the function's sysfs folder, as uio/uioN. */
static int open_uio(struct device *device)
{
    char path[96];
    struct dirent *entry;
    DIR *folder;
    int rc = -ENOENT;

    (void)snprintf(path, sizeof(path), "%s/uio", device->folder);
    folder = opendir(path);
    if (folder == NULL) {
        return -errno;
    }
    while ((entry = readdir(folder)) != NULL) {
        if (strncmp(entry->d_name, "uio", 3) == 0) {
            (void)snprintf(path, sizeof(path), "/dev/%.16s", entry->d_name);
            device->uio_fd = open(path, O_RDWR | O_CLOEXEC);
            rc = device->uio_fd < 0 ? -errno : 0;
            break;
        }
    }
    (void)closedir(folder);
    return rc;
}

static int map_bar(const struct device *device, unsigned number, volatile uint8_t **bytes,
                   size_t *size)
{
    char path[96];
    struct stat status;
    void *mapping;
    int rc = 0;
    int fd;

    (void)snprintf(path, sizeof(path), "%s/resource%u", device->folder, number);
    fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &status) < 0) {
        rc = -errno;
        goto out;
    }
    mapping = mmap(NULL, (size_t)status.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (mapping == MAP_FAILED) {
        rc = -errno;
        goto out;
    }
    *bytes = mapping;
    *size = (size_t)status.st_size;
out:
    (void)close(fd);
    return rc;
}

static int map_bars(struct device *device)
{
    size_t size = 0;
    int rc = map_bar(device, 0, &device->bar0, &size);

    if (rc < 0) {
        return rc;
    }
    if (size != DEVICE_BAR0_SIZE) {
        return -EFBIG;
    }
    return map_bar(device, 1, &device->bar1, &device->bar1_size);
}

int device_open(struct device *device, const char *address, const char **step)
{
    char path[96];
    int rc;

    memset(device, 0, sizeof(*device));
    device->uio_fd = -1;
    (void)snprintf(device->folder, sizeof(device->folder), "/sys/bus/pci/devices/%s", address);
    (void)snprintf(path, sizeof(path), "%s/config", device->folder);
    *step = "opening configuration space";
    device->config_fd = open(path, O_RDWR | O_CLOEXEC);
    if (device->config_fd < 0) {
        return -errno;
    }
    device->pm_offset = find_power_management(device);
    *step = "binding uio_pci_generic";
    rc = bind_driver(device);
    if (rc == 0) {
        *step = "opening the uio node";
        rc = open_uio(device);
    }
    if (rc == 0) {
        *step = "mapping the BARs";
        rc = map_bars(device);
    }
    if (rc < 0) {
        device_close(device);
    }
    return rc;
}

void device_close(struct device *device)
{
    if (device->bar0 != NULL) {
        (void)munmap((void *)(uintptr_t)device->bar0, DEVICE_BAR0_SIZE);
    }
    if (device->bar1 != NULL) {
        (void)munmap((void *)(uintptr_t)device->bar1, device->bar1_size);
    }
    if (device->uio_fd >= 0) {
        (void)close(device->uio_fd);
    }
    if (device->config_fd >= 0) {
        (void)close(device->config_fd);
    }
    memset(device, 0, sizeof(*device));
    device->uio_fd = -1;
    device->config_fd = -1;
}

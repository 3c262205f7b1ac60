/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

/* SET_IRQS with the most eventfds that a call here has. */
union irq_set {
    struct vfio_irq_set set;
    uint8_t bytes[sizeof(struct vfio_irq_set) + VFIO_VECTORS * sizeof(int32_t)];
};

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int rc = 0;

    if (fd < 0) {
        return -errno;
    }
    if (write(fd, text, strlen(text)) < 0) {
        rc = -errno;
    }
    (void)close(fd);
    return rc;
}

/* Whatever the function's identity is: the override beats vfio-pci's own list, which is empty. */
static int bind_driver(const struct device *device, const char *address)
{
    char path[96];
    int rc;

    (void)snprintf(path, sizeof(path), "%s/driver_override", device->folder);
    rc = write_text(path, "vfio-pci");
    return rc < 0 ? rc : write_text("/sys/bus/pci/drivers_probe", address);
}

/* The group's number is the last part of what the function's iommu_group leads to. */
static int open_group(struct vfio *vfio)
{
    struct vfio_group_status status = { .argsz = sizeof(status) };
    char target[256];
    char path[96];
    ssize_t length;

    (void)snprintf(path, sizeof(path), "%s/iommu_group", vfio->device->folder);
    length = readlink(path, target, sizeof(target) - 1);
    if (length < 0) {
        return -errno;
    }
    target[length] = '\0';
    (void)snprintf(path, sizeof(path), "/dev/vfio%.16s", strrchr(target, '/'));
    vfio->group = open(path, O_RDWR | O_CLOEXEC);
    if (vfio->group < 0 || ioctl(vfio->group, VFIO_GROUP_GET_STATUS, &status) < 0) {
        return -errno;
    }
    return (status.flags & VFIO_GROUP_FLAGS_VIABLE) != 0 ? 0 : -EPERM;
}

static int open_container(struct vfio *vfio)
{
    vfio->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
    if (vfio->container < 0 || ioctl(vfio->group, VFIO_GROUP_SET_CONTAINER, &vfio->container) < 0 ||
        ioctl(vfio->container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU) < 0) {
        return -errno;
    }
    return 0;
}

static int map_bar(struct vfio *vfio, unsigned number, volatile uint8_t **bytes, size_t *size,
                   uint64_t *offset)
{
    struct vfio_region_info info = { .argsz = sizeof(info), .index = number };
    void *mapping;

    if (ioctl(vfio->fd, VFIO_DEVICE_GET_REGION_INFO, &info) < 0) {
        return -errno;
    }
    if ((info.flags & VFIO_REGION_INFO_FLAG_MMAP) == 0) {
        return -ENODEV;
    }
    mapping =
        mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, vfio->fd, (off_t)info.offset);
    if (mapping == MAP_FAILED) {
        return -errno;
    }
    *bytes = mapping;
    *size = info.size;
    *offset = info.offset;
    return 0;
}

static int map_regions(struct vfio *vfio)
{
    struct vfio_region_info config = { .argsz = sizeof(config),
                                       .index = VFIO_PCI_CONFIG_REGION_INDEX };
    struct device *device = vfio->device;
    uint64_t offset;
    size_t size = 0;
    int rc = map_bar(vfio, 0, &device->bar0, &size, &offset);

    if (rc == 0) {
        rc = map_bar(vfio, 1, &device->bar1, &device->bar1_size, &offset);
    }
    if (rc == 0) {
        rc = map_bar(vfio, 2, &vfio->bar2, &vfio->bar2_size, &vfio->bar2_offset);
    }
    if (rc < 0) {
        return rc;
    }
    if (size != DEVICE_BAR0_SIZE) {
        return -EFBIG;
    }
    if (ioctl(vfio->fd, VFIO_DEVICE_GET_REGION_INFO, &config) < 0) {
        return -errno;
    }
    device->config_base = (off_t)config.offset;
    device->config_fd = vfio->fd;
    return 0;
}

static int make_events(struct vfio *vfio)
{
    for (unsigned i = 0; i < VFIO_EVENTS; i++) {
        vfio->events[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (vfio->events[i] < 0) {
            return -errno;
        }
    }
    return 0;
}

static int open_steps(struct vfio *vfio, const char *address, const char **step)
{
    int rc;

    *step = "binding vfio-pci";
    rc = bind_driver(vfio->device, address);
    if (rc == 0) {
        *step = "opening the IOMMU group";
        rc = open_group(vfio);
    }
    if (rc == 0) {
        *step = "putting the group into a container";
        rc = open_container(vfio);
    }
    if (rc == 0) {
        *step = "opening the device";
        vfio->fd = ioctl(vfio->group, VFIO_GROUP_GET_DEVICE_FD, address);
        rc = vfio->fd < 0 ? -errno : 0;
    }
    if (rc == 0) {
        *step = "mapping the BARs";
        rc = map_regions(vfio);
    }
    if (rc == 0) {
        *step = "making eventfds";
        rc = make_events(vfio);
    }
    return rc;
}

int vfio_open(struct vfio *vfio, struct device *device, const char *address, const char **step)
{
    int rc;

    memset(device, 0, sizeof(*device));
    memset(vfio, 0, sizeof(*vfio));
    device->uio_fd = device->config_fd = -1;
    vfio->container = vfio->group = vfio->fd = -1;
    memset(vfio->events, 0xff, sizeof(vfio->events)); /* -1 each */
    vfio->device = device;
    (void)snprintf(device->folder, sizeof(device->folder), "/sys/bus/pci/devices/%s", address);
    rc = open_steps(vfio, address, step);
    if (rc < 0) {
        vfio_close(vfio);
    }
    return rc;
}

static void close_fd(int fd)
{
    if (fd >= 0) {
        (void)close(fd);
    }
}

void vfio_close(struct vfio *vfio)
{
    if (vfio->bar2 != NULL) {
        (void)munmap((void *)(uintptr_t)vfio->bar2, vfio->bar2_size);
    }
    vfio->device->config_fd = -1; /* is vfio->fd */
    device_close(vfio->device);
    for (unsigned i = 0; i < VFIO_EVENTS; i++) {
        close_fd(vfio->events[i]);
    }
    close_fd(vfio->fd);
    close_fd(vfio->group);
    close_fd(vfio->container);
}

int vfio_map(struct vfio *vfio, void *bytes, size_t size, uint64_t iova)
{
    struct vfio_iommu_type1_dma_map map = {
        .argsz = sizeof(map),
        .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
        .vaddr = (uintptr_t)bytes,
        .iova = iova,
        .size = size,
    };

    return ioctl(vfio->container, VFIO_IOMMU_MAP_DMA, &map) < 0 ? -errno : 0;
}

int vfio_unmap(struct vfio *vfio, size_t size, uint64_t iova)
{
    struct vfio_iommu_type1_dma_unmap unmap = {
        .argsz = sizeof(unmap),
        .iova = iova,
        .size = size,
    };

    return ioctl(vfio->container, VFIO_IOMMU_UNMAP_DMA, &unmap) < 0 ? -errno : 0;
}

/* Eventfds for `count` interrupts of an index; -1: none. */
static int set_events(struct vfio *vfio, uint32_t index, uint32_t start, uint32_t count,
                      const int32_t *fds)
{
    union irq_set irqs = { 0 };

    irqs.set.argsz = (uint32_t)(sizeof(irqs.set) + count * sizeof(*fds));
    irqs.set.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
    irqs.set.index = index;
    irqs.set.start = start;
    irqs.set.count = count;
    memcpy(irqs.set.data, fds, count * sizeof(*fds));
    return ioctl(vfio->fd, VFIO_DEVICE_SET_IRQS, &irqs) < 0 ? -errno : 0;
}

/* An action without data; to trigger none of them switches the index off. */
static int set_none(struct vfio *vfio, uint32_t index, uint32_t action, uint32_t count)
{
    struct vfio_irq_set set = {
        .argsz = sizeof(set),
        .flags = VFIO_IRQ_SET_DATA_NONE | action,
        .index = index,
        .count = count,
    };

    return ioctl(vfio->fd, VFIO_DEVICE_SET_IRQS, &set) < 0 ? -errno : 0;
}

int vfio_msix_on(struct vfio *vfio, unsigned vectors)
{
    int32_t fds[VFIO_VECTORS];

    for (unsigned i = 0; i < VFIO_VECTORS; i++) {
        fds[i] = (vectors >> i & 1) != 0 ? vfio->events[i] : -1;
    }
    return set_events(vfio, VFIO_PCI_MSIX_IRQ_INDEX, 0, VFIO_VECTORS, fds);
}

int vfio_msix_add(struct vfio *vfio, unsigned vector)
{
    int32_t fd = vfio->events[vector];

    return set_events(vfio, VFIO_PCI_MSIX_IRQ_INDEX, vector, 1, &fd);
}

int vfio_msix_off(struct vfio *vfio)
{
    return set_none(vfio, VFIO_PCI_MSIX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, 0);
}

int vfio_intx_on(struct vfio *vfio)
{
    int32_t fd = vfio->events[VFIO_EVENT_INTX];

    return set_events(vfio, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, &fd);
}

int vfio_intx_off(struct vfio *vfio)
{
    return set_none(vfio, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_TRIGGER, 0);
}

int vfio_intx_unmask(struct vfio *vfio)
{
    return set_none(vfio, VFIO_PCI_INTX_IRQ_INDEX, VFIO_IRQ_SET_ACTION_UNMASK, 1);
}

int vfio_wait(struct vfio *vfio, enum vfio_event event, unsigned timeout_ms, uint64_t *count)
{
    struct pollfd waiting = { .fd = vfio->events[event], .events = POLLIN };
    int ready = poll(&waiting, 1, (int)timeout_ms);

    if (ready <= 0) {
        return ready == 0 ? -ETIMEDOUT : -errno;
    }
    return read(waiting.fd, count, sizeof(*count)) == sizeof(*count) ? 0 : -EIO;
}

int vfio_pending(struct vfio *vfio, uint32_t offset, uint32_t *bits)
{
    ssize_t length = pread(vfio->fd, bits, sizeof(*bits), (off_t)(vfio->bar2_offset + offset));

    if (length != sizeof(*bits)) {
        return length < 0 ? -errno : -EIO;
    }
    return 0;
}

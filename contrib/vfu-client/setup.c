/* SPDX-License-Identifier: BSD-3-Clause */
/* The steps that ask what the server is and has, and what it must refuse. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "registers.h"
#include "steps.h"

#define UNKNOWN_REGION 0xdeadbeefu

static const char *const region_names[VFIO_PCI_NUM_REGIONS] = { "BAR0", "BAR1",         "BAR2",
                                                                "BAR3", "BAR4",         "BAR5",
                                                                "ROM",  "config space", "VGA" };

static const char *const irq_names[VFIO_PCI_NUM_IRQS] = { "INTx", "MSI", "MSI-X", "ERR", "REQ" };

/*
 * VERSION
 */

void setup_caps(const struct walk *w, struct version_caps *ours)
{
    version_defaults(ours);
    ours->major = VFIO_USER_MAJOR;
    ours->minor = VFIO_USER_MINOR;
    /* Not max_bitmap_size: who says all that QEMU says is served with its peculiarities. */
    ours->present = VERSION_MAX_MSG_FDS | VERSION_MAX_DATA_XFER_SIZE | VERSION_MAX_DMA_MAPS |
                    VERSION_PGSIZES | VERSION_WRITE_MULTIPLE | VERSION_MIGRATION |
                    VERSION_MIGRATION_PGSIZE;
    ours->max_msg_fds = 16;
    ours->max_data_xfer_size = 1u << 20;
    ours->max_dma_maps = 65535;
    ours->pgsizes = 4096;
    ours->write_multiple = true;
    ours->migration_pgsize = 4096;
    if (w->no_fds)
        ours->max_msg_fds = 0;
    if (w->twin) {
        ours->present |= VERSION_TWIN_SOCKET;
        ours->twin_socket = true;
    }
    if (w->messages) {
        ours->present |= VERSION_VM_INTERRUPT;
        ours->vm_interrupt = true;
    }
}

/* What was asked for, and without which the steps that rely on it make no sense. */
static void expect_asked_for(struct walk *w)
{
    const struct version_caps *server = &w->server;

    if (w->no_fds)
        walk_expect(w, "max_msg_fds", 0, server->max_msg_fds);
    else if (server->max_msg_fds < 1 || server->max_msg_fds > 16)
        walk_fail(w, "max_msg_fds", "1 to 16", "%llu", (unsigned long long)server->max_msg_fds);
    if (w->twin && !server->twin_socket)
        walk_fail(w, "twin_socket", "to be supported", "that it is not");
    if (w->no_fds && !server->vm_interrupt)
        walk_fail(w, "vm_interrupt, without which no interrupt comes", "to be confirmed",
                  "that it is not");
}

void step_version(struct walk *w)
{
    struct version_caps ours;
    const struct version_caps *server = &w->server;
    int err;

    setup_caps(w, &ours);
    err = walk_failed(w) ? 0 : client_negotiate(w->client, &ours, &w->server);
    if (err == -ENOTCONN)
        walk_fail(w, "the server", "a reply",
                  "the end of the connection: is this a control socket?");
    walk_expect_err(w, "VERSION", 0, err);
    if (walk_failed(w))
        return;
    expect_asked_for(w);
    if (server->max_data_xfer_size > ours.max_data_xfer_size)
        walk_fail(w, "max_data_xfer_size", "at most 1048576", "%llu",
                  (unsigned long long)server->max_data_xfer_size);
    walk_say(w, "protocol %u.%u; at most %llu fds a message, %llu bytes a transfer,", server->major,
             server->minor, (unsigned long long)server->max_msg_fds,
             (unsigned long long)server->max_data_xfer_size);
    walk_say(w, "%llu DMA maps of pages of 0x%llx; WRITE_MULTI: %s, migration: %s",
             (unsigned long long)server->max_dma_maps, (unsigned long long)server->pgsizes,
             server->write_multiple ? "yes" : "no", walk_offers_migration(w) ? "yes" : "no");
    if (w->twin)
        walk_say(w, "the server's commands come on a socket of their own");
    if (w->no_fds)
        walk_say(w, "no fds: memory and interrupts by message");
}

/*
 * What must be refused
 */

void step_unknown_region(struct walk *w)
{
    uint32_t data = 0;

    walk_expect_err(w, "a read of region 0xdeadbeef", -EINVAL,
                    client_region_read(w->client, UNKNOWN_REGION, 0, &data, sizeof(data)));
    if (!walk_failed(w))
        walk_expect_err(w, "a write of region 0xdeadbeef", -EINVAL,
                        client_region_write(w->client, UNKNOWN_REGION, 0, &data, sizeof(data)));
    walk_say(w, "reading and writing region 0xdeadbeef: EINVAL");
}

void step_unknown_command(struct walk *w)
{
    static const uint16_t commands[] = { 0, 14, 99, 0xffff };

    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]) && !walk_failed(w); i++) {
        struct client_call call = { .command = commands[i] };
        char what[32];

        snprintf(what, sizeof(what), "command %u", commands[i]);
        walk_expect_err(w, what, -ENOTSUP, client_call(w->client, &call));
    }
    walk_say(w, "commands 0, 14, 99 and 65535: ENOTSUP");
}

static void expect_enotsup(struct walk *w, const char *what, uint16_t command, const void *payload,
                           size_t len)
{
    struct client_call call = { .command = command, .fixed = payload, .fixed_len = len };

    if (!walk_failed(w))
        walk_expect_err(w, what, -ENOTSUP, client_call(w->client, &call));
}

void step_not_offered(struct walk *w)
{
    const struct vfio_device_feature feature = {
        .argsz = sizeof(feature) + sizeof(struct vfio_device_feature_migration),
        .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION,
    };
    const struct vfio_user_mig_data mig = { .argsz = sizeof(mig), .size = 4096 };

    expect_enotsup(w, "VM_INTERRUPT", VFIO_USER_VM_INTERRUPT, NULL, 0);
    if (walk_offers_migration(w)) {
        walk_say(w, "VM_INTERRUPT from this side: ENOTSUP");
        return;
    }
    expect_enotsup(w, "DEVICE_FEATURE", VFIO_USER_DEVICE_FEATURE, &feature, sizeof(feature));
    expect_enotsup(w, "MIG_DATA_READ", VFIO_USER_MIG_DATA_READ, &mig, sizeof(mig));
    walk_say(w, "VM_INTERRUPT from this side, DEVICE_FEATURE, MIG_DATA_READ: ENOTSUP");
}

void step_second_client(struct walk *w)
{
    struct version_caps ours;
    struct version_caps theirs;
    struct client *second;

    setup_caps(w, &ours);
    walk_expect_err(w, "connecting a second time", 0, client_connect(w->socket_path, &second));
    if (walk_failed(w))
        return;
    walk_expect_err(w, "VERSION of a second client", -EBUSY,
                    client_negotiate(second, &ours, &theirs));
    client_free(second);
    walk_get32(w, REG_IRQ_STATUS);
    walk_say(w, "its VERSION: EBUSY; the first client is still served");
}

/*
 * GET_INFO, GET_REGION_INFO, GET_IRQ_INFO
 */

void step_info(struct walk *w)
{
    struct vfio_user_device_info info = { 0 };

    walk_expect_err(w, "GET_INFO", 0, client_get_info(w->client, &info));
    walk_expect(w, "flags, which are PCI and RESET",
                VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI, info.flags);
    walk_expect(w, "num_regions", VFIO_PCI_NUM_REGIONS, info.num_regions);
    walk_expect(w, "num_irqs", VFIO_PCI_NUM_IRQS, info.num_irqs);
    walk_say(w, "a PCI device with reset, %u regions, %u kinds of interrupts", info.num_regions,
             info.num_irqs);
}

/* A client that leaves no room for capabilities is told the room they need, and gets no fd. */
static uint32_t ask_size(struct walk *w, uint32_t index)
{
    struct vfio_region_info info = { .argsz = sizeof(info), .index = index };
    int fd = -1;
    struct client_call call = { .command = VFIO_USER_DEVICE_GET_REGION_INFO,
                                .fixed = &info,
                                .fixed_len = sizeof(info),
                                .reply = &info,
                                .reply_max = sizeof(info),
                                .reply_fds = &fd,
                                .reply_nfds = 1 };

    if (walk_failed(w))
        return 0;
    walk_expect_err(w, "GET_REGION_INFO with argsz 32", 0, client_call(w->client, &call));
    walk_expect(w, "payload of its reply", sizeof(info), call.reply_len);
    if (call.reply_nfds > 0)
        close(fd);
    if (info.argsz > sizeof(info))
        walk_expect(w, "fds sent along with a size only", 0, call.reply_nfds);
    return info.argsz;
}

/* Section "VFIO region capabilities": sparse areas, in the only capability that there is. */
static void take_areas(struct walk *w, const struct vfio_region_info *info)
{
    struct vfio_region_info_cap_sparse_mmap sparse;
    struct vfio_region_sparse_mmap_area area;
    const uint8_t *at = (const uint8_t *)info + info->cap_offset;

    if (info->cap_offset < sizeof(*info) || info->cap_offset > info->argsz - sizeof(sparse)) {
        walk_fail(w, "cap_offset", "an offset behind the fixed part", "%u", info->cap_offset);
        return;
    }
    memcpy(&sparse, at, sizeof(sparse));
    walk_expect(w, "id of the capability", VFIO_REGION_INFO_CAP_SPARSE_MMAP, sparse.header.id);
    walk_expect(w, "size of the capability", info->argsz - info->cap_offset,
                sizeof(sparse) + (uint64_t)sparse.nr_areas * sizeof(area));
    if (sparse.nr_areas > WALK_MAX_AREAS)
        walk_fail(w, "number of areas", "at most 64", "%u", sparse.nr_areas);
    for (uint32_t i = 0; i < sparse.nr_areas && !walk_failed(w); i++) {
        memcpy(&area, at + sizeof(sparse) + i * sizeof(area), sizeof(area));
        if (area.offset > info->size || area.size > info->size - area.offset || area.size == 0)
            walk_fail(w, "a sparse area", "one inside the region", "0x%llx+0x%llx",
                      (unsigned long long)area.offset, (unsigned long long)area.size);
        w->areas[i] = (struct walk_area) { .offset = area.offset, .size = area.size };
    }
    if (!walk_failed(w))
        w->n_areas = sparse.nr_areas;
}

/* Without a capability, a region that can be mapped can be so as a whole. */
static void take_mapping(struct walk *w, const struct vfio_region_info *info, int fd)
{
    bool mappable = (info->flags & VFIO_REGION_INFO_FLAG_MMAP) != 0;

    walk_expect(w, "an fd with a region that says MMAP, and only then", mappable, fd >= 0);
    if (w->no_fds)
        walk_expect(w, "flags MMAP and CAPS for a client that takes no fd", 0,
                    info->flags & (VFIO_REGION_INFO_FLAG_MMAP | VFIO_REGION_INFO_FLAG_CAPS));
    if (!mappable)
        return;
    walk_expect(w, "index of the region that can be mapped", VFIO_PCI_BAR1_REGION_INDEX,
                info->index);
    if ((info->flags & VFIO_REGION_INFO_FLAG_CAPS) != 0) {
        take_areas(w, info);
    } else {
        w->areas[0] = (struct walk_area) { .offset = 0, .size = info->size };
        w->n_areas = 1;
    }
}

static void say_region(struct walk *w, const struct vfio_region_info *info)
{
    char areas[256] = "";
    size_t len = 0;

    if (info->index == VFIO_PCI_BAR1_REGION_INDEX) {
        for (unsigned i = 0; i < w->n_areas && len < sizeof(areas); i++)
            len += (size_t)snprintf(areas + len, sizeof(areas) - len, "%s[0x%llx, 0x%llx)",
                                    i == 0 ? ", with an fd to map " : " ",
                                    (unsigned long long)w->areas[i].offset,
                                    (unsigned long long)(w->areas[i].offset + w->areas[i].size));
    }
    walk_say(w, "%s: %llu bytes%s", region_names[info->index], (unsigned long long)info->size,
             areas);
}

static void ask_region(struct walk *w, uint32_t index)
{
    struct vfio_region_info *info = NULL;
    uint32_t size = ask_size(w, index);
    int fd = -1;

    if (walk_failed(w))
        return;
    walk_expect_err(w, "GET_REGION_INFO", 0, client_get_region_info(w->client, index, &info, &fd));
    if (walk_failed(w))
        return;
    walk_expect(w, "argsz when asked again", size, info->argsz);
    walk_expect(w, "index of the reply", index, info->index);
    w->region_size[index] = info->size;
    take_mapping(w, info, fd);
    if (fd >= 0 && w->bar1_fd < 0)
        w->bar1_fd = fd;
    else if (fd >= 0)
        close(fd);
    if (info->size > 0)
        say_region(w, info);
    free(info);
}

void step_regions(struct walk *w)
{
    struct vfio_region_info *info;
    int fd;

    for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
        ask_region(w, i);
    walk_expect(w, "size of BAR0", 4096, w->region_size[VFIO_PCI_BAR0_REGION_INDEX]);
    if (w->region_size[VFIO_PCI_BAR1_REGION_INDEX] < 4096)
        walk_fail(w, "size of BAR1", "a page at least", "%llu bytes",
                  (unsigned long long)w->region_size[VFIO_PCI_BAR1_REGION_INDEX]);
    if (w->region_size[VFIO_PCI_CONFIG_REGION_INDEX] != 4096)
        walk_expect(w, "size of config space, 4096 or", 256,
                    w->region_size[VFIO_PCI_CONFIG_REGION_INDEX]);
    if (walk_failed(w))
        return;
    walk_expect_err(w, "GET_REGION_INFO of region 9", -EINVAL,
                    client_get_region_info(w->client, VFIO_PCI_NUM_REGIONS, &info, &fd));
    walk_say(w, "the others: 0 bytes; region 9: EINVAL");
}

void step_mmap(struct walk *w)
{
    uint64_t total = 0;

    for (unsigned i = 0; i < w->n_areas; i++) {
        struct walk_area *area = &w->areas[i];
        void *at = mmap(NULL, area->size, PROT_READ | PROT_WRITE, MAP_SHARED, w->bar1_fd,
                        (off_t)area->offset);

        if (at == MAP_FAILED) {
            walk_expect_err(w, "mmap of an area of BAR1", 0, -errno);
            return;
        }
        area->at = at;
        total += area->size;
    }
    if (w->n_areas > 0)
        walk_say(w, "%u areas of BAR1 mapped, %llu of its %llu bytes", w->n_areas,
                 (unsigned long long)total,
                 (unsigned long long)w->region_size[VFIO_PCI_BAR1_REGION_INDEX]);
    else
        walk_say(w, "BAR1 cannot be mapped: all goes by message");
}

void step_irq_info(struct walk *w)
{
    struct vfio_irq_info info = { 0 };
    char text[128] = "";
    size_t len = 0;

    for (uint32_t i = 0; i < VFIO_PCI_NUM_IRQS && !walk_failed(w); i++) {
        walk_expect_err(w, "GET_IRQ_INFO", 0, client_get_irq_info(w->client, i, &info));
        walk_expect(w, "index of the reply", i, info.index);
        if (info.count > 0)
            walk_expect(w, "flag EVENTFD", VFIO_IRQ_INFO_EVENTFD,
                        info.flags & VFIO_IRQ_INFO_EVENTFD);
        w->irq_vectors[i] = info.count;
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s %u", i > 0 ? ", " : "",
                                irq_names[i], info.count);
    }
    walk_expect(w, "INTx vectors", 1, w->irq_vectors[VFIO_PCI_INTX_IRQ_INDEX]);
    for (uint32_t i = VFIO_PCI_MSI_IRQ_INDEX; i <= VFIO_PCI_MSIX_IRQ_INDEX; i++) {
        if (w->irq_vectors[i] > WALK_MAX_VECTORS)
            walk_fail(w, irq_names[i], "32 vectors at most", "%u", w->irq_vectors[i]);
    }
    if (!walk_failed(w))
        walk_expect_err(w, "GET_IRQ_INFO of index 5", -EINVAL,
                        client_get_irq_info(w->client, VFIO_PCI_NUM_IRQS, &info));
    walk_say(w, "vectors: %s; index 5: EINVAL", text);
}

/*
 * Reset
 */

static void expect_after_reset(struct walk *w)
{
    walk_expect(w, "IRQ_STATUS after reset", 0, walk_get32(w, REG_IRQ_STATUS));
    walk_expect(w, "IRQ_ENABLE after reset", UINT32_MAX, walk_get32(w, REG_IRQ_ENABLE));
    walk_expect(w, "IRQ_COUNT after reset", 0, walk_get64(w, REG_IRQ_COUNT));
    walk_expect(w, "DMA_CONTROL after reset", 0, walk_get32(w, REG_DMA_CONTROL));
    walk_expect(w, "DOORBELL after reset", 0, walk_get32(w, REG_DOORBELL));
    walk_expect(w, "PCI Command after reset", 0, walk_config_get16(w, 4));
}

static void reset(struct walk *w)
{
    if (!walk_failed(w))
        walk_expect_err(w, "DEVICE_RESET", 0, client_reset(w->client));
    expect_after_reset(w);
}

void step_reset(struct walk *w)
{
    reset(w);
    walk_put32(w, REG_DOORBELL, 0x1234);
    walk_expect(w, "DOORBELL as written", 0x1234, walk_get32(w, REG_DOORBELL));
    walk_command(w, 0x2, 0);
    walk_expect(w, "PCI Command as written", 0x2, walk_config_get16(w, 4));
    walk_fire_timer(w);
    walk_expect(w, "IRQ_STATUS with the timer fired", IRQ_TIMER, walk_get32(w, REG_IRQ_STATUS));
    reset(w);
    walk_say(w, "doorbell, PCI Command and interrupts are as after power-on again");
}

void step_leave(struct walk *w)
{
    walk_disable(w, "INTx: taking the eventfd away", VFIO_PCI_INTX_IRQ_INDEX);
    reset(w);
    walk_say(w, "eventfds taken back, nothing mapped, device reset");
}

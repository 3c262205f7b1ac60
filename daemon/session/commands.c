/* SPDX-License-Identifier: BSD-3-Clause */
#include "commands.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "features.h"
#include "io_fds.h"

void *reply_payload(struct reply *r, size_t len)
{
    uint8_t *message = stream_reserve(r->stream, VFIO_USER_HEADER_SIZE + len);

    if (message == NULL)
        return NULL;
    r->len = len;
    return message + VFIO_USER_HEADER_SIZE;
}

/* A reply of exactly these bytes. */
static int reply_with(struct reply *r, const void *data, size_t len)
{
    void *payload = reply_payload(r, len);

    if (payload == NULL)
        return -ENOMEM;
    memcpy(payload, data, len);
    return 0;
}

/* Why DMA goes through messages: said once. */
static void say_by_message(struct command_context *c, const char *why)
{
    if (c->by_message_said)
        return;
    c->by_message_said = true;
    if (log_limit_pass(c->listener_limit, "dma"))
        log_event(LOG_EVENT_MEMORY_NOT_SHARED, LOG_FIELDS(LOG_TEXT("REASON", why)),
                  LOG_LEVEL_WARNING, "dma",
                  "guest memory is not shared: %s; DMA goes through messages until then", why);
}

static int handle_dma_map(struct command_context *c, const struct message_request *request,
                          struct stream_message *m, struct reply *reply)
{
    const struct vfio_user_dma_map *map = &request->dma_map;
    int none = -1;
    int err;

    (void)reply;
    if (m->fds_lost)
        return -EMFILE;
    if (m->nfds > 1)
        return -EINVAL;
    err = device_dma_map(c->dev, map->address, map->size, map->flags,
                         m->nfds == 1 ? &m->fds[0] : &none, map->offset);
    if (err < 0)
        return err;
    if (err == DMA_MAP_BY_MESSAGE)
        say_by_message(c, "the file that QEMU keeps it in is of a kind that could block us: use "
                          "memory-backend-memfd, or memory-backend-file in /dev/shm");
    else if (m->nfds == 1)
        c->shared_seen = true;
    else if (!c->shared_seen &&
             c->max_fds > 0) /* maps of ROM and devices have no fd either, but come later */
        say_by_message(c, "start QEMU with memory-backend-memfd,share=on");
    return 0;
}

/* Removes what lies in the range. What lies there in part stays, and is an error. */
static int unmap_within(struct command_context *c, const struct vfio_user_dma_unmap *unmap)
{
    int removed = device_dma_unmap_within(c->dev, unmap->address, unmap->size);

    if (removed < 0)
        return -ENOENT;
    /* One that unmaps what is not there is mistaken, but for QEMU, whose way it is. */
    return removed == 0 && c->profile != PROFILE_QEMU ? -ENOENT : 0;
}

static int handle_dma_unmap(struct command_context *c, const struct message_request *request,
                            struct stream_message *m, struct reply *reply)
{
    const struct vfio_user_dma_unmap *unmap = &request->dma_unmap;
    int err = 0;

    (void)m;
    if (unmap->flags != 0)
        device_dma_unmap_all(c->dev);
    else
        err = device_dma_unmap(c->dev, unmap->address, unmap->size);
    /*
     * When a vIOMMU is switched, QEMU unmaps whole address spaces, whatever is mapped there. And a
     * client that is told of success must not find its memory mapped still.
     */
    if (err == -ENOENT && c->profile != PROFILE_STRICT)
        err = unmap_within(c, unmap);
    if (err != 0 && c->profile == PROFILE_CLOUD_HYPERVISOR) {
        /* This client waits for 24 bytes of payload after an error too, and for ever. */
        log_limited(c->limit, LOG_LEVEL_WARNING, "session",
                    "DMA_UNMAP of 0x%llx+0x%llx: there is no such map: answered "
                    "with success, the client could not read an error",
                    (unsigned long long)unmap->address, (unsigned long long)unmap->size);
        err = 0;
    }
    return err != 0 ? err : reply_with(reply, unmap, sizeof(*unmap));
}

static int handle_get_info(struct command_context *c, const struct message_request *request,
                           struct stream_message *m, struct reply *reply)
{
    const struct vfio_user_device_info info = {
        .argsz = sizeof(info),
        .flags = VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI,
        .num_regions = DEVICE_NUM_REGIONS,
        .num_irqs = DEVICE_NUM_IRQS,
    };

    (void)c;
    (void)request;
    (void)m;
    return reply_with(reply, &info, sizeof(info));
}

/* Section "VFIO region capabilities": the one capability there is, right behind the info. */
static void write_sparse(uint8_t *at, const struct device_region *region)
{
    struct vfio_region_info_cap_sparse_mmap sparse = {
        .header = { .id = VFIO_REGION_INFO_CAP_SPARSE_MMAP, .version = 1 },
        .nr_areas = region->n_areas,
    };

    memcpy(at, &sparse, sizeof(sparse));
    at += sizeof(sparse);
    for (unsigned i = 0; i < region->n_areas; i++) {
        const struct vfio_region_sparse_mmap_area area = { .offset = region->areas[i].offset,
                                                           .size = region->areas[i].size };

        memcpy(at, &area, sizeof(area));
        at += sizeof(area);
    }
}

/* A client that takes no fds maps nothing. */
static void withhold_fd(struct device_region *region)
{
    region->flags &= ~VFIO_REGION_INFO_FLAG_MMAP;
    region->fd = -1;
    region->n_areas = 0;
}

/*
 * A client that has not left room for the capabilities gets the plain structure and the size to ask
 * with again. That reply has neither capabilities nor an fd and so has neither flag: QEMU refuses
 * CAPS without an offset, Cloud Hypervisor dies of MMAP without an fd.
 */
static int handle_region_info(struct command_context *c, const struct message_request *request,
                              struct stream_message *m, struct reply *reply)
{
    struct device_region region;
    struct vfio_region_info info = { .index = request->query.index };
    size_t size = sizeof(info);
    uint8_t *payload;

    (void)m;
    if (device_region(c->dev, request->query.index, &region) != 0)
        return -EINVAL;
    if (c->max_fds == 0)
        withhold_fd(&region);
    info.flags = region.flags;
    info.size = region.size;
    if (region.n_areas > 0)
        size += sizeof(struct vfio_region_info_cap_sparse_mmap) +
                region.n_areas * sizeof(struct vfio_region_sparse_mmap_area);
    info.argsz = (uint32_t)size;
    if (request->query.argsz < size) {
        info.flags &= ~VFIO_REGION_INFO_FLAG_MMAP;
        return reply_with(reply, &info, sizeof(info));
    }
    payload = reply_payload(reply, size);
    if (payload == NULL)
        return -ENOMEM;
    if (region.n_areas > 0) {
        info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
        info.cap_offset = sizeof(info);
        write_sparse(payload + sizeof(info), &region);
    }
    memcpy(payload, &info, sizeof(info));
    if (region.fd >= 0)
        reply->fds[reply->nfds++] = region.fd;
    return 0;
}

static int handle_irq_info(struct command_context *c, const struct message_request *request,
                           struct stream_message *m, struct reply *reply)
{
    struct vfio_irq_info info = { .argsz = sizeof(info), .index = request->query.index };

    (void)m;
    if (irq_info(device_irq(c->dev), info.index, &info.count, &info.flags) != 0)
        return -EINVAL;
    return reply_with(reply, &info, sizeof(info));
}

static int handle_set_irqs(struct command_context *c, const struct message_request *request,
                           struct stream_message *m, struct reply *reply)
{
    (void)reply;
    if (m->fds_lost)
        return -EMFILE;
    return irq_set(device_irq(c->dev), request->set_irqs.flags, request->set_irqs.index,
                   request->set_irqs.start, request->set_irqs.count, request->set_irqs.bools,
                   m->fds, m->nfds);
}

static void say_bad_access(struct command_context *c, const char *what,
                           const struct message_request *request, int err)
{
    log_limited(c->limit, LOG_LEVEL_WARNING, "session",
                "%s of region %u at 0x%llx, %u bytes: %s: answered with success, "
                "the client could not read an error",
                what, request->access.region, (unsigned long long)request->access.offset,
                request->access.count, strerror(-err));
}

static int handle_region_read(struct command_context *c, const struct message_request *request,
                              struct stream_message *m, struct reply *reply)
{
    const struct vfio_user_region_access access = { .offset = request->access.offset,
                                                    .region = request->access.region,
                                                    .count = request->access.count };
    uint8_t *payload = reply_payload(reply, sizeof(access) + access.count);
    uint8_t *data;
    int err;

    (void)m;
    if (payload == NULL)
        return -ENOMEM;
    data = payload + sizeof(access);
    memcpy(payload, &access, sizeof(access));
    err = device_read(c->dev, access.region, access.offset, data, access.count);
    if (err != 0 && c->profile == PROFILE_CLOUD_HYPERVISOR) {
        say_bad_access(c, "read", request, err);
        memset(data, 0xff, access.count);
        err = 0;
    }
    return err;
}

static int handle_region_write(struct command_context *c, const struct message_request *request,
                               struct stream_message *m, struct reply *reply)
{
    const struct vfio_user_region_access access = { .offset = request->access.offset,
                                                    .region = request->access.region,
                                                    .count = request->access.count };
    int err =
        device_write(c->dev, access.region, access.offset, request->access.data, access.count);

    (void)m;
    if (err != 0 && c->profile == PROFILE_CLOUD_HYPERVISOR) {
        say_bad_access(c, "write", request, err);
        err = 0;
    }
    return err != 0 ? err : reply_with(reply, &access, sizeof(access));
}

/* Section "VFIO_USER_DEVICE_RESET". */
static int handle_reset(struct command_context *c, const struct message_request *request,
                        struct stream_message *m, struct reply *reply)
{
    (void)request;
    (void)m;
    (void)reply;
    device_reset(c->dev, DEVICE_RESET_BY_CLIENT);
    if (c->migration != NULL)
        migration_reset(c->migration);
    log_limited(c->limit, LOG_LEVEL_INFO, "session", "device reset by the client");
    return 0;
}

/*
 * Writes are done in their order. With a reply, up to the first that fails: it counts those done,
 * and when not even the first is, that is an error. Without one the client cannot know, and its
 * writes are as unrelated as if each had been posted alone: the others are done.
 */
static int handle_write_multi(struct command_context *c, const struct message_request *request,
                              struct stream_message *m, struct reply *reply)
{
    bool posted = (request->hdr.flags & VFIO_USER_NO_REPLY) != 0;
    uint64_t count = request->write_multi.count;
    uint64_t done = 0;
    int err = 0;

    (void)m;
    for (uint64_t i = 0; i < count && (err == 0 || posted); i++) {
        struct vfio_user_write_single w;
        int failed;

        memcpy(&w, request->write_multi.writes + i * sizeof(w), sizeof(w));
        failed = device_write(c->dev, w.region, w.offset, w.data, w.count);
        done += failed == 0;
        err = err != 0 ? err : failed;
        if (failed != 0)
            log_limited(c->limit, LOG_LEVEL_WARNING, "session",
                        "WRITE_MULTI: write %llu of %llu, region %u at 0x%llx: %s",
                        (unsigned long long)i + 1, (unsigned long long)count, w.region,
                        (unsigned long long)w.offset, strerror(-failed));
    }
    return err != 0 && (posted || done == 0) ? err : reply_with(reply, &done, sizeof(done));
}

/* The rest answers ENOTSUP. */
static const command_fn handlers[VFIO_USER_COMMAND_COUNT] = {
    [VFIO_USER_DMA_MAP] = handle_dma_map,
    [VFIO_USER_DMA_UNMAP] = handle_dma_unmap,
    [VFIO_USER_DEVICE_GET_INFO] = handle_get_info,
    [VFIO_USER_DEVICE_GET_REGION_INFO] = handle_region_info,
    [VFIO_USER_DEVICE_GET_REGION_IO_FDS] = io_fds_handle,
    [VFIO_USER_DEVICE_GET_IRQ_INFO] = handle_irq_info,
    [VFIO_USER_DEVICE_SET_IRQS] = handle_set_irqs,
    [VFIO_USER_REGION_READ] = handle_region_read,
    [VFIO_USER_REGION_WRITE] = handle_region_write,
    [VFIO_USER_DEVICE_RESET] = handle_reset,
    [VFIO_USER_REGION_WRITE_MULTI] = handle_write_multi,
    [VFIO_USER_DEVICE_FEATURE] = features_handle,
    [VFIO_USER_MIG_DATA_READ] = features_mig_read,
    [VFIO_USER_MIG_DATA_WRITE] = features_mig_write,
};

int commands_execute(struct command_context *c, const struct message_request *request,
                     struct stream_message *m, struct reply *reply)
{
    command_fn handler = handlers[request->hdr.command];

    return handler != NULL ? handler(c, request, m, reply) : -ENOTSUP;
}

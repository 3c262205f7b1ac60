/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "integration/sample_client.h"

#include <check.h>
#include <linux/vfio.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "vfio_user.h"

#define PATIENCE_S 10
#define IRQ_KINDS  5u

/*
 * Bytes
 */

static void receive(int sock, void *data, size_t len)
{
    if (len > 0)
        ck_assert_int_eq(recv(sock, data, len, MSG_WAITALL), (ssize_t)len);
}

/* The whole message in one sendmsg, with an fd unless that is -1. */
static void send_message(int sock, const struct vfio_user_header *header, const void *payload,
                         size_t len, int fd)
{
    union {
        struct cmsghdr align;
        char space[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov[2] = { { (void *)(uintptr_t)header, sizeof(*header) },
                            { (void *)(uintptr_t)payload, len } };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = len > 0 ? 2 : 1 };

    if (fd >= 0) {
        control.align = (struct cmsghdr) { .cmsg_level = SOL_SOCKET,
                                           .cmsg_type = SCM_RIGHTS,
                                           .cmsg_len = CMSG_LEN(sizeof(int)) };
        memcpy(CMSG_DATA(&control.align), &fd, sizeof(fd));
        msg.msg_control = control.space;
        msg.msg_controllen = sizeof(control.space);
    }
    ck_assert_int_eq(sendmsg(sock, &msg, MSG_NOSIGNAL), (ssize_t)(sizeof(*header) + len));
}

/* The reply to a request that was just sent; its fds, if any, are dropped by the kernel. */
static int take_reply(int sock, uint16_t id, uint16_t command, void *reply, size_t *reply_len)
{
    struct vfio_user_header header;
    size_t len;

    receive(sock, &header, sizeof(header));
    ck_assert_uint_eq(header.id, id);
    ck_assert_uint_eq(header.command, command);
    ck_assert_uint_eq(header.flags & VFIO_USER_TYPE_MASK, VFIO_USER_TYPE_REPLY);
    len = header.size - sizeof(header);
    if ((header.flags & VFIO_USER_ERROR) != 0) {
        ck_assert_uint_eq(len, 0);
        ck_assert_uint_ne(header.error, 0);
        return (int)header.error;
    }
    ck_assert_uint_le(len, *reply_len);
    receive(sock, reply, len);
    *reply_len = len;
    return 0;
}

int sample_call(struct sample_client *c, uint16_t id, uint16_t command, const void *payload,
                size_t len, int fd, void *reply, size_t *reply_len)
{
    struct vfio_user_header header = { .id = id,
                                       .command = command,
                                       .size = (uint32_t)(sizeof(header) + len) };
    int err;

    atomic_fetch_add(&c->waiting, 1);
    pthread_mutex_lock(&c->lock);
    atomic_fetch_sub(&c->waiting, 1);
    send_message(c->sock, &header, payload, len, fd);
    err = take_reply(c->sock, id, command, reply, reply_len);
    pthread_mutex_unlock(&c->lock);
    return err;
}

/* It must succeed, and the reply's payload have exactly so many bytes. */
static void call_well(struct sample_client *c, uint16_t command, const void *payload, size_t len,
                      int fd, void *reply, size_t reply_len)
{
    size_t got = reply_len;

    ck_assert_int_eq(sample_call(c, 0x1234, command, payload, len, fd, reply, &got), 0);
    ck_assert_uint_eq(got, reply_len);
}

/*
 * Connecting
 */

static void say_version(struct sample_client *c)
{
    static const char json[] = "{\"capabilities\":{\"max_msg_fds\":32,"
                               "\"max_data_xfer_size\":1024,\"migration\":{\"pgsize\":4096}}}";
    uint8_t payload[4 + sizeof(json)] = { 0, 0, 1, 0 };
    char reply[4096];
    size_t len = sizeof(reply) - 1;
    const char *fds;

    memcpy(payload + 4, json, sizeof(json));
    ck_assert_int_eq(
        sample_call(c, 0xbada, VFIO_USER_VERSION, payload, sizeof(payload), -1, reply, &len), 0);
    ck_assert_uint_gt(len, 4);
    ck_assert_int_eq(memcmp(reply, payload, 4), 0);
    ck_assert_int_eq(reply[len - 1], '\0');
    fds = strstr(reply + 4, "\"max_msg_fds\":");
    ck_assert_ptr_nonnull(fds);
    c->max_fds = (unsigned)strtoul(fds + strlen("\"max_msg_fds\":"), NULL, 10);
    ck_assert_uint_gt(c->max_fds, 0);
    ck_assert_uint_le(2 * c->max_fds, SAMPLE_REGIONS_MAX);
    ck_assert_msg(strstr(reply + 4, "\"migration\":") != NULL, "no migration in %s", reply + 4);
}

void sample_open(struct sample_client *c, const char *path)
{
    const struct timeval patience = { .tv_sec = PATIENCE_S };
    struct sockaddr_un addr = { .sun_family = AF_UNIX };

    *c = (struct sample_client) { .file = -1 };
    ck_assert_int_eq(pthread_mutex_init(&c->lock, NULL), 0);
    strcpy(addr.sun_path, path);
    c->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(c->sock, 0);
    ck_assert_int_eq(connect(c->sock, (const struct sockaddr *)&addr, sizeof(addr)), 0);
    ck_assert_int_eq(setsockopt(c->sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)), 0);
    say_version(c);
}

void sample_make_regions(struct sample_client *c, const char *directory, unsigned n_regions)
{
    char path[64];

    ck_assert_uint_le(n_regions, SAMPLE_REGIONS_MAX);
    snprintf(path, sizeof(path), "%s/vfio-userd-sample.XXXXXX", directory);
    c->file = mkstemp(path);
    ck_assert_int_ge(c->file, 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(ftruncate(c->file, (off_t)n_regions * SAMPLE_PAGE), 0);
    for (unsigned i = 0; i < n_regions; i++)
        c->regions[i] = (struct sample_region) { .address = (uint64_t)i * SAMPLE_PAGE,
                                                 .offset = (uint64_t)i * SAMPLE_PAGE };
    c->n_regions = n_regions;
}

void sample_close(struct sample_client *c)
{
    close(c->sock);
    if (c->file >= 0)
        close(c->file);
    pthread_mutex_destroy(&c->lock);
}

/*
 * Regions, features, data
 */

int sample_access(struct sample_client *c, uint32_t region, bool write, uint64_t offset, void *data,
                  uint32_t count)
{
    const struct vfio_user_region_access access = { offset, region, count };
    size_t sent = sizeof(access) + (write ? count : 0);
    size_t size = sizeof(access) + count;
    uint8_t *request = malloc(size);
    uint8_t *reply = malloc(size);
    int err;

    ck_assert(request != NULL && reply != NULL);
    memcpy(request, &access, sizeof(access));
    if (write)
        memcpy(request + sizeof(access), data, count);
    err = sample_call(c, 0x1234, write ? VFIO_USER_REGION_WRITE : VFIO_USER_REGION_READ, request,
                      sent, -1, reply, &size);
    if (err == 0) {
        ck_assert_uint_eq(size, sizeof(access) + (write ? 0 : count));
        ck_assert_mem_eq(reply, &access, sizeof(access));
        if (!write)
            memcpy(data, reply + sizeof(access), count);
    }
    free(request);
    free(reply);
    return err;
}

void sample_set_state(struct sample_client *c, uint32_t state)
{
    const uint32_t request[4] = { 16, VFIO_DEVICE_FEATURE_SET | 2, state, UINT32_MAX };
    uint32_t reply[4];

    call_well(c, VFIO_USER_DEVICE_FEATURE, request, sizeof(request), -1, reply, sizeof(reply));
    ck_assert_uint_eq(reply[2], state);
}

uint32_t sample_read_data(struct sample_client *c, uint8_t data[SAMPLE_MAX_XFER])
{
    const uint32_t request[2] = { 8 + SAMPLE_MAX_XFER, SAMPLE_MAX_XFER };
    uint8_t reply[8 + SAMPLE_MAX_XFER];
    size_t len = sizeof(reply);
    uint32_t size;

    ck_assert_int_eq(
        sample_call(c, 0x1234, VFIO_USER_MIG_DATA_READ, request, sizeof(request), -1, reply, &len),
        0);
    ck_assert_uint_ge(len, 8);
    memcpy(&size, reply + 4, sizeof(size));
    ck_assert_uint_eq(len, 8 + size);
    memcpy(data, reply + 8, size);
    return size;
}

void sample_write_data(struct sample_client *c, const uint8_t *data, uint32_t len)
{
    const uint32_t head[2] = { 8 + len, len };
    uint8_t request[8 + SAMPLE_MAX_XFER];
    uint8_t reply[8];
    size_t got = sizeof(reply);

    memcpy(request, head, sizeof(head));
    memcpy(request + 8, data, len);
    ck_assert_int_eq(
        sample_call(c, 0x1234, VFIO_USER_MIG_DATA_WRITE, request, 8 + len, -1, reply, &got), 0);
}

/* page_size, and no range for all there is; both calls send it. */
static void set_log(struct sample_client *c, uint32_t feature)
{
    const uint32_t request[6] = { 24, VFIO_DEVICE_FEATURE_SET | feature, SAMPLE_PAGE, 0, 0, 0 };
    uint32_t reply[6];
    size_t len = sizeof(reply);

    ck_assert_int_eq(
        sample_call(c, 0, VFIO_USER_DEVICE_FEATURE, request, sizeof(request), -1, reply, &len), 0);
}

void sample_start_log(struct sample_client *c)
{
    set_log(c, VFIO_DEVICE_FEATURE_DMA_LOGGING_START);
}

void sample_stop_log(struct sample_client *c)
{
    set_log(c, VFIO_DEVICE_FEATURE_DMA_LOGGING_STOP);
}

bool sample_log_of(struct sample_client *c, const struct sample_region *region)
{
    struct {
        uint32_t argsz;
        uint32_t flags;
        uint64_t iova;
        uint64_t length;
        uint64_t page_size;
        uint64_t bitmap;
    } report = { .argsz = sizeof(report),
                 .flags = VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_DMA_LOGGING_REPORT,
                 .iova = region->address,
                 .length = SAMPLE_PAGE,
                 .page_size = SAMPLE_PAGE };

    call_well(c, VFIO_USER_DEVICE_FEATURE, &report, sizeof(report) - sizeof(report.bitmap), -1,
              &report, sizeof(report));
    ck_assert_uint_eq(report.bitmap & ~1ull, 0);
    return report.bitmap == 1;
}

/*
 * DMA and interrupts
 */

void sample_map(struct sample_client *c, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        const struct vfio_user_dma_map map = { .argsz = sizeof(map),
                                               .flags =
                                                   VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
                                               .offset = c->regions[i].offset,
                                               .address = c->regions[i].address,
                                               .size = SAMPLE_PAGE };

        c->regions[i].mapped = true;
        call_well(c, VFIO_USER_DMA_MAP, &map, sizeof(map), c->file, NULL, 0);
    }
}

static void unmap(struct sample_client *c, uint64_t address, uint64_t size, uint32_t flags)
{
    const struct vfio_user_dma_unmap request = {
        .argsz = sizeof(request), .flags = flags, .address = address, .size = size
    };
    struct vfio_user_dma_unmap reply;

    call_well(c, VFIO_USER_DMA_UNMAP, &request, sizeof(request), -1, &reply, sizeof(reply));
    ck_assert_mem_eq(&reply, &request, sizeof(reply));
}

void sample_unmap(struct sample_client *c, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        unmap(c, c->regions[i].address, SAMPLE_PAGE, 0);
        c->regions[i].mapped = false;
    }
}

void sample_unmap_all(struct sample_client *c)
{
    unmap(c, 0, 0, VFIO_DMA_UNMAP_FLAG_ALL);
    for (unsigned i = 0; i < c->n_regions; i++)
        c->regions[i].mapped = false;
}

int sample_configure_irqs(struct sample_client *c)
{
    const struct vfio_irq_set set = { .argsz = sizeof(set) + sizeof(int),
                                      .flags =
                                          VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
                                      .count = 1 };
    int fd = eventfd(0, EFD_CLOEXEC);

    ck_assert_int_ge(fd, 0);
    for (uint32_t i = 0; i < IRQ_KINDS; i++) {
        const struct vfio_irq_info ask = { .argsz = sizeof(ask), .index = i };
        struct vfio_irq_info info;

        call_well(c, VFIO_USER_DEVICE_GET_IRQ_INFO, &ask, sizeof(ask), -1, &info, sizeof(info));
        ck_assert_uint_eq(info.index, i);
    }
    call_well(c, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), fd, NULL, 0);
    return fd;
}

static struct sample_region *find_region(struct sample_client *c,
                                         const struct vfio_user_dma_access *access)
{
    for (unsigned i = 0; i < c->n_regions; i++) {
        struct sample_region *region = &c->regions[i];

        if (region->mapped && access->address >= region->address &&
            access->address + access->count <= region->address + SAMPLE_PAGE)
            return region;
    }
    ck_abort_msg("DMA at 0x%llx, where nothing is mapped", (unsigned long long)access->address);
    return NULL;
}

static uint64_t serve_one(struct sample_client *c, uint16_t command)
{
    uint8_t message[sizeof(struct vfio_user_dma_access) + SAMPLE_MAX_XFER];
    struct vfio_user_dma_access access;
    uint8_t *data = message + sizeof(access);
    struct sample_region *region;
    struct vfio_user_header header;
    off_t at;
    size_t len = sizeof(access);

    receive(c->sock, &header, sizeof(header));
    ck_assert_uint_eq(header.command, command);
    ck_assert_uint_eq(header.flags & VFIO_USER_TYPE_MASK, VFIO_USER_TYPE_COMMAND);
    ck_assert_uint_le(header.size - sizeof(header), sizeof(message));
    receive(c->sock, message, header.size - sizeof(header));
    memcpy(&access, message, sizeof(access));
    ck_assert_uint_eq(access.count, SAMPLE_MAX_XFER);
    region = find_region(c, &access);
    at = (off_t)(region->offset + (access.address - region->address));
    if (command == VFIO_USER_DMA_WRITE) {
        ck_assert_uint_eq(header.size, sizeof(header) + sizeof(access) + access.count);
        ck_assert_int_eq(pwrite(c->file, data, access.count, at), (ssize_t)access.count);
        region->written = true;
    } else {
        ck_assert_uint_eq(header.size, sizeof(header) + sizeof(access));
        ck_assert_int_eq(pread(c->file, data, access.count, at), (ssize_t)access.count);
        len += access.count;
    }
    header.flags = VFIO_USER_TYPE_REPLY;
    header.size = (uint32_t)(sizeof(header) + len);
    send_message(c->sock, &header, message, len, -1);
    return access.address;
}

uint64_t sample_serve_dma(struct sample_client *c, unsigned count)
{
    uint64_t lowest = UINT64_MAX;

    for (unsigned i = 0; i < 2 * count; i++) {
        uint64_t address = serve_one(c, i < count ? VFIO_USER_DMA_WRITE : VFIO_USER_DMA_READ);

        lowest = address < lowest ? address : lowest;
    }
    return lowest;
}

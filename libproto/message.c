/* SPDX-License-Identifier: BSD-3-Clause */
#include "message.h"

#include <errno.h>
#include <string.h>

#include "wire.h"

/* Decodes the fields behind the fixed size; w is at the payload's start. Returns 0 or -EINVAL. */
typedef int (*decode_fn)(struct wire *w, uint32_t max_data, struct message_request *out);

static int decode_version(struct wire *w, uint32_t max_data, struct message_request *out)
{
    struct vfio_user_version version;

    (void)max_data;
    wire_copy(w, &version, sizeof(version));
    out->version.major = version.major;
    out->version.minor = version.minor;
    out->version.json = NULL;
    out->version.json_len = 0;
    if (w->left > 0) {
        const char *json = (const char *)w->at;

        /* The NUL ends the payload, and no other NUL hides text behind it. */
        if (memchr(json, '\0', w->left) != json + w->left - 1)
            return -EINVAL;
        out->version.json = json;
        out->version.json_len = w->left - 1;
    }
    return 0;
}

static int decode_dma_map(struct wire *w, uint32_t max_data, struct message_request *out)
{
    const uint32_t known = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE;
    struct vfio_user_dma_map *map = &out->dma_map;

    (void)max_data;
    wire_copy(w, map, sizeof(*map));
    if (map->argsz < sizeof(*map) || (map->flags & ~known) != 0)
        return -EINVAL;
    if (map->size == 0 || map->size - 1 > UINT64_MAX - map->address)
        return -EINVAL;
    /* The file range must be one that pread can name. */
    if (map->offset > INT64_MAX || map->size > INT64_MAX - map->offset)
        return -EINVAL;
    return 0;
}

static int decode_dma_unmap(struct wire *w, uint32_t max_data, struct message_request *out)
{
    const uint32_t all = VFIO_DMA_UNMAP_FLAG_ALL | VFIO_USER_DMA_UNMAP_FLAG_ALL_RUST;
    struct vfio_user_dma_unmap *unmap = &out->dma_unmap;

    (void)max_data;
    wire_copy(w, unmap, sizeof(*unmap));
    if (unmap->argsz < sizeof(*unmap) || (unmap->flags & ~all) != 0)
        return -EINVAL;
    if ((unmap->flags & all) != 0)
        return unmap->address == 0 && unmap->size == 0 ? 0 : -EINVAL;
    if (unmap->size == 0 || unmap->size - 1 > UINT64_MAX - unmap->address)
        return -EINVAL;
    return 0;
}

static int decode_info(struct wire *w, uint32_t max_data, struct message_request *out)
{
    struct vfio_user_device_info info;

    (void)max_data;
    wire_copy(w, &info, sizeof(info));
    out->query.argsz = info.argsz;
    out->query.index = 0;
    return info.argsz < sizeof(info) ? -EINVAL : 0;
}

static int decode_region_info(struct wire *w, uint32_t max_data, struct message_request *out)
{
    struct vfio_region_info info;

    (void)max_data;
    wire_copy(w, &info, sizeof(info));
    out->query.argsz = info.argsz;
    out->query.index = info.index;
    return info.argsz < sizeof(info) ? -EINVAL : 0;
}

static int decode_irq_info(struct wire *w, uint32_t max_data, struct message_request *out)
{
    struct vfio_irq_info info;

    (void)max_data;
    wire_copy(w, &info, sizeof(info));
    out->query.argsz = info.argsz;
    out->query.index = info.index;
    return info.argsz < sizeof(info) ? -EINVAL : 0;
}

static int decode_io_fds(struct wire *w, uint32_t max_data, struct message_request *out)
{
    struct vfio_user_region_io_fds head;

    (void)max_data;
    wire_copy(w, &head, sizeof(head));
    out->query.argsz = head.argsz;
    out->query.index = head.index;
    return head.argsz < sizeof(head) || head.flags != 0 || head.count != 0 ? -EINVAL : 0;
}

static bool one_bit(uint32_t bits)
{
    return bits != 0 && (bits & (bits - 1)) == 0;
}

static int decode_set_irqs(struct wire *w, uint32_t max_data, struct message_request *out)
{
    const uint32_t known = VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK;
    struct vfio_irq_set set;

    (void)max_data;
    wire_copy(w, &set, sizeof(set));
    if (set.argsz < sizeof(set) || (set.flags & ~known) != 0 ||
        !one_bit(set.flags & VFIO_IRQ_SET_DATA_TYPE_MASK) ||
        !one_bit(set.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK))
        return -EINVAL;
    if (set.count > UINT32_MAX - set.start)
        return -EINVAL;
    /* A count of 0 is the special case "disable the whole index", spelled in one way only. */
    if (set.count == 0 &&
        (set.start != 0 || set.flags != (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER)))
        return -EINVAL;
    out->set_irqs.flags = set.flags;
    out->set_irqs.index = set.index;
    out->set_irqs.start = set.start;
    out->set_irqs.count = set.count;
    out->set_irqs.bools = NULL;
    if ((set.flags & VFIO_IRQ_SET_DATA_BOOL) != 0)
        out->set_irqs.bools = wire_take(w, set.count);
    return w->left == 0 ? 0 : -EINVAL;
}

static void decode_access(struct wire *w, struct message_request *out)
{
    struct vfio_user_region_access access;

    wire_copy(w, &access, sizeof(access));
    out->access.offset = access.offset;
    out->access.region = access.region;
    out->access.count = access.count;
    out->access.data = NULL;
}

static int decode_region_read(struct wire *w, uint32_t max_data, struct message_request *out)
{
    decode_access(w, out);
    return out->access.count > max_data ? -EINVAL : 0;
}

static int decode_region_write(struct wire *w, uint32_t max_data, struct message_request *out)
{
    decode_access(w, out);
    if (out->access.count > max_data)
        return -EINVAL;
    out->access.data = wire_take(w, out->access.count);
    return w->left == 0 ? 0 : -EINVAL;
}

static int decode_write_multi(struct wire *w, uint32_t max_data, struct message_request *out)
{
    (void)max_data;
    wire_copy(w, &out->write_multi.count, sizeof(out->write_multi.count));
    if (out->write_multi.count > MESSAGE_WRITE_MULTI_MAX)
        return -EINVAL;
    out->write_multi.writes =
        wire_take(w, out->write_multi.count * sizeof(struct vfio_user_write_single));
    if (w->bad || w->left != 0)
        return -EINVAL;
    for (uint64_t i = 0; i < out->write_multi.count; i++) {
        struct vfio_user_write_single one;

        memcpy(&one, out->write_multi.writes + i * sizeof(one), sizeof(one));
        if (one.count > sizeof(one.data))
            return -EINVAL;
    }
    return 0;
}

static int decode_feature(struct wire *w, uint32_t max_data, struct message_request *out)
{
    struct vfio_device_feature feature;
    const uint32_t methods =
        VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_PROBE;

    (void)max_data;
    wire_copy(w, &feature, sizeof(feature));
    if (feature.argsz < sizeof(feature) ||
        (feature.flags & ~(methods | VFIO_DEVICE_FEATURE_MASK)) != 0 ||
        (feature.flags & methods) == 0)
        return -EINVAL;
    if ((feature.flags & VFIO_DEVICE_FEATURE_PROBE) == 0 &&
        !one_bit(feature.flags & (VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_SET)))
        return -EINVAL;
    out->feature.argsz = feature.argsz;
    out->feature.flags = feature.flags;
    out->feature.data_len = w->left;
    out->feature.data = wire_take(w, w->left);
    return 0;
}

static int decode_mig_data(struct wire *w, uint32_t max_data, bool write,
                           struct message_request *out)
{
    struct vfio_user_mig_data mig;

    wire_copy(w, &mig, sizeof(mig));
    if (mig.argsz < sizeof(mig) || mig.size > max_data)
        return -EINVAL;
    out->mig_data.argsz = mig.argsz;
    out->mig_data.size = mig.size;
    out->mig_data.data = write ? wire_take(w, mig.size) : NULL;
    return w->left == 0 ? 0 : -EINVAL;
}

static int decode_mig_read(struct wire *w, uint32_t max_data, struct message_request *out)
{
    return decode_mig_data(w, max_data, false, out);
}

static int decode_mig_write(struct wire *w, uint32_t max_data, struct message_request *out)
{
    return decode_mig_data(w, max_data, true, out);
}

#define ANY SIZE_MAX

/*
 * The payload sizes that each command may have. Where clients are known to send more than the fixed
 * structure (a region info with room for capabilities behind it, an older device info with
 * cap_offset) the upper bound is open; else a longer payload is as wrong as a shorter one.
 */
static const struct command {
    const char *name;
    size_t min;
    size_t max;
    decode_fn decode; /* NULL: no payload to decode, or not a command for a server */
    bool to_server;
} commands[VFIO_USER_COMMAND_COUNT] = {
    [VFIO_USER_VERSION] = { "VERSION", 4, ANY, decode_version, true },
    [VFIO_USER_DMA_MAP] = { "DMA_MAP", 32, 32, decode_dma_map, true },
    [VFIO_USER_DMA_UNMAP] = { "DMA_UNMAP", 24, 24, decode_dma_unmap, true },
    [VFIO_USER_DEVICE_GET_INFO] = { "DEVICE_GET_INFO", 16, ANY, decode_info, true },
    [VFIO_USER_DEVICE_GET_REGION_INFO] = { "DEVICE_GET_REGION_INFO", 32, ANY, decode_region_info,
                                           true },
    [VFIO_USER_DEVICE_GET_REGION_IO_FDS] = { "DEVICE_GET_REGION_IO_FDS", 16, ANY, decode_io_fds,
                                             true },
    [VFIO_USER_DEVICE_GET_IRQ_INFO] = { "DEVICE_GET_IRQ_INFO", 16, ANY, decode_irq_info, true },
    [VFIO_USER_DEVICE_SET_IRQS] = { "DEVICE_SET_IRQS", 20, ANY, decode_set_irqs, true },
    [VFIO_USER_REGION_READ] = { "REGION_READ", 16, 16, decode_region_read, true },
    [VFIO_USER_REGION_WRITE] = { "REGION_WRITE", 16, ANY, decode_region_write, true },
    [VFIO_USER_DMA_READ] = { "DMA_READ", 0, 0, NULL, false },
    [VFIO_USER_DMA_WRITE] = { "DMA_WRITE", 0, 0, NULL, false },
    [VFIO_USER_DEVICE_RESET] = { "DEVICE_RESET", 0, 0, NULL, true },
    [VFIO_USER_REGION_WRITE_MULTI] = { "REGION_WRITE_MULTI", 8, ANY, decode_write_multi, true },
    [VFIO_USER_DEVICE_FEATURE] = { "DEVICE_FEATURE", 8, ANY, decode_feature, true },
    [VFIO_USER_MIG_DATA_READ] = { "MIG_DATA_READ", 8, 8, decode_mig_read, true },
    [VFIO_USER_MIG_DATA_WRITE] = { "MIG_DATA_WRITE", 8, ANY, decode_mig_write, true },
};

static const struct command *find_command(uint16_t number)
{
    if (number >= VFIO_USER_COMMAND_COUNT || commands[number].name == NULL)
        return NULL;
    return &commands[number];
}

int message_decode_header(const uint8_t *wire, size_t max_size, struct vfio_user_header *out)
{
    struct vfio_user_header hdr;

    memcpy(&hdr, wire, sizeof(hdr));
    if (hdr.size < sizeof(hdr) || hdr.size > max_size)
        return -EPROTO;
    if ((hdr.flags & VFIO_USER_TYPE_MASK) > VFIO_USER_TYPE_REPLY)
        return -EPROTO;
    *out = hdr;
    return 0;
}

int message_decode_request(const struct vfio_user_header *hdr, const uint8_t *payload,
                           uint32_t max_data, struct message_request *out)
{
    const struct command *command = find_command(hdr->command);
    size_t len = hdr->size - VFIO_USER_HEADER_SIZE;
    struct wire w = wire_init(payload, len);
    struct message_request request = { .hdr = *hdr };

    if (command == NULL || !command->to_server)
        return -ENOTSUP;
    if (len < command->min || len > command->max)
        return -EINVAL;
    if (command->decode != NULL) {
        int err = command->decode(&w, max_data, &request);

        if (err != 0)
            return err;
    }
    if (w.bad)
        return -EINVAL;
    *out = request;
    return 0;
}

/* Address and count, for DMA_READ count bytes of data, and at most padding bytes behind. */
static int decode_dma_shape(uint16_t command, struct wire w, size_t count_size, uint64_t count,
                            size_t padding, struct message_dma_reply *out)
{
    wire_copy(&w, &out->address, sizeof(out->address));
    out->count = 0;
    wire_copy(&w, &out->count, count_size);
    if (out->count != count)
        return -EINVAL;
    out->data = command == VFIO_USER_DMA_READ ? wire_take(&w, count) : NULL;
    return w.bad || (w.left != 0 && w.left != padding) ? -EINVAL : 0;
}

int message_decode_dma_reply(uint16_t command, bool narrow, const uint8_t *payload, size_t len,
                             uint64_t address, uint64_t count, struct message_dma_reply *out)
{
    struct wire w = wire_init(payload, len);
    struct message_dma_reply reply = { .address = address, .count = count, .data = NULL };
    size_t padding = narrow ? sizeof(uint32_t) : 0;

    if (!(command == VFIO_USER_DMA_WRITE && len == 0) &&
        (narrow || decode_dma_shape(command, w, sizeof(uint64_t), count, 0, &reply) != 0) &&
        decode_dma_shape(command, w, sizeof(uint32_t), count, padding, &reply) != 0)
        return -EINVAL;
    if (reply.address != address)
        return -EINVAL;
    *out = reply;
    return 0;
}

void message_encode_header(uint8_t *wire, uint16_t id, uint16_t command, uint32_t size,
                           uint32_t flags, uint32_t error)
{
    const struct vfio_user_header hdr = {
        .id = id, .command = command, .size = size, .flags = flags, .error = error
    };

    memcpy(wire, &hdr, sizeof(hdr));
}

const char *message_command_name(uint16_t command)
{
    const struct command *found = find_command(command);

    if (command == VFIO_USER_VM_INTERRUPT)
        return "VM_INTERRUPT";
    return found != NULL ? found->name : "UNKNOWN";
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/message.c: a row for every way a message can be wrong, and for every right shape. */
#include "message.h"
#include "suite.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_DATA 4096u
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Fixed parts of payloads, by the names of their structures. */
union fixed {
    struct vfio_user_version version;
    struct vfio_user_dma_map map;
    struct vfio_user_dma_unmap unmap;
    struct vfio_user_device_info info;
    struct vfio_region_info region;
    struct vfio_irq_info irq;
    struct { /* struct vfio_irq_set without its open end */
        uint32_t argsz, flags, index, start, count;
    } set;
    struct vfio_user_region_access access;
    uint64_t count;
    struct { /* struct vfio_device_feature without its open end */
        uint32_t argsz, flags;
    } feature;
    struct vfio_user_mig_data mig;
};

/*
 * Decodes a payload of len bytes, copied to its own allocation so that a read past it is seen.
 * *out is full of a mark before, and must be so after a failure.
 */
static int decode(uint16_t command, const void *payload, size_t len, struct message_request *out,
                  uint8_t **copy)
{
    struct vfio_user_header hdr = { .id = 7, .command = command };
    struct message_request untouched;
    int err;

    *copy = malloc(len > 0 ? len : 1);
    memcpy(*copy, payload, len);
    hdr.size = VFIO_USER_HEADER_SIZE + (uint32_t)len;
    memset(&untouched, 0xa5, sizeof(untouched));
    memset(out, 0xa5, sizeof(*out));
    err = message_decode_request(&hdr, *copy, MAX_DATA, out);
    if (err != 0)
        ck_assert_mem_eq(out, &untouched, sizeof(*out));
    else
        ck_assert_mem_eq(&out->hdr, &hdr, sizeof(hdr));
    return err;
}

/* fixed_len bytes of fixed, then extra bytes of text (zeros when NULL). */
struct row {
    const char *name;
    uint16_t command;
    uint16_t fixed_len;
    union fixed fixed;
    size_t extra;
    const char *text;
    int err;
};

#define MAP(...)               \
    VFIO_USER_DMA_MAP, 32,     \
    {                          \
        .map = { __VA_ARGS__ } \
    }
#define UNMAP(...)               \
    VFIO_USER_DMA_UNMAP, 24,     \
    {                            \
        .unmap = { __VA_ARGS__ } \
    }
#define INFO(...)                  \
    VFIO_USER_DEVICE_GET_INFO, 16, \
    {                              \
        .info = { __VA_ARGS__ }    \
    }
#define REGION(...)                       \
    VFIO_USER_DEVICE_GET_REGION_INFO, 32, \
    {                                     \
        .region = { __VA_ARGS__ }         \
    }
#define IO_FDS(...)                         \
    VFIO_USER_DEVICE_GET_REGION_IO_FDS, 16, \
    {                                       \
        .irq = { __VA_ARGS__ }              \
    }
#define IRQ(...)                       \
    VFIO_USER_DEVICE_GET_IRQ_INFO, 16, \
    {                                  \
        .irq = { __VA_ARGS__ }         \
    }
#define SET(...)                   \
    VFIO_USER_DEVICE_SET_IRQS, 20, \
    {                              \
        .set = { __VA_ARGS__ }     \
    }
#define READ(...)                 \
    VFIO_USER_REGION_READ, 16,    \
    {                             \
        .access = { __VA_ARGS__ } \
    }
#define WRITE(...)                \
    VFIO_USER_REGION_WRITE, 16,   \
    {                             \
        .access = { __VA_ARGS__ } \
    }
#define MULTI(n)                     \
    VFIO_USER_REGION_WRITE_MULTI, 8, \
    {                                \
        .count = (n)                 \
    }
#define FEATURE(...)               \
    VFIO_USER_DEVICE_FEATURE, 8,   \
    {                              \
        .feature = { __VA_ARGS__ } \
    }
#define MIG_R(...)              \
    VFIO_USER_MIG_DATA_READ, 8, \
    {                           \
        .mig = { __VA_ARGS__ }  \
    }
#define MIG_W(...)               \
    VFIO_USER_MIG_DATA_WRITE, 8, \
    {                            \
        .mig = { __VA_ARGS__ }   \
    }
#define VERSION                  \
    VFIO_USER_VERSION, 4,        \
    {                            \
        .version = {.minor = 1 } \
    }

#define NONE_TRIGGER (VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER)
#define BOOL_TRIGGER (VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER)
#define GET          VFIO_DEVICE_FEATURE_GET
#define PUT          VFIO_DEVICE_FEATURE_SET
#define PROBE        VFIO_DEVICE_FEATURE_PROBE

static const struct row rows[] = {
    { "no JSON", VERSION, 0, NULL, 0 },
    { "JSON", VERSION, 3, "{}", 0 },
    { "JSON is the NUL alone", VERSION, 1, "", 0 },
    { "JSON without NUL", VERSION, 2, "{}", -EINVAL },
    { "one byte, no NUL", VERSION, 1, "{", -EINVAL },
    { "JSON with inner NUL", VERSION, 6, "{}\0{}", -EINVAL },
    { "JSON with two NULs", VERSION, 4, "{}\0", -EINVAL },

    { "map", MAP(.argsz = 32, .flags = 3, .address = 4096, .size = 4096), 0, NULL, 0 },
    { "map, larger argsz", MAP(.argsz = 64, .flags = 1, .size = 1), 0, NULL, 0 },
    { "map, no access", MAP(.argsz = 32, .size = 1), 0, NULL, 0 },
    { "map to the end", MAP(.argsz = 32, .address = UINT64_MAX - 4095, .size = 4096), 0, NULL, 0 },
    { "map offset to the end", MAP(.argsz = 32, .offset = INT64_MAX - 1, .size = 1), 0, NULL, 0 },
    { "map argsz", MAP(.argsz = 31, .size = 4096), 0, NULL, -EINVAL },
    { "map flags", MAP(.argsz = 32, .flags = 4, .size = 4096), 0, NULL, -EINVAL },
    { "map high flags", MAP(.argsz = 32, .flags = 1u << 31, .size = 4096), 0, NULL, -EINVAL },
    { "map size 0", MAP(.argsz = 32, .flags = 3), 0, NULL, -EINVAL },
    { "map over the end", MAP(.argsz = 32, .address = UINT64_MAX - 4094, .size = 4096), 0, NULL,
      -EINVAL },
    { "map all but one", MAP(.argsz = 32, .address = 2, .size = UINT64_MAX), 0, NULL, -EINVAL },
    { "map offset+size", MAP(.argsz = 32, .offset = INT64_MAX, .size = 1), 0, NULL, -EINVAL },
    { "map offset", MAP(.argsz = 32, .offset = UINT64_MAX, .size = 4096), 0, NULL, -EINVAL },
    { "map negative offset", MAP(.argsz = 32, .offset = 1ull << 63, .size = 1), 0, NULL, -EINVAL },
    { "map too long", MAP(.argsz = 33, .flags = 3, .size = 1), 1, NULL, -EINVAL },

    { "unmap", UNMAP(.argsz = 24, .address = 4096, .size = 4096), 0, NULL, 0 },
    { "unmap to the end", UNMAP(.argsz = 24, .address = UINT64_MAX, .size = 1), 0, NULL, 0 },
    { "unmap all", UNMAP(.argsz = 24, .flags = VFIO_DMA_UNMAP_FLAG_ALL), 0, NULL, 0 },
    { "unmap all, rust", UNMAP(.argsz = 24, .flags = 4), 0, NULL, 0 },
    { "unmap argsz", UNMAP(.argsz = 23, .size = 4096), 0, NULL, -EINVAL },
    { "unmap dirty bitmap", UNMAP(.argsz = 24, .flags = 1, .size = 1), 0, NULL, -EINVAL },
    { "unmap flags", UNMAP(.argsz = 24, .flags = 8, .size = 1), 0, NULL, -EINVAL },
    { "unmap size 0", UNMAP(.argsz = 24, .address = 4096), 0, NULL, -EINVAL },
    { "unmap over the end", UNMAP(.argsz = 24, .address = UINT64_MAX, .size = 2), 0, NULL,
      -EINVAL },
    { "unmap all, address", UNMAP(.argsz = 24, .flags = 2, .address = 1), 0, NULL, -EINVAL },
    { "unmap all, size", UNMAP(.argsz = 24, .flags = 2, .size = 1), 0, NULL, -EINVAL },
    { "unmap too long", UNMAP(.argsz = 24, .size = 4096), 1, NULL, -EINVAL },

    { "info", INFO(.argsz = 16), 0, NULL, 0 },
    { "info of 32 bytes", INFO(.argsz = 32), 16, NULL, 0 },
    { "info argsz", INFO(.argsz = 15), 0, NULL, -EINVAL },
    { "region", REGION(.argsz = 32, .index = 8), 0, NULL, 0 },
    { "region with room", REGION(.argsz = 64, .index = 1), 32, NULL, 0 },
    { "region, any index", REGION(.argsz = 32, .index = 0xdeadbeef), 0, NULL, 0 },
    { "region argsz", REGION(.argsz = 31), 0, NULL, -EINVAL },
    { "io fds", IO_FDS(.argsz = 16, .index = 2), 0, NULL, 0 },
    { "io fds argsz", IO_FDS(.argsz = 15), 0, NULL, -EINVAL },
    { "irq", IRQ(.argsz = 16, .index = 4), 0, NULL, 0 },
    { "irq argsz", IRQ(.argsz = 15), 0, NULL, -EINVAL },

    { "set bools", SET(.argsz = 23, .flags = BOOL_TRIGGER, .count = 3), 3, "\1\0\1", 0 },
    { "set disable", SET(.argsz = 20, .flags = NONE_TRIGGER), 0, NULL, 0 },
    { "set to the end", SET(20, NONE_TRIGGER, 0, UINT32_MAX - 1, 1), 0, NULL, 0 },
    { "set argsz", SET(.argsz = 19, .flags = NONE_TRIGGER, .count = 1), 0, NULL, -EINVAL },
    { "set flags", SET(.argsz = 20, .flags = NONE_TRIGGER | 64, .count = 1), 0, NULL, -EINVAL },
    { "set overflow", SET(20, NONE_TRIGGER, 0, UINT32_MAX, 1), 0, NULL, -EINVAL },
    { "set overflow 2", SET(20, NONE_TRIGGER, 0, 2, UINT32_MAX - 1), 0, NULL, -EINVAL },
    { "set bools short", SET(23, BOOL_TRIGGER, 0, 0, 4), 3, NULL, -EINVAL },
    { "set no bools", SET(20, BOOL_TRIGGER, 0, 0, 1), 0, NULL, -EINVAL },
    { "set huge bools", SET(20, BOOL_TRIGGER, 0, 0, UINT32_MAX), 8, NULL, -EINVAL },
    { "set bools, 0", SET(20, BOOL_TRIGGER, 0, 0, 0), 0, NULL, -EINVAL },
    { "set disable, start", SET(20, NONE_TRIGGER, 0, 1, 0), 0, NULL, -EINVAL },
    { "set disable by mask", SET(20, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 0, 0), 0,
      NULL, -EINVAL },
    { "set eventfds, 0", SET(20, VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, 0),
      0, NULL, -EINVAL },
    { "set bools too long", SET(23, BOOL_TRIGGER, 0, 0, 2), 3, NULL, -EINVAL },
    { "set none too long", SET(20, NONE_TRIGGER, 0, 0, 1), 1, NULL, -EINVAL },

    { "read", READ(.offset = 8, .region = 7, .count = 4), 0, NULL, 0 },
    { "read 0", READ(.count = 0), 0, NULL, 0 },
    { "read most", READ(.count = MAX_DATA), 0, NULL, 0 },
    { "read too much", READ(.count = MAX_DATA + 1), 0, NULL, -EINVAL },
    { "read all", READ(.count = UINT32_MAX), 0, NULL, -EINVAL },
    { "read too long", READ(.count = 1), 1, NULL, -EINVAL },
    { "write", WRITE(.offset = UINT64_MAX, .region = 1, .count = 4), 4, "\1\2\3\4", 0 },
    { "write 0", WRITE(.count = 0), 0, NULL, 0 },
    { "write most", WRITE(.count = MAX_DATA), MAX_DATA, NULL, 0 },
    { "write too much", WRITE(.count = MAX_DATA + 1), MAX_DATA + 1, NULL, -EINVAL },
    { "write short", WRITE(.count = 4), 3, NULL, -EINVAL },
    { "write too long", WRITE(.count = 4), 5, NULL, -EINVAL },
    { "write all", WRITE(.count = UINT32_MAX), 4, NULL, -EINVAL },

    { "multi 0", MULTI(0), 0, NULL, 0 },
    { "multi 1", MULTI(1), 24, NULL, 0 },
    { "multi 200", MULTI(200), 200 * 24, NULL, 0 },
    { "multi most", MULTI(MESSAGE_WRITE_MULTI_MAX), MESSAGE_WRITE_MULTI_MAX * 24, NULL, 0 },
    { "multi too many", MULTI(MESSAGE_WRITE_MULTI_MAX + 1), (MESSAGE_WRITE_MULTI_MAX + 1) * 24,
      NULL, -EINVAL },
    { "multi short", MULTI(2), 47, NULL, -EINVAL },
    { "multi too long", MULTI(2), 49, NULL, -EINVAL },
    { "multi overflow", MULTI(UINT64_MAX), 24, NULL, -EINVAL },
    { "multi wraps to 0", MULTI(1ull << 61), 0, NULL, -EINVAL },
    { "multi wraps to 24", MULTI((1ull << 61) + 1), 24, NULL, -EINVAL },

    { "get", FEATURE(.argsz = 16, .flags = GET | 1), 0, NULL, 0 },
    { "set", FEATURE(.argsz = 16, .flags = PUT | 2), 8, NULL, 0 },
    { "probe", FEATURE(.argsz = 8, .flags = PROBE | 2), 0, NULL, 0 },
    { "probe get", FEATURE(.argsz = 8, .flags = PROBE | GET), 0, NULL, 0 },
    { "probe both", FEATURE(.argsz = 8, .flags = PROBE | GET | PUT | 0xffff), 0, NULL, 0 },
    { "feature argsz", FEATURE(.argsz = 7, .flags = GET), 0, NULL, -EINVAL },
    { "feature, no method", FEATURE(.argsz = 8, .flags = 1), 0, NULL, -EINVAL },
    { "get and set", FEATURE(.argsz = 8, .flags = GET | PUT), 0, NULL, -EINVAL },
    { "feature flags", FEATURE(.argsz = 8, .flags = GET | 1u << 19), 0, NULL, -EINVAL },
    { "feature high flag", FEATURE(.argsz = 8, .flags = PROBE | 1u << 31), 0, NULL, -EINVAL },

    { "mig read", MIG_R(.argsz = 8 + MAX_DATA, .size = MAX_DATA), 0, NULL, 0 },
    { "mig read argsz", MIG_R(.argsz = 7, .size = 1), 0, NULL, -EINVAL },
    { "mig read too much", MIG_R(.argsz = 8192, .size = MAX_DATA + 1), 0, NULL, -EINVAL },
    { "mig read too long", MIG_R(.argsz = 9, .size = 1), 1, NULL, -EINVAL },
    { "mig write", MIG_W(.argsz = 12, .size = 4), 4, NULL, 0 },
    { "mig write 0", MIG_W(.argsz = 8), 0, NULL, 0 },
    { "mig write most", MIG_W(.argsz = 8 + MAX_DATA, .size = MAX_DATA), MAX_DATA, NULL, 0 },
    { "mig write argsz", MIG_W(.argsz = 7, .size = 4), 4, NULL, -EINVAL },
    { "mig write short", MIG_W(.argsz = 12, .size = 4), 3, NULL, -EINVAL },
    { "mig write too long", MIG_W(.argsz = 12, .size = 4), 5, NULL, -EINVAL },
    { "mig write all", MIG_W(.argsz = 12, .size = UINT32_MAX), 4, NULL, -EINVAL },
    { "mig write too much", MIG_W(.argsz = 8192, .size = MAX_DATA + 1), MAX_DATA + 1, NULL,
      -EINVAL },

    { "reset", VFIO_USER_DEVICE_RESET, 0, { .count = 0 }, 0, NULL, 0 },
    { "reset too long", VFIO_USER_DEVICE_RESET, 0, { .count = 0 }, 1, NULL, -EINVAL },
    { "DMA_READ", VFIO_USER_DMA_READ, 0, { .count = 0 }, 16, NULL, -ENOTSUP },
    { "DMA_WRITE", VFIO_USER_DMA_WRITE, 0, { .count = 0 }, 16, NULL, -ENOTSUP },
    { "0", 0, 0, { .count = 0 }, 0, NULL, -ENOTSUP },
    { "14", 14, 0, { .count = 0 }, 0, NULL, -ENOTSUP },
    { "19", 19, 0, { .count = 0 }, 0, NULL, -ENOTSUP },
    { "65535", UINT16_MAX, 0, { .count = 0 }, 100, NULL, -ENOTSUP },
};

static void check_row(const struct row *row)
{
    size_t len = row->fixed_len + row->extra;
    uint8_t *payload = calloc(1, len + 1);
    struct message_request out;
    uint8_t *copy;
    int err;

    memcpy(payload, &row->fixed, row->fixed_len);
    if (row->text != NULL)
        memcpy(payload + row->fixed_len, row->text, row->extra);
    err = decode(row->command, payload, len, &out, &copy);
    ck_assert_msg(err == row->err, "%s: %d, not %d", row->name, err, row->err);
    free(copy);
    free(payload);
}

/* The rows of one command; the last round has those of all higher numbers. */
START_TEST(test_rows)
{
    for (const struct row *row = rows; row < rows + COUNT(rows); row++) {
        if (row->command == _i || (_i == VFIO_USER_COMMAND_COUNT && row->command > _i))
            check_row(row);
    }
}
END_TEST

/* Every length from nothing to the fixed size less one, of each valid row. */
START_TEST(test_too_short)
{
    for (const struct row *row = rows; row < rows + COUNT(rows); row++) {
        for (size_t len = 0; row->err == 0 && len < row->fixed_len; len++) {
            struct message_request out;
            uint8_t *copy;
            int err = decode(row->command, &row->fixed, len, &out, &copy);

            ck_assert_msg(err == -EINVAL, "%s, %zu bytes: %d", row->name, len, err);
            free(copy);
        }
    }
}
END_TEST

/* Bits 0 to 5 in every combination: one data flag, one action flag, and only these. */
static void check_set_irqs_flags(uint32_t flags)
{
    struct vfio_irq_set set = { .argsz = 21, .flags = flags, .count = 1 };
    uint32_t data = flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
    uint32_t action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
    bool valid =
        (data == 1 || data == 2 || data == 4) && (action == 8 || action == 16 || action == 32);
    bool bools = data == VFIO_IRQ_SET_DATA_BOOL;
    uint8_t payload[21] = { 0 };
    struct message_request out;
    uint8_t *copy;
    int err;

    memcpy(payload, &set, sizeof(set));
    err = decode(VFIO_USER_DEVICE_SET_IRQS, payload, bools ? 21 : 20, &out, &copy);
    ck_assert_msg(err == (valid ? 0 : -EINVAL), "flags %#x: %d", flags, err);
    if (valid) {
        ck_assert_uint_eq(out.set_irqs.flags, flags);
        ck_assert((out.set_irqs.bools != NULL) == bools);
    }
    free(copy);
}

START_TEST(test_set_irqs_flags)
{
    for (uint32_t flags = 0; flags < 64; flags++)
        check_set_irqs_flags(flags);
}
END_TEST

/* A write of more than 8 bytes cannot be in a bundle, wherever in it. */
START_TEST(test_write_multi_counts)
{
    struct vfio_user_write_single writes[3] = { { .count = 1 }, { .count = 8 }, { .count = 4 } };
    static const uint32_t counts[] = { 9, 16, UINT32_MAX };
    uint8_t payload[8 + sizeof(writes)] = { 3 };
    struct message_request out;
    uint8_t *copy;

    for (unsigned i = 0; i < COUNT(counts); i++) {
        writes[_i].count = counts[i];
        memcpy(payload + 8, writes, sizeof(writes));
        ck_assert_int_eq(
            decode(VFIO_USER_REGION_WRITE_MULTI, payload, sizeof(payload), &out, &copy), -EINVAL);
        free(copy);
    }
}
END_TEST

/* What the views of valid requests show. */
START_TEST(test_views)
{
    static const uint8_t version[] = { 0, 0, 1, 0, '{', '}', 0 };
    static const struct vfio_irq_info irq = { .argsz = 99, .flags = 1, .index = 3, .count = 5 };
    static const struct vfio_region_info region = { .argsz = 77, .index = 6 };
    struct message_request out;
    uint8_t *copy;

    ck_assert_int_eq(decode(VFIO_USER_VERSION, version, sizeof(version), &out, &copy), 0);
    ck_assert(out.version.major == 0 && out.version.minor == 1);
    ck_assert_uint_eq(out.version.json_len, 2);
    ck_assert_ptr_eq(out.version.json, (const char *)copy + 4);
    free(copy);
    ck_assert_int_eq(decode(VFIO_USER_VERSION, version, 4, &out, &copy), 0);
    ck_assert(out.version.json == NULL && out.version.json_len == 0);
    free(copy);
    ck_assert_int_eq(decode(VFIO_USER_DEVICE_GET_IRQ_INFO, &irq, sizeof(irq), &out, &copy), 0);
    ck_assert(out.query.argsz == 99 && out.query.index == 3);
    free(copy);
    ck_assert_int_eq(decode(VFIO_USER_DEVICE_GET_REGION_INFO, &region, sizeof(region), &out, &copy),
                     0);
    ck_assert(out.query.argsz == 77 && out.query.index == 6);
    free(copy);
}
END_TEST

START_TEST(test_views_of_data)
{
    static const struct vfio_irq_set set = { 22, BOOL_TRIGGER, 2, 3, 2 };
    static const struct vfio_user_region_access write = { 0x1122334455, 6, 4 };
    static const struct vfio_user_mig_data mig = { 12, 4 };
    static const struct vfio_device_feature feature = { 20, PUT | 2 };
    uint8_t payload[64] = { 0 };
    struct message_request out;
    uint8_t *copy;

    memcpy(payload, &set, sizeof(set));
    ck_assert_int_eq(decode(VFIO_USER_DEVICE_SET_IRQS, payload, 22, &out, &copy), 0);
    ck_assert_uint_eq(out.set_irqs.index, 2);
    ck_assert_uint_eq(out.set_irqs.start, 3);
    ck_assert_uint_eq(out.set_irqs.count, 2);
    ck_assert_ptr_eq(out.set_irqs.bools, copy + 20);
    free(copy);
    memcpy(payload, &write, sizeof(write));
    ck_assert_int_eq(decode(VFIO_USER_REGION_WRITE, payload, 20, &out, &copy), 0);
    ck_assert_uint_eq(out.access.offset, 0x1122334455);
    ck_assert_uint_eq(out.access.region, 6);
    ck_assert_uint_eq(out.access.count, 4);
    ck_assert_ptr_eq(out.access.data, copy + 16);
    free(copy);
    ck_assert_int_eq(decode(VFIO_USER_REGION_READ, payload, 16, &out, &copy), 0);
    ck_assert_ptr_null(out.access.data);
    free(copy);
    memcpy(payload, &mig, sizeof(mig));
    ck_assert_int_eq(decode(VFIO_USER_MIG_DATA_WRITE, payload, 12, &out, &copy), 0);
    ck_assert_uint_eq(out.mig_data.size, 4);
    ck_assert_ptr_eq(out.mig_data.data, copy + 8);
    free(copy);
    ck_assert_int_eq(decode(VFIO_USER_MIG_DATA_READ, payload, 8, &out, &copy), 0);
    ck_assert_ptr_null(out.mig_data.data);
    free(copy);
    memcpy(payload, &feature, sizeof(feature));
    ck_assert_int_eq(decode(VFIO_USER_DEVICE_FEATURE, payload, 20, &out, &copy), 0);
    ck_assert_uint_eq(out.feature.argsz, 20);
    ck_assert_uint_eq(out.feature.flags, PUT | 2);
    ck_assert_uint_eq(out.feature.data_len, 12);
    ck_assert_ptr_eq(out.feature.data, copy + 8);
    free(copy);
}
END_TEST

/*
 * Headers
 */

static int decode_header(const struct vfio_user_header *hdr, size_t max)
{
    struct vfio_user_header out, untouched;
    int err;

    memset(&out, 0xa5, sizeof(out));
    untouched = out;
    err = message_decode_header((const uint8_t *)hdr, max, &out);
    ck_assert_mem_eq(&out, err == 0 ? hdr : &untouched, sizeof(out));
    return err;
}

START_TEST(test_header_size)
{
    static const uint32_t sizes[] = { 16, 17, 99, 100, 101, 0x7fffffff, 0x80000000, UINT32_MAX };
    struct vfio_user_header hdr = { .id = 0xabcd, .command = 99, .error = 5 };

    for (hdr.size = 0; hdr.size < 16; hdr.size++)
        ck_assert_int_eq(decode_header(&hdr, 100), -EPROTO);
    for (unsigned i = 0; i < COUNT(sizes); i++) {
        hdr.size = sizes[i];
        ck_assert_int_eq(decode_header(&hdr, 100), sizes[i] <= 100 ? 0 : -EPROTO);
    }
    ck_assert_int_eq(decode_header(&hdr, SIZE_MAX), 0);
}
END_TEST

START_TEST(test_header_type)
{
    struct vfio_user_header hdr = { .size = 16, .flags = (uint32_t)_i };

    ck_assert_int_eq(decode_header(&hdr, 100), _i < 2 ? 0 : -EPROTO);
    hdr.flags |= VFIO_USER_NO_REPLY | VFIO_USER_ERROR;
    ck_assert_int_eq(decode_header(&hdr, 100), _i < 2 ? 0 : -EPROTO);
}
END_TEST

START_TEST(test_encode_header)
{
    static const uint16_t words[] = { 0x1234, VFIO_USER_REGION_READ };
    static const uint32_t longs[] = { 0x10020, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR, EEXIST };
    uint8_t wire[18];

    memset(wire, 0xa5, sizeof(wire));
    message_encode_header(wire + 1, 0x1234, VFIO_USER_REGION_READ, 0x10020,
                          VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR, EEXIST);
    ck_assert_mem_eq(wire + 1, words, sizeof(words));
    ck_assert_mem_eq(wire + 5, longs, sizeof(longs));
    ck_assert(wire[0] == 0xa5 && wire[17] == 0xa5);
}
END_TEST

START_TEST(test_names)
{
    static const uint16_t without[] = { 0, 14, VFIO_USER_COMMAND_COUNT, UINT16_MAX };

    ck_assert_str_eq(message_command_name(VFIO_USER_VERSION), "VERSION");
    ck_assert_str_eq(message_command_name(VFIO_USER_MIG_DATA_WRITE), "MIG_DATA_WRITE");
    for (unsigned i = 0; i < COUNT(without); i++)
        ck_assert_str_eq(message_command_name(without[i]), "UNKNOWN");
}
END_TEST

/*
 * Replies to DMA commands: what was asked, what the reply holds.
 */

static const struct dma_row {
    const char *name;
    uint16_t command;
    size_t head; /* bytes of address and count */
    uint64_t address;
    uint64_t count; /* in the reply; 4 at 0x1000 was asked */
    size_t data_len;
    int err;
    bool narrow;
} dma_rows[] = {
    { "read, u64", VFIO_USER_DMA_READ, 16, 0x1000, 4, 4, 0, false },
    { "read, u32", VFIO_USER_DMA_READ, 12, 0x1000, 4, 4, 0, false },
    { "read, empty", VFIO_USER_DMA_READ, 0, 0, 0, 0, -EINVAL, false },
    { "read, address only", VFIO_USER_DMA_READ, 8, 0x1000, 0, 0, -EINVAL, false },
    { "read, 11 bytes", VFIO_USER_DMA_READ, 11, 0x1000, 4, 0, -EINVAL, false },
    { "read, no data", VFIO_USER_DMA_READ, 12, 0x1000, 4, 0, -EINVAL, false },
    { "read, u64, less data", VFIO_USER_DMA_READ, 16, 0x1000, 4, 3, -EINVAL, false },
    { "read, u64, more data", VFIO_USER_DMA_READ, 16, 0x1000, 4, 5, -EINVAL, false },
    { "read, u32, less data", VFIO_USER_DMA_READ, 12, 0x1000, 4, 3, -EINVAL, false },
    { "read, u32, more data", VFIO_USER_DMA_READ, 12, 0x1000, 4, 5, -EINVAL, false },
    { "read, other count", VFIO_USER_DMA_READ, 16, 0x1000, 3, 3, -EINVAL, false },
    { "read, high count", VFIO_USER_DMA_READ, 16, 0x1000, 4 + (1ull << 32), 4, -EINVAL, false },
    { "read, other address", VFIO_USER_DMA_READ, 16, 0x1001, 4, 4, -EINVAL, false },
    { "read, u32, other address", VFIO_USER_DMA_READ, 12, 0x1001, 4, 4, -EINVAL, false },
    { "read, narrow", VFIO_USER_DMA_READ, 12, 0x1000, 4, 4, 0, true },
    { "read, narrow and padded", VFIO_USER_DMA_READ, 12, 0x1000, 4, 8, 0, true },
    { "read, narrow, 2 bytes more", VFIO_USER_DMA_READ, 12, 0x1000, 4, 6, -EINVAL, true },
    { "read, narrow, 5 bytes more", VFIO_USER_DMA_READ, 12, 0x1000, 4, 9, -EINVAL, true },
    { "read, narrow, less data", VFIO_USER_DMA_READ, 12, 0x1000, 4, 3, -EINVAL, true },
    { "read, padded, not narrow", VFIO_USER_DMA_READ, 12, 0x1000, 4, 8, -EINVAL, false },
    { "write, narrow, bare header", VFIO_USER_DMA_WRITE, 0, 0, 0, 0, 0, true },
    { "write, u64", VFIO_USER_DMA_WRITE, 16, 0x1000, 4, 0, 0, false },
    { "write, u32", VFIO_USER_DMA_WRITE, 12, 0x1000, 4, 0, 0, false },
    { "write, bare header", VFIO_USER_DMA_WRITE, 0, 0, 0, 0, 0, false },
    { "write, 8 bytes", VFIO_USER_DMA_WRITE, 8, 0x1000, 4, 0, -EINVAL, false },
    { "write, 1 byte", VFIO_USER_DMA_WRITE, 1, 0x1000, 4, 0, -EINVAL, false },
    { "write, 13 bytes", VFIO_USER_DMA_WRITE, 13, 0x1000, 4, 0, -EINVAL, false },
    { "write, with data", VFIO_USER_DMA_WRITE, 16, 0x1000, 4, 4, -EINVAL, false },
    { "write, other count", VFIO_USER_DMA_WRITE, 16, 0x1000, 5, 0, -EINVAL, false },
    { "write, other address", VFIO_USER_DMA_WRITE, 12, 0x2000, 4, 0, -EINVAL, false },
};

START_TEST(test_dma_reply)
{
    const struct dma_row *row = &dma_rows[_i];
    const struct vfio_user_dma_access head = { row->address, row->count };
    size_t len = row->head + row->data_len;
    uint8_t *payload = malloc(len > 0 ? len : 1);
    struct message_dma_reply out, untouched;
    int err;

    memset(&out, 0xa5, sizeof(out));
    untouched = out;
    memcpy(payload, &head, row->head);
    memset(payload + row->head, 0x5a, row->data_len);
    err = message_decode_dma_reply(row->command, row->narrow, payload, len, 0x1000, 4, &out);
    ck_assert_msg(err == row->err, "%s: %d", row->name, err);
    if (err != 0) {
        ck_assert_mem_eq(&out, &untouched, sizeof(out));
    } else {
        ck_assert_uint_eq(out.address, 0x1000);
        ck_assert_uint_eq(out.count, 4);
        if (row->command == VFIO_USER_DMA_READ)
            ck_assert_ptr_eq(out.data, payload + row->head);
        else
            ck_assert_ptr_null(out.data);
    }
    free(payload);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("message");
    TCase *tc = tcase_create("message");

    tcase_add_loop_test(tc, test_rows, 0, VFIO_USER_COMMAND_COUNT + 1);
    tcase_add_test(tc, test_too_short);
    tcase_add_test(tc, test_set_irqs_flags);
    tcase_add_loop_test(tc, test_write_multi_counts, 0, 3);
    tcase_add_test(tc, test_views);
    tcase_add_test(tc, test_views_of_data);
    tcase_add_test(tc, test_header_size);
    tcase_add_loop_test(tc, test_header_type, 0, 16);
    tcase_add_test(tc, test_encode_header);
    tcase_add_test(tc, test_names);
    tcase_add_loop_test(tc, test_dma_reply, 0, COUNT(dma_rows));
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/version.c: what clients send, what is wrong with it, and what comes of both sides. */
#include "version.h"

#include <check.h>
#include <errno.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>

#include "suite.h"
#include "vfio_user.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define ALL_CAPS 0x1ffu

static const char qemu_json[] =
    "{\"capabilities\": {\"max_msg_fds\": 16, \"max_data_xfer_size\": 1048576, \"pgsizes\": 4096, "
    "\"max_dma_maps\": 65535, \"migration\": {\"pgsize\": 4096, \"max_bitmap_size\": 268435456}, "
    "\"write_multiple\": true}}";

static const char cloud_hypervisor_json[] = "{\"capabilities\":{\"max_msg_fds\":1,"
                                            "\"max_data_xfer_size\":1048576,"
                                            "\"migration\":{\"pgsize\":4096}}}";

static const char sample_json[] =
    "{\"capabilities\":{\"max_msg_fds\":32,\"max_data_xfer_size\":1024}}";

/* What a server of everything would offer. */
static struct version_caps server_caps(void)
{
    struct version_caps caps;

    version_defaults(&caps);
    caps.present = ALL_CAPS;
    caps.max_msg_fds = 16;
    caps.twin_socket = true;
    caps.write_multiple = true;
    return caps;
}

static struct version_caps parse(uint16_t minor, const char *json)
{
    struct version_caps caps;
    const char *field = NULL;

    ck_assert_msg(version_parse(0, minor, json, strlen(json), &caps, &field) == 0, "%s: %s", json,
                  field);
    return caps;
}

/* Parses a copy without a byte behind its NUL. */
static int parse_copy(const char *json, size_t len, struct version_caps *caps, const char **field)
{
    char *copy = malloc(len + 1);
    int err;

    memcpy(copy, json, len);
    copy[len] = '\0';
    err = version_parse(0, 1, copy, len, caps, field);
    free(copy);
    return err;
}

START_TEST(test_defaults)
{
    struct version_caps caps, parsed;
    const char *field;

    memset(&caps, 0xa5, sizeof(caps));
    version_defaults(&caps);
    ck_assert_uint_eq(caps.present, 0);
    ck_assert_uint_eq(caps.unknown, 0);
    ck_assert_uint_eq(caps.max_msg_fds, 1);
    ck_assert_uint_eq(caps.max_data_xfer_size, 1048576);
    ck_assert_uint_eq(caps.max_dma_maps, 65535);
    ck_assert_uint_eq(caps.pgsizes, 4096);
    ck_assert(!caps.twin_socket);
    ck_assert_int_eq(caps.twin_socket_fd_index, -1);
    ck_assert(!caps.write_multiple);

    ck_assert_int_eq(version_parse(3, 4, NULL, 0, &parsed, &field), 0);
    ck_assert_uint_eq(parsed.major, 3);
    ck_assert_uint_eq(parsed.minor, 4);
    ck_assert_uint_eq(parsed.present, 0);
    ck_assert_uint_eq(parsed.max_msg_fds, 1);
    parsed = parse(1, "{}");
    ck_assert_uint_eq(parsed.present, 0);
    ck_assert_uint_eq(parsed.max_data_xfer_size, 1048576);
    parsed = parse(1, "{\"capabilities\":{}}");
    ck_assert_uint_eq(parsed.present, 0);
}
END_TEST

START_TEST(test_parse_clients)
{
    struct version_caps qemu = parse(0, qemu_json);
    struct version_caps cloud = parse(1, cloud_hypervisor_json);
    struct version_caps sample = parse(1, sample_json);

    ck_assert_uint_eq(qemu.minor, 0);
    ck_assert_uint_eq(qemu.present, ALL_CAPS & ~(uint32_t)VERSION_TWIN_SOCKET);
    ck_assert_uint_eq(qemu.unknown, 0);
    ck_assert_uint_eq(qemu.max_msg_fds, 16);
    ck_assert_uint_eq(qemu.max_data_xfer_size, 1048576);
    ck_assert_uint_eq(qemu.max_dma_maps, 65535);
    ck_assert_uint_eq(qemu.pgsizes, 4096);
    ck_assert(qemu.write_multiple);
    ck_assert_uint_eq(qemu.migration_pgsize, 4096);
    ck_assert_uint_eq(qemu.migration_max_bitmap_size, 268435456);

    ck_assert_uint_eq(cloud.present, VERSION_MAX_MSG_FDS | VERSION_MAX_DATA_XFER_SIZE |
                                         VERSION_MIGRATION | VERSION_MIGRATION_PGSIZE);
    ck_assert_uint_eq(cloud.max_msg_fds, 1);
    ck_assert(!cloud.write_multiple);

    ck_assert_uint_eq(sample.present, VERSION_MAX_MSG_FDS | VERSION_MAX_DATA_XFER_SIZE);
    ck_assert_uint_eq(sample.max_msg_fds, 32);
    ck_assert_uint_eq(sample.max_data_xfer_size, 1024);
    ck_assert_uint_eq(sample.pgsizes, 4096);
}
END_TEST

START_TEST(test_parse_rest)
{
    struct version_caps caps;

    caps = parse(1, "{\"capabilities\":{\"twin_socket\":{\"supported\":true,\"fd_index\":3}}}");
    ck_assert(caps.twin_socket);
    ck_assert_int_eq(caps.twin_socket_fd_index, 3);
    ck_assert_uint_eq(caps.present, VERSION_TWIN_SOCKET);
    caps = parse(1, "{\"capabilities\":{\"twin_socket\":{}}}");
    ck_assert(!caps.twin_socket);
    ck_assert_int_eq(caps.twin_socket_fd_index, -1);
    caps = parse(1, "{\"capabilities\":{\"write_multiple\":false,\"max_msg_fds\":0}}");
    ck_assert(!caps.write_multiple);
    ck_assert_uint_eq(caps.max_msg_fds, 0);
    caps = parse(1, "{\"capabilities\":{\"pgsizes\":18446744073709551615}}");
    ck_assert_uint_eq(caps.pgsizes, UINT64_MAX);
    caps = parse(1, "{\"capabilities\":{\"cmd_cnt\":1,\"max_msg_fds\":2,\"x\":{\"y\":[1,2]},"
                    "\"migration\":{\"z\":null,\"pgsize\":1}},\"other\":true}");
    ck_assert_uint_eq(caps.unknown, 3);
    ck_assert_uint_eq(caps.max_msg_fds, 2);
    ck_assert_uint_eq(caps.migration_pgsize, 1);
}
END_TEST

#define CAPS(text) "{\"capabilities\":{" text "}}"

static const struct bad {
    const char *json;
    const char *field;
} bads[] = {
    { "", "version data" },
    { " ", "version data" },
    { "{", "version data" },
    { "[]", "version data" },
    { "null", "version data" },
    { "1", "version data" },
    { "\"x\"", "version data" },
    { "{} x", "version data" },
    { "{}{}", "version data" },
    { "{\"capabilities\":{}", "version data" },
    { "{\"capabilities\":{},}", "version data" },
    { "{\"x\":\"\xff\"}", "version data" },
    { "{\"x\":\"\x80\"}", "version data" },
    { "{\"\xe2\x82\":1}", "version data" },
    { "{\"capabilities\":null}", "capabilities" },
    { "{\"capabilities\":[]}", "capabilities" },
    { "{\"capabilities\":1}", "capabilities" },
    { CAPS("\"max_msg_fds\":-1"), "max_msg_fds" },
    { CAPS("\"max_msg_fds\":\"8\""), "max_msg_fds" },
    { CAPS("\"max_msg_fds\":1.5"), "max_msg_fds" },
    { CAPS("\"max_msg_fds\":null"), "max_msg_fds" },
    { CAPS("\"max_msg_fds\":true"), "max_msg_fds" },
    { CAPS("\"max_data_xfer_size\":{}"), "max_data_xfer_size" },
    { CAPS("\"max_data_xfer_size\":-9223372036854775808"), "max_data_xfer_size" },
    { CAPS("\"max_data_xfer_size\":-99999999999999999999"), "max_data_xfer_size" },
    { CAPS("\"max_dma_maps\":[]"), "max_dma_maps" },
    { CAPS("\"max_dma_maps\":-2"), "max_dma_maps" },
    { CAPS("\"pgsizes\":false"), "pgsizes" },
    { CAPS("\"pgsizes\":-4096"), "pgsizes" },
    { CAPS("\"write_multiple\":1"), "write_multiple" },
    { CAPS("\"write_multiple\":\"true\""), "write_multiple" },
    { CAPS("\"write_multiple\":null"), "write_multiple" },
    { CAPS("\"migration\":true"), "migration" },
    { CAPS("\"migration\":null"), "migration" },
    { CAPS("\"migration\":{\"pgsize\":\"4096\"}"), "pgsize" },
    { CAPS("\"migration\":{\"pgsize\":-1}"), "pgsize" },
    { CAPS("\"migration\":{\"max_bitmap_size\":{}}"), "max_bitmap_size" },
    { CAPS("\"migration\":{\"max_bitmap_size\":-1}"), "max_bitmap_size" },
    { CAPS("\"twin_socket\":true"), "twin_socket" },
    { CAPS("\"twin_socket\":null"), "twin_socket" },
    { CAPS("\"twin_socket\":{\"supported\":1}"), "twin_socket.supported" },
    { CAPS("\"twin_socket\":{\"supported\":\"yes\"}"), "twin_socket.supported" },
    { CAPS("\"twin_socket\":{\"fd_index\":true}"), "twin_socket.fd_index" },
    { CAPS("\"twin_socket\":{\"fd_index\":-1}"), "twin_socket.fd_index" },
    { CAPS("\"twin_socket\":{\"fd_index\":2147483648}"), "twin_socket.fd_index" },
    { CAPS("\"unknown\":1,\"max_msg_fds\":\"\""), "max_msg_fds" },
};

START_TEST(test_parse_bad)
{
    struct version_caps caps, untouched;
    const char *field = NULL;

    memset(&caps, 0xa5, sizeof(caps));
    untouched = caps;
    ck_assert_int_eq(parse_copy(bads[_i].json, strlen(bads[_i].json), &caps, &field), -EINVAL);
    ck_assert_str_eq(field, bads[_i].field);
    ck_assert_mem_eq(&caps, &untouched, sizeof(caps));
}
END_TEST

/* Text behind a NUL is not hidden by it. */
START_TEST(test_parse_inner_nul)
{
    struct version_caps caps;
    const char *field = NULL;

    ck_assert_int_eq(parse_copy("{}\0{}", 5, &caps, &field), -EINVAL);
    ck_assert_str_eq(field, "version data");
}
END_TEST

/* However deep: an answer, not a full stack. */
START_TEST(test_parse_deep)
{
    static const unsigned depths[] = { 2, 100, 1000000 };
    char *json = malloc(2000100);

    for (unsigned i = 0; i < COUNT(depths); i++) {
        struct version_caps caps;
        const char *field = NULL;
        size_t n = depths[i];
        int err;

        strcpy(json, "{\"x\":");
        memset(json + 5, '[', n);
        memset(json + 5 + n, ']', n);
        strcpy(json + 5 + 2 * n, "}");
        err = parse_copy(json, strlen(json), &caps, &field);
        ck_assert_int_eq(err, n == 2 ? 0 : -EINVAL);
        if (err != 0)
            ck_assert_str_eq(field, "version data");
    }
    free(json);
}
END_TEST

/* Every beginning of a good message is a bad one, read without a byte too many. */
START_TEST(test_parse_cut)
{
    for (size_t len = 0; len < sizeof(qemu_json) - 1; len++) {
        struct version_caps caps;
        const char *field;

        ck_assert_int_eq(parse_copy(qemu_json, len, &caps, &field), -EINVAL);
    }
}
END_TEST

/*
 * Negotiation: one number of the client's (-1: not named), one of ours, and what holds.
 */
static const struct number_row {
    int64_t client;
    int64_t ours;
    uint64_t result;
    bool told;
} number_rows[] = {
    { 10, 20, 10, true }, { 20, 10, 10, true },      { 7, 7, 7, true },
    { 0, 5, 0, true },    { -1, 500, 500, true },    { -1, 1048576, 1048576, false },
    { 5, -1, 0, false },  { -1, 2097152, 0, false },
};

START_TEST(test_negotiate_number)
{
    const struct number_row *row = &number_rows[_i];
    struct version_caps client, ours, out;

    version_defaults(&client);
    version_defaults(&ours);
    if (row->client >= 0) {
        client.max_data_xfer_size = (uint64_t)row->client;
        client.present = VERSION_MAX_DATA_XFER_SIZE;
    }
    if (row->ours >= 0) {
        ours.max_data_xfer_size = (uint64_t)row->ours;
        ours.present = VERSION_MAX_DATA_XFER_SIZE;
    }
    ck_assert_int_eq(version_negotiate(&client, &ours, &out), 0);
    ck_assert_uint_eq(out.present, row->told ? VERSION_MAX_DATA_XFER_SIZE : 0);
    if (row->result > 0 || row->told)
        ck_assert_uint_eq(out.max_data_xfer_size, row->result);
}
END_TEST

/* Every limit under its default is told, whatever the client named. */
START_TEST(test_negotiate_limits)
{
    struct version_caps client, ours, out;

    version_defaults(&client);
    version_defaults(&ours);
    ours.present = ALL_CAPS;
    ours.max_msg_fds = 0;
    ours.max_data_xfer_size = 4096;
    ours.max_dma_maps = 8;
    ours.write_multiple = true;
    ours.twin_socket = true;
    ck_assert_int_eq(version_negotiate(&client, &ours, &out), 0);
    ck_assert_uint_eq(out.present,
                      VERSION_MAX_MSG_FDS | VERSION_MAX_DATA_XFER_SIZE | VERSION_MAX_DMA_MAPS);
    ck_assert_uint_eq(out.max_msg_fds, 0);
    ck_assert_uint_eq(out.max_data_xfer_size, 4096);
    ck_assert_uint_eq(out.max_dma_maps, 8);
    ck_assert(!out.write_multiple);
    ck_assert(!out.twin_socket);
}
END_TEST

START_TEST(test_negotiate_version)
{
    static const uint16_t minors[][3] = { { 0, 1, 0 }, { 1, 1, 1 }, { 2, 1, 1 }, { 9, 0, 0 } };
    struct version_caps client, ours, out, untouched;

    version_defaults(&client);
    version_defaults(&ours);
    for (unsigned i = 0; i < COUNT(minors); i++) {
        client.minor = minors[i][0];
        ours.minor = minors[i][1];
        ck_assert_int_eq(version_negotiate(&client, &ours, &out), 0);
        ck_assert_uint_eq(out.major, 0);
        ck_assert_uint_eq(out.minor, minors[i][2]);
    }
    client.major = 1;
    memset(&out, 0xa5, sizeof(out));
    untouched = out;
    ck_assert_int_eq(version_negotiate(&client, &ours, &out), -ENOTSUP);
    ck_assert_mem_eq(&out, &untouched, sizeof(out));
}
END_TEST

/* Bit 0: the client names it, 1: with true; 2 and 3: the same of us. */
START_TEST(test_negotiate_booleans)
{
    struct version_caps client, ours, out;
    bool both = (_i & 5) == 5;
    uint32_t caps = VERSION_WRITE_MULTIPLE | VERSION_TWIN_SOCKET;

    version_defaults(&client);
    version_defaults(&ours);
    client.present = (_i & 1) != 0 ? caps : 0;
    ours.present = (_i & 4) != 0 ? caps : 0;
    client.write_multiple = client.twin_socket = (_i & 3) == 3;
    ours.write_multiple = ours.twin_socket = (_i & 12) == 12;
    ck_assert_int_eq(version_negotiate(&client, &ours, &out), 0);
    ck_assert(out.write_multiple == (_i == 15));
    ck_assert(out.twin_socket == (_i == 15));
    ck_assert(both || (out.present & caps) == 0);
    ck_assert(_i != 15 || (out.present & caps) == caps);
    ck_assert_int_eq(out.twin_socket_fd_index, -1);
}
END_TEST

START_TEST(test_negotiate_sets)
{
    struct version_caps client = parse(1, CAPS("\"pgsizes\":2101248"));
    struct version_caps ours = server_caps();
    struct version_caps out;

    ours.pgsizes = 0x40001000;
    ck_assert_int_eq(version_negotiate(&client, &ours, &out), 0);
    ck_assert_uint_eq(out.pgsizes, 4096);
    ck_assert_uint_eq(out.present, VERSION_PGSIZES);

    client = parse(1, CAPS("\"migration\":{\"pgsize\":65536}"));
    ck_assert_int_eq(version_negotiate(&client, &ours, &out), 0);
    ck_assert_uint_eq(out.present, VERSION_MIGRATION | VERSION_MIGRATION_PGSIZE);
    ck_assert_uint_eq(out.migration_pgsize, 4096);
    ours.present &= ~(uint32_t)VERSION_MIGRATION;
    ck_assert_int_eq(version_negotiate(&client, &ours, &out), 0);
    ck_assert_uint_eq(out.present, 0);
}
END_TEST

/* What a client that is in use gets: within what it sent, and JSON with what it needs. */
START_TEST(test_answer_clients)
{
    struct version_caps ours = server_caps();
    struct version_caps client, out, again;
    char *json;

    client = parse(0, qemu_json);
    ck_assert_int_eq(version_negotiate(&client, &ours, &out), 0);
    json = version_format(&out);
    ck_assert_uint_le(strlen(json) + 1, sizeof(qemu_json));
    again = parse(0, json);
    ck_assert_uint_eq(again.present & ~client.present, 0);
    ck_assert_uint_le(again.max_msg_fds, 16);
    ck_assert(again.write_multiple);
    ck_assert_uint_eq(out.minor, 0);
    free(json);

    client = parse(1, cloud_hypervisor_json);
    ck_assert_int_eq(version_negotiate(&client, &ours, &out), 0);
    json = version_format(&out);
    ck_assert_str_eq(json, cloud_hypervisor_json);
    free(json);

    client = parse(1, sample_json);
    ck_assert_int_eq(version_negotiate(&client, &ours, &out), 0);
    json = version_format(&out);
    ck_assert_str_eq(json, CAPS("\"max_msg_fds\":16,\"max_data_xfer_size\":1024"));
    free(json);

    version_defaults(&client);
    ck_assert_int_eq(version_negotiate(&client, &ours, &out), 0);
    json = version_format(&out);
    ck_assert_str_eq(json, "{\"capabilities\":{}}");
    free(json);
}
END_TEST

/* Each subset of what can be present comes back as it was. */
START_TEST(test_round_trip)
{
    for (uint32_t present = 0; present <= ALL_CAPS; present++) {
        struct version_caps caps = server_caps(), again;
        bool migration = (present & VERSION_MIGRATION) != 0;
        char *json;

        caps.present = present;
        caps.max_msg_fds = 3;
        caps.max_data_xfer_size = UINT64_MAX;
        caps.max_dma_maps = 0;
        caps.pgsizes = 1ull << 63;
        caps.twin_socket_fd_index = (int)(present % 3) - 1;
        caps.migration_pgsize = 65536;
        json = version_format(&caps);
        ck_assert_ptr_nonnull(json);
        again = parse(1, json);
        free(json);
        ck_assert_uint_eq(again.present, migration ? caps.present : caps.present & 0x7f);
        ck_assert_uint_eq(again.unknown, 0);
        ck_assert_uint_eq(again.max_msg_fds, (present & VERSION_MAX_MSG_FDS) != 0 ? 3 : 1);
        if ((present & VERSION_MAX_DATA_XFER_SIZE) != 0)
            ck_assert_uint_eq(again.max_data_xfer_size, UINT64_MAX);
        if ((present & VERSION_MAX_DMA_MAPS) != 0)
            ck_assert_uint_eq(again.max_dma_maps, 0);
        if ((present & VERSION_PGSIZES) != 0)
            ck_assert_uint_eq(again.pgsizes, 1ull << 63);
        if ((present & VERSION_TWIN_SOCKET) != 0)
            ck_assert_int_eq(again.twin_socket_fd_index, caps.twin_socket_fd_index);
        if (migration && (present & VERSION_MIGRATION_PGSIZE) != 0)
            ck_assert_uint_eq(again.migration_pgsize, 65536);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("version");
    TCase *tc = tcase_create("version");

    tcase_add_test(tc, test_defaults);
    tcase_add_test(tc, test_parse_clients);
    tcase_add_test(tc, test_parse_rest);
    tcase_add_loop_test(tc, test_parse_bad, 0, COUNT(bads));
    tcase_add_test(tc, test_parse_inner_nul);
    tcase_add_test(tc, test_parse_deep);
    tcase_add_test(tc, test_parse_cut);
    tcase_add_loop_test(tc, test_negotiate_number, 0, COUNT(number_rows));
    tcase_add_test(tc, test_negotiate_limits);
    tcase_add_test(tc, test_negotiate_version);
    tcase_add_loop_test(tc, test_negotiate_booleans, 0, 16);
    tcase_add_test(tc, test_negotiate_sets);
    tcase_add_test(tc, test_answer_clients);
    tcase_add_test(tc, test_round_trip);
    suite_add_tcase(suite, tc);
    return run_suite(suite);
}

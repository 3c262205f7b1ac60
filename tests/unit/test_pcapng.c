/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/pcapng.c: blocks, byte by byte, and what is read of them. */
#include "pcapng.h"

#include <check.h>
#include <errno.h>
#include <string.h>

#include "suite.h"

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define U16(n) (n) & 255, (n) >> 8
#define U32(n) (n) & 255, ((n) >> 8) & 255, ((n) >> 16) & 255, ((n) >> 24) & 255
#define U64(n) U32(n), U32(0)
#else
#define U16(n) (n) >> 8, (n)&255
#define U32(n) ((n) >> 24) & 255, ((n) >> 16) & 255, ((n) >> 8) & 255, (n)&255
#define U64(n) U32(0), U32(n)
#endif

/* 0x17a2b3c4d5e6f708 ns: its halves. */
#define TIME      0x17a2b3c4d5e6f708
#define TIME_HIGH 0x17a2b3c4
#define TIME_LOW  0xd5e6f708

#define BUFFER 512

/* Written into just enough room it is the block, and into a byte less nothing. */
#define CHECK_BLOCK(expected, CALL)                        \
    do {                                                   \
        uint8_t buf[BUFFER];                               \
        size_t size = sizeof(expected);                    \
                                                           \
        memset(buf, 0xa5, sizeof(buf));                    \
        ck_assert_uint_eq(CALL, sizeof(expected));         \
        ck_assert_mem_eq(buf, expected, sizeof(expected)); \
        ck_assert_uint_eq(buf[sizeof(expected)], 0xa5);    \
        memset(buf, 0xa5, sizeof(buf));                    \
        size--;                                            \
        ck_assert_uint_eq(CALL, 0);                        \
        for (size_t i = 0; i < sizeof(buf); i++)           \
            ck_assert_uint_eq(buf[i], 0xa5);               \
    } while (0)

START_TEST(test_section)
{
    const uint8_t with[] = {
        U32(0x0a0d0d0a), U32(40),                 /* type, length */
        U32(0x1a2b3c4d), U16(1),          U16(0), /* byte order, version */
        U32(0xffffffff), U32(0xffffffff),         /* the section's length: not known */
        U16(4),          U16(3),          'a',    'b', 'c', 0, U16(0), U16(0), U32(40),
    };
    const uint8_t without[] = {
        U32(0x0a0d0d0a), U32(32),         U32(0x1a2b3c4d), U16(1), U16(0),
        U32(0xffffffff), U32(0xffffffff), U16(0),          U16(0), U32(32),
    };

    CHECK_BLOCK(with, pcapng_write_section(buf, size, "abc"));
    CHECK_BLOCK(without, pcapng_write_section(buf, size, NULL));
}
END_TEST

START_TEST(test_interface)
{
    const struct pcapng_interface interface = {
        .linktype = PCAPNG_LINKTYPE_USER0, .snaplen = 65535, .name = "dev0", .description = "x"
    };
    const uint8_t expected[] = {
        U32(1), U32(48), U16(147), U16(0), U32(65535),      /* link type, reserved, snaplen */
        U16(2), U16(4),  'd',      'e',    'v',        '0', /* name */
        U16(3), U16(1),  'x',      0,      0,          0,   /* description */
        U16(9), U16(1),  9,        0,      0,          0,   /* time stamps are ns */
        U16(0), U16(0),  U32(48),
    };

    CHECK_BLOCK(expected, pcapng_write_interface(buf, size, &interface));
}
END_TEST

START_TEST(test_packet)
{
    const struct pcapng_packet packet = { .time = TIME,
                                          .data = "hello, not kept",
                                          .len = 15,
                                          .kept = 5,
                                          .direction = PCAPNG_OUTBOUND,
                                          .queue = 7,
                                          .dropped = 3,
                                          .comment = "2 fds" };
    const uint8_t expected[] = {
        U32(6),
        U32(84),
        U32(0),
        U32(TIME_HIGH),
        U32(TIME_LOW),
        U32(5),
        U32(15),
        'h',
        'e',
        'l',
        'l',
        'o',
        0,
        0,
        0, /* data */
        U16(1),
        U16(5),
        '2',
        ' ',
        'f',
        'd',
        's',
        0,
        0,
        0, /* comment */
        U16(2),
        U16(4),
        U32(2), /* outbound */
        U16(4),
        U16(8),
        U64(3), /* dropped */
        U16(6),
        U16(4),
        U32(7), /* queue */
        U16(0),
        U16(0),
        U32(84),
    };

    CHECK_BLOCK(expected, pcapng_write_packet(buf, size, &packet));
}
END_TEST

START_TEST(test_bare_packet)
{
    const struct pcapng_packet packet = {
        .time = TIME, .data = "abcd", .len = 4, .kept = 4, .direction = PCAPNG_INBOUND
    };
    const uint8_t expected[] = {
        U32(6), U32(48), U32(0), U32(TIME_HIGH), U32(TIME_LOW), U32(4), U32(4), 'a',     'b',
        'c',    'd',     U16(2), U16(4),         U32(1),        U16(0), U16(0), U32(48),
    };

    CHECK_BLOCK(expected, pcapng_write_packet(buf, size, &packet));
}
END_TEST

START_TEST(test_statistics)
{
    const struct pcapng_statistics statistics = {
        .time = TIME, .began = TIME, .ended = TIME, .received = 10, .dropped = 4, .delivered = 6
    };
    const uint8_t expected[] = {
        U32(5), U32(88), U32(0),         U32(TIME_HIGH), U32(TIME_LOW),
        U16(2), U16(8),  U32(TIME_HIGH), U32(TIME_LOW), /* began */
        U16(3), U16(8),  U32(TIME_HIGH), U32(TIME_LOW), /* ended */
        U16(4), U16(8),  U64(10),                       /* received */
        U16(5), U16(8),  U64(4),                        /* dropped */
        U16(8), U16(8),  U64(6),                        /* delivered */
        U16(0), U16(0),  U32(88),
    };

    CHECK_BLOCK(expected, pcapng_write_statistics(buf, size, &statistics));
    ck_assert_uint_le(sizeof(expected), PCAPNG_STATISTICS_MAX);
}
END_TEST

/* All lengths of data and comment: a multiple of 4, and never more than the header promises. */
START_TEST(test_lengths)
{
    static const char text[] = "comment";
    uint8_t data[64] = { 0 };
    uint8_t buf[BUFFER];

    for (uint32_t n = 0; n <= sizeof(data); n++) {
        const struct pcapng_packet packet = { .data = data,
                                              .len = n,
                                              .kept = n,
                                              .queue = 1,
                                              .dropped = 1,
                                              .comment = text + n % sizeof(text) };
        size_t len = pcapng_write_packet(buf, sizeof(buf), &packet);
        uint32_t type;
        uint32_t claimed;

        ck_assert_uint_eq(len % 4, 0);
        ck_assert_uint_le(len, n + PCAPNG_PACKET_EXTRA + strlen(packet.comment));
        ck_assert_int_eq(pcapng_peek(buf, len, &type, &claimed), 1);
        ck_assert_uint_eq(type, PCAPNG_PACKET);
        ck_assert_uint_eq(claimed, len);
        memcpy(&claimed, buf + len - 4, 4);
        ck_assert_uint_eq(claimed, len);
    }
}
END_TEST

START_TEST(test_peek)
{
    const uint8_t good[] = { U32(6), U32(32) };
    const uint8_t odd[] = { U32(6), U32(33) };
    const uint8_t small[] = { U32(6), U32(8) };
    uint32_t type = 1;
    uint32_t len = 1;

    for (size_t n = 0; n < sizeof(good); n++)
        ck_assert_int_eq(pcapng_peek(good, n, &type, &len), 0);
    ck_assert_int_eq(pcapng_peek(odd, sizeof(odd), &type, &len), -EBADMSG);
    ck_assert_int_eq(pcapng_peek(small, sizeof(small), &type, &len), -EBADMSG);
    ck_assert_uint_eq(type, 1);
    ck_assert_uint_eq(len, 1);
    ck_assert_int_eq(pcapng_peek(good, sizeof(good), &type, &len), 1);
    ck_assert_uint_eq(type, PCAPNG_PACKET);
    ck_assert_uint_eq(len, 32);
}
END_TEST

START_TEST(test_read_statistics)
{
    struct pcapng_statistics statistics = {
        .time = TIME, .began = TIME - 5, .received = 1ull << 40, .dropped = 2, .delivered = 3
    };
    struct pcapng_statistics out = { 0 };
    uint8_t buf[PCAPNG_STATISTICS_MAX];
    size_t len = pcapng_write_statistics(buf, sizeof(buf), &statistics);

    ck_assert_int_eq(pcapng_read_statistics(buf, len, &out), 0);
    ck_assert_mem_eq(&out, &statistics, sizeof(out));
    statistics.ended = TIME + 1;
    len = pcapng_write_statistics(buf, sizeof(buf), &statistics);
    ck_assert_int_eq(pcapng_read_statistics(buf, len, &out), 0);
    ck_assert_mem_eq(&out, &statistics, sizeof(out));
    for (size_t n = 0; n < len; n++)
        ck_assert_int_eq(pcapng_read_statistics(buf, n, &out), -EBADMSG);
    len = pcapng_write_section(buf, sizeof(buf), NULL);
    ck_assert_int_eq(pcapng_read_statistics(buf, len, &out), -EBADMSG);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("pcapng");
    TCase *tcase = tcase_create("blocks");

    tcase_add_test(tcase, test_section);
    tcase_add_test(tcase, test_interface);
    tcase_add_test(tcase, test_packet);
    tcase_add_test(tcase, test_bare_packet);
    tcase_add_test(tcase, test_statistics);
    tcase_add_test(tcase, test_lengths);
    tcase_add_test(tcase, test_peek);
    tcase_add_test(tcase, test_read_statistics);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}

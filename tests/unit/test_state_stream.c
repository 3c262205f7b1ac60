/* SPDX-License-Identifier: BSD-3-Clause */
/* libproto/state_stream.c: records, fields and sums. */
#include "state_stream.h"

#include <check.h>
#include <stdlib.h>
#include <zlib.h>

#include "suite.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* What another program would write, by hand. */
START_TEST(test_record_on_the_wire)
{
    static const uint8_t expected[16] = { 4, 0, 0, 0, 0, 2, 0, 0, 13, 0, 0, 0 };
    struct state_sum sum = { .records = 7, .crc = 0x12345678 };
    uint8_t wire[29] = { 0 };
    uint32_t crc;

    memcpy(wire + 16, "0123456789a", 11);
    state_record_seal(wire, STATE_MEMORY, 0, 13, 2, &sum);
    ck_assert_mem_eq(wire, expected, 12);
    crc = (uint32_t)crc32(crc32(0, wire, 12), wire + 16, 13);
    ck_assert_uint_eq(state_get(wire + 12, 4), crc);
    ck_assert_uint_eq(sum.records, 8);
    ck_assert_uint_eq(sum.crc, (uint32_t)crc32(0x12345678, wire, sizeof(wire)));
}
END_TEST

START_TEST(test_begin_begins_the_sum)
{
    struct state_sum sum = { .records = 7, .crc = 0x12345678 };
    struct state_sum read = { .records = 9, .crc = 1 };
    struct state_record record;
    uint8_t wire[20] = { 0 };
    uint8_t end[24];

    state_record_seal(wire, STATE_BEGIN, 0, 4, 0, &sum);
    ck_assert_uint_eq(sum.records, 1);
    ck_assert_uint_eq(sum.crc, (uint32_t)crc32(0, wire, sizeof(wire)));
    ck_assert_ptr_null(state_record_decode(wire, &record));
    ck_assert_ptr_null(state_record_check(wire, &record, &read));
    ck_assert_mem_eq(&read, &sum, sizeof(sum));
    state_record_end(end, &sum);
    ck_assert(state_end_matches(end + STATE_HEADER_SIZE, &read));
    for (size_t bit = 0; bit < 8 * STATE_END_SIZE; bit++) {
        end[STATE_HEADER_SIZE + bit / 8] ^= (uint8_t)(1u << bit % 8);
        ck_assert(!state_end_matches(end + STATE_HEADER_SIZE, &read));
        end[STATE_HEADER_SIZE + bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

static const struct {
    uint32_t type;
    uint32_t flags;
    uint32_t length;
    const char *wrong; /* NULL: nothing */
} headers[] = {
    { STATE_BEGIN, 0, 0, NULL },
    { STATE_END, 0, 8, NULL },
    { STATE_MSIX, 0, 8, NULL },
    { STATE_MEMORY, STATE_FLAG_OPTIONAL, 9, NULL },
    { STATE_MEMORY, 0xff00, 255, NULL },
    { STATE_MEMORY, 0, STATE_MAX_RECORD - STATE_HEADER_SIZE, NULL },
    { 6, STATE_FLAG_OPTIONAL, 9, NULL },
    { 0, STATE_FLAG_OPTIONAL, 0, NULL },
    { UINT32_MAX, STATE_FLAG_OPTIONAL, 0, NULL },
    { 0, 0, 0, "of an unknown type" },
    { 7, 0, 0, "of an unknown type" },
    { UINT32_MAX, 0, 0, "of an unknown type" },
    { STATE_STATE, 2, 8, "unknown flags" },
    { STATE_STATE, 0x80, 8, "unknown flags" },
    { STATE_STATE, 0x10000, 8, "unknown flags" },
    { STATE_STATE, 0x80000000, 8, "unknown flags" },
    { STATE_MEMORY, 0, STATE_MAX_RECORD - STATE_HEADER_SIZE + 1, "longer than records are" },
    { STATE_MEMORY, 0, UINT32_MAX, "longer than records are" },
    { 6, STATE_FLAG_OPTIONAL, UINT32_MAX, "longer than records are" },
    { STATE_MEMORY, 0x0900, 8, "more padding than payload" },
};

START_TEST(test_headers)
{
    struct state_record record = { .type = 99 };
    uint8_t wire[STATE_HEADER_SIZE];
    const char *wrong;

    state_put(wire, headers[_i].type, 4);
    state_put(wire + 4, headers[_i].flags, 4);
    state_put(wire + 8, headers[_i].length, 4);
    state_put(wire + 12, 0xabcdef01, 4);
    wrong = state_record_decode(wire, &record);
    ck_assert_pstr_eq(wrong, headers[_i].wrong);
    if (wrong != NULL) {
        ck_assert_uint_eq(record.type, 99);
        return;
    }
    ck_assert_uint_eq(record.type, headers[_i].type);
    ck_assert_uint_eq(record.length, headers[_i].length);
    ck_assert_uint_eq(record.padding, headers[_i].flags >> 8);
    ck_assert_uint_eq(record.crc, 0xabcdef01);
    ck_assert(record.known == (record.type >= STATE_BEGIN && record.type <= STATE_MSIX));
}
END_TEST

START_TEST(test_a_bit_makes_the_checksum_wrong)
{
    struct state_sum sum = { 0 };
    struct state_sum before;
    uint8_t wire[STATE_HEADER_SIZE + 40] = { 0 };

    memset(wire + STATE_HEADER_SIZE, 0x5a, 37);
    state_record_seal(wire, STATE_MEMORY, 0, 40, 3, &sum);
    before = sum;
    for (size_t bit = 0; bit < 8 * sizeof(wire); bit++) {
        struct state_record record;
        const char *wrong;

        wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
        wrong = state_record_decode(wire, &record);
        if (wrong == NULL && record.length <= 40)
            wrong = state_record_check(wire, &record, &sum);
        ck_assert_msg(wrong != NULL || record.length > 40, "bit %zu", bit);
        ck_assert_mem_eq(&sum, &before, sizeof(sum));
        wire[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}
END_TEST

START_TEST(test_padding_is_zeros)
{
    struct state_sum sum = { 0 };
    struct state_record record;
    uint8_t wire[STATE_HEADER_SIZE + 8] = { 0 };

    for (unsigned i = 0; i < 8; i++) {
        const char *wrong;

        memset(wire, 0, sizeof(wire));
        wire[STATE_HEADER_SIZE + i] = 1;
        state_record_seal(wire, STATE_CONFIG, 0, 8, 4, &sum);
        ck_assert_ptr_null(state_record_decode(wire, &record));
        wrong = state_record_check(wire, &record, &sum);
        ck_assert_pstr_eq(wrong, i < 4 ? NULL : "padding that is not 0");
    }
}
END_TEST

START_TEST(test_numbers)
{
    static const uint8_t bytes[8] = { 8, 7, 6, 5, 4, 3, 2, 0x81 };
    uint8_t wire[8];

    ck_assert_uint_eq(state_get(bytes, 1), 8);
    ck_assert_uint_eq(state_get(bytes, 2), 0x708);
    ck_assert_uint_eq(state_get(bytes, 4), 0x5060708);
    ck_assert_uint_eq(state_get(bytes, 8), 0x8102030405060708);
    state_put(wire, 0x8102030405060708, 8);
    ck_assert_mem_eq(wire, bytes, 8);
}
END_TEST

START_TEST(test_fields)
{
    static const uint8_t expected[] = { 1, 0, 2, 0, 0x34, 0x12, 0xff, 0x80, 3, 0, 'a', 'b', 'c' };
    uint8_t bytes[sizeof(expected)];
    struct state_fields f = { .at = bytes, .left = sizeof(bytes) };
    struct wire w = wire_init(expected, sizeof(expected));
    struct state_field field;
    uint8_t *data;

    state_field_put(&f, 1, 0x1234, 2);
    data = state_field_add(&f, 0x80ff, 3);
    ck_assert_ptr_nonnull(data);
    memcpy(data, "abc", 3);
    ck_assert(!f.bad && f.left == 0);
    ck_assert_mem_eq(bytes, expected, sizeof(expected));
    ck_assert_ptr_null(state_field_add(&f, 3, 0));
    ck_assert(f.bad);
    ck_assert(state_field_next(&w, &field));
    ck_assert(field.id == 1 && field.size == 2 && field.data == expected + 4);
    ck_assert(state_field_next(&w, &field));
    ck_assert(field.id == 0x80ff && field.size == 3 && field.data == expected + 10);
    ck_assert(!state_field_next(&w, &field) && !w.bad);
}
END_TEST

/* Of a size exactly, so that a sanitizer sees the byte behind it being touched. */
START_TEST(test_fields_that_are_cut)
{
    static const uint8_t whole[] = { 1, 0, 2, 0, 0x34, 0x12, 2, 0, 1, 0, 9 };

    for (size_t len = 0; len <= sizeof(whole); len++) {
        uint8_t *bytes = malloc(len + (len == 0));
        struct wire w = wire_init(bytes, len);
        struct state_field field;
        unsigned n = 0;

        ck_assert_ptr_nonnull(bytes);
        memcpy(bytes, whole, len);
        while (state_field_next(&w, &field))
            n++;
        ck_assert_uint_eq(n, len < 6 ? 0 : len < 11 ? 1 : 2);
        ck_assert(w.bad == (len != 0 && len != 6 && len != 11));
        free(bytes);
    }
}
END_TEST

START_TEST(test_fields_that_do_not_fit)
{
    for (size_t len = 0; len < 12; len++) {
        uint8_t *bytes = malloc(len + 1);
        struct state_fields f = { .at = bytes, .left = len };

        ck_assert_ptr_nonnull(bytes);
        bytes[len] = 0xa5;
        state_field_put(&f, 1, 0x1234, 8);
        ck_assert(f.bad);
        ck_assert_uint_eq(f.left, len);
        ck_assert_uint_eq(bytes[len], 0xa5);
        free(bytes);
    }
}
END_TEST

START_TEST(test_names)
{
    static const char *const names[] = { "unknown", "BEGIN", "STATE", "CONFIG",
                                         "MEMORY",  "END",   "MSIX",  "unknown" };

    for (uint32_t i = 0; i < COUNT(names); i++)
        ck_assert_str_eq(state_record_name(i), names[i]);
    ck_assert_str_eq(state_record_name(UINT32_MAX), "unknown");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("state_stream");
    TCase *tcase = tcase_create("state_stream");

    tcase_add_test(tcase, test_record_on_the_wire);
    tcase_add_test(tcase, test_begin_begins_the_sum);
    tcase_add_loop_test(tcase, test_headers, 0, COUNT(headers));
    tcase_add_test(tcase, test_a_bit_makes_the_checksum_wrong);
    tcase_add_test(tcase, test_padding_is_zeros);
    tcase_add_test(tcase, test_numbers);
    tcase_add_test(tcase, test_fields);
    tcase_add_test(tcase, test_fields_that_are_cut);
    tcase_add_test(tcase, test_fields_that_do_not_fit);
    tcase_add_test(tcase, test_names);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}

/* SPDX-License-Identifier: BSD-3-Clause */
/* daemon/stats.c: which bucket a latency falls into, and whose counters a command has. */
#include "stats.h"

#include "unit/fakes.h"

static const struct {
    uint64_t ns;
    unsigned bucket;
} latencies[] = {
    { 0, 0 },
    { 1, 0 },
    { 255, 0 },
    { 256, 0 },
    { 257, 1 },
    { 512, 1 },
    { 513, 2 },
    { 1000, 2 },
    { 1024, 2 },
    { 1000000, 12 },
    { (1u << 30) - 1, 22 },
    { 1u << 30, 22 },
    { (1u << 30) + 1, 23 },
    { 1ull << 31, 23 },
    { 1ull << 63, 23 },
    { UINT64_MAX, 23 },
};

START_TEST(a_latency_has_its_bucket)
{
    struct stats_command command = { 0 };

    stats_add_latency(&command, latencies[_i].ns);
    ck_assert_uint_eq(command.latency_sum, latencies[_i].ns);
    for (unsigned i = 0; i < STATS_BUCKETS; i++)
        ck_assert_uint_eq(command.latency[i], i == latencies[_i].bucket);
}
END_TEST

START_TEST(bounds_are_what_buckets_hold)
{
    ck_assert_uint_eq(stats_bound(0), 256);
    ck_assert_uint_eq(stats_bound(STATS_BUCKETS - 2), 1u << 30);
    for (unsigned i = 0; i < STATS_BUCKETS - 1; i++) {
        struct stats_command command = { 0 };

        stats_add_latency(&command, stats_bound(i));
        stats_add_latency(&command, stats_bound(i) + 1);
        ck_assert_uint_eq(command.latency[i], 1);
        ck_assert_uint_eq(command.latency[i + 1], 1);
    }
}
END_TEST

START_TEST(unknown_commands_share_their_counters)
{
    struct stats stats = { 0 };

    ck_assert_ptr_eq(stats_command(&stats, VFIO_USER_REGION_READ),
                     &stats.commands[VFIO_USER_REGION_READ]);
    ck_assert_ptr_eq(stats_command(&stats, 0), &stats.commands[0]);
    ck_assert_ptr_eq(stats_command(&stats, VFIO_USER_COMMAND_COUNT), &stats.commands[0]);
    ck_assert_ptr_eq(stats_command(&stats, UINT16_MAX), &stats.commands[0]);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        bounds_are_what_buckets_hold,
        unknown_commands_share_their_counters,
    };
    const struct fake_loop_test loops[] = { { a_latency_has_its_bucket, ARRAY_SIZE(latencies) } };

    return fake_run("stats", tests, ARRAY_SIZE(tests), loops, ARRAY_SIZE(loops));
}

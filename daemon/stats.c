/* SPDX-License-Identifier: BSD-3-Clause */
#include "stats.h"

uint64_t stats_bound(unsigned i)
{
    return 1ull << (STATS_FIRST_SHIFT + i);
}

/* A number among the commands that is none: DIRTY_PAGES of old drafts of vfio-user. */
#define NO_COMMAND 14

struct stats_command *stats_command(struct stats *stats, uint16_t command)
{
    bool known = command < VFIO_USER_COMMAND_COUNT && command != NO_COMMAND;

    return &stats->commands[known ? command : 0];
}

void stats_add_latency(struct stats_command *command, uint64_t ns)
{
    unsigned i = 0;

    if (ns > stats_bound(0))
        i = 64 - (unsigned)__builtin_clzll(ns - 1) - STATS_FIRST_SHIFT;
    command->latency_sum += ns;
    command->latency[i < STATS_BUCKETS ? i : STATS_BUCKETS - 1]++;
}

/* SPDX-License-Identifier: BSD-3-Clause */
#include "table.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>

#define NAME_WIDTH 56

static const struct unit {
    double scale;
    int digits;
    const char *name;
} units[] = {
    [UNIT_US] = { 1e-3, 2, "us" },
    [UNIT_RATE] = { 1e-3, 0, "k/s" },
    [UNIT_COUNT] = { 1, 0, "" },
    [UNIT_KIB] = { 1, 0, "KiB" },
    [UNIT_MIB_RATE] = { 1.0 / (1 << 20), 0, "MiB/s" },
};

static void print_value(double value, const struct unit *unit)
{
    if (isnan(value))
        printf("  %14s", "-");
    else
        printf("  %8.*f %-5s", unit->digits, value * unit->scale, unit->name);
}

static void print_aim(const struct result *r)
{
    const struct unit *unit = &units[r->unit];
    double value = isnan(r->ratio) ? r->ours * unit->scale : r->ratio;
    bool met = r->aim == AIM_AT_MOST ? value <= r->bound : value >= r->bound;
    char text[32] = "";

    if (r->aim != AIM_NONE && !isnan(r->ratio))
        snprintf(text, sizeof(text), "%s %.2fx", r->aim == AIM_AT_MOST ? "<=" : ">=", r->bound);
    else if (r->aim != AIM_NONE)
        snprintf(text, sizeof(text), "%s %.0f%s%s", r->aim == AIM_AT_MOST ? "<=" : ">=", r->bound,
                 unit->name[0] != '\0' ? " " : "", unit->name);
    printf("  %-12s %s\n", text, r->aim == AIM_NONE ? "" : met ? "met" : "SHORT");
}

void table_print(const struct result *r)
{
    printf("%-*s", NAME_WIDTH, r->name);
    print_value(r->ours, &units[r->unit]);
    print_value(r->floor, &units[r->unit]);
    if (isnan(r->ratio))
        printf("  %6s ", "-");
    else
        printf("  %6.2fx", r->ratio);
    print_aim(r);
    fflush(stdout);
}

void table_heading(int cpu, unsigned rounds)
{
    printf("vfio-userd against bare processes with the same bytes: all on CPU %d, %u rounds\n\n",
           cpu, rounds);
    printf("%-*s  %-14s  %-14s  %7s  %-12s\n", NAME_WIDTH, "", "        ours", "       floor",
           "ratio", "aim");
}

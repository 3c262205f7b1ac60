/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Figures for people, with their units, and colour where a person looks. Knows no command.
 */
#ifndef VFIO_USERD_CTL_FORMAT_H
#define VFIO_USERD_CTL_FORMAT_H

#include <stdbool.h>
#include <stddef.h>

/* Room for any text that these functions make. */
#define FORMAT_BYTES 48

/* "2026-11-22 14:03:07.250" in local time, of ns since the Epoch. */
const char *format_time(long long ns, char out[FORMAT_BYTES]);

/* "3 d 02:11:09" or "02:11:09". */
const char *format_uptime(long long seconds, char out[FORMAT_BYTES]);

/* "16 KiB"; "1.5 MiB" where it is no whole number of the largest unit that fits. */
const char *format_size(long long bytes, char out[FORMAT_BYTES]);

/* "850 ns", "12.3 us", "4.56 ms": three digits. */
const char *format_duration(double ns, char out[FORMAT_BYTES]);

/* "1 request", "2 requests". */
const char *format_count(long long n, const char *what, char out[FORMAT_BYTES]);

enum format_style {
    FORMAT_PLAIN, /* ends any other */
    FORMAT_LABEL,
    FORMAT_GOOD,
    FORMAT_WARNING,
    FORMAT_BAD,
};

/*
 * What to print to standard output for text in that style: "" unless it is a terminal with colours
 * (TERM is not "dumb") and NO_COLOR is not set (<https://no-color.org>).
 */
const char *format_style(enum format_style style);

/* Prints the label that begins a line of a list, padded; "" for a line that goes on. */
void format_label(const char *label);

#endif

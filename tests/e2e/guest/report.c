/* SPDX-License-Identifier: BSD-3-Clause */
#include "report.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool report_ok(struct report *report, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(report->detail, sizeof(report->detail), format, arguments);
    va_end(arguments);
    return true;
}

bool report_failure(struct report *report, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(report->detail, sizeof(report->detail), format, arguments);
    va_end(arguments);
    return false;
}

bool report_differs(struct report *report, const char *what, uint64_t expected, uint64_t got)
{
    return report_failure(report, "expected %s 0x%" PRIx64 " got 0x%" PRIx64, what, expected, got);
}

bool report_error(struct report *report, const char *what, int error)
{
    return report_failure(report, "expected %s to work got: %s", what, strerror(-error));
}

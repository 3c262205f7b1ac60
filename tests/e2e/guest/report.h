/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a check has to say about itself: one line of detail, filled in by the check and printed by
 * whoever runs it. Knows nothing of the device.
 */
#ifndef GUEST_REPORT_H
#define GUEST_REPORT_H

#include <stdbool.h>
#include <stdint.h>

struct report {
    char detail[320];
};

/* Says how the check went well. Returns true, so that a check can end with it. */
bool report_ok(struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says in free words what failed, "expected ... got ...". Returns false. */
bool report_failure(struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says that `what` should have been `expected` and is `got`. Returns false. */
bool report_differs(struct report *report, const char *what, uint64_t expected, uint64_t got);

/* Says that an operation, named by `what`, failed with `error` (0 or -errno). Returns false. */
bool report_error(struct report *report, const char *what, int error);

#endif

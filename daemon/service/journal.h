/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines with their fields, to journald. Knows the journal's field names and libsystemd; what is
 * logged and when is everybody else's matter.
 */
#ifndef VFIO_USERD_SERVICE_JOURNAL_H
#define VFIO_USERD_SERVICE_JOURNAL_H

#include <stdbool.h>

#include "library.h"
#include "log.h"

struct journal;

/* Whether standard error is what the service manager connected to the journal. */
bool journal_is_stderr(void);

/* Where journald takes records. */
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/*
 * *library outlives it; instance, which every line will name, is copied. socket_path:
 * JOURNAL_SOCKET, but for tests. Returns 0, or -errno when journald is not to be reached.
 */
int journal_new(const struct library *library, const char *instance, const char *socket_path,
                struct journal **out);
void journal_free(struct journal *j);

/*
 * A log_writer; opaque is the struct journal. Fields of each record: MESSAGE ("module: text"),
 * PRIORITY, SYSLOG_IDENTIFIER, VFIO_USERD_INSTANCE, VFIO_USERD_MODULE, and of an event MESSAGE_ID
 * and the event's own. A record that journald would make us wait for is dropped, and the next one
 * that goes through says how many were.
 */
void journal_write(void *opaque, const struct log_record *record);

#endif

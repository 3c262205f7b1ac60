/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Log lines with their fields, to journald in its native protocol. Knows the journal's field names;
 * what is logged and when is everybody else's matter.
 */
#ifndef VFIO_USERD_SERVICE_JOURNAL_H
#define VFIO_USERD_SERVICE_JOURNAL_H

#include <stdbool.h>

#include "log.h"

struct journal;

/* Where journald takes records. */
#define JOURNAL_SOCKET "/run/systemd/journal/socket"

/* Whether standard error is what the service manager connected to the journal. */
bool journal_is_stderr(void);

/*
 * instance, which every line will name, is copied; so is socket_path: JOURNAL_SOCKET, but for
 * tests. Nothing is sent yet. Returns 0 or -errno.
 */
int journal_new(const char *instance, const char *socket_path, struct journal **out);
void journal_free(struct journal *j);

/*
 * A log_writer; opaque is the struct journal. Fields of each record: MESSAGE ("module: text"),
 * PRIORITY, SYSLOG_IDENTIFIER, VFIO_USERD_INSTANCE, VFIO_USERD_MODULE, and of an event MESSAGE_ID
 * and the event's own. A record that journald would make us wait for is dropped, and the next one
 * that goes through says how many were. False when there is no journald.
 */
bool journal_write(void *opaque, const struct log_record *record);

#endif

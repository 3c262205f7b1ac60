/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signalling of eventfds that a client gave us. write() on an eventfd blocks while its counter is
 * full, and the client can fill the counter at any moment and may not want the file set
 * non-blocking, which would be so for its own reads too. The kernel's AIO signals an eventfd on
 * completion without ever blocking, as KVM or a driver would: that is used, and nothing else of it.
 */
#ifndef VFIO_USERD_NOTIFIER_H
#define VFIO_USERD_NOTIFIER_H

#include <stdbool.h>

struct notifier;

/* Returns 0 or -errno. Where the kernel has no AIO, signalling polls before it writes. */
int notifier_new(struct notifier **out);
void notifier_free(struct notifier *n);

/* Adds 1 to the eventfd's counter, or leaves a full one full. Returns 0 or -errno. */
int notifier_signal(struct notifier *n, int eventfd);

/* Whether fd is an eventfd: anything else could block or do harm when written to. */
bool notifier_accepts(int fd);

#endif

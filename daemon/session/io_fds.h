/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * GET_REGION_IO_FDS: which parts of a region a client may have the kernel signal, and with what.
 * Section "VFIO_USER_DEVICE_GET_REGION_IO_FDS".
 */
#ifndef VFIO_USERD_IO_FDS_H
#define VFIO_USERD_IO_FDS_H

#include "commands.h"

/* A command_fn. */
int io_fds_handle(struct command_context *c, const struct message_request *request,
                  struct stream_message *m, struct reply *reply);

/*
 * Writes n sub-regions to entries, and the fds that they name to fds, each once. Returns the number
 * of fds.
 */
unsigned io_fds_write(const struct device_io_fd *list, unsigned n, struct vfio_user_io_fd *entries,
                      int fds[2 * DEVICE_IO_FDS_MAX]);

#endif

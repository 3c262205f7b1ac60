/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The commands of migration: DEVICE_FEATURE with the features that there are, each a row of a
 * table, and MIG_DATA_READ and MIG_DATA_WRITE. Knows the messages and whom to ask; migrate/ and the
 * device's dirty log do it.
 */
#ifndef VFIO_USERD_FEATURES_H
#define VFIO_USERD_FEATURES_H

#include "commands.h"

/* Bytes of the largest bitmap of DMA_LOGGING_REPORT, which VERSION announces. */
#define FEATURES_MAX_BITMAP (16u << 20)

/*
 * Section "VFIO_USER_DEVICE_FEATURE". -ENOTTY: there is no such feature; -EINVAL: it has not this
 * method, its data is too short or too long, or argsz is too small for the reply; and the errors of
 * the feature.
 */
int features_handle(struct command_context *c, const struct message_request *request,
                    struct stream_message *m, struct reply *reply);

/* Sections "VFIO_USER_MIG_DATA_READ" and "VFIO_USER_MIG_DATA_WRITE". */
int features_mig_read(struct command_context *c, const struct message_request *request,
                      struct stream_message *m, struct reply *reply);
int features_mig_write(struct command_context *c, const struct message_request *request,
                       struct stream_message *m, struct reply *reply);

#endif

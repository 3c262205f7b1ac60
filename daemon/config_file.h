/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A description's file, read whole and without surprises: at most 128 KiB (a device's 4096 bytes of
 * configuration space are described in a tenth of it, and a reload reads it while a guest waits),
 * and, when asked so, nothing that could block. Knows no JSON.
 */
#ifndef VFIO_USERD_CONFIG_FILE_H
#define VFIO_USERD_CONFIG_FILE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Reads file. regular: nothing but a regular file will do. Returns 0 with *out the bytes and a NUL
 * behind them, which the caller frees, and *out_len how many; -ENOLINK for a link that leads
 * nowhere, -EFBIG, -EISDIR, -ENOTSUP when it is not regular, or another -errno.
 */
int config_file_read(const char *file, bool regular, char **out, size_t *out_len);

/* The words for what config_file_read returned. */
const char *config_file_error(int err);

#endif

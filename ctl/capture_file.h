/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The file that a capture goes to: takes a pcapng stream in pieces of any size and writes whole
 * blocks only, up to a limit, so that whatever happens the file can be read. Knows no daemon.
 */
#ifndef VFIO_USERD_CTL_CAPTURE_FILE_H
#define VFIO_USERD_CTL_CAPTURE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct capture_file;

/* What has been written, and what the stream says of the rest. */
struct capture_totals {
    uint64_t packets;
    uint64_t bytes;
    uint64_t dropped; /* by the daemon */
    bool complete;    /* the stream came to its end */
    bool full;        /* the limit is reached */
};

/* The least limit: no file is shorter than its first blocks. */
#define CAPTURE_FILE_LIMIT_MIN 4096u

/*
 * Opens path, "-" being standard output. A regular file must be new, and is the user's alone: it
 * will hold guest memory. limit: bytes that the file may have; 0: as many as come. Returns 0 or
 * -errno.
 */
int capture_file_open(const char *path, uint64_t limit, struct capture_file **out);

/* Where the next bytes of the stream go; *size is never 0. */
uint8_t *capture_file_room(struct capture_file *f, size_t *size);

/*
 * Writes what is complete, n more bytes being there. Returns 0; -EBADMSG when that is no pcapng
 * stream; -EINTR when *stop is set while a reader of ours lets us wait; or another -errno. Nothing
 * is written after an error, nor beyond the limit: what comes then is looked at and let go.
 */
int capture_file_take(struct capture_file *f, size_t n, const volatile int *stop);

void capture_file_totals(const struct capture_file *f, struct capture_totals *out);

/* Closes it, and removes what was made when remove is set. NULL is allowed. Returns 0 or -errno. */
int capture_file_close(struct capture_file *f, bool remove);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * VERSION negotiation: its JSON in and out, and what holds after it. Section "VFIO_USER_VERSION".
 * Pure functions; json-c does the JSON.
 */
#ifndef VFIO_USERD_VERSION_H
#define VFIO_USERD_VERSION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which capabilities a VERSION message named; bits of struct version_caps.present. */
enum version_cap {
    VERSION_MAX_MSG_FDS = 1u << 0,
    VERSION_MAX_DATA_XFER_SIZE = 1u << 1,
    VERSION_MAX_DMA_MAPS = 1u << 2,
    VERSION_PGSIZES = 1u << 3,
    VERSION_TWIN_SOCKET = 1u << 4,
    VERSION_WRITE_MULTIPLE = 1u << 5,
    VERSION_MIGRATION = 1u << 6,
    VERSION_MIGRATION_PGSIZE = 1u << 7,
    VERSION_MIGRATION_MAX_BITMAP_SIZE = 1u << 8,
    VERSION_VM_INTERRUPT = 1u << 9, /* an extension: interrupts as messages */
};

/* One side's word, or the outcome of both. A field that is not present holds its default. */
struct version_caps {
    uint16_t major;
    uint16_t minor;
    uint32_t present;            /* enum version_cap bits */
    uint32_t unknown;            /* capabilities that we do not know: counted, else ignored */
    uint64_t max_msg_fds;        /* fds that the sender can receive in one message */
    uint64_t max_data_xfer_size; /* bytes that the sender can receive in one transfer */
    uint64_t max_dma_maps;
    uint64_t pgsizes;         /* or'ed page sizes for DMA_MAP */
    bool twin_socket;         /* twin_socket.supported */
    int twin_socket_fd_index; /* -1 when there is none; only in a reply */
    bool write_multiple;
    bool vm_interrupt;
    uint64_t migration_pgsize;          /* bytes */
    uint64_t migration_max_bitmap_size; /* bytes */
};

/* What holds for a peer that sends no JSON at all. */
void version_defaults(struct version_caps *out);

/*
 * Reads the JSON of a VERSION message, len bytes without the NUL; json may be NULL. Unknown
 * capabilities are counted and ignored. Returns 0; -EINVAL for JSON that is not an object, or a
 * capability of a wrong type or value, with *field (not NULL) the name of what is wrong, a string
 * that is never freed. *out is written only on success.
 */
int version_parse(uint16_t major, uint16_t minor, const char *json, size_t len,
                  struct version_caps *out, const char **field);

/*
 * The server's answer to a client: the same major, the lesser minor, each number the lesser of
 * both, each boolean true when both are, and present only what the client named, plus limits of
 * ours that are under the specification's default: the client could not know these.
 * Returns 0, or -ENOTSUP when the client's major is not ours.
 */
int version_negotiate(const struct version_caps *client, const struct version_caps *ours,
                      struct version_caps *out);

/*
 * Makes the JSON of caps, only what is present. Returns a string that the caller frees, or NULL
 * without memory.
 */
char *version_format(const struct version_caps *caps);

#endif

/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a vfio-userd has left in the store, as text: for each file descriptor a line "KIND NAME
 * SIZE", and behind it its bytes, 32 in a line with their offset; lines of zeros are left out.
 */
#ifndef VFIO_USERD_TEST_BLOCK_FILE_H
#define VFIO_USERD_TEST_BLOCK_FILE_H

#include <stdint.h>
#include <stdio.h>

#define BLOCK_FILE_ENTRIES 16
#define BLOCK_FILE_NAME    64

enum block_file_kind {
    BLOCK_FILE_MEMORY,  /* sealed, with these bytes */
    BLOCK_FILE_SOCKET,  /* a stream's end; no bytes */
    BLOCK_FILE_EVENTFD, /* no bytes */
    BLOCK_FILE_GUEST,   /* memory of the client's, of this size; no bytes */
    BLOCK_FILE_SEEN,    /* was not stored: what the client has read in the end */
};

struct block_file_entry {
    enum block_file_kind kind;
    char name[BLOCK_FILE_NAME];
    uint64_t size;
    int fd; /* memory with the bytes, of MEMORY and SEEN; else -1 */
};

struct block_file {
    unsigned n;
    struct block_file_entry entries[BLOCK_FILE_ENTRIES];
};

/* Ends the test when the file is not what it should be. */
void block_file_read(const char *path, struct block_file *out);
void block_file_free(struct block_file *f);

/* The one whose name begins so. Ends the test when there is none. */
const struct block_file_entry *block_file_find(const struct block_file *f, const char *role);

/* A line of its own, and with fd that is not -1 its bytes. */
void block_file_write(FILE *out, enum block_file_kind kind, const char *name, uint64_t size,
                      int fd);

/* The lines of the bytes, as a string to be freed. */
char *block_file_dump(int fd);

#endif

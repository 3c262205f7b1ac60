/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "integration/block_file.h"

#include <check.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define LINE_BYTES 32u
#define TEXT_BYTES 256

static const char *const kinds[] = {
    [BLOCK_FILE_MEMORY] = "memory",   [BLOCK_FILE_SOCKET] = "socket",
    [BLOCK_FILE_EVENTFD] = "eventfd", [BLOCK_FILE_GUEST] = "guest",
    [BLOCK_FILE_SEEN] = "seen",
};

#define KINDS (sizeof(kinds) / sizeof(kinds[0]))

/*
 * Writing
 */

static void write_line(FILE *out, uint64_t offset, const uint8_t *bytes, size_t n)
{
    bool zero = true;

    for (size_t i = 0; i < n; i++)
        zero = zero && bytes[i] == 0;
    if (zero)
        return;
    fprintf(out, "%08" PRIx64 " ", offset);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%02x", bytes[i]);
    fputc('\n', out);
}

/* What was never written is not there to be read: the file is large. */
static void write_bytes(FILE *out, int fd)
{
    off_t end = 0;

    for (off_t at = lseek(fd, 0, SEEK_DATA); at >= 0; at = lseek(fd, end, SEEK_DATA)) {
        end = lseek(fd, at, SEEK_HOLE);
        ck_assert_int_gt(end, at);
        while (at < end) {
            uint8_t bytes[LINE_BYTES];
            ssize_t n = pread(fd, bytes, sizeof(bytes), at);

            ck_assert_int_gt(n, 0);
            write_line(out, (uint64_t)at, bytes, (size_t)n);
            at += n;
        }
    }
}

void block_file_write(FILE *out, enum block_file_kind kind, const char *name, uint64_t size, int fd)
{
    fprintf(out, "%s %s %" PRIu64 "\n", kinds[kind], name, size);
    if (fd >= 0)
        write_bytes(out, fd);
}

char *block_file_dump(int fd)
{
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);

    ck_assert_ptr_nonnull(out);
    write_bytes(out, fd);
    fclose(out);
    return text;
}

/*
 * Reading
 */

static int new_memory(uint64_t size)
{
    int fd = memfd_create("block", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(ftruncate(fd, (off_t)size), 0);
    ck_assert_int_eq(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
    return fd;
}

static void read_entry(struct block_file *f, const char *kind, const char *name, uint64_t size)
{
    struct block_file_entry *e = &f->entries[f->n++];

    *e = (struct block_file_entry) { .size = size, .fd = -1 };
    while (strcmp(kinds[e->kind], kind) != 0)
        ck_assert_uint_lt(++e->kind, KINDS);
    snprintf(e->name, sizeof(e->name), "%s", name);
    if (e->kind == BLOCK_FILE_MEMORY || e->kind == BLOCK_FILE_SEEN)
        e->fd = new_memory(size);
}

static void read_bytes(int fd, uint64_t offset, const char *digits)
{
    size_t n = strlen(digits) / 2;
    uint8_t bytes[LINE_BYTES];

    ck_assert_uint_le(n, sizeof(bytes));
    for (size_t i = 0; i < n; i++) {
        unsigned byte;

        ck_assert_int_eq(sscanf(digits + 2 * i, "%2x", &byte), 1);
        bytes[i] = (uint8_t)byte;
    }
    ck_assert_int_eq(pwrite(fd, bytes, n, (off_t)offset), (ssize_t)n);
}

static void read_line(struct block_file *f, const char *line)
{
    char kind[16];
    char name[BLOCK_FILE_NAME];
    char digits[2 * LINE_BYTES + 1];
    uint64_t number;

    if (line[0] == '#')
        return;
    if (sscanf(line, "%15[a-z] %63s %" SCNu64, kind, name, &number) == 3 &&
        f->n < BLOCK_FILE_ENTRIES) {
        read_entry(f, kind, name, number);
    } else {
        ck_assert_msg(sscanf(line, "%" SCNx64 " %64[0-9a-f]", &number, digits) == 2, "%s", line);
        ck_assert_uint_gt(f->n, 0);
        read_bytes(f->entries[f->n - 1].fd, number, digits);
    }
}

void block_file_read(const char *path, struct block_file *out)
{
    FILE *in = fopen(path, "re");
    char line[TEXT_BYTES];

    ck_assert_msg(in != NULL, "%s", path);
    *out = (struct block_file) { 0 };
    while (fgets(line, sizeof(line), in) != NULL)
        read_line(out, line);
    fclose(in);
}

void block_file_free(struct block_file *f)
{
    for (unsigned i = 0; i < f->n; i++) {
        if (f->entries[i].fd >= 0)
            close(f->entries[i].fd);
    }
}

const struct block_file_entry *block_file_find(const struct block_file *f, const char *role)
{
    size_t len = strlen(role);

    for (unsigned i = 0; i < f->n; i++) {
        const char *name = f->entries[i].name;

        if (strncmp(name, role, len) == 0 && (name[len] == '-' || name[len] == '\0'))
            return &f->entries[i];
    }
    ck_abort_msg("no %s", role);
    return NULL;
}

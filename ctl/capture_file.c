/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "capture_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pcapng.h"

/* More than a block of the largest packet that a daemon sends. */
#define BUFFER (1u << 20)

struct capture_file {
    int fd;
    const char *path;
    bool regular;
    uint64_t limit;
    uint8_t *data;
    size_t head; /* [head, tail) is received and not looked at: the begin of a block */
    size_t tail;
    struct capture_totals totals;
};

/* An existing file is not written to, but what is none (a FIFO, /dev/null) may be. */
static int open_path(const char *path, bool *regular)
{
    struct stat st;
    int fd;

    *regular = false;
    if (strcmp(path, "-") == 0)
        return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 0);
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    *regular = fd >= 0;
    if (fd >= 0 || errno != EEXIST)
        return fd;
    fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0 && (fstat(fd, &st) != 0 || S_ISREG(st.st_mode))) {
        close(fd);
        errno = EEXIST;
        return -1;
    }
    return fd;
}

int capture_file_open(const char *path, uint64_t limit, struct capture_file **out)
{
    struct capture_file *f = calloc(1, sizeof(*f));
    int err = -ENOMEM;

    if (f == NULL)
        return err;
    f->path = path;
    f->limit = limit;
    f->data = malloc(BUFFER);
    if (f->data != NULL) {
        f->fd = open_path(path, &f->regular);
        err = f->fd >= 0 ? 0 : -errno;
    }
    if (err != 0) {
        free(f->data);
        free(f);
        return err;
    }
    *out = f;
    return 0;
}

uint8_t *capture_file_room(struct capture_file *f, size_t *size)
{
    memmove(f->data, f->data + f->head, f->tail - f->head);
    f->tail -= f->head;
    f->head = 0;
    *size = BUFFER - f->tail;
    return f->data + f->tail;
}

/* Writes [from, to); what an error leaves of it is cut off again. */
static int write_blocks(struct capture_file *f, size_t from, size_t to, const volatile int *stop)
{
    size_t at = from;
    int err = 0;

    while (at < to && err == 0) {
        ssize_t n = write(f->fd, f->data + at, to - at);

        if (n >= 0)
            at += (size_t)n;
        else if (errno != EINTR || *stop)
            err = -errno;
    }
    if (err == 0)
        f->totals.bytes += to - from;
    else if (f->regular && ftruncate(f->fd, (off_t)f->totals.bytes) != 0)
        err = -errno;
    return err;
}

/* The last block of a stream is its numbers at the end; the others leave room for it. */
static bool fits(const struct capture_file *f, size_t ahead, uint32_t len, bool last)
{
    uint64_t size = f->totals.bytes + ahead + len + (last ? 0 : PCAPNG_STATISTICS_MAX);

    return f->limit == 0 || (size <= f->limit && (last || !f->totals.full));
}

/* Looks at a whole block; returns whether it is the last of the stream. */
static bool note(struct capture_file *f, uint32_t type, const uint8_t *block, uint32_t len)
{
    struct pcapng_statistics numbers;

    if (type != PCAPNG_STATISTICS || pcapng_read_statistics(block, len, &numbers) != 0)
        return false;
    f->totals.dropped = numbers.dropped;
    f->totals.complete = numbers.ended != 0;
    return numbers.ended != 0;
}

int capture_file_take(struct capture_file *f, size_t n, const volatile int *stop)
{
    size_t begin = f->head;
    size_t packets = 0;
    uint32_t type;
    uint32_t len;
    int err = 0;
    int found;

    f->tail += n;
    while ((found = pcapng_peek(f->data + f->head, f->tail - f->head, &type, &len)) == 1 &&
           len <= f->tail - f->head && err == 0) {
        bool last = note(f, type, f->data + f->head, len);

        if (fits(f, f->head - begin, len, last)) {
            packets += type == PCAPNG_PACKET;
        } else {
            /* What is before it goes out; it is left out itself. */
            err = write_blocks(f, begin, f->head, stop);
            f->totals.full = true;
            begin = f->head + len;
        }
        f->head += len;
    }
    if (err == 0)
        err = write_blocks(f, begin, f->head, stop);
    if (err == 0)
        f->totals.packets += packets;
    return err == 0 && (found < 0 || (found == 1 && len > BUFFER)) ? -EBADMSG : err;
}

void capture_file_totals(const struct capture_file *f, struct capture_totals *out)
{
    *out = f->totals;
}

int capture_file_close(struct capture_file *f, bool remove)
{
    int err = 0;

    if (f == NULL)
        return 0;
    if (close(f->fd) != 0)
        err = -errno;
    if (remove && f->regular && unlink(f->path) != 0)
        err = -errno;
    free(f->data);
    free(f);
    return err;
}

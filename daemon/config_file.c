/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "config_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES (128u << 10)
#define FILE_MAX_TEXT  "128 KiB"

/* Whether the name is there although what it is a link to is not. */
static bool leads_nowhere(const char *file)
{
    struct stat st;

    return lstat(file, &st) == 0 && S_ISLNK(st.st_mode);
}

/* Returns an fd or -errno. */
static int open_file(const char *file, bool regular)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC | (regular ? O_NONBLOCK : 0));
    struct stat st;
    int err = 0;

    if (fd < 0 && errno == ENOENT && leads_nowhere(file))
        return -ENOLINK;
    if (fd < 0)
        return -errno;
    if (fstat(fd, &st) != 0)
        err = -errno;
    else if (S_ISDIR(st.st_mode))
        err = -EISDIR;
    else if (regular && !S_ISREG(st.st_mode))
        err = -ENOTSUP;
    if (err == 0)
        return fd;
    close(fd);
    return err;
}

/* Returns the bytes read into text, which has room for one more than FILE_MAX_BYTES, or -errno. */
static ssize_t read_all(int fd, char *text)
{
    size_t len = 0;
    ssize_t n = 1;

    while (n != 0 && len < FILE_MAX_BYTES) {
        n = read(fd, text + len, FILE_MAX_BYTES - len);
        if (n < 0 && errno != EINTR)
            return -errno;
        len += n > 0 ? (size_t)n : 0;
    }
    return len < FILE_MAX_BYTES ? (ssize_t)len : -EFBIG;
}

int config_file_read(const char *file, bool regular, char **out, size_t *out_len)
{
    int fd = open_file(file, regular);
    char *text;
    ssize_t len;

    if (fd < 0)
        return fd;
    text = malloc(FILE_MAX_BYTES + 1);
    len = text != NULL ? read_all(fd, text) : -ENOMEM;
    close(fd);
    if (len < 0) {
        free(text);
        return (int)len;
    }
    text[len] = '\0';
    *out = text;
    *out_len = (size_t)len;
    return 0;
}

const char *config_file_error(int err)
{
    switch (err) {
    case -ENOLINK:
        return "it is a link to what is not there, or hidden from a service: see \"The sandbox\" "
               "in "
               "vfio-userd(8)";
    case -EFBIG:
        return "it has more than " FILE_MAX_TEXT;
    case -ENOTSUP:
        return "it is no regular file";
    default:
        return strerror(-err);
    }
}

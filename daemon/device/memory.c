/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

int memory_new(const char *name, uint64_t size, struct memory *out)
{
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    int err;

    if (fd < 0)
        return -errno;
    err = ftruncate(fd, (off_t)size) != 0 ||
                  fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0
              ? -errno
              : memory_adopt(fd, size, out);
    if (err != 0)
        close(fd);
    return err;
}

int memory_adopt(int fd, uint64_t size, struct memory *out)
{
    const int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
    struct stat st;
    void *at;

    if (fstat(fd, &st) != 0)
        return -errno;
    if (st.st_size != (off_t)size || (fcntl(fd, F_GET_SEALS) & sealed) != sealed)
        return -EINVAL;
    at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    *out = (struct memory) { .fd = fd, .at = at, .size = size };
    return 0;
}

void memory_free(struct memory *m)
{
    if (m->at == NULL)
        return;
    munmap(m->at, m->size);
    close(m->fd);
    *m = (struct memory) { .fd = -1 };
}

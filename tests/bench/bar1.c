/* SPDX-License-Identifier: BSD-3-Clause */
#include "bar1.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u

int bar1_map(struct client *c, uint64_t size, uint8_t **out)
{
    struct vfio_region_info *info = NULL;
    void *at = MAP_FAILED;
    int fd = -1;
    int err = client_get_region_info(c, VFIO_PCI_BAR1_REGION_INDEX, &info, &fd);

    if (err != 0)
        return err;
    err = info->size == size && fd >= 0 ? 0 : -EPROTO;
    free(info);
    if (err == 0)
        at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (err == 0 && at == MAP_FAILED)
        err = -errno;
    if (fd >= 0)
        close(fd);
    if (err == 0)
        *out = at;
    return err;
}

void bar1_touch(uint8_t *bar1, uint64_t size)
{
    for (uint64_t at = 0; at < size; at += PAGE) {
        uint64_t value = (at + 1) * 0x9e3779b97f4a7c15u;

        memset(bar1 + at, (int)(value >> 40), PAGE);
        memcpy(bar1 + at, &value, sizeof(value));
    }
}

void bar1_unmap(uint8_t *bar1, uint64_t size)
{
    if (bar1 != NULL)
        munmap(bar1, size);
}

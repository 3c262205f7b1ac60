/* SPDX-License-Identifier: BSD-3-Clause */
#include "doorbell.h"

#include <endian.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "registers.h"

#define PAGE    4096u
#define SIZE    4u
#define ENTRIES 16u
#define FDS     16u

/* A client must not touch what is not there. */
static int map_shadow(int fd, uint64_t offset, struct doorbell *out)
{
    uint64_t from = offset & ~(uint64_t)(PAGE - 1);
    struct stat st;
    void *at;

    if (fstat(fd, &st) != 0)
        return -errno;
    if (offset % SIZE != 0 || (uint64_t)st.st_size < SIZE || offset > (uint64_t)st.st_size - SIZE)
        return -EPROTO;
    at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)from);
    if (at == MAP_FAILED)
        return -errno;
    out->map = at;
    out->map_len = PAGE;
    out->value = (uint32_t *)(void *)((uint8_t *)at + (offset - from));
    return 0;
}

static int take(const struct vfio_user_io_fd *entry, int *fds, struct doorbell *out)
{
    int err = 0;

    if (entry->offset != REG_DOORBELL || entry->size != SIZE || entry->flags != 0 ||
        entry->type == VFIO_USER_IO_FD_IOREGIONFD)
        return -EPROTO;
    if (entry->type == VFIO_USER_IO_FD_IOEVENTFD_SHADOW)
        err = map_shadow(fds[entry->shadow_fd_index], entry->shadow_offset, out);
    if (err != 0)
        return err;
    out->kind = entry->type == VFIO_USER_IO_FD_IOEVENTFD ? DOORBELL_IOEVENTFD : DOORBELL_SHADOW;
    out->fd = fds[entry->fd_index];
    fds[entry->fd_index] = -1;
    return 0;
}

int doorbell_open(struct client *c, struct doorbell *out)
{
    struct vfio_user_io_fd entries[ENTRIES];
    int fds[FDS];
    unsigned nfds = FDS;
    unsigned n = 0;
    int err =
        client_get_region_io_fds(c, VFIO_PCI_BAR0_REGION_INDEX, entries, ENTRIES, &n, fds, &nfds);

    *out = (struct doorbell) { .kind = DOORBELL_NONE, .fd = -1 };
    if (err != 0)
        return err;
    if (n > 1)
        err = -EPROTO;
    else if (n == 1)
        err = take(&entries[0], fds, out);
    for (unsigned i = 0; i < nfds; i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    return err;
}

void doorbell_close(struct doorbell *d)
{
    if (d->map != NULL)
        munmap(d->map, d->map_len);
    if (d->fd >= 0)
        close(d->fd);
    *d = (struct doorbell) { .kind = DOORBELL_NONE, .fd = -1 };
}

int doorbell_ring(const struct doorbell *d, uint32_t value)
{
    const uint64_t one = 1;

    if (d->value != NULL) /* the signal must not overtake it */
        __atomic_store_n(d->value, htole32(value), __ATOMIC_RELEASE);
    return write(d->fd, &one, sizeof(one)) == sizeof(one) ? 0 : -errno;
}

const char *doorbell_kind_name(enum doorbell_kind kind)
{
    switch (kind) {
    case DOORBELL_SHADOW:
        return "an eventfd with shadow memory";
    case DOORBELL_IOEVENTFD:
        return "an eventfd";
    default:
        return "none";
    }
}

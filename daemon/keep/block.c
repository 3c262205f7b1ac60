/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "block.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define PAGE 4096u

/* Where the buffers begin. */
static uint64_t buffers(void)
{
    return (sizeof(struct block) + PAGE - 1) / PAGE * PAGE;
}

uint64_t block_size(void)
{
    return buffers() + BLOCK_STREAMS * (uint64_t)(BLOCK_IN_SIZE + BLOCK_OUT_SIZE);
}

int block_new(struct memory *out)
{
    int err = memory_new("vfio-userd-state", block_size(), out);

    if (err != 0)
        return err;
    /* A core of the process is to be readable, not a quarter of a gigabyte. */
    madvise(out->at, out->size, MADV_DONTDUMP);
    block_of(out)->header = (struct block_header) { .magic = BLOCK_MAGIC,
                                                    .version = BLOCK_VERSION,
                                                    .state_version = DEVICE_STATE_VERSION,
                                                    .layout = sizeof(struct block) };
    return 0;
}

int block_map(int fd, struct memory *out)
{
    const int sealed = F_SEAL_SHRINK | F_SEAL_GROW;
    struct stat st;
    void *at;

    if (fstat(fd, &st) != 0)
        return -errno;
    if (st.st_size < (off_t)sizeof(struct block_header) ||
        (fcntl(fd, F_GET_SEALS) & sealed) != sealed)
        return -EINVAL;
    at = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (at == MAP_FAILED)
        return -errno;
    *out = (struct memory) { .fd = -1, .at = at, .size = (uint64_t)st.st_size };
    return 0;
}

void block_unmap(struct memory *m)
{
    if (m->at != NULL)
        munmap(m->at, m->size);
    *m = (struct memory) { .fd = -1 };
}

struct block *block_of(const struct memory *m)
{
    return (struct block *)(void *)m->at;
}

void block_stream(const struct memory *m, unsigned i, struct stream_memory *out)
{
    struct block *b = block_of(m);
    uint8_t *at = m->at + buffers() + i * (uint64_t)(BLOCK_IN_SIZE + BLOCK_OUT_SIZE);

    *out = (struct stream_memory) { .journal = &b->journals[i],
                                    .fds = &b->fd_tables[i],
                                    .in = at,
                                    .in_size = BLOCK_IN_SIZE,
                                    .out = at + BLOCK_IN_SIZE,
                                    .out_size = BLOCK_OUT_SIZE };
}

void block_forget_buffers(const struct memory *m)
{
    uint64_t from = buffers();

    fallocate(m->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)from,
              (off_t)(m->size - from));
}

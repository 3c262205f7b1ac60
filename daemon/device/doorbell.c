/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "doorbell.h"

#include <endian.h>
#include <errno.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "memory.h"
#include "notifier.h"

void doorbell_init(struct doorbell *d, enum doorbell_kind kind)
{
    *d = (struct doorbell) { .kind = kind, .event = -1, .shadow = -1 };
}

int doorbell_make(struct doorbell *d)
{
    struct memory shadow = { .fd = -1 };
    int event;
    int err;

    if (d->kind == DOORBELL_NONE || d->event >= 0)
        return 0;
    if (d->kind == DOORBELL_SHADOW) {
        err = memory_new("vfio-userd-doorbell", DOORBELL_SHADOW_SIZE, &shadow);
        if (err != 0)
            return err;
    }
    event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (event < 0) {
        err = -errno;
        memory_free(&shadow);
        return err;
    }
    d->event = event;
    d->shadow = shadow.fd;
    d->mapped = (uint32_t *)(void *)shadow.at;
    return 0;
}

void doorbell_drop(struct doorbell *d)
{
    if (d->mapped != NULL)
        munmap(d->mapped, DOORBELL_SHADOW_SIZE);
    if (d->shadow >= 0)
        close(d->shadow);
    if (d->event >= 0)
        close(d->event);
    doorbell_init(d, d->kind);
}

bool doorbell_value(const struct doorbell *d, uint32_t *value)
{
    /* Whoever rings stores first. */
    *value = d->mapped != NULL ? le32toh(__atomic_load_n(d->mapped, __ATOMIC_ACQUIRE)) : 0;
    return d->mapped != NULL;
}

bool doorbell_take(struct doorbell *d, struct notifier *notifier, uint64_t *rings, uint32_t *value,
                   bool *known)
{
    if (d->event < 0 || !notifier_take(notifier, d->event, rings))
        return false;
    *known = doorbell_value(d, value);
    return true;
}

int doorbell_adopt(struct doorbell *d, int *event, int *shadow)
{
    struct memory memory = { .fd = -1 };
    int err;

    if (!notifier_accepts(*event) || (*shadow >= 0) != (d->kind == DOORBELL_SHADOW) ||
        d->kind == DOORBELL_NONE)
        return -EINVAL;
    if (*shadow >= 0) {
        err = memory_adopt(*shadow, DOORBELL_SHADOW_SIZE, &memory);
        if (err != 0)
            return err;
    }
    doorbell_drop(d);
    d->event = *event;
    d->shadow = memory.fd;
    d->mapped = (uint32_t *)(void *)memory.at;
    *event = *shadow = -1;
    return 0;
}

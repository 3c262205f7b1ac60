/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The doorbell's eventfd, and the shadow memory in which the value that rang it is found: what a
 * client gives KVM, so that a guest's write reaches us without a message. Section "Region I/O via
 * file descriptors". Both are made with the first question for them, and go with the client that
 * has them.
 *
 * The client can do to the eventfd what it likes, and so can make it blocking, or its counter any
 * number; it is read without ever waiting. Knows no registers.
 */
#ifndef VFIO_USERD_DOORBELL_H
#define VFIO_USERD_DOORBELL_H

#include <stdbool.h>
#include <stdint.h>

#include "description.h"

struct notifier;

struct doorbell {
    enum doorbell_kind kind;
    int event;        /* -1: not made */
    int shadow;       /* a sealed memfd; -1: none */
    uint32_t *mapped; /* the shadow's first bytes */
};

#define DOORBELL_SHADOW_SIZE 4096u

void doorbell_init(struct doorbell *d, enum doorbell_kind kind);

/* Makes what its kind needs, if that is not there. Returns 0 or -errno. */
int doorbell_make(struct doorbell *d);

/* Closes everything: another client gets other ones. */
void doorbell_drop(struct doorbell *d);

/*
 * Takes the rings since the last call: *rings of them, and the last one's *value when the kind
 * tells it (*known). Returns false when there were none.
 */
bool doorbell_take(struct doorbell *d, struct notifier *notifier, uint64_t *rings, uint32_t *value,
                   bool *known);

/* Whether the kind tells the last ring's value, which is in *value then. */
bool doorbell_value(const struct doorbell *d, uint32_t *value);

/*
 * Takes an eventfd and a shadow (-1: none) that another process has made for the client, and sets
 * them to -1. -EINVAL: they are not what this kind of doorbell has; -errno. They stay the caller's
 * on failure.
 */
int doorbell_adopt(struct doorbell *d, int *event, int *shadow);

#endif

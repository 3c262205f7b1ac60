/* SPDX-License-Identifier: BSD-3-Clause */
/* BAR1 of a daemon's device through its mapping. Functions return 0 or -errno. */
#ifndef VFIO_USERD_BENCH_BAR1_H
#define VFIO_USERD_BENCH_BAR1_H

#include <stdint.h>

#include "client.h"

/* Maps all size bytes of it; -EPROTO when it has another size or cannot be mapped. */
int bar1_map(struct client *c, uint64_t size, uint8_t **out);

/* Writes something else to every page. */
void bar1_touch(uint8_t *bar1, uint64_t size);

/* bar1 may be NULL. */
void bar1_unmap(uint8_t *bar1, uint64_t size);

#endif

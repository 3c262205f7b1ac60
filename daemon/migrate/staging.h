/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Memory of BAR1's size for a while: zeros, which take room as far as they are written. Knows
 * nothing of what is kept there.
 */
#ifndef VFIO_USERD_STAGING_H
#define VFIO_USERD_STAGING_H

#include <stdint.h>

/* NULL without memory. */
uint8_t *staging_map(uint64_t size);

/* Zeros again. */
void staging_clear(uint8_t *at, uint64_t size);

/* The same of whole pages of a file in memory that is mapped. */
void staging_clear_shared(uint8_t *at, uint64_t size);

/*
 * What is at the start of a file in memory, to be read only: looking at its holes does not fill
 * them. NULL without memory.
 */
uint8_t *staging_view(int fd, uint64_t size);

/* NULL is allowed. */
void staging_unmap(uint8_t *at, uint64_t size);

#endif

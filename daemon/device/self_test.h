/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The self-test DMA that libvfio-user's server sample does after each timer interrupt: 4 KiB
 * written and read back directly at the start of the second mapped region, then 4 KiB by message at
 * the start of the first; the comparison goes to the log. Overwrites guest memory, and does not ask
 * for Bus Master. Knows the DMA module only.
 */
#ifndef VFIO_USERD_SELF_TEST_H
#define VFIO_USERD_SELF_TEST_H

#include <stdbool.h>
#include <stdint.h>

#include "dma.h"

struct self_test;

/* *runs is 1 while a run is under way, else 0; it and dma outlive the test. Returns 0 or -ENOMEM.
 */
int self_test_new(struct dma *dma, uint8_t *runs, struct self_test **out);
void self_test_free(struct self_test *test);

/* *runs stays as it is from now on. */
void self_test_detach(struct self_test *test);

/* Whether a run is under way. */
bool self_test_runs(const struct self_test *test);

/*
 * Starts a run with other bytes for another seed; nothing while the last one still runs. A run
 * whose transfer is cancelled ends without a word.
 */
void self_test_run(struct self_test *test, uint32_t seed);

#endif

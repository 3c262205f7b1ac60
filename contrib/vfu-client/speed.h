/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How fast the doorbell is: rings through its eventfd, as KVM does them for a guest, against writes
 * by message. Without the walk's other steps: the device is left as it is but for the doorbell.
 */
#ifndef VFU_CLIENT_SPEED_H
#define VFU_CLIENT_SPEED_H

#include "walk.h"

/*
 * Connects, rings n times in each way, and prints what came out. 0, or -1 after the first surprise,
 * which is printed: a ring that the device has not seen, another value than the last, or a device
 * without an eventfd for its doorbell. A way that takes longer than 20 s ends early.
 */
int speed_run(struct walk *w, uint32_t n);

#endif

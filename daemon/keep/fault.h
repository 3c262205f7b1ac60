/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tells a process that has died of what it did from one that was killed: a fault (SIGSEGV, SIGBUS,
 * SIGILL, SIGFPE) or an abort, the watchdog's included, leaves a note before it does what it does
 * otherwise. A signal's handler knows nothing but the process, so there is one note of it.
 */
#ifndef VFIO_USERD_FAULT_H
#define VFIO_USERD_FAULT_H

#include <stdint.h>

/* *note becomes 1 in a fault from now on; NULL: no more. It is in memory that outlives us. */
void fault_note_at(uint32_t *note);

#endif

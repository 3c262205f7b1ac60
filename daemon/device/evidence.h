/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What the kernel itself notes of a step of the device: how many eventfds it has signalled and what
 * it took from counters. A kill hits inside system calls as often as between them, so that a note
 * written behind a call is not exact; these are written by the call, before it returns. The step
 * that a process died in is executed again by another one, which asks them what was done already.
 *
 * Knows no steps: whoever begins one resets its evidence.
 */
#ifndef VFIO_USERD_EVIDENCE_H
#define VFIO_USERD_EVIDENCE_H

#include <stdint.h>

/* Most counters of which something is taken in one step: what is left counts in the next one. */
#define EVIDENCE_TAKES 4

/*
 * In signalled: ahead of the last signal, or of one before it, the engine's transfer has ended.
 * What is below is the number of signals.
 */
#define EVIDENCE_TRANSFERRED 0x80000000u

/* In memory that outlives the process, 8-byte aligned. */
struct evidence {
    uint32_t signalled; /* written by the kernel: signals that this step has sent, and the above */
    uint32_t next;      /* what the next one makes of it */
    uint32_t takes;     /* of taken, those that count; the last one may be 0 */
    uint32_t reserved;
    uint64_t taken[EVIDENCE_TAKES]; /* written by the kernel; 0: nothing was taken */
};

/* Where one lies; at NULL: nowhere. fd and offset are the memory that at is mapped from. */
struct evidence_place {
    struct evidence *at;
    int fd;
    uint64_t offset; /* of *at in it */
};

/* A step begins: nothing is sent, nothing is taken. */
static inline void evidence_reset(struct evidence *e)
{
    __atomic_store_n(&e->signalled, 0, __ATOMIC_RELEASE);
    __atomic_store_n(&e->takes, 0, __ATOMIC_RELEASE);
}

#endif

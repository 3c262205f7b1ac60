/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The smallest virtual machine on /dev/kvm that can ring a doorbell: one vCPU in real mode, a page
 * of memory with a loop of six instructions, and a page where nothing is: the device's BAR0, whose
 * accesses end in a file descriptor (an ioeventfd) or with the owner. Knows nothing of vfio-user.
 */
#ifndef DOORBELL_VMM_MACHINE_H
#define DOORBELL_VMM_MACHINE_H

#include <stdint.h>

/* Guest-physical address of BAR0, 4 KiB. */
#define MACHINE_BAR0 0x20000u

struct machine;

/* A write to BAR0 that no ioeventfd took. Returns 0 or -errno, which ends the run. */
typedef int machine_write(void *opaque, uint64_t offset, const void *data, uint32_t len);

/* How a run ended. */
struct machine_end {
    uint32_t left;  /* writes that the guest has not done */
    uint32_t exits; /* times that it left the vCPU for a write to BAR0 */
    double seconds;
    uint32_t reason; /* KVM_EXIT_…: HLT when it has done all, INTR when its time was over */
};

/*
 * Makes the machine. Returns 0 or -errno, and then with *step what failed: there is no /dev/kvm, it
 * may not be used, or it cannot do this.
 */
int machine_new(struct machine **out, const char **step);
void machine_free(struct machine *m);

/*
 * From now on a write of len bytes (0: of any width) at an offset of BAR0 signals fd, which stays
 * the caller's. 0 or -errno.
 */
int machine_add_ioeventfd(struct machine *m, uint64_t offset, uint32_t len, int fd);

/*
 * Runs a guest that writes n times 32 bits to BAR0 at offset, 0, 1, 2 …, and then halts; at most
 * limit_ms. Returns 0 when the vCPU ran at all, and *end says how it ended; else -errno of KVM or
 * of write.
 */
int machine_run(struct machine *m, uint16_t offset, uint32_t n, unsigned limit_ms,
                machine_write *write, void *opaque, struct machine_end *end);

#endif

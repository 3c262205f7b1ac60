/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Signalling of eventfds that a client gave us. write() on an eventfd blocks while its counter is
 * full, and the client can fill the counter at any moment and may not want the file set
 * non-blocking, which would be so for its own reads too. The kernel's AIO signals an eventfd on
 * completion without ever blocking, as KVM or a driver would: that is used, and nothing else of it.
 *
 * With a place for evidence, each signal and each take is noted there by the kernel, in the same
 * system call. A process that goes on where another one died replays its step: what that has sent
 * is not sent again, and what it took is given once more.
 */
#ifndef VFIO_USERD_NOTIFIER_H
#define VFIO_USERD_NOTIFIER_H

#include <stdbool.h>
#include <stdint.h>

#include "evidence.h"

struct notifier;

/* Returns 0 or -errno. Where the kernel has no AIO, signalling polls before it writes. */
int notifier_new(struct notifier **out);
void notifier_free(struct notifier *n);

/*
 * What is done is noted at *place from now on, which is copied; *place->at outlives the notifier.
 * Where the kernel has no AIO, a signal is noted behind it, and a death between is not seen.
 */
void notifier_set_evidence(struct notifier *n, const struct evidence_place *place);

/* Adds 1 to the eventfd's counter, or leaves a full one full. Returns 0 or -errno. */
int notifier_signal(struct notifier *n, int eventfd);

/*
 * The engine's transfer has ended: what is signalled between a call with true and one with false
 * tells of that. Noted with the signal.
 */
void notifier_tell_transferred(struct notifier *n, bool tells);

/*
 * Takes what the eventfd's counter has, without ever waiting whatever mode its client left it in.
 * Returns false when that is nothing; and when the evidence of this step is full: then it is left
 * there for the next one.
 */
bool notifier_take(struct notifier *n, int eventfd, uint64_t *count);

/*
 * The step that follows was begun by another process, which has done *before of it: that many
 * signals are not sent again, and takes are answered by what was taken, in that order, until that
 * is used up. *before becomes the evidence here, on which further ones build, so that the step may
 * be begun a third time.
 */
void notifier_replay(struct notifier *n, const struct evidence *before);

/* Whether signals are left that were sent before: the present point of the step was passed. */
bool notifier_passed(const struct notifier *n);

/* Whether, besides, one of the step's told that the engine's transfer has ended. */
bool notifier_passed_transfer(const struct notifier *n);

/*
 * The step is executed: the rest of what was done before is forgotten. Returns what was taken then
 * and was not asked for now, of all counters: the caller's to make good, before its step ends.
 */
uint64_t notifier_replayed(struct notifier *n);

/* Whether fd is an eventfd: anything else could block or do harm when written to. */
bool notifier_accepts(int fd);

#endif

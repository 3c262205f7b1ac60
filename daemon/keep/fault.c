/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "fault.h"

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

static const int faults[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

#define N_FAULTS (sizeof(faults) / sizeof(faults[0]))

/* Of the process: a handler is given nothing of ours. */
static uint32_t *volatile place;
static uint8_t stack[16384]; /* for a fault that is the stack's end */
static struct sigaction before[N_FAULTS];

/* What would have happened happens: the handler that was there, or the end. */
static void on_fault(int signum, siginfo_t *info, void *context)
{
    uint32_t *note = place;

    (void)context;
    if (note != NULL)
        __atomic_store_n(note, 1, __ATOMIC_RELEASE);
    for (size_t i = 0; i < N_FAULTS; i++) {
        if (faults[i] == signum)
            sigaction(signum, &before[i], NULL);
    }
    /* A fault happens again when this returns; what was sent does not, and the sandbox lets nobody
     * send anything, to oneself neither. */
    if (signum == SIGABRT || info->si_code <= 0) {
        raise(signum);
        signal(SIGILL, SIG_DFL);
        __builtin_trap();
    }
}

void fault_note_at(uint32_t *note)
{
    const struct sigaction action = { .sa_sigaction = on_fault,
                                      .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK };
    const stack_t own = { .ss_sp = stack, .ss_size = sizeof(stack) };
    stack_t there;
    bool watched = place != NULL;

    if (note != NULL && sigaltstack(NULL, &there) == 0 && (there.ss_flags & SS_DISABLE) != 0)
        sigaltstack(&own, NULL);

    place = note;
    for (size_t i = 0; i < N_FAULTS && watched != (note != NULL); i++) {
        if (note != NULL)
            sigaction(faults[i], &action, &before[i]);
        else
            sigaction(faults[i], &before[i], NULL);
    }
}

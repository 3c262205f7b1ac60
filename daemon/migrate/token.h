/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Whose device it is: a word of memory that both daemons of a handover have, and that says so once
 * and for all. The source makes it and sends it along; who first claims the device has it, and the
 * other one yields. It outlives both where somebody holds its fd for them.
 *
 *   The source claims before it goes on with the device: at any failure, and at any end of the
 *   connection before RUNNING; told to end behind COMMIT, it gives the device away. The destination
 *   claims before it runs: with COMMIT, and when the connection ends behind its READY; giving up,
 *   it leaves the device to the source. Who starts again after a death and finds a token claims
 *   too: the source always; the destination when all that it had received was kept (struct
 *   token_keeper's received had returned), which it is before its READY. Else it is empty.
 *
 *   So, with S and D for a source and a destination that are started again and go on:
 *   dies       while                    without S           with S
 *   source     nothing is READY         the device is lost  S claims; the destination yields
 *   source     READY to claimed         the destination claims, or S if that is faster
 *   source     destination's claimed    it is the destination's; S is empty
 *   dest.      its claim is not made    the source claims and goes on; D finds that and is empty
 *   dest.      its claim is made        lost without D; D goes on with what was kept
 *   both       nothing is READY         lost                S claims
 *   both       READY to claimed         lost, or D claims   S or D, whoever is first
 *   both       destination's claimed    lost without D; D goes on
 */
#ifndef VFIO_USERD_TOKEN_H
#define VFIO_USERD_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device/memory.h"

#define TOKEN_BYTES 4096u

enum token_owner {
    TOKEN_NOBODY, /* undecided */
    TOKEN_SOURCE,
    TOKEN_DESTINATION,
};

struct token {
    struct memory memory; /* at NULL: there is none */
};

/*
 * What keeps a device beyond the death of its daemon, as far as a handover concerns it. All are
 * called with opaque, from the loop; none is NULL.
 */
struct token_keeper {
    void *opaque;
    /*
     * Around what changes the device without anything of the client's having asked for it: the
     * parts between them are done as a whole or not at all.
     */
    void (*begin)(void *opaque);
    void (*end)(void *opaque);
    /*
     * The source, before the device stands still: from now on whoever starts again after our death
     * is to find the token, whose fd stays the caller's. 0, or -errno: the handover fails.
     */
    int (*token_kept)(void *opaque, int fd);
    /*
     * The destination, inside of a begin, before READY: the device and its client are what was
     * received. That, and fd, which stays the caller's, is to survive from now on as something that
     * is ours if the token says so or can be claimed; not what was here before. 0, or -errno: the
     * handover fails, and token_over follows.
     */
    int (*received)(void *opaque, int fd);
    /*
     * Behind all: the device is as it is to be, ours or an empty one. Nobody needs the token any
     * more, once that is kept. Follows each token_kept, and each begin of a destination.
     */
    void (*token_over)(void *opaque, bool ours);
};

/* Around a change, with begin and end of a keeper; NULL: nothing is kept. */
static inline void token_begin_change(const struct token_keeper *keeper)
{
    if (keeper != NULL)
        keeper->begin(keeper->opaque);
}

static inline void token_end_change(const struct token_keeper *keeper)
{
    if (keeper != NULL)
        keeper->end(keeper->opaque);
}

/* Makes one that is undecided. Returns 0 or -errno. */
int token_new(struct token *out);

/* Takes *fd, and sets it to -1 on success. -EINVAL: it is no token; or -errno. */
int token_adopt(int *fd, struct token *out);

/* Its fd; -1: there is none. */
int token_fd(const struct token *t);

/* Claims the device for who, or gives it to them. Returns whether it is theirs now. */
bool token_claim(struct token *t, enum token_owner who);

/* For whom it is decided. What the other daemon wrote there may be none of the three. */
enum token_owner token_owner(const struct token *t);

/* Forgets it; one of zeros may be forgotten too. */
void token_fini(struct token *t);

#endif

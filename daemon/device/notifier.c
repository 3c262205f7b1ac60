/* SPDX-License-Identifier: BSD-3-Clause */
#define _GNU_SOURCE
#include "notifier.h"

#include <errno.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define RING_EVENTS 16

struct notifier {
    aio_context_t aio;    /* 0 where there is none */
    int ready;            /* an eventfd of ours, always readable: what the AIO polls */
    unsigned completions; /* that nobody has looked at, at most */
    struct evidence_place place;
    struct evidence before; /* of the step that is replayed, what is not used up */
    uint32_t next_take;     /* of it */
    bool transferred;       /* what is signalled tells of the end of the engine's transfer */
};

int notifier_new(struct notifier **out)
{
    struct notifier *n = calloc(1, sizeof(*n));

    if (n == NULL)
        return -ENOMEM;
    n->ready = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    if (n->ready < 0) {
        int err = -errno;

        free(n);
        return err;
    }
    if (syscall(SYS_io_setup, RING_EVENTS, &n->aio) != 0)
        n->aio = 0;
    *out = n;
    return 0;
}

void notifier_free(struct notifier *n)
{
    if (n == NULL)
        return;
    if (n->aio != 0)
        syscall(SYS_io_destroy, n->aio);
    close(n->ready);
    free(n);
}

void notifier_set_evidence(struct notifier *n, const struct evidence_place *place)
{
    n->place = *place;
}

/*
 * Signals
 */

/* The poll of a readable file completes within io_submit, and its completion signals eventfd. */
static struct iocb poll_ready(const struct notifier *n)
{
    return (struct iocb) { .aio_lio_opcode = IOCB_CMD_POLL,
                           .aio_fildes = (uint32_t)n->ready,
                           .aio_buf = POLLIN };
}

/* So does the read of memory; what it reads, and before it completes, is the note of the signal. */
static struct iocb read_note(const struct evidence_place *place)
{
    return (struct iocb) { .aio_lio_opcode = IOCB_CMD_PREAD,
                           .aio_fildes = (uint32_t)place->fd,
                           .aio_buf = (uint64_t)(uintptr_t)&place->at->signalled,
                           .aio_nbytes = sizeof(place->at->signalled),
                           .aio_offset =
                               (int64_t)(place->offset + offsetof(struct evidence, next)) };
}

static int signal_by_aio(struct notifier *n, int eventfd)
{
    struct iocb cb = n->place.at != NULL ? read_note(&n->place) : poll_ready(n);
    struct iocb *list[] = { &cb };
    struct io_event events[RING_EVENTS];
    struct timespec now = { 0, 0 };
    int err;

    cb.aio_flags = IOCB_FLAG_RESFD;
    cb.aio_resfd = (uint32_t)eventfd;
    err = syscall(SYS_io_submit, n->aio, 1, list) == 1 ? 0 : -errno;
    if (++n->completions < RING_EVENTS / 2)
        return err;
    /* Makes room for further completions. */
    syscall(SYS_io_getevents, n->aio, 0, RING_EVENTS, events, &now);
    n->completions = 0;
    return err;
}

static int signal_by_write(int eventfd)
{
    struct pollfd p = { .fd = eventfd, .events = POLLOUT };
    uint64_t one = 1;

    if (poll(&p, 1, 0) < 0)
        return -errno;
    if ((p.revents & POLLOUT) == 0)
        return 0; /* full: whoever reads it will see that something happened */
    return write(eventfd, &one, sizeof(one)) == sizeof(one) ? 0 : -errno;
}

void notifier_tell_transferred(struct notifier *n, bool tells)
{
    n->transferred = tells;
}

int notifier_signal(struct notifier *n, int eventfd)
{
    struct evidence *e = n->place.at;
    int err;

    if (notifier_passed(n)) {
        n->before.signalled--;
        return 0;
    }
    if (e != NULL)
        __atomic_store_n(&e->next, (e->signalled + 1) | (n->transferred ? EVIDENCE_TRANSFERRED : 0),
                         __ATOMIC_RELEASE);
    err = n->aio != 0 ? signal_by_aio(n, eventfd) : signal_by_write(eventfd);
    if (e != NULL && err == 0) /* the kernel has done so, but for a failure to read the note */
        __atomic_store_n(&e->signalled, e->next, __ATOMIC_RELEASE);
    return err;
}

/*
 * Takes
 */

/* What the step took when it was executed before, if anything is left of it. */
static bool take_again(struct notifier *n, uint64_t *count)
{
    while (n->next_take < n->before.takes) {
        *count = n->before.taken[n->next_take++];
        if (*count != 0)
            return true;
    }
    return false;
}

static bool take(int eventfd, uint64_t *count)
{
    struct iovec iov = { .iov_base = count, .iov_len = sizeof(*count) };

    return preadv2(eventfd, &iov, 1, -1, RWF_NOWAIT) == (ssize_t)sizeof(*count);
}

bool notifier_take(struct notifier *n, int eventfd, uint64_t *count)
{
    struct evidence *e = n->place.at;
    uint32_t i;

    if (take_again(n, count))
        return true;
    if (e == NULL)
        return take(eventfd, count);
    i = e->takes;
    if (i > 0 && e->taken[i - 1] == 0)
        i--; /* there was nothing: its place is free */
    if (i == EVIDENCE_TAKES)
        return false;
    __atomic_store_n(&e->taken[i], 0, __ATOMIC_RELEASE);
    __atomic_store_n(&e->takes, i + 1, __ATOMIC_RELEASE);
    if (!take(eventfd, &e->taken[i]))
        return false;
    *count = e->taken[i];
    return true;
}

/*
 * A step that another process has begun
 */

void notifier_replay(struct notifier *n, const struct evidence *before)
{
    n->before = *before;
    n->next_take = 0;
    if (n->before.takes > EVIDENCE_TAKES)
        n->before.takes = EVIDENCE_TAKES;
    if (n->place.at != NULL)
        *n->place.at = n->before;
}

bool notifier_passed(const struct notifier *n)
{
    return (n->before.signalled & ~EVIDENCE_TRANSFERRED) > 0;
}

bool notifier_passed_transfer(const struct notifier *n)
{
    return notifier_passed(n) && (n->before.signalled & EVIDENCE_TRANSFERRED) != 0;
}

uint64_t notifier_replayed(struct notifier *n)
{
    uint64_t left = 0;
    uint64_t count;

    while (take_again(n, &count))
        left += count;
    n->before = (struct evidence) { 0 };
    n->next_take = 0;
    return left;
}

bool notifier_accepts(int fd)
{
    static const char expected[] = "anon_inode:[eventfd]";
    char path[32];
    char target[64];
    ssize_t len;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    len = readlink(path, target, sizeof(target));
    if (len < 0)
        return errno == ENOENT && access("/proc/self", F_OK) != 0; /* no /proc: cannot tell */
    return (size_t)len == sizeof(expected) - 1 && memcmp(target, expected, (size_t)len) == 0;
}

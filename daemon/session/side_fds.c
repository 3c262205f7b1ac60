/* SPDX-License-Identifier: BSD-3-Clause */
/* The eventfds that a client signals instead of sending a message. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "keep/keeper.h"
#include "log.h"
#include "session_private.h"

static void on_unmask(void *arg, int events)
{
    const struct session *s = arg;

    (void)events;
    keeper_begin_narrow(s->host.keeper, KEEPER_UNMASK);
    irq_resample(device_irq(s->dev));
    keeper_end(s->host.keeper);
}

static void on_doorbell(void *arg, int events)
{
    const struct session *s = arg;

    (void)events;
    keeper_begin_narrow(s->host.keeper, KEEPER_RINGS);
    device_take_rings(s->dev);
    if (!device_running(s->dev))
        keeper_touch(s->host.keeper);
    keeper_end(s->host.keeper);
}

static void unwatch(struct side_fd *side)
{
    watch_free(side->watch);
    side->watch = NULL;
    if (side->fd >= 0)
        close(side->fd);
    side->fd = -1;
}

/* Watches fd, and not the one before. Of -1, none. */
static void watch(struct session *s, struct side_fd *side, int fd, watch_fn fn, const char *what)
{
    int err;

    if (fd < 0 && side->watch == NULL)
        return;
    unwatch(side);
    if (fd < 0)
        return;
    /* A duplicate: the device may close its own before this one is not watched any more. */
    side->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    err = side->fd < 0 ? -errno : watch_new(s->loop, side->fd, fn, s, &side->watch);
    if (err != 0) {
        log_warning("session", "the %s eventfd cannot be watched: %s", what, strerror(-err));
        unwatch(side);
    }
}

void session_watch_unmask(struct session *s)
{
    watch(s, &s->unmask, irq_unmask_fd(device_irq(s->dev)), on_unmask, "UNMASK");
}

void session_watch_doorbell(struct session *s)
{
    watch(s, &s->doorbell, device_doorbell_fd(s->dev), on_doorbell, "doorbell's");
}

void session_watch_side_fds(struct session *s)
{
    session_watch_unmask(s);
    session_watch_doorbell(s);
}

void session_unwatch_side_fds(struct session *s)
{
    unwatch(&s->unmask);
    unwatch(&s->doorbell);
}
